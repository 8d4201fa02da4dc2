// The rule that hands knocks over to a netfilter queue: put in place at the start, whatever an
// earlier run has left, and taken away at the end. In iptables it is fwknopd's; nftables has a
// table of its own.

import { whyUnanswered } from "./fw_call.ts";
import type { FirewallCall, Plan, TearDownOutcome } from "./fw_firewall.ts";
import { completeChains, type IptablesChain, tearDownChains } from "./fw_iptables_chains.ts";
import { applyEdits, type IptablesPrograms } from "./fw_iptables_edit.ts";
import { together } from "./fw_joined.ts";
import { NFT_PROGRAM } from "./fw_nftables_calls.ts";
import type { ProgramResult } from "./host.ts";

/** What the rule depends on, by its names in fwknopd.conf. */
export interface QueueRuleConfig {
  /** Only what comes in there; null for any interface. */
  readonly NFQ_INTERFACE: string | null;
  /** UDP port of knocks. */
  readonly NFQ_PORT: number;
  readonly NFQ_TABLE: string;
  readonly NFQ_CHAIN: string;
  readonly NFQ_QUEUE_NUMBER: number;
  /** Null: {@linkcode NFT_PROGRAM}, or whatever runs its calls for it. */
  readonly NFT_EXE: string | null;
}

/** How putting the rule in place went. */
export type QueueRuleOutcome =
  | {
    readonly ok: true;
    /** Lines for the log. */
    readonly lines: readonly string[];
  }
  | {
    readonly ok: false;
    /** One line for the operator. */
    readonly reason: string;
  };

/** The rule, planned. */
export interface QueueRulePlanner {
  /** Puts it in place; after a failure nothing of it is left. */
  setUp(): Plan<QueueRuleOutcome>;
  /** Takes it away, an earlier run's too; nothing to take away is no failure. */
  tearDown(): Plan<TearDownOutcome>;
}

/** Milliseconds after which a call is given up: well past a long ruleset. */
const CALL_TIMEOUT = 60_000;

/**
 * The rule of fwknopd, for one version of IP: a chain of its own, which the table's chain INPUT
 * jumps to first.
 */
export function iptablesQueueRule(
  config: QueueRuleConfig,
  programs: IptablesPrograms,
): QueueRulePlanner {
  const { NFQ_TABLE: table, NFQ_CHAIN: to, NFQ_INTERFACE: name } = config;
  const chain: IptablesChain = { target: "NFQUEUE", table, from: "INPUT", jumpPosition: 1, to };
  const rest = [
    ...(name === null ? [] : ["-i", name]),
    ...["-p", "udp", "-m", "udp", "--dport", config.NFQ_PORT],
    ...["-j", "NFQUEUE", "--queue-num", config.NFQ_QUEUE_NUMBER],
  ].join(" ");

  function* putInPlace(): Plan<QueueRuleOutcome> {
    const completed = yield* completeChains(programs, [chain], true);
    if (!completed.ok) return { ok: false, reason: completed.reason };
    const added = yield* applyEdits(programs, [{ table, operation: "-A", chain: to, rest }]);
    if (!added.ok) {
      const isUnknown = added.reason.includes("No chain/target/match");
      const question = isUnknown ? "; has the kernel the module xt_NFQUEUE?" : "";
      return { ok: false, reason: `${added.reason}${question}` };
    }
    return { ok: true, lines: completed.lines };
  }

  return {
    *setUp() {
      const outcome = yield* putInPlace();
      if (!outcome.ok) yield* tearDownChains(programs, [chain]);
      return outcome;
    },
    tearDown: () => tearDownChains(programs, [chain]),
  };
}

/**
 * A rule for each version of IP. Where that for IPv6 cannot come, knocks over IPv4 come alone.
 */
export function queueRuleOfBothFamilies(
  ipv4: QueueRulePlanner,
  ipv6: QueueRulePlanner,
): QueueRulePlanner {
  /** What could not come has left nothing to take away. */
  let hasIpv6 = true;
  return {
    *setUp() {
      const [one, other] = yield* together(ipv4.setUp(), ipv6.setUp());
      hasIpv6 = other.ok;
      if (!one.ok) {
        if (other.ok) yield* ipv6.tearDown();
        return one;
      }
      const more = other.ok
        ? other.lines.map((line) => `IPv6: ${line}`)
        : [`No packets over IPv6 from the netfilter queue: ${other.reason}`];
      return { ok: true, lines: [...one.lines, ...more] };
    },
    *tearDown() {
      const [one, other] = yield* together(ipv4.tearDown(), ipv6.tearDown());
      return one.ok && hasIpv6 ? other : one;
    },
  };
}

/** The table that holds nothing but the rule. */
const TABLE = "inet spa_nfqueue";
/** Only what is there can be deleted, so it is added first. */
const REMOVAL = [`add table ${TABLE}`, `delete table ${TABLE}`];

/** The same in nftables, for IPv4 and IPv6. */
export function nftablesQueueRule(config: QueueRuleConfig): QueueRulePlanner {
  const { NFQ_INTERFACE: name } = config;
  const program = config.NFT_EXE ?? NFT_PROGRAM;
  const matches = [
    // A trailing plus, as iptables has it, is an asterisk here.
    ...(name === null ? [] : [`iifname "${name.replace(/\+$/, "*")}"`]),
    `udp dport ${config.NFQ_PORT}`,
  ].join(" ");
  const script = [
    ...REMOVAL,
    `add table ${TABLE}`,
    `add chain ${TABLE} input { type filter hook input priority mangle; policy accept; }`,
    `add rule ${TABLE} input ${matches} queue num ${config.NFQ_QUEUE_NUMBER}`,
  ];
  return {
    *setUp() {
      const outcome = yield* applyScript(program, script);
      if (!outcome.ok) return outcome;
      return { ok: true, lines: [`Added the table ${TABLE}.`] };
    },
    tearDown: () => applyScript(program, REMOVAL),
  };
}

/** Runs a script, of which the kernel applies all or nothing. */
function* applyScript(program: string, script: readonly string[]): Plan<TearDownOutcome> {
  const call: FirewallCall = {
    call: {
      program,
      args: ["-f", "-"],
      stdin: script.map((line) => `${line}\n`).join(""),
      timeout: CALL_TIMEOUT,
    },
    echo: script.map((line) => `${program} ${line}`),
  };
  const [result] = yield [call];
  return result?.status === 0 ? { ok: true } : { ok: false, reason: explain(program, result) };
}

function explain(program: string, result: ProgramResult | undefined): string {
  const unanswered = whyUnanswered(program, result);
  if (unanswered !== null) return unanswered;
  const error = result?.stderr.split("\n").find((line) => line.includes("Error:"));
  const why = error?.replace(/^.*?Error: /, "") ?? `exit status ${result?.status ?? 127}`;
  // The kernel says no more than this of an expression that it does not know.
  const isUnknown = /Could not process rule: (No such file|Operation not supported)/.test(why);
  return `${program}: ${why}${isUnknown ? "; has the kernel the module nft_queue?" : ""}`;
}
