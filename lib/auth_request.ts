// What a packet asks for, against what its stanza allows: a grant or a refusal.

import { judgeCommands, leadsToCommands } from "./auth_command.ts";
import type { LogLevel, RefusalReason } from "./auth_event.ts";
import type { Grant, GrantTerms } from "./auth_grant.ts";
import type { Knock } from "./auth_knock.ts";
import type { FailureRates } from "./auth_limit.ts";
import {
  leadsThroughNat,
  natEnabled,
  natPortAllowed,
  type NatSettings,
  natTermsOf,
} from "./auth_nat.ts";
import { grantSeconds, portsAllowed } from "./auth_policy.ts";
import type { Stanza } from "./conf_access.ts";
import { type IpAddress, parseIp } from "./net_address.ts";
import type { HttpSettings } from "./net_http.ts";
import { formatPorts } from "./net_port.ts";
import { parseAccessMessage } from "./spa_message.ts";
import type { DecodedPacket } from "./spa_packet.ts";

/** What the configuration says about packets, besides the stanzas. */
export interface PolicySettings {
  /** Seconds that a packet's time stamp may be off, either way; null accepts any. */
  readonly maxPacketAge: number | null;
  /** Log what would be granted; grant and remember nothing. */
  readonly testMode: boolean;
  /** Add debug events: the packet and its fields. */
  readonly verbose: boolean;
  /** What fwknopd.conf says about NAT. */
  readonly nat: NatSettings;
  /** Which HTTP requests may carry a packet; null for none. */
  readonly http: HttpSettings | null;
  /** How many packets without HMAC may fail. */
  readonly failureRates: FailureRates;
}

/** Adds a line to the log's events. */
export type Say = (level: LogLevel, text: string) => void;

const UNSPECIFIED_ADDRESSES: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/**
 * Judges the request of a packet that the stanza's keys opened.
 *
 * @param now wall clock in seconds since 1970 UTC
 */
export function judgeRequest(
  stanza: Stanza,
  knock: Knock,
  packet: DecodedPacket,
  policy: PolicySettings,
  now: number,
  say: Say,
): Grant | RefusalReason {
  const source = knock.source.text;
  const tag = `(stanza #${stanza.number})`;
  const prefix = `[${source}] ${tag}`;
  const difference = Math.abs(Math.floor(now) - packet.timestamp);
  if (policy.maxPacketAge !== null && difference > policy.maxPacketAge) {
    say("warning", `${prefix} SPA data time difference is too great (${difference} seconds).`);
    return "too-old-or-new";
  }
  const named = addressInMessage(packet);
  if (named === null) {
    say("warning", `${prefix} Invalid source IP in SPA message, ignoring SPA packet`);
    return "invalid-allow-address";
  }
  const useSource = UNSPECIFIED_ADDRESSES.has(named.text);
  if (useSource && stanza.REQUIRE_SOURCE_ADDRESS) {
    say("warning", `${prefix} Got 0.0.0.0 when valid source IP was required.`);
    return "source-address-required";
  }
  if (stanza.REQUIRE_USERNAME !== null && stanza.REQUIRE_USERNAME !== packet.username) {
    say(
      "warning",
      `${prefix} Username in SPA data (${packet.username}) does not match required username: ${stanza.REQUIRE_USERNAME}`,
    );
    return "user-name-mismatch";
  }
  if (!natEnabled(stanza, packet, policy.nat)) {
    say(
      "warning",
      `${tag} SPA packet from ${source} requested NAT access, but is not enabled/supported`,
    );
    return "nat-not-enabled";
  }
  const badHeader = useSource ? knock.http?.badForwardedFor ?? null : null;
  if (badHeader !== null) {
    const why = `value '${badHeader}' is not an IP address`;
    say("warning", `${prefix} Error parsing X-Forwarded-For header: ${why}`);
  }
  const granted = (useSource ? knock.http?.forwardedFor ?? knock.source : named).text;
  const destination = knock.destination.text;
  if (leadsToCommands(stanza, packet)) {
    const origin = { source: granted, packetSource: source, destination };
    const verdict = judgeCommands(stanza, packet, origin, policy.testMode);
    if ("kind" in verdict) return verdict;
    say("warning", `${prefix} ${verdict.text}`);
    return verdict.reason;
  }
  const request = parseAccessMessage(packet.message, { ipv6: true });
  const nat = leadsThroughNat(stanza, packet) ? natTermsOf(stanza, packet, policy.nat) : null;
  const denied = request === null || !portsAllowed(stanza, request.ports) ||
    (nat !== null && "host" in nat && !natPortAllowed(stanza, request.ports, nat, policy.nat));
  if (denied) {
    say(
      "warning",
      `${prefix} One or more requested protocol/ports was denied per access.conf.`,
    );
    return "port-denied";
  }
  if (policy.testMode) {
    say("warning", `${prefix} --test mode enabled, skipping firewall manipulation.`);
    return "test-mode";
  }
  const seconds = grantSeconds(stanza, packet.clientTimeout);
  const terms: GrantTerms = {
    stanza: stanza.number,
    source: granted,
    destination,
    ports: request.ports,
    seconds,
    expires: Math.floor(now) + seconds,
  };
  if (nat === null) return { kind: "access", ...terms };
  if ("reason" in nat) {
    say("warning", nat.text);
    return nat.reason;
  }
  const [first, ...others] = request.ports;
  if (first !== undefined && others.length > 0 && !nat.all) {
    const ignored = formatPorts(others);
    say("warning", `${prefix} NAT leads to one port: ${formatPorts([first])}, not ${ignored}`);
  }
  return { kind: "nat", ...terms, nat };
}

function addressInMessage(packet: DecodedPacket): IpAddress | null {
  const comma = packet.message.indexOf(",");
  return comma < 0 ? null : parseIp(packet.message.slice(0, comma));
}
