// Every way to see a knock, tried on real interfaces: TCP and HTTP with the port that they need,
// several interfaces, interfaces that go and come, and a flood of what is no knock.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  labTool,
  spaCommand,
} from "./lab.ts";
import { run, type Watched } from "./process.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;

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

labTest("a reload changes the capture and keeps the TCP port, or gives it up", async (lab) => {
  await takeTcp(lab);
  const files = await writeGatewayFiles(lab.directory, TCP_SERVER, STANZA);
  const gateway = lab.gateway.start(spaCommand("serve", "-f", ...files.options));
  await gateway.waitFor(/Starting fwknopd main event loop/);
  const filter = (text: string): string =>
    TCP_SERVER.replace(/PCAP_FILTER .*/, `PCAP_FILTER ${text}`);
  await Deno.writeTextFile(files.config, filter("tcp dst port 62201"));
  gateway.signal("SIGHUP");
  await gateway.waitFor(/Kicking off TCP server[^]*Kicking off TCP server[^]*PCAP filter.*tcp dst/);
  const knock = spaCommand(
    ...[...OURS, "--key-rijndael", KEY, "--key-hmac", HMAC_KEY, "-P", "tcp", "-A", "tcp/1001"],
    ...["-a", ADDRESSES.client, "-D", ADDRESSES.gateway],
  );
  await lab.client.must(knock);
  await gateway.waitFor(/Added access rule .* tcp\/1001, expires/);

  await Deno.writeTextFile(files.config, SNIFF);
  gateway.signal("SIGHUP");
  await gateway.waitFor(/PCAP filter is: 'udp port 62201'/);
  equal(await probe(lab, 62201), "closed");
  equal(await gateway.stop(), 0);
});

/** How many packets a gateway has granted, as SIGUSR1 makes it tell. */
async function tallyOf(gateway: Watched): Promise<RegExpMatchArray> {
  const before = gateway.output().length;
  gateway.signal("SIGUSR1");
  await gateway.waitFor(new RegExp(`^[^]{${before}}[^]*^Packets: .*captured`, "m"));
  const line = gateway.output().slice(before).match(
    /^Packets: (.*); captured (\d+), dropped (\d+) by the kernel and (\d+) by the interface$/m,
  );
  ok(line !== null, gateway.output());
  return line;
}

labTest(
  "several interfaces are sniffed at once, and their packets counted together",
  async (lab) => {
    const config = `PCAP_INTF ${GATEWAY_INTERFACE}, inside\nPCAP_BUFFER_SIZE 2\n`;
    const gateway = await startWith(lab, config);
    match(gateway.output(), /^Sniffing interface: outside\nSniffing interface: inside$/m);
    await send(lab, knockPacket("tcp/1001"));
    await gateway.waitFor(/Added access rule .* tcp\/1001, expires/);
    const packet = knockPacket("tcp/1002", ADDRESSES.inner);
    await lab.inner.must(labTool("send_udp", ADDRESSES.gatewayInside, "62201", packet));
    await gateway.waitFor(/Added access rule .* tcp\/1002, expires/);
    const [, what, captured, dropped] = await tallyOf(gateway);
    deepEqual([what, captured, dropped], ["granted 2", "2", "0"]);
    equal(await gateway.stop(), 0);
  },
);

labTest("one missing interface of several is a start error that names it", async (lab) => {
  const config = `PCAP_INTF ${GATEWAY_INTERFACE},nonesuch0\n`;
  const files = await writeGatewayFiles(lab.directory, config, STANZA);
  const { status, stderr } = await lab.gateway.run(spaCommand("serve", "-f", ...files.options));
  equal(status, 1);
  match(stderr, /cannot capture on "nonesuch0"/);
});

/** Lays a second cable between client and gateway, with the gateway's end called `extra`. */
async function layExtraCable(lab: Lab): Promise<void> {
  const { client, gateway } = lab;
  await client.must([
    ..."ip link add extra type veth peer name extra netns".split(" "),
    gateway.namespace,
  ]);
  for (const [host, address] of [[client, "203.0.113.10"], [gateway, "203.0.113.1"]] as const) {
    await host.must(["ip", "address", "add", `${address}/24`, "dev", "extra"]);
    await host.must(["ip", "link", "set", "extra", "up"]);
  }
}

async function sendExtra(lab: Lab, request: string): Promise<void> {
  await lab.client.must(labTool("send_udp", "203.0.113.1", "62201", knockPacket(request)));
}

