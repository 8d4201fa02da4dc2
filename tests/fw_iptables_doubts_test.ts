// What is said of a host whose grants are rules of iptables and could not open, or hide nothing.

import assert from "node:assert/strict";
import type { CheckOutcome, Plan, SetUpOutcome } from "../lib/fw_firewall.ts";
import { type DoubtFacts, doubtsAbout, withDoubts } from "../lib/fw_iptables_doubts.ts";
import { closesInput, mayDropInput, parseFilterTable } from "../lib/fw_iptables_table.ts";
import type { Surroundings } from "../lib/fw_surroundings.ts";
import type { ProgramCall, ProgramResult } from "../lib/host.ts";
import { versionOf } from "./fake_iptables.ts";
import { ACCEPT, base, chain, DROP, type Json, json, match, rulesetOf } from "./nftables_json.ts";

const OPEN = "-P INPUT ACCEPT\n-P FORWARD DROP\n-N FWKNOP_INPUT\n-A INPUT -j FWKNOP_INPUT\n";
const CLOSED = "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n";
const SOME = "-P INPUT ACCEPT\n-A INPUT -s 203.0.113.1/32 -j DROP\n";
const FACTS: DoubtFacts = {
  ipv6: true,
  legacyTables: { ipv4: false, ipv6: false },
  warnings: [],
};

Deno.test("what INPUT of iptables drops is read from iptables -S", () => {
  const cases: [text: string, closes: boolean, mayDrop: boolean][] = [
    ["", false, false],
    [OPEN, false, false],
    [CLOSED, true, true],
    [SOME, false, true],
    ['-P INPUT ACCEPT\n-A INPUT -j LOG --log-prefix "a b "\n', false, false],
    ["-P INPUT ACCEPT\n-A INPUT -j REJECT --reject-with icmp-port-unreachable\n", true, true],
    ['-P INPUT ACCEPT\n-A INPUT -m comment --comment "the rest" -j DROP\n', true, true],
    ["-P INPUT DROP\n-A INPUT -j ACCEPT\n", false, true],
    ["-P INPUT ACCEPT\n-N X\n-A INPUT -j X\n-A X -i lo -j RETURN\n-A X -j DROP\n", true, true],
    ["-P INPUT ACCEPT\n-N X\n-A INPUT -j X\n-A X -j RETURN\n-A X -j DROP\n", false, true],
    ["-P INPUT DROP\n-N X\n-A INPUT -g X\n-A INPUT -j ACCEPT\n", true, true],
    ["-P INPUT ACCEPT\n-N X\n-A X -j DROP\n", false, false],
    ["-P INPUT ACCEPT\n-A INPUT -j NFQUEUE --queue-num 1\n", false, true],
  ];
  for (const [text, closes, mayDrop] of cases) {
    const table = parseFilterTable(text);
    assert.deepEqual([closesInput(table), mayDropInput(table)], [closes, mayDrop], text);
  }
});

interface Scene {
  readonly nft?: readonly Json[] | null;
  readonly variant?: "nft" | "legacy";
  readonly ipv4?: string;
  readonly ipv6?: string | null;
  readonly legacy4?: string;
  readonly legacy6?: string;
  readonly facts?: Partial<DoubtFacts>;
}

function doubts(scene: Scene): string {
  const { nft = [], variant = "nft", ipv4 = CLOSED, ipv6 = CLOSED, legacy4, legacy6 } = scene;
  const table = (text: string | null | undefined) =>
    text === null || text === undefined ? null : parseFilterTable(text);
  const filters = { ipv4: table(ipv4), ipv6: table(ipv6) };
  const others = { legacy4: table(legacy4), legacy6: table(legacy6) };
  const around: Surroundings = {
    ...{ ruleset: nft === null ? null : rulesetOf(...nft), variant },
    filters: { ...filters, ...others },
  };
  const lines = doubtsAbout(around, { ...FACTS, ...scene.facts });
  assert.ok(lines.length <= 1);
  return lines[0] ?? "";
}

const PORT_22 = match({ payload: { protocol: "tcp", field: "dport" } }, 22);
const NATIVE = base("inet filter input", "drop");
const VMAP = { vmap: { key: { meta: { key: "iifname" } }, data: { set: [["eth0", DROP]] } } };

Deno.test("who drops what iptables lets in is named, with the setting that fits", () => {
  const cases: [scene: Scene, expected: RegExp][] = [
    [{}, /^$/],
    [{ nft: null }, /^$/],
    [{ nft: NATIVE }, /^Grants may not open: chain inet filter input .*FIREWALL_TYPE nftables$/],
    [
      { nft: base("inet firewalld filter_INPUT", "accept", [{ reject: null }]) },
      /chain inet firewalld filter_INPUT .*set FIREWALL_TYPE firewalld$/,
    ],
    [
      { nft: base("ip6 block i", "drop") },
      /^Grants over IPv6 may not open: chain ip6 block i .*ENABLE_IP6TABLES N$/,
    ],
    [{ nft: base("ip6 block i", "drop"), ipv6: null }, /^$/],
    // Its own chains, ours, and those that drop some packets only.
    [{ nft: base("ip filter INPUT", "drop") }, /^$/],
    [{ nft: base("inet filter input", "accept", [PORT_22, DROP]) }, /^$/],
    [{ nft: base("inet spa hide", "drop") }, /^$/],
    [{ legacy4: CLOSED }, /INPUT of iptables-legacy .*set FIREWALL_EXE .*iptables-legacy$/],
    [{ legacy6: CLOSED }, /INPUT of iptables-legacy/],
    [{ legacy4: OPEN }, /^$/],
    [{ variant: "legacy", legacy4: CLOSED }, /^$/],
    [
      { variant: "legacy", nft: base("ip filter INPUT", "drop") },
      /chain ip filter INPUT of iptables-nft .*set FIREWALL_EXE \/usr\/sbin\/iptables-nft$/,
    ],
  ];
  for (const [scene, expected] of cases) {
    assert.match(doubts(scene), expected, JSON.stringify(scene));
  }
});

