// The nftables planner: where grants go, the scripts it writes, and what it reads back. The real
// kernel judges the same scripts in tests/lab/nftables_test.ts.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { AccessGrant } from "../lib/auth_grant.ts";
import type { Plan } from "../lib/fw_firewall.ts";
import { NFT_PROGRAM, type NftablesConfig, nftablesPlanner } from "../lib/fw_nftables.ts";
import { choosePlaces, OWN_TABLE, type PlaceConfig } from "../lib/fw_nftables_place.ts";
import {
  acceptsMark,
  closedChains,
  type NftTable,
  parseRuleset,
  type Ruleset,
} from "../lib/fw_nftables_ruleset.ts";
import { elementScript, parseElements } from "../lib/fw_nftables_elements.ts";
import { elementsOf } from "../lib/fw_nftables_grant.ts";
import { hooksFor, type PlacedSet, setsFor } from "../lib/fw_nftables_sets.ts";
import type { Native, ProgramCall, ProgramResult } from "../lib/host.ts";
import { ipFromValue } from "../lib/net_address.ts";
import { createFirewall } from "../lib/serve_firewall.ts";
import { createLog } from "../lib/serve_log.ts";
import { nftRunner } from "../lib/serve_nft.ts";
import { choosePlanner } from "../lib/serve_plan.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";

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

type Json = Readonly<Record<string, unknown>>;

/** The JSON of a base chain `input` in a table, and of its rules. */
function base(at: string, policy: string, ...rules: readonly (readonly Json[])[]): Json[] {
  const [family, table, name, hook = "input", prio = "0"] = at.split(" ");
  return [
    { table: { family, name: table } },
    { chain: { family, table, name, type: "filter", hook, prio: Number(prio), policy } },
    ...rules.map((expr, index) => ({
      rule: { family, table, chain: name, handle: index + 2, expr },
    })),
  ];
}

function chain(at: string, ...rules: readonly (readonly Json[])[]): Json[] {
  const [family, table, name] = at.split(" ");
  return [
    { chain: { family, table, name } },
    ...rules.map((expr) => ({ rule: { family, table, chain: name, handle: 9, expr } })),
  ];
}

function json(objects: readonly Json[]): string {
  return JSON.stringify({ nftables: [{ metainfo: { json_schema_version: 1 } }, ...objects] });
}

function rulesetOf(...objects: readonly Json[]): Ruleset {
  const ruleset = parseRuleset(json(objects));
  assert(ruleset !== null);
  return ruleset;
}

const match = (left: unknown, right: unknown, op = "=="): Json => ({ match: { op, left, right } });
const MARK = { meta: { key: "mark" } };
const PORT = match({ payload: { protocol: "tcp", field: "dport" } }, 22);
const ACCEPT = { accept: null };
const DROP = { drop: null };
const COUNTER = { counter: { packets: 0, bytes: 0 } };

Deno.test("closedChains() finds the base chains that drop what no rule accepts", () => {
  const cases: [title: string, objects: Json[], closed: boolean][] = [
    ["policy drop", base("inet f in", "drop"), true],
    ["policy accept", base("inet f in", "accept"), false],
    ["policy drop, all accepted", base("inet f in", "drop", [COUNTER, ACCEPT]), false],
    ["last rule drops", base("inet f in", "accept", [PORT, ACCEPT], [COUNTER, DROP]), true],
    ["last rule rejects", base("ip f in", "accept", [{ reject: null }]), true],
    ["one port drops", base("inet f in", "accept", [PORT, DROP]), false],
    ["above a rate", base("inet f in", "accept", [{ limit: { rate: 3 } }, DROP]), false],
    ["accepted before", base("inet f in", "accept", [ACCEPT], [DROP]), false],
    ["returns before", base("inet f in", "accept", [{ return: null }], [DROP]), false],
    [
      "a jump leads to a drop",
      [...base("ip6 f in", "accept", [{ jump: { target: "x" } }]), ...chain("ip6 f x", [DROP])],
      true,
    ],
    [
      "a jump comes back",
      [
        ...base("ip f in", "accept", [{ jump: { target: "x" } }], [DROP]),
        ...chain("ip f x", [PORT, ACCEPT]),
      ],
      true,
    ],
    [
      "a goto does not come back",
      [
        ...base("ip f in", "accept", [{ goto: { target: "x" } }], [DROP]),
        ...chain("ip f x", [PORT, ACCEPT]),
      ],
      false,
    ],
    [
      "a chain that jumps in a circle",
      [
        ...base("ip f in", "drop", [{ jump: { target: "x" } }]),
        ...chain("ip f x", [
          { jump: { target: "x" } },
        ]),
      ],
      true,
    ],
    [
      "iptables rejects",
      base("ip f in", "accept", [{ xt: { type: "target", name: "REJECT" } }]),
      true,
    ],
    ["before routing", base("inet f in prerouting", "drop"), true],
    ["what this host forwards", base("inet f in forward", "drop"), false],
    ["a bridge", base("bridge f in", "drop"), false],
  ];
  for (const [title, objects, closed] of cases) {
    assert.equal(closedChains(rulesetOf(...objects), "input").length, closed ? 1 : 0, title);
  }
});

