// `spa fw-list`: the rules in our chains, as the firewall prints them or as JSON.

import { runFirewallCommand } from "./cmd_fw_options.ts";
import { EXIT } from "./cmd_ui.ts";
import type { FirewallPlanner, ListedChain, ListedRule } from "./fw_firewall.ts";
import type { Host } from "./host.ts";
import type { Log } from "./serve_log.ts";
import { nftRunner } from "./serve_nft.ts";
import { choosePlanner, type FirewallConfig, runPlan } from "./serve_plan.ts";

/** Runs `spa fw-list`. */
export function run(args: string[], host: Host): Promise<number> {
  return runFirewallCommand(args, host, {
    name: "fw-list",
    description: "List the firewall rules that are open now.",
    options: [
      { long: "all", help: "list all rules of the tables, not only ours", group: "Output" },
    ],
    act: (config, log, has) =>
      listFirewall(host, config, log, { all: has("all"), json: has("json") }),
  });
}

/** How {@linkcode listFirewall} lists. */
export interface ListSettings {
  /** All rules of the tables our chains are in (`--fw-list-all`), not only ours. */
  readonly all?: boolean;
  /** Our chains for programs to read; `all` has no effect on it. */
  readonly json?: boolean;
}

/**
 * Lists rules on standard output. Gives exit status 1 when the firewall cannot be read; a chain
 * that is not there, because no server runs, is no failure.
 *
 * @param log for the commands that are run
 */
export async function listFirewall(
  host: Host,
  config: FirewallConfig,
  log: Pick<Log, "debug" | "verbosity">,
  settings: ListSettings = {},
): Promise<number> {
  const planner = choosePlanner(host, config);
  const { run } = nftRunner(host, config.NFT_EXE);
  if (!settings.json && planner.name === "command") {
    host.stdout("No firewall, so no rules: FIREWALL_TYPE is command.\n");
    return EXIT.done;
  }
  const hasTable = planner.endsByItself || planner.listsAsTable;
  if (!settings.json && (!hasTable || settings.all)) {
    return await listAsText(host, run, planner, log, settings.all ?? false);
  }
  const chains = await runPlan({ run }, log, planner.list());
  if (complains(host, chains)) return EXIT.failed;
  return settings.json ? listAsJson(host, planner, chains) : listAsTable(host, chains);
}

async function listAsText(
  host: Host,
  run: Host["run"],
  planner: FirewallPlanner,
  log: Pick<Log, "debug" | "verbosity">,
  all: boolean,
): Promise<number> {
  host.stdout(headingOf(planner.name, all).trimStart());
  let status: number = EXIT.done;
  let named: string | undefined;
  for (const { call, echo, optional } of planner.listing(all ? "all" : "ours")) {
    const result = await run(call);
    log.debug(`fw_dump_rules() CMD: '${echo.join(" ")}' (res: ${result.status})`);
    if (optional !== undefined) {
      if (result.status !== 0 || !hasRules(result.stdout)) continue;
      if (optional !== named) host.stdout(headingOf(optional, all));
      named = optional;
    }
    host.stdout(all ? result.stdout : `\n${result.stdout}`);
    host.stderr(result.stderr);
    if (result.status > 1) status = EXIT.failed;
  }
  return status;
}

function headingOf(firewall: string, all: boolean): string {
  return all
    ? `\nListing all ${firewall} rules in applicable tables...\n`
    : `\nListing rules in fwknopd ${firewall} chains...\n`;
}

/** Whether a listing with line numbers has any line of a rule, or that of a set any member. */
function hasRules(listing: string): boolean {
  return /^\d|^Members:\n\S/m.test(listing);
}

/** For a firewall whose own listing is no pleasure to read. */
function listAsTable(host: Host, chains: readonly ListedChain[]): number {
  const what = ["ADDRESS", "MAY REACH", "PORT", "TRANSLATED TO"];
  const heading = [...what, "SECONDS LEFT", "STANZA", "SET"];
  const rows = chains.flatMap(({ table, rules }) =>
    rules.map((rule) => [
      rule.source ?? "any",
      rule.destination ?? "any",
      portText(rule),
      rule.translatedTo ?? (rule.target === "masquerade" ? "masquerade" : "-"),
      String(secondsLeft(rule, host.now()) ?? "-"),
      String(rule.stanza ?? "-"),
      `${table} ${rule.chain}`,
    ])
  );
  if (rows.length === 0) {
    host.stdout("No grant is open.\n");
    return EXIT.done;
  }
  const widths = heading.map((_, column) =>
    Math.max(...[heading, ...rows].map((row) => row[column]?.length ?? 0))
  );
  for (const row of [heading, ...rows]) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    host.stdout(`${cells.join("  ").trimEnd()}\n`);
  }
  return EXIT.done;
}

/** Answers of a service are known by the port that they come from. */
function portText({ protocol, sourcePort, destinationPort }: ListedRule): string {
  return sourcePort === null
    ? `${protocol ?? "any"}/${destinationPort ?? "any"}`
    : `from ${protocol ?? "any"}/${sourcePort}`;
}

/** Tells why chains could not be read; whether there was anything to tell. */
function complains(host: Host, chains: readonly ListedChain[]): boolean {
  const problems = new Set(chains.map(({ problem }) => problem).filter((text) => text !== null));
  for (const problem of problems) host.stderr(`spa: ${problem}\n`);
  return problems.size > 0;
}

/** @param now milliseconds since 1970 UTC */
function secondsLeft(rule: ListedRule, now: number): number | null {
  if (rule.secondsLeft !== undefined) return rule.secondsLeft;
  return rule.expires === null ? null : rule.expires - Math.floor(now / 1000);
}

function listAsJson(
  host: Host,
  planner: FirewallPlanner,
  chains: readonly ListedChain[],
): number {
  const listing = {
    firewall: planner.name,
    chains: chains.map((chain) => plain(chain, host.now())),
  };
  host.stdout(`${JSON.stringify(listing, null, 2)}\n`);
  return EXIT.done;
}

/** @param now milliseconds since 1970 UTC */
function plain(chain: ListedChain, now: number): Record<string, unknown> {
  return {
    ...(chain.family === undefined ? {} : { family: chain.family }),
    table: chain.table,
    chain: chain.chain,
    exists: chain.exists,
    rules: chain.rules.map((rule) => ({
      number: rule.number,
      target: rule.target,
      protocol: rule.protocol,
      source: rule.source,
      destination: rule.destination,
      sourcePort: rule.sourcePort,
      destinationPort: rule.destinationPort,
      expires: rule.expires,
      secondsLeft: secondsLeft(rule, now),
      ...(rule.stanza === undefined ? {} : { stanza: rule.stanza }),
      ...(rule.translatedTo === undefined ? {} : { translatedTo: rule.translatedTo }),
      ...(rule.endsByItself === undefined ? {} : { endsByItself: rule.endsByItself }),
    })),
  };
}
