// `spa serve` on a real firewall: what a person at the client's and the gateway's keyboard would see.

import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import { replayDigest } from "../../lib/spa_digest.ts";
import { savedRules, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import { ADDRESSES, GATEWAY_INTERFACE, labTest, labTool, spaCommand } from "./lab.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;

labTest(
  "a hidden port opens for who knocked and closes while the connection lives on",
  async (lab) => {
    const service = lab.gateway.start(labTool("tcp_service", "22"));
    await service.waitFor(/listening on 22/);
    const before = await savedRules(lab.gateway);
    const files = await writeGatewayFiles(lab.directory, SNIFF, `${STANZA}FW_ACCESS_TIMEOUT 2\n`);
    const gateway = await startGateway(lab, files);
    strictEqual(await probe(lab, 22), "filtered");

    const packet = knockPacket("tcp/22");
    await send(lab, packet);
    await gateway.waitFor(
      /Added access rule to FWKNOP_INPUT for 192\.0\.2\.10 -> 0\.0\.0\.0\/0 tcp\/22/,
    );
    const cache = await Deno.readTextFile(`${files.runDirectory}/digest.cache`);
    match(cache, new RegExp(`^${RegExp.escape(replayDigest(packet))} 17 192.0.2.10 `, "m"));
    const listing = await serve(lab.gateway, files, "--fw-list");
    match(
      listing.stdout,
      /ACCEPT .* 192\.0\.2\.10 .* tcp dpt:22 TIME until date .* \/\* _exp_\d+ \*\//,
    );
    const open = lab.client.start(labTool("tcp_probe", ADDRESSES.gateway, "22", "2000", "--hold"));
    await open.waitFor(/open\nhello/);

    await gateway.waitFor(/Removed rule 1 from FWKNOP_INPUT with expire time of \d+/);
    strictEqual(await probe(lab, 22), "filtered");
    await open.write("still there?\n");
    await open.waitFor(/echo: still there\?/);

    strictEqual(await gateway.stop(), 0);
    match(gateway.output(), /Got SIGTERM\. Exiting\.\.\.\nShutting Down fwknopd\.\n$/);
    strictEqual(await savedRules(lab.gateway), before);
  },
);

labTest("a packet is not accepted twice, not even after a restart", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const packet = knockPacket("tcp/22");
  const first = await startGateway(lab, files);
  await send(lab, packet);
  await first.waitFor(/Added access rule/);
  await send(lab, packet);
  await first.waitFor(/Replay detected from source IP: 192\.0\.2\.10/);
  await first.stop();
  const second = await startGateway(lab, files);
  await send(lab, packet);
  await second.waitFor(/Replay detected from source IP: 192\.0\.2\.10/);
  ok(!second.output().includes("Added access rule"));
});

labTest("with ENABLE_DIGEST_PERSISTENCE N a packet is not accepted twice either", async (lab) => {
  const config = `${SNIFF}ENABLE_DIGEST_PERSISTENCE N\n`;
  const files = await writeGatewayFiles(lab.directory, config, STANZA);
  const gateway = await startGateway(lab, files);
  const packet = knockPacket("tcp/22");
  await send(lab, packet, packet);
  await gateway.waitFor(/Replay detected from source IP: 192\.0\.2\.10/);
  await rejects(Deno.stat(`${files.runDirectory}/digest.cache`), Deno.errors.NotFound);
});

labTest(
  "a UDP socket serves where packets are not sniffed, and knows where they were sent",
  async (lab) => {
    await lab.gateway.must([
      "iptables",
      "-A",
      "INPUT",
      "-p",
      "udp",
      "--dport",
      "62201",
      "-j",
      "ACCEPT",
    ]);
    const access = `SOURCE ANY\nDESTINATION ${ADDRESSES.gateway}\n${
      STANZA.replace("SOURCE ANY\n", "")
    }`;
    const files = await writeGatewayFiles(lab.directory, "ENABLE_DESTINATION_RULE Y\n", access);
    const gateway = await startGateway(lab, files, "-U");
    await send(lab, knockPacket("udp/1194"));
    await gateway.waitFor(
      /Added access rule to FWKNOP_INPUT for 192\.0\.2\.10 -> 192\.0\.2\.1 udp\/1194/,
    );
    match(await savedRules(lab.gateway), /-s 192\.0\.2\.10\/32 -d 192\.0\.2\.1\/32 -p udp/);
  },
);

