// Where grants take effect in nftables: what rules do to packets, the places that are chosen or
// refused by that, and what is told of them. The real kernel judges the same in
// tests/lab/nftables_test.ts.

import assert from "node:assert/strict";
import { acceptsMark, closedChains } from "../lib/fw_nftables_fate.ts";
import { choosePlaces, type PlaceConfig } from "../lib/fw_nftables_place.ts";
import { placeWarnings } from "../lib/fw_nftables_warnings.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";
import {
  ACCEPT,
  base,
  chain,
  COUNTER,
  DROP,
  type Json,
  MARK,
  match,
  rulesetOf,
} from "./nftables_json.ts";

const CONFIG: PlaceConfig = DEFAULT_CONFIG;

const PORT = match({ payload: { protocol: "tcp", field: "dport" } }, 22);
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

Deno.test("acceptsMark() follows rules in their order, and counts accepts of the mark alone", () => {
  const masked = { "&": [MARK, 0x80000010] };
  const accept = [match(MARK, 0x5ba), ACCEPT];
  const drop = [COUNTER, DROP];
  const inside = match({ meta: { key: "iifname" } }, "inside");
  const state = (value: unknown): Json => match({ ct: { key: "state" } }, value, "in");
  const to = (kind: "jump" | "goto", target = "x"): Json => ({ [kind]: { target } });
  const vmap = (value: unknown): Json => ({
    vmap: { key: MARK, data: { set: [[1, to("jump", "y")], [value, to("jump")]] } },
  });
  const ok = chain("inet f x", accept);
  const cases: [title: string, rules: Json[][], accepts: boolean, more?: Json[], mark?: number][] =
    [
      ["the mark", [accept], true],
      ["counted", [[match(MARK, 0x5ba), COUNTER, ACCEPT]], true],
      ["one of several", [[match(MARK, { set: [1, 0x5ba] }), ACCEPT]], true],
      ["another mark", [[match(MARK, 0x5bb), ACCEPT]], false],
      ["dropped by the mark", [[match(MARK, 0x5ba), DROP]], false],
      ["a bit", [[match(masked, 0x80000000), ACCEPT]], true, [], 0x80000000],
      ["any of several bits", [[match(masked, 0, "!="), ACCEPT]], true, [], 0x10],
      ["other bits", [[match(masked, 0, "!="), ACCEPT]], false, [], 0x20],
      ["no bits", [[match(masked, 0), ACCEPT]], false, [], 0x20],
      ["not a mark", [[match({ meta: { key: "iif" } }, 0x5ba), ACCEPT]], false],
      ["behind a drop", [drop, accept], false],
      ["behind a reject", [[{ reject: null }], accept], false],
      ["behind a drop of some", [[PORT, DROP], accept], true],
      ["behind a drop of the mark", [[match(MARK, 0x5ba), DROP], accept], false],
      ["for a port", [[match(MARK, 0x5ba), PORT, ACCEPT]], false],
      ["for an interface", [[inside, match(MARK, 0x5ba), ACCEPT]], false],
      ["for new connections", [[match(MARK, 0x5ba), state("new"), ACCEPT]], true],
      ["for established ones", [[match(MARK, 0x5ba), state(["established"]), ACCEPT]], false],
      ["above a rate", [[match(MARK, 0x5ba), { limit: { rate: 3 } }, ACCEPT]], false],
      ["in a chain", [[to("jump")]], true, ok],
      [
        "in a chain for the mark",
        [[match(MARK, 0x5ba), to("jump")]],
        true,
        chain("inet f x", [ACCEPT]),
      ],
      ["in a chain for one address", [[PORT, to("jump")]], false, ok],
      ["behind a chain that drops", [[to("goto")], accept], false, chain("inet f x", drop)],
      ["behind one that does not come back", [[to("goto")], accept], false, chain("inet f x")],
      ["behind one that comes back", [[to("jump")], accept], true, chain("inet f x", [PORT, DROP])],
      ["in another table", [[to("jump")]], false, chain("inet g x", accept)],
      ["by a verdict map", [[vmap(0x5ba)]], true, ok],
      ["by one for another mark", [[vmap(2)]], false, ok],
    ];
  for (const [title, rules, accepts, more = [], mark = 0x5ba] of cases) {
    const ruleset = rulesetOf(...base("inet f in", "drop", ...rules), ...more);
    const closed = ruleset.chains.find(({ hook }) => hook === "input");
    assert(closed);
    assert.equal(acceptsMark(ruleset, closed, mark), accepts, title);
  }
});

