// Fuzz targets of what firewalls print: listings of rules, sets and zones.

import {
  canonicalRule,
  countJumps,
  parseRules,
  splitWords,
} from "../../lib/fw_iptables_listing.ts";
import { matchOf, parseRichRules, parseZoneNames } from "../../lib/fw_firewalld_rules.ts";
import { dynamicNumbers, numbersIn, parseIpfwRules } from "../../lib/fw_ipfw_listing.ts";
import { anchorIsListed, parsePfRules, samePfRule } from "../../lib/fw_pf_listing.ts";
import { ipsetsFor, parseIpset } from "../../lib/fw_ipset.ts";
import { parseElements } from "../../lib/fw_nftables_elements.ts";
import { choosePlaces } from "../../lib/fw_nftables_place.ts";
import { acceptsMark, closedChains } from "../../lib/fw_nftables_fate.ts";
import { parseRuleset } from "../../lib/fw_nftables_ruleset.ts";
import { placeWarnings } from "../../lib/fw_nftables_warnings.ts";
import { GRANT_SETS } from "../../lib/fw_nftables_sets.ts";
import { bytesOf, type FuzzTarget, rule, textOf } from "./target.ts";
import { DEFAULT_CONFIG } from "../fake_iptables.ts";

const IPTABLES_SEED = "-P INPUT DROP\n-N FWKNOP_INPUT\n-A INPUT -j FWKNOP_INPUT\n" +
  "-A INPUT ! -s 192.0.2.7/32 -p tcp -m tcp --dport 22 -j DROP\n" +
  '-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 -m comment --comment "_exp_1795323530" -j ACCEPT\n' +
  '-A FWKNOP_INPUT -m comment --comment "a \\"quoted\\" one" -j RETURN\n';

const iptables: FuzzTarget = {
  name: "iptables-listing",
  rule: "any listing gives rules, counted from 1, and nothing grows",
  seeds: () => [bytesOf(IPTABLES_SEED)],
  words: ["-A FWKNOP_INPUT ", "-j ", "-p 6", "-m tcp", "!", '"', "\\", "_exp_", "0.0.0.0/0", "\n"],
  check(input) {
    const text = textOf(input);
    const rules = parseRules(text, "filter", "FWKNOP_INPUT");
    rule(rules.every(({ number }, index) => number === index + 1), "rules in another order");
    rule(rules.length <= text.split("\n").length, "rules out of nothing");
    rule(countJumps(text, "INPUT", "FWKNOP_INPUT") >= 0, "less than no jumps");
    for (const { text: one, expires } of rules) {
      rule(expires === null || Number.isSafeInteger(expires), "an end that is no time");
      rule(canonicalRule(one).length <= 2 * one.length, "a rule that grows");
      rule(splitWords(one).join("").length <= one.length, "words longer than their rule");
    }
  },
};

const NFT_OBJECTS = [
  { metainfo: { json_schema_version: 1 } },
  { table: { family: "inet", name: "filter", handle: 1 } },
  {
    chain: {
      family: "inet",
      table: "filter",
      name: "input",
      type: "filter",
      hook: "input",
      prio: 0,
      policy: "drop",
    },
  },
  { chain: { family: "inet", table: "filter", name: "mine" } },
  { set: { family: "inet", table: "filter", name: "spa_access4", elem: [] } },
  {
    rule: {
      family: "inet",
      table: "filter",
      chain: "input",
      handle: 4,
      comment: "x",
      expr: [{ counter: { packets: 0 } }, { jump: { target: "mine" } }],
    },
  },
  {
    rule: {
      family: "inet",
      table: "filter",
      chain: "mine",
      handle: 5,
      expr: [
        { match: { op: "==", left: { "&": [{ meta: { key: "mark" } }, 8] }, right: 8 } },
        { accept: null },
      ],
    },
  },
];
const NFT_SET = {
  nftables: [{
    set: {
      family: "inet",
      table: "filter",
      name: "spa_access4",
      elem: [{
        elem: {
          val: { concat: ["192.0.2.10", "tcp", 22] },
          timeout: 30,
          expires: 29,
          comment: "stanza 1 _exp_1795323530",
        },
      }, {
        elem: { val: { concat: ["2001:DB8::1", "192.0.2.1", "udp", 53] }, comment: "other" },
      }],
    },
  }],
};

const NFT_MAP = {
  nftables: [{
    map: {
      elem: [[
        { elem: { val: { concat: ["192.0.2.10", "192.0.2.1", "tcp", 22] }, expires: 29 } },
        { concat: ["198.51.100.20", 22] },
      ], [{ elem: { val: "2001:db8::1" } }, "2001:db8::2"]],
    },
  }],
};

