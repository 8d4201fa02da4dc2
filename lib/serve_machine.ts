// What the files of a machine tell of its firewalls and of IPv6, without running any program.

import type { Host } from "./host.ts";

/** The files that tell which firewall there is. */
export type Files = Pick<Host, "stat" | "readTextFile">;

/** What is there while firewalld runs: its pid file, or the control group of its service. */
const FIREWALLD_SIGNS = [
  "/run/firewalld.pid",
  "/sys/fs/cgroup/system.slice/firewalld.service",
  "/sys/fs/cgroup/systemd/system.slice/firewalld.service",
];
const FIREWALLD_CONFIG = "/etc/firewalld/firewalld.conf";
/** Names of the tables that iptables-legacy has in force, one a line; empty without any. */
const LEGACY_TABLES = {
  ipv4: "/proc/net/ip_tables_names",
  ipv6: "/proc/net/ip6_tables_names",
} as const;
/** Whether the kernel does without IPv6: 1, or no such file. */
const IPV6_DISABLED = "/proc/sys/net/ipv6/conf/all/disable_ipv6";

/** Whether firewalld runs. */
export function firewalldRuns(host: Files): boolean {
  return FIREWALLD_SIGNS.some((path) => host.stat(path) !== null);
}

/** FirewallBackend of firewalld.conf(5). */
export function firewalldBackend(host: Files): "iptables" | "nftables" {
  const text = readIfThere(host, FIREWALLD_CONFIG);
  return /^\s*FirewallBackend\s*=\s*iptables\s*$/mi.test(text) ? "iptables" : "nftables";
}

/** The tables that iptables-legacy has in force. */
export function legacyTables(host: Files, family: "ipv4" | "ipv6"): string[] {
  return readIfThere(host, LEGACY_TABLES[family]).split("\n").filter((name) => name !== "");
}

/** Whether this host takes packets of IPv6. */
export function takesIpv6(host: Files): boolean {
  return readIfThere(host, IPV6_DISABLED).trim() === "0";
}

function readIfThere(host: Files, path: string): string {
  try {
    return host.readTextFile(path);
  } catch {
    return "";
  }
}
