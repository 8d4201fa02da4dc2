// `spa fw-flush`: takes our chains, their jumps and rules out of the firewall, and the rule of a
// netfilter queue that a killed server has left.

import { runFirewallCommand } from "./cmd_fw_options.ts";
import { EXIT } from "./cmd_ui.ts";
import type { QueueRuleConfig } from "./fw_nfqueue.ts";
import { type Host, reasonOf } from "./host.ts";
import { formatPorts } from "./net_port.ts";
import type { Log } from "./serve_log.ts";
import { chooseQueueRule } from "./serve_nfqueue_rule.ts";
import { nftRunner } from "./serve_nft.ts";
import { choosePlanner, type FirewallConfig, runPlan } from "./serve_plan.ts";
import { runningDaemon } from "./serve_process.ts";

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

/** What there may be to remove, by its names in fwknopd.conf. */
export interface FlushConfig extends FirewallConfig, QueueRuleConfig {
  readonly ENABLE_NFQ_CAPTURE: boolean;
  readonly FWKNOP_PID_FILE: string;
}

/** What became of the rule that hands packets to a netfilter queue. */
type QueueRuleFate =
  | { readonly fate: "flushed" }
  | { readonly fate: "kept"; readonly daemon: number }
  | { readonly fate: "failed"; readonly reason: string };

/**
 * Removes everything of ours, also while a server runs; that one sets up its chains again with
 * the next grant. Then the rule of its queue stays, without which no packet would ever tell it to,
 * and rules that hide services, which would be open to all until then: of those only grants end.
 * Gives exit status 1 when something may be left that should not be.
 *
 * @param log for the commands that are run
 */
export async function flushFirewall(
  host: Host,
  config: FlushConfig,
  log: Pick<Log, "debug" | "verbosity">,
  settings: FlushSettings = {},
): Promise<number> {
  const planner = choosePlanner(host, config);
  const hidden = planner.hides ?? [];
  let needed: number | null = null;
  try {
    if (hidden.length > 0) needed = await runningDaemon(host, config.FWKNOP_PID_FILE);
  } catch (error) {
    const what = `whether a server needs what hides ${formatPorts(hidden)}`;
    host.stderr(`spa: cannot tell ${what}: ${reasonOf(error)}\n`);
    return EXIT.failed;
  }
  if (!settings.json) host.stdout("Deleting any existing firewall rules...\n");
  const plan = (needed === null ? null : planner.endGrants?.()) ?? planner.tearDown();
  const outcome = await runPlan(nftRunner(host, config.NFT_EXE), log, plan);
  const queue = config.ENABLE_NFQ_CAPTURE ? await flushQueueRule(host, config, log) : null;
  if (settings.json) {
    const result = {
      firewall: planner.name,
      flushed: outcome.ok,
      ...(hidden.length > 0 && outcome.ok
        ? {
          hidden: hidden.map((port) => formatPorts([port])),
          hiding: needed === null ? "removed" : "kept",
        }
        : {}),
      ...(queue === null ? {} : { queueRule: queue.fate }),
    };
    host.stdout(`${JSON.stringify(result, null, 2)}\n`);
  } else {
    if (hidden.length > 0 && outcome.ok) {
      host.stdout(fateOfHidden(formatPorts(hidden), needed));
    }
    if (queue?.fate === "kept") {
      host.stdout(
        `The rule of the netfilter queue stays: without it fwknopd, which is running` +
          ` (pid=${queue.daemon}), would see no more packets.\n`,
      );
    }
  }
  if (!outcome.ok) {
    host.stderr(`spa: cannot remove all rules of ${planner.name}: ${outcome.reason}\n`);
  }
  if (queue?.fate === "failed") {
    host.stderr(`spa: cannot remove the rule of the netfilter queue: ${queue.reason}\n`);
  }
  return outcome.ok && queue?.fate !== "failed" ? EXIT.done : EXIT.failed;
}

/** @param daemon the server that needs the rules, or null when they are gone */
function fateOfHidden(hidden: string, daemon: number | null): string {
  return daemon === null
    ? `Open to all now, unless other rules drop it: ${hidden}\n`
    : `All grants have ended. What hides ${hidden} stays, since fwknopd is running` +
      ` (pid=${daemon}).\n`;
}

async function flushQueueRule(
  host: Host,
  config: FlushConfig,
  log: Pick<Log, "debug" | "verbosity">,
): Promise<QueueRuleFate> {
  try {
    const daemon = await runningDaemon(host, config.FWKNOP_PID_FILE);
    if (daemon !== null) return { fate: "kept", daemon };
  } catch (error) {
    return { fate: "failed", reason: reasonOf(error) };
  }
  const rule = chooseQueueRule(host, config);
  const outcome = await runPlan(nftRunner(host, config.NFT_EXE), log, rule.tearDown());
  return outcome.ok ? { fate: "flushed" } : { fate: "failed", reason: outcome.reason };
}
