// ENABLE_DOCKER with nftables: where grants to published ports go, and the text that puts them
// there. The real kernel judges that text in tests/lab/nftables_docker_test.ts.

import assert from "node:assert/strict";
import type { AccessGrant } from "../lib/auth_grant.ts";
import { type NftablesConfig, nftablesPlanner } from "../lib/fw_nftables.ts";
import { elementsOf } from "../lib/fw_nftables_grant.ts";
import { describePlace } from "../lib/fw_nftables_describe.ts";
import { choosePlaces, type Place } from "../lib/fw_nftables_place.ts";
import { setUpScript } from "../lib/fw_nftables_script.ts";
import { hooksFor, setsFor } from "../lib/fw_nftables_sets.ts";
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

const CONFIG: NftablesConfig = { ...DEFAULT_CONFIG, ENABLE_DOCKER: true };
const HIDDEN = [{ protocol: "tcp", port: 8080 }] as const;
const HIDING = { ENABLE_DEFAULT_DROP: HIDDEN };
const MARKING = { NFT_MARK: 1 };

const RETURN = { return: null };
const ACCEPT_MARK = [match(MARK, 1), ACCEPT];
const TRANSLATED = match({ ct: { key: "status" } }, "dnat", "in");
const STATE = match({ ct: { key: "state" } }, ["established", "related"], "in");
const XT = (name: string): Json => ({ xt: { type: "match", name } });
const from = (name: string, op = "=="): Json => match({ meta: { key: "iifname" } }, name, op);
const to = (name: string, op = "=="): Json => match({ meta: { key: "oifname" } }, name, op);
const saddr = (op: string): Json =>
  match({ payload: { protocol: "ip", field: "saddr" } }, "192.0.2.7", op);
const jump = (target: string): Json[] => [COUNTER, { jump: { target } }];

const INPUT = base("inet filter input", "drop");
const FORWARD = "inet filter forward forward";
const CLOSED = [...INPUT, ...base(FORWARD, "drop", [STATE, ACCEPT])];
const MARKED = [
  ...base("inet filter input", "drop", ACCEPT_MARK),
  ...base(FORWARD, "drop", ACCEPT_MARK),
];
const IPTABLES_FORWARD = "ip filter FORWARD forward";
const DOCKER = base(IPTABLES_FORWARD, "drop", jump("DOCKER-USER"), jump("DOCKER-FORWARD"));
const NATIVE = base("ip docker-bridges filter-FORWARD forward", "accept");

/** What Docker has with iptables, with rules of the administrator in DOCKER-USER. */
function users(...rules: readonly (readonly Json[])[]): Json[] {
  return [...DOCKER, ...chain("ip filter DOCKER-USER", ...rules)];
}

function named(...names: readonly string[]): Partial<NftablesConfig> {
  return {
    NFT_ATTACH: names.map((name) => {
      const [family = "", table = "", chain = ""] = name.split(" ");
      assert(family === "ip" || family === "ip6" || family === "inet");
      return { family, table, chain };
    }),
  };
}

function describe(place: Place): string {
  const table = `${place.table.family} ${place.table.table}`;
  return `${place.kind} ${table}${place.hidden.length > 0 ? " hides" : ""}`;
}

