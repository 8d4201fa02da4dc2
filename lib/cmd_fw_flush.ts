// `spa fw-flush`: takes our chains, their jumps and rules out of the firewall.

import { runFirewallCommand } from "./cmd_fw_options.ts";
import { EXIT } from "./cmd_ui.ts";
import type { Host } from "./host.ts";
import type { Log } from "./serve_log.ts";
import { nftRunner } from "./serve_nft.ts";
import { choosePlanner, type FirewallConfig, runPlan } from "./serve_plan.ts";

/** Runs `spa fw-flush`. */
export function run(args: string[], host: Host): Promise<number> {
  return runFirewallCommand(args, host, {
    name: "fw-flush",
    description: "Remove the fwknop chains with all their rules from the firewall.",
    options: [],
    act: (config, log, has) => flushFirewall(host, config, log, { json: has("json") }),
  });
}

/** How {@linkcode flushFirewall} reports. */
export interface FlushSettings {
  /** Tell the result for programs to read. */
  readonly json?: boolean;
}

/**
 * Removes everything of ours, also while a server runs; that one sets up its chains again with
 * the next grant. Gives exit status 1 when something may be left.
 *
 * @param log for the commands that are run
 */
export async function flushFirewall(
  host: Host,
  config: FirewallConfig,
  log: Pick<Log, "debug" | "verbosity">,
  settings: FlushSettings = {},
): Promise<number> {
  const planner = choosePlanner(host, config);
  if (!settings.json) host.stdout("Deleting any existing firewall rules...\n");
  const outcome = await runPlan(nftRunner(host, config.NFT_EXE), log, planner.tearDown());
  if (settings.json) {
    const result = { firewall: planner.name, flushed: outcome.ok };
    host.stdout(`${JSON.stringify(result, null, 2)}\n`);
  }
  if (outcome.ok) return EXIT.done;
  host.stderr(`spa: cannot remove all rules of ${planner.name}: ${outcome.reason}\n`);
  return EXIT.failed;
}
