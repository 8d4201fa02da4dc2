// Whether the kernel forwards what NAT leads on. That is looked at and told, and set only where the
// configuration asks for it.

import type { FirewallGrant } from "./auth_grant.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import type { Stanza } from "./conf_stanza.ts";
import { type Host, reasonOf } from "./host.ts";
import { parseIp } from "./net_address.ts";
import type { Firewall } from "./serve_firewall.ts";
import type { Log } from "./serve_log.ts";

const IP_FORWARD = "/proc/sys/net/ipv4/ip_forward";

/** Has the kernel forward IPv4, unless it does, and tells so. */
export function turnOnForwarding(
  host: Pick<Host, "readTextFile" | "writeTextFile">,
  log: Pick<Log, "info" | "warning">,
): void {
  if (forwardingProblem(host, true) === null) return;
  try {
    host.writeTextFile(IP_FORWARD, "1\n", { mode: 0o644, how: "truncate" });
    log.info("Set net.ipv4.ip_forward to 1 (ENABLE_PROC_IP_FORWARD)");
  } catch (error) {
    log.warning(`Could not set net.ipv4.ip_forward: ${reasonOf(error)}`);
  }
}

/**
 * A line for the log when NAT is configured but the kernel forwards nothing, else null; see
 * ip_forward in the kernel's ip-sysctl.rst.
 *
 * @param wanted whether the configuration needs forwarding
 */
export function forwardingProblem(
  host: Pick<Host, "readTextFile">,
  wanted: boolean,
): string | null {
  if (!wanted) return null;
  try {
    if (host.readTextFile(IP_FORWARD).trim() !== "0") return null;
  } catch {
    return null;
  }
  return "ENABLE_IPT_FORWARDING is set, but this host forwards nothing: " +
    "run sysctl -w net.ipv4.ip_forward=1";
}

/** What {@linkcode ipv6ForwardingProblem} reads. */
type SysctlFiles = Pick<Host, "readTextFile" | "listDirectory">;

/** A directory for each interface, and `all`. */
const IPV6_SYSCTLS = "/proc/sys/net/ipv6/conf";

/**
 * The same for IPv6. A host that forwards no longer configures itself by router advertisements,
 * unless accept_ra is 2; see forwarding there.
 *
 * @param wanted whether it is known beforehand that IPv6 is to be forwarded
 */
export function ipv6ForwardingProblem(host: SysctlFiles, wanted: boolean): string | null {
  return wanted && !forwardsIpv6(host)
    ? `FORCE_NAT names an IPv6 address, but ${IPV6_ADVICE}`
    : null;
}

/**
 * Turns forwarding on where a configuration asks for that, and warns of what the kernel does not
 * forward although the configuration leads packets on.
 */
export function lookAtForwarding(
  host: SysctlFiles & Pick<Host, "writeTextFile">,
  log: Pick<Log, "info" | "warning">,
  { config, stanzas }: {
    readonly config: Pick<ServerConfig, "ENABLE_IPT_FORWARDING" | "ENABLE_PROC_IP_FORWARD">;
    readonly stanzas: readonly Pick<Stanza, "FORCE_NAT">[];
  },
): void {
  const forwards = config.ENABLE_IPT_FORWARDING;
  if (forwards && config.ENABLE_PROC_IP_FORWARD) turnOnForwarding(host, log);
  const namesIpv6 = stanzas.some(({ FORCE_NAT }) => FORCE_NAT?.address.version === 6);
  const problems = [
    forwardingProblem(host, forwards),
    ipv6ForwardingProblem(host, forwards && namesIpv6),
  ];
  for (const problem of problems) if (problem !== null) log.warning(problem);
}

/**
 * A firewall that tells of each grant that opened, and yet leads nowhere since the kernel forwards
 * no IPv6. Who only forwards IPv4, though the firewall has both, is not bothered.
 */
export function withForwardingWarning(
  firewall: Firewall,
  host: SysctlFiles,
  log: Pick<Log, "warning">,
): Firewall {
  return {
    get grants(): number {
      return firewall.grants;
    },
    kind: firewall.kind,
    start: firewall.start,
    retire: firewall.retire,
    clear: firewall.clear,
    stop: firewall.stop,
    open: async (grant) => {
      const outcome = await firewall.open(grant);
      if (outcome.ok && isForwardedIpv6(grant) && !forwardsIpv6(host)) {
        log.warning(`Access for ${grant.source} leads nowhere: ${IPV6_ADVICE}`);
      }
      return outcome;
    },
  };
}

const IPV6_ADVICE = "this host forwards no IPv6: run sysctl -w net.ipv6.conf.all.forwarding=1 " +
  "(and accept_ra=2 before where router advertisements configure an interface)";

/** Nothing is translated from one version of IP to the other. */
function isForwardedIpv6(grant: FirewallGrant): boolean {
  return grant.kind === "nat" && !grant.nat.local && parseIp(grant.source)?.version === 6;
}

/** One interface that may forward by itself (Linux 6.17) is enough; so is what cannot be read. */
function forwardsIpv6(host: SysctlFiles): boolean {
  const isOn = (name: string): boolean | null => {
    try {
      return host.readTextFile(`${IPV6_SYSCTLS}/${name}`).trim() !== "0";
    } catch {
      return null;
    }
  };
  if (isOn("all/forwarding") !== false) return true;
  return host.listDirectory(IPV6_SYSCTLS).some((name) => isOn(`${name}/force_forwarding`));
}
