// Setting iptables up: what it cannot do is found out before anything is changed; then chains and
// jumps are made, and the rules of an earlier run cleared or taken over.

import type { FirewallRule, Plan, SetUpOutcome } from "./fw_firewall.ts";
import {
  completeChains,
  earlierRules,
  inspectChains,
  type IptablesChain,
  misplacedJump,
  tearDownChains,
} from "./fw_iptables_chains.ts";
import {
  applyEdits,
  type Edit,
  explainFailure,
  type IptablesPrograms,
  readingCall,
} from "./fw_iptables_edit.ts";
import { rulePurpose } from "./fw_iptables_listing.ts";
import { moduleFor } from "./fw_tools.ts";

/** A rule of a kind that will be needed, with no effect wherever it stands. */
export interface Sample {
  readonly chain: IptablesChain;
  readonly text: string;
}

/** What setting up depends on. */
export interface SetUpNeeds {
  readonly chains: readonly IptablesChain[];
  /** Rules must be able to have comments; null leaves that to the first grant. */
  readonly comment: Sample | null;
  /** Rules should end in the kernel; null when nobody asked for that. */
  readonly kernelExpiry: Sample | null;
  /** Whatever else rules are going to have. */
  readonly others: readonly Sample[];
  /** Whether a later rule takes the place of one that opens the same. */
  readonly renews: boolean;
}

/** How setting up went, and whether rules can end in the kernel. */
export interface SetUp {
  readonly outcome: SetUpOutcome;
  readonly endsInKernel: boolean;
}

/** fwknopd's words for a firewall that cannot carry the end of a rule. */
const NO_COMMENT_MATCH = "Warning: Could not use the 'comment' match";

/** A chain that exists within one transaction only. */
const SCRATCH_CHAIN = "FWKNOP_PROBE";

/** Makes chains and jumps; see {@linkcode FirewallPlanner.setUp}. */
export function* setUpChains(
  programs: IptablesPrograms,
  needs: SetUpNeeds,
  flush: boolean,
): Plan<SetUp> {
  const { chains, comment, kernelExpiry } = needs;
  const refuse = (reason: string): SetUp => {
    return { outcome: { ok: false, reason }, endsInKernel: false };
  };
  const found = yield* inspectChains(programs, chains);
  if (!found.ok) return refuse(found.reason);
  const misplaced = misplacedJump(found.states, flush);
  if (misplaced !== null) return refuse(misplaced);

  const warnings: string[] = [];
  let problem = yield* findProblem(programs, [kernelExpiry ?? comment, ...needs.others]);
  const endsInKernel = kernelExpiry !== null && problem === null;
  if (problem !== null && kernelExpiry !== null) {
    const whole = problem;
    problem = yield* findProblem(programs, [comment, ...needs.others]);
    if (problem === null) {
      const what = `no use of the 'time' match, of the kernel's module ${
        moduleFor(whole) ?? "xt_time"
      }`;
      warnings.push(`Rules end only while the server runs: ${what}: ${whole}`);
    }
  }
  if (problem !== null) {
    const alone = comment === null ? null : yield* findProblem(programs, [comment]);
    const warning = alone === null ? {} : { warning: NO_COMMENT_MATCH };
    return { outcome: { ok: false, reason: problem, ...warning }, endsInKernel };
  }

  const completed = yield* completeChains(programs, chains, flush, found);
  if (!completed.ok) {
    if (completed.changed) yield* tearDownChains(programs, chains);
    return { outcome: { ok: false, reason: completed.reason }, endsInKernel };
  }
  const lines = [...completed.lines];
  if (comment !== null) lines.push("iptables 'comment' match is available");
  const earlier = flush ? [] : earlierRules(programs, completed.states);
  const kept = needs.renews ? withPurpose(earlier) : earlier;
  return { outcome: { ok: true, lines, warnings, kept }, endsInKernel };
}

/**
 * Why one of the rules cannot be made, or null. A transaction that makes a chain with the rules and
 * takes it away again has the kernel check them without any packet meeting them; without
 * transactions a question for such rules has to do.
 */
export function* findProblem(
  programs: IptablesPrograms,
  samples: readonly (Sample | null)[],
): Plan<string | null> {
  const wanted = samples.filter((sample) => sample !== null);
  if (programs.restore === null) {
    const calls = wanted.map(({ chain: { table, from }, text }) =>
      readingCall(programs, ["-t", table, "-C", from, ...text.split(" ")])
    );
    const results = yield calls;
    // Status 1 alone may also mean that the kernel lacks a match.
    const index = results.findIndex(({ status, stderr }) =>
      status > 1 || (status === 1 && !stderr.includes("Bad rule"))
    );
    const call = calls[index]?.call;
    return call === undefined ? null : explainFailure(call, results[index]);
  }
  const edits = [...Map.groupBy(wanted, ({ chain }) => chain.table)].flatMap(([table, group]) => {
    const edit = (operation: Edit["operation"], rest = ""): Edit => {
      return { table, operation, chain: SCRATCH_CHAIN, rest };
    };
    return [edit("-N"), ...group.map(({ text }) => edit("-A", text)), edit("-F"), edit("-X")];
  });
  const outcome = yield* applyEdits(programs, edits);
  return outcome.ok ? null : outcome.reason;
}

/** Of rules that open the same, one is kept up to the end of the last; the others just end. */
function withPurpose(kept: readonly FirewallRule[]): FirewallRule[] {
  const last = new Map<string, FirewallRule>();
  for (const rule of kept) {
    const key = `${rule.table} ${rule.chain} ${rulePurpose(rule.text).purpose}`;
    const other = last.get(key);
    if (other === undefined || other.expires < rule.expires) last.set(key, rule);
  }
  return kept.map((rule) => {
    const purpose = rulePurpose(rule.text);
    return last.get(`${rule.table} ${rule.chain} ${purpose.purpose}`) === rule
      ? { ...rule, ...purpose }
      : rule;
  });
}
