// Knocks over IPv6, to a gateway whose nftables opens for IPv6 addresses: sniffed, and received on
// the sockets that serve both versions of IP.

import { equal, match } from "node:assert/strict";
import { startGateway, writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  spaCommand,
} from "./lab.ts";
import type { Watched } from "./process.ts";

const missing = labMissing() ?? (hasProgram("nft") ? null : "needs the program nft");
const CLIENT = "2001:db8::2";
const GATEWAY = "2001:db8::1";
const NFTABLES = "FIREWALL_TYPE nftables\nENABLE_DEFAULT_DROP tcp/22\n";
const SERVICE = `
const listener = Deno.listen({ hostname: "::", port: 22 });
console.log("listening");
for await (const connection of listener) connection.close();
`;

/** Gives client and gateway IPv6 addresses, and starts a service on port 22 of both versions. */
async function prepare(lab: Lab): Promise<void> {
  for (
    const [host, name, address] of [
      [lab.client, "eth0", CLIENT],
      [lab.gateway, GATEWAY_INTERFACE, GATEWAY],
    ] as const
  ) {
    await host.must(["ip", "address", "add", `${address}/64`, "dev", name, "nodad"]);
  }
  // What is hidden here is hidden by spa's own table, as for IPv6.
  await lab.gateway.must(["iptables", "-P", "INPUT", "ACCEPT"]);
  const service = lab.gateway.start([Deno.execPath(), "eval", SERVICE]);
  await service.waitFor(/listening/);
}

async function start(lab: Lab, config: string, access = STANZA): Promise<Watched> {
  const files = await writeGatewayFiles(lab.directory, `${NFTABLES}${config}`, access);
  return await startGateway(lab, files);
}

async function knock(lab: Lab, ...options: readonly string[]): Promise<void> {
  await lab.client.must(spaCommand(
    ...["knock", "--no-rc-file", "--no-save-args", "--key-rijndael", KEY, "--key-hmac", HMAC_KEY],
    ...["-D", GATEWAY, "-a", CLIENT, ...options],
  ));
}

labTest("a UDP socket receives over IPv6 and IPv4, and knows both destinations", async (lab) => {
  await prepare(lab);
  const access = `SOURCE ANY\nDESTINATION ${GATEWAY}, ${ADDRESSES.gateway}\n${
    STANZA.replace("SOURCE ANY\n", "")
  }`;
  const gateway = await start(lab, "ENABLE_UDP_SERVER Y\nENABLE_DESTINATION_RULE Y\n", access);
  equal(await probe(lab, 22, GATEWAY), "filtered");
  await knock(lab, "-A", "tcp/22");
  await gateway.waitFor(/Added access rule .* 2001:db8::2 -> 2001:db8::1 tcp\/22/);
  equal(await probe(lab, 22, GATEWAY), "open");
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* 192\.0\.2\.10 -> 192\.0\.2\.1 tcp\/22/);
  gateway.signal("SIGUSR1");
  await gateway.waitFor(/^Packets: granted 2; captured 2, dropped 0 by the kernel/m);
  equal(await gateway.stop(), 0);
}, missing);

labTest("a UDP socket receives over IPv4 where IPv6 is switched off", async (lab) => {
  await lab.gateway.must(["sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"]);
  await lab.gateway.must(["iptables", "-P", "INPUT", "ACCEPT"]);
  const gateway = await start(lab, "ENABLE_UDP_SERVER Y\n");
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* 192\.0\.2\.10/);
  equal(await gateway.stop(), 0);
}, missing);

labTest("every transport of IPv6 is sniffed, and opens", async (lab) => {
  await prepare(lab);
  const gateway = await start(
    lab,
    `PCAP_INTF ${GATEWAY_INTERFACE}\nPCAP_FILTER udp or tcp\nENABLE_TCP_SERVER Y\n` +
      "ENABLE_SPA_OVER_HTTP Y\n",
  );
  for (const [index, transport] of ["udp", "tcp", "http"].entries()) {
    const port = 1000 + index;
    await knock(lab, "-P", transport, "-p", "62201", "-A", `tcp/${port}`);
    await gateway.waitFor(new RegExp(`Added access rule .* 2001:db8::2 -> ::/0 tcp/${port}`));
  }
  match(gateway.output(), /Kicking off TCP server/);
  equal(await gateway.stop(), 0);
}, missing);