labTest("the interface `any` is sniffed, whose frames have no Ethernet header", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, "PCAP_INTF any\n", STANZA);
  const gateway = await startGateway(lab, files);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
});

labTest("iptables-legacy works like iptables-nft", async (lab) => {
  const legacy = `${SNIFF}FIREWALL_EXE /usr/sbin/iptables-legacy\n`;
  const files = await writeGatewayFiles(lab.directory, legacy, STANZA);
  const before = await savedRules(lab.gateway, "iptables-legacy-save");
  const gateway = await startGateway(lab, files);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
  match(
    await savedRules(lab.gateway, "iptables-legacy-save"),
    /-A FWKNOP_INPUT -s 192\.0\.2\.10\/32 -p tcp -m tcp --dport 22 -m time --datestop \S+ -m comment --comment _exp_\d+ -j ACCEPT/,
  );
  strictEqual(await gateway.stop(), 0);
  const rules = (text: string): string =>
    text.split("\n").filter((line) => line.startsWith("-")).join();
  strictEqual(rules(await savedRules(lab.gateway, "iptables-legacy-save")), rules(before));
});

labTest("grants go on after the chains were removed by somebody else", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  await lab.gateway.must(["iptables", "-F"]);
  await lab.gateway.must(["iptables", "-X", "FWKNOP_INPUT"]);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
  match(await savedRules(lab.gateway), /-A INPUT -j FWKNOP_INPUT[^]*-A FWKNOP_INPUT -s 192/);
});

labTest("rules that other programs leave in our chains go when their time is over", async (lab) => {
  const config = `${SNIFF}RULES_CHECK_THRESHOLD 1\n`;
  const files = await writeGatewayFiles(lab.directory, config, STANZA);
  const gateway = await startGateway(lab, files);
  const expires = Math.floor(Date.now() / 1000) + 1;
  await lab.gateway.must([
    ...["iptables", "-A", "FWKNOP_INPUT", "-s", "192.0.2.77", "-p", "tcp", "--dport", "99"],
    ...["-m", "comment", "--comment", `_exp_${expires}`, "-j", "ACCEPT"],
  ]);
  await gateway.waitFor(
    new RegExp(`Removed rule 1 from FWKNOP_INPUT with expire time of ${expires}`),
  );
  ok(!(await savedRules(lab.gateway)).includes("192.0.2.77"));
});

labTest("packets that the gateway itself sends are seen where that is asked for", async (lab) => {
  const config = `PCAP_INTF outside\nENABLE_PCAP_ANY_DIRECTION Y\n`;
  const files = await writeGatewayFiles(lab.directory, config, STANZA);
  const gateway = await startGateway(lab, files);
  const packet = knockPacket("tcp/22");
  await lab.gateway.must(labTool("send_udp", ADDRESSES.client, "62201", packet));
  await gateway.waitFor(/Added access rule/);
});

/** A pcap file (pcap-savefile(5)) of raw IP packets. */
function pcapFile(packets: readonly Uint8Array[]): Uint8Array {
  const words = (...numbers: number[]): number[] => [
    ...new Uint8Array(Uint32Array.from(numbers).buffer),
  ];
  const header = [...words(0xa1b2c3d4), 2, 0, 4, 0, ...words(0, 0, 65535, 101)];
  const records = packets.map((packet) => [
    ...words(0, 0, packet.length, packet.length),
    ...packet,
  ]);
  return Uint8Array.from([...header, ...records.flat()]);
}