Deno.test("published ports have a place where a grant opens them, or a reason why not", () => {
  const barred = /ip filter DOCKER-USER drops what Docker publishes, and belongs to iptables; rem/;
  const nothing = /no chain of nftables drops what Docker publishes, so that is open to all; set/;
  const iptables =
    /belongs to iptables, which shows a rule with a set as .* accepts all; set ENABL/;
  const cases: [
    title: string,
    config: Partial<NftablesConfig>,
    objects: Json[],
    input: string | RegExp,
    forward?: string,
  ][] = [
    ["nothing drops", {}, [...INPUT, ...DOCKER], nothing],
    ["nothing drops, before Docker starts", {}, INPUT, nothing],
    ["nothing drops, native", {}, [...INPUT, ...NATIVE], nothing],
    ["a bare host", HIDING, NATIVE, "own inet spa hides", "own inet spa hides"],
    [
      "input drops",
      HIDING,
      [...INPUT, ...DOCKER],
      "attached inet filter hides",
      "own inet spa hides",
    ],
    ["both drop", {}, [...CLOSED, ...DOCKER], "attached inet filter", "attached inet filter"],
    [
      "both drop, and more is to be hidden",
      HIDING,
      [...CLOSED, ...NATIVE],
      "attached inet filter hides",
      "attached inet filter hides",
    ],
    [
      "one rule drops what is translated",
      {},
      [...INPUT, ...base(FORWARD, "accept", [TRANSLATED, DROP])],
      "attached inet filter",
      "attached inet filter",
    ],
    [
      "one rule drops what comes from outside",
      {},
      [...INPUT, ...base(FORWARD, "accept", [STATE, ACCEPT], [from("eth0"), DROP])],
      "attached inet filter",
      "attached inet filter",
    ],
    [
      "containers alone are kept in",
      {},
      [...INPUT, ...base(FORWARD, "accept", [from("docker0"), to("docker0", "!="), DROP])],
      nothing,
    ],
    [
      "what is translated is accepted, as with firewalld",
      HIDING,
      [...INPUT, ...base("inet firewalld filter_FORWARD forward", "drop", [TRANSLATED, ACCEPT])],
      "attached inet filter hides",
      "own inet spa hides",
    ],
    [
      "named",
      named("inet filter input", "inet filter forward"),
      [...INPUT, ...base(FORWARD, "accept"), ...DOCKER],
      "attached inet filter",
      "attached inet filter",
    ],
    [
      "iptables' chain is named",
      named("inet filter input", "ip filter FORWARD"),
      [...INPUT, ...DOCKER],
      iptables,
    ],
    [
      "two chains drop",
      {},
      [...CLOSED, ...base("ip guard f forward 10", "drop")],
      /more than one chain drops \(inet filter forward, ip guard f\)/,
    ],
    [
      "postrouting drops, too",
      named("inet filter input", "inet filter forward"),
      [...CLOSED, ...base("ip guard p postrouting", "drop")],
      /ip guard p drops, too/,
    ],
    ["a mark", MARKING, [...MARKED, ...DOCKER], "mark inet spa", "mark inet spa"],
    [
      "a mark, and more is to be hidden",
      { ...MARKING, ...HIDING },
      [...MARKED, ...DOCKER],
      "mark inet spa hides",
      "mark inet spa hides",
    ],
    [
      "a mark, and nothing else drops what is forwarded",
      { ...MARKING, ...HIDING },
      [...base("inet filter input", "drop", ACCEPT_MARK), ...NATIVE],
      "mark inet spa hides",
      "own inet spa hides",
    ],
    [
      "a mark for what Docker publishes alone",
      { ...MARKING, ...HIDING },
      users([match(MARK, 1), RETURN], [from("eth0"), DROP]),
      "own inet spa hides",
      "mark inet spa hides",
    ],
    [
      "a mark that the forward chain does not accept",
      MARKING,
      [...base("inet filter input", "drop", ACCEPT_MARK), ...base(FORWARD, "drop")],
      /inet filter forward does not accept all that carries the mark/,
    ],
    ["users drop all", HIDING, [...INPUT, ...users([COUNTER, DROP])], barred],
    [
      "users drop what comes from outside",
      HIDING,
      [...INPUT, ...users([XT("conntrack"), RETURN], [from("eth0"), COUNTER, DROP])],
      barred,
    ],
    ["users drop all but one", HIDING, [...INPUT, ...users([saddr("!="), DROP])], barred],
    ["users drop what goes to containers", {}, [...CLOSED, ...users([to("br-*"), DROP])], barred],
    [
      "users drop one",
      HIDING,
      [...INPUT, ...users([saddr("=="), DROP], [RETURN])],
      "attached inet filter hides",
      "own inet spa hides",
    ],
    [
      "users let a mark pass",
      MARKING,
      [...MARKED, ...users([match(MARK, 1), RETURN], [from("eth0"), DROP])],
      "mark inet spa",
      "mark inet spa",
    ],
    [
      "users let a mark pass that nft does not show",
      MARKING,
      [...MARKED, ...users([XT("mark"), RETURN], [DROP])],
      "mark inet spa",
      "mark inet spa",
    ],
    [
      "users let no mark pass",
      MARKING,
      [...MARKED, ...users([match(MARK, 2), RETURN], [DROP])],
      /ip filter DOCKER-USER drops .* add "iptables -I DOCKER-USER -m mark --mark 0x1\/0x1 -j RET/,
    ],
    [
      "iptables drops before Docker",
      HIDING,
      [...INPUT, ...base(IPTABLES_FORWARD, "accept", [from("eth0"), DROP], jump("DOCKER"))],
      /ip filter FORWARD drops what Docker publishes, and belongs to iptables/,
    ],
    [
      "iptables drops after Docker",
      HIDING,
      [...INPUT, ...base(IPTABLES_FORWARD, "accept", jump("DOCKER"), [DROP])],
      "attached inet filter hides",
      "own inet spa hides",
    ],
    [
      "iptables drops, and Docker is not in it",
      HIDING,
      [...INPUT, ...base(IPTABLES_FORWARD, "drop"), ...NATIVE],
      /ip filter FORWARD belongs to iptables; set FIREWALL_TYPE iptables/,
    ],
    [
      "NAT besides, which Docker's chain drops",
      { ...HIDING, ENABLE_IPT_FORWARDING: true },
      [...INPUT, ...DOCKER],
      /ip filter FORWARD belongs to iptables; set FIREWALL_TYPE iptables/,
    ],
  ];
  for (const [title, changes, objects, input, forward] of cases) {
    const config = { ...CONFIG, ...changes };
    const choice = choosePlaces(config, rulesetOf(...objects), hooksFor(config));
    if (typeof input === "string") {
      assert.deepEqual(
        choice.ok ? choice.places.map(describe) : choice.reason,
        [input, forward],
        title,
      );
    } else assert.match(choice.ok ? "ok" : choice.reason, input, title);
  }
});

