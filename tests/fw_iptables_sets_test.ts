// iptables with sets for many grants, against programs in memory.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { FirewallRule, Plan } from "../lib/fw_firewall.ts";
import {
  additionOf,
  elementsFor,
  ipsetsFor,
  LONGEST_TIMEOUT,
  parseIpset,
} from "../lib/fw_ipset.ts";
import { familyPlanner, type IptablesConfig, type IptablesPlanner } from "../lib/fw_iptables.ts";
import { type SetSettings, withSets } from "../lib/fw_iptables_sets.ts";
import { DEFAULT_CONFIG, type FakeIptables, fakeIptables } from "./fake_iptables.ts";
import { type FakeIpset, fakeIpset } from "./fake_ipset.ts";

const END = 1795323564;
const ABOVE = 3;
const FOREIGN = "-t filter -A INPUT -p 6 --dport 80 -j ACCEPT";
const REFUSED = { status: 1, stdout: "", stderr: "ipset v7.17: Kernel error received: Invalid" };

interface Scene {
  readonly planner: IptablesPlanner;
  readonly plain: IptablesPlanner;
  readonly iptables: FakeIptables;
  readonly ipset: FakeIpset;
}

type Changes = Partial<SetSettings & IptablesConfig>;

function scene(changes: Changes = {}, program: string | null = "ipset"): Scene {
  const config = { ...DEFAULT_CONFIG, ENABLE_IPSET: true, IPSET_ABOVE_GRANTS: ABOVE, ...changes };
  const programs = {
    family: "ipv4",
    iptables: "iptables",
    restore: "iptables-restore",
    ipset: program,
  } as const;
  const plain = familyPlanner(config, programs);
  const planner = withSets(familyPlanner(config, programs), programs, config);
  return { planner, plain, iptables: fakeIptables(FOREIGN), ipset: fakeIpset() };
}

function carryOut<T>(plan: Plan<T>, { iptables, ipset }: Scene): T {
  let step = plan.next();
  while (!step.done) {
    step = plan.next(
      step.value.map(({ call }) => (call.program === "ipset" ? ipset : iptables).run(call)),
    );
  }
  return step.value;
}

function started(changes: Changes = {}): Scene {
  const one = scene(changes);
  assert(carryOut(one.planner.setUp(true), one).ok);
  return one;
}

function grant(changes: Partial<FirewallGrant> = {}): FirewallGrant {
  return {
    kind: "access",
    stanza: 2,
    source: "192.0.2.10",
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }, { protocol: "udp", port: 53 }],
    seconds: 30,
    expires: END,
    ...changes,
  } as FirewallGrant;
}

function rulesOf(planner: IptablesPlanner, one: FirewallGrant, open: number): FirewallRule[] {
  const choice = planner.rulesFor(one, open);
  assert(choice.ok);
  return [...choice.rules];
}

const chainsOf = (rules: readonly FirewallRule[]): string[] => rules.map(({ chain }) => chain);

Deno.test("below the number a grant gets the rules that it would get without sets", () => {
  const { planner, plain } = started();
  assert.deepEqual(rulesOf(planner, grant(), ABOVE - 1), rulesOf(plain, grant(), 0));
  assert.deepEqual(rulesOf(planner, grant(), 0), rulesOf(plain, grant(), 0));
});

