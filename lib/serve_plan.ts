// From a firewall's plan to programs that run: which planner a configuration asks for, and the
// loop that feeds a plan the results of its calls.

import type { FirewallCall, FirewallPlanner, Plan } from "./fw_firewall.ts";
import { type IptablesConfig, iptablesPlanner, restoreProgram } from "./fw_iptables.ts";
import type { Host, ProgramResult } from "./host.ts";
import type { Log } from "./serve_log.ts";

/**
 * The planner that a configuration asks for. Without a restore program beside FIREWALL_EXE, rules
 * are set one by one.
 */
export function choosePlanner(host: Pick<Host, "stat">, config: IptablesConfig): FirewallPlanner {
  const restore = restoreProgram(config.FIREWALL_EXE);
  return iptablesPlanner(config, restore !== null && host.stat(restore) !== null ? restore : null);
}

/**
 * Runs a plan to its end.
 *
 * @param host where programs run
 * @param log at verbosity 1 gets each command with its result, at 2 also before it runs
 */
export async function runPlan<T>(
  host: Pick<Host, "run">,
  log: Pick<Log, "debug" | "verbosity">,
  plan: Plan<T>,
): Promise<T> {
  let step = plan.next();
  while (!step.done) {
    const results = await Promise.all(step.value.map((call) => runCall(host, log, call)));
    step = plan.next(results);
  }
  return step.value;
}

async function runCall(
  host: Pick<Host, "run">,
  log: Pick<Log, "debug" | "verbosity">,
  { call, echo }: FirewallCall,
): Promise<ProgramResult> {
  if (log.verbosity >= 2) {
    for (const line of echo) log.debug(`run_extcmd() (by ${call.program}): running CMD: ${line}`);
  }
  const result = await host.run(call);
  if (log.verbosity >= 1) {
    const error = result.stderr.trim();
    for (const line of echo) log.debug(`CMD: '${line}' (res: ${result.status}, err: ${error})`);
  }
  return result;
}
