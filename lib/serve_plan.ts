// From a firewall's plan to programs that run: which planner a configuration asks for, and the
// loop that feeds a plan the results of its calls.

import type { FirewallType } from "./conf_nftables.ts";
import type { FirewallCall, FirewallPlanner, Plan } from "./fw_firewall.ts";
import { type IptablesConfig, iptablesPlanner, restoreProgram } from "./fw_iptables.ts";
import { NFT_PROGRAM, type NftablesConfig, nftablesPlanner } from "./fw_nftables.ts";
import type { Host, ProgramResult } from "./host.ts";
import type { Log } from "./serve_log.ts";
import { nftRunner } from "./serve_nft.ts";

/** What chooses and tunes the firewall, by its variables' names. */
export interface FirewallConfig extends IptablesConfig, NftablesConfig {
  readonly FIREWALL_TYPE: FirewallType;
}

/** Names of the tables that iptables-legacy has in force, one a line; empty without any. */
const LEGACY_TABLES = "/proc/net/ip_tables_names";

/**
 * The planner that a configuration asks for. `auto` is nftables where its program is installed
 * and iptables-legacy has no tables. Without a restore program beside FIREWALL_EXE, the rules of
 * iptables are set one by one.
 */
export function choosePlanner(
  host: Pick<Host, "stat" | "readTextFile">,
  config: FirewallConfig,
): FirewallPlanner {
  const type = config.FIREWALL_TYPE;
  if (type === "nftables") return nftablesPlanner(config);
  if (
    type === "auto" && host.stat(config.NFT_EXE ?? NFT_PROGRAM) !== null && !hasLegacyTables(host)
  ) {
    return nftablesPlanner(config);
  }
  const restore = restoreProgram(config.FIREWALL_EXE);
  return iptablesPlanner(config, restore !== null && host.stat(restore) !== null ? restore : null);
}

function hasLegacyTables(host: Pick<Host, "readTextFile">): boolean {
  try {
    return host.readTextFile(LEGACY_TABLES).trim() !== "";
  } catch {
    return false;
  }
}

/**
 * Tells where grants would take effect, without changing anything.
 *
 * @returns lines for the log; none from a firewall that has but one place
 * @throws an `Error` with one line for the operator, where no grant could open
 */
export async function checkFirewall(
  host: Host,
  log: Pick<Log, "debug" | "verbosity">,
  config: FirewallConfig,
): Promise<readonly string[]> {
  const planner = choosePlanner(host, config);
  if (planner.check === undefined) return [];
  if (host.uid !== 0) return [`${planner.name}: only root can tell whether grants would open`];
  const outcome = await runPlan(nftRunner(host, config.NFT_EXE), log, planner.check());
  if (outcome.ok) return outcome.lines;
  throw new Error(`cannot use ${planner.name}: ${outcome.reason}`);
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
