// The iptables planner on NAT grants: fwknopd's rules where its behaviour is asked for, narrower
// ones by default.

import assert from "node:assert/strict";
import type { NatGrant, NatTerms } from "../lib/auth_grant.ts";
import type { FirewallRule, Plan } from "../lib/fw_firewall.ts";
import { type IptablesConfig, iptablesPlanner } from "../lib/fw_iptables.ts";
import { parsePortList } from "../lib/net_port.ts";
import { DEFAULT_CONFIG, type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const END = 1795323564;

const FORWARDING = { ENABLE_IPT_FORWARDING: true };
const LOCAL_NAT = { ENABLE_IPT_LOCAL_NAT: true };
const SNAT = { ...FORWARDING, ENABLE_IPT_SNAT: true };
const TRANSLATE = { ...SNAT, SNAT_TRANSLATE_IP: "198.51.100.1" };
/** What makes the rules those of fwknopd. */
const AS_FWKNOPD = { ENABLE_FORWARD_DESTINATION: false, ENABLE_STRICT_SNAT: false };
const LOCAL = { local: true, host: "192.0.2.1" };
/** FORWARD_ALL without a target of the stanza's own. */
const GATEWAY = { all: true, translatesDestination: false, host: "0.0.0.0", port: 0 };

function grant(ports: string, nat: Partial<NatTerms>): NatGrant {
  const parsed = parsePortList(ports);
  assert(parsed.ok);
  return {
    kind: "nat",
    stanza: 1,
    source: "192.0.2.10",
    destination: "192.0.2.1",
    ports: parsed.value,
    seconds: 30,
    expires: END,
    nat: {
      local: false,
      host: "198.51.100.20",
      port: 22,
      all: false,
      translatesDestination: true,
      forcedSource: null,
      masquerade: false,
      ...nat,
    },
  };
}

function carryOut<T>(plan: Plan<T>, fake: FakeIptables): T {
  let step = plan.next();
  while (!step.done) step = plan.next(step.value.map(({ call }) => fake.run(call)));
  return step.value;
}

/** Rules of ours as iptables-save has them, the comment of their end shown as `=>`. */
function saved(fake: FakeIptables): string[] {
  return [...fake.save("filter"), ...fake.save("nat")]
    .filter((line) => line.startsWith("-A FWKNOP"))
    .map((line) => line.slice(3).replace(`-m comment --comment _exp_${END} -j`, "=>"));
}

function logged(rules: readonly FirewallRule[]): string[] {
  return rules.map(({ kind, chain, summary }) => `${kind} rule to ${chain} for ${summary}`);
}

interface Case {
  readonly title: string;
  readonly config: Partial<IptablesConfig>;
  readonly ports?: string;
  readonly nat?: Partial<NatTerms>;
  /** Rules of fwknopd 2.6.10, and its log's words; both were read from the program itself. */
  readonly fwknopd: readonly string[];
  readonly log?: readonly string[];
  /** Our rules by default, where they differ. */
  readonly ours?: readonly string[];
}

const FORWARD_WIDE = "FWKNOP_FORWARD -s 192.0.2.10/32 -p tcp -m tcp --dport 22 => ACCEPT";
const FORWARD =
  "FWKNOP_FORWARD -s 192.0.2.10/32 -d 198.51.100.20/32 -p tcp -m tcp --dport 22 => ACCEPT";
const DNAT_WIDE = "FWKNOP_PREROUTING -s 192.0.2.10/32 -p tcp -m tcp --dport 8022" +
  " => DNAT --to-destination 198.51.100.20:22";
const DNAT = DNAT_WIDE.replace("192.0.2.10/32", "192.0.2.10/32 -d 192.0.2.1/32");
const SNAT_WIDE = "FWKNOP_POSTROUTING -d 198.51.100.20/32 -p tcp -m tcp --dport 22" +
  " => SNAT --to-source 198.51.100.1";
const SNAT_RULE = SNAT_WIDE.replace("POSTROUTING", "POSTROUTING -s 192.0.2.10/32");
const MASQUERADE_WIDE = "FWKNOP_MASQUERADE -d 198.51.100.20/32 -p tcp -m tcp --dport 22" +
  " => MASQUERADE --to-ports 8022";
const MASQUERADE = "FWKNOP_MASQUERADE -s 192.0.2.10/32 -d 198.51.100.20/32 -p tcp -m tcp" +
  " --dport 22 => MASQUERADE";
const LOCAL_INPUT = "FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 => ACCEPT";
const FORWARD_ALL = "FWKNOP_FORWARD -s 192.0.2.10/32 => ACCEPT";
const FORWARD_ALL_TO = "FWKNOP_FORWARD -s 192.0.2.10/32 -d 198.51.100.20/32 => ACCEPT";
const DNAT_ALL = "FWKNOP_PREROUTING -s 192.0.2.10/32 => DNAT --to-destination 198.51.100.20";
const DNAT_ALL_AT = DNAT_ALL.replace("192.0.2.10/32", "192.0.2.10/32 -d 192.0.2.1/32");
const SNAT_ALL = "FWKNOP_POSTROUTING -s 192.0.2.10/32 => SNAT --to-source 198.51.100.1";
const MASQUERADE_ALL = "FWKNOP_MASQUERADE -s 192.0.2.10/32 => MASQUERADE";

const CASES: readonly Case[] = [
  {
    title: "a host behind the gateway",
    config: FORWARDING,
    fwknopd: [FORWARD_WIDE, DNAT_WIDE],
    log: [
      "FORWARD rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
      "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
    ],
    ours: [FORWARD, DNAT],
  },
  {
    title: "two ports, of which only the first counts",
    config: FORWARDING,
    ports: "tcp/8022,tcp/8080",
    fwknopd: [FORWARD_WIDE, DNAT_WIDE],
    log: [
      "FORWARD rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 tcp/8022,tcp/8080",
      "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 tcp/8022,tcp/8080",
    ],
    ours: [FORWARD, DNAT],
  },
  {
    title: "a host behind, with ENABLE_DESTINATION_RULE",
    config: { ...FORWARDING, ENABLE_DESTINATION_RULE: true },
    fwknopd: [FORWARD_WIDE, DNAT],
    log: [
      "FORWARD rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
      "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 192.0.2.1 tcp/8022",
    ],
    ours: [FORWARD, DNAT],
  },
  {
    title: "a host behind, with ENABLE_IPT_OUTPUT: no OUTPUT rule",
    config: { ...FORWARDING, ENABLE_IPT_OUTPUT: true },
    fwknopd: [FORWARD_WIDE, DNAT_WIDE],
    ours: [FORWARD, DNAT],
  },
  {
    title: "a host behind, with ENABLE_IPT_SNAT",
    config: SNAT,
    fwknopd: [FORWARD_WIDE, DNAT_WIDE, MASQUERADE_WIDE],
    log: [
      "FORWARD rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
      "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
      "SNAT rule to FWKNOP_MASQUERADE for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
    ],
    ours: [FORWARD, DNAT, MASQUERADE],
  },
  {
    title: "a host behind, with SNAT_TRANSLATE_IP",
    config: TRANSLATE,
    fwknopd: [FORWARD_WIDE, DNAT_WIDE, SNAT_WIDE],
    log: [
      "FORWARD rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
      "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
      "SNAT rule to FWKNOP_POSTROUTING for 192.0.2.10 -> 0.0.0.0/0 tcp/8022",
    ],
    ours: [FORWARD, DNAT, SNAT_RULE],
  },
  {
    title: "local NAT",
    config: LOCAL_NAT,
    ports: "tcp/55022",
    nat: LOCAL,
    fwknopd: [
      LOCAL_INPUT,
      "FWKNOP_PREROUTING -s 192.0.2.10/32 -p tcp -m tcp --dport 55022" +
      " => DNAT --to-destination 192.0.2.1:22",
    ],
    log: [
      "local NAT rule to FWKNOP_INPUT for 192.0.2.10 -> 0.0.0.0/0 tcp/55022",
      "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 tcp/55022",
    ],
    ours: [
      LOCAL_INPUT,
      "FWKNOP_PREROUTING -s 192.0.2.10/32 -d 192.0.2.1/32 -p tcp -m tcp --dport 55022" +
      " => DNAT --to-destination 192.0.2.1:22",
    ],
  },
  {
    title: "FORCE_NAT with only ENABLE_IPT_LOCAL_NAT",
    config: LOCAL_NAT,
    fwknopd: [FORWARD_WIDE, DNAT_WIDE],
    ours: [FORWARD, DNAT],
  },
  {
    title: "FORCE_SNAT",
    config: SNAT,
    nat: { forcedSource: "198.51.100.1" },
    fwknopd: [FORWARD_WIDE, DNAT_WIDE, SNAT_WIDE],
    ours: [FORWARD, DNAT, SNAT_RULE],
  },
  {
    title: "FORCE_MASQUERADE, which beats SNAT_TRANSLATE_IP",
    config: TRANSLATE,
    nat: { masquerade: true },
    fwknopd: [FORWARD_WIDE, DNAT_WIDE, MASQUERADE_WIDE],
    ours: [FORWARD, DNAT, MASQUERADE],
  },
  {
    title: "DISABLE_DNAT",
    config: SNAT,
    nat: { masquerade: true, translatesDestination: false },
    fwknopd: [FORWARD_WIDE, MASQUERADE_WIDE],
    ours: [FORWARD, MASQUERADE],
  },
  {
    title: "FORWARD_ALL to one host",
    config: FORWARDING,
    nat: { all: true },
    fwknopd: [FORWARD_ALL, DNAT_ALL],
    log: [
      "FORWARD ALL rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 */*",
      "DNAT ALL rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 */*",
    ],
    ours: [FORWARD_ALL_TO, DNAT_ALL_AT],
  },
  {
    title: "FORWARD_ALL to one host with ENABLE_IPT_SNAT",
    config: SNAT,
    nat: { all: true },
    fwknopd: [FORWARD_ALL, DNAT_ALL, MASQUERADE_ALL],
    ours: [FORWARD_ALL_TO, DNAT_ALL_AT, MASQUERADE_ALL],
  },
  {
    title: "FORWARD_ALL to one host with SNAT_TRANSLATE_IP, which then beats FORCE_MASQUERADE",
    config: TRANSLATE,
    nat: { all: true, masquerade: true },
    fwknopd: [FORWARD_ALL, DNAT_ALL, SNAT_ALL],
    ours: [FORWARD_ALL_TO, DNAT_ALL_AT, SNAT_ALL],
  },
  {
    title: "FORWARD_ALL, FORCE_SNAT and DISABLE_DNAT: everything behind the gateway",
    config: SNAT,
    nat: { ...GATEWAY, forcedSource: "198.51.100.1" },
    fwknopd: [FORWARD_ALL, SNAT_ALL],
    log: [
      "FORWARD ALL rule to FWKNOP_FORWARD for 192.0.2.10 -> 0.0.0.0/0 */*",
      "SNAT ALL rule to FWKNOP_POSTROUTING for 192.0.2.10 -> 0.0.0.0/0 */*",
    ],
  },
  {
    title: "FORWARD_ALL, FORCE_MASQUERADE and DISABLE_DNAT: everything behind the gateway",
    config: SNAT,
    nat: { ...GATEWAY, masquerade: true },
    fwknopd: [FORWARD_ALL, MASQUERADE_ALL],
  },
  {
    title: "FORWARD_ALL with a local-NAT message",
    config: { ...FORWARDING, ...LOCAL_NAT },
    ports: "tcp/55022",
    nat: { ...LOCAL, all: true },
    fwknopd: [
      LOCAL_INPUT,
      "FWKNOP_PREROUTING -s 192.0.2.10/32 => DNAT --to-destination 192.0.2.1",
    ],
    log: [
      "local NAT rule to FWKNOP_INPUT for 192.0.2.10 -> 0.0.0.0/0 tcp/55022",
      "DNAT ALL rule to FWKNOP_PREROUTING for 192.0.2.10 -> 0.0.0.0/0 */*",
    ],
    ours: [
      LOCAL_INPUT,
      "FWKNOP_PREROUTING -s 192.0.2.10/32 -d 192.0.2.1/32 => DNAT --to-destination 192.0.2.1",
    ],
  },
  {
    title: "UDP",
    config: FORWARDING,
    ports: "udp/5300",
    nat: { port: 53 },
    fwknopd: [
      "FWKNOP_FORWARD -s 192.0.2.10/32 -p udp -m udp --dport 53 => ACCEPT",
      "FWKNOP_PREROUTING -s 192.0.2.10/32 -p udp -m udp --dport 5300" +
      " => DNAT --to-destination 198.51.100.20:53",
    ],
    ours: [
      "FWKNOP_FORWARD -s 192.0.2.10/32 -d 198.51.100.20/32 -p udp -m udp --dport 53 => ACCEPT",
      "FWKNOP_PREROUTING -s 192.0.2.10/32 -d 192.0.2.1/32 -p udp -m udp --dport 5300" +
      " => DNAT --to-destination 198.51.100.20:53",
    ],
  },
];

for (const { title, config, ports = "tcp/8022", nat = {}, fwknopd, log, ours } of CASES) {
  const variants = [
    ["fwknopd's", { ...config, ...AS_FWKNOPD }, fwknopd, log],
    ["narrow", config, ours ?? fwknopd, undefined],
  ] as const;
  for (const [kind, changes, rules, lines] of variants) {
    Deno.test(`rulesFor() gives ${kind} rules for ${title}`, () => {
      const planner = iptablesPlanner({ ...DEFAULT_CONFIG, ...changes });
      const fake = fakeIptables();
      assert(carryOut(planner.setUp(true), fake).ok);
      const choice = planner.rulesFor(grant(ports, nat));
      assert(choice.ok);
      assert(carryOut(planner.add(choice.rules), fake).ok);
      assert.deepEqual(saved(fake), rules);
      if (lines !== undefined) assert.deepEqual(logged(choice.rules), lines);
      assert.deepEqual(carryOut(planner.remove(choice.rules), fake).failed, []);
      assert.deepEqual(saved(fake), []);
    });
  }
}

Deno.test("the log names the destination that a forward rule is tied to", () => {
  const choice = iptablesPlanner({ ...DEFAULT_CONFIG, ...FORWARDING })
    .rulesFor(grant("tcp/8022", {}));
  assert(choice.ok);
  assert.deepEqual(logged(choice.rules), [
    "FORWARD rule to FWKNOP_FORWARD for 192.0.2.10 -> 198.51.100.20 tcp/8022",
    "DNAT rule to FWKNOP_PREROUTING for 192.0.2.10 -> 192.0.2.1 tcp/8022",
  ]);
});

Deno.test("a failure in one table leaves no rule in the other", () => {
  const planner = iptablesPlanner({ ...DEFAULT_CONFIG, ...FORWARDING });
  const fake = fakeIptables();
  assert(carryOut(planner.setUp(true), fake).ok);
  fake.refuse = /DNAT/;
  const choice = planner.rulesFor(grant("tcp/8022", {}));
  assert(choice.ok);
  assert.equal(carryOut(planner.add(choice.rules), fake).ok, false);
  assert.deepEqual(saved(fake), []);
});

Deno.test("rulesFor() refuses NAT that the configuration has no chains for", () => {
  assert.equal(iptablesPlanner(DEFAULT_CONFIG).rulesFor(grant("tcp/8022", {})).ok, false);
});

for (
  const nat of [
    { host: "inner.example" },
    { host: "2001:db8::1" },
    { host: "192.0.2.1 -j ACCEPT" },
    { host: "" },
    { forcedSource: "192.0.2.1\n-A INPUT -j ACCEPT" },
  ]
) {
  Deno.test(`rulesFor() refuses NAT with ${JSON.stringify(nat)}`, () => {
    const planner = iptablesPlanner({ ...DEFAULT_CONFIG, ...SNAT });
    assert.equal(planner.rulesFor(grant("tcp/8022", nat)).ok, false);
  });
}
