// iptables and ip6tables as one firewall, each with a fake of its own.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { FirewallPlanner, FirewallRule, Plan } from "../lib/fw_firewall.ts";
import { ip6tablesPlanner } from "../lib/fw_ip6tables.ts";
import { familyPlanner, ip6tablesProgram, type IptablesConfig } from "../lib/fw_iptables.ts";
import { bothFamilies } from "../lib/fw_iptables_families.ts";
import { together } from "../lib/fw_joined.ts";
import { DEFAULT_CONFIG, type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const END = 1795323564;
const IPV4 = "192.0.2.10";
const IPV6 = "2001:db8::10";

interface Pair {
  readonly planner: FirewallPlanner;
  readonly four: FakeIptables;
  readonly six: FakeIptables;
}

function pair(changes: Partial<IptablesConfig> = {}, needsIpv6 = false): Pair {
  const config = { ...DEFAULT_CONFIG, ...changes };
  const planner = bothFamilies(
    familyPlanner(config, { family: "ipv4", iptables: "iptables", restore: "iptables-restore" }),
    ip6tablesPlanner(config, { iptables: "ip6tables", restore: "ip6tables-restore" }),
    { needsIpv6 },
  );
  return { planner, four: fakeIptables(), six: fakeIptables() };
}

function carryOut<T>(plan: Plan<T>, { four, six }: Pick<Pair, "four" | "six">): T {
  let step = plan.next();
  while (!step.done) {
    step = plan.next(
      step.value.map(({ call }) => (call.program.startsWith("ip6") ? six : four).run(call)),
    );
  }
  return step.value;
}

function grant(source: string, changes: Partial<FirewallGrant> = {}): FirewallGrant {
  return {
    kind: "access",
    stanza: 1,
    source,
    destination: source === IPV6 ? "2001:db8::1" : "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }],
    seconds: 30,
    expires: END,
    ...changes,
  } as FirewallGrant;
}

function rulesOf({ planner }: Pair, ...grants: readonly FirewallGrant[]): FirewallRule[] {
  return grants.flatMap((one) => {
    const choice = planner.rulesFor(one);
    assert(choice.ok);
    return [...choice.rules];
  });
}

const open = (fake: FakeIptables): string[] =>
  fake.save().filter((line) => line.startsWith("-A FWKNOP"));

Deno.test("rules go where their addresses belong, in one step, and are found and removed there", () => {
  const both = pair();
  assert(carryOut(both.planner.setUp(true), both).ok);
  const rules = rulesOf(both, grant(IPV4), grant(IPV6));
  const plan = both.planner.add(rules);
  const step = plan.next();
  assert(!step.done);
  assert.deepEqual(
    step.value.map(({ call }) => call.program).sort(),
    ["ip6tables", "ip6tables-restore", "iptables", "iptables-restore"],
  );
  assert.deepEqual(carryOut(both.planner.add(rules), both), { ok: true, repaired: [], lost: [] });
  assert.match(open(both.four).join(), /-s 192\.0\.2\.10\/32 .*--dport 22/);
  assert.match(open(both.six).join(), /-s 2001:db8::10\/128 .*--dport 22|-s 2001:db8::10 /);
  const listed = carryOut(both.planner.list(), both);
  assert.deepEqual(listed.map(({ chain, family }) => [chain, family]), [
    ["FWKNOP_INPUT", undefined],
    ["FWKNOP_INPUT", "ipv6"],
  ]);
  assert.equal(carryOut(both.planner.remove(rules), both).removed.length, 2);
  assert.deepEqual([open(both.four), open(both.six)], [[], []]);
  assert(carryOut(both.planner.tearDown(), both).ok);
  assert.deepEqual([both.four.save(), both.six.save()], [[], []]);
});

Deno.test("where one family refuses its rule, neither keeps any, and each is tried alone", () => {
  for (const side of ["four", "six"] as const) {
    const both = pair();
    assert(carryOut(both.planner.setUp(true), both).ok);
    both[side].refuse = /--dport 22/;
    const outcome = carryOut(both.planner.add(rulesOf(both, grant(IPV4), grant(IPV6))), both);
    assert(!outcome.ok);
    assert.equal(outcome.blames, "rules");
    assert.match(outcome.reason, /Invalid argument/);
    assert.deepEqual([open(both.four), open(both.six)], [[], []]);
  }
});

Deno.test("chains that vanished are told apart by their family", () => {
  const both = pair();
  assert(carryOut(both.planner.setUp(true), both).ok);
  for (const line of ["-D INPUT -j FWKNOP_INPUT", "-X FWKNOP_INPUT"]) {
    both.six.run({ program: "x", args: ["-t", "filter", ...line.split(" ")] });
  }
  const outcome = carryOut(both.planner.add(rulesOf(both, grant(IPV6))), both);
  assert(outcome.ok);
  assert.deepEqual(outcome.lost, ["ipv6 filter FWKNOP_INPUT"]);
});

Deno.test("without a working ip6tables, IPv4 goes on with a warning unless IPv6 is needed", () => {
  const broken = { status: 3, stdout: "", stderr: "can't initialize ip6tables table `filter'" };
  const lenient = pair();
  lenient.six.broken = broken;
  const outcome = carryOut(lenient.planner.setUp(true), lenient);
  assert(outcome.ok);
  assert.equal(outcome.warnings?.length, 1);
  assert.match(outcome.warnings[0] ?? "", /^No access over IPv6: .*module ip6table_filter/);
  const choice = lenient.planner.rulesFor(grant(IPV6));
  assert(!choice.ok && /cannot open for 2001:db8::10/.test(choice.reason));
  assert(lenient.planner.rulesFor(grant(IPV4)).ok);
  assert.deepEqual(carryOut(lenient.planner.tearDown(), lenient), { ok: true });

  const strict = pair({}, true);
  strict.six.broken = broken;
  const refused = carryOut(strict.planner.setUp(true), strict);
  assert(!refused.ok);
  assert.match(refused.reason, /^ip6tables: /);
  assert.deepEqual(strict.four.save(), []);
});

const NAT = {
  local: false,
  host: "2001:db8:1::20",
  port: 2222,
  all: false,
  translatesDestination: true,
  forcedSource: null,
  masquerade: false,
};

Deno.test("NAT for IPv6 leads to IPv6 addresses, in ip6tables", () => {
  const both = pair({
    ENABLE_IPT_FORWARDING: true,
    ENABLE_IPT_SNAT: true,
    SNAT_TRANSLATE_IP: "198.51.100.1",
  });
  assert(carryOut(both.planner.setUp(true), both).ok);
  const knock = grant(IPV6, { kind: "nat", nat: NAT });
  const texts = rulesOf(both, knock).map(({ family, chain, text }) =>
    `${family} ${chain} ${text.replace(/-m comment --comment \S+ /, "")}`
  );
  assert.deepEqual(texts, [
    "ipv6 FWKNOP_FORWARD -p 6 -s 2001:db8::10 -d 2001:db8:1::20 --dport 2222 -j ACCEPT",
    "ipv6 FWKNOP_PREROUTING -p 6 -s 2001:db8::10 -d 2001:db8::1 --dport 22 -j DNAT" +
    " --to-destination [2001:db8:1::20]:2222",
    "ipv6 FWKNOP_MASQUERADE -p 6 -s 2001:db8::10 -d 2001:db8:1::20 --dport 2222 -j MASQUERADE",
  ]);
  assert(carryOut(both.planner.add(rulesOf(both, knock)), both).ok);
  assert.equal(both.six.save("nat").filter((line) => line.includes("2001:db8")).length, 2);
  for (const host of ["198.51.100.20", "name.example"]) {
    const choice = both.planner.rulesFor(grant(IPV6, { kind: "nat", nat: { ...NAT, host } }));
    assert.equal(choice.ok, false, host);
  }
  assert(carryOut(both.planner.tearDown(), both).ok);
  assert.deepEqual([both.six.save(), both.six.save("nat")], [[], []]);
});

Deno.test("SNAT_TRANSLATE_IP serves the IP version, or versions, that it names", () => {
  const cases: [address: string, four: string, six: string][] = [
    ["198.51.100.1", "SNAT --to-source 198.51.100.1", "MASQUERADE"],
    ["2001:db8:1::1", "MASQUERADE", "SNAT --to-source 2001:db8:1::1"],
    [
      "198.51.100.1, 2001:db8:1::1",
      "SNAT --to-source 198.51.100.1",
      "SNAT --to-source 2001:db8:1::1",
    ],
  ];
  for (const [SNAT_TRANSLATE_IP, four, six] of cases) {
    const both = pair({ ENABLE_IPT_FORWARDING: true, ENABLE_IPT_SNAT: true, SNAT_TRANSLATE_IP });
    assert(carryOut(both.planner.setUp(true), both).ok);
    const knocks = [
      grant(IPV4, { kind: "nat", nat: { ...NAT, host: "198.51.100.20" } }),
      grant(IPV6, { kind: "nat", nat: NAT }),
    ];
    const targets = rulesOf(both, ...knocks).map(({ text }) => text.replace(/^.* -j /, ""));
    assert.deepEqual(targets.filter((text) => /^(?:SNAT|MASQ)/.test(text)), [four, six]);
  }
});

Deno.test("a kernel without NAT for IPv6 gives access without it, with a warning", () => {
  const both = pair({ ENABLE_IPT_FORWARDING: true });
  const real = both.six.run;
  const complaint = "can't initialize ip6tables table `nat': Table does not exist";
  const run: typeof real = (call) =>
    `${call.args.join(" ")} ${call.stdin ?? ""}`.includes("nat")
      ? { status: 3, stdout: "", stderr: complaint }
      : real(call);
  const natless = { ...both, six: { ...both.six, run } };
  const outcome = carryOut(both.planner.setUp(true), natless);
  assert(outcome.ok);
  assert.deepEqual(outcome.warnings, [`IPv6: NAT is not available: ${complaint}`]);
  const choice = both.planner.rulesFor(grant(IPV6, { kind: "nat", nat: NAT }));
  assert(!choice.ok);
  assert.match(choice.reason, /no NAT for 2001:db8::10: .*Table does not exist/);
  assert(carryOut(both.planner.add(rulesOf(both, grant(IPV6))), natless).ok);
  assert.equal(open(both.six).length, 1);
  // As `spa fw-flush` does it, which has set nothing up.
  const other = pair({ ENABLE_IPT_FORWARDING: true }).planner;
  assert.deepEqual(carryOut(other.tearDown(), natless), { ok: true });
  assert.deepEqual(both.six.save(), []);
});

Deno.test("a destination rule takes no address of the other family", () => {
  const both = pair({ ENABLE_DESTINATION_RULE: true });
  const mixed = grant(IPV6, { destination: "192.0.2.1" });
  assert.equal(both.planner.rulesFor(mixed).ok, false);
  assert.equal(pair().planner.rulesFor(mixed).ok, true);
});

for (
  const [program, ip6tables] of [
    ["/usr/sbin/iptables", "/usr/sbin/ip6tables"],
    ["iptables-nft", "ip6tables-nft"],
    ["/sbin/iptables-legacy", "/sbin/ip6tables-legacy"],
    ["/opt/iptables.sh", null],
    ["/opt/iptables/run", null],
  ] as const
) {
  Deno.test(`ip6tablesProgram() of ${program} is ${ip6tables}`, () => {
    assert.equal(ip6tablesProgram(program), ip6tables);
  });
}

/** Asks for as many calls as it is told, then gives what they printed. */
function* asking(name: string, steps: readonly number[]): Plan<string[]> {
  const seen: string[] = [];
  for (const [index, count] of steps.entries()) {
    const results = yield Array.from({ length: count }, (_, at) => ({
      call: { program: name, args: [`${index}.${at}`] },
      echo: [],
    }));
    seen.push(...results.map(({ stdout }) => stdout));
  }
  return seen;
}

Deno.test("together() gives each plan the results of its own calls, in as few steps as the longer", () => {
  const steps = fc.array(fc.nat(3), { maxLength: 5 });
  fc.assert(fc.property(steps, steps, (one, other) => {
    const plan = together(asking("a", one), asking("b", other));
    let count = 0;
    let step = plan.next();
    while (!step.done) {
      count++;
      const results = step.value.map(({ call }) => ({
        status: 0,
        stdout: `${call.program} ${call.args[0]}`,
        stderr: "",
      }));
      step = plan.next(results);
    }
    const wanted = (name: string, counts: readonly number[]): string[] =>
      counts.flatMap((length, index) =>
        Array.from({ length }, (_, at) => `${name} ${index}.${at}`)
      );
    assert.deepEqual(step.value, [wanted("a", one), wanted("b", other)]);
    assert.equal(count, Math.max(one.length, other.length));
  }));
});
