// Calls of a firewall's program, for planners whose programs take one edit a call, and what such a
// program's failure comes to in one line.

import type { FirewallCall } from "./fw_firewall.ts";
import { startFailure } from "./fw_tools.ts";
import type { ProgramResult } from "./host.ts";

/** Milliseconds after which a call is given up: well past a long rule list. */
const CALL_TIMEOUT = 60_000;

/** A call, shown in the log as it is. */
export function callOf(program: string, args: readonly string[], stdin?: string): FirewallCall {
  const input = stdin === undefined ? "" : ` <<< ${JSON.stringify(stdin)}`;
  return {
    call: { program, args, timeout: CALL_TIMEOUT, ...(stdin === undefined ? {} : { stdin }) },
    echo: [`${program} ${args.join(" ")}${input}`],
  };
}

/** That a program was given up waiting for; null when it ended by itself, or was never started. */
export function whyUnanswered(program: string, result: ProgramResult | undefined): string | null {
  const { timedOut } = result ?? {};
  if (timedOut === undefined) return null;
  return `${program} did not answer within ${Math.round(timedOut / 1000)} s`;
}

/** One line that says why a call failed, from what it wrote. */
export function explainCall({ call }: FirewallCall, result: ProgramResult | undefined): string {
  const silent = startFailure(call.program, result) ?? whyUnanswered(call.program, result);
  if (silent !== null) return silent;
  const text = (result?.stderr ?? "").split("\n").map((line) => line.trim())
    .filter((line) => line !== "").join("; ");
  if (text !== "") return text;
  const status = result?.status ?? 127;
  if (status === 127) return `cannot run ${call.program}`;
  return `${call.program} ${call.args.join(" ")}: exit status ${status}`;
}
