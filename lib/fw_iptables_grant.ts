// The iptables rules that give a grant its access, in fwknopd's order and words.

import type { AccessGrant, FirewallGrant, NatGrant } from "./auth_grant.ts";
import type { FirewallRule, RuleChoice } from "./fw_firewall.ts";
import { chainName, type IptablesChain } from "./fw_iptables_chains.ts";
import type { IptablesPrograms } from "./fw_iptables_edit.ts";
import { rulePurpose } from "./fw_iptables_listing.ts";
import { snatAddress } from "./conf_snat.ts";
import { parseIp } from "./net_address.ts";
import { formatPorts, PROTOCOL_NUMBERS, type ProtocolPort } from "./net_port.ts";

/** What rules depend on in fwknopd.conf, by its variables' names. */
export interface IptablesRuleConfig {
  readonly ENABLE_IPT_FORWARDING: boolean;
  readonly ENABLE_IPT_LOCAL_NAT: boolean;
  readonly ENABLE_IPT_SNAT: boolean;
  /** Null, or none of the version: sources are translated to the address of the outgoing interface. */
  readonly SNAT_TRANSLATE_IP: string | null;
  readonly ENABLE_IPT_OUTPUT: boolean;
  readonly ENABLE_DESTINATION_RULE: boolean;
  /** N gives fwknopd's wider rules: no destination in FORWARD, any destination in DNAT. */
  readonly ENABLE_FORWARD_DESTINATION: boolean;
  /** N gives fwknopd's wider rules: no source in SNAT, one fixed port in MASQUERADE. */
  readonly ENABLE_STRICT_SNAT: boolean;
  /** N gives fwknopd's rules for repeated requests: each has one of its own. */
  readonly ENABLE_RULE_RENEWAL: boolean;
  /** Whether access also holds for ports of containers, which Docker forwards. */
  readonly ENABLE_DOCKER: boolean;
  readonly IPT_INPUT_ACCESS: IptablesChain;
  readonly IPT_OUTPUT_ACCESS: IptablesChain;
  readonly IPT_FORWARD_ACCESS: IptablesChain;
  readonly IPT_DNAT_ACCESS: IptablesChain;
  readonly IPT_SNAT_ACCESS: IptablesChain;
  readonly IPT_MASQUERADE_ACCESS: IptablesChain;
}

/** What else rules depend on. */
export interface RuleContext extends Pick<IptablesPrograms, "family"> {
  /** Whether rules stop at their end by themselves. */
  readonly endsInKernel: boolean;
}

type RuleSettings = IptablesRuleConfig & RuleContext;

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

const ANYWHERE = { ipv4: "0.0.0.0/0", ipv6: "::/0" } as const;

/** Where Docker has administrators put rules of their own, before those of containers. */
export const DOCKER_CHAIN: IptablesChain = {
  target: "ACCEPT",
  table: "filter",
  from: "FORWARD",
  preferred: "DOCKER-USER",
  jumpPosition: 1,
  to: "FWKNOP_DOCKER",
};

/** The last second that the time match of iptables takes: 2037-12-31 23:59:59 UTC. */
const LAST_END = Date.UTC(2038, 0) / 1000 - 1;

/** The rules of a grant; see {@linkcode FirewallPlanner.rulesFor}. */
export function rulesFor(
  rules: IptablesRuleConfig,
  context: RuleContext,
  grant: FirewallGrant,
): RuleChoice {
  const config = { ...rules, ...context };
  const problem = addressProblem(config, grant);
  if (problem !== null) return { ok: false, reason: problem };
  if (grant.kind === "access") return { ok: true, rules: accessRules(config, grant) };
  if (config.ENABLE_IPT_FORWARDING || config.ENABLE_IPT_LOCAL_NAT) {
    return { ok: true, rules: natRules(config, grant) };
  }
  return { ok: false, reason: "neither ENABLE_IPT_FORWARDING nor ENABLE_IPT_LOCAL_NAT is set" };
}

/** An address that is of no use in the rules; null when all are. */
function addressProblem(config: RuleSettings, grant: FirewallGrant): string | null {
  const version = config.family === "ipv6" ? 6 : 4;
  const source = parseIp(grant.source);
  const program = version === 6 ? "ip6tables" : "iptables";
  if (source?.version !== version) {
    return `${program} opens for IPv${version} addresses only, not for ${grant.source}`;
  }
  const names = config.ENABLE_DESTINATION_RULE ||
    (grant.kind === "nat" && config.ENABLE_FORWARD_DESTINATION);
  const destination = parseIp(grant.destination);
  if (destination === null || (names && destination.version !== version)) {
    return `packets to ${grant.destination} cannot come from ${grant.source}`;
  }
  const target = grant.kind === "nat"
    ? [grant.nat.host, grant.nat.forcedSource ?? source.text]
    : [];
  const wrong = target.find((address) => parseIp(address)?.version !== version);
  return wrong === undefined ? null : `packets for ${wrong} cannot come from ${source.text}`;
}