Deno.test("from the number on, ports become elements; what sets cannot express stays a rule", () => {
  const nat = {
    local: true,
    all: false,
    host: "192.0.2.1",
    port: 22,
    translatesDestination: true,
    masquerade: false,
    forcedSource: null,
  };
  const cases: readonly [Changes, Partial<FirewallGrant>, readonly string[]][] = [
    [{}, {}, ["spa_access4", "spa_access4"]],
    [{ ENABLE_IPT_OUTPUT: true }, {}, [
      "spa_access4",
      "spa_access4",
      "spa_output4",
      "spa_output4",
    ]],
    [{ ENABLE_DESTINATION_RULE: true }, {}, ["spa_access4_to", "spa_access4_to"]],
    [{ ENABLE_DOCKER: true }, {}, [
      "spa_access4",
      "spa_access4",
      "FWKNOP_DOCKER",
      "FWKNOP_DOCKER",
    ]],
    [{}, { seconds: LONGEST_TIMEOUT + 1 }, ["FWKNOP_INPUT", "FWKNOP_INPUT"]],
  ];
  for (const [changes, fields, wanted] of cases) {
    const { planner } = started(changes);
    assert.deepEqual(chainsOf(rulesOf(planner, grant(fields), ABOVE)), wanted);
  }
  const { planner, plain } = started({ ENABLE_IPT_LOCAL_NAT: true });
  const natGrant = grant({ kind: "nat", nat } as Partial<FirewallGrant>);
  assert.deepEqual(rulesOf(planner, natGrant, ABOVE), rulesOf(plain, natGrant, ABOVE));
  assert.equal(planner.rulesFor(grant({ source: "2001:db8::1" }), ABOVE).ok, false);
});

Deno.test("elements open through one rule, which the first of them brings", () => {
  const one = started();
  const { planner, iptables, ipset } = one;
  assert(iptables.save().every((line) => !line.includes("match-set")));
  const rules = rulesOf(planner, grant(), ABOVE);
  const first = carryOut(planner.add(rules), one);
  assert.deepEqual(first, {
    ok: true,
    repaired: ["Added rule for set spa_access4 to chain: INPUT"],
    lost: [],
  });
  const other = rulesOf(planner, grant({ source: "192.0.2.11" }), ABOVE);
  assert.deepEqual(carryOut(planner.add(other), one), { ok: true, repaired: [], lost: [] });
  assert.deepEqual(ipset.elements("spa_access4"), [
    `192.0.2.10,tcp:22 timeout 30 comment "stanza 2 _exp_${END}"`,
    `192.0.2.10,udp:53 timeout 30 comment "stanza 2 _exp_${END}"`,
    `192.0.2.11,tcp:22 timeout 30 comment "stanza 2 _exp_${END}"`,
    `192.0.2.11,udp:53 timeout 30 comment "stanza 2 _exp_${END}"`,
  ]);
  const looks = iptables.save().filter((line) => line.includes("match-set"));
  assert.deepEqual(looks, ["-A INPUT -m set --match-set spa_access4 src,dst -j ACCEPT"]);

  const listed = carryOut(planner.list(), one).flatMap((chain) => chain.rules);
  assert.deepEqual(listed.map(({ text, secondsLeft, stanza }) => [text, secondsLeft, stanza]), [
    ["192.0.2.10,tcp:22", 30, 2],
    ["192.0.2.10,udp:53", 30, 2],
    ["192.0.2.11,tcp:22", 30, 2],
    ["192.0.2.11,udp:53", 30, 2],
  ]);
  assert.deepEqual(carryOut(planner.remove(rules), one).removed, rules);
  assert.deepEqual(carryOut(planner.missing([...rules, ...other]), one), rules);
  assert(carryOut(planner.tearDown(), one).ok);
  assert.deepEqual(ipset.names(), []);
  assert.deepEqual(iptables.save(), fakeIptables(FOREIGN).save());
});

Deno.test("where sets cannot be used, all grants get rules of their own, and nothing is left", () => {
  const broken = scene();
  broken.ipset.broken = REFUSED;
  const refused = scene();
  refused.iptables.refuse = /match-set/;
  for (const one of [broken, refused]) {
    const outcome = carryOut(one.planner.setUp(true), one);
    assert(outcome.ok);
    assert.match(outcome.lines.join("\n"), /All grants get rules of their own: /);
    assert.deepEqual(chainsOf(rulesOf(one.planner, grant(), ABOVE)), [
      "FWKNOP_INPUT",
      "FWKNOP_INPUT",
    ]);
    assert.deepEqual(one.ipset.names(), []);
  }
});

/** A scene in which a server was killed, and the next one is configured in another way. */
function leftOver(changes: Changes, program: string | null = "ipset"): Scene {
  const before = started();
  assert(carryOut(before.planner.add(rulesOf(before.planner, grant(), ABOVE)), before).ok);
  const { planner, plain } = scene(changes, program);
  return { ...before, planner, plain };
}

