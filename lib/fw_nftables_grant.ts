// The elements that give a grant its access: to this host, or through it by translation.

import type { AccessGrant, FirewallGrant, NatGrant } from "./auth_grant.ts";
import { snatAddress } from "./conf_snat.ts";
import type { FirewallRule, RuleChoice } from "./fw_firewall.ts";
import { elementPurpose, elementText } from "./fw_nftables_elements.ts";
import type { KeyField, PlacedSet, SetConfig, SetRole } from "./fw_nftables_sets.ts";
import { type IpAddress, parseIp } from "./net_address.ts";
import { formatPorts, type ProtocolPort } from "./net_port.ts";

/** What elements depend on in fwknopd.conf, by its variables' names. */
export interface ElementConfig extends SetConfig {
  /** Null: sources are translated to the address of the outgoing interface. */
  readonly SNAT_TRANSLATE_IP: string | null;
}

/** One element before its set is known. */
interface ElementParts {
  /** What the log calls it. */
  readonly kind: string;
  readonly role: SetRole;
  readonly key: Readonly<Partial<Record<KeyField, string>>>;
  /** Where it leads. */
  readonly value?: readonly string[];
  /** What the log says of it after the source: `203.0.113.1 tcp/22`. */
  readonly what: string;
}

/**
 * The elements of a grant, or why there are none: addresses of two IP versions, a table that has
 * no packets of the version, or a kind of grant that is not configured.
 *
 * @param sets those that are in use, with their tables
 */
export function elementsOf(
  grant: FirewallGrant,
  sets: readonly PlacedSet[],
  config: ElementConfig,
): RuleChoice {
  const source = parseIp(grant.source);
  if (source === null) return refuse(`cannot open for "${grant.source}": not an address`);
  const parts = grant.kind === "access"
    ? accessParts(grant, source, sets, config)
    : natParts(grant, source, config);
  if (typeof parts === "string") return refuse(parts);
  const rules = parts.map((part) => ruleOf(grant, source, part, sets));
  const problem = rules.find((rule) => typeof rule === "string");
  if (problem !== undefined) return refuse(problem);
  return { ok: true, rules: rules.filter((rule) => typeof rule !== "string") };
}

function refuse(reason: string): RuleChoice {
  return { ok: false, reason };
}

function accessParts(
  grant: AccessGrant,
  { version }: IpAddress,
  sets: readonly PlacedSet[],
  config: ElementConfig,
): ElementParts[] {
  const address = config.ENABLE_DESTINATION_RULE ? grant.destination : null;
  const what = formatPorts(grant.ports);
  const role = address === null ? "docker" : "dockerTo";
  // A forward chain for the other IP version hides no container from this one.
  const published = sets.some((set) => set.role === role && set.version === version);
  return grant.ports.flatMap((port) => [
    ...servicePart(grant, port, config, { kind: "access", what, address }),
    ...(published ? [publishedPart(grant, port, { role, what, address })] : []),
  ]);
}

/** Lets packets through to a container that Docker publishes at a port of this host. */
function publishedPart(
  { source: saddr }: AccessGrant,
  { protocol, port }: ProtocolPort,
  { role, what, address }: { role: SetRole; what: string; address: string | null },
): ElementParts {
  const daddr = address === null ? {} : { daddr: address };
  return {
    kind: "Docker access",
    role,
    key: { saddr, ...daddr, l4proto: protocol, dport: String(port) },
    what: `${address ?? "any"} ${what}`,
  };
}

/**
 * Lets packets in to a service of this host, and its answers out.
 *
 * @param address the only one of this host that packets may go to; null for any
 */
function servicePart(
  { source }: FirewallGrant,
  { protocol, port }: ProtocolPort,
  config: ElementConfig,
  { kind, what, address }: { kind: string; what: string; address: string | null },
): ElementParts[] {
  const tied = address !== null;
  const text = `${address ?? "any"} ${what}`;
  const key = { l4proto: protocol, ...(tied ? { daddr: address } : {}) };
  const access: ElementParts = {
    kind,
    role: tied ? "accessTo" : "access",
    key: { ...key, saddr: source, dport: String(port) },
    what: text,
  };
  if (!config.ENABLE_IPT_OUTPUT) return [access];
  const from = tied ? { saddr: address } : {};
  return [access, {
    kind: "OUTPUT",
    role: tied ? "outputFrom" : "output",
    key: { l4proto: protocol, ...from, daddr: source, sport: String(port) },
    what: text,
  }];
}

