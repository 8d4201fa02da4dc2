// ENABLE_DOCKER: access to published ports, with rules of the shape that Docker makes; the lab's
// inner host plays the container.

import { match, strictEqual } from "node:assert/strict";
import { DOCKER } from "./docker.ts";
import { savedRules, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import { ADDRESSES, GATEWAY_INTERFACE, type Lab, labTest, labTool } from "./lab.ts";

const CONTAINER = ADDRESSES.inner;

/** The chain in which the administrator hides what Docker publishes. */
const DOCKER_USER = `*filter
:DOCKER-USER - [0:0]
-I FORWARD 1 -j DOCKER-USER
-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A DOCKER-USER -i ${GATEWAY_INTERFACE} -j DROP
COMMIT
`;

async function startContainer(lab: Lab): Promise<void> {
  await lab.gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
  await lab.gateway.must(["iptables-restore", "--noflush"], DOCKER);
  const service = lab.inner.start(labTool("tcp_service", "80", "81"));
  await service.waitFor(/listening on 81/);
}

labTest("a grant opens a published port of a container, through DOCKER-USER", async (lab) => {
  await startContainer(lab);
  strictEqual(await probe(lab, 8080), "open");
  await lab.gateway.must(["iptables-restore", "--noflush"], DOCKER_USER);
  strictEqual(await probe(lab, 8080), "filtered");
  const before = await savedRules(lab.gateway);
  const config = `PCAP_INTF ${GATEWAY_INTERFACE}\nENABLE_DOCKER Y\n`;
  const files = await writeGatewayFiles(lab.directory, config, `${STANZA}FW_ACCESS_TIMEOUT 60\n`);
  const gateway = await startGateway(lab, files);
  match(gateway.output(), /Added jump rule from chain: DOCKER-USER to chain: FWKNOP_DOCKER/);

  // Neither the container's own port nor another one of it is what was asked for.
  await send(lab, knockPacket("tcp/80"));
  await gateway.waitFor(/Added Docker access rule to FWKNOP_DOCKER for 192\.0\.2\.10/);
  strictEqual(await probe(lab, 8080), "filtered");
  strictEqual(await probe(lab, 80, CONTAINER), "filtered");
  await send(lab, knockPacket("tcp/8080"));
  await gateway.waitFor(/Added Docker access rule .* tcp\/8080,/);
  strictEqual(await probe(lab, 8080), "open");
  strictEqual(await probe(lab, 80, CONTAINER), "filtered");
  strictEqual(await probe(lab, 81, CONTAINER), "filtered");
  match((await serve(lab.gateway, files, "--fw-list")).stdout, /Chain FWKNOP_DOCKER \(1 ref/);

  strictEqual(await gateway.stop(), 0);
  strictEqual(await probe(lab, 8080), "filtered");
  strictEqual(await savedRules(lab.gateway), before);
});

labTest(
  "without DOCKER-USER the jump is the first of FORWARD, until Docker makes it",
  async (lab) => {
    await startContainer(lab);
    await lab.gateway.must(["iptables", "-I", "FORWARD", "-i", GATEWAY_INTERFACE, "-j", "DROP"]);
    const before = await savedRules(lab.gateway);
    const config = `PCAP_INTF ${GATEWAY_INTERFACE}\nENABLE_DOCKER Y\n`;
    const files = await writeGatewayFiles(lab.directory, config, STANZA);
    const gateway = await startGateway(lab, files);
    match(gateway.output(), /Added jump rule from chain: FORWARD to chain: FWKNOP_DOCKER/);
    await send(lab, knockPacket("tcp/8080"));
    await gateway.waitFor(/Added Docker access rule .* tcp\/8080,/);
    strictEqual(await probe(lab, 8080, ADDRESSES.gateway), "open");

    await lab.gateway.must(["iptables-restore", "--noflush"], DOCKER_USER);
    strictEqual(await probe(lab, 8080), "filtered");
    await send(lab, knockPacket("tcp/8080", ADDRESSES.client, { clientTimeout: 90 }));
    await gateway.waitFor(/Added jump rule from chain: DOCKER-USER to chain: FWKNOP_DOCKER/);
    await gateway.waitFor(/Extended Docker access rule/);
    strictEqual(await probe(lab, 8080), "open");

    await gateway.stop();
    await lab.gateway.must(["iptables", "-D", "FORWARD", "-j", "DOCKER-USER"]);
    await lab.gateway.must(["iptables", "-F", "DOCKER-USER"]);
    await lab.gateway.must(["iptables", "-X", "DOCKER-USER"]);
    strictEqual(await savedRules(lab.gateway), before);
  },
);
