// From an IP packet to the datagram it carries: who sent what to whom. Checksums are not relied on.

import { readUint16 } from "./net_bytes.ts";

/** One message as it came from the network. */
export interface Datagram {
  /** IANA number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6. */
  readonly protocol: number;
  /** 4 or 16 bytes, network order. */
  readonly source: Uint8Array;
  /** 4 or 16 bytes, network order. */
  readonly destination: Uint8Array;
  /** 0 where the protocol has no ports. */
  readonly sourcePort: number;
  /** 0 where the protocol has no ports. */
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

/** Why a packet carries no datagram for us. */
export type PacketProblem = "not-ip" | "truncated" | "fragment" | "other-protocol";

const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const IPV6_FRAGMENT = 44;
const AUTHENTICATION = 51;
/**
 * Hop-by-hop options, routing, destination options, mobility, host identity, Shim6: skipped by
 * their length in units of eight bytes (RFC 6564).
 */
const IPV6_EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, 135, 139, 140]);
const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
const TCP_HEADER_BYTES = 20;

/**
 * Reads one IPv4 (RFC 791) or IPv6 (RFC 8200) packet; never throws.
 * Bytes behind the packet's own length are left out; a packet cut short is refused.
 */
export function parsePacket(packet: Uint8Array): Datagram | PacketProblem {
  if (packet.length < 1) return "truncated";
  switch (packet[0]! >> 4) {
    case 4:
      return parseIpv4Packet(packet);
    case 6:
      return parseIpv6Packet(packet);
    default:
      return "not-ip";
  }
}

function parseIpv4Packet(packet: Uint8Array): Datagram | PacketProblem {
  if (packet.length < 20) return "truncated";
  const headerBytes = (packet[0]! & 0x0f) * 4;
  const totalBytes = readUint16(packet, 2);
  if (headerBytes < 20 || totalBytes < headerBytes || totalBytes > packet.length) {
    return "truncated";
  }
  const moreFragmentsOrOffset = readUint16(packet, 6) & 0x3fff;
  if (moreFragmentsOrOffset !== 0) return "fragment";
  return parseTransport(
    packet[9]!,
    packet.slice(12, 16),
    packet.slice(16, 20),
    packet.subarray(headerBytes, totalBytes),
  );
}

function parseIpv6Packet(packet: Uint8Array): Datagram | PacketProblem {
  if (packet.length < 40) return "truncated";
  const end = 40 + readUint16(packet, 4);
  if (end > packet.length) return "truncated";
  let next = packet[6]!;
  let at = 40;
  for (;;) {
    const isFragment = next === IPV6_FRAGMENT;
    if (!isFragment && next !== AUTHENTICATION && !IPV6_EXTENSIONS.has(next)) break;
    if (at + 8 > end) return "truncated";
    // A fragment header may stand before a whole packet (RFC 6946).
    if (isFragment && (readUint16(packet, at + 2) & 0xfff9) !== 0) return "fragment";
    const length = isFragment ? 8 : extensionBytes(next, packet[at + 1]!);
    next = packet[at]!;
    at += length;
  }
  if (at > end) return "truncated";
  return parseTransport(next, packet.slice(8, 24), packet.slice(24, 40), packet.subarray(at, end));
}

/** An authentication header alone counts in units of four bytes (RFC 4302, section 2.2). */
function extensionBytes(type: number, units: number): number {
  return type === AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8;
}

function parseTransport(
  protocol: number,
  source: Uint8Array,
  destination: Uint8Array,
  segment: Uint8Array,
): Datagram | PacketProblem {
  switch (protocol) {
    case UDP: {
      if (segment.length < UDP_HEADER_BYTES) return "truncated";
      const length = readUint16(segment, 4);
      if (length < UDP_HEADER_BYTES || length > segment.length) return "truncated";
      return withPorts(segment.subarray(UDP_HEADER_BYTES, length));
    }
    case TCP: {
      if (segment.length < TCP_HEADER_BYTES) return "truncated";
      const headerBytes = (segment[12]! >> 4) * 4;
      if (headerBytes < TCP_HEADER_BYTES || headerBytes > segment.length) return "truncated";
      return withPorts(segment.subarray(headerBytes));
    }
    case ICMP:
    case ICMPV6: {
      if (segment.length < ICMP_HEADER_BYTES) return "truncated";
      const payload = segment.subarray(ICMP_HEADER_BYTES);
      return { protocol, source, destination, sourcePort: 0, destinationPort: 0, payload };
    }
    default:
      return "other-protocol";
  }

  function withPorts(payload: Uint8Array): Datagram {
    return {
      protocol,
      source,
      destination,
      sourcePort: readUint16(segment, 0),
      destinationPort: readUint16(segment, 2),
      payload,
    };
  }
}
