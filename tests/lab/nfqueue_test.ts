// Knocks that a real rule hands over to a netfilter queue.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { type GatewayFiles, savedRules, startGateway, writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  labTool,
  spaCommand,
} from "./lab.ts";
import { must, PATIENCE, run, type Watched } from "./process.ts";
import { sentriesOf } from "./sentry.ts";

const QUEUE = "ENABLE_NFQ_CAPTURE Y\n";

/** What the kernel tells of queues; it has no such file without its part of them. */
const QUEUES = "/proc/net/netfilter/nfnetlink_queue";

async function queueMissing(): Promise<string | null> {
  const lacking = labMissing();
  if (lacking !== null) return lacking;
  const there = await Deno.stat(QUEUES).catch(() => null);
  if (there === null) return "needs a kernel with nfnetlink_queue";
  const libraries = await run(["ldconfig", "-p"]).catch(() => null);
  const found = libraries?.stdout.includes("libnetfilter_queue.so.1") ?? false;
  return found ? null : "needs libnetfilter-queue1";
}

const missing = await queueMissing();

async function start(
  lab: Lab,
  config = "",
  access = STANZA,
): Promise<{ readonly gateway: Watched; readonly files: GatewayFiles }> {
  const files = await writeGatewayFiles(lab.directory, `${QUEUE}${config}`, access);
  return { gateway: await startGateway(lab, files), files };
}

async function mangleRules(lab: Lab): Promise<string[]> {
  const rules = await lab.gateway.must(["iptables", "-t", "mangle", "-S"]);
  return rules.split("\n").filter((line) => /NFQ|^-A/.test(line));
}

const FWKNOP_RULES = [
  "-N FWKNOP_NFQ",
  "-A INPUT -j FWKNOP_NFQ",
  "-A FWKNOP_NFQ -p udp -m udp --dport 62201 -j NFQUEUE --queue-num 1",
];

labTest("a knock from a netfilter queue opens a port, by fwknopd's rules", async (lab) => {
  const before = await savedRules(lab.gateway);
  const files = await writeGatewayFiles(lab.directory, "", STANZA);
  const gateway = await startGateway(lab, files, "-n");
  match(
    gateway.output(),
    /^Added jump rule from chain: INPUT to chain: FWKNOP_NFQ\n[^]*^Receiving packets from netfilter queue 1\.$/m,
  );
  deepEqual(await mangleRules(lab), FWKNOP_RULES);
  const service = lab.gateway.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
  equal(await probe(lab, 22), "filtered");
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* tcp\/22, expires/);
  equal(await probe(lab, 22), "open");
  equal(await gateway.stop(), 0);
  deepEqual(await mangleRules(lab), []);
  // The chains of a table stay listed once it was used.
  const rules = (text: string): string[] =>
    text.split("\n").filter((line) => line.startsWith("-A") || line.includes("FWKNOP"));
  deepEqual(rules(await savedRules(lab.gateway)), rules(before));
}, missing);

labTest("the names that the configuration gives are those of the rules", async (lab) => {
  const config = "NFQ_INTERFACE outside\nNFQ_PORT 4000\nNFQ_TABLE filter\nNFQ_CHAIN KNOCKS\n" +
    "NFQ_QUEUE_NUMBER 7\nNFQ_LOOP_SLEEP 1000\n";
  const { gateway } = await start(lab, config);
  const rules = await lab.gateway.must(["iptables", "-S"]);
  match(rules, /^-A INPUT -j KNOCKS\n-A INPUT /m, "the jump is the first rule");
  match(
    rules,
    /^-A KNOCKS -i outside -p udp -m udp --dport 4000 -j NFQUEUE --queue-num 7$/m,
  );
  await lab.client.must(labTool("send_udp", ADDRESSES.gateway, "4000", knockPacket("tcp/22")));
  await gateway.waitFor(/Added access rule .* tcp\/22, expires/);
  equal(await gateway.stop(), 0);
  ok(!(await lab.gateway.must(["iptables", "-S"])).includes("KNOCKS"));
}, missing);

