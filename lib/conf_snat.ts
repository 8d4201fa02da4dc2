// SNAT_TRANSLATE_IP: the addresses that hosts behind the gateway see in place of the client's.

import type { FirewallType } from "./conf_firewall.ts";
import { parseIp } from "./net_address.ts";

/** Whether a configuration's firewall translates IPv6 addresses, too. */
export function translatesIpv6(
  config: { readonly FIREWALL_TYPE: FirewallType; readonly ENABLE_IP6TABLES: boolean },
): boolean {
  return config.FIREWALL_TYPE === "nftables" || config.ENABLE_IP6TABLES;
}

/** Whether a text is an address, or one of each IP version with a comma between them. */
export function isSnatAddress(text: string, ipv6: boolean): boolean {
  const versions = versionsIn(text);
  return versions.length > 0 && new Set(versions).size === versions.length &&
    versions.every((version) => version === 4 || (ipv6 && version === 6));
}

/** The address for an IP version; null where there is none: sources are masqueraded then. */
export function snatAddress(text: string | null, version: 4 | 6): string | null {
  const parts = text === null ? [] : partsOf(text);
  return parts.find((part) => parseIp(part)?.version === version) ?? null;
}

function versionsIn(text: string): (4 | 6 | null)[] {
  return partsOf(text).map((part) => parseIp(part)?.version ?? null);
}

function partsOf(text: string): string[] {
  return text.split(",").map((part) => part.trim());
}