/** A UDP packet from the lab's client to its gateway. */
function udpPacket(payload: string): Uint8Array {
  const uint16 = (number: number): number[] => [number >> 8, number & 255];
  return Uint8Array.from([
    ...[0x45, 0, ...uint16(28 + payload.length), 0, 0, 0, 0, 64, 17, 0, 0],
    ...[192, 0, 2, 10, 192, 0, 2, 1],
    ...[...uint16(40000), ...uint16(62201), ...uint16(8 + payload.length), 0, 0],
    ...new TextEncoder().encode(payload),
  ]);
}

labTest("packets of a capture file are granted, whatever their age", async (lab) => {
  const path = `${lab.directory}/knocks.pcap`;
  await Deno.writeFile(path, pcapFile([udpPacket(knockPacket("tcp/22"))]));
  const files = await writeGatewayFiles(lab.directory, SNIFF, `${STANZA}FW_ACCESS_TIMEOUT 1\n`);
  const gateway = await startGateway(lab, files, "--pcap-file", path);
  await gateway.waitFor(/Added access rule to FWKNOP_INPUT for 192\.0\.2\.10/);
  await gateway.waitFor(/Removed rule 1/);
  strictEqual(await gateway.stop(), 0);
});

labTest("packets from standard input are granted, and its end ends the server", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const input = `${knockPacket("tcp/22")}\njunk\n${knockPacket("tcp/443")}`;
  const { status, stderr } = await lab.gateway.run(
    spaCommand("serve", "-A", ...files.options),
    input,
  );
  strictEqual(status, 0, stderr);
  match(stderr, /Added access rule .* tcp\/22[^]*Added access rule .* tcp\/443/);
});

labTest("a firewall command that fails is reported, and the server lives", async (lab) => {
  const script = `${lab.directory}/iptables-wrapper`;
  await Deno.writeTextFile(
    script,
    `#!/bin/sh\nif [ -e ${lab.directory}/broken ]; then case "$*" in *_exp_*) echo "Permission denied (you must be root)" >&2; exit 4;; esac; fi\nexec iptables "$@"\n`,
    { mode: 0o700 },
  );
  const files = await writeGatewayFiles(lab.directory, `${SNIFF}FIREWALL_EXE ${script}\n`, STANZA);
  const gateway = await startGateway(lab, files);
  await Deno.writeTextFile(`${lab.directory}/broken`, "");
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Could not open access: .*Permission denied/);
  ok(!gateway.output().includes("Added access rule"));
  await Deno.remove(`${lab.directory}/broken`);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
});

labTest(
  "with --log-format json each line is an object, and each packet has its own",
  async (lab) => {
    const files = await writeGatewayFiles(lab.directory, SNIFF, `${STANZA}OPEN_PORTS tcp/22\n`);
    const options = [...files.options, "--log-format", "json"];
    const gateway = lab.gateway.start(spaCommand("serve", "-f", ...options));
    await gateway.waitFor(/Starting fwknopd main event loop/);
    const granted = knockPacket("tcp/22");
    await send(lab, granted, knockPacket("udp/53"), granted);
    await gateway.waitFor(/"reason":"replay"/);
    strictEqual(await gateway.stop(), 0);
    const lines = gateway.output().trimEnd().split("\n").map((line) => JSON.parse(line));
    const id = replayDigest(granted).slice(0, 16);
    const decisions = lines.filter(({ event }) => event !== "message");
    deepStrictEqual(
      decisions.map(({ event, source, stanza, reason, request, grant, seconds }) => [
        ...[event, source, stanza, reason, request, grant, seconds],
      ]).sort(),
      [
        ["granted", "192.0.2.10", 1, undefined, "tcp/22", "192.0.2.10", 30],
        ["refused", "192.0.2.10", 1, "port-denied", "udp/53", undefined, undefined],
        ["refused", "192.0.2.10", 1, "replay", undefined, undefined, undefined],
      ],
    );
    strictEqual(decisions.filter((decision) => decision.id === id).length, 2);
    ok(lines.every(({ time }) => Math.abs(Date.parse(time) - Date.now()) < 60_000));
  },
);

