// Whether iptables could be set up, asked for without any change; setting it up says the same.

import assert from "node:assert/strict";
import type { CheckOutcome, Plan, SetUpOutcome } from "../lib/fw_firewall.ts";
import { ip6tablesPlanner } from "../lib/fw_ip6tables.ts";
import { iptablesPlanner } from "../lib/fw_iptables.ts";
import { bothFamilies } from "../lib/fw_iptables_families.ts";
import type { ProgramCall, ProgramResult } from "../lib/host.ts";
import { DEFAULT_CONFIG, fakeIptables } from "./fake_iptables.ts";

const IPTABLES = "/usr/sbin/iptables";
const IP6TABLES = "/usr/sbin/ip6tables";
const TOLD = "iptables: grants are accepted in chain FWKNOP_INPUT of INPUT";

function carryOut<T>(plan: Plan<T>, run: (call: ProgramCall) => ProgramResult): T {
  let step = plan.next();
  while (!step.done) step = plan.next(step.value.map(({ call }) => run(call)));
  return step.value;
}

function failing(status: number, stderr = "", stdout = ""): () => ProgramResult {
  return () => ({ status, stdout, stderr });
}

/** Both ways of finding out, which must agree. */
function reasonsOf(
  planner: { check(): Plan<CheckOutcome>; setUp(flush: boolean): Plan<SetUpOutcome> },
  run: (call: ProgramCall) => ProgramResult,
): string[] {
  const outcomes = [carryOut(planner.check(), run), carryOut(planner.setUp(true), run)];
  return outcomes.map((outcome) => outcome.ok ? "none" : outcome.reason);
}

Deno.test("check() of iptables names a program that cannot run, or is something else, as set-up does", () => {
  const cases: [title: string, run: (call: ProgramCall) => ProgramResult, reason: string][] = [
    [
      "a file that is not there",
      failing(127, `${IPTABLES}: Failed to spawn '${IPTABLES}': No such file or directory`),
      `${IPTABLES} is not there; install the package iptables`,
    ],
    [
      "a file that may not run",
      failing(127, `${IPTABLES}: Failed to spawn '${IPTABLES}': Permission denied`),
      `cannot run ${IPTABLES}: Permission denied`,
    ],
    [
      "one that fails without a word",
      failing(3),
      `${IPTABLES} is no iptables; ${IPTABLES}: exit status 3`,
    ],
    ["one that complains", failing(3, "out of order\n"), `${IPTABLES}: out of order`],
    ["one that is silent", failing(0), `${IPTABLES} is no iptables: it tells no version`],
    [
      "another",
      failing(0, "", "ip6tables v1.8.9 (legacy)\n"),
      `${IPTABLES} is no iptables: it says "ip6tables v1.8.9 (legacy)"`,
    ],
  ];
  for (const [title, run, reason] of cases) {
    assert.deepEqual(reasonsOf(iptablesPlanner(DEFAULT_CONFIG), run), [reason, reason], title);
  }
});

Deno.test("check() of iptables finds chains that are not there and places past a chain's end", () => {
  const { IPT_INPUT_ACCESS, IPT_OUTPUT_ACCESS } = DEFAULT_CONFIG;
  const input = (changes: Partial<typeof IPT_INPUT_ACCESS>) => ({
    ...DEFAULT_CONFIG,
    IPT_INPUT_ACCESS: { ...IPT_INPUT_ACCESS, ...changes },
  });
  const cases: [config: typeof DEFAULT_CONFIG, rules: string[], reason: RegExp][] = [
    [input({ from: "NOWHERE" as "INPUT" }), [], /^there is no chain NOWHERE in the table filter/],
    [input({ table: "nosuch" as "filter" }), [], /^there is no chain INPUT in the table nosuch/],
    [input({ jumpPosition: 3 }), ["-t filter -A INPUT -i lo -j ACCEPT"], /number 3 of INPUT.* 1 /],
    [input({ jumpPosition: 2 }), ["-t filter -A INPUT -i lo -j ACCEPT"], /^none$/],
    [input({ jumpPosition: 1 }), [], /^none$/],
    [
      // The jump of an earlier run goes first, and cannot be counted on.
      input({ jumpPosition: 2 }),
      ["-t filter -N FWKNOP_INPUT", "-t filter -A INPUT -j FWKNOP_INPUT"],
      /number 2 of INPUT, which has 0 /,
    ],
    [
      // Two jumps from one chain: the first makes room for the second.
      {
        ...DEFAULT_CONFIG,
        ENABLE_IPT_OUTPUT: true,
        IPT_OUTPUT_ACCESS: { ...IPT_OUTPUT_ACCESS, from: "INPUT", jumpPosition: 2 },
      } as unknown as typeof DEFAULT_CONFIG,
      [],
      /^none$/,
    ],
  ];
  for (const [config, rules, reason] of cases) {
    const fake = fakeIptables(...rules);
    const before = fake.save();
    const outcome = carryOut(iptablesPlanner(config).check(), fake.run);
    assert.match(outcome.ok ? "none" : outcome.reason, reason);
    assert.deepEqual(fake.save(), before, "check() changes nothing");
    assert.ok(fake.calls.every(({ stdin }) => stdin === undefined));
    const setUp = carryOut(iptablesPlanner(config).setUp(true), fake.run);
    assert.match(setUp.ok ? "none" : setUp.reason, reason);
  }
});

Deno.test("an ip6tables that is named must work; one that was found is told of", () => {
  const fake = fakeIptables();
  const run = (call: ProgramCall): ProgramResult =>
    call.program === IP6TABLES
      ? failing(127, `${IP6TABLES}: Failed to spawn '${IP6TABLES}': entity not found`)()
      : fake.run(call);
  const reason = `${IP6TABLES} is not there; install the package iptables`;
  const both = (needsIpv6: boolean) =>
    bothFamilies(
      iptablesPlanner(DEFAULT_CONFIG),
      ip6tablesPlanner(DEFAULT_CONFIG, { iptables: IP6TABLES, restore: null }),
      { needsIpv6 },
    );
  const named = `ip6tables: ${reason}`;
  assert.deepEqual(reasonsOf(both(true), run), [named, named]);
  const told = `No access over IPv6: cannot set up ip6tables: ${reason}`;
  assert.deepEqual(carryOut(both(false).check(), run), {
    ok: true,
    lines: [TOLD],
    warnings: [told],
  });
  const setUp = carryOut(both(false).setUp(true), run);
  assert.ok(setUp.ok);
  assert.deepEqual(setUp.warnings, [told]);
});
