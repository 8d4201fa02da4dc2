// iptables, planned: fwknop's chains, jumps, comments and rules. Rules end by their `_exp_`
// comment; all edits of a step are one transaction a table.

import type { FirewallCall, FirewallPlanner, ListedChain, Plan } from "./fw_firewall.ts";
import { type IptablesChain, setUpChains, showCall, tearDownChains } from "./fw_iptables_chains.ts";
import { explainFailure, type IptablesPrograms, readingCall } from "./fw_iptables_edit.ts";
import { type IptablesRuleConfig, rulesFor } from "./fw_iptables_grant.ts";
import { parseRules } from "./fw_iptables_listing.ts";
import { addRules, removeRules } from "./fw_iptables_rules.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface IptablesConfig extends IptablesRuleConfig {
  readonly FIREWALL_EXE: string;
  readonly FLUSH_IPT_AT_INIT: boolean;
  readonly FLUSH_IPT_AT_EXIT: boolean;
  readonly ENABLE_IPT_COMMENT_CHECK: boolean;
  readonly ENABLE_RULE_PREPEND: boolean;
}

/**
 * The restore program that belongs to an iptables program: `/usr/sbin/iptables-nft-restore` for
 * `/usr/sbin/iptables-nft`. Null for names it does not know, such as a wrapper script's.
 */
export function restoreProgram(iptables: string): string | null {
  return /(?:^|\/)iptables(?:-nft|-legacy)?$/.test(iptables) ? `${iptables}-restore` : null;
}

/**
 * The chains a configuration uses, in fwknopd's order.
 */
export function chainsInUse(config: IptablesConfig): IptablesChain[] {
  const nat = config.ENABLE_IPT_FORWARDING || config.ENABLE_IPT_LOCAL_NAT;
  const chains = [
    config.IPT_INPUT_ACCESS,
    ...(config.ENABLE_IPT_OUTPUT ? [config.IPT_OUTPUT_ACCESS] : []),
    ...(nat ? [config.IPT_FORWARD_ACCESS, config.IPT_DNAT_ACCESS] : []),
    ...(nat && config.ENABLE_IPT_SNAT
      ? [config.IPT_SNAT_ACCESS, config.IPT_MASQUERADE_ACCESS]
      : []),
  ];
  return [
    ...new Map(chains.map((spec) => [`${spec.table} ${spec.from} ${spec.to}`, spec])).values(),
  ];
}

/**
 * The planner for iptables.
 *
 * @param config variables of fwknopd.conf
 * @param restore the restore program; by default the one beside FIREWALL_EXE. With null every
 *   edit is a call of FIREWALL_EXE
 */
export function iptablesPlanner(
  config: IptablesConfig,
  restore: string | null = restoreProgram(config.FIREWALL_EXE),
): FirewallPlanner {
  const programs: IptablesPrograms = { iptables: config.FIREWALL_EXE, restore };
  const chains = chainsInUse(config);
  const commentCheck = config.ENABLE_IPT_COMMENT_CHECK ? config.IPT_INPUT_ACCESS : null;
  const operation = config.ENABLE_RULE_PREPEND ? "-I" : "-A";
  return {
    name: "iptables",
    flushAtStart: config.FLUSH_IPT_AT_INIT,
    flushAtExit: config.FLUSH_IPT_AT_EXIT,
    newestFirst: config.ENABLE_RULE_PREPEND,
    setUp: (flush) => setUpChains(programs, commentCheck, chains, flush),
    rulesFor: (grant) => rulesFor(config, grant),
    add: (rules) => addRules(programs, chains, operation, rules),
    remove: (rules) => removeRules(programs, rules),
    tearDown: () => tearDownChains(programs, chains),
    list: () => list(programs, chains),
    listing: (what) => chains.map((chain) => listingCall(programs, chain, what)),
  };
}

function* list(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
): Plan<readonly ListedChain[]> {
  const calls = chains.map((spec) => showCall(programs, spec.table, spec.to));
  const results = yield calls;
  return chains.map(({ table, to: chain }, index) => {
    const call = calls[index];
    const result = results[index];
    // Status 1 is how iptables says that a chain is not there; others mean that it cannot tell.
    const failed = call !== undefined && (result === undefined || result.status > 1);
    return {
      table,
      chain,
      exists: result?.status === 0,
      problem: failed ? explainFailure(call.call, result) : null,
      rules: result?.status === 0 ? parseRules(result.stdout, table, chain) : [],
    };
  });
}

function listingCall(
  programs: IptablesPrograms,
  spec: IptablesChain,
  what: "ours" | "all",
): FirewallCall {
  return readingCall(
    programs,
    what === "ours"
      ? ["-t", spec.table, "-L", spec.to, "--line-numbers", "-n"]
      : ["-t", spec.table, "-v", "-n", "-L", "--line-numbers"],
  );
}
