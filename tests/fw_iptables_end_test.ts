// How iptables' rules say when they end: to the kernel where it can tell, else to us alone.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { Plan, SetUpOutcome } from "../lib/fw_firewall.ts";
import { type IptablesConfig, type IptablesPlanner, iptablesPlanner } from "../lib/fw_iptables.ts";
import { endingMatch } from "../lib/fw_iptables_grant.ts";
import { rulePurpose } from "../lib/fw_iptables_listing.ts";
import { DEFAULT_CONFIG, type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const END = 1795323564;

function planner(changes: Partial<IptablesConfig> = {}, restore?: null): IptablesPlanner {
  return iptablesPlanner({ ...DEFAULT_CONFIG, ENABLE_KERNEL_EXPIRY: true, ...changes }, restore);
}

function carryOut<T>(plan: Plan<T>, fake: FakeIptables): T {
  let step = plan.next();
  while (!step.done) step = plan.next(step.value.map(({ call }) => fake.run(call)));
  return step.value;
}

function setUp(one: IptablesPlanner, fake = fakeIptables(), flush = true): SetUpOutcome {
  return carryOut(one.setUp(flush), fake);
}

function textFor(one: IptablesPlanner, expires = END): string {
  const grant: FirewallGrant = {
    kind: "access",
    stanza: 1,
    source: "192.0.2.10",
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }],
    seconds: 30,
    expires,
  };
  const choice = one.rulesFor(grant);
  assert(choice.ok);
  return choice.rules[0]?.text ?? "";
}

const MATCH = "-p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 22";
const FWKNOPD = `${MATCH} -m comment --comment _exp_${END} -j ACCEPT`;

Deno.test("the kernel is told a rule's end before the comment, in UTC", () => {
  const one = planner();
  assert(setUp(one).ok);
  assert.equal(
    textFor(one),
    `${MATCH} -m time --datestop 2026-11-22T04:59:24 -m comment --comment _exp_${END} -j ACCEPT`,
  );
  assert.equal(endingMatch(0), "-m time --datestop 1970-01-01T00:00:00");
});

Deno.test("a rule is fwknopd's with ENABLE_KERNEL_EXPIRY N, or an end that iptables cannot read", () => {
  const off = planner({ ENABLE_KERNEL_EXPIRY: false });
  assert(setUp(off).ok);
  assert.equal(textFor(off), FWKNOPD);
  const on = planner();
  assert(setUp(on).ok);
  assert.match(
    textFor(on, Date.UTC(2037, 11, 31, 23, 59, 59) / 1000),
    /--datestop 2037-12-31T23:59:59/,
  );
  assert.doesNotMatch(textFor(on, Date.UTC(2038, 0) / 1000), /--datestop/);
});

for (const restore of [undefined, null]) {
  const how = restore === null ? "one by one" : "in transactions";
  Deno.test(`setUp() ${how} warns where there is no time match, and rules do without it`, () => {
    const one = planner({}, restore);
    const fake = fakeIptables();
    const complaint = "iptables v1.8.9: Couldn't load match `time':No such file or directory";
    const real = fake.run;
    const run: typeof real = (call) =>
      `${call.args.join(" ")} ${call.stdin ?? ""}`.includes("-m time")
        ? { status: 2, stdout: "", stderr: complaint }
        : real(call);
    const outcome = carryOut(one.setUp(true), { ...fake, run });
    assert(outcome.ok);
    assert.deepEqual(outcome.warnings, [
      "Rules end only while the server runs: no use of the 'time' match, of the kernel's module" +
      ` xt_time: ${complaint}`,
    ]);
    assert.deepEqual(fake.save(), [":FWKNOP_INPUT", "-A INPUT -j FWKNOP_INPUT"]);
    assert.equal(textFor(one), FWKNOPD);
  });
}

for (
  const [title, changes, lacking] of [
    ["comment", {}, /comment/],
    ["DNAT", { ENABLE_IPT_FORWARDING: true }, /DNAT/],
    ["MASQUERADE", { ENABLE_IPT_FORWARDING: true, ENABLE_IPT_SNAT: true }, /MASQUERADE/],
    ["SNAT", { ENABLE_IPT_LOCAL_NAT: true, ENABLE_IPT_SNAT: true }, /SNAT --to-source/],
    ["conntrack", { ENABLE_DOCKER: true }, /conntrack/],
  ] as const
) {
  Deno.test(`setUp() refuses a kernel without ${title} before it changes anything`, () => {
    const foreign = "-t filter -A INPUT -s 203.0.113.1/32 -j DROP";
    const fake = fakeIptables(
      foreign,
      "-t filter -N FWKNOP_INPUT",
      "-t filter -A INPUT -j FWKNOP_INPUT",
    );
    const before = [fake.save(), fake.save("nat")];
    fake.refuse = lacking;
    const outcome = setUp(planner(changes), fake);
    assert(!outcome.ok);
    assert.match(outcome.reason, lacking);
    assert.deepEqual([fake.save(), fake.save("nat")], before);
    const edits = fake.calls.flatMap(({ stdin }) => stdin?.split("\n") ?? []);
    assert.deepEqual(edits.filter((line) => /^-/.test(line) && !/FWKNOP_PROBE/.test(line)), []);
  });
}

Deno.test("of an earlier run's rules the one that ends last stands for what they open", () => {
  const fake = fakeIptables();
  const one = planner();
  assert(setUp(one, fake).ok);
  for (const end of [END + 60, END, END + 30]) {
    const text = `${MATCH} -m comment --comment _exp_${end} -j ACCEPT`;
    fake.run({ program: "x", args: `-t filter -A FWKNOP_INPUT ${text}`.split(" ") });
  }
  const outcome = setUp(one, fake, false);
  assert(outcome.ok);
  assert.deepEqual(outcome.kept.map(({ expires, purpose }) => [expires, purpose]), [
    [END + 60, rulePurpose(FWKNOPD).purpose],
    [END, undefined],
    [END + 30, undefined],
  ]);
});

Deno.test("two rules open the same whenever they end, however iptables prints them", () => {
  const seconds = fc.integer({ min: 0, max: 2 ** 31 - 1 });
  fc.assert(fc.property(seconds, seconds, (one, other) => {
    const given = `${MATCH} -m comment --comment _exp_${one} -j ACCEPT`;
    const printed = `-s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${endingMatch(other)}` +
      ` -m comment --comment _exp_${other} -j ACCEPT`;
    assert.deepEqual(rulePurpose(given), rulePurpose(printed));
    assert.notDeepEqual(rulePurpose(given), rulePurpose(printed.replace("22", "23")));
  }));
});