labTest("knocks come from every address, also from those that fwknopd never sees", async (lab) => {
  const { gateway } = await start(lab);
  // Bytes 12 and 13 of the IP header, which fwknopd takes for an EtherType.
  const sources = ["5.6.7.8", "1.2.3.4", "5.220.1.1", "129.0.1.2", "170.170.1.1"];
  for (const [index, source] of sources.entries()) {
    const port = 1000 + index;
    await lab.gateway.must(["ip", "route", "add", `${source}/32`, "dev", "outside"]);
    await lab.client.must(spaCommand(
      ...["knock", "--no-rc-file", "--no-save-args", "--key-rijndael", KEY],
      ...["--key-hmac", HMAC_KEY, "-A", `tcp/${port}`, "-a", source, "-D", ADDRESSES.gateway],
      ...["-P", "udpraw", "-Q", source],
    ));
    await gateway.waitFor(
      new RegExp(`Added access rule .* ${source.replaceAll(".", "\\.")} .* tcp/${port}, expires`),
    );
  }
  equal(await gateway.stop(), 0);
}, missing);

labTest("a knock over IPv6 comes through ip6tables, and opens there", async (lab) => {
  for (
    const [host, name, digit] of [[lab.client, "eth0", 2], [lab.gateway, "outside", 1]] as const
  ) {
    await host.must(["ip", "address", "add", `2001:db8::${digit}/64`, "dev", name, "nodad"]);
  }
  const { gateway } = await start(lab);
  match(await lab.gateway.must(["ip6tables", "-t", "mangle", "-S"]), /--queue-num 1/);
  await lab.client.must(
    labTool("send_udp", "--from=::", "2001:db8::1", "62201", knockPacket("tcp/22", "2001:db8::2")),
  );
  await gateway.waitFor(/Added access rule .* 2001:db8::2 -> ::\/0 tcp\/22/);
  equal(await gateway.stop(), 0);
  ok(!(await lab.gateway.must(["ip6tables-save"])).includes("FWKNOP"));
}, hasProgram("ip6tables") ? missing : "needs the program ip6tables");

labTest(
  "a queue is read without privileges, and by another process once that one dies",
  async (lab) => {
    const { gateway } = await start(lab);
    const [sentry, ...others] = sentriesOf(gateway);
    ok(sentry !== undefined && others.length === 0);
    match(await Deno.readTextFile(`/proc/${sentry}/status`), /^CapEff:\s0+$/m);
    await send(lab, knockPacket("tcp/1001"));
    await gateway.waitFor(/Added access rule .* tcp\/1001, expires/);
    // What it holds when it dies is settled by its successor.
    Deno.kill(sentry, "SIGSTOP");
    await send(lab, ...Array.from({ length: 10 }, () => "junk"));
    Deno.kill(sentry, "SIGKILL");
    await gateway.waitFor(/(Receiving packets from netfilter queue 1\.[^]*){2}/);
    await send(lab, knockPacket("tcp/1002"));
    await gateway.waitFor(/Added access rule .* tcp\/1002, expires/);
    await queueEmpty(lab);
    equal(await gateway.stop(), 0);
    deepEqual(await mangleRules(lab), []);
  },
  missing,
);

/** Looks until no packet waits for its verdict: the kernel tells nobody. */
async function queueEmpty(lab: Lab): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const line = await lab.gateway.must(["cat", QUEUES]);
    if (/^ *1 +\d+ +0 /.test(line)) return;
    if (Date.now() > deadline) throw new Error(`packets wait in the queue: ${line}`);
  }
}