Deno.test("acceptsMark() knows the ways in which rules match a mark", () => {
  const masked = { "&": [MARK, 0x80000010] };
  const cases: [rule: Json[], mark: number, accepts: boolean][] = [
    [[match(MARK, 0x5ba), ACCEPT], 0x5ba, true],
    [[match(MARK, { set: [1, 0x5ba] }), PORT, ACCEPT], 0x5ba, true],
    [[match(MARK, 0x5bb), ACCEPT], 0x5ba, false],
    [[match(MARK, 0x5ba), DROP], 0x5ba, false],
    [[match(masked, 0x80000000), ACCEPT], 0x80000000, true],
    [[match(masked, 0, "!="), ACCEPT], 0x10, true],
    [[match(masked, 0, "!="), ACCEPT], 0x20, false],
    [[match(masked, 0), ACCEPT], 0x20, false],
    [[match({ meta: { key: "iif" } }, 0x5ba), ACCEPT], 0x5ba, false],
  ];
  for (const [rule, mark, accepts] of cases) {
    const ruleset = rulesetOf(...base("inet f in", "drop", rule));
    const title = JSON.stringify([rule, mark]);
    assert.equal(acceptsMark(ruleset, { family: "inet", table: "f" }, mark), accepts, title);
  }
});

const ONE = base("inet filter input", "drop");
const MARKED = base("inet filter input", "drop", [match(MARK, 1), ACCEPT]);
const NAMED = { family: "inet", table: "filter", chain: "input" } as const;
const HIDING = base("inet spa input", "accept");
const HIDDEN = [{ protocol: "tcp", port: 22 }] as const;