function accessRules(config: RuleSettings, grant: AccessGrant): FirewallRule[] {
  const destination = destinationOf(config, grant);
  return grant.ports.flatMap((port) => {
    const access = [
      accessRule(config, grant, "access", port),
      ...(config.ENABLE_DOCKER ? [dockerRule(config, grant, port)] : []),
    ];
    if (!config.ENABLE_IPT_OUTPUT) return access;
    const { protocol, port: number } = port;
    const answer = ruleOf(config, grant, formatPorts(grant.ports), {
      kind: "OUTPUT",
      chain: config.IPT_OUTPUT_ACCESS,
      match: `-p ${PROTOCOL_NUMBERS[protocol]} -d ${grant.source} -s ${destination}` +
        ` --sport ${number}`,
      destination,
    });
    return [...access, answer];
  });
}

/**
 * Docker forwards what comes to a published port. By then the packet has the container's address
 * and port; which it was sent to, the connection remembers.
 */
function dockerRule(
  config: RuleSettings,
  grant: AccessGrant,
  { protocol, port }: ProtocolPort,
): FirewallRule {
  const destination = config.ENABLE_DESTINATION_RULE ? ` --ctorigdst ${grant.destination}` : "";
  return ruleOf(config, grant, formatPorts(grant.ports), {
    kind: "Docker access",
    chain: DOCKER_CHAIN,
    match: `-p ${PROTOCOL_NUMBERS[protocol]} -s ${grant.source}` +
      ` -m conntrack --ctstate DNAT${destination} --ctorigdstport ${port}`,
    destination: destinationOf(config, grant),
  });
}

function destinationOf(config: RuleSettings, grant: FirewallGrant): string {
  return config.ENABLE_DESTINATION_RULE ? grant.destination : ANYWHERE[config.family];
}

function accessRule(
  config: RuleSettings,
  grant: FirewallGrant,
  kind: "access" | "local NAT",
  { protocol, port }: ProtocolPort,
): FirewallRule {
  const destination = destinationOf(config, grant);
  return ruleOf(config, grant, formatPorts(grant.ports), {
    kind,
    chain: config.IPT_INPUT_ACCESS,
    match: `-p ${PROTOCOL_NUMBERS[protocol]} -s ${grant.source} -d ${destination} --dport ${port}`,
    destination,
  });
}

function natRules(config: RuleSettings, grant: NatGrant): FirewallRule[] {
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
  config: RuleSettings,
  grant: NatGrant,
  { protocol }: ProtocolPort,
): FirewallRule {
  const { nat, source } = grant;
  const chain = config.IPT_FORWARD_ACCESS;
  const tied = config.ENABLE_FORWARD_DESTINATION && (!nat.all || nat.translatesDestination);
  const to = tied ? ` -d ${nat.host}` : "";
  const destination = tied ? nat.host : ANYWHERE[config.family];
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
  config: RuleSettings,
  grant: NatGrant,
  { protocol, port }: ProtocolPort,
): FirewallRule {
  const { nat, source } = grant;
  const chain = config.IPT_DNAT_ACCESS;
  const destination = config.ENABLE_DESTINATION_RULE || config.ENABLE_FORWARD_DESTINATION
    ? grant.destination
    : ANYWHERE[config.family];
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
    option: `--to-destination ${config.family === "ipv6" ? `[${nat.host}]` : nat.host}:${nat.port}`,
    destination,
  });
}

function sourceRule(
  config: RuleSettings,
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
function sourceAddress(config: RuleSettings, nat: NatGrant["nat"]): string | null {
  const { SNAT_TRANSLATE_IP: usual } = config;
  if (nat.forcedSource !== null) return nat.forcedSource;
  if (nat.masquerade && !nat.all) return null;
  return snatAddress(usual, config.family === "ipv6" ? 6 : 4);
}

/** How the log names the ports of a rule that has none. */
const ALL_PORTS = "*/*";

function ruleOf(
  config: RuleSettings,
  grant: FirewallGrant,
  ports: string,
  parts: RuleParts,
): FirewallRule {
  const { kind, chain, match, option, destination = ANYWHERE[config.family] } = parts;
  const target = [`-j ${chain.target}`, ...(option === undefined ? [] : [option])].join(" ");
  const { expires } = grant;
  const end = config.endsInKernel && expires <= LAST_END ? `${endingMatch(expires)} ` : "";
  const text = `${match} ${end}-m comment --comment _exp_${expires} ${target}`;
  return {
    kind,
    ...chainName(config, chain),
    text,
    ...(config.ENABLE_RULE_RENEWAL ? rulePurpose(text) : {}),
    expires,
    ...(end === "" ? {} : { endsByItself: true }),
    summary: `${grant.source} -> ${destination} ${ports}`,
  };
}

/**
 * What a packet meets up to the end of that second (iptables-extensions(8), time). It stands before
 * the comment, so that a listing ends as fwknopd's does.
 *
 * @param expires seconds since 1970 UTC
 */
export function endingMatch(expires: number): string {
  return `-m time --datestop ${new Date(expires * 1000).toISOString().slice(0, 19)}`;
}