/** The set-up of a configuration, without declarations, and what is told of it. */
function layOut(
  changes: Partial<NftablesConfig>,
  ...objects: readonly Json[]
): { forward: string[]; input: string[]; lines: string[] } {
  const config = { ...CONFIG, ...changes };
  const ruleset = rulesetOf(...objects);
  const choice = choosePlaces(config, ruleset, hooksFor(config));
  assert(choice.ok, choice.ok ? "" : choice.reason);
  const { places } = choice;
  const tableOf = (hook: string) => places.find((place) => place.hook === hook)?.table;
  const sets = setsFor(config, (hook) => tableOf(hook) ?? { family: "inet", table: "spa" });
  const script = setUpScript({ places, sets }, ruleset, true);
  const rulesOf = (hook: string): string[] =>
    script.flatMap((line) => {
      const rule = new RegExp(`^add rule \\S+ \\S+ (?:spa_)?${hook} (.*)$`).exec(line)?.[1];
      return rule === undefined ? [] : [rule];
    });
  return {
    forward: rulesOf("forward"),
    input: rulesOf("input"),
    lines: places.flatMap((place) => describePlace(place, config)),
  };
}

function lookUpsOf(verdict: string, suffix = ""): string[] {
  return (["ip", "ip6"] as const).flatMap((ip) =>
    ["tcp", "udp"].map((protocol) =>
      `ct status dnat ct direction original meta l4proto ${protocol} ${ip} saddr` +
      `${suffix === "" ? "" : ` . ct original ${ip} daddr`} . meta l4proto` +
      ` . ct original proto-dst @spa_docker${ip === "ip" ? 4 : 6}${suffix} ${verdict}`
    )
  );
}

const HIDE = "ct status dnat meta l4proto tcp ct original proto-dst 8080 drop";

