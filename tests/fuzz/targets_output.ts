// Fuzz targets of what other programs print and of files that the daemon keeps.

import { formatReplayRecord, parseReplayRecord } from "../../lib/auth_replay_line.ts";
import {
  canonicalRule,
  countJumps,
  parseRules,
  splitWords,
} from "../../lib/fw_iptables_listing.ts";
import { matchOf, parseRichRules, parseZoneNames } from "../../lib/fw_firewalld_rules.ts";
import { dynamicNumbers, numbersIn, parseIpfwRules } from "../../lib/fw_ipfw_listing.ts";
import { anchorIsListed, parsePfRules, samePfRule } from "../../lib/fw_pf_listing.ts";
import { parseElements } from "../../lib/fw_nftables_elements.ts";
import { choosePlaces } from "../../lib/fw_nftables_place.ts";
import { acceptsMark, closedChains, parseRuleset } from "../../lib/fw_nftables_ruleset.ts";
import { GRANT_SETS } from "../../lib/fw_nftables_sets.ts";
import {
  canReceivePackets,
  chooseKeyPart,
  describeKeyPart,
  parseKeyListing,
} from "../../lib/spa_gpg_keys.ts";
import { checkSignature, describeSignature, parseDecryption } from "../../lib/spa_gpg_status.ts";
import { bytesOf, type FuzzTarget, rule, textOf } from "./target.ts";

const DIGEST = "7Eh0pSt3vGqY7Ea0WzF9lJ1kR6mB2nU5xT8cV4dQaLw";

const replayLine: FuzzTarget = {
  name: "digest.cache",
  rule: "a line that is taken is written again in one way, and read again as the same record",
  seeds: () =>
    [
      `${DIGEST} 17 192.0.2.10 45092 192.0.2.1 62201 1795323500`,
      `${DIGEST} 6 2001:db8::1 1 2001:db8::2 65535 0\r`,
      "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>",
    ].map(bytesOf),
  words: [" ", "0", "17", "#", "\r", "192.0.2.1", "::1"],
  check(input) {
    const record = parseReplayRecord(textOf(input));
    if (typeof record === "string") return;
    const line = formatReplayRecord(record);
    rule(line.indexOf("\n") === line.length - 1, "a record of several lines");
    const again = parseReplayRecord(line.trimEnd());
    rule(JSON.stringify(again) === JSON.stringify(record), "another record");
  },
};

const GPG_SEEDS = [
  [
    "ENC_TO F0566069C96B092B 1 0",
    "BEGIN_DECRYPTION",
    "PLAINTEXT 62 1795322167 ",
    "NEWSIG",
    "GOODSIG 2EDF609AF05BB368 somebody",
    "VALIDSIG 0123456789ABCDEF0123456789ABCDEF01234567 2026-11-22 1795322167 0 4 0 1 10 00 01234",
    "TRUST_FULLY 0 pgp",
    "DECRYPTION_OKAY",
    "END_DECRYPTION",
  ],
  ["BEGIN_DECRYPTION", "ERROR pkdecrypt_failed 67108875", "DECRYPTION_FAILED", "END_DECRYPTION"],
  [
    "BEGIN_DECRYPTION",
    "PLAINTEXT 62 1 ",
    "NEWSIG",
    "ERRSIG 2EDF609AF05BB368 1 10 00 1795322167 9 0123456789ABCDEF0123456789ABCDEF01234567",
    "DECRYPTION_OKAY",
    "END_DECRYPTION",
    "NEWSIG",
    "BADSIG 2EDF609AF05BB368 x",
  ],
].map((lines) => lines.map((line) => `[GNUPG:] ${line}\n`).join(""));

const gpgStatus: FuzzTarget = {
  name: "gpg-status",
  rule: "a plaintext counts only where gpg says, once and to the end, that it decrypted it",
  seeds: () => GPG_SEEDS.map(bytesOf),
  words: [
    "\n[GNUPG:] ",
    "[GNUPG:] NEWSIG\n",
    "[GNUPG:] GOODSIG 2EDF609AF05BB368 x\n",
    "[GNUPG:] DECRYPTION_OKAY\n",
    "[GNUPG:] END_DECRYPTION\n",
    "[GNUPG:] PLAINTEXT 62 1 \n",
    "[GNUPG:] TRUST_ULTIMATE 0\n",
    "[GNUPG:] constructor\n",
    "__proto__",
  ],
  check(input) {
    const text = textOf(input);
    const read = parseDecryption(input, text);
    if (!read.ok) return;
    for (const keyword of ["DECRYPTION_OKAY", "PLAINTEXT", "BEGIN_DECRYPTION", "END_DECRYPTION"]) {
      const less = text.split("\n").filter((line) => line.trimEnd().split(" ")[1] !== keyword);
      rule(!parseDecryption(input, less.join("\n")).ok, `no ${keyword} was needed`);
    }
    const failed = `${text}\n[GNUPG:] DECRYPTION_FAILED`;
    rule(!parseDecryption(input, failed).ok, "a failure was passed over");
    const { signature } = read;
    if (signature !== null) {
      describeSignature(signature);
      const good = checkSignature(signature, false) === null;
      rule(!good || /^\[GNUPG:\] GOODSIG/m.test(text), "a good signature that gpg did not find");
      rule(!good || /^\[GNUPG:\] TRUST_/m.test(text), "a signature nobody vouches for");
    }
  },
};

const gpgKeys: FuzzTarget = {
  name: "gpg-keys",
  rule: "any listing gives keys of which a part is usable, or none is",
  seeds: () =>
    [
      "sec:u:2048:1:2EDF609AF05BB368:1500000000:::u:::scESC:::+:::23::0:\n" +
      "fpr:::::::::0123456789ABCDEF0123456789ABCDEF01234567:\nuid:u::::1::X::somebody:\n" +
      "ssb:u:2048:1:F0566069C96B092B:1500000000::::::e:::+:::23:\n",
      "pub:r:256:22:AAAA:1:::-:::scSC::::ed25519:::0:\nsub:e:256:18:BBBB:1::::::e::::cv25519::\n",
    ].map(bytesOf),
  words: [":", "pub:", "sub:", "sec:", "ssb:", "fpr:", "\n", "#", "16", "1"],
  check(input) {
    const keys = parseKeyListing(textOf(input));
    for (const key of keys) {
      for (const purpose of ["encrypt", "sign"] as const) {
        const part = chooseKeyPart(key, purpose);
        rule(part === null || part.isUsable, "an unusable part was chosen");
        rule(part === null || part.capabilities.includes(purpose.charAt(0)), "one that may not");
      }
      for (const part of key.parts) {
        describeKeyPart(part);
        canReceivePackets(part);
      }
    }
  },
};

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
        const config = { NFT_ATTACH: attach, NFT_MARK: mark, ENABLE_DEFAULT_DROP: [] };
        const choice = choosePlaces(config, ruleset, hooks);
        rule(choice.ok || choice.reason !== "", "a refusal without a reason");
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
];

const others: FuzzTarget = {
  name: "other-listings",
  rule: "any listing of firewalld, ipfw and pf gives rules, no more than it has lines",
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
  ],
  check(input) {
    const text = textOf(input);
    const count = text.split("\n").length;
    const listed = [
      parseRichRules(text, "public"),
      parseIpfwRules(text, "set 1"),
      parsePfRules(text, "fwknop"),
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
export function outputTargets(): readonly FuzzTarget[] {
  return [replayLine, gpgStatus, gpgKeys, iptables, nftables, others];
}
