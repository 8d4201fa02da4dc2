// From a captured frame to the IP packet in it, by link type. Nothing here looks into the packet.

import { readUint16 } from "./net_bytes.ts";

/** Link types, as pcap-linktype(7) numbers them. */
export const LINK_TYPES = {
  null: 0,
  ethernet: 1,
  rawOld: 12,
  raw: 101,
  loop: 108,
  linuxCooked: 113,
  ipv4: 228,
  ipv6: 229,
  linuxCooked2: 276,
} as const;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_PPPOE_SESSION = 0x8864;
const ETHERTYPES_VLAN: ReadonlySet<number> = new Set([0x8100, 0x88a8, 0x9100]);
const PPPOE_HEADER_BYTES = 6;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;

/** True for link types that {@linkcode packetOfFrame} understands. */
export function isKnownLinkType(linkType: number): boolean {
  return (Object.values(LINK_TYPES) as number[]).includes(linkType);
}

/**
 * The IP packet inside a frame, as a view of the same bytes; null when the frame carries none or
 * is of an unknown link type. What follows the packet (Ethernet padding) may still be attached.
 *
 * @param linkType a value of {@linkcode LINK_TYPES}
 */
export function packetOfFrame(linkType: number, frame: Uint8Array): Uint8Array | null {
  switch (linkType) {
    case LINK_TYPES.ethernet:
      return behindEtherType(frame, 12);
    case LINK_TYPES.linuxCooked:
      return behindEtherType(frame, 14);
    case LINK_TYPES.linuxCooked2:
      return frame.length >= 20 && isIpType(readUint16(frame, 0)) ? frame.subarray(20) : null;
    case LINK_TYPES.raw:
    case LINK_TYPES.rawOld:
    case LINK_TYPES.ipv4:
    case LINK_TYPES.ipv6:
      return frame;
    case LINK_TYPES.null:
    case LINK_TYPES.loop:
      // The family number's value and byte order differ by system; the version nibble decides later.
      return frame.length >= 4 ? frame.subarray(4) : null;
    default:
      return null;
  }
}

/** Follows 802.1Q tags and PPPoE from the type field at `offset`. */
function behindEtherType(frame: Uint8Array, offset: number): Uint8Array | null {
  let at = offset;
  while (at + 2 <= frame.length) {
    const type = readUint16(frame, at);
    if (isIpType(type)) return frame.subarray(at + 2);
    if (type === ETHERTYPE_PPPOE_SESSION) return behindPppoe(frame, at + 2);
    if (!ETHERTYPES_VLAN.has(type)) return null;
    at += 4;
  }
  return null;
}

function behindPppoe(frame: Uint8Array, offset: number): Uint8Array | null {
  const at = offset + PPPOE_HEADER_BYTES;
  if (at + 2 > frame.length) return null;
  const protocol = readUint16(frame, at);
  return protocol === PPP_IPV4 || protocol === PPP_IPV6 ? frame.subarray(at + 2) : null;
}

function isIpType(type: number): boolean {
  return type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
}
