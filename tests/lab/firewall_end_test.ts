// How rules of iptables end: by the kernel when the server is gone, by the next server, by hand.

import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { savedRules, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
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
import { onBothVariants } from "./variants.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
const PORTS = Array.from({ length: 100 }, (_, index) => 5000 + index);

/** How many of our rules a packet to each port meets. */
async function rulesThatOpen(lab: Lab, iptables: string): Promise<number> {
  await lab.gateway.must([iptables, "-Z", "FWKNOP_INPUT"]);
  const send = `for port in ${
    PORTS.join(" ")
  }; do echo > /dev/udp/${ADDRESSES.gateway}/$port; done`;
  await lab.client.must(["bash", "-c", send]);
  const listing = await lab.gateway.must([iptables, "-n", "-v", "-x", "-L", "FWKNOP_INPUT"]);
  return listing.match(/^ *[1-9]\d* .* ACCEPT /gm)?.length ?? 0;
}

/** Resolves once the wall clock is past a second. */
async function past(second: number): Promise<void> {
  while (Date.now() < (second + 1) * 1000) {
    await new Promise((resolve) => setTimeout(resolve, (second + 1) * 1000 - Date.now()));
  }
}

onBothVariants(
  "a hundred rules of a killed server open nothing after their end",
  async (lab, iptables) => {
    const config = `${SNIFF}FIREWALL_EXE ${iptables}\n`;
    const files = await writeGatewayFiles(lab.directory, config, `${STANZA}FW_ACCESS_TIMEOUT 6\n`);
    const first = await startGateway(lab, files);
    await send(lab, ...PORTS.map((port) => knockPacket(`udp/${port}`)));
    await first.waitFor(/Added access rule .* udp\/5099,/);
    strictEqual(await rulesThatOpen(lab, iptables), 100);
    first.signal("SIGKILL");
    await first.ended;

    const saved = await savedRules(lab.gateway, `${iptables}-save`);
    const ends = [...saved.matchAll(/_exp_(\d+)/g)].map(([, end]) => Number(end));
    strictEqual(ends.length, 100);
    await past(Math.max(...ends));
    strictEqual(await rulesThatOpen(lab, iptables), 0);

    const second = await startGateway(lab, files);
    const flushed = await savedRules(lab.gateway, `${iptables}-save`);
    doesNotMatch(flushed, /_exp_/);
    strictEqual(flushed.split("-j FWKNOP_INPUT").length, 2);
    await second.stop();
  },
);

onBothVariants(
  "without flushing, a server takes over what a killed one has left",
  async (lab, iptables) => {
    const service = lab.gateway.start(labTool("tcp_service", "22"));
    await service.waitFor(/listening on 22/);
    const config =
      `${SNIFF}FIREWALL_EXE ${iptables}\nFLUSH_IPT_AT_INIT N\nRULES_CHECK_THRESHOLD 0\n`;
    const files = await writeGatewayFiles(lab.directory, config, STANZA);
    const first = await startGateway(lab, files);
    await send(lab, knockPacket("tcp/22"));
    await first.waitFor(/Added access rule/);
    await send(lab, knockPacket("tcp/23", ADDRESSES.client, { clientTimeout: 2 }));
    await first.waitFor(/Added access rule .* tcp\/23,/);
    first.signal("SIGKILL");
    await first.ended;
    // What fwknopd leaves has no end in the kernel.
    const old =
      "-A FWKNOP_INPUT -p 6 -s 192.0.2.77 --dport 22 -m comment --comment _exp_1 -j ACCEPT";
    const foreign = "-A FWKNOP_INPUT -p 6 -s 192.0.2.78 --dport 22 -j ACCEPT";
    for (const rule of [old, foreign]) await lab.gateway.must([iptables, ...rule.split(" ")]);

    const second = await startGateway(lab, files, "-v");
    await second.waitFor(/Removed rule \d+ from FWKNOP_INPUT with expire time of 1\n/);
    await second.waitFor(/(?:Removed rule[^]*){2}/);
    const kept = (await savedRules(lab.gateway, `${iptables}-save`)).split("\n");
    deepStrictEqual(
      kept.filter((line) => line.startsWith("-A FWKNOP_INPUT")).map((line) =>
        line.replace(/ -m time.*/, "")
      ),
      [
        "-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22",
        "-A FWKNOP_INPUT -s 192.0.2.78/32 -p tcp -m tcp --dport 22 -j ACCEPT",
      ],
    );
    strictEqual(kept.filter((line) => line.endsWith("-j FWKNOP_INPUT")).length, 1);

    // What is open is known: a shorter knock adds nothing, a longer one moves its end.
    await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: 2 }));
    await second.waitFor(/already exists/);
    await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: 300 }));
    await second.waitFor(/made way for another/);
    match(second.output(), /Extended access rule in FWKNOP_INPUT/);
    const saved = await savedRules(lab.gateway, `${iptables}-save`);
    strictEqual(saved.match(/-s 192\.0\.2\.10\/32/g)?.length, 1);
    await second.stop();
    ok(!(await savedRules(lab.gateway, `${iptables}-save`)).includes("FWKNOP"));
  },
);

