// Whether a grant is one that its stanza could have given, whoever made it: the monitor asks this of
// each grant, since the sentry that sends it has read what strangers wrote.

import { commandGrantAllowed, cycleGrantAllowed } from "./auth_command.ts";
import type { FirewallGrant, Grant } from "./auth_grant.ts";
import { natGrantAllowed, type NatSettings } from "./auth_nat.ts";
import { portsAllowed } from "./auth_policy.ts";
import type { Stanza } from "./conf_access.ts";
import { addressListHas, parseIp } from "./net_address.ts";
import { PROTOCOL_NUMBERS, type ProtocolPort } from "./net_port.ts";

/** What grants are checked against. */
export interface Rules {
  readonly stanzas: readonly Stanza[];
  readonly nat: NatSettings;
  /** Seconds that a packet's time stamp may be off; null for any. */
  readonly maxPacketAge: number | null;
}

/**
 * Checks everything about a grant that can be known without its packet.
 *
 * @param packetSource the address its packet is said to have come from
 * @param now wall clock in seconds since 1970 UTC
 */
export function grantAllowed(
  stanza: Stanza,
  grant: Grant,
  packetSource: string,
  { nat, maxPacketAge }: Omit<Rules, "stanzas">,
  now: number,
): boolean {
  const source = parseIp(packetSource);
  if (source === null || !addressListHas(stanza.SOURCE, source)) return false;
  if (stanza.ACCESS_EXPIRE !== null && now > stanza.ACCESS_EXPIRE) return false;
  if (grant.kind === "command") return commandGrantAllowed(stanza, grant);
  if (!sentTo(stanza, grant.destination)) return false;
  if (grant.kind === "cycle") {
    // The end counts from the packet's time stamp, which may be off.
    const latest = maxPacketAge === null ? Infinity : now + grant.seconds + maxPacketAge + 1;
    return grant.expires <= latest && grant.packetSource === packetSource &&
      cycleGrantAllowed(stanza, grant);
  }
  return firewallGrantAllowed(stanza, grant) &&
    (grant.kind !== "nat" || natGrantAllowed(stanza, grant, nat));
}

function firewallGrantAllowed(stanza: Stanza, grant: FirewallGrant): boolean {
  const { source, ports, seconds } = grant;
  const longest = Math.max(stanza.FW_ACCESS_TIMEOUT, stanza.MAX_FW_TIMEOUT);
  return stanza.CMD_CYCLE_OPEN === null && parseIp(source)?.text === source &&
    ports.length > 0 && ports.every(isPort) && portsAllowed(stanza, ports) &&
    Number.isSafeInteger(seconds) && seconds > 0 && seconds <= longest;
}

function sentTo(stanza: Stanza, destination: string): boolean {
  const address = parseIp(destination);
  return address !== null && address.text === destination &&
    (stanza.DESTINATION === null || addressListHas(stanza.DESTINATION, address));
}

function isPort({ protocol, port }: ProtocolPort): boolean {
  return Object.hasOwn(PROTOCOL_NUMBERS, protocol) && Number.isInteger(port) && port >= 0 &&
    port <= 0xffff;
}
