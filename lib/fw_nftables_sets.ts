// The sets and maps that hold grants: their names and types, and the rules that look packets up
// in them. What is put into them is next door, in fw_nftables_elements.ts.

import { type FilterHook, type NftTable, versionsOf } from "./fw_nftables_ruleset.ts";
import type { IpVersion } from "./net_address.ts";
import type { ProtocolPort } from "./net_port.ts";

/** The hooks where addresses are translated. */
export type NatHook = "prerouting" | "postrouting";

/** A part of a packet that sets are looked up by. */
export type KeyField = "saddr" | "daddr" | "l4proto" | "sport" | "dport";

/** What a kind of set is looked up by, where, and what becomes of packets that are in it. */
interface SetShape {
  /** Its name, with the IP version in place of `#`. */
  readonly name: string;
  readonly key: readonly KeyField[];
}
type FilterShape = SetShape & {
  readonly hook: FilterHook;
  readonly action: "accept";
  /** Looked up by where a translated connection was going at first, not by where it goes now. */
  readonly translated?: true;
};
type NatShape =
  & SetShape
  & ({ readonly hook: "prerouting"; readonly action: "dnat" } | {
    readonly hook: "postrouting";
    readonly action: "snat" | "masquerade";
  });

const SHAPES = {
  access: {
    name: "spa_access#",
    hook: "input",
    key: ["saddr", "l4proto", "dport"],
    action: "accept",
  },
  accessTo: {
    name: "spa_access#_to",
    hook: "input",
    key: ["saddr", "daddr", "l4proto", "dport"],
    action: "accept",
  },
  output: {
    name: "spa_output#",
    hook: "output",
    key: ["daddr", "l4proto", "sport"],
    action: "accept",
  },
  outputFrom: {
    name: "spa_output#_from",
    hook: "output",
    key: ["saddr", "daddr", "l4proto", "sport"],
    action: "accept",
  },
  forward: {
    name: "spa_forward#",
    hook: "forward",
    key: ["saddr", "daddr", "l4proto", "dport"],
    action: "accept",
  },
  forwardHost: {
    name: "spa_forward#_host",
    hook: "forward",
    key: ["saddr", "daddr"],
    action: "accept",
  },
  forwardAll: { name: "spa_forward#_all", hook: "forward", key: ["saddr"], action: "accept" },
  docker: {
    name: "spa_docker#",
    hook: "forward",
    key: ["saddr", "l4proto", "dport"],
    action: "accept",
    translated: true,
  },
  dockerTo: {
    name: "spa_docker#_to",
    hook: "forward",
    key: ["saddr", "daddr", "l4proto", "dport"],
    action: "accept",
    translated: true,
  },
  dnat: {
    name: "spa_dnat#",
    hook: "prerouting",
    key: ["saddr", "daddr", "l4proto", "dport"],
    action: "dnat",
  },
  dnatAll: { name: "spa_dnat#_all", hook: "prerouting", key: ["saddr", "daddr"], action: "dnat" },
  snat: {
    name: "spa_snat#",
    hook: "postrouting",
    key: ["saddr", "daddr", "l4proto", "dport"],
    action: "snat",
  },
  snatAll: { name: "spa_snat#_all", hook: "postrouting", key: ["saddr"], action: "snat" },
  masquerade: {
    name: "spa_masquerade#",
    hook: "postrouting",
    key: ["saddr", "daddr", "l4proto", "dport"],
    action: "masquerade",
  },
  masqueradeAll: {
    name: "spa_masquerade#_all",
    hook: "postrouting",
    key: ["saddr"],
    action: "masquerade",
  },
} as const satisfies Readonly<Record<string, FilterShape | NatShape>>;

/** What a set is for. */
export type SetRole = keyof typeof SHAPES;

/** One of our sets or maps. */
export type GrantSet = (FilterShape | NatShape) & {
  readonly role: SetRole;
  readonly version: IpVersion;
};

/** One of our sets, in the table that holds it. */
export type PlacedSet = GrantSet & { readonly table: NftTable };

/** All sets that any configuration uses. */
export const GRANT_SETS: readonly GrantSet[] = (Object.keys(SHAPES) as SetRole[]).flatMap((role) =>
  ([4, 6] as const).map((version) => {
    const shape = SHAPES[role];
    return { ...shape, name: shape.name.replace("#", String(version)), role, version };
  })
);

/** What sets depend on in fwknopd.conf, by its variables' names. */
export interface SetConfig {
  readonly ENABLE_DESTINATION_RULE: boolean;
  readonly ENABLE_IPT_FORWARDING: boolean;
  readonly ENABLE_IPT_LOCAL_NAT: boolean;
  readonly ENABLE_IPT_SNAT: boolean;
  readonly ENABLE_IPT_OUTPUT: boolean;
  /** Whether access also holds for ports of containers, which are forwarded. */
  readonly ENABLE_DOCKER: boolean;
}

