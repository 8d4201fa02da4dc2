// The nftables planner: where grants go, the scripts it writes, and what it reads back. The real
// kernel judges the same scripts in tests/lab/nftables_test.ts.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Nftables } from "../ffi/libnftables.ts";
import type { AccessGrant, FirewallGrant, NatGrant, NatTerms } from "../lib/auth_grant.ts";
import type { FirewallPlanner, Plan } from "../lib/fw_firewall.ts";
import { type NftablesConfig, nftablesPlanner } from "../lib/fw_nftables.ts";
import { NFT_PROGRAM } from "../lib/fw_nftables_calls.ts";
import { choosePlaces } from "../lib/fw_nftables_place.ts";
import { type NftTable, OWN_TABLE, parseRuleset } from "../lib/fw_nftables_ruleset.ts";
import { elementScript, parseElements } from "../lib/fw_nftables_elements.ts";
import { elementsOf } from "../lib/fw_nftables_grant.ts";
import { hooksFor, type PlacedSet, setsFor } from "../lib/fw_nftables_sets.ts";
import { placeWarnings } from "../lib/fw_nftables_warnings.ts";
import type { Native, ProgramCall, ProgramResult } from "../lib/host.ts";
import { ipFromValue } from "../lib/net_address.ts";
import { createFirewall } from "../lib/serve_firewall.ts";
import { createLog } from "../lib/serve_log.ts";
import { nftRunner } from "../lib/serve_nft.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";
import { ACCEPT, base, chain, type Json, json, match } from "./nftables_json.ts";

const CONFIG: NftablesConfig = DEFAULT_CONFIG;
const TABLE = { family: "inet", table: "filter" } as const;

const GRANT: AccessGrant = {
  kind: "access",
  stanza: 3,
  source: "192.0.2.10",
  destination: "203.0.113.1",
  ports: [{ protocol: "tcp", port: 22 }, { protocol: "udp", port: 1194 }],
  seconds: 30,
  expires: 1_795_323_530,
};

const NAT_CONFIG: NftablesConfig = {
  ...CONFIG,
  ENABLE_IPT_FORWARDING: true,
  ENABLE_IPT_SNAT: true,
  ENABLE_IPT_OUTPUT: true,
};

/** The sets of a configuration, all of its chains being in one table. */
function setsIn(table: NftTable, config: NftablesConfig = CONFIG): PlacedSet[] {
  const hooks: readonly string[] = hooksFor(config);
  return setsFor(config, (hook) => hooks.includes(hook) ? table : OWN_TABLE);
}

const ONE = base("inet filter input", "drop");
const HIDING = base("inet spa input", "accept");
const HIDDEN = [{ protocol: "tcp", port: 22 }] as const;

Deno.test("an element names address, protocol and port, lasts its time and tells its stanza", () => {
  const choice = elementsOf(GRANT, setsIn(TABLE), CONFIG);
  assert(choice.ok);
  const [first, second] = choice.rules;
  assert(first && second);
  assert.equal(second.text, "192.0.2.10 . udp . 1194");
  const element = "element inet filter spa_access4 { 192.0.2.10 . tcp . 22";
  const whole = `${element} timeout 30s comment "stanza 3 _exp_1795323530" }`;
  assert.deepEqual(elementScript(first, "new"), [`create ${whole}`]);
  assert.deepEqual(elementScript(first, "renewed"), [
    `add ${whole}`,
    `delete ${element} }`,
    `add ${whole}`,
  ]);
});

Deno.test("elementsOf() takes the set of the address's version, where the table has it", () => {
  const six = { source: "2001:DB8::1", destination: "2001:db8:0::2" };
  const cases: [
    grant: Partial<AccessGrant>,
    family: "ip" | "ip6" | "inet",
    destination: boolean,
    expected: string | RegExp,
  ][] = [
    [{}, "ip", false, "spa_access4 192.0.2.10 . tcp . 22"],
    [{}, "inet", true, "spa_access4_to 192.0.2.10 . 203.0.113.1 . tcp . 22"],
    [six, "inet", false, "spa_access6 2001:db8::1 . tcp . 22"],
    [six, "ip6", true, "spa_access6_to 2001:db8::1 . 2001:db8::2 . tcp . 22"],
    [six, "ip", false, /table ip t has no IPv6 packets/],
    [{}, "ip6", false, /table ip6 t has no IPv4 packets/],
    [{ source: "2001:db8::1" }, "inet", true, /packets to 203\.0\.113\.1 cannot come from/],
    [{ source: "192.0.2.1 }" }, "inet", false, /not an address/],
  ];
  for (const [changes, family, destination, expected] of cases) {
    const grant = { ...GRANT, ...changes };
    const config = { ...CONFIG, ENABLE_DESTINATION_RULE: destination };
    const choice = elementsOf(grant, setsIn({ family, table: "t" }, config), config);
    if (typeof expected !== "string") {
      assert.match(choice.ok ? "" : choice.reason, expected);
      continue;
    }
    const [rule] = choice.ok ? choice.rules : [];
    assert.equal(`${rule?.chain} ${rule?.text}`, expected);
  }
});