const nftables: FuzzTarget = {
  name: "nft-listing",
  rule: "any JSON gives a rule set and a place for grants, or the reason why not",
  seeds: () =>
    [{ nftables: NFT_OBJECTS }, NFT_SET, NFT_MAP, { nftables: [null, 1, [], {}, { rule: null }] }]
      .map((document) => bytesOf(JSON.stringify(document))),
  words: [
    '"jump"',
    '"goto"',
    '{"drop":null}',
    '{"reject":null}',
    '"target":"input"',
    '"mangle"',
    '"xt"',
    "null",
    "[]",
    "{}",
    ",",
    '"',
    "1e999",
    '"__proto__"',
    "-1",
  ],
  longest: 4096,
  check(input) {
    const text = textOf(input);
    const table = { family: "inet", table: "filter" } as const;
    for (const set of GRANT_SETS) {
      for (const element of parseElements(text, { ...set, table }) ?? []) {
        rule(element.expires === null || element.expires >= 0, "an end before 1970");
      }
    }
    const ruleset = parseRuleset(text);
    if (ruleset === null) return;
    const hooks = ["input", "forward", "output"] as const;
    for (const hook of hooks) {
      for (const chain of closedChains(ruleset, hook)) {
        rule(ruleset.chains.includes(chain), "a new chain");
        acceptsMark(ruleset, chain, 8);
      }
    }
    for (const attach of [null, [{ ...table, chain: "input" }]]) {
      for (const mark of [null, 8]) {
        for (const ENABLE_DOCKER of [false, true]) {
          const choice = choosePlaces(
            {
              NFT_ATTACH: attach,
              NFT_MARK: mark,
              ENABLE_DEFAULT_DROP: [],
              ENABLE_DOCKER,
              ENABLE_IPT_FORWARDING: !ENABLE_DOCKER,
            },
            ruleset,
            hooks,
          );
          rule(choice.ok || choice.reason !== "", "a refusal without a reason");
          if (choice.ok) placeWarnings(ruleset, choice.places);
        }
      }
    }
  },
};

const OTHER_SEEDS = [
  'rule family="ipv4" source address="192.0.2.10" port port="22" protocol="tcp" ' +
  'nflog group="65535" prefix="spa stanza 1 _exp_1795323530" accept\n',
  "public (default)\n  interfaces: eth0\ndmz\n",
  "10000 set 1 allow tcp from 192.0.2.10 to me dst-port 22 setup keep-state // _exp_1795323530\n" +
  "# DISABLED 10001 set 2 count ip from any to any\n## Dynamic rules (1 128):\n10000 1 60 (3s)\n",
  'pass in quick inet proto tcp from 192.0.2.10 to any port = 22 flags S/SA label "_exp_17953"\n' +
  "block drop in all\n  fwknop\n",
  "create spa_access4_to hash:ip,port,ip family inet timeout 0\nadd spa_access4_to " +
  '192.0.2.10,tcp:22,192.0.2.1 timeout 29 comment "stanza 1 _exp_1795323530"\n',
];

const IPSETS = [false, true].flatMap((ENABLE_DESTINATION_RULE) =>
  ipsetsFor({ ...DEFAULT_CONFIG, ENABLE_IPT_OUTPUT: true, ENABLE_DESTINATION_RULE }, "ipv4")
);

const others: FuzzTarget = {
  name: "other-listings",
  rule: "any listing of firewalld, ipset, ipfw and pf gives rules, no more than it has lines",
  seeds: () => OTHER_SEEDS.map(bytesOf),
  words: [
    " proto ",
    " from ",
    " to ",
    " port ",
    ' label "',
    "_exp_",
    "\n",
    "## Dynamic rules",
    "set 1 ",
    "add spa_access4 ",
    "add spa_output4_from ",
    " timeout ",
    ' comment "stanza ',
  ],
  check(input) {
    const text = textOf(input);
    const count = text.split("\n").length;
    const listed = [
      parseRichRules(text, "public"),
      parseIpfwRules(text, "set 1"),
      parsePfRules(text, "fwknop"),
      ...IPSETS.map((set) => parseIpset(text, set)),
    ];
    for (const rules of listed) {
      rule(rules.length <= count, "rules out of nothing");
      for (const { expires, destinationPort, text: one } of rules) {
        rule(expires === null || Number.isSafeInteger(expires), "an end that is no time");
        rule(destinationPort === null || destinationPort >= 0, "a port below zero");
        rule(!one.includes("\n") && matchOf(one).length <= one.length, "a rule of several lines");
        samePfRule(one, text);
      }
    }
    for (const numbers of [numbersIn(text), dynamicNumbers(text)]) {
      rule(new Set(numbers).size === numbers.length, "a number twice");
    }
    rule(parseZoneNames(text).length <= count, "zones out of nothing");
    anchorIsListed(text, "fwknop");
  },
};

/** All of them. */
export function firewallTargets(): readonly FuzzTarget[] {
  return [iptables, nftables, others];
}