Deno.test("a host where no rule drops anything is told that nothing is hidden", () => {
  const cases: [scene: Scene, told: boolean][] = [
    [{ ipv4: OPEN, ipv6: OPEN }, true],
    [{ ipv4: OPEN, ipv6: OPEN, nft: null }, true],
    [{ ipv4: OPEN, nft: base("ip nat PREROUTING prerouting", "accept") }, true],
    [{ ipv4: SOME, ipv6: OPEN }, false],
    [{ ipv4: OPEN, nft: base("inet filter input", "accept", [PORT_22, DROP]) }, false],
    [{ ipv4: OPEN, nft: base("inet filter input", "accept", [VMAP]) }, false],
    [{ ipv4: OPEN, nft: base("ip raw PREROUTING prerouting -300", "drop") }, false],
    [
      {
        ipv4: OPEN,
        nft: [
          ...base("inet a input", "accept", [PORT_22, { jump: { target: "x" } }]),
          ...chain("inet a x", [DROP]),
        ],
      },
      false,
    ],
    [{ ipv4: OPEN, nft: base("inet a input", "accept", [{ xt: null }]) }, false],
    [{ ipv4: OPEN, legacy4: SOME }, false],
    [{ ipv4: OPEN, facts: { legacyTables: { ipv4: true, ipv6: false } } }, false],
  ];
  for (const [scene, told] of cases) {
    assert.equal(/^Nothing is hidden/.test(doubts(scene)), told, JSON.stringify(scene));
  }
});

Deno.test("a host that is closed for IPv4 alone is told that IPv6 is open", () => {
  const xtablesOpen = base("ip6 filter INPUT", "accept", [PORT_22, ACCEPT]);
  const cases: [scene: Scene, told: boolean][] = [
    [{ ipv6: OPEN }, true],
    [{ ipv6: OPEN, nft: null }, true],
    [{ ipv6: OPEN, nft: xtablesOpen }, true],
    [{ ipv6: OPEN, nft: base("ip filter input", "accept", [PORT_22, DROP]) }, true],
    // No program for IPv6: nft shows what iptables-nft has, and nothing of iptables-legacy.
    [{ ipv6: null }, true],
    [{ ipv6: null, nft: base("ip6 filter INPUT", "drop") }, false],
    [{ ipv6: null, nft: null }, false],
    [{ ipv6: null, variant: "legacy" }, false],
    [{ ipv6: SOME }, false],
    [{ ipv6: OPEN, facts: { ipv6: false } }, false],
    [{ ipv4: SOME, ipv6: OPEN }, true],
    [{ ipv6: OPEN, nft: base("ip6 filter input", "accept", [PORT_22, DROP]) }, false],
    [{ ipv6: OPEN, facts: { legacyTables: { ipv4: false, ipv6: true } } }, false],
  ];
  for (const [scene, told] of cases) {
    assert.equal(/^IPv6 packets to this host/.test(doubts(scene)), told, JSON.stringify(scene));
  }
});

Deno.test("set-up and check look around when they have succeeded, and keep what they had to say", () => {
  const outcome = { ok: true, lines: ["a line"], warnings: ["first"], kept: [] } as const;
  let fails = false;
  const planner = {
    // deno-lint-ignore require-yield -- nothing is to be asked
    *setUp(_flush: boolean): Plan<SetUpOutcome> {
      return fails ? { ok: false, reason: "no" } : outcome;
    },
    // deno-lint-ignore require-yield -- nothing is to be asked
    *check(): Plan<CheckOutcome> {
      return fails ? { ok: false, reason: "no" } : outcome;
    },
  };
  const filters = { ipv4: "iptables", ipv6: null, legacy4: null, legacy6: null };
  const doubtful = withDoubts(planner, { nft: "nft", iptables: "iptables", filters }, {
    ...FACTS,
    warnings: ["second"],
  });
  const run = ({ program, args }: ProgramCall): ProgramResult => {
    const text = program === "nft" ? json(NATIVE) : CLOSED;
    return { status: 0, stdout: args[0] === "-V" ? versionOf(program) : text, stderr: "" };
  };
  const carryOut = <T>(plan: Plan<T>): T => {
    let step = plan.next();
    while (!step.done) step = plan.next(step.value.map(({ call }) => run(call)));
    return step.value;
  };
  for (const plan of [doubtful.setUp(true), doubtful.check()]) {
    const told: SetUpOutcome | CheckOutcome = carryOut<SetUpOutcome | CheckOutcome>(plan);
    assert.ok(told.ok);
    assert.deepEqual(told.warnings?.slice(0, 2), ["first", "second"]);
    assert.match(told.warnings?.[2] ?? "", /^Grants may not open/);
    assert.equal(told.warnings?.length, 3);
  }
  fails = true;
  assert.deepEqual(doubtful.setUp(true).next(), { done: true, value: { ok: false, reason: "no" } });
});
