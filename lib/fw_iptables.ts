// iptables, planned: fwknop's chains, jumps, comments and rules. Rules end by their `_exp_`
// comment; all edits of a step are one transaction.

import type { Grant } from "./auth_grant.ts";
import type {
  FirewallCall,
  FirewallPlanner,
  FirewallRule,
  ListedChain,
  Plan,
  RuleChoice,
} from "./fw_firewall.ts";
import { type IptablesChain, setUpChains, showCall, tearDownChains } from "./fw_iptables_chains.ts";
import { explainFailure, type IptablesPrograms, readingCall } from "./fw_iptables_edit.ts";
import { parseRules } from "./fw_iptables_listing.ts";
import { addRules, removeRules } from "./fw_iptables_rules.ts";
import { parseIpv4 } from "./net_address.ts";
import { formatPorts, PROTOCOL_NUMBERS, type ProtocolPort } from "./net_port.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface IptablesConfig {
  readonly FIREWALL_EXE: string;
  readonly FLUSH_IPT_AT_INIT: boolean;
  readonly FLUSH_IPT_AT_EXIT: boolean;
  readonly ENABLE_IPT_FORWARDING: boolean;
  readonly ENABLE_IPT_LOCAL_NAT: boolean;
  readonly ENABLE_IPT_SNAT: boolean;
  readonly ENABLE_IPT_OUTPUT: boolean;
  readonly ENABLE_IPT_COMMENT_CHECK: boolean;
  readonly ENABLE_DESTINATION_RULE: boolean;
  readonly ENABLE_RULE_PREPEND: boolean;
  readonly IPT_INPUT_ACCESS: IptablesChain;
  readonly IPT_OUTPUT_ACCESS: IptablesChain;
  readonly IPT_FORWARD_ACCESS: IptablesChain;
  readonly IPT_DNAT_ACCESS: IptablesChain;
  readonly IPT_SNAT_ACCESS: IptablesChain;
  readonly IPT_MASQUERADE_ACCESS: IptablesChain;
}

const ANYWHERE = "0.0.0.0/0";

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

function rulesFor(config: IptablesConfig, grant: Grant): RuleChoice {
  for (const address of [grant.source, grant.destination]) {
    if (parseIpv4(address) === null) {
      return { ok: false, reason: `iptables opens for IPv4 addresses only, not for ${address}` };
    }
  }
  const destination = config.ENABLE_DESTINATION_RULE ? grant.destination : ANYWHERE;
  const summary = `${grant.source} -> ${destination} ${formatPorts(grant.ports)}`;
  const rule = (kind: string, chain: IptablesChain, match: string): FirewallRule => ({
    kind,
    table: chain.table,
    chain: chain.to,
    text: `${match} -m comment --comment _exp_${grant.expires} -j ${chain.target}`,
    expires: grant.expires,
    summary,
  });
  const access = ({ protocol, port }: ProtocolPort): FirewallRule =>
    rule(
      "access",
      config.IPT_INPUT_ACCESS,
      `-p ${PROTOCOL_NUMBERS[protocol]} -s ${grant.source} -d ${destination} --dport ${port}`,
    );
  const answer = ({ protocol, port }: ProtocolPort): FirewallRule =>
    rule(
      "OUTPUT",
      config.IPT_OUTPUT_ACCESS,
      `-p ${PROTOCOL_NUMBERS[protocol]} -d ${grant.source} -s ${destination} --sport ${port}`,
    );
  const rules = grant.ports.flatMap((port) =>
    config.ENABLE_IPT_OUTPUT ? [access(port), answer(port)] : [access(port)]
  );
  return { ok: true, rules };
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