labTest("a queue comes and goes with a reload", async (lab) => {
  const sniff = "PCAP_INTF outside\n";
  const files = await writeGatewayFiles(lab.directory, sniff, STANZA);
  const gateway = await startGateway(lab, files);
  for (const [index, config] of [QUEUE, sniff].entries()) {
    await Deno.writeTextFile(files.config, config);
    gateway.signal("SIGHUP");
    await gateway.waitFor(new RegExp(`(Re-starting fwknopd[^]*){${index + 1}}`));
    equal((await mangleRules(lab)).length > 0, config === QUEUE);
    await send(lab, knockPacket(`tcp/${1000 + index}`));
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${1000 + index}, expires`));
  }
  equal(await lab.gateway.must(["cat", QUEUES]), "");
  equal(await gateway.stop(), 0);
}, missing);

const RECEIVER = `
const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 62201 });
console.log("listening");
for await (const [bytes] of socket) console.log("got " + new TextDecoder().decode(bytes));
`;

labTest("what the queue has seen is dropped, junk too, and comes on without it", async (lab) => {
  const receiver = lab.gateway.start([Deno.execPath(), "eval", RECEIVER]);
  await receiver.waitFor(/listening/);
  await lab.gateway.must("iptables -A INPUT -p udp --dport 62201 -j ACCEPT".split(" "));
  const { gateway } = await start(lab);
  await send(lab, "junk", knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* tcp\/22, expires/);
  const counted = gateway.output().length;
  gateway.signal("SIGUSR1");
  await gateway.waitFor(
    new RegExp(
      `^[^]{${counted}}[^]*^Packets: not-a-packet 1, granted 1; captured 2, dropped 0`,
      "m",
    ),
  );
  equal(await gateway.stop(), 0);
  await send(lab, "afterwards");
  await receiver.waitFor(/got afterwards/);
  equal(receiver.output(), "listening\ngot afterwards\n");
}, missing);

labTest("a packet that is queued on its way to another host goes on", async (lab) => {
  await lab.gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
  await lab.gateway.must(["iptables", "-P", "FORWARD", "ACCEPT"]);
  const receiver = lab.inner.start([Deno.execPath(), "eval", RECEIVER]);
  await receiver.waitFor(/listening/);
  const { gateway } = await start(lab);
  const rule = "-p udp --dport 62201 -j NFQUEUE --queue-num 1";
  await lab.gateway.must(["iptables", "-t", "mangle", "-A", "FORWARD", ...rule.split(" ")]);
  await lab.client.must(labTool("send_udp", ADDRESSES.inner, "62201", "passing by"));
  await receiver.waitFor(/got passing by/);
  equal(await gateway.stop(), 0);
}, missing);

labTest("rules of a gateway that was killed are taken over, not doubled", async (lab) => {
  const first = await start(lab);
  first.gateway.signal("SIGKILL");
  await first.gateway.ended;
  deepEqual(await mangleRules(lab), FWKNOP_RULES);
  const gateway = await startGateway(lab, first.files);
  deepEqual(await mangleRules(lab), FWKNOP_RULES);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* tcp\/22, expires/);
  equal(await gateway.stop(), 0);
  deepEqual(await mangleRules(lab), []);
}, missing);

labTest(
  "fw-flush takes the rule of a killed gateway away, and none of a running one",
  async (lab) => {
    const { gateway, files } = await start(lab);
    const flush = ["fw-flush", "-c", files.config, "-r", files.runDirectory];
    match(await lab.gateway.must(spaCommand(...flush)), /the netfilter queue stays: .*\(pid=\d+\)/);
    deepEqual(await mangleRules(lab), FWKNOP_RULES);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule .* tcp\/22, expires/);
    gateway.signal("SIGKILL");
    await gateway.ended;
    deepEqual(await mangleRules(lab), FWKNOP_RULES);
    equal(
      await lab.gateway.must(spaCommand(...flush)),
      "Deleting any existing firewall rules...\n",
    );
    deepEqual(await mangleRules(lab), []);
    ok(!(await savedRules(lab.gateway)).includes("FWKNOP"));
  },
  missing,
);

const CYCLE = `${STANZA}CMD_CYCLE_OPEN /bin/echo opened $PORT\nCMD_CYCLE_CLOSE NONE\n`;

labTest("commands are run for knocks from a queue where they alone give access", async (lab) => {
  const { gateway } = await start(lab, "", CYCLE);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Command output: opened 22/);
  equal(await gateway.stop(), 0);
  deepEqual(await mangleRules(lab), []);
}, missing);

labTest("a reload changes what is queued, and the queue itself", async (lab) => {
  const { gateway, files } = await start(lab);
  for (const [index, config] of ["NFQ_PORT 4000\n", "NFQ_QUEUE_NUMBER 2\n"].entries()) {
    await Deno.writeTextFile(files.config, `${QUEUE}${config}`);
    gateway.signal("SIGHUP");
    await gateway.waitFor(new RegExp(`(Re-starting fwknopd[^]*){${index + 1}}`));
    const knock = knockPacket(`tcp/${1000 + index}`);
    const port = index === 0 ? "4000" : "62201";
    await lab.client.must(labTool("send_udp", ADDRESSES.gateway, port, knock));
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${1000 + index}, expires`));
  }
  equal(await gateway.stop(), 0);
  deepEqual(await mangleRules(lab), []);
}, missing);

labTest("a queue that another program has stops the start, and leaves no rule", async (lab) => {
  const { gateway } = await start(lab);
  const files = await writeGatewayFiles(lab.directory, `${QUEUE}NFQ_CHAIN OTHER\n`, STANZA);
  const second = await lab.gateway.run(spaCommand("serve", "-f", ...files.options));
  equal(second.status, 1);
  match(
    second.stderr,
    /cannot receive from netfilter queue 1: .*\nhint: another program may listen .*NFQ_QUEUE_NUMBER/,
  );
  deepEqual(await mangleRules(lab), FWKNOP_RULES);
  equal(await gateway.stop(), 0);
}, missing);