const ONE = base("inet filter input", "drop");
const MARKED_5 = base("inet filter input", "drop", [match(MARK, 5), ACCEPT]);
/** A chain that changes the mark of all packets. */
function mangling(value: unknown, priority = -100): Json[] {
  return base(`ip m m input ${priority}`, "accept", [{ mangle: { key: MARK, value } }]);
}
const IN = (family: "ip" | "ip6" | "inet", table: string) => ({ family, table, chain: "in" });
const MARKED = base("inet filter input", "drop", [match(MARK, 1), ACCEPT]);
const NAMED = { family: "inet", table: "filter", chain: "input" } as const;
const HIDDEN = [{ protocol: "tcp", port: 22 }] as const;

Deno.test("choosePlaces() takes a place where a grant opens, and refuses every other", () => {
  const cases: [config: Partial<PlaceConfig>, objects: Json[], expected: string | RegExp][] = [
    [{}, ONE, "attached"],
    [{}, base("inet f in", "accept"), /drops what it does not know; set ENABLE_DEFAULT_DROP/],
    [{}, [...ONE, ...base("ip f in", "drop")], /more than one.*inet filter input, ip f in/],
    [{}, base("ip filter INPUT", "drop"), /set FIREWALL_TYPE iptables/],
    [{}, base("inet f in prerouting", "drop"), /no filter chain of the input hook/],
    [{ NFT_ATTACH: [NAMED] }, ONE, "attached"],
    [
      { NFT_ATTACH: [{ family: "ip", table: "filter", chain: "INPUT" }] },
      base("ip filter INPUT", "drop"),
      /^NFT_ATTACH: ip filter INPUT belongs to iptables, .*; set FIREWALL_TYPE iptables/,
    ],
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
    [
      { NFT_MARK: 2 },
      MARKED,
      /inet filter input does not accept .*: nft insert rule inet filter input meta mark 0x2 accept$/,
    ],
    [{ NFT_MARK: 1 }, [], /no chain of nftables drops/],
    [{ NFT_MARK: 5 }, [...MARKED_5, ...mangling(1)], /ip m m takes the mark 0x5 off .* handle 2/],
    [
      { NFT_MARK: 5 },
      [...MARKED_5, ...mangling({ ct: { key: "mark" } })],
      /takes the mark 0x5 off/,
    ],
    [{ NFT_MARK: 5 }, [...MARKED_5, ...mangling({ "&": [MARK, 0xf0] })], /takes the mark 0x5 off/],
    [{ NFT_MARK: 5 }, [...MARKED_5, ...mangling({ "|": [MARK, 0x10] })], "mark"],
    [{ NFT_MARK: 5 }, [...MARKED_5, ...mangling({ "&": [MARK, 0xff] })], "mark"],
    [{ NFT_MARK: 5 }, [...MARKED_5, ...mangling(1, -200)], "mark"],
    [{ NFT_MARK: 5 }, [...MARKED_5, ...mangling(1, 10)], "mark"],
    [{}, [...base("ip a in", "drop"), ...base("ip6 b in", "drop")], "attached, attached"],
    [
      { NFT_ATTACH: [IN("ip", "a"), IN("ip6", "b")] },
      [...base("ip a in", "drop"), ...base("ip6 b in", "drop")],
      "attached, attached",
    ],
    [
      { NFT_ATTACH: [IN("ip", "a"), IN("inet", "b")] },
      [...base("ip a in", "drop"), ...base("inet b in", "accept")],
      /ip a in and inet b in are chains of the same hook/,
    ],
    [
      { NFT_ATTACH: [IN("ip", "a"), IN("ip6", "b")] },
      [...base("ip a in", "drop"), ...base("ip6 b in", "drop"), ...base("ip6 c in", "drop")],
      /a grant in ip6 b in could not open: ip6 c in drops, too/,
    ],
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
      const kinds = choice.ok ? choice.places.map(({ kind }) => kind).join(", ") : choice.reason;
      assert.equal(kinds, expected, title);
    } else assert.match(choice.ok ? "ok" : choice.reason, expected, title);
  }
});

const FROM_ONE = match({ payload: { protocol: "ip", field: "saddr" } }, "192.0.2.7");
const DPORT = (right: unknown): Json =>
  match({ payload: { protocol: "tcp", field: "dport" } }, right);
const L4PROTO = (name: string): Json => match({ meta: { key: "l4proto" } }, name);