labTest("with --log-format json a failed start is an object, too", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, "PCAP_INTF nonesuch0\n", STANZA);
  const { status, stderr } = await serve(lab.gateway, files, "-f", "--log-format", "json");
  strictEqual(status, 1);
  const last = JSON.parse(stderr.trimEnd().split("\n").at(-1) ?? "");
  strictEqual(last.level, "error");
  match(last.text, /"nonesuch0".*No such device/);
});

labTest("SIGUSR1 tells how many packets were granted and refused, by reason", async (lab) => {
  const files = await writeGatewayFiles(
    lab.directory,
    SNIFF,
    `${STANZA}OPEN_PORTS tcp/22,tcp/443\n`,
  );
  const gateway = await startGateway(lab, files);
  gateway.signal("SIGUSR1");
  await gateway.waitFor(
    /^Packets: none; captured 0, dropped 0 by the kernel and 0 by the interface$/m,
  );
  await send(lab, knockPacket("tcp/22"), knockPacket("udp/53"), knockPacket("tcp/443"));
  await gateway.waitFor(/(Added access rule[^]*){2}/);
  gateway.signal("SIGUSR1");
  await gateway.waitFor(/^Packets: granted 2, port-denied 1; captured 3, dropped 0 by/m);
});

labTest("a reload names the settings that only a new start puts in force", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  await Deno.writeTextFile(files.config, `${SNIFF}SYSLOG_IDENTITY spa\nMAX_SPA_PACKET_AGE 60\n`);
  gateway.signal("SIGHUP");
  await gateway.waitFor(
    /^SYSLOG_IDENTITY has changed: that takes effect when the server starts again\.\nRe-starting/m,
  );
});

labTest("the packet limit ends the server", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files, "-C", "2");
  await send(lab, knockPacket("tcp/22"), knockPacket("tcp/443"), knockPacket("tcp/80"));
  strictEqual(await gateway.ended, 0);
  match(gateway.output(), /Packet count limit \(2\) reached\. Exiting\.\.\./);
  ok(!(await savedRules(lab.gateway)).includes("FWKNOP"));
});

labTest("the server ends with a clear line when its interface disappears", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  await lab.gateway.must(["ip", "link", "delete", GATEWAY_INTERFACE]);
  strictEqual(await gateway.ended, 1);
  match(gateway.output(), /^spa: .*"outside".*interface disappeared/m);
  ok(!(await savedRules(lab.gateway)).includes("FWKNOP"));
});

/** What is wrong, the configuration, options, and what the server says of it. */
const BAD_STARTS: readonly [string, string, string, readonly string[], RegExp][] = [
  [
    "an interface that is not there",
    "PCAP_INTF nonesuch0\n",
    STANZA,
    [],
    /"nonesuch0".*No such device/,
  ],
  ["a filter that makes no sense", SNIFF, STANZA, ["-P", "udp prt 1"], /syntax error/],
  [
    "an error in access.conf",
    SNIFF,
    `${STANZA}OPEN_PORTS tcp/22-25\n`,
    [],
    /access\.conf:5:\d+: .*tcp\/22-25/,
  ],
  ["an error in fwknopd.conf", "MAX_SPA_PACKET_AGE x\n", STANZA, [], /fwknopd\.conf:1:20: /],
  [
    "a digest cache that cannot be made",
    `${SNIFF}DIGEST_FILE /proc/digest.cache\n`,
    STANZA,
    [],
    /digest cache "\/proc\/digest\.cache"/,
  ],
  [
    "a firewall program that is not there",
    `${SNIFF}FIREWALL_EXE /nonesuch/iptables\n`,
    STANZA,
    [],
    /\/nonesuch\/iptables/,
  ],
];

