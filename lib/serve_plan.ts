// From a firewall's plan to programs that run: which planner a configuration asks for, and the
// loop that feeds a plan the results of its calls.

import type { FirewallType } from "./conf_firewall.ts";
import type { FirewallCall, FirewallPlanner, Plan } from "./fw_firewall.ts";
import { commandPlanner } from "./fw_command.ts";
import { type FirewalldConfig, firewalldPlanner } from "./fw_firewalld.ts";
import { directPlanner } from "./fw_firewalld_direct.ts";
import { type IpfwConfig, ipfwPlanner } from "./fw_ipfw.ts";
import { ip6tablesPlanner } from "./fw_ip6tables.ts";
import {
  ip6tablesProgram,
  type IptablesConfig,
  type IptablesPlanner,
  iptablesPlanner,
  restoreProgram,
} from "./fw_iptables.ts";
import { type DoubtFacts, withDoubts } from "./fw_iptables_doubts.ts";
import { bothFamilies } from "./fw_iptables_families.ts";
import { type SetSettings, withSets } from "./fw_iptables_sets.ts";
import { type NftablesConfig, nftablesPlanner } from "./fw_nftables.ts";
import { NFT_PROGRAM } from "./fw_nftables_calls.ts";
import { type PfConfig, pfPlanner } from "./fw_pf.ts";
import type { Instruments } from "./fw_surroundings.ts";
import { missingProgram, withModules } from "./fw_tools.ts";
import type { Host, ProgramResult } from "./host.ts";
import type { Log } from "./serve_log.ts";
import { type Files, firewalldBackend, legacyTables, takesIpv6 } from "./serve_machine.ts";
import { nftRunner } from "./serve_nft.ts";

/** What chooses and tunes the firewall, by its variables' names. */
export interface FirewallConfig
  extends IptablesConfig, SetSettings, NftablesConfig, FirewalldConfig, IpfwConfig, PfConfig {
  readonly FIREWALL_TYPE: FirewallType;
  /** Rules in iptables' words instead of rich rules. */
  readonly ENABLE_FIREWD_DIRECT: boolean;
  /** N leaves IPv6 alone. */
  readonly ENABLE_IP6TABLES: boolean;
  /** Null: the program beside FIREWALL_EXE, if it is there. */
  readonly IP6TABLES_EXE: string | null;
  /** Null: where Debian has it, if it is there. */
  readonly IPSET_EXE: string | null;
}

/**
 * The planner that a configuration asks for, which `auto` does not before it is settled; where its program is missing, one that only says so
 * when it is to set up anything.
 */
export function choosePlanner(host: Files, config: FirewallConfig): FirewallPlanner {
  const planner = plannerFor(host, config);
  if (planner.name === "command") return planner;
  const program = planner.name === "nftables" ? config.NFT_EXE : config.FIREWALL_EXE;
  // Without a slash it is looked up in PATH, by who runs it; nft may be but a library.
  if (program === null || !program.includes("/") || host.stat(program) !== null) {
    return withModules(planner);
  }
  return missingProgram(planner, program);
}

function plannerFor(host: Files, config: FirewallConfig): FirewallPlanner {
  switch (config.FIREWALL_TYPE) {
    case "nftables":
      return nftablesPlanner({ ...config, hasIpv6: takesIpv6(host) });
    case "firewalld":
      return config.ENABLE_FIREWD_DIRECT
        ? directPlanner(config, firewalldBackend(host))
        : firewalldPlanner(config);
    case "ipfw":
      return ipfwPlanner(config);
    case "pf":
      return pfPlanner(config);
    case "command":
      return commandPlanner();
    case "iptables":
      return withDoubts(
        iptablesFor(host, config),
        instrumentsFor(host, config),
        doubtFacts(host, config),
      );
    case "auto":
      throw new TypeError("FIREWALL_TYPE auto is settled before a planner is chosen");
  }
}

function iptablesFor(host: Files, config: FirewallConfig): IptablesPlanner {
  const ipset = ipsetFor(host, config);
  const { FIREWALL_EXE: iptables } = config;
  const restore = restoreBeside(host, iptables);
  const inChains = iptablesPlanner(config, restore);
  const ipv4 = withSets(inChains, { family: "ipv4", iptables, restore, ipset }, config);
  const ipv6 = ipv6PlannerFor(host, config, ipset);
  if (ipv6 === null) return ipv4;
  return bothFamilies(ipv4, ipv6, { needsIpv6: config.IP6TABLES_EXE !== null });
}

