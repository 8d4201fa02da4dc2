// `spa fw-close`: ends grants before their time, for one address or for all.

import { runFirewallCommand } from "./cmd_fw_options.ts";
import { createUi, EXIT } from "./cmd_ui.ts";
import { endingRules, type FirewallRule, type ListedRule } from "./fw_firewall.ts";
import type { Host } from "./host.ts";
import { parseIp } from "./net_address.ts";
import type { Log } from "./serve_log.ts";
import { nftRunner } from "./serve_nft.ts";
import { choosePlanner, type FirewallConfig, runPlan } from "./serve_plan.ts";

/** Runs `spa fw-close`. */
export function run(args: string[], host: Host): Promise<number> {
  return runFirewallCommand(args, host, {
    name: "fw-close",
    usage: "[options] ADDRESS | --all",
    description: "End grants before their time. The next knock opens again.",
    operands: 1,
    options: [{ long: "all", help: "end the grants of all addresses", group: "What to end" }],
    act: (config, log, has, [word]) => {
      const ui = createUi(host, { command: "fw-close" });
      if (has("all") === (word !== undefined)) {
        return Promise.resolve(ui.usage([{ text: "give either an address or --all" }]));
      }
      const address = word === undefined ? null : parseIp(word);
      if (word !== undefined && address === null) {
        return Promise.resolve(ui.usage([{ text: `"${word}" is no address` }]));
      }
      return closeGrants(host, config, log, {
        address: address?.text ?? null,
        json: has("json"),
      });
    },
  });
}

/** What {@linkcode closeGrants} closes, and how it reports. */
export interface CloseSettings {
  /** In its usual text form; null for all addresses. */
  readonly address: string | null;
  /** Tell the result for programs to read. */
  readonly json?: boolean;
}

/**
 * Ends grants, also while a server runs, which finds out with the next knock. Gives exit status 1
 * when nothing is open for the address, or something may be left open. Rules without an end are not
 * ours and stay.
 *
 * @param log for the commands that are run
 */
export async function closeGrants(
  host: Host,
  config: FirewallConfig,
  log: Pick<Log, "debug" | "verbosity">,
  settings: CloseSettings,
): Promise<number> {
  const { address } = settings;
  const planner = choosePlanner(host, config);
  const runner = nftRunner(host, config.NFT_EXE);
  const chains = await runPlan(runner, log, planner.list());
  const problems = new Set(chains.flatMap(({ problem }) => problem ?? []));
  for (const problem of problems) host.stderr(`spa: ${problem}\n`);
  const listed = chains.flatMap(({ rules }) => rules).filter((rule) =>
    address === null || addressOf(rule) === address
  );
  const rules = endingRules(listed);
  const close = planner.close ?? planner.remove;
  const outcome = rules.length === 0
    ? { removed: [], missing: [], failed: [], reason: "" }
    : await runPlan(runner, log, close(rules));
  const closed = outcome.removed;

  if (settings.json) {
    const report = {
      firewall: planner.name,
      closed: closed.map(plain),
      left: outcome.failed.map(plain),
    };
    host.stdout(`${JSON.stringify(report, null, 2)}\n`);
  } else {
    for (const { table, chain, text } of closed) {
      host.stdout(`Closed in ${table} ${chain}: ${text}\n`);
    }
    if (rules.length === 0 && address === null) host.stdout("No grant is open.\n");
  }
  if (outcome.failed.length > 0) {
    host.stderr(`spa: cannot end all grants of ${planner.name}: ${outcome.reason}\n`);
  } else if (rules.length === 0 && address !== null && problems.size === 0) {
    host.stderr(`spa: nothing is open for ${address}\n`);
  }
  const done = outcome.failed.length === 0 && problems.size === 0;
  return done && (rules.length > 0 || address === null) ? EXIT.done : EXIT.failed;
}

/** Whom a rule lets in; one that is about a source port lets answers out to them. */
function addressOf({ source, destination, sourcePort }: ListedRule): string | null {
  const text = sourcePort === null ? source : destination;
  return text === null ? null : parseIp(text)?.text ?? text;
}

function plain({ family, table, chain, text, expires }: FirewallRule): Record<string, unknown> {
  return { ...(family === undefined ? {} : { family }), table, chain, rule: text, expires };
}