Deno.test("placeWarnings() names what keeps grants from opening, and what is hidden from nobody", () => {
  const from = (names: unknown, op = "=="): Json => match({ meta: { key: "iifname" } }, names, op);
  const vmap = (...pairs: [string, Json][]): Json => ({
    vmap: { key: { meta: { key: "iifname" } }, data: { set: pairs } },
  });
  const guard = (...rules: Json[][]): Json[] => [...ONE, ...base("inet g in", "accept", ...rules)];
  const world = chain("inet g world", [COUNTER, DROP]);
  const cases: [
    title: string,
    config: Partial<PlaceConfig>,
    objects: Json[],
    expected: RegExp[],
  ][] = [
    ["one chain that drops", {}, ONE, []],
    ["an interface", {}, guard([from("wan"), DROP]), [
      /comes by wan: inet g in drops .* handle 2\)$/,
    ]],
    ["two", {}, guard([from({ set: ["a", "b"] }), DROP]), [/comes by a, b: inet g in/]],
    ["accepted before", {}, guard([from("wan"), ACCEPT], [from({ set: ["wan", "b"] }), DROP]), [
      /comes by b: /,
    ]],
    ["all but one", {}, guard([from("lan", "!="), DROP]), [/comes by other interfaces: /]],
    ["loopback", {}, guard([from("lo"), DROP]), []],
    ["an interface and more", {}, guard([from("wan"), PORT, DROP]), []],
    ["a verdict map", {}, [
      ...guard([vmap(["wan", { jump: { target: "world" } }], ["lan", ACCEPT])]),
      ...world,
    ], [/comes by wan: /]],
    ["a map with a wildcard", {}, [
      ...guard([vmap(["ppp*", { goto: { target: "world" } }])]),
      ...world,
    ], [/comes by ppp\.\.\.: /]],
    [
      "beside what hides",
      { ENABLE_DEFAULT_DROP: HIDDEN },
      base("ip g in", "accept", [from("w"), DROP]),
      [
        /comes by w: ip g in/,
      ],
    ],
    [
      "beside what hides, the port is dropped",
      { ENABLE_DEFAULT_DROP: HIDDEN },
      base("ip g in", "accept", [PORT, FROM_ONE, DROP], [PORT, COUNTER, DROP]),
      [/grants for tcp\/22 cannot open: ip g in drops it \(rule with handle 3\)$/],
    ],
    [
      "beside what hides, a range with the port, by a jump for TCP",
      { ENABLE_DEFAULT_DROP: HIDDEN },
      [
        ...base("ip g in", "accept", [L4PROTO("tcp"), { jump: { target: "x" } }]),
        ...chain("ip g x", [DPORT({ set: [80, { range: [20, 25] }] }), { reject: null }]),
      ],
      [/grants for tcp\/22 cannot open: ip g in drops it/],
    ],
    [
      "beside what hides, other ports are dropped",
      { ENABLE_DEFAULT_DROP: HIDDEN },
      base("ip g in", "accept", [DPORT(80), DROP], [L4PROTO("udp"), DROP], [PORT, ACCEPT], [
        PORT,
        DROP,
      ]),
      [],
    ],
    ["with a mark", { NFT_MARK: 1 }, [
      ...MARKED,
      ...base("ip g in", "accept", [match(MARK, 1), ACCEPT], [from("w"), DROP]),
    ], []],
    ["a mark that some lose", { NFT_MARK: 5 }, [
      ...MARKED_5,
      ...base("ip m m input -100", "accept", [PORT, { mangle: { key: MARK, value: 1 } }]),
    ], [/ip m m may take the mark 0x5 off grants .* handle 2/]],
    ["nothing drops", { NFT_ATTACH: [NAMED] }, base("inet filter input", "accept"), [
      /no chain drops any packet, so nothing is hidden/,
    ]],
    [
      "one port is dropped",
      { NFT_ATTACH: [NAMED] },
      base("inet filter input", "accept", [PORT, DROP]),
      [],
    ],
    [
      "by a verdict map",
      { NFT_ATTACH: [NAMED] },
      base("inet filter input", "accept", [vmap(["w", DROP])]),
      [],
    ],
    ["only IPv4 is dropped", {}, base("ip f in", "drop"), [/IPv6 packets are not dropped by any/]],
    ["only IPv6 is dropped", {}, base("ip6 f in", "drop"), [/IPv4 packets are not dropped by any/]],
    ["each by its own chain", {}, [...base("ip f in", "drop"), ...base("ip6 f in", "drop")], []],
    ["one of them is not named", { NFT_ATTACH: [IN("ip", "f")] }, [
      ...base("ip f in", "drop"),
      ...base("ip6 g in", "drop"),
    ], [/grants for IPv6 cannot open: ip6 g in drops, and NFT_ATTACH does not name it/]],
    ["our own table hides", { ENABLE_DEFAULT_DROP: HIDDEN }, [], []],
  ];
  for (const [title, config, objects, expected] of cases) {
    const ruleset = rulesetOf(...objects);
    const choice = choosePlaces({ ...CONFIG, ...config }, ruleset, ["input"]);
    assert(choice.ok, title);
    const lines = placeWarnings(ruleset, choice.places);
    assert.equal(lines.length, expected.length, `${title}: ${lines.join("\n")}`);
    for (const [index, line] of lines.entries()) assert.match(line, expected[index] ?? /^$/, title);
  }
  const ruleset = rulesetOf(...base("ip f in", "drop"));
  const choice = choosePlaces(CONFIG, ruleset, ["input"]);
  assert.deepEqual(choice.ok && placeWarnings(ruleset, choice.places, [4]), []);
});