/** Only the first port is translated, as in fwknopd. */
function natParts(
  grant: NatGrant,
  source: IpAddress,
  config: ElementConfig,
): ElementParts[] | string {
  const { nat, destination } = grant;
  const [first] = grant.ports;
  if (first === undefined) return "no port was asked for";
  const { ENABLE_IPT_FORWARDING: forwards, ENABLE_IPT_LOCAL_NAT: local } = config;
  if (!forwards && !nat.local) return "ENABLE_IPT_FORWARDING is not set";
  if (!forwards && !local) return "neither ENABLE_IPT_FORWARDING nor ENABLE_IPT_LOCAL_NAT is set";
  const what = nat.all ? ALL_PORTS : formatPorts(grant.ports);
  const saddr = grant.source;
  const asked = { l4proto: first.protocol, dport: String(first.port) };
  const translated: ElementParts = {
    kind: nat.all ? "DNAT ALL" : "DNAT",
    role: nat.all ? "dnatAll" : "dnat",
    key: { saddr, daddr: destination, ...(nat.all ? {} : asked) },
    value: nat.all ? [nat.host] : [nat.host, String(nat.port)],
    what: `${destination} ${what}`,
  };
  const translation = nat.translatesDestination ? [translated] : [];
  if (nat.local) {
    const service = { protocol: first.protocol, port: nat.port };
    const reached = nat.translatesDestination ? nat.host : destination;
    const address = config.ENABLE_DESTINATION_RULE ? reached : null;
    const opened = servicePart(grant, service, config, { kind: "local NAT", what, address });
    return [...opened, ...translation];
  }
  const target = { daddr: nat.host, l4proto: first.protocol, dport: String(nat.port) };
  return [
    forwardPart(grant, target, what),
    ...translation,
    ...(config.ENABLE_IPT_SNAT ? [sourcePart(grant, source, target, what, config)] : []),
  ];
}

/** How the log names the ports of an element that has none. */
const ALL_PORTS = "*/*";

/** Forwarding for all leads anywhere only where no translation ties it to one host. */
function forwardPart(
  { source: saddr, nat }: NatGrant,
  target: Readonly<Record<"daddr" | "l4proto" | "dport", string>>,
  what: string,
): ElementParts {
  if (!nat.all) {
    const key = { saddr, ...target };
    return { kind: "FORWARD", role: "forward", key, what: `${nat.host} ${what}` };
  }
  const kind = "FORWARD ALL";
  return nat.translatesDestination
    ? { kind, role: "forwardHost", key: { saddr, daddr: nat.host }, what: `${nat.host} ${what}` }
    : { kind, role: "forwardAll", key: { saddr }, what: `any ${what}` };
}

function sourcePart(
  { source: saddr, nat }: NatGrant,
  { version }: IpAddress,
  target: Readonly<Record<"daddr" | "l4proto" | "dport", string>>,
  what: string,
  { SNAT_TRANSLATE_IP: usual }: ElementConfig,
): ElementParts {
  const fitting = snatAddress(usual, version);
  // FORCE_MASQUERADE gives way to SNAT_TRANSLATE_IP when all is forwarded, as in fwknopd.
  const address = nat.forcedSource ?? (nat.masquerade && !nat.all ? null : fitting);
  const role = address === null ? "masquerade" : "snat";
  return {
    kind: nat.all ? "SNAT ALL" : "SNAT",
    role: nat.all ? `${role}All` : role,
    key: { saddr, ...(nat.all ? {} : target) },
    ...(address === null ? {} : { value: [address] }),
    what: `${nat.all ? "any" : nat.host} ${what}`,
  };
}

/** The rule for an element, or why there can be none. */
function ruleOf(
  grant: FirewallGrant,
  { version, text: source }: IpAddress,
  { kind, role, key, value = [], what }: ElementParts,
  sets: readonly PlacedSet[],
): FirewallRule | string {
  const [leadsTo, ...port] = value;
  const addresses = [key.saddr, key.daddr, leadsTo].filter((text) => text !== undefined);
  for (const text of addresses) {
    const address = parseIp(text);
    if (address === null) return `cannot open for "${text}": not an address`;
    if (address.version !== version) {
      return `cannot open: packets to ${address.text} cannot come from ${source}`;
    }
  }
  const ofRole = sets.filter((set) => set.role === role);
  const set = ofRole.find((one) => one.version === version);
  if (set === undefined) {
    const table = ofRole[0]?.table;
    if (table === undefined) return `cannot open for ${source}: ${kind} is not set up`;
    const reason = `table ${table.family} ${table.table} has no IPv${version} packets`;
    return `cannot open for ${source}: ${reason}`;
  }
  const spelled = (text: string): string => parseIp(text)?.text ?? text;
  const parts = set.key.map((field) => spelled(key[field] ?? ""));
  const text = elementText(parts, leadsTo === undefined ? [] : [spelled(leadsTo), ...port]);
  return {
    kind,
    table: `${set.table.family} ${set.table.table}`,
    chain: set.name,
    text,
    ...elementPurpose(text),
    expires: grant.expires,
    summary: `${source} -> ${what.replace(/^any /, version === 4 ? "0.0.0.0/0 " : "::/0 ")}`,
    life: { seconds: grant.seconds, stanza: grant.stanza },
  };
}