for (const exit of ["Y", "N"]) {
  labTest(
    `an interface set down and up again is sniffed on with EXIT_AT_INTF_DOWN ${exit}`,
    async (lab) => {
      await layExtraCable(lab);
      const gateway = await startWith(lab, `PCAP_INTF extra\nEXIT_AT_INTF_DOWN ${exit}\n`);
      await sendExtra(lab, "tcp/1001");
      await gateway.waitFor(/Added access rule .* tcp\/1001, expires/);
      await lab.gateway.must(["ip", "link", "set", "extra", "down"]);
      const before = await processTime(gateway);
      // It answers signals all the while.
      await tallyOf(gateway);
      await lab.gateway.must(["ip", "link", "set", "extra", "up"]);
      ok(await processTime(gateway) - before < 50, "it keeps the processor busy");
      await knockUntil(lab, gateway);
      equal(await gateway.stop(), 0);
    },
  );
}

labTest("with EXIT_AT_INTF_DOWN N a gateway waits for its interface to come back", async (lab) => {
  await layExtraCable(lab);
  const config = `PCAP_INTF extra,${GATEWAY_INTERFACE}\nEXIT_AT_INTF_DOWN N\n`;
  const gateway = await startWith(lab, config);
  for (let round = 1; round <= 2; round++) {
    await lab.gateway.must(["ip", "link", "delete", "extra"]);
    await gateway.waitFor(
      new RegExp(
        `(The interface "extra" disappeared.*\\n[^]*){${round}}`,
      ),
    );
    await send(lab, knockPacket(`tcp/${1000 + round}`));
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${1000 + round}, expires`));
    await layExtraCable(lab);
    await gateway.waitFor(new RegExp(`(Sniffing interface: extra\\n[^]*){${round + 1}}`));
    await sendExtra(lab, `tcp/${2000 + round}`);
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${2000 + round}, expires`));
  }
  equal(await gateway.stop(), 0);
  match(gateway.output(), /Shutting Down fwknopd\.\n$/);
});

labTest("with EXIT_AT_INTF_DOWN Y one of several interfaces ends the server", async (lab) => {
  await layExtraCable(lab);
  const gateway = await startWith(lab, `PCAP_INTF ${GATEWAY_INTERFACE},extra\n`);
  await lab.gateway.must(["ip", "link", "delete", "extra"]);
  equal(await gateway.ended, 1);
  match(gateway.output(), /^spa: .*"extra".*interface disappeared\nhint: .*EXIT_AT_INTF_DOWN N/m);
});

const JUNK = 20_000;
const JUNK_A_SECOND = 5_000;
const KNOCKS = 10;

labTest("a flood of junk keeps out no knock and does not fill the log", async (lab) => {
  const gateway = await startWith(lab, SNIFF);
  const flood = lab.client.start(
    labTool("flood", ADDRESSES.gateway, "62201", String(JUNK), String(JUNK_A_SECOND)),
  );
  await flood.waitFor(/begins/);
  for (let index = 0; index < KNOCKS; index++) {
    await send(lab, knockPacket(`tcp/${1000 + index}`));
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${1000 + index}, expires`), 2000);
  }
  ok(!flood.output().includes("done"), "the flood was over before the knocks were");
  await flood.waitFor(/done/);
  await gateway.waitFor(/Refused without a line each: .*hmac-mismatch \d+/);
  const [, what, captured, dropped] = await tallyOf(gateway);
  const count = (reason: string): number =>
    Number(new RegExp(`${reason} (\\d+)`).exec(what ?? "")?.[1]);
  equal(count("granted"), KNOCKS);
  // Nothing goes uncounted, and only a machine that is busy with something else loses any.
  equal(Number(captured), JUNK + KNOCKS);
  equal(count("hmac-mismatch") + count("not-a-packet") + KNOCKS + Number(dropped), JUNK + KNOCKS);
  equal(await gateway.stop(), 0);
  // Some thirty lines a second and two for each grant, where fwknopd writes one for each packet.
  const lines = gateway.output().split("\n").length;
  ok(lines < 500, `${lines} lines`);
});

/** Processor time of a gateway so far, in hundredths of a second; see proc(5). */
async function processTime({ pid }: Watched): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

/** Knocks over the extra cable until one is seen: a cable takes a moment to carry anything. */
async function knockUntil(lab: Lab, gateway: Watched): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const port = 3000 + attempt;
    await sendExtra(lab, `tcp/${port}`);
    const opened = new RegExp(`Added access rule .* tcp/${port}, expires`);
    if (await gateway.waitFor(opened, 300).catch(() => null) !== null) return;
  }
  throw new Error(`no knock is seen\n${gateway.output()}`);
}