labTest("a table without a chain INPUT stops the start, and leaves no rule", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, `${QUEUE}NFQ_TABLE raw\n`, STANZA);
  const { status, stderr } = await lab.gateway.run(spaCommand("serve", "-f", ...files.options));
  equal(status, 1);
  match(stderr, /cannot hand packets to the netfilter queue: .*INPUT/);
  const rules = await savedRules(lab.gateway);
  ok(!/FWKNOP/.test(rules), rules);
}, missing);

labTest(
  "more packets than a queue holds are counted, and knocks come through after",
  async (lab) => {
    const { gateway } = await start(lab, "NFQ_QUEUE_LENGTH 16\n");
    // What waits while the program is held is more than the queue holds.
    gateway.signal("SIGSTOP");
    await send(lab, ...Array.from({ length: 100 }, () => "junk"));
    gateway.signal("SIGCONT");
    await queueIsEmpty(lab);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule .* tcp\/22, expires/);
    gateway.signal("SIGUSR1");
    const [, received, dropped] = await gateway.waitFor(
      /captured (\d+), dropped (\d+) by the kernel/,
    );
    equal(Number(received), 101);
    ok(Number(dropped) >= 80, `${dropped} dropped`);
    equal(await gateway.stop(), 0);
  },
  missing,
);

/** Looks until no packet waits for its verdict: the kernel tells nobody when that comes. */
async function queueIsEmpty(lab: Lab): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const line = await lab.gateway.must(["cat", QUEUES]);
    const [, , waiting] = line.trim().split(/ +/);
    if (waiting === "0") return;
    if (Date.now() > deadline) throw new Error(`the queue does not become empty:\n${line}`);
  }
}

labTest("a missing libnetfilter_queue is told with its package", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, QUEUE, STANZA);
  const library = (await must(["ldconfig", "-p"])).split("\n")
    .find((line) => line.includes("libnetfilter_queue.so.1"))?.split(" => ")[1] ?? "";
  const hide = `mount --bind /dev/null ${library}\nexec "$@"`;
  const { status, stderr } = await lab.gateway.run([
    ...["unshare", "--mount", "sh", "-ec", hide, "sh"],
    ...spaCommand("serve", "-f", ...files.options),
  ]);
  equal(status, 1);
  match(
    stderr,
    /netfilter queue 1: libnetfilter_queue is not installed\nhint: install .*libnetfilter-queue1/,
  );
}, missing);

const NFT_QUEUE =
  "add table inet x\nadd chain inet x y\nadd rule inet x y udp dport 1 queue num 1\n";

/** Whether nftables can queue here, tried in a network namespace of its own; null without a lab. */
async function nftQueues(): Promise<boolean | null> {
  if (missing !== null || !hasProgram("nft") || !hasProgram("unshare")) return null;
  const tried = await run(["unshare", "--net", "nft", "-f", "-"], { input: NFT_QUEUE });
  return tried.status === 0;
}

const nftQueueing = await nftQueues();
const NFTABLES = `${QUEUE}FIREWALL_TYPE nftables\nENABLE_DEFAULT_DROP tcp/22\n`;

labTest(
  "with nftables a table of its own hands knocks over",
  async (lab) => {
    await lab.gateway.must(["iptables", "-P", "INPUT", "ACCEPT"]);
    const files = await writeGatewayFiles(lab.directory, NFTABLES, STANZA);
    const gateway = await startGateway(lab, files);
    match(await lab.gateway.must(["nft", "list", "ruleset"]), /udp dport 62201 queue/);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule .* tcp\/22/);
    equal(await gateway.stop(), 0);
    ok(!(await lab.gateway.must(["nft", "list", "ruleset"])).includes("spa"));
  },
  nftQueueing === true ? null : missing ?? "needs nft, and a kernel with nft_queue",
);

labTest(
  "with nftables a kernel that cannot queue stops the start and is told",
  async (lab) => {
    await lab.gateway.must(["iptables", "-P", "INPUT", "ACCEPT"]);
    const files = await writeGatewayFiles(lab.directory, NFTABLES, STANZA);
    const { status, stderr } = await lab.gateway.run(spaCommand("serve", "-f", ...files.options));
    equal(status, 1);
    match(
      stderr,
      /cannot hand packets to the netfilter queue: .*has the kernel the module nft_queue/,
    );
    ok(!(await lab.gateway.must(["nft", "list", "ruleset"])).includes("spa"));
  },
  nftQueueing === false ? null : missing ?? "needs nft, and a kernel without nft_queue",
);
