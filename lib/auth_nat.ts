// NAT requests: whether a stanza and the configuration allow them, and where they lead.

import type { RefusalReason } from "./auth_event.ts";
import type { NatGrant, NatTerms } from "./auth_grant.ts";
import { portsAllowed } from "./auth_policy.ts";
import type { Stanza } from "./conf_access.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { parseIp } from "./net_address.ts";
import type { ProtocolPort } from "./net_port.ts";
import { hasNatAccess, parseNatAccess } from "./spa_message.ts";
import type { DecodedPacket } from "./spa_packet.ts";

/** What fwknopd.conf says about NAT requests, by its variables' names. */
export type NatSettings = Pick<
  ServerConfig,
  "ENABLE_IPT_FORWARDING" | "ENABLE_IPT_LOCAL_NAT" | "ENABLE_NAT_DNS" | "ENABLE_NAT_PORT_CHECK"
>;

/** What a NAT request may not have, with the log's line in fwknopd's wording. */
export interface NatRefusal {
  readonly reason: RefusalReason;
  readonly text: string;
}

const NO_PORT = 0;

/** Whether a packet is to be answered by NAT: it asks for it, or its stanza forces it. */
export function leadsThroughNat(
  stanza: Pick<Stanza, "FORCE_NAT">,
  packet: Pick<DecodedPacket, "messageType">,
): boolean {
  return hasNatAccess(packet.messageType) || stanza.FORCE_NAT !== null;
}

/**
 * Whether the configuration has what the packet asks for: forwarding or local NAT. A stanza that
 * only translates sources (FORWARD_ALL without FORCE_NAT) has no port that local NAT could open.
 */
export function natEnabled(
  stanza: Pick<Stanza, "FORCE_NAT">,
  packet: Pick<DecodedPacket, "messageType">,
  settings: NatSettings,
): boolean {
  if (!hasNatAccess(packet.messageType)) return true;
  return isLocal(packet)
    ? settings.ENABLE_IPT_LOCAL_NAT && stanza.FORCE_NAT?.port !== NO_PORT
    : settings.ENABLE_IPT_FORWARDING;
}

/**
 * Where the packet's NAT leads: to the stanza's FORCE_NAT, else to what the packet names, which is
 * an address or, with ENABLE_NAT_DNS, a host name.
 */
export function natTermsOf(
  stanza: Stanza,
  packet: Pick<DecodedPacket, "messageType" | "natAccess">,
  settings: NatSettings,
): NatTerms | NatRefusal {
  const local = isLocal(packet);
  if (stanza.FORCE_NAT !== null) return termsFor(stanza, local, "", NO_PORT);
  const target = parseNatAccess(packet.natAccess ?? "", { ipv6: true });
  if (target === null) {
    return { reason: "nat-target-refused", text: "Invalid Hostname in NAT SPA message" };
  }
  if (parseIp(target.host) === null && !settings.ENABLE_NAT_DNS) {
    const text = "Received Hostname in NAT SPA message, but hostname is disabled.";
    return { reason: "nat-target-refused", text };
  }
  return termsFor(stanza, local, target.host, target.port);
}

/**
 * Whether the stanza's port lists cover the port that NAT leads to. A target that the stanza
 * itself names is allowed; with ENABLE_NAT_PORT_CHECK N all are, as in fwknopd.
 *
 * @param ports what was asked for; the first gives the protocol
 */
export function natPortAllowed(
  stanza: Stanza,
  ports: readonly ProtocolPort[],
  { port }: Pick<NatTerms, "port">,
  settings: NatSettings,
): boolean {
  if (stanza.FORCE_NAT !== null || !settings.ENABLE_NAT_PORT_CHECK) return true;
  return portsAllowed(stanza, ports.slice(0, 1).map(({ protocol }) => ({ protocol, port })));
}

/** Whether a NAT grant says what its stanza and the configuration say, whoever made it. */
export function natGrantAllowed(stanza: Stanza, grant: NatGrant, settings: NatSettings): boolean {
  const { nat, ports } = grant;
  const expected = termsFor(stanza, nat.local, nat.host, nat.port);
  const messageType = nat.local ? LOCAL_NAT_MESSAGE : NAT_MESSAGE;
  const asked = stanza.FORCE_NAT === null || nat.local;
  return (Object.keys(expected) as (keyof NatTerms)[]).every((key) => nat[key] === expected[key]) &&
    (!asked || natEnabled(stanza, { messageType }, settings)) &&
    (parseIp(nat.host) !== null || settings.ENABLE_NAT_DNS) &&
    natPortAllowed(stanza, ports, nat, settings);
}

const NAT_MESSAGE = 2;
const LOCAL_NAT_MESSAGE = 5;

function isLocal({ messageType }: Pick<DecodedPacket, "messageType">): boolean {
  return messageType === LOCAL_NAT_MESSAGE || messageType === 6;
}

/** The stanza's terms; its FORCE_NAT goes before any other target. */
function termsFor(stanza: Stanza, local: boolean, host: string, port: number): NatTerms {
  const { FORCE_NAT: forced, FORCE_SNAT: source } = stanza;
  return {
    local,
    host: forced?.address.text ?? host,
    port: forced?.port ?? port,
    all: stanza.FORWARD_ALL,
    translatesDestination: !stanza.DISABLE_DNAT,
    forcedSource: source?.text ?? null,
    masquerade: stanza.FORCE_MASQUERADE,
  };
}