Deno.test("what a killed server has left in sets goes, or stays known, though sets are off now", () => {
  const flushed = leftOver({ ENABLE_IPSET: false });
  assert(carryOut(flushed.planner.setUp(true), flushed).ok);
  assert.deepEqual(flushed.ipset.names(), []);
  assert(!flushed.iptables.save().join().includes("match-set"));

  const kept = leftOver({ ENABLE_IPSET: false });
  const outcome = carryOut(kept.planner.setUp(false), kept);
  assert(outcome.ok);
  assert.deepEqual(chainsOf(outcome.kept), ["spa_access4", "spa_access4"]);
  const ofItsOwn = ["FWKNOP_INPUT", "FWKNOP_INPUT"];
  assert.deepEqual(chainsOf(rulesOf(kept.planner, grant(), ABOVE)), ofItsOwn);
  assert(carryOut(kept.planner.tearDown(), kept).ok);
  assert.deepEqual(kept.ipset.names(), []);

  const without = leftOver({}, null);
  assert(carryOut(without.planner.setUp(true), without).ok);
  assert(!without.iptables.save().join().includes("match-set"));
  assert.deepEqual(chainsOf(rulesOf(without.planner, grant(), ABOVE)), ofItsOwn);
});

Deno.test("sets for other settings of a killed server go, or are known like its own", () => {
  const other = { ENABLE_DESTINATION_RULE: true };
  const flushed = leftOver(other);
  assert(carryOut(flushed.planner.setUp(true), flushed).ok);
  assert.deepEqual(flushed.ipset.names(), ["spa_access4_to"]);
  assert(!flushed.iptables.save().join().includes("match-set"));

  const kept = leftOver(other);
  const outcome = carryOut(kept.planner.setUp(false), kept);
  assert(outcome.ok);
  assert.deepEqual(chainsOf(outcome.kept), ["spa_access4", "spa_access4"]);
  assert.deepEqual(carryOut(kept.planner.remove(outcome.kept), kept).removed, outcome.kept);
  assert.deepEqual(kept.ipset.elements("spa_access4"), []);
  assert(carryOut(kept.planner.tearDown(), kept).ok);
  assert.deepEqual(kept.ipset.names(), []);
  assert.deepEqual(kept.iptables.save(), fakeIptables(FOREIGN).save());
});

Deno.test("a set of somebody else with our name is left alone", () => {
  const one = scene();
  one.ipset.run({ program: "ipset", args: ["create", "spa_access4", "hash:ip"] });
  const outcome = carryOut(one.planner.setUp(true), one);
  assert(outcome.ok);
  assert.match(outcome.lines.join("\n"), /rules of their own: .*same name already exists/);
  assert.equal(rulesOf(one.planner, grant(), ABOVE)[0]?.chain, "FWKNOP_INPUT");
  assert(carryOut(one.planner.tearDown(), one).ok);
  assert.deepEqual(one.ipset.names(), ["spa_access4"]);
});

Deno.test("a refused element, or a refused rule, fails the whole grant and leaves nothing", () => {
  const full = started();
  full.ipset.refuse = /udp:53/;
  const refused = started();
  refused.iptables.refuse = /match-set/;
  for (const [one, reason] of [[full, /Hash is full/], [refused, /Invalid argument/]] as const) {
    const outcome = carryOut(one.planner.add(rulesOf(one.planner, grant(), ABOVE)), one);
    assert(!outcome.ok);
    assert.match(outcome.reason, reason);
    assert.deepEqual(one.ipset.elements("spa_access4"), []);
  }
});

Deno.test("a set that somebody destroyed is made again, and its grants count as lost", () => {
  const one = started();
  const { planner, ipset } = one;
  const rules = rulesOf(planner, grant(), ABOVE);
  assert(carryOut(planner.add(rules), one).ok);
  ipset.run({ program: "ipset", args: ["destroy", "spa_access4"] });
  const outcome = carryOut(planner.add(rules), one);
  assert.deepEqual(outcome, { ok: true, repaired: [], lost: ["ipset spa_access4"] });
  assert.equal(ipset.elements("spa_access4")?.length, 2);
});