/** Closed by hand, the port opens for a shorter knock, and no longer than that asks for. */
async function closeAndKnock(lab: Lab, config: string, ports = "tcp/22"): Promise<void> {
  const service = lab.gateway.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
  const files = await writeGatewayFiles(
    lab.directory,
    `${SNIFF}ENABLE_IPT_OUTPUT Y\n${config}`,
    `${STANZA}FW_ACCESS_TIMEOUT 3600\n`,
  );
  const gateway = await startGateway(lab, files);
  await send(lab, knockPacket(ports), knockPacket(ports, ADDRESSES.secondClient));
  await gateway.waitFor(/Added access rule .* 192\.0\.2\.11 /);
  strictEqual(await probe(lab, 22), "open");
  const close = spaCommand("fw-close", "-c", files.config);
  strictEqual((await lab.gateway.run([...close, ADDRESSES.client])).status, 0);
  strictEqual(await probe(lab, 22), "filtered");
  strictEqual((await lab.gateway.run([...close, ADDRESSES.client])).status, 1);

  const told = gateway.output().length;
  await send(lab, knockPacket(ports, ADDRESSES.client, { clientTimeout: 60 }));
  await gateway.waitFor(new RegExp(`^[^]{${told}}[^]*Added access rule .* 192\\.0\\.2\\.10 `));
  strictEqual(await probe(lab, 22), "open");
  const { chains } = JSON.parse(
    await lab.gateway.must(spaCommand("fw-list", "-c", files.config, "--json")),
  );
  // deno-lint-ignore no-explicit-any -- what the command prints is what is under test
  const left = chains.flatMap(({ rules }: any) => rules)
    // deno-lint-ignore no-explicit-any
    .flatMap((rule: any) => rule.source === ADDRESSES.client ? [rule.secondsLeft] : []);
  strictEqual(left.length, ports.split(",").length);
  ok(left.every((seconds: number) => seconds <= 60), `${left} seconds left`);
  strictEqual((await lab.gateway.run([...close, "--all"])).status, 0);
  strictEqual(await probe(lab, 22), "filtered");
  await gateway.stop();
  await service.stop();
}

onBothVariants(
  "fw-close ends grants, and the next knock opens again",
  (lab, iptables) => closeAndKnock(lab, `FIREWALL_EXE ${iptables}\n`),
);

labTest(
  "fw-close ends grants of nftables, and the next knock opens again",
  async (lab) => {
    await lab.gateway.must(["nft", "-f", "-"], CLOSED);
    await closeAndKnock(lab, "FIREWALL_TYPE nftables\n");
    const many = ["tcp/22", ...Array.from({ length: 9 }, (_, index) => `tcp/${1000 + index}`)];
    await closeAndKnock(lab, "FIREWALL_TYPE nftables\nNFT_EXE /usr/sbin/nft\n", many.join(","));
  },
  labMissing() ?? (hasProgram("nft") ? null : "needs the program nft"),
);

const CLOSED = `flush ruleset
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
  }
}
`;

onBothVariants(
  "without the time match, a server says so and ends rules itself",
  async (lab, iptables) => {
    const libraries = "/usr/lib/x86_64-linux-gnu/xtables";
    const extensions = `${lab.directory}/extensions`;
    await Deno.mkdir(extensions);
    for await (const { name } of Deno.readDir(libraries)) {
      if (name !== "libxt_time.so") {
        await Deno.symlink(`${libraries}/${name}`, `${extensions}/${name}`);
      }
    }
    const config = `${SNIFF}FIREWALL_EXE ${iptables}\n`;
    const files = await writeGatewayFiles(lab.directory, config, `${STANZA}FW_ACCESS_TIMEOUT 1\n`);
    const before = await savedRules(lab.gateway, `${iptables}-save`);
    const gateway = await startGateway(
      {
        ...lab,
        gateway: {
          ...lab.gateway,
          start: (words, options) =>
            lab.gateway.start(words, { ...options, env: { XTABLES_LIBDIR: extensions } }),
        },
      },
      files,
    );
    match(gateway.output(), /Rules end only while the server runs: .*time/);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule/);
    await gateway.waitFor(/Removed rule 1 from FWKNOP_INPUT/);
    await gateway.stop();
    strictEqual(await savedRules(lab.gateway, `${iptables}-save`), before);
  },
);
