// FIREWALL_TYPE: its values, and the program that each of them calls where FIREWALL_EXE is not set.

import { failed, type Parsed } from "./net_list.ts";

/** What opens ports. `command` is no firewall: stanzas bring commands of their own. */
export type FirewallType =
  | "auto"
  | "iptables"
  | "nftables"
  | "firewalld"
  | "ipfw"
  | "pf"
  | "command";

const TYPES: readonly FirewallType[] = [
  "auto",
  "iptables",
  "nftables",
  "firewalld",
  "ipfw",
  "pf",
  "command",
];

/** Firewalls whose program FIREWALL_EXE names, and where it is by default. */
export const FIREWALL_PROGRAMS = {
  iptables: "/usr/sbin/iptables",
  firewalld: "/usr/bin/firewall-cmd",
  ipfw: "/sbin/ipfw",
  pf: "/sbin/pfctl",
} as const;

/** Reads FIREWALL_TYPE, in any case. */
export function parseFirewallType(text: string): Parsed<FirewallType> {
  const found = TYPES.find((type) => type === text.toLowerCase());
  if (found !== undefined) return { ok: true, value: found };
  const names = `${TYPES.slice(0, -1).join(", ")} or ${TYPES.at(-1)}`;
  return failed(0, text, `Invalid FIREWALL_TYPE setting '${text}'`, `write ${names}`);
}

/** The firewall whose program a path leads to, by the program's name. */
export function firewallOfProgram(path: string): keyof typeof FIREWALL_PROGRAMS {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name === "firewall-cmd") return "firewalld";
  if (name === "pfctl") return "pf";
  return name === "ipfw" ? "ipfw" : "iptables";
}
