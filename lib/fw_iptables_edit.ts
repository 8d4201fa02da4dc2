// Edits of iptables chains as program calls: one `iptables-restore --noflush` for all edits of a
// table, which the kernel applies as a whole; or, without a restore program, one call per edit.

import { whyUnanswered } from "./fw_call.ts";
import type { FirewallCall, Plan } from "./fw_firewall.ts";
import { splitWords } from "./fw_iptables_listing.ts";
import { startFailure } from "./fw_tools.ts";
import type { ProgramCall, ProgramResult } from "./host.ts";

/** The programs that a planner calls. */
export interface IptablesPrograms {
  /** Which addresses the rules of these programs are for. */
  readonly family: "ipv4" | "ipv6";
  readonly iptables: string;
  /** Null when there is none that fits: every edit is then a call of its own. */
  readonly restore: string | null;
}

/** One command of iptables(8). */
export interface Edit {
  readonly table: string;
  /** Append, insert, delete a rule; make, flush, delete a chain. */
  readonly operation: "-A" | "-I" | "-D" | "-N" | "-F" | "-X";
  readonly chain: string;
  /** What follows the chain's name. */
  readonly rest: string;
}

/** How edits went. */
export type EditOutcome =
  & {
    /** Edits that are in force; after a failure, those of tables or calls before it. */
    readonly done: readonly Edit[];
    /** Results of the calls that ran beside the first one. */
    readonly beside: readonly ProgramResult[];
  }
  & (
    | { readonly ok: true }
    | { readonly ok: false; readonly reason: string; readonly status: number }
  );

/** Seconds to wait for the lock that the legacy programs share. */
const LOCK_WAIT = "10";

/** Milliseconds after which a call is given up: well past the lock's wait and a long rule list. */
const CALL_TIMEOUT = 60_000;

/**
 * Makes edits, in order.
 *
 * @param beside reading calls to run at the same time as the first edit
 */
export function* applyEdits(
  programs: IptablesPrograms,
  edits: readonly Edit[],
  beside: readonly FirewallCall[] = [],
): Plan<EditOutcome> {
  const done: Edit[] = [];
  let besideResults: readonly ProgramResult[] = [];
  for (const [index, group] of groupEdits(programs, edits).entries()) {
    const call = editCall(programs, group);
    const results = yield index === 0 ? [call, ...beside] : [call];
    if (index === 0) besideResults = results.slice(1);
    const result = results[0];
    if (result === undefined || result.status !== 0) {
      const reason = explainFailure(call.call, result);
      return { ok: false, done, beside: besideResults, reason, status: result?.status ?? 127 };
    }
    done.push(...group);
  }
  return { ok: true, done, beside: besideResults };
}

/** A call that only reads. */
export function readingCall(programs: IptablesPrograms, args: readonly string[]): FirewallCall {
  return {
    call: callOf(programs.iptables, ["-w", LOCK_WAIT, ...args]),
    echo: [`${programs.iptables} ${args.join(" ")}`],
  };
}

/** One line that says why a call failed, from what it wrote. */
export function explainFailure(call: ProgramCall, result: ProgramResult | undefined): string {
  const silent = startFailure(call.program, result, "iptables") ??
    whyUnanswered(call.program, result);
  if (silent !== null) return silent;
  const lines = (result?.stderr ?? "").split("\n").map((line) => line.trim())
    .filter((line) => line !== "" && !/^(#|Try `|Error occurred at line|Perhaps )/.test(line));
  if (lines.length === 0) return `${call.program}: exit status ${result?.status ?? 127}`;
  const text = lines.join("; ");
  const number = /line (\d+) failed/.exec(text);
  const line = number === null ? undefined : call.stdin?.split("\n")[Number(number[1]) - 1];
  return line === undefined ? text : `${text} (${line})`;
}

function groupEdits(programs: IptablesPrograms, edits: readonly Edit[]): readonly Edit[][] {
  if (programs.restore === null) return edits.map((edit) => [edit]);
  return [...Map.groupBy(edits, (edit) => edit.table).values()];
}

function editCall(programs: IptablesPrograms, edits: readonly Edit[]): FirewallCall {
  const echo = edits.map((edit) =>
    `${programs.iptables} ${edit.operation} ${edit.chain} -t ${edit.table} ${edit.rest}`.trimEnd()
  );
  const table = edits[0]?.table ?? "filter";
  const lines = edits.map((edit) => `${edit.operation} ${edit.chain} ${edit.rest}`.trimEnd());
  if (programs.restore === null) {
    const words = lines.flatMap(splitWords);
    return { call: callOf(programs.iptables, ["-w", LOCK_WAIT, "-t", table, ...words]), echo };
  }
  const stdin = [`*${table}`, ...lines, "COMMIT", ""].join("\n");
  return {
    call: { ...callOf(programs.restore, ["-w", LOCK_WAIT, "--noflush"]), stdin },
    echo,
  };
}

function callOf(program: string, args: readonly string[]): ProgramCall {
  return { program, args, timeout: CALL_TIMEOUT };
}
