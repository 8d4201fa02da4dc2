// iptables, planned: fwknop's chains, jumps, comments and rules, for one IP version; the other has
// programs of its own. All edits of a step are one transaction a table.

import type { FirewallPlanner, ListedChain, ListingCall, Plan } from "./fw_firewall.ts";
import { chainName, type IptablesChain, showCall, tearDownChains } from "./fw_iptables_chains.ts";
import { checkChains, withKnownProgram } from "./fw_iptables_check.ts";
import { explainFailure, type IptablesPrograms, readingCall } from "./fw_iptables_edit.ts";
import {
  DOCKER_CHAIN,
  endingMatch,
  type IptablesRuleConfig,
  rulesFor,
} from "./fw_iptables_grant.ts";
import { parseRules } from "./fw_iptables_listing.ts";
import { addRules, missingRules, removeRules } from "./fw_iptables_rules.ts";
import { setUpChains, type SetUpNeeds } from "./fw_iptables_set_up.ts";

/** iptables as a planner, whose rules anybody may remove. */
export type IptablesPlanner =
  & FirewallPlanner
  & Required<Pick<FirewallPlanner, "missing" | "check">>;

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface IptablesConfig extends IptablesRuleConfig {
  readonly FIREWALL_EXE: string;
  readonly FLUSH_IPT_AT_INIT: boolean;
  readonly FLUSH_IPT_AT_EXIT: boolean;
  readonly ENABLE_IPT_COMMENT_CHECK: boolean;
  readonly ENABLE_RULE_PREPEND: boolean;
  /** N gives fwknopd's rules, which stay in force until somebody removes them. */
  readonly ENABLE_KERNEL_EXPIRY: boolean;
}

/**
 * The restore program that belongs to an iptables program: `/usr/sbin/iptables-nft-restore` for
 * `/usr/sbin/iptables-nft`. Null for names it does not know, such as a wrapper script's.
 */
export function restoreProgram(iptables: string): string | null {
  return /(?:^|\/)ip6?tables(?:-nft|-legacy)?$/.test(iptables) ? `${iptables}-restore` : null;
}

/**
 * The program for IPv6 that belongs to an iptables program: `/usr/sbin/ip6tables-nft` for
 * `/usr/sbin/iptables-nft`. Null for names it does not know.
 */
export function ip6tablesProgram(iptables: string): string | null {
  const match = /^(.*\/|)iptables(-nft|-legacy|)$/.exec(iptables);
  return match === null ? null : `${match[1]}ip6tables${match[2]}`;
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
    ...(config.ENABLE_DOCKER ? [DOCKER_CHAIN] : []),
  ];
  return [
    ...new Map(chains.map((spec) => [`${spec.table} ${spec.from} ${spec.to}`, spec])).values(),
  ];
}

/**
 * The planner for iptables and IPv4.
 *
 * @param config variables of fwknopd.conf
 * @param restore the restore program; by default the one beside FIREWALL_EXE. With null every
 *   edit is a call of FIREWALL_EXE
 */
export function iptablesPlanner(
  config: IptablesConfig,
  restore: string | null = restoreProgram(config.FIREWALL_EXE),
): IptablesPlanner {
  const programs = { family: "ipv4", iptables: config.FIREWALL_EXE, restore } as const;
  return withKnownProgram(familyPlanner(config, programs), programs);
}

/**
 * The planner for one IP version. It remembers what its last set-up found that rules can have.
 *
 * @param config variables of fwknopd.conf
 */
