// From a captured frame to the IP packet in it, by link type. Nothing here looks into the packet.

import { readUint16 } from "./net_bytes.ts";

/** Link types, as pcap-linktype(7) numbers them. */
export const LINK_TYPES = {
  null: 0,
  ethernet: 1,
  ppp: 9,
  rawOld: 12,
  pppSerial: 50,
  pppoe: 51,
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
/** Below it, an Ethernet type field is the length of an IEEE 802.3 frame. */
const ETHERTYPE_LEAST = 0x0600;
/** LLC addresses and control field of a SNAP header with the organization code of Ethernet (RFC 1042). */
const SNAP_HEADER = [0xaa, 0xaa, 0x03, 0, 0, 0];
const ETHERTYPES_VLAN: ReadonlySet<number> = new Set([0x8100, 0x88a8, 0x9100]);
const PPPOE_HEADER_BYTES = 6;
const PPP_IPV4 = 0x0021;
const PPP_IPV6 = 0x0057;
/** Address and control field of PPP in frames like HDLC's (RFC 1662, section 3.1). */
const PPP_ADDRESS_AND_CONTROL = 0xff03;

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
      return behindCooked2(frame);
    case LINK_TYPES.ppp:
    case LINK_TYPES.pppSerial:
      return behindPpp(frame, 0);
    case LINK_TYPES.pppoe:
      return behindPppoe(frame, 0);
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

/** Follows 802.1Q tags, PPPoE and SNAP from the type field at `offset`. */
function behindEtherType(frame: Uint8Array, offset: number): Uint8Array | null {
  let at = offset;
  while (at + 2 <= frame.length) {
    const type = readUint16(frame, at);
    if (isIpType(type)) return frame.subarray(at + 2);
    if (type === ETHERTYPE_PPPOE_SESSION) return behindPppoe(frame, at + 2);
    if (type < ETHERTYPE_LEAST) {
      if (!SNAP_HEADER.every((byte, index) => frame[at + 2 + index] === byte)) return null;
      at += 2 + SNAP_HEADER.length;
    } else if (ETHERTYPES_VLAN.has(type)) at += 4;
    else return null;
  }
  return null;
}

/** The type field comes first here; a tag that the kernel kept stands behind the header. */
function behindCooked2(frame: Uint8Array): Uint8Array | null {
  const headerBytes = 20;
  if (frame.length < headerBytes) return null;
  const type = readUint16(frame, 0);
  if (isIpType(type)) return frame.subarray(headerBytes);
  if (type === ETHERTYPE_PPPOE_SESSION) return behindPppoe(frame, headerBytes);
  return ETHERTYPES_VLAN.has(type) ? behindEtherType(frame, headerBytes + 2) : null;
}

function behindPppoe(frame: Uint8Array, offset: number): Uint8Array | null {
  return behindPpp(frame, offset + PPPOE_HEADER_BYTES);
}

/** The protocol field may have lost its first byte, which is zero (RFC 1661, section 6.5). */
function behindPpp(frame: Uint8Array, offset: number): Uint8Array | null {
  if (offset + 2 > frame.length) return null;
  const first = readUint16(frame, offset);
  const at = first === PPP_ADDRESS_AND_CONTROL ? offset + 2 : offset;
  const compressed = frame[at];
  if (compressed === PPP_IPV4 || compressed === PPP_IPV6) return frame.subarray(at + 1);
  if (at + 2 > frame.length) return null;
  const protocol = readUint16(frame, at);
  return protocol === PPP_IPV4 || protocol === PPP_IPV6 ? frame.subarray(at + 2) : null;
}

function isIpType(type: number): boolean {
  return type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
}