function ipv6PlannerFor(
  host: Files,
  config: FirewallConfig,
  ipset: string | null,
): IptablesPlanner | null {
  const iptables = ip6tablesFor(host, config);
  if (iptables === null) return null;
  const restore = restoreBeside(host, iptables);
  const inChains = ip6tablesPlanner(config, { iptables, restore });
  return withSets(inChains, { family: "ipv6", iptables, restore, ipset }, config);
}

const IPSET_PROGRAM = "/usr/sbin/ipset";

/** The program ipset; null where there is none. */
function ipsetFor(host: Files, { IPSET_EXE: program }: FirewallConfig): string | null {
  if (program !== null) return program;
  return host.stat(IPSET_PROGRAM) === null ? null : IPSET_PROGRAM;
}

/** The restore program beside one of iptables; null for none: rules are set one by one then. */
export function restoreBeside(host: Files, iptables: string): string | null {
  const restore = restoreProgram(iptables);
  return restore !== null && host.stat(restore) !== null ? restore : null;
}

/** The program for IPv6; null where there is none, or no IPv6. */
export function ip6tablesFor(host: Files, config: FirewallConfig): string | null {
  if (!config.ENABLE_IP6TABLES) return null;
  if (config.IP6TABLES_EXE !== null) return config.IP6TABLES_EXE;
  const program = ip6tablesProgram(config.FIREWALL_EXE);
  if (program === null || host.stat(program) === null) return null;
  return takesIpv6(host) ? program : null;
}

/** The programs that read what iptables-legacy has in force; null where that is nothing. */
export function legacyPrograms(host: Files): Pick<Instruments["filters"], "legacy4" | "legacy6"> {
  const reader = (program: string, family: "ipv4" | "ipv6"): string | null =>
    legacyTables(host, family).includes("filter") && host.stat(program) !== null ? program : null;
  return {
    legacy4: reader("/usr/sbin/iptables-legacy", "ipv4"),
    legacy6: reader("/usr/sbin/ip6tables-legacy", "ipv6"),
  };
}

/** Those that tell whether grants of iptables can open, and hide anything. */
function instrumentsFor(host: Files, config: FirewallConfig): Instruments {
  const { FIREWALL_EXE: iptables } = config;
  const nft = config.NFT_EXE ?? NFT_PROGRAM;
  const ipv6 = ip6tablesFor(host, config);
  return {
    nft: host.stat(nft) === null ? null : nft,
    iptables,
    filters: { ipv4: iptables, ipv6, ...legacyPrograms(host) },
  };
}

function doubtFacts(host: Files, config: FirewallConfig): DoubtFacts {
  const mayDrop = (family: "ipv4" | "ipv6"): boolean =>
    legacyTables(host, family).some((name) => name !== "filter" && name !== "nat");
  const ipv6 = takesIpv6(host);
  const lacks = ipv6 && config.ENABLE_IP6TABLES && ip6tablesFor(host, config) === null;
  const lack = `No access over IPv6: there is no ip6tables beside ${config.FIREWALL_EXE};` +
    " set IP6TABLES_EXE, or ENABLE_IP6TABLES N";
  return {
    ipv6,
    legacyTables: { ipv4: mayDrop("ipv4"), ipv6: mayDrop("ipv6") },
    warnings: lacks ? [lack] : [],
  };
}

/** What runs a planner's calls: libnftables takes those of nft where that is the firewall. */
export function firewallRunner(
  host: Pick<Host, "run" | "native">,
  { FIREWALL_TYPE, NFT_EXE }: Pick<FirewallConfig, "FIREWALL_TYPE" | "NFT_EXE">,
): Pick<Host, "run"> {
  // For one look, a process costs less than a library that stays, with its socket.
  return FIREWALL_TYPE === "iptables" ? host : nftRunner(host, NFT_EXE);
}

/**
 * Tells where grants would take effect, without changing anything.
 *
 * @param log gets warnings of what may keep grants from opening, or hides nothing
 * @returns lines for the log; none from a firewall that has but one place
 * @throws an `Error` with one line for the operator, where no grant could open
 */
export async function checkFirewall(
  host: Host,
  log: Pick<Log, "debug" | "verbosity" | "warning">,
  config: FirewallConfig,
): Promise<readonly string[]> {
  const planner = choosePlanner(host, config);
  if (planner.check === undefined) return [];
  if (host.uid !== 0) return [`${planner.name}: only root can tell whether grants would open`];
  const outcome = await runPlan(firewallRunner(host, config), log, planner.check());
  if (outcome.ok) {
    for (const line of outcome.warnings ?? []) log.warning(line);
    return outcome.lines;
  }
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
