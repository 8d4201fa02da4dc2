// `spa serve` with FIREWALL_TYPE nftables on a real kernel: each place for grants with traffic,
// what a crash, a reload and a wrong set-up leave, and that nobody else's rules change.

import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { openNftables } from "../../ffi/libnftables.ts";
import { openRuleAsker } from "../../ffi/netlink_rules.ts";
import { type GatewayFiles, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTool,
  openLab,
  spaCommand,
} from "./lab.ts";
import { PATIENCE, type Watched } from "./process.ts";

const BASE = `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE nftables\n`;

/** A bare host's rules: everything closed. */
const CLOSED_INPUT = `table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
    ip saddr 203.0.113.1 counter drop comment "somebody else's"
  }
}
`;

/** Rules that decide about nothing here, and must stay as they are. */
const BYSTANDERS = `table ip other {
  set addresses { type ipv4_addr; elements = { 203.0.113.7 }; }
  chain output { type filter hook output priority filter; policy accept; ip daddr @addresses drop; }
}
`;

const missing = labMissing() ?? (hasProgram("nft") ? null : "needs the program nft");

/** A lab, and what runs nft's commands in it. */
interface NftLab extends Lab {
  /** The line of fwknopd.conf that chooses it. */
  readonly engine: string;
}

/** Without the line, libnftables runs them. */
const ENGINES = { "libnftables": "", "nft -f -": "NFT_EXE /usr/sbin/nft\n" } as const;

