// Every way to see a knock, tried on real interfaces: TCP and HTTP with the port that they need,
// several interfaces, interfaces that go and come, and a flood of what is no knock.

import { equal, match, ok } from "node:assert/strict";
import { writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  openLab,
  spaCommand,
} from "./lab.ts";
import { run, type Watched } from "./process.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;

function labTest(
  name: string,
  body: (lab: Lab) => Promise<void>,
  unable: string | null = labMissing(),
): void {
  Deno.test({
    name: unable === null ? name : `${name} (${unable})`,
    ignore: unable !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await body(lab);
      } finally {
        await lab.close();
      }
    },
  });
}

const noFwknop = labMissing() ?? (hasProgram("fwknop") ? null : "needs fwknop-client");

/** Starts `spa serve` with a configuration of this text. */
async function startWith(lab: Lab, config: string): Promise<Watched> {
  const files = await writeGatewayFiles(lab.directory, config, STANZA);
  const gateway = lab.gateway.start(spaCommand("serve", "-f", ...files.options));
  await gateway.waitFor(/Starting fwknopd main event loop/);
  return gateway;
}

/** Lets TCP through to where knocks go. */
async function takeTcp(lab: Lab): Promise<void> {
  await lab.gateway.must([
    "iptables",
    "-A",
    "INPUT",
    "-p",
    "tcp",
    "--dport",
    "62201",
    "-j",
    "ACCEPT",
  ]);
}

const TCP_SERVER =
  `${SNIFF}ENABLE_TCP_SERVER Y\nENABLE_SPA_OVER_HTTP Y\nPCAP_FILTER tcp port 62201\n`;

const OURS = ["knock", "--no-rc-file", "--no-save-args"];
const THEIRS = ["fwknop", "--no-save-args"];

for (const [name, unable] of [["spa knock", labMissing()], ["fwknop", noFwknop]] as const) {
  labTest(
    `${name} knocks over TCP and HTTP where spa serve takes the connections itself`,
    async (lab) => {
      await takeTcp(lab);
      const gateway = await startWith(lab, TCP_SERVER);
      match(gateway.output(), /^Kicking off TCP server to listen on port 62201\.$/m);
      const program = name === "fwknop" ? THEIRS : spaCommand(...OURS);
      for (const [index, transport] of ["tcp", "http"].entries()) {
        const port = 1000 + index;
        const sent = await lab.client.run([
          ...program,
          ...["--key-rijndael", KEY, "--key-hmac", HMAC_KEY, "--use-hmac", "-P", transport],
          ...["-A", `tcp/${port}`, "-a", ADDRESSES.client, "-D", ADDRESSES.gateway],
        ]);
        equal(sent.status, 0, sent.stdout + sent.stderr);
        await gateway.waitFor(new RegExp(`Added access rule .* tcp/${port}, expires`));
      }
      equal(await gateway.stop(), 0);
      // Nothing of the server is left on the port.
      const listening = await lab.gateway.must(["ss", "-Hltn", "sport = 62201"]);
      equal(listening, "");
    },
    unable,
  );
}

labTest("a TCP port that is taken ends the start before any rule is touched", async (lab) => {
  const first = await startWith(lab, TCP_SERVER);
  await first.stop();
  const taken = lab.gateway.start([
    ...[Deno.execPath(), "eval"],
    `Deno.listen({ port: 62201 }); console.log("listening"); setInterval(() => {}, 1000);`,
  ]);
  await taken.waitFor(/listening/);
  const before = await lab.gateway.must(["iptables-save", "-t", "filter"]);
  const files = await writeGatewayFiles(lab.directory, TCP_SERVER, STANZA);
  const { status, stderr } = await run(
    lab.gateway.command(spaCommand("serve", "-f", ...files.options)),
  );
  equal(status, 1);
  match(
    stderr,
    /cannot bind TCP port 62201: Address already in use.*\n(.*\n)*hint: .*TCPSERV_PORT/,
  );
  ok(!stderr.includes("FWKNOP_INPUT"));
  const rules = (text: string): string => text.replaceAll(/^[#:].*$/gm, "");
  equal(rules(await lab.gateway.must(["iptables-save", "-t", "filter"])), rules(before));
});
