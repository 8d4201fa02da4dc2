// The iptables rules that give a grant its access, in fwknopd's order and words.

import type { AccessGrant, FirewallGrant, NatGrant } from "./auth_grant.ts";
import type { FirewallRule, RuleChoice } from "./fw_firewall.ts";
import type { IptablesChain } from "./fw_iptables_chains.ts";
import { parseIpv4 } from "./net_address.ts";
import { formatPorts, PROTOCOL_NUMBERS, type ProtocolPort } from "./net_port.ts";

/** What rules depend on in fwknopd.conf, by its variables' names. */
export interface IptablesRuleConfig {
  readonly ENABLE_IPT_FORWARDING: boolean;
  readonly ENABLE_IPT_LOCAL_NAT: boolean;
  readonly ENABLE_IPT_SNAT: boolean;
  /** Null: sources are translated to the address of the outgoing interface. */
  readonly SNAT_TRANSLATE_IP: string | null;
  readonly ENABLE_IPT_OUTPUT: boolean;
  readonly ENABLE_DESTINATION_RULE: boolean;
  /** N gives fwknopd's wider rules: no destination in FORWARD, any destination in DNAT. */
  readonly ENABLE_FORWARD_DESTINATION: boolean;
  /** N gives fwknopd's wider rules: no source in SNAT, one fixed port in MASQUERADE. */
  readonly ENABLE_STRICT_SNAT: boolean;
  /** N gives fwknopd's rules for repeated requests: each has one of its own. */
  readonly ENABLE_RULE_RENEWAL: boolean;
  readonly IPT_INPUT_ACCESS: IptablesChain;
  readonly IPT_OUTPUT_ACCESS: IptablesChain;
  readonly IPT_FORWARD_ACCESS: IptablesChain;
  readonly IPT_DNAT_ACCESS: IptablesChain;
  readonly IPT_SNAT_ACCESS: IptablesChain;
  readonly IPT_MASQUERADE_ACCESS: IptablesChain;
}

/** One rule before its end and target are known. */
interface RuleParts {
  /** What the log calls it. */
  readonly kind: string;
  readonly chain: IptablesChain;
  readonly match: string;
  /** What follows the target. */
  readonly option?: string;
  /** The destination that the log names; anywhere by default. */
  readonly destination?: string;
}

const ANYWHERE = "0.0.0.0/0";
const NOWHERE = "0.0.0.0";

/** The rules of a grant; see {@linkcode FirewallPlanner.rulesFor}. */
export function rulesFor(config: IptablesRuleConfig, grant: FirewallGrant): RuleChoice {
  const target = grant.kind === "nat" ? [grant.nat.host, grant.nat.forcedSource ?? NOWHERE] : [];
  for (const address of [grant.source, grant.destination, ...target]) {
    if (parseIpv4(address) === null) {
      return { ok: false, reason: `iptables opens for IPv4 addresses only, not for ${address}` };
    }
  }
  if (grant.kind === "access") return { ok: true, rules: accessRules(config, grant) };
  if (config.ENABLE_IPT_FORWARDING || config.ENABLE_IPT_LOCAL_NAT) {
    return { ok: true, rules: natRules(config, grant) };
  }
  return { ok: false, reason: "neither ENABLE_IPT_FORWARDING nor ENABLE_IPT_LOCAL_NAT is set" };
}

function accessRules(config: IptablesRuleConfig, grant: AccessGrant): FirewallRule[] {
  const destination = config.ENABLE_DESTINATION_RULE ? grant.destination : ANYWHERE;
  return grant.ports.flatMap((port) => {
    const access = accessRule(config, grant, "access", port);
    if (!config.ENABLE_IPT_OUTPUT) return [access];
    const { protocol, port: number } = port;
    const answer = ruleOf(config, grant, formatPorts(grant.ports), {
      kind: "OUTPUT",
      chain: config.IPT_OUTPUT_ACCESS,
      match: `-p ${PROTOCOL_NUMBERS[protocol]} -d ${grant.source} -s ${destination}` +
        ` --sport ${number}`,
      destination,
    });
    return [access, answer];
  });
}

function accessRule(
  config: IptablesRuleConfig,
  grant: FirewallGrant,
  kind: "access" | "local NAT",
  { protocol, port }: ProtocolPort,
): FirewallRule {
  const destination = config.ENABLE_DESTINATION_RULE ? grant.destination : ANYWHERE;
  return ruleOf(config, grant, formatPorts(grant.ports), {
    kind,
    chain: config.IPT_INPUT_ACCESS,
    match: `-p ${PROTOCOL_NUMBERS[protocol]} -s ${grant.source} -d ${destination} --dport ${port}`,
    destination,
  });
}

