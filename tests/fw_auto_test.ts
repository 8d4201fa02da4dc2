// Which firewall `auto` takes for what is in force.

import assert from "node:assert/strict";
import { type AutoFacts, chooseFirewall } from "../lib/fw_auto.ts";
import { parseFilterTable } from "../lib/fw_iptables_table.ts";
import type { Ruleset } from "../lib/fw_nftables_ruleset.ts";
import {
  ACCEPT,
  base,
  chain,
  COUNTER,
  DROP,
  type Json,
  match,
  rulesetOf,
} from "./nftables_json.ts";

const PORT_22 = match({ payload: { protocol: "tcp", field: "dport" } }, 22);
const NATIVE_DROP = base("inet filter input", "drop");
const NATIVE_OPEN = base("inet filter input", "accept", [PORT_22, ACCEPT]);
const IPTABLES_DROP = base("ip filter INPUT", "drop");
const IPTABLES_RULE = base("ip filter INPUT", "accept", [PORT_22, COUNTER, DROP]);
const OURS = [
  ...base("ip filter INPUT", "accept", [COUNTER, { jump: { target: "FWKNOP_INPUT" } }]),
  ...chain("ip filter FWKNOP_INPUT"),
];
const DOCKER = base("ip filter FORWARD forward", "drop", [{ jump: { target: "DOCKER-USER" } }]);
const LEGACY_OPEN = "-P INPUT ACCEPT\n-P FORWARD DROP\n";
const LEGACY_DROP = "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n";
const LEGACY_RULES = "-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\n";
const LEGACY_OURS = "-P INPUT ACCEPT\n-N FWKNOP_INPUT\n-A INPUT -j FWKNOP_INPUT\n";

function facts(
  objects: readonly Json[] | null,
  legacy: string | null,
  changes: Partial<AutoFacts> = {},
  ip6: string | null = null,
): AutoFacts {
  const ruleset: Ruleset | null = objects === null ? null : rulesetOf(...objects);
  const [legacy4 = null, legacy6 = null] = [legacy, ip6].map((text) =>
    text === null ? null : parseFilterTable(text)
  );
  const filters = { ipv4: null, ipv6: null, legacy4, legacy6 };
  return {
    surroundings: { ruleset, variant: "nft", filters },
    ...{ firewalld: false, nft: objects !== null, ownChain: "FWKNOP_INPUT" },
    ...changes,
  };
}

Deno.test("auto takes the firewall that drops, then one that has rules, then what is installed", () => {
  const cases: [title: string, facts: AutoFacts, choice: string, because: RegExp][] = [
    ["a bare host", facts([], null), "nftables", /no rules of iptables/],
    ["one without nft", facts(null, null), "iptables null", /there is no nft that works/],
    ["firewalld", facts(IPTABLES_DROP, LEGACY_DROP, { firewalld: true }), "firewalld", /it runs/],
    ["a native chain that drops", facts(NATIVE_DROP, null), "nftables", /inet filter input drops/],
    ["iptables-nft that drops", facts(IPTABLES_DROP, null), "iptables nft", /INPUT of iptables dr/],
    ["a rule of iptables-nft", facts(IPTABLES_RULE, null), "iptables nft", /ip filter INPUT has/],
    ["IPv6 alone", facts(base("ip6 filter INPUT", "drop"), null), "iptables nft", /ip6 filter/],
    [
      "such a rule beside a native chain that drops nothing",
      facts([...NATIVE_OPEN, ...IPTABLES_RULE], null),
      ...["iptables nft", /ip filter INPUT/] as const,
    ],
    [
      "such a rule beside a native chain that drops",
      facts([...NATIVE_DROP, ...IPTABLES_RULE], null),
      ...["nftables", /inet filter input/] as const,
    ],
    [
      "rules of iptables beside a native chain that drops IPv6",
      facts([...base("ip6 block i", "drop"), ...IPTABLES_DROP], null),
      ...["iptables nft", /ip filter INPUT/] as const,
    ],
    [
      "a native chain that drops IPv6",
      facts(base("ip6 block i", "drop"), null),
      ...["nftables", /ip6 block i/] as const,
    ],
    ["Docker's chains alone", facts(DOCKER, null), "nftables", /no rules/],
    ["what a killed server left", facts(OURS, null), "nftables", /no rules/],
    ["legacy that drops", facts([], LEGACY_DROP), "iptables legacy", /iptables-legacy drops/],
    [
      "legacy that drops beside others",
      facts([...NATIVE_DROP, ...IPTABLES_DROP], LEGACY_DROP),
      ...["iptables legacy", /iptables-legacy drops/] as const,
    ],
    ["rules of legacy", facts([], LEGACY_RULES), "iptables legacy", /iptables-legacy has rules/],
    ["rules of legacy, native drops", facts(NATIVE_DROP, LEGACY_RULES), "nftables", /input drops/],
    ["tables of legacy without rules", facts([], LEGACY_OPEN), "nftables", /no rules/],
    [
      "rules of ip6tables-legacy beside an IPv4 table without any",
      facts([], LEGACY_OPEN, {}, LEGACY_RULES),
      ...["iptables legacy", /iptables-legacy has rules/] as const,
    ],
    [
      "ip6tables-legacy that drops beside an IPv4 table that is open",
      facts([], LEGACY_OPEN, {}, LEGACY_DROP),
      ...["iptables legacy", /iptables-legacy drops/] as const,
    ],
    ["what a killed server left in legacy", facts([], LEGACY_OURS), "nftables", /no rules/],
    ["legacy that drops, without nft", facts(null, LEGACY_DROP), "iptables legacy", /drops/],
  ];
  for (const [title, given, choice, because] of cases) {
    const chosen = chooseFirewall(given);
    const text = chosen.type === "iptables" ? `iptables ${chosen.variant}` : chosen.type;
    assert.equal(text, choice, title);
    assert.match(chosen.because, because, title);
  }
});