Deno.test("parseElements() gives back the text, end and stanza of every element that was added", () => {
  const addressOf = (version: 4 | 6) =>
    fc.bigInt(0n, (1n << (version === 4 ? 32n : 128n)) - 1n)
      .map((value) => ipFromValue(version, value).text);
  const addresses = fc.oneof(
    ...([4, 6] as const).map((version) =>
      fc.array(addressOf(version), { minLength: 4, maxLength: 4 })
    ),
  );
  const terms = fc.record({
    local: fc.boolean(),
    all: fc.boolean(),
    masquerade: fc.boolean(),
    port: fc.nat(65535),
    snats: fc.boolean(),
  });
  fc.assert(
    fc.property(addresses, terms, fc.boolean(), fc.nat(1000), (texts, nat, to, stanza) => {
      const [source = "", destination = "", host = "", forcedSource = ""] = texts;
      const config = { ...NAT_CONFIG, ENABLE_DESTINATION_RULE: to, ENABLE_DOCKER: true };
      const sets = setsIn(TABLE, config);
      const ports = [{ protocol: "udp", port: nat.port }] as const;
      const common = { ...GRANT, source, destination, stanza, ports };
      const grants: FirewallGrant[] = [
        common,
        {
          ...common,
          kind: "nat",
          nat: {
            ...nat,
            host,
            translatesDestination: true,
            forcedSource: nat.snats ? forcedSource : null,
          },
        },
      ];
      for (const grant of grants) {
        const choice = elementsOf(grant, sets, config);
        assert(choice.ok);
        for (const rule of choice.rules) {
          const set = sets.find(({ name }) => name === rule.chain);
          assert(set);
          const listing = listingOf(elementScript(rule, "new")[0] ?? "");
          const [listed, ...more] = parseElements(listing, set) ?? [];
          assert.equal(more.length, 0);
          assert.deepEqual(
            [listed?.text, listed?.expires, listed?.stanza, listed?.secondsLeft, listed?.target],
            [rule.text, grant.expires, stanza, 29, set.action],
          );
          assert.equal(
            listed?.chain.startsWith("spa_output") ? listed.destination : listed?.source,
            source,
          );
        }
      }
    }),
  );
});

/** What nft lists after a line that creates an element. */
function listingOf(line: string): string {
  const [, key = "", comment, value] =
    /\{ (.*) timeout .* comment "(.*?)"(?: : (.*))? \}$/.exec(line) ?? [];
  const plain = (text: string): unknown => {
    const parts = text.split(" . ").map((part) => /^\d+$/.test(part) ? Number(part) : part);
    return parts.length === 1 ? parts[0] : { concat: parts };
  };
  const elem = { elem: { val: plain(key), timeout: 30, expires: 29, comment } };
  return json([
    value === undefined ? { set: { elem: [elem] } } : { map: { elem: [[elem, plain(value)]] } },
  ]);
}

Deno.test("elements of somebody else are left out or have no end; other text is no list", () => {
  const [set] = setsIn(TABLE);
  assert(set);
  const elem = ["192.0.2.1", { elem: { val: { concat: ["192.0.2.2", "tcp", 22] } } }, null];
  const listed = parseElements(json([{ set: { elem } }]), set);
  assert.deepEqual(listed?.map(({ source, expires }) => [source, expires]), [["192.0.2.2", null]]);
  for (const text of ["", "{", "[]", "null", '{"nftables": 1}']) {
    assert.equal(parseElements(text, set), null);
    assert.equal(parseRuleset(text), null);
  }
});