function labTest(
  name: string,
  rules: string,
  body: (lab: NftLab) => Promise<void>,
  engine: keyof typeof ENGINES = "libnftables",
): void {
  const title = engine === "libnftables" ? name : `${engine}: ${name}`;
  Deno.test({
    name: missing === null ? title : `${title} (${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await lab.gateway.must(["nft", "-f", "-"], `flush ruleset\n${BYSTANDERS}${rules}`);
        await body({ ...lab, engine: ENGINES[engine] });
      } finally {
        await lab.close();
      }
    },
  });
}

/** For what depends on the answers that nft gives: the same test with each engine. */
function labTestOfEngines(...test: Parameters<typeof labTest>): void {
  const [name, rules, body] = test;
  for (const engine of ["libnftables", "nft -f -"] as const) labTest(name, rules, body, engine);
}

/** The whole ruleset with handles, without counters. */
async function ruleset(lab: Lab): Promise<string> {
  return await lab.gateway.must(["nft", "--stateless", "--handle", "list", "ruleset"]);
}

async function startService(lab: Lab): Promise<void> {
  const service = lab.gateway.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
}

function filesFor(lab: NftLab, config: string, stanza = ""): Promise<GatewayFiles> {
  return writeGatewayFiles(
    lab.directory,
    `${BASE}${lab.engine}${config}`,
    `${STANZA}${stanza}`,
  );
}

/** Waits until the client sees a port in a state; tells the milliseconds that took. */
async function waitForPort(lab: Lab, state: string): Promise<number> {
  const start = performance.now();
  for (;;) {
    const seen = await probe(lab, 22);
    const elapsed = performance.now() - start;
    if (seen === state) return elapsed;
    ok(elapsed < PATIENCE, `port 22 is ${seen}, not ${state}`);
  }
}

async function knock(lab: Lab, gateway: Watched, seconds = 0): Promise<void> {
  const count = gateway.output().match(/(?:Added|Extended) access rule/g)?.length ?? 0;
  await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: seconds }));
  await gateway.waitFor(new RegExp(`(?:(?:Added|Extended) access rule[^]*){${count + 1}}`));
}

for (
  const { title, hidden, rules, config, told } of [
    {
      title: "in the chain that NFT_ATTACH names",
      hidden: "filtered",
      rules: CLOSED_INPUT,
      config: "NFT_ATTACH inet filter input\n",
      told: "grants are accepted in chain inet filter input",
    },
    {
      title: "in the only chain that drops, found by itself",
      hidden: "filtered",
      rules: CLOSED_INPUT,
      config: "",
      told: "grants are accepted in chain inet filter input",
    },
    {
      title: "in a chain whose last rule rejects the rest",
      hidden: "closed",
      rules: `table ip fw {
        chain rest { counter; reject; }
        chain in { type filter hook input priority 0; ct state established accept; jump rest; }
      }\n`,
      config: "",
      told: "grants are accepted in chain ip fw in",
    },
    {
      title: "in a table of our own that hides the service",
      hidden: "filtered",
      rules: "",
      config: "ENABLE_DEFAULT_DROP tcp/22, udp/53\n",
      told: "table inet spa hides tcp/22,udp/53 from all but grants",
    },
    {
      title: "by a mark that two closed chains accept",
      hidden: "filtered",
      rules: ["inet filter", "ip second"].map((table) =>
        `table ${table} {
          chain input {
            type filter hook input priority filter; policy drop;
            ct state established,related accept
            meta mark & 0x5ba == 0x5ba accept
          }
        }\n`
      ).join(""),
      config: "NFT_MARK 0x5ba\n",
      told: "packets of grants carry the mark 0x5ba",
    },
  ]
) {
  labTest(`a grant opens and ends ${title}`, rules, async (lab) => {
    await startService(lab);
    const before = await ruleset(lab);
    const files = await filesFor(lab, config, "FW_ACCESS_TIMEOUT 2\n");
    const check = await serve(lab.gateway, files, "--exit-parse-config");
    strictEqual(check.status, 0, check.stderr);
    ok(check.stderr.includes(told), check.stderr);
    strictEqual(await ruleset(lab), before);

    const gateway = await startGateway(lab, files);
    ok(gateway.output().includes(told));
    strictEqual(await probe(lab, 22), hidden);
    await knock(lab, gateway);
    match(
      gateway.output(),
      /Added access rule to spa_access4 for 192\.0\.2\.10 -> 0\.0\.0\.0\/0 t/,
    );
    const open = lab.client.start(labTool("tcp_probe", ADDRESSES.gateway, "22", "2000", "--hold"));
    await open.waitFor(/open\nhello/);
    await gateway.waitFor(/Removed rule 1 from spa_access4 with expire time of \d+/);
    await waitForPort(lab, hidden);
    await open.write("still there?\n");
    await open.waitFor(/echo: still there\?/);

    strictEqual(await gateway.stop(), 0);
    strictEqual(await ruleset(lab), before);
  });
}

const MANUAL = Deno.readTextFileSync(new URL("../../docs/firewalls.md", import.meta.url));
const DOCUMENTED = [...MANUAL.matchAll(/^```nft\n([^]*?)^```$/gm)].map(([, text = ""]) => text);
strictEqual(DOCUMENTED.length, 3);

for (const [index, rules] of DOCUMENTED.entries()) {
  labTest(
    `ruleset ${index + 1} of docs/firewalls.md hides, and a grant opens`,
    rules,
    async (lab) => {
      await startService(lab);
      const gateway = await startGateway(lab, await filesFor(lab, ""));
      strictEqual(await probe(lab, 22), "filtered");
      await knock(lab, gateway);
      strictEqual(await probe(lab, 22), "open");
      await gateway.stop();
    },
  );
}

labTest(
  "with a destination rule only the address that was knocked at opens",
  CLOSED_INPUT,
  async (lab) => {
    await startService(lab);
    const files = await filesFor(lab, "ENABLE_DESTINATION_RULE Y\n");
    const gateway = await startGateway(lab, files);
    await knock(lab, gateway);
    match(gateway.output(), /to spa_access4_to for 192\.0\.2\.10 -> 192\.0\.2\.1 tcp\/22/);
    strictEqual(await probe(lab, 22), "open");
    strictEqual(await probe(lab, 22, ADDRESSES.gatewayInside), "filtered");
    await gateway.stop();
  },
);

/** Gives client and gateway IPv6 addresses, 2001:db8::2 and 2001:db8::1, and a service for both. */
async function startBothVersions(lab: Lab, table: string): Promise<void> {
  const accept = "for await (const one of Deno.listen({ hostname: '::', port: 22 })) one.close();";
  lab.gateway.start([Deno.execPath(), "eval", accept]);
  for (
    const [host, name, digit] of [[lab.client, "eth0", 2], [lab.gateway, "outside", 1]] as const
  ) {
    await host.must(["ip", "address", "add", `2001:db8::${digit}/64`, "dev", name, "nodad"]);
  }
  // Without neighbour discovery no IPv6 packet arrives, granted or not.
  const solicitations = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
  await lab.gateway.must(["nft", "add", "rule", ...table.split(" "), "input", solicitations]);
}

labTest("a grant for an IPv6 address opens for it alone", CLOSED_INPUT, async (lab) => {
  await startBothVersions(lab, "inet filter");
  const gateway = await startGateway(lab, await filesFor(lab, "", "FW_ACCESS_TIMEOUT 20\n"));
  strictEqual(await probe(lab, 22, "2001:db8::1"), "filtered");
  await send(lab, knockPacket("tcp/22", "2001:db8::2"));
  await gateway.waitFor(/Added access rule to spa_access6 for 2001:db8::2 -> ::\/0 tcp\/22/);
  strictEqual(await probe(lab, 22, "2001:db8::1"), "open");
  strictEqual(await probe(lab, 22), "filtered");
  await gateway.stop();
});

const EACH_VERSION = ["ip", "ip6"].map((family) =>
  `table ${family} filter {
    chain input {
      type filter hook input priority filter; policy drop;
      ct state established,related accept
    }
  }\n`
).join("");

for (const config of ["", "NFT_ATTACH ip filter input, ip6 filter input\n"]) {
  const title = config === "" ? "found by themselves" : "that NFT_ATTACH names";
  labTest(`grants open in a chain for each IP version, ${title}`, EACH_VERSION, async (lab) => {
    await startBothVersions(lab, "ip6 filter");
    const before = await ruleset(lab);
    const gateway = await startGateway(lab, await filesFor(lab, config));
    match(gateway.output(), /grants are accepted in chain ip6 filter input/);
    for (const address of ["192.0.2.1", "2001:db8::1"]) {
      strictEqual(await probe(lab, 22, address), "filtered");
    }
    await knock(lab, gateway);
    strictEqual(await probe(lab, 22), "open");
    strictEqual(await probe(lab, 22, "2001:db8::1"), "filtered");
    await send(lab, knockPacket("tcp/22", "2001:db8::2"));
    await gateway.waitFor(/Added access rule to spa_access6 for 2001:db8::2/);
    strictEqual(await probe(lab, 22, "2001:db8::1"), "open");
    await gateway.stop();
    strictEqual(await ruleset(lab), before);
  });
}

for (
  const { title, rules, config, told } of [
    {
      title: "another chain drops what comes by an interface",
      rules: `${CLOSED_INPUT}table inet guard {
        chain world { counter; drop; }
        chain in {
          type filter hook input priority 10;
          iifname vmap { "outside" : jump world, "inside" : accept }
        }
      }\n`,
      config: "",
      told: /grants cannot open for what comes by outside: inet guard in drops it .*handle \d+/,
    },
    {
      title: "IPv6 is dropped by no chain",
      rules: CLOSED_INPUT.replace("inet", "ip"),
      config: "",
      told: /IPv6 packets are not dropped by any chain/,
    },
    {
      title: "the named chain accepts all",
      rules: CLOSED_INPUT.replace("policy drop", "policy accept").replace("counter drop", "accept"),
      config: "NFT_ATTACH inet filter input\n",
      told: /no chain drops any packet, so nothing is hidden/,
    },
  ]
) {
  labTest(`start and check warn where ${title}`, rules, async (lab) => {
    const files = await filesFor(lab, config);
    const check = await serve(lab.gateway, files, "--exit-parse-config");
    strictEqual(check.status, 0, check.stderr);
    match(check.stderr, told);
    const gateway = await startGateway(lab, files);
    match(gateway.output(), told);
    await gateway.stop();
  });
}

labTest("the kernel ends the grants of a server that was killed", CLOSED_INPUT, async (lab) => {
  await startService(lab);
  const before = await ruleset(lab);
  const files = await filesFor(lab, "", "FW_ACCESS_TIMEOUT 3\n");
  const gateway = await startGateway(lab, files);
  await knock(lab, gateway);
  gateway.signal("SIGKILL");
  await gateway.ended;
  strictEqual(await probe(lab, 22), "open");
  const took = await waitForPort(lab, "filtered");
  ok(took < 5_000, `still open after ${took} ms`);
  const listing = await serve(lab.gateway, files, "--fw-list");
  match(listing.stdout, /No grant is open\./);
  strictEqual((await serve(lab.gateway, files, "--fw-flush")).status, 0);
  strictEqual(await ruleset(lab), before);
});

labTest("a hundred grants of a killed server all end by their time", CLOSED_INPUT, async (lab) => {
  const gateway = await startGateway(lab, await filesFor(lab, "", "FW_ACCESS_TIMEOUT 4\n"));
  const packets = Array.from(
    { length: 100 },
    (_, index) => knockPacket("tcp/22", `10.0.0.${index}`),
  );
  const start = performance.now();
  await send(lab, ...packets);
  await gateway.waitFor(/^Added access rule .* 10\.0\.0\.99 /m);
  const opened = performance.now();
  gateway.signal("SIGKILL");
  await gateway.ended;
  const open = async (): Promise<number> => {
    const set = ["nft", "list", "set", "inet", "filter", "spa_access4"];
    return (await lab.gateway.must(set)).match(/ expires /g)?.length ?? 0;
  };
  const seen = await open();
  ok(seen === 100 || performance.now() - start > 4_000, `only ${seen} were open`);
  while (await open() > 0) {
    ok(performance.now() - opened < 6_000, "some are open after their time");
  }
});

labTest(
  "a second knock extends a grant, and a shorter one does not cut it",
  CLOSED_INPUT,
  async (lab) => {
    await startService(lab);
    const files = await filesFor(lab, "", "FW_ACCESS_TIMEOUT 3\n");
    const gateway = await startGateway(lab, files, "-v");
    const secondsLeft = async (): Promise<number[]> => {
      const listing = await lab.gateway.must(
        spaCommand("fw-list", "-c", files.config, "--json"),
      );
      // deno-lint-ignore no-explicit-any -- what the command prints is what is under test
      const { chains } = JSON.parse(listing) as any;
      // deno-lint-ignore no-explicit-any
      return chains.flatMap(({ rules }: any) => rules.map((rule: any) => rule.secondsLeft));
    };
    await knock(lab, gateway);
    await knock(lab, gateway, 60);
    match(gateway.output(), /Extended access rule in spa_access4 for 192\.0\.2\.10/);
    await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: 5 }));
    await gateway.waitFor(/already exists/);
    const left = await secondsLeft();
    strictEqual(left.length, 1);
    ok(left.every((seconds) => seconds > 40 && seconds <= 60), `${left} seconds left`);
    doesNotMatch(gateway.output(), /Removed rule/);
    await gateway.stop();
  },
);

labTestOfEngines(
  "an element that is there unknown to the server, and ends soon, gets its whole time",
  CLOSED_INPUT,
  async (lab) => {
    const gateway = await startGateway(lab, await filesFor(lab, ""));
    const element = `${ADDRESSES.client} . tcp . 22`;
    const set = ["element", "inet", "filter", "spa_access4"];
    await lab.gateway.must(["nft", "add", ...set, `{ ${element} timeout 20s }`]);
    await knock(lab, gateway, 90);
    const listing = await lab.gateway.must(["nft", "list", "set", ...set.slice(1)]);
    match(listing, /192\.0\.2\.10 \. tcp \. 22 timeout 1m30s expires 1m/);
    await gateway.stop();
  },
);

labTestOfEngines(
  "fw-list shows grants as a table, and fw-flush ends them",
  CLOSED_INPUT,
  async (lab) => {
    await startService(lab);
    const before = await ruleset(lab);
    const files = await filesFor(lab, "");
    const gateway = await startGateway(lab, files);
    await knock(lab, gateway, 300);
    const listing = await serve(lab.gateway, files, "--fw-list");
    match(listing.stdout, /^ADDRESS +MAY REACH +PORT +TRANSLATED TO +SECONDS LEFT +STANZA +SET\n/);
    match(
      listing.stdout,
      /^192\.0\.2\.10 +any +tcp\/22 +- +2\d\d +1 +inet filter spa_access4$/m,
    );
    const all = await serve(lab.gateway, files, "--fw-list-all");
    match(all.stdout, /somebody else's/);
    strictEqual((await serve(lab.gateway, files, "--fw-flush")).status, 0);
    strictEqual(await ruleset(lab), before);
    strictEqual(await probe(lab, 22), "filtered");

    await knock(lab, gateway, 300);
    strictEqual(await probe(lab, 22), "open");
    await gateway.stop();
    strictEqual(await ruleset(lab), before);
  },
);

for (
  const { title, config = "", damage, seconds, told } of [
    {
      title: "the ruleset was loaded again from its file",
      damage: `flush ruleset\n${CLOSED_INPUT}`,
      seconds: 60,
      told: /(?:Added access rule[^]*){2}/,
    },
    {
      title: "somebody wrote the chain anew",
      damage:
        "flush chain inet filter input\nadd rule inet filter input ct state established accept\n",
      // A shorter one, for which there is nothing to extend.
      seconds: 20,
      told: /already exists/,
    },
    {
      title: "somebody emptied the chain that looks packets up",
      damage: "flush chain inet filter spa_input\n",
      seconds: 20,
      told: /already exists/,
    },
    {
      title: "somebody emptied the chain that marks packets",
      config: "NFT_MARK 0x5ba\n",
      damage: "flush chain inet spa input\n",
      seconds: 20,
      told: /already exists/,
    },
    {
      title: "somebody deleted the chain that marks packets",
      config: "NFT_MARK 0x5ba\n",
      damage: "delete chain inet spa input\n",
      seconds: 20,
      told: /already exists/,
    },
  ]
) {
  labTestOfEngines(`the next knock opens although ${title}`, CLOSED_INPUT, async (lab) => {
    await startService(lab);
    if (config !== "") {
      await lab.gateway.must(["nft", "insert rule inet filter input meta mark 0x5ba accept"]);
    }
    const gateway = await startGateway(lab, await filesFor(lab, config), "-v");
    await knock(lab, gateway);
    await lab.gateway.must(["nft", "-f", "-"], damage);
    const list = ["nft", "-s", "list", "chain", "inet", "filter", "input"];
    const before = await lab.gateway.must(list);
    strictEqual(await probe(lab, 22), "filtered");
    await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: seconds }));
    await gateway.waitFor(told);
    strictEqual(await probe(lab, 22), "open");
    await gateway.stop();
    strictEqual(await lab.gateway.must(list), before.replace(/.*jump spa_input.*\n/, ""));
  });
}

for (const [engine, line] of Object.entries(ENGINES)) {
  const loads = line === "";
  labTest(
    `${engine} ${loads ? "is" : "keeps libnftables from being"} loaded`,
    CLOSED_INPUT,
    async (lab) => {
      const gateway = await startGateway(lab, await filesFor({ ...lab, engine: line }, ""));
      const maps = await Deno.readTextFile(`/proc/${gateway.pid}/maps`);
      strictEqual(maps.includes("/libnftables.so"), loads && openNftables() !== null);
      await gateway.stop();
    },
  );
}

labTestOfEngines(
  "a set that somebody else's rule uses stops the start, and is told with it",
  CLOSED_INPUT,
  async (lab) => {
    const set = "inet filter spa_access4";
    await lab.gateway.must(["nft", `add set ${set} { type ipv4_addr; }`]);
    await lab.gateway.must(["nft", "add rule inet filter input ip saddr @spa_access4 accept"]);
    const done = await serve(lab.gateway, await filesFor(lab, ""), "--foreground");
    strictEqual(done.status, 1);
    match(done.stderr, /busy.*; inet filter input \(rule with handle \d+\) uses spa_access4/);
  },
);

labTest("grants outlive a restart where they are not flushed", CLOSED_INPUT, async (lab) => {
  await startService(lab);
  const files = await filesFor(lab, "FLUSH_IPT_AT_INIT N\nFLUSH_IPT_AT_EXIT N\n");
  const first = await startGateway(lab, files);
  await knock(lab, first, 60);
  await first.stop();
  strictEqual(await probe(lab, 22), "open");
  const second = await startGateway(lab, files);
  strictEqual(await probe(lab, 22), "open");
  await knock(lab, second, 90);
  match(second.output(), /Extended access rule/);
  await second.stop();
  const jumps = (await ruleset(lab)).match(/jump spa_input/g);
  strictEqual(jumps?.length, 1);
});

labTest("what hides a service comes back by itself after it was flushed", "", async (lab) => {
  await startService(lab);
  const files = await filesFor(lab, "ENABLE_DEFAULT_DROP tcp/22\n", "FW_ACCESS_TIMEOUT 600\n");
  const gateway = await startGateway(lab, files);
  await knock(lab, gateway);
  await lab.gateway.must(["nft", "flush", "ruleset"]);
  strictEqual(await probe(lab, 22), "open");
  await gateway.waitFor(/rules that hide services were gone, and are back; grants .* have ended/);
  strictEqual(await probe(lab, 22), "filtered");
  await knock(lab, gateway);
  strictEqual(await probe(lab, 22), "open");
  doesNotMatch(gateway.output(), /Extended/);
  await gateway.stop();
  strictEqual(await ruleset(lab), "");
});

Deno.test({
  name: `the kernel says that a rule is not there${Deno.uid() === 0 ? "" : " (needs root)"}`,
  ignore: Deno.uid() !== 0,
  fn: () => {
    const rule = { family: "inet", table: "spa-no-such-table", chain: "c", handle: 3 } as const;
    strictEqual(openRuleAsker()?.(rule), false);
  },
});

const DROPS_TOO = `table ip guard {
  chain in { type filter hook input priority 10; policy drop; ip saddr 203.0.113.9 accept; }
}
`;

for (
  const { title, rules, config, reason } of [
    {
      title: "a second chain drops what the first accepts",
      rules: CLOSED_INPUT + DROPS_TOO,
      config: "NFT_ATTACH inet filter input\n",
      reason: /a grant in inet filter input could not open: ip guard in drops, too/,
    },
    {
      title: "two chains drop and none is named",
      rules: CLOSED_INPUT + DROPS_TOO,
      config: "",
      reason: /more than one chain drops \(inet filter input, ip guard in\)/,
    },
    {
      title: "nothing drops",
      rules: "table inet filter { chain input { type filter hook input priority 0; }; }\n",
      config: "",
      reason: /drops what it does not know; set ENABLE_DEFAULT_DROP/,
    },
    {
      title: "the chain is not there",
      rules: CLOSED_INPUT,
      config: "NFT_ATTACH inet filter forward\n",
      reason: /there is no chain inet filter forward/,
    },
    {
      title: "the chain is of another hook",
      rules: CLOSED_INPUT,
      config: "NFT_ATTACH ip other output\n",
      reason: /ip other output is no filter chain of the input hook/,
    },
    {
      title: "another chain drops what our own table lets through",
      rules: CLOSED_INPUT,
      config: "ENABLE_DEFAULT_DROP tcp/22\n",
      reason: /inet filter input drops what it does not know; set NFT_ATTACH inet filter input/,
    },
    {
      title: "no rule accepts the mark",
      rules: CLOSED_INPUT,
      config: "NFT_MARK 0x5ba\n",
      reason: /does not accept .*: nft insert rule inet filter input meta mark 0x5ba accept/,
    },
    {
      title: "all is dropped before a rule accepts the mark",
      rules: CLOSED_INPUT.replace("counter drop", "drop; counter drop; meta mark 0x5ba accept"),
      config: "NFT_MARK 0x5ba\n",
      reason: /inet filter input does not accept all that carries the mark; put that first/,
    },
    {
      title: "a chain takes the mark off",
      rules: `${CLOSED_INPUT.replace("iif lo", "meta mark 0x5ba accept\n iif lo")}table ip m {
        chain in { type filter hook input priority -10; meta mark set 0x1; }
      }\n`,
      config: "NFT_MARK 0x5ba\n",
      reason: /ip m in takes the mark 0x5ba off all packets/,
    },
    {
      title: "nft is not installed",
      rules: CLOSED_INPUT,
      config: "NFT_EXE /usr/sbin/no-such-nft\n",
      reason: /\/usr\/sbin\/no-such-nft is not there; install the package nftables/,
    },
  ]
) {
  labTest(`start and check refuse, and change nothing, where ${title}`, rules, async (lab) => {
    const before = await ruleset(lab);
    const files = await filesFor(lab, config);
    for (const option of ["--exit-parse-config", "--foreground"]) {
      const done = await serve(lab.gateway, files, option);
      strictEqual(done.status, 1, done.stderr);
      match(done.stderr, reason);
    }
    strictEqual(await ruleset(lab), before);
  });
}

labTest("the rules of iptables are left to iptables", "", async (lab) => {
  await lab.gateway.must(["iptables-nft", "-P", "INPUT", "DROP"]);
  const files = await filesFor(lab, "");
  const done = await serve(lab.gateway, files, "--exit-parse-config");
  strictEqual(done.status, 1);
  match(done.stderr, /ip filter INPUT belongs to iptables; set FIREWALL_TYPE iptables/);
});

labTestOfEngines(
  "a transaction that fails leaves the ruleset as it was",
  CLOSED_INPUT,
  async (lab) => {
    await lab.gateway.must(["nft", "add set inet filter spa_access6 { type ether_addr; }"]);
    const before = await ruleset(lab);
    const files = await filesFor(lab, "FLUSH_IPT_AT_INIT N\n");
    const done = await serve(lab.gateway, files, "--foreground");
    strictEqual(done.status, 1);
    match(done.stderr, /cannot set up nftables: .*datatype mismatch/);
    deepStrictEqual(await ruleset(lab), before);
  },
);