Deno.test("a set that somebody else looks up is emptied at least", () => {
  const one = started();
  assert(carryOut(one.planner.add(rulesOf(one.planner, grant(), ABOVE)), one).ok);
  one.ipset.inUse.add("spa_access4");
  const outcome = carryOut(one.planner.tearDown(), one);
  assert(!outcome.ok);
  assert.match(outcome.reason, /in use/);
  assert.deepEqual(one.ipset.elements("spa_access4"), []);
});

Deno.test("the next server takes over what is in the sets, or flushes it", () => {
  for (const flush of [true, false]) {
    const one = started();
    const rules = rulesOf(one.planner, grant(), ABOVE);
    assert(carryOut(one.planner.add(rules), one).ok);
    const outcome = carryOut(one.planner.setUp(flush), one);
    assert(outcome.ok);
    assert.deepEqual(
      outcome.kept.map(({ chain, text, expires }) => ({ chain, text, expires })),
      flush ? [] : rules.map(({ chain, text, expires }) => ({ chain, text, expires })),
    );
    assert.equal(one.ipset.elements("spa_access4")?.length, flush ? 0 : 2);
    assert.equal(one.iptables.save().join().includes("match-set"), !flush);
  }
});

Deno.test("many elements are looked for in one listing", () => {
  const one = started();
  const ports = Array.from({ length: 20 }, (_, port) => ({ protocol: "tcp" as const, port }));
  const rules = rulesOf(one.planner, grant({ ports }), ABOVE);
  assert(carryOut(one.planner.add(rules.slice(0, 15)), one).ok);
  assert.deepEqual(carryOut(one.planner.missing(rules), one), rules.slice(15));
});

Deno.test("what is put into a set is read back as the same rule", () => {
  const address = { ipv4: fc.ipV4(), ipv6: fc.ipV6() } as const;
  for (const family of ["ipv4", "ipv6"] as const) {
    fc.assert(fc.property(
      address[family],
      address[family],
      fc.constantFrom("tcp" as const, "udp" as const),
      fc.integer({ min: 1, max: 65535 }),
      fc.boolean(),
      (source, destination, protocol, port, ENABLE_DESTINATION_RULE) => {
        const config = { ...DEFAULT_CONFIG, ENABLE_IPT_OUTPUT: true, ENABLE_DESTINATION_RULE };
        const ports = [{ protocol, port }];
        const asked = grant({ source, destination, ports });
        assert(asked.kind === "access");
        for (const set of ipsetsFor(config, family)) {
          const [rule] = elementsFor(set, asked);
          assert(rule !== undefined);
          const [read] = parseIpset(additionOf(rule), set);
          assert(read !== undefined);
          const { table, chain, text, expires, family: of } = rule;
          const back = [read.table, read.chain, read.text, read.expires, read.family];
          assert.deepEqual(back, [table, chain, text, expires, of]);
          assert.equal(read.protocol, protocol);
          assert.equal(read.sourcePort ?? read.destinationPort, port);
        }
      },
    ));
  }
});

Deno.test("elements that are not ours have no end, and nothing that ipset prints is an error", () => {
  const [set] = ipsetsFor(DEFAULT_CONFIG, "ipv4");
  assert(set !== undefined);
  const text = "create spa_access4 hash:ip,port\nadd spa_access4 192.0.2.9,icmp:echo-request\n" +
    'add spa_access4 192.0.2.8,tcp:22 timeout 3 comment "mine"\nadd other 192.0.2.7,tcp:22\n';
  assert.deepEqual(
    parseIpset(text, set).map((rule) => [rule.source, rule.destinationPort, rule.expires]),
    [["192.0.2.9", null, null], ["192.0.2.8", 22, null]],
  );
  fc.assert(fc.property(fc.string(), (line) => {
    assert(Array.isArray(parseIpset(`add spa_access4 ${line}`, set)));
  }));
});