Deno.test("no JSON makes parseRuleset() or the choice of a place throw", () => {
  const object = fc.dictionary(fc.constantFrom("table", "chain", "set", "rule"), fc.jsonValue());
  fc.assert(
    fc.property(fc.array(object), (objects) => {
      const ruleset = parseRuleset(JSON.stringify({ nftables: objects }));
      assert(ruleset !== null);
      for (const NFT_MARK of [null, 1]) {
        const hooks = ["input", "forward", "output"] as const;
        const choice = choosePlaces({ ...CONFIG, NFT_MARK }, ruleset, hooks);
        if (choice.ok) placeWarnings(ruleset, choice.places);
      }
      for (const set of setsIn(TABLE, NAT_CONFIG)) {
        parseElements(JSON.stringify({ nftables: objects }), set);
      }
    }),
  );
});

/** An nft that tells one ruleset, and takes or refuses scripts. */
function fakeNft(objects: readonly Json[]): {
  objects: readonly Json[];
  scripts: string[];
  refuse: RegExp | null;
  reason: string;
  /** Whether what our scripts put in is there. */
  intact: boolean;
  run(call: ProgramCall): ProgramResult;
} {
  return {
    objects,
    scripts: [],
    refuse: null,
    reason: "No such file or directory",
    intact: true,
    run(call) {
      if (call.stdin === undefined) {
        const objects = this.intact ? [...this.objects, ...ourRules(this.scripts)] : this.objects;
        return { status: 0, stdout: json(objects), stderr: "" };
      }
      if (call.args.includes("--check")) {
        return { status: this.intact ? 0 : 1, stdout: "", stderr: "" };
      }
      const lines = call.stdin.split("\n");
      const bad = lines.findIndex((line) => this.refuse?.test(line));
      if (bad >= 0) {
        const stderr = `/dev/stdin:${bad + 1}:1-9: Error: ${this.reason}\nline\n^^^^\n`;
        return { status: 1, stdout: "", stderr };
      }
      this.scripts.push(call.stdin);
      if (/^add rule/m.test(call.stdin)) this.intact = true;
      return { status: 0, stdout: "", stderr: "" };
    },
  };
}