Deno.test("choosePlaces() takes a place where a grant opens, and refuses every other", () => {
  const cases: [config: Partial<PlaceConfig>, objects: Json[], expected: string | RegExp][] = [
    [{}, ONE, "attached"],
    [{}, base("inet f in", "accept"), /nothing is hidden; set ENABLE_DEFAULT_DROP/],
    [{}, [...ONE, ...base("ip f in", "drop")], /more than one.*inet filter input, ip f in/],
    [{}, base("ip filter INPUT", "drop"), /set FIREWALL_TYPE iptables/],
    [{}, base("inet f in prerouting", "drop"), /no filter chain of the input hook/],
    [{ NFT_ATTACH: [NAMED] }, ONE, "attached"],
    [{ NFT_ATTACH: [NAMED] }, base("inet filter input", "accept"), "attached"],
    [
      { NFT_ATTACH: [NAMED] },
      base("inet filter other", "drop"),
      /there is no chain inet filter in/,
    ],
    [{ NFT_ATTACH: [NAMED] }, [...ONE, ...base("ip6 f in", "drop")], /ip6 f in drops, too/],
    [
      { NFT_ATTACH: [{ family: "ip", table: "a", chain: "in" }] },
      [...base("ip a in", "drop"), ...base("ip6 b in", "drop")],
      "attached",
    ],
    [{ ENABLE_DEFAULT_DROP: HIDDEN }, [], "own"],
    [{ ENABLE_DEFAULT_DROP: HIDDEN }, base("inet spa input", "drop"), "own"],
    [{ ENABLE_DEFAULT_DROP: HIDDEN }, ONE, /set NFT_ATTACH inet filter input in place of/],
    [{ NFT_MARK: 1 }, MARKED, "mark"],
    [{ NFT_MARK: 2 }, MARKED, /no rule of inet filter input accepts.*add "meta mark 0x2 accept"/],
    [{ NFT_MARK: 1 }, [], /nothing is hidden/],
    [
      { NFT_MARK: 1 },
      base("inet f in input -200", "drop", [match(MARK, 1), ACCEPT]),
      /drops before packets can be marked/,
    ],
  ];
  for (const [config, objects, expected] of cases) {
    const choice = choosePlaces({ ...CONFIG, ...config }, rulesetOf(...objects), ["input"]);
    const title = JSON.stringify([config, objects]);
    if (typeof expected === "string") {
      assert.equal(choice.ok && choice.places[0]?.kind, expected, title);
    } else assert.match(choice.ok ? "ok" : choice.reason, expected, title);
  }
});

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
  const address = fc.oneof(
    fc.bigInt(0n, 0xffffffffn).map((value) => ipFromValue(4, value).text),
    fc.bigInt(0n, (1n << 128n) - 1n).map((value) => ipFromValue(6, value).text),
  );
  fc.assert(
    fc.property(address, fc.boolean(), fc.nat(65535), fc.nat(1000), (source, to, port, stanza) => {
      const grant = { ...GRANT, source, destination: source, stanza };
      const config = { ...CONFIG, ENABLE_DESTINATION_RULE: to };
      const sets = setsIn(TABLE, config);
      const choice = elementsOf({ ...grant, ports: [{ protocol: "udp", port }] }, sets, config);
      assert(choice.ok);
      const [rule] = choice.rules;
      const set = sets.find(({ name }) => name === rule?.chain);
      assert(rule && set);
      const [script = ""] = elementScript(rule, "new");
      const [, key = "", comment] = /\{ (.*) timeout .* comment "(.*)" \}$/.exec(script) ?? [];
      const concat = key.split(" . ").map((part) => /^\d+$/.test(part) ? Number(part) : part);
      const elem = [{ elem: { val: { concat }, timeout: 30, expires: 29, comment } }];
      const [listed, ...more] = parseElements(json([{ set: { ...TABLE, elem } }]), set) ?? [];
      assert.equal(more.length, 0);
      assert.deepEqual(
        [
          listed?.text,
          listed?.expires,
          listed?.stanza,
          listed?.secondsLeft,
          listed?.destinationPort,
        ],
        [rule.text, grant.expires, stanza, 29, port],
      );
      assert.equal(listed?.destination, to ? source : null);
    }),
  );
});

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
        choosePlaces({ ...CONFIG, NFT_MARK }, ruleset, ["input", "forward", "output"]);
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
  run(call: ProgramCall): ProgramResult;
} {
  return {
    objects,
    scripts: [],
    refuse: null,
    reason: "No such file or directory",
    run(call) {
      if (call.stdin === undefined) return { status: 0, stdout: json(this.objects), stderr: "" };
      const lines = call.stdin.split("\n");
      const bad = lines.findIndex((line) => this.refuse?.test(line));
      if (bad >= 0) {
        const stderr = `/dev/stdin:${bad + 1}:1-9: Error: ${this.reason}\nline\n^^^^\n`;
        return { status: 1, stdout: "", stderr };
      }
      this.scripts.push(call.stdin);
      return { status: 0, stdout: "", stderr: "" };
    },
  };
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
  nft.objects = base("inet spa input", "accept");
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

Deno.test("choosePlanner() takes nftables where it is asked for, or `auto` finds it alone", () => {
  const cases: [
    type: "auto" | "iptables" | "nftables",
    nft: boolean,
    legacy: string,
    name: string,
  ][] = [
    ["iptables", true, "", "iptables"],
    ["nftables", false, "filter\n", "nftables"],
    ["auto", true, "", "nftables"],
    ["auto", false, "", "iptables"],
    ["auto", true, "filter\n", "iptables"],
  ];
  for (const [FIREWALL_TYPE, nft, legacy, name] of cases) {
    const info = { isFile: true, isDirectory: false, isSymlink: false, mode: 0, uid: 0, size: 0 };
    const host = {
      stat: (path: string) => path === NFT_PROGRAM && nft ? info : null,
      readTextFile: (path: string) => {
        if (path === "/proc/net/ip_tables_names") return legacy;
        throw new Error("No such file or directory");
      },
    };
    assert.equal(choosePlanner(host, { ...DEFAULT_CONFIG, FIREWALL_TYPE }).name, name);
  }
});

Deno.test("nft's calls go to libnftables where it is there and NFT_EXE names no program", async () => {
  const list = { program: NFT_PROGRAM, args: ["--json", "--terse", "list", "ruleset"] };
  const script = { program: NFT_PROGRAM, args: ["--terse", "-f", "-"], stdin: "add table ip t\n" };
  const other = { program: "/usr/sbin/iptables", args: ["-S"] };
  const cases: [exe: string | null, installed: boolean, expected: string[]][] = [
    [null, true, ["json,terse: list ruleset", "terse: add table ip t\n", "ran iptables -S"]],
    [null, false, [
      "ran nft --json --terse list ruleset",
      "ran nft --terse -f -",
      "ran iptables -S",
    ]],
    [NFT_PROGRAM, true, [
      "ran nft --json --terse list ruleset",
      "ran nft --terse -f -",
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
      run: (commands: string, output: readonly string[]) => {
        seen.push(`${output.join()}: ${commands}`);
        return Promise.resolve({ ok: false, output: "", error: "Error: no" });
      },
    };
    const native = (): Promise<Native> =>
      Promise.resolve({ openNftables: () => installed ? library : null } as unknown as Native);
    const runner = nftRunner({ run, native }, exe);
    for (const call of [list, script, other]) {
      const { status } = await runner.run(call);
      assert.equal(status, exe === null && installed && call !== other ? 1 : 0);
    }
    assert.deepEqual(seen, expected);
  }
});