export function familyPlanner(config: IptablesConfig, programs: IptablesPrograms): IptablesPlanner {
  const chains = chainsInUse(config);
  const needs = setUpNeeds(config, programs, chains);
  const operation = config.ENABLE_RULE_PREPEND ? "-I" : "-A";
  let endsInKernel = false;
  return {
    name: programs.family === "ipv6" ? "ip6tables" : "iptables",
    flushAtStart: config.FLUSH_IPT_AT_INIT,
    flushAtExit: config.FLUSH_IPT_AT_EXIT,
    newestFirst: config.ENABLE_RULE_PREPEND,
    *check() {
      const outcome = yield* checkChains(programs, chains, config.FLUSH_IPT_AT_INIT);
      if (!outcome.ok) return outcome;
      const { from, to } = config.IPT_INPUT_ACCESS;
      return { ok: true, lines: [`iptables: grants are accepted in chain ${to} of ${from}`] };
    },
    *setUp(flush) {
      const done = yield* setUpChains(programs, needs, flush);
      endsInKernel = done.endsInKernel;
      return done.outcome;
    },
    rulesFor: (grant) => rulesFor(config, { family: programs.family, endsInKernel }, grant),
    add: (rules) => addRules(programs, chains, operation, rules),
    remove: (rules) => removeRules(programs, rules),
    missing: (rules) => missingRules(programs, rules),
    tearDown: () => tearDownChains(programs, chains),
    list: () => list(programs, chains),
    listing: (what) => chains.map((chain) => listingCall(programs, chain, what)),
  };
}

const DOCKER_SAMPLE = "-m conntrack --ctstate DNAT --ctorigdstport 1 -j ACCEPT";

/** What rules with these targets need of the kernel. */
function targetSample(target: string, family: IptablesPrograms["family"]): string | null {
  switch (target) {
    case "DNAT":
      return `-j DNAT --to-destination ${family === "ipv6" ? "[::1]" : "127.0.0.1"}:1`;
    case "SNAT":
      return `-j SNAT --to-source ${family === "ipv6" ? "::1" : "127.0.0.1"}`;
    case "MASQUERADE":
      return "-j MASQUERADE";
    default:
      return null;
  }
}

function setUpNeeds(
  config: IptablesConfig,
  { family }: IptablesPrograms,
  chains: readonly IptablesChain[],
): SetUpNeeds {
  const nobody = family === "ipv6" ? "::1" : "127.0.0.2";
  const chain = config.IPT_INPUT_ACCESS;
  const others = chains.flatMap((spec) => {
    const match = targetSample(spec.target, family) ??
      (spec === DOCKER_CHAIN ? DOCKER_SAMPLE : null);
    return match === null ? [] : [{ chain: spec, text: `-p 6 -s ${nobody} ${match}` }];
  });
  const comment = `-m comment --comment __TMPCOMMENT__ -j ${chain.target}`;
  return {
    chains,
    comment: config.ENABLE_IPT_COMMENT_CHECK ? { chain, text: `-s ${nobody} ${comment}` } : null,
    kernelExpiry: config.ENABLE_KERNEL_EXPIRY
      ? { chain, text: `-s ${nobody} ${endingMatch(0)} ${comment}` }
      : null,
    others,
    renews: config.ENABLE_RULE_RENEWAL,
  };
}

function* list(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
): Plan<readonly ListedChain[]> {
  const calls = chains.map((spec) => showCall(programs, spec.table, spec.to));
  const results = yield calls;
  return chains.map((spec, index) => {
    const call = calls[index];
    const result = results[index];
    // Status 1 is how iptables says that a chain is not there; others mean that it cannot tell.
    const failed = call !== undefined && (result === undefined || result.status > 1);
    const name = chainName(programs, spec);
    const rules = result?.status === 0 ? parseRules(result.stdout, spec.table, spec.to) : [];
    return {
      ...name,
      exists: result?.status === 0,
      problem: failed ? explainFailure(call.call, result) : null,
      rules: rules.map((rule) => ({ ...rule, ...name })),
    };
  });
}

function listingCall(
  programs: IptablesPrograms,
  spec: IptablesChain,
  what: "ours" | "all",
): ListingCall {
  return readingCall(
    programs,
    what === "ours"
      ? ["-t", spec.table, "-L", spec.to, "--line-numbers", "-n"]
      : ["-t", spec.table, "-v", "-n", "-L", "--line-numbers"],
  );
}