/** The chains and rules that scripts have put in, in no order. */
function ourRules(scripts: readonly string[]): Json[] {
  const lines = scripts.flatMap((script) => script.split("\n"));
  return lines.flatMap((line, index): Json[] => {
    const added = /^add chain (\S+) (\S+) (spa_\S+)$/.exec(line);
    if (added !== null) return chain(added.slice(1).join(" "));
    const [, place, hook, priority] =
      /^add chain (\S+ \S+ \S+) \{ type \S+ hook (\S+) priority (\S+);/.exec(line) ?? [];
    if (place !== undefined) return base(`${place} ${hook} ${priority}`, "accept");
    const [, family, table, name, expression = ""] =
      /^(?:add|insert) rule (\S+) (\S+) (\S+) (.*)$/.exec(line) ?? [];
    if (name === undefined) return [];
    const [, target, comment] = /^jump (\S+) comment "(.*)"$/.exec(expression) ?? [];
    const expr = target === undefined ? [match(line, "@set"), ACCEPT] : [{ jump: { target } }];
    return [{ rule: { family, table, chain: name, handle: 100 + index, comment, expr } }];
  });
}

function follow<T>(plan: Plan<T>, run: (call: ProgramCall) => ProgramResult): T {
  let step = plan.next();
  while (!step.done) step = plan.next(step.value.map(({ call }) => run(call)));
  return step.value;
}

Deno.test("set-up, grants and tear-down are one transaction each", () => {
  const nft = fakeNft([]);
  const planner = nftablesPlanner({ ...CONFIG, ENABLE_DEFAULT_DROP: HIDDEN });
  const run = nft.run.bind(nft);
  assert.equal(follow(planner.setUp(true), run).ok, true);
  const choice = planner.rulesFor(GRANT);
  assert(choice.ok);
  assert.equal(follow(planner.add(choice.rules), run).ok, true);
  assert.equal(follow(planner.tearDown(), run).ok, true);
  assert.equal(nft.scripts.length, 3);
  assert.match(nft.scripts[0] ?? "", /^add table inet spa\n/);
  assert.match(nft.scripts[0] ?? "", /\nadd rule inet spa input tcp dport \{ 22 \} drop\n$/);
  assert.equal(nft.scripts[2], "delete table inet spa\n");
});

Deno.test("a refused element is a failure that names the line, and removing costs no process", () => {
  const nft = fakeNft(ONE);
  const planner = nftablesPlanner(CONFIG);
  const run = nft.run.bind(nft);
  follow(planner.setUp(true), run);
  const choice = planner.rulesFor(GRANT);
  assert(choice.ok);
  nft.refuse = /element .* 1194/;
  const outcome = follow(planner.add(choice.rules), run);
  assert(!outcome.ok);
  assert.equal(outcome.blames, "rules");
  assert.match(outcome.reason, /No such file or directory \(add element .* udp \. 1194 timeout/);
  const removed = follow(planner.remove(choice.rules), () => assert.fail("ran a program"));
  assert.deepEqual(removed.removed, choice.rules);
});

Deno.test("an element that is unexpectedly there gets its whole time all the same", () => {
  const nft = fakeNft(HIDING);
  const planner = nftablesPlanner({ ...CONFIG, ENABLE_DEFAULT_DROP: HIDDEN });
  const run = nft.run.bind(nft);
  follow(planner.setUp(true), run);
  const choice = planner.rulesFor(GRANT);
  assert(choice.ok);
  nft.refuse = /^create element .* 1194/;
  nft.reason = "File exists";
  nft.scripts.length = 0;
  assert.deepEqual(follow(planner.add(choice.rules), run), { ok: true, repaired: [], lost: [] });
  const operations = nft.scripts.join("").split("\n").map((line) => line.split(" ")[0]);
  assert.deepEqual(operations, ["add", "delete", "add", "add", "delete", "add", ""]);
});

const NAT_GRANT: NatGrant = {
  ...GRANT,
  kind: "nat",
  ports: [{ protocol: "tcp", port: 8022 }],
  nat: {
    local: false,
    host: "198.51.100.20",
    port: 22,
    all: false,
    translatesDestination: true,
    forcedSource: null,
    masquerade: false,
  },
};

Deno.test("a NAT grant is what its terms and the configuration say", () => {
  const forward = "spa_forward4 192.0.2.10 . 198.51.100.20 . tcp . 22";
  const dnat = "spa_dnat4 192.0.2.10 . 203.0.113.1 . tcp . 8022 : 198.51.100.20 . 22";
  const dnatAll = "spa_dnat4_all 192.0.2.10 . 203.0.113.1 : 198.51.100.20";
  const flow = "192.0.2.10 . 198.51.100.20 . tcp . 22";
  const snat = { ENABLE_IPT_SNAT: true };
  const six = {
    source: "2001:DB8::1",
    destination: "2001:db8::2",
  };
  const cases: [
    terms: Partial<NatTerms>,
    config: Partial<NftablesConfig>,
    expected: string[] | RegExp,
    grant?: Partial<NatGrant>,
  ][] = [
    [{}, {}, [forward, dnat]],
    [{ translatesDestination: false }, {}, [forward]],
    [{}, snat, [forward, dnat, `spa_masquerade4 ${flow}`]],
    [{}, { ...snat, SNAT_TRANSLATE_IP: "198.51.100.1" }, [
      forward,
      dnat,
      `spa_snat4 ${flow} : 198.51.100.1`,
    ]],
    [{}, { ...snat, SNAT_TRANSLATE_IP: "2001:db8::1, 198.51.100.1" }, [
      forward,
      dnat,
      `spa_snat4 ${flow} : 198.51.100.1`,
    ]],
    [{}, { ...snat, SNAT_TRANSLATE_IP: "2001:db8::1" }, [forward, dnat, `spa_masquerade4 ${flow}`]],
    [{ forcedSource: "198.51.100.9" }, snat, [forward, dnat, `spa_snat4 ${flow} : 198.51.100.9`]],
    [{ masquerade: true }, { ...snat, SNAT_TRANSLATE_IP: "198.51.100.1" }, [
      forward,
      dnat,
      `spa_masquerade4 ${flow}`,
    ]],
    [{ all: true }, {}, ["spa_forward4_host 192.0.2.10 . 198.51.100.20", dnatAll]],
    [{ all: true, translatesDestination: false, host: "0.0.0.0", port: 0 }, snat, [
      "spa_forward4_all 192.0.2.10",
      "spa_masquerade4_all 192.0.2.10",
    ]],
    [{ local: true, host: "203.0.113.1" }, snat, [
      "spa_access4 192.0.2.10 . tcp . 22",
      "spa_dnat4 192.0.2.10 . 203.0.113.1 . tcp . 8022 : 203.0.113.1 . 22",
    ]],
    [{ local: true }, { ENABLE_DESTINATION_RULE: true, ENABLE_IPT_OUTPUT: true }, [
      "spa_access4_to 192.0.2.10 . 198.51.100.20 . tcp . 22",
      "spa_output4_from 198.51.100.20 . 192.0.2.10 . tcp . 22",
      dnat,
    ]],
    [{ host: "2001:db8::20" }, snat, [
      "spa_forward6 2001:db8::1 . 2001:db8::20 . tcp . 22",
      "spa_dnat6 2001:db8::1 . 2001:db8::2 . tcp . 8022 : 2001:db8::20 . 22",
      "spa_masquerade6 2001:db8::1 . 2001:db8::20 . tcp . 22",
    ], six],
    [{}, {}, /packets to 198\.51\.100\.20 cannot come from 2001:db8::1/, six],
    [{ forcedSource: "2001:db8::9" }, snat, /packets to 2001:db8::9 cannot come from 192\.0/],
    [{ host: "inner }" }, {}, /"inner }": not an address/],
    [{}, { ENABLE_IPT_FORWARDING: false, ENABLE_IPT_LOCAL_NAT: true }, /FORWARDING is not set/],
    [{ local: true }, { ENABLE_IPT_FORWARDING: false }, /neither ENABLE_IPT_FORWARDING nor/],
  ];
  for (const [terms, changes, expected, grant] of cases) {
    const config = { ...CONFIG, ENABLE_IPT_FORWARDING: true, ...changes };
    const whole = { ...NAT_GRANT, ...grant, nat: { ...NAT_GRANT.nat, ...terms } };
    const choice = elementsOf(whole, setsIn(TABLE, config), config);
    const title = JSON.stringify([terms, changes]);
    if (!Array.isArray(expected)) {
      assert.match(choice.ok ? "ok" : choice.reason, expected, title);
      continue;
    }
    const rules = choice.ok ? choice.rules : [];
    assert.deepEqual(rules.map(({ chain, text }) => `${chain} ${text}`), expected, title);
    for (const { chain, table } of rules) {
      const translates = /dnat|snat|masquerade/.test(chain);
      assert.equal(table, translates ? "inet spa" : "inet filter", title);
    }
  }
});

Deno.test("set-up declares each set where packets are looked up in it, and translates ahead of others", () => {
  const nft = fakeNft([...ONE, ...base("inet filter forward forward", "drop")]);
  const planner = nftablesPlanner({ ...NAT_CONFIG, ENABLE_IPT_OUTPUT: false });
  const outcome = follow(planner.setUp(true), nft.run.bind(nft));
  assert.deepEqual(outcome.ok && outcome.lines, [
    "nftables: grants are accepted in chain inet filter input",
    "nftables: forwarded grants are accepted in chain inet filter forward",
    "nftables: addresses are translated in table inet spa",
  ]);
  const [script = ""] = nft.scripts;
  for (
    const line of [
      "add set inet filter spa_forward4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service;" +
      " flags timeout; }",
      "insert rule inet filter forward jump spa_forward" +
      ' comment "spa: single packet authorization"',
      "add map inet spa spa_dnat4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service" +
      " : ipv4_addr . inet_service; flags timeout; }",
      "add map inet spa spa_snat6_all { type ipv6_addr : ipv6_addr; flags timeout; }",
      "add chain inet spa prerouting" +
      " { type nat hook prerouting priority -110; policy accept; }",
      "add rule inet spa prerouting meta l4proto { tcp, udp } dnat ip to" +
      " ip saddr . ip daddr . meta l4proto . th dport map @spa_dnat4",
      "add rule inet spa postrouting ip6 saddr @spa_masquerade6_all masquerade",
    ]
  ) assert(script.split("\n").includes(line), line);
});

Deno.test("an element of a map that leads elsewhere is replaced, and one that has gone is made", () => {
  const nft = fakeNft([...ONE, ...base("inet filter forward forward", "drop")]);
  const planner = nftablesPlanner({ ...CONFIG, ENABLE_IPT_FORWARDING: true });
  const answers: ((call: ProgramCall) => ProgramResult)[] = [];
  const run = (call: ProgramCall): ProgramResult => (answers.shift() ?? nft.run.bind(nft))(call);
  follow(planner.setUp(true), run);
  const choice = planner.rulesFor(NAT_GRANT);
  assert(choice.ok);
  const fails = (reason: string) => (): ProgramResult => ({
    status: 1,
    stdout: "",
    stderr: `Error: Could not process rule: ${reason}\n`,
  });
  const concat = ["192.0.2.10", "203.0.113.1", "tcp", 8022];
  const elem = [[{ elem: { val: { concat }, expires: 9 } }, { concat: ["198.51.100.21", 22] }]];
  const lists = (...elements: readonly unknown[]) => (call: ProgramCall): ProgramResult => {
    assert.deepEqual(call.args, ["--json", "list", "map", "inet", "spa", "spa_dnat4"]);
    return { status: 0, stdout: json([{ map: { elem: elements } }]), stderr: "" };
  };
  nft.scripts.length = 0;
  answers.push(fails("File exists"), lists(...elem), fails("No such file or directory"), lists());
  assert.deepEqual(follow(planner.add(choice.rules), run), { ok: true, repaired: [], lost: [] });
  assert.match(nft.scripts.join(), /\ncreate element inet spa spa_dnat4 \{/);

  nft.scripts.length = 0;
  answers.push(fails("File exists"), lists(...elem));
  assert.deepEqual(follow(planner.add(choice.rules), run), { ok: true, repaired: [], lost: [] });
  assert.match(
    nft.scripts.join(),
    /\ndelete element inet spa spa_dnat4 \{ 192\.0\.2\.10 \. 203\.0\.113\.1 \. tcp \. 8022 \}\ncreate /,
  );
});

Deno.test("a grant opens where the chain is now, if another table has it since the start", () => {
  const nft = fakeNft(ONE);
  const planner = nftablesPlanner(CONFIG);
  const run = nft.run.bind(nft);
  follow(planner.setUp(true), run);
  const choice = planner.rulesFor(GRANT);
  assert(choice.ok);
  nft.objects = base("inet firewall in", "drop");
  nft.refuse = /element inet filter/;
  nft.scripts.length = 0;
  const outcome = follow(planner.add(choice.rules), run);
  assert.deepEqual(outcome.ok && outcome.repaired, [
    "nftables: grants are accepted in chain inet firewall in",
  ]);
  assert.match(nft.scripts.at(-1) ?? "", /^add element inet firewall spa_access4 \{/);
});

Deno.test("close() takes out what has not ended meanwhile", () => {
  const elem = [{ elem: { val: { concat: ["192.0.2.10", "tcp", 22] }, expires: 9 } }];
  const set = { ...TABLE, name: "spa_access4", elem };
  const nft = fakeNft([...ONE, { set }]);
  const planner = nftablesPlanner(CONFIG);
  const run = nft.run.bind(nft);
  follow(planner.setUp(true), run);
  const choice = planner.rulesFor(GRANT);
  assert(choice.ok && planner.close);
  const [still, ended] = choice.rules;
  nft.refuse = /delete element .* udp \. 1194/;
  nft.scripts.length = 0;
  assert.deepEqual(follow(planner.close(choice.rules), run), {
    removed: [still],
    missing: [ended],
    failed: [],
    reason: "",
  });
  assert.deepEqual(nft.scripts, [
    "delete element inet filter spa_access4 { 192.0.2.10 . tcp . 22 }\n",
  ]);
  nft.refuse = /delete/;
  const outcome = follow(planner.close(choice.rules), run);
  assert.deepEqual([outcome.failed, outcome.missing], [[still], [ended]]);
  assert.match(outcome.reason, /No such file or directory \(delete element/);
});

Deno.test("a later end replaces an earlier one, an earlier one changes nothing", async () => {
  const nft = fakeNft([]);
  let now = 0;
  const lines: string[] = [];
  const firewall = createFirewall({
    host: { run: (call) => Promise.resolve(nft.run(call)), monotonic: () => now, now: () => now },
    planner: nftablesPlanner({ ...CONFIG, ENABLE_DEFAULT_DROP: HIDDEN }),
    log: createLog(0, (_, text) => lines.push(text)),
    timer: () => () => {},
  });
  await firewall.start();
  const open = async (seconds: number): Promise<string> => {
    const ports = [{ protocol: "tcp", port: 22 }] as const;
    const expires = Math.floor(now / 1000) + seconds;
    const outcome = await firewall.open({ ...GRANT, ports, seconds, expires });
    assert.equal(outcome.ok, true);
    return /timeout (\d+)s comment "stanza 3 _exp_(\d+)"/.exec(nft.scripts.at(-1) ?? "")?.slice(1)
      .join(" ") ?? "";
  };
  assert.equal(await open(30), "30 30");
  now = 10_000;
  assert.equal(await open(30), "30 40");
  now = 20_000;
  assert.equal(await open(5), "20 40");
  assert.equal(firewall.grants, 1);
  const told = lines.filter((line) => /access rule/.test(line)).map((line) => line.split(" ")[0]);
  assert.deepEqual(told, ["Added", "Extended"]);
  await firewall.stop();
});

Deno.test("nft's calls go to libnftables where it is there and NFT_EXE names no program", async () => {
  const list = { program: NFT_PROGRAM, args: ["--json", "--terse", "list", "ruleset"] };
  const script = { program: NFT_PROGRAM, args: ["--terse", "-f", "-"], stdin: "add table ip t\n" };
  const slow = { ...script, stdin: "add table ip t\ndelete table ip t\n" };
  const check = { ...script, args: ["--check", ...script.args] };
  const other = { program: "/usr/sbin/iptables", args: ["-S"] };
  const cases: [exe: string | null, installed: boolean, expected: string[]][] = [
    [null, true, [
      "json,terse apart: list ruleset",
      "terse at once: add table ip t\n",
      "terse apart: add table ip t\ndelete table ip t\n",
      "terse check: add table ip t\n",
      "ran iptables -S",
    ]],
    [null, false, [
      "ran nft --json --terse list ruleset",
      "ran nft --terse -f -",
      "ran nft --terse -f -",
      "ran nft --check --terse -f -",
      "ran iptables -S",
    ]],
    [NFT_PROGRAM, true, [
      "ran nft --json --terse list ruleset",
      "ran nft --terse -f -",
      "ran nft --terse -f -",
      "ran nft --check --terse -f -",
      "ran iptables -S",
    ]],
  ];
  for (const [exe, installed, expected] of cases) {
    const seen: string[] = [];
    const run = ({ program, args }: ProgramCall): Promise<ProgramResult> => {
      seen.push(`ran ${program.replace(/.*\//, "")} ${args.join(" ")}`);
      return Promise.resolve({ status: 0, stdout: "", stderr: "" });
    };
    const library = {
      hasRule: () => assert.fail("asked for a rule"),
      run: (commands: string, output: readonly string[], manner = "apart") => {
        seen.push(`${output.join()} ${manner}: ${commands}`);
        return Promise.resolve({ ok: false, output: "", error: "Error: no" });
      },
    };
    const native = (): Promise<Native> =>
      Promise.resolve({ openNftables: () => installed ? library : null } as unknown as Native);
    const runner = nftRunner({ run, native }, exe);
    for (const call of [list, script, slow, check, other]) {
      const { status } = await runner.run(call);
      assert.equal(status, exe === null && installed && call !== other ? 1 : 0);
    }
    assert.deepEqual(seen, expected);
  }
});

Deno.test("a check of our rules asks the kernel for them, and makes one where it does not say", async () => {
  const rule = (handle: number): string => `delete rule ip t c handle ${handle}\n`;
  const cases: [script: string, expected: "there" | "gone" | "checked"][] = [
    [rule(1) + rule(2), "there"],
    [rule(1) + rule(10), "gone"],
    [rule(1) + rule(9), "checked"],
    [rule(9) + rule(10), "gone"],
    [`${rule(1)}delete table ip t\n`, "checked"],
  ];
  for (const [stdin, expected] of cases) {
    let checked = false;
    const library: Nftables = {
      hasRule: ({ family, table, chain, handle }) => {
        assert.equal(`${family} ${table} ${chain}`, "ip t c");
        return handle === 9 ? null : handle < 9;
      },
      run: (_, output, manner) => {
        assert.deepEqual([output, manner], [["terse"], "check"]);
        checked = true;
        return Promise.resolve({ ok: true, output: "", error: "" });
      },
    };
    const native = (): Promise<Native> =>
      Promise.resolve({ openNftables: () => library } as unknown as Native);
    const runner = nftRunner({ run: () => assert.fail("ran a program"), native }, null);
    const args = ["--check", "--terse", "-f", "-"];
    const { status } = await runner.run({ program: NFT_PROGRAM, args, stdin });
    assert.equal(checked ? "checked" : status === 0 ? "there" : "gone", expected, stdin);
  }
});

/** The lines of upkeep for so many seconds. */
function upkeepLines(
  { upkeep }: FirewallPlanner,
  seconds: number,
  run: (call: ProgramCall) => ProgramResult,
): readonly string[] {
  assert(upkeep);
  const runs = seconds / upkeep.seconds;
  return Array.from({ length: runs }, () => follow(upkeep.run(), run))
    .flatMap(({ lines, warnings = [], reason }) => {
      assert.equal(reason, null);
      return [...warnings.map((line) => `warning: ${line}`), ...lines];
    });
}

Deno.test("upkeep puts back what hides services, and says so once, whatever it came to", () => {
  const nft = fakeNft([]);
  const planner = nftablesPlanner({ ...CONFIG, ENABLE_DEFAULT_DROP: HIDDEN });
  const run = nft.run.bind(nft);
  follow(planner.setUp(true), run);
  const choice = planner.rulesFor(GRANT);
  assert(choice.ok && planner.upkeep);
  assert.equal(planner.upkeep.seconds, 10);
  nft.scripts.length = 1;
  assert.deepEqual(upkeepLines(planner, 50, run), []);
  assert.equal(nft.scripts.length, 1);

  nft.intact = false;
  nft.refuse = /^add/;
  nft.reason = "Operation not permitted";
  assert.match(
    upkeepLines(planner, 10, run).join("\n"),
    /^warning: nftables: rules that hide services are gone: .*Operation not permitted .*$/,
  );
  assert.deepEqual(upkeepLines(planner, 30, run), []);
  nft.refuse = null;
  assert.deepEqual(upkeepLines(planner, 10, run), [
    "warning: nftables: rules that hide services were gone, and are back;" +
    " grants that were open have ended",
    "nftables: table inet spa hides tcp/22 from all but grants",
  ]);
  assert.match(nft.scripts.at(-1) ?? "", /tcp dport \{ 22 \} drop\n$/);
  assert.deepEqual(upkeepLines(planner, 60, run), []);
});

Deno.test("upkeep tells once a minute at most what others have changed, and when it is over", () => {
  const nft = fakeNft(ONE);
  const planner = nftablesPlanner(CONFIG);
  const run = nft.run.bind(nft);
  follow(planner.setUp(true), run);
  assert.equal(planner.upkeep?.seconds, 60);
  assert.deepEqual(upkeepLines(planner, 120, run), []);
  nft.objects = [...ONE, ...base("ip guard in", "drop")];
  assert.match(
    upkeepLines(planner, 180, run).join("\n"),
    /^warning: nftables: grants can no longer open: more than one chain drops .*$/,
  );
  nft.objects = ONE;
  assert.deepEqual(upkeepLines(planner, 120, run), ["nftables: grants can open again"]);
  const wan = match({ meta: { key: "iifname" } }, "wan");
  nft.objects = [...ONE, ...base("ip guard in", "accept", [wan, { drop: null }])];
  assert.match(
    upkeepLines(planner, 180, run).join("\n"),
    /^warning: nftables: grants cannot open for what comes by wan: ip guard in drops it .*$/,
  );
});

Deno.test("a set that the kernel does not let go is told with the rules that use it", () => {
  const set = { family: "inet", table: "filter", name: "spa_access4" };
  const rule = [match({ payload: { field: "saddr" } }, "@spa_access4"), ACCEPT];
  const nft = fakeNft([...base("inet filter input", "drop", rule), { set }]);
  nft.refuse = /^delete set/;
  nft.reason = "Could not process rule: Device or resource busy";
  const planner = nftablesPlanner({ ...CONFIG, NFT_ATTACH: [{ ...TABLE, chain: "input" }] });
  const outcome = follow(planner.setUp(true), nft.run.bind(nft));
  assert.match(
    outcome.ok ? "" : outcome.reason,
    /resource busy \(delete set .*\); inet filter input \(rule with handle 2\) uses spa_access4/,
  );
});
