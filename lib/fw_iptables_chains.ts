// The chains and jumps that hold fwknop's iptables rules: which are used, how they are made,
// mended and taken away. Rules themselves are next door.

import {
  endingRules,
  type FirewallCall,
  type Plan,
  type SetUpOutcome,
  type TearDownOutcome,
} from "./fw_firewall.ts";
import {
  applyEdits,
  type Edit,
  explainFailure,
  type IptablesPrograms,
  readingCall,
} from "./fw_iptables_edit.ts";
import { countJumps, parseRules } from "./fw_iptables_listing.ts";

/** A chain of ours and where it is jumped to from: an IPT_..._ACCESS variable. */
export interface IptablesChain {
  /** Target of its rules. */
  readonly target: string;
  readonly table: string;
  readonly from: string;
  /** Where the jump is inserted, from 1. */
  readonly jumpPosition: number;
  readonly to: string;
}

/** fwknopd's words for a firewall that cannot carry the end of a rule. */
const NO_COMMENT_MATCH = "Warning: Could not use the 'comment' match";

/** What is there of a chain of ours. */
interface ChainState {
  readonly spec: IptablesChain;
  readonly exists: boolean;
  readonly jumps: number;
  /** Output of `-S`; empty when the chain does not exist. */
  readonly text: string;
}

type Inspection = { readonly ok: true; readonly states: readonly ChainState[] } | {
  readonly ok: false;
  readonly reason: string;
};

function* inspect(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
): Plan<Inspection> {
  const calls = chains.flatMap((spec) => [
    showCall(programs, spec.table, spec.from),
    showCall(programs, spec.table, spec.to),
  ]);
  const results = yield calls;
  const states: ChainState[] = [];
  for (const [index, spec] of chains.entries()) {
    const from = results[2 * index];
    const to = results[2 * index + 1];
    // Status 1 is how iptables says that a chain is not there; others mean that it cannot tell.
    for (const [result, allowed, name] of [[from, 0, spec.from], [to, 1, spec.to]] as const) {
      if (result === undefined || result.status > allowed) {
        const call = showCall(programs, spec.table, name).call;
        return { ok: false, reason: explainFailure(call, result) };
      }
    }
    const exists = to?.status === 0;
    const jumps = countJumps(from?.stdout ?? "", spec.from, spec.to);
    states.push({ spec, exists, jumps, text: exists ? to.stdout : "" });
  }
  return { ok: true, states };
}

/** How completing went. */
export type Completion =
  | {
    readonly ok: true;
    readonly lines: readonly string[];
    /** Chains that had to be made. */
    readonly made: readonly IptablesChain[];
    readonly states: readonly ChainState[];
  }
  | {
    readonly ok: false;
    readonly reason: string;
    /** Whether some of it was made before the failure. */
    readonly changed: boolean;
  };

/**
 * Makes what is missing of chains and jumps, in one transaction a table.
 *
 * @param flush whether to replace what is there, with its rules, by empty chains
 */
export function* completeChains(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
  flush: boolean,
): Plan<Completion> {
  const found = yield* inspect(programs, chains);
  if (!found.ok) return { ...found, changed: false };
  const made = found.states.filter((state) => !state.exists).map((state) => state.spec);
  const jumpless = found.states.filter((state) => flush || state.jumps === 0);
  const edits = [
    ...(flush ? found.states.flatMap(jumpDeletions) : []),
    ...unique(found.states.flatMap(({ spec, exists }): Edit[] => {
      if (exists && !flush) return [];
      return [{ table: spec.table, operation: exists ? "-F" : "-N", chain: spec.to, rest: "" }];
    })),
    ...jumpless.map(({ spec }): Edit => ({
      table: spec.table,
      operation: "-I",
      chain: spec.from,
      rest: `${spec.jumpPosition} -j ${spec.to}`,
    })),
  ];
  const outcome = yield* applyEdits(programs, edits);
  if (!outcome.ok) return { ok: false, reason: outcome.reason, changed: outcome.done.length > 0 };
  const lines = jumpless.map(({ spec }) =>
    `Added jump rule from chain: ${spec.from} to chain: ${spec.to}`
  );
  return { ok: true, lines, made, states: found.states };
}