Deno.test("packets of both versions are looked up by where they were going, then hidden", () => {
  assert.deepEqual(layOut(HIDING, ...INPUT, ...DOCKER), {
    forward: ["ct state established,related accept", ...lookUpsOf("accept"), HIDE],
    input: [
      "ip saddr . meta l4proto . th dport @spa_access4 accept",
      "ip6 saddr . meta l4proto . th dport @spa_access6 accept",
      "iif lo return",
      "ct state established,related return",
      "tcp dport { 8080 } drop",
    ],
    lines: [
      "nftables: grants are accepted in chain inet filter input",
      "nftables: table inet filter hides tcp/8080 from all but grants",
      "nftables: table inet spa hides tcp/8080, published by Docker, from all but grants",
    ],
  });
  const { forward, lines } = layOut({ ENABLE_DESTINATION_RULE: true }, ...CLOSED);
  assert.deepEqual(forward, lookUpsOf("accept", "_to"));
  assert.deepEqual(lines, [
    "nftables: grants are accepted in chain inet filter input",
    "nftables: grants to what Docker publishes are accepted in chain inet filter forward",
  ]);
  const mark = "meta mark set meta mark | 0x1";
  assert.deepEqual(layOut(MARKING, ...MARKED).forward, lookUpsOf(mark));
  const marked = layOut({ ...MARKING, ...HIDING }, ...MARKED);
  assert.deepEqual(marked.forward, [
    ...lookUpsOf(`${mark} accept`),
    "ct state established,related return",
    HIDE,
  ]);
  assert.deepEqual(marked.lines, [
    "nftables: packets of grants carry the mark 0x1",
    "nftables: table inet spa hides tcp/8080 from all but grants",
    "nftables: packets of grants to what Docker publishes carry the mark 0x1",
    "nftables: table inet spa hides tcp/8080, published by Docker, from all but grants",
  ]);
});

Deno.test("with NAT a forwarded grant for a hidden port passes, too", () => {
  const config = { ...HIDING, ENABLE_IPT_FORWARDING: true };
  const { forward, lines } = layOut(config, ...INPUT);
  const found = forward.findIndex((rule) => rule.includes("@spa_forward4 accept"));
  assert(found >= 0 && found < forward.indexOf(HIDE), forward.join("\n"));
  assert.deepEqual(lines.slice(2), [
    "nftables: table inet spa hides tcp/8080, published by Docker, from all but grants",
  ]);
  const both = layOut({ ENABLE_IPT_FORWARDING: true }, ...CLOSED);
  assert.deepEqual(both.lines.slice(1), [
    "nftables: forwarded grants are accepted in chain inet filter forward",
    "nftables: grants to what Docker publishes are accepted in chain inet filter forward",
  ]);
});

Deno.test("a grant is an element for this host and one for what Docker publishes", () => {
  const six = { source: "2001:DB8::1", destination: "2001:db8::2" };
  const cases: [
    changes: Partial<AccessGrant>,
    destination: boolean,
    forward: "inet" | "ip",
    expected: string[],
  ][] = [
    [{}, false, "inet", [
      "spa_access4 192.0.2.10 . tcp . 8080",
      "spa_docker4 192.0.2.10 . tcp . 8080",
    ]],
    [{}, true, "inet", [
      "spa_access4_to 192.0.2.10 . 203.0.113.1 . tcp . 8080",
      "spa_docker4_to 192.0.2.10 . 203.0.113.1 . tcp . 8080",
    ]],
    [six, false, "inet", [
      "spa_access6 2001:db8::1 . tcp . 8080",
      "spa_docker6 2001:db8::1 . tcp . 8080",
    ]],
    [six, true, "inet", [
      "spa_access6_to 2001:db8::1 . 2001:db8::2 . tcp . 8080",
      "spa_docker6_to 2001:db8::1 . 2001:db8::2 . tcp . 8080",
    ]],
    [six, false, "ip", ["spa_access6 2001:db8::1 . tcp . 8080"]],
  ];
  for (const [changes, ENABLE_DESTINATION_RULE, family, expected] of cases) {
    const config = { ...CONFIG, ENABLE_DESTINATION_RULE };
    const sets = setsFor(
      config,
      (hook) => ({ family: hook === "forward" ? family : "inet", table: "t" }),
    );
    const choice = elementsOf({ ...GRANT, ...changes }, sets, config);
    const rules = choice.ok ? choice.rules : [];
    assert.deepEqual(rules.map(({ chain, text }) => `${chain} ${text}`), expected);
    assert.deepEqual(
      rules.map(({ kind }) => kind),
      ["access", "Docker access"].slice(0, rules.length),
    );
  }
  const choice = nftablesPlanner(CONFIG).rulesFor(GRANT);
  assert.equal(choice.ok && choice.rules[1]?.summary, "192.0.2.10 -> 0.0.0.0/0 tcp/8080");
});

const GRANT: AccessGrant = {
  kind: "access",
  stanza: 1,
  source: "192.0.2.10",
  destination: "203.0.113.1",
  ports: HIDDEN,
  seconds: 30,
  expires: 1_795_323_530,
};