/** The hooks in which a configuration lets packets pass. */
export function hooksFor(config: SetConfig): FilterHook[] {
  return [
    "input",
    ...(config.ENABLE_IPT_OUTPUT ? ["output" as const] : []),
    ...(config.ENABLE_IPT_FORWARDING || config.ENABLE_DOCKER ? ["forward" as const] : []),
  ];
}

/**
 * The sets that a configuration uses.
 *
 * @param tableFor the table of a hook's chain for an IP version; IPv4 sets are left out of a table
 *   for IPv6, and the other way round
 */
export function setsFor(
  config: SetConfig,
  tableFor: (hook: FilterHook | NatHook, version: IpVersion) => NftTable,
): PlacedSet[] {
  const { ENABLE_DESTINATION_RULE: destination, ENABLE_IPT_FORWARDING: forwards } = config;
  const translates = forwards || config.ENABLE_IPT_LOCAL_NAT;
  const roles: SetRole[] = [
    destination ? "accessTo" : "access",
    ...(config.ENABLE_IPT_OUTPUT ? [destination ? "outputFrom" as const : "output" as const] : []),
    ...(forwards ? ["forward", "forwardHost", "forwardAll"] as const : []),
    ...(config.ENABLE_DOCKER ? [destination ? "dockerTo" as const : "docker" as const] : []),
    ...(translates ? ["dnat", "dnatAll"] as const : []),
    ...(forwards && config.ENABLE_IPT_SNAT
      ? ["snat", "snatAll", "masquerade", "masqueradeAll"] as const
      : []),
  ];
  return GRANT_SETS.filter(({ role }) => roles.includes(role)).flatMap((set) => {
    const table = tableFor(set.hook, set.version);
    return versionsOf(table).includes(set.version) ? [{ ...set, table }] : [];
  });
}

/** Whether elements lead to somewhere: nft(8) then calls the set a map. */
export function isMap({ action }: Pick<GrantSet, "action">): boolean {
  return action === "dnat" || action === "snat";
}

/** The declaration of a set for nft(8), behind its name. */
export function setDeclaration(set: GrantSet): string {
  const address = set.version === 4 ? "ipv4_addr" : "ipv6_addr";
  const types = { saddr: address, daddr: address, l4proto: "inet_proto", sport: PORT, dport: PORT };
  const key = set.key.map((field) => types[field]).join(" . ");
  const value = set.action === "dnat" && set.key.includes("dport")
    ? ` : ${address} . ${PORT}`
    : isMap(set)
    ? ` : ${address}`
    : "";
  return `{ type ${key}${value}; flags timeout; }`;
}

const PORT = "inet_service";

/**
 * The rules that look packets up in a set.
 *
 * @param verdict what becomes of those that a chain of {@linkcode FilterHook} finds
 */
export function lookUps(set: GrantSet, verdict = "accept"): string[] {
  if (!("translated" in set)) return [lookUp(set, verdict)];
  // nft takes a connection's port for a part of a key only where it knows the protocol.
  return ["tcp", "udp"].map((protocol) =>
    `${TRANSLATED} ct direction original meta l4proto ${protocol} ${lookUp(set, verdict)}`
  );
}

/** Matches packets of connections whose destination was translated on this host. */
const TRANSLATED = "ct status dnat";

/** The rule that drops packets of connections which were going to a port, and were translated. */
export function hideTranslated({ protocol, port }: ProtocolPort): string {
  // nft 1.0.6 could not read back what it lists of a set of such ports.
  return `${TRANSLATED} meta l4proto ${protocol} ct original proto-dst ${port} drop`;
}

function lookUp(set: GrantSet, verdict: string): string {
  const ip = set.version === 4 ? "ip" : "ip6";
  const translated = "translated" in set;
  const fields = {
    saddr: `${ip} saddr`,
    daddr: translated ? `ct original ${ip} daddr` : `${ip} daddr`,
    l4proto: "meta l4proto",
    sport: "th sport",
    dport: translated ? "ct original proto-dst" : "th dport",
  };
  const key = set.key.map((field) => fields[field]).join(" . ");
  switch (set.action) {
    case "accept":
      return `${key} @${set.name} ${verdict}`;
    case "masquerade":
      return `${key} @${set.name} masquerade`;
    case "dnat": {
      // The kernel translates ports of protocols that are known to have them.
      const withPorts = set.key.includes("dport") ? "meta l4proto { tcp, udp } " : "";
      return `${withPorts}dnat ${ip} to ${key} map @${set.name}`;
    }
    case "snat":
      return `snat ${ip} to ${key} map @${set.name}`;
  }
}