/** Makes chains and jumps; see {@linkcode FirewallPlanner.setUp}. */
export function* setUpChains(
  programs: IptablesPrograms,
  commentCheck: IptablesChain | null,
  chains: readonly IptablesChain[],
  flush: boolean,
): Plan<SetUpOutcome> {
  const completed = yield* completeChains(programs, chains, flush);
  if (!completed.ok) {
    if (completed.changed) yield* tearDownChains(programs, chains);
    return { ok: false, reason: completed.reason };
  }
  const lines = [...completed.lines];
  if (commentCheck !== null) {
    const problem = yield* findCommentProblem(programs, commentCheck);
    if (problem !== null) {
      yield* tearDownChains(programs, chains);
      return { ok: false, reason: problem, warning: NO_COMMENT_MATCH };
    }
    lines.push("iptables 'comment' match is available");
  }
  const kept = flush
    ? []
    : completed.states.flatMap(({ spec, text }) =>
      endingRules(parseRules(text, spec.table, spec.to))
    );
  return { ok: true, lines, kept };
}

/**
 * Whether a rule can have a comment and our target. A transaction that adds a rule and takes it
 * away again makes the kernel check it without any packet meeting it; without transactions a
 * question for such a rule has to do.
 */
function* findCommentProblem(
  programs: IptablesPrograms,
  chain: IptablesChain,
): Plan<string | null> {
  const rest = `-s 127.0.0.2 -m comment --comment __TMPCOMMENT__ -j ${chain.target}`;
  if (programs.restore !== null) {
    const edit = { table: chain.table, chain: chain.to, rest };
    const outcome = yield* applyEdits(programs, [
      { ...edit, operation: "-A" },
      { ...edit, operation: "-D" },
    ]);
    return outcome.ok ? null : outcome.reason;
  }
  const call = readingCall(programs, ["-t", chain.table, "-C", chain.to, ...rest.split(" ")]);
  const [result] = yield [call];
  return result !== undefined && result.status <= 1 ? null : explainFailure(call.call, result);
}

/** Takes chains, jumps and rules away. */
export function* tearDownChains(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
): Plan<TearDownOutcome> {
  const found = yield* inspect(programs, chains);
  if (!found.ok) return found;
  const jumps = found.states.flatMap(jumpDeletions);
  const existing = found.states.filter((state) => state.exists);
  const each = (operation: "-F" | "-X"): Edit[] =>
    unique(
      existing.map(({ spec }) => ({ table: spec.table, operation, chain: spec.to, rest: "" })),
    );
  const closing = [...jumps, ...each("-F")];
  const whole = yield* applyEdits(programs, [...closing, ...each("-X")]);
  if (whole.ok) return { ok: true };
  // A chain that a rule of somebody else refers to cannot go, but nothing may stay open in it.
  yield* applyEdits(programs, closing.filter((edit) => !whole.done.includes(edit)));
  return { ok: false, reason: whole.reason };
}

/** The rules of a chain, as `-S` prints them. */
export function showCall(programs: IptablesPrograms, table: string, chain: string): FirewallCall {
  return readingCall(programs, ["-t", table, "-S", chain]);
}

function jumpDeletions({ spec, jumps }: ChainState): Edit[] {
  return Array.from({ length: jumps }, () => ({
    table: spec.table,
    operation: "-D",
    chain: spec.from,
    rest: `-j ${spec.to}`,
  }));
}

/** Two variables may name the same chain for jumps from two others; it is made and emptied once. */
function unique(edits: readonly Edit[]): Edit[] {
  return [...new Map(edits.map((edit) => [Object.values(edit).join(" "), edit])).values()];
}