for (const [name, config, access, options, expected] of BAD_STARTS) {
  labTest(`the server refuses to start with ${name}, and touches no rule`, async (lab) => {
    const before = await savedRules(lab.gateway);
    const files = await writeGatewayFiles(lab.directory, config, access);
    for (const mode of [["-f"], []]) {
      const { status, stderr } = await serve(lab.gateway, files, ...mode, ...options);
      strictEqual(status, 1);
      match(stderr, expected);
    }
    strictEqual(await savedRules(lab.gateway), before);
  });
}

labTest("a daemon starts when it is ready, reloads, reports, and ends on request", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, `${STANZA}OPEN_PORTS tcp/443\n`);
  try {
    strictEqual((await serve(lab.gateway, files)).status, 0);
    const status = await serve(lab.gateway, files, "-S");
    match(status.stdout, /^Detected fwknopd is running \(pid=\d+\)\.\n$/);
    strictEqual(status.status, 0);

    const again = await serve(lab.gateway, files);
    strictEqual(again.status, 1);
    match(again.stderr, /\[\*\] An instance of fwknopd is already running: \(PID=\d+\)\./);

    const rule = async (): Promise<boolean> =>
      (await savedRules(lab.gateway)).includes("--dport 22 ");
    await Deno.writeTextFile(files.access, `${STANZA}OPEN_PORTS tcp/22\n`);
    const restart = await serve(lab.gateway, files, "-R");
    match(restart.stdout, /^Sent restart signal to fwknopd \(pid=\d+\)\n$/);
    // A daemon's log is not ours to read: knock until the new stanza is in force.
    for (let tries = 0; tries < 100 && !(await rule()); tries++) {
      await send(lab, knockPacket("tcp/22"));
    }
    ok(await rule());

    const kill = await serve(lab.gateway, files, "-K");
    match(kill.stdout, /^Killed fwknopd \(pid=\d+\) via SIGTERM\n$/);
    ok(!(await savedRules(lab.gateway)).includes("FWKNOP"));
    strictEqual((await serve(lab.gateway, files, "-S")).status, 1);
  } finally {
    await serve(lab.gateway, files, "-K");
  }
});

labTest("a firewall that cannot be set up at a reload leaves the present one", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  const impossible = "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 99, X, 1\n";
  await Deno.writeTextFile(files.config, `${SNIFF}${impossible}`);
  gateway.signal("SIGHUP");
  await gateway.waitFor(/going on with the present configuration/);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule to FWKNOP_INPUT for 192\.0\.2\.10/);
});

labTest("a reload under a UDP server keeps its port, whatever changes for libpcap", async (lab) => {
  await lab.gateway.must([
    ...["iptables", "-A", "INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"],
  ]);
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files, "-U");
  await Deno.writeTextFile(files.config, "PCAP_INTF lo\n");
  gateway.signal("SIGHUP");
  await gateway.waitFor(/Re-starting fwknopd/);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
});

labTest(
  "a reload keeps open grants, and a broken file keeps the present configuration",
  async (lab) => {
    const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
    const gateway = await startGateway(lab, files);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule/);
    await Deno.writeTextFile(files.access, "SOURCE nowhere\n");
    gateway.signal("SIGHUP");
    await gateway.waitFor(/Got SIGHUP\. Re-reading configs\.[^]*going on with the present one/);
    await send(lab, knockPacket("tcp/443"));
    await gateway.waitFor(/Added access rule .* tcp\/443/);
    await Deno.writeTextFile(files.access, `${STANZA}OPEN_PORTS tcp/80\n`);
    gateway.signal("SIGHUP");
    await gateway.waitFor(/Re-starting fwknopd/);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/One or more requested protocol\/ports was denied per access\.conf\./);
    match(await savedRules(lab.gateway), /--dport 22 .*\n.*--dport 443 /);
  },
);