function natRules(config: IptablesRuleConfig, grant: NatGrant): FirewallRule[] {
  const [first] = grant.ports;
  if (first === undefined) return [];
  const { nat } = grant;
  return [
    nat.local
      ? accessRule(config, grant, "local NAT", { protocol: first.protocol, port: nat.port })
      : forwardRule(config, grant, first),
    ...(nat.translatesDestination ? [destinationRule(config, grant, first)] : []),
    ...(config.ENABLE_IPT_SNAT ? [sourceRule(config, grant, first)] : []),
  ];
}

/** Forwarding for all leads anywhere only where no translation ties it to one host. */
function forwardRule(
  config: IptablesRuleConfig,
  grant: NatGrant,
  { protocol }: ProtocolPort,
): FirewallRule {
  const { nat, source } = grant;
  const chain = config.IPT_FORWARD_ACCESS;
  const tied = config.ENABLE_FORWARD_DESTINATION && (!nat.all || nat.translatesDestination);
  const to = tied ? ` -d ${nat.host}` : "";
  const destination = tied ? nat.host : ANYWHERE;
  if (nat.all) {
    return ruleOf(config, grant, ALL_PORTS, {
      kind: "FORWARD ALL",
      chain,
      match: `-s ${source}${to}`,
      destination,
    });
  }
  return ruleOf(config, grant, formatPorts(grant.ports), {
    kind: "FORWARD",
    chain,
    match: `-p ${PROTOCOL_NUMBERS[protocol]} -s ${source}${to} --dport ${nat.port}`,
    destination,
  });
}

function destinationRule(
  config: IptablesRuleConfig,
  grant: NatGrant,
  { protocol, port }: ProtocolPort,
): FirewallRule {
  const { nat, source } = grant;
  const chain = config.IPT_DNAT_ACCESS;
  const destination = config.ENABLE_DESTINATION_RULE || config.ENABLE_FORWARD_DESTINATION
    ? grant.destination
    : ANYWHERE;
  if (nat.all) {
    return ruleOf(config, grant, ALL_PORTS, {
      kind: "DNAT ALL",
      chain,
      match: `-s ${source} -d ${destination}`,
      option: `--to-destination ${nat.host}`,
    });
  }
  return ruleOf(config, grant, formatPorts(grant.ports), {
    kind: "DNAT",
    chain,
    match: `-p ${PROTOCOL_NUMBERS[protocol]} -s ${source} -d ${destination} --dport ${port}`,
    option: `--to-destination ${nat.host}:${nat.port}`,
    destination,
  });
}

function sourceRule(
  config: IptablesRuleConfig,
  grant: NatGrant,
  { protocol, port }: ProtocolPort,
): FirewallRule {
  const { nat, source } = grant;
  const address = sourceAddress(config, nat);
  const chain = address === null ? config.IPT_MASQUERADE_ACCESS : config.IPT_SNAT_ACCESS;
  const toSource = address === null ? {} : { option: `--to-source ${address}` };
  if (nat.all) {
    return ruleOf(config, grant, ALL_PORTS, {
      kind: "SNAT ALL",
      chain,
      match: `-s ${source}`,
      ...toSource,
    });
  }
  const strict = config.ENABLE_STRICT_SNAT;
  const onePort = address === null && !strict ? { option: `--to-ports ${port}` } : {};
  const from = strict ? ` -s ${source}` : "";
  return ruleOf(config, grant, formatPorts(grant.ports), {
    kind: "SNAT",
    chain,
    match: `-p ${PROTOCOL_NUMBERS[protocol]}${from} -d ${nat.host} --dport ${nat.port}`,
    ...toSource,
    ...onePort,
  });
}

/** The address that the target sees; null to masquerade. FORCE_MASQUERADE gives way when all is forwarded. */
function sourceAddress(config: IptablesRuleConfig, nat: NatGrant["nat"]): string | null {
  const { SNAT_TRANSLATE_IP: usual } = config;
  if (nat.forcedSource !== null) return nat.forcedSource;
  if (nat.masquerade && !nat.all) return null;
  return usual !== null && parseIpv4(usual) !== null ? usual : null;
}

/** How the log names the ports of a rule that has none. */
const ALL_PORTS = "*/*";

function ruleOf(
  config: Pick<IptablesRuleConfig, "ENABLE_RULE_RENEWAL">,
  grant: FirewallGrant,
  ports: string,
  parts: RuleParts,
): FirewallRule {
  const { kind, chain, match, option, destination = ANYWHERE } = parts;
  const target = [`-j ${chain.target}`, ...(option === undefined ? [] : [option])].join(" ");
  return {
    kind,
    table: chain.table,
    chain: chain.to,
    text: `${match} -m comment --comment _exp_${grant.expires} ${target}`,
    ...(config.ENABLE_RULE_RENEWAL ? { purpose: `${match} ${target}` } : {}),
    expires: grant.expires,
    summary: `${grant.source} -> ${destination} ${ports}`,
  };
}
