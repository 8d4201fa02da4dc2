// The chains and jumps that hold fwknop's iptables rules: which are used, how they are made,
// mended and taken away. Rules themselves are next door.

import {
  type ChainName,
  endingRules,
  type FirewallCall,
  type FirewallRule,
  type Plan,
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
import type { ProgramResult } from "./host.ts";

/** A chain of ours and where it is jumped to from: an IPT_..._ACCESS variable. */
export interface IptablesChain {
  /** Target of its rules. */
  readonly target: string;
  readonly table: string;
  readonly from: string;
  /** A chain of somebody else that it is jumped to from instead, while there is one. */
  readonly preferred?: string;
  /** Where the jump is inserted, from 1. */
  readonly jumpPosition: number;
  readonly to: string;
}

/** A chain that may jump to one of ours. */
interface JumpPlace {
  readonly chain: string;
  readonly exists: boolean;
  /** Of ours. */
  readonly jumps: number;
  /** All that it has. */
  readonly rules: number;
}

/** What is there of a chain of ours. */
interface ChainState {
  readonly spec: IptablesChain;
  readonly exists: boolean;
  /** The one that counts comes first. */
  readonly places: readonly JumpPlace[];
  /** Output of `-S`; empty when the chain does not exist. */
  readonly text: string;
}

/** What is there of all chains. */
export type Inspection = { readonly ok: true; readonly states: readonly ChainState[] } | {
  readonly ok: false;
  readonly reason: string;
};

/** What a rule in that chain of ours says of where it is. */
export function chainName(
  { family }: Pick<IptablesPrograms, "family">,
  { table, to: chain }: IptablesChain,
): ChainName {
  return { table, chain, ...(family === "ipv6" ? { family } : {}) };
}

/**
 * Reads chains and what jumps to them.
 *
 * @param needed whether it is a failure if a chain to jump from is not there
 */
export function* inspectChains(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
  needed = true,
): Plan<Inspection> {
  const calls = chains.flatMap((spec) =>
    [...fromChains(spec), spec.to].map((chain) => showCall(programs, spec.table, chain))
  );
  const results = (yield calls)[Symbol.iterator]();
  const states: ChainState[] = [];
  for (const spec of chains) {
    const names = fromChains(spec);
    const shown = [...names, spec.to].map((chain) => {
      const result = results.next().value;
      // Status 1 is how iptables says that a chain is not there; others mean that it cannot tell.
      const most = needed && chain === spec.from ? 0 : 1;
      const known = result !== undefined && result.status <= most;
      const { call } = showCall(programs, spec.table, chain);
      return {
        problem: known ? null : explainMissing(spec.table, chain, explainFailure(call, result)),
        exists: result?.status === 0,
        text: result?.status === 0 ? result.stdout : "",
      };
    });
    const problem = shown.find((one) => one.problem !== null)?.problem;
    if (problem !== undefined && problem !== null) return { ok: false, reason: problem };
    const { exists = false, text = "" } = shown.at(-1) ?? {};
    const places = names.map((chain, index): JumpPlace => ({
      chain,
      exists: shown[index]?.exists ?? false,
      jumps: countJumps(shown[index]?.text ?? "", chain, spec.to),
      rules: parseRules(shown[index]?.text ?? "", spec.table, chain).length,
    }));
    states.push({ spec, exists, text, places: places.filter((place) => place.exists) });
  }
  return { ok: true, states };
}

/** Programs say of a chain or table that is not there little more than that something is not. */
function explainMissing(table: string, chain: string, complaint: string): string {
  if (/does not exist|Table does not/.test(complaint)) return complaint;
  return /No chain\/target|is incompatible/.test(complaint)
    ? `there is no chain ${chain} in the table ${table} (${complaint})`
    : complaint;
}

/**
 * One line on a jump whose place is beyond the end of the chain that it is to stand in; null when
 * there is none.
 *
 * @param flush whether the jumps that are there would be replaced
 */
export function misplacedJump(states: readonly ChainState[], flush: boolean): string | null {
  const lengths = new Map<string, number>();
  for (const { spec, places: [place] } of states) {
    if (place === undefined) continue;
    const key = `${spec.table} ${place.chain}`;
    const length = lengths.get(key) ?? place.rules - (flush ? jumpsAway(states, key) : 0);
    const isThere = place.jumps > 0 && !flush;
    if (!isThere && spec.jumpPosition > length + 1) {
      return `the jump to ${spec.to} cannot be number ${spec.jumpPosition} of ${place.chain},` +
        ` which has ${length} rules`;
    }
    lengths.set(key, isThere ? length : length + 1);
  }
  return null;
}

/** How many of the rules in a chain are jumps to ours. */
function jumpsAway(states: readonly ChainState[], from: string): number {
  return states.flatMap(({ spec, places }) =>
    places.filter(({ chain }) => `${spec.table} ${chain}` === from)
  ).reduce((sum, { jumps }) => sum + jumps, 0);
}

/** Calls that tell whether our chains are jumped to from where they have to be. */
export function lookForJumps(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
): { calls: FirewallCall[]; findsAll(results: readonly ProgramResult[]): boolean } {
  const looks = chains.flatMap((spec) => fromChains(spec).map((from) => ({ spec, from })));
  return {
    calls: looks.map(({ spec, from }) => showCall(programs, spec.table, from)),
    findsAll: (results) =>
      chains.every((spec) => {
        const index = looks.findIndex((look, at) =>
          look.spec === spec && results[at]?.status === 0
        );
        const from = looks[index]?.from;
        return from !== undefined && countJumps(results[index]?.stdout ?? "", from, spec.to) > 0;
      }),
  };
}

/** Where a chain of ours is jumped to from: the first of these that exists. */
function fromChains({ from, preferred }: IptablesChain): string[] {
  return preferred === undefined ? [from] : [preferred, from];
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
 * @param known what is there, if it was looked at just before
 */
export function* completeChains(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
  flush: boolean,
  known: Inspection | null = null,
): Plan<Completion> {
  const found = known ?? (yield* inspectChains(programs, chains));
  if (!found.ok) return { ...found, changed: false };
  const made = found.states.filter((state) => !state.exists).map((state) => state.spec);
  const jumps = found.states.flatMap(({ spec, places: [place] }) =>
    place === undefined || (place.jumps > 0 && !flush) ? [] : [{ spec, from: place.chain }]
  );
  const edits = [
    ...(flush ? found.states.flatMap(jumpDeletions) : []),
    ...unique(found.states.flatMap(({ spec, exists }): Edit[] => {
      if (exists && !flush) return [];
      return [{ table: spec.table, operation: exists ? "-F" : "-N", chain: spec.to, rest: "" }];
    })),
    ...jumps.map(({ spec, from }): Edit => ({
      table: spec.table,
      operation: "-I",
      chain: from,
      rest: `${spec.jumpPosition} -j ${spec.to}`,
    })),
  ];
  const outcome = yield* applyEdits(programs, edits);
  if (!outcome.ok) return { ok: false, reason: outcome.reason, changed: outcome.done.length > 0 };
  const lines = jumps.map(({ spec, from }) =>
    `Added jump rule from chain: ${from} to chain: ${spec.to}`
  );
  return { ok: true, lines, made, states: found.states };
}

/** The rules of an earlier run in these chains that will end. */
export function earlierRules(
  programs: IptablesPrograms,
  states: readonly ChainState[],
): FirewallRule[] {
  return states.flatMap(({ spec, text }) =>
    endingRules(parseRules(text, spec.table, spec.to))
      .map((rule) => ({ ...rule, ...chainName(programs, spec) }))
  );
}

/** Takes chains, jumps and rules away. */
export function* tearDownChains(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
): Plan<TearDownOutcome> {
  const found = yield* inspectChains(programs, chains, false);
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

function jumpDeletions({ spec, places }: ChainState): Edit[] {
  return places.flatMap(({ chain, jumps }) =>
    Array.from({ length: jumps }, (): Edit => ({
      table: spec.table,
      operation: "-D",
      chain,
      rest: `-j ${spec.to}`,
    }))
  );
}

/** Two variables may name the same chain for jumps from two others; it is made and emptied once. */
function unique(edits: readonly Edit[]): Edit[] {
  return [...new Map(edits.map((edit) => [Object.values(edit).join(" "), edit])).values()];
}
