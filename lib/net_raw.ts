// IPv4 packets as the raw transports of SPA send them: one UDP datagram, TCP SYN segment or ICMP
// message with its IP header (RFC 791, 768, 9293, 792). Bytes only; sending is elsewhere.

/** Addresses and the number that every packet needs. */
export interface RawAddressing {
  /** 4 bytes. */
  readonly source: Uint8Array;
  /** 4 bytes. */
  readonly destination: Uint8Array;
  /** IP identification, 0 to 65535. */
  readonly identification: number;
}

/** Ports of a UDP or TCP packet. */
export interface RawPorts {
  readonly source: number;
  readonly destination: number;
}

/** Header fields of an ICMP packet. */
export interface RawIcmp {
  readonly type: number;
  readonly code: number;
  /** Identifier of an echo request, 0 to 65535. */
  readonly identifier: number;
}

const IP_HEADER = 20;
const TIME_TO_LIVE = 255;
const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;

/** A UDP datagram in an IP packet. */
export function udpPacket(
  addressing: RawAddressing,
  ports: RawPorts,
  payload: Uint8Array,
): Uint8Array {
  const header = new DataView(new ArrayBuffer(8));
  header.setUint16(0, ports.source);
  header.setUint16(2, ports.destination);
  header.setUint16(4, 8 + payload.length);
  const segment = concatenate(header, payload);
  const sum = pseudoChecksum(addressing, PROTOCOL.udp, segment);
  // A sum of zero is sent as ones: zero stands for "not computed".
  new DataView(segment.buffer).setUint16(6, sum === 0 ? 0xffff : sum);
  return ipPacket(addressing, PROTOCOL.udp, segment);
}

const SYN = 0x02;
const WINDOW = 32767;
const SEQUENCE = 1;

/** A TCP segment that opens a connection and carries data already, in an IP packet. */
export function tcpPacket(
  addressing: RawAddressing,
  ports: RawPorts,
  payload: Uint8Array,
): Uint8Array {
  const header = new DataView(new ArrayBuffer(20));
  header.setUint16(0, ports.source);
  header.setUint16(2, ports.destination);
  header.setUint32(4, SEQUENCE);
  header.setUint8(12, 5 << 4);
  header.setUint8(13, SYN);
  header.setUint16(14, WINDOW);
  const segment = concatenate(header, payload);
  const sum = pseudoChecksum(addressing, PROTOCOL.tcp, segment);
  new DataView(segment.buffer).setUint16(16, sum);
  return ipPacket(addressing, PROTOCOL.tcp, segment);
}

const ECHO_REQUEST = 8;

/** An ICMP message in an IP packet; an echo request gets an identifier and sequence number 1. */
export function icmpPacket(
  addressing: RawAddressing,
  { type, code, identifier }: RawIcmp,
  payload: Uint8Array,
): Uint8Array {
  const header = new DataView(new ArrayBuffer(8));
  header.setUint8(0, type);
  header.setUint8(1, code);
  if (type === ECHO_REQUEST && code === 0) {
    header.setUint16(4, identifier);
    header.setUint16(6, 1);
  }
  const message = concatenate(header, payload);
  new DataView(message.buffer).setUint16(2, checksum(message));
  return ipPacket(addressing, PROTOCOL.icmp, message);
}

function ipPacket(
  { source, destination, identification }: RawAddressing,
  protocol: number,
  content: Uint8Array,
): Uint8Array {
  const header = new DataView(new ArrayBuffer(IP_HEADER));
  header.setUint8(0, 0x45);
  header.setUint16(2, IP_HEADER + content.length);
  header.setUint16(4, identification);
  header.setUint8(8, TIME_TO_LIVE);
  header.setUint8(9, protocol);
  const packet = concatenate(header, content);
  packet.set(source, 12);
  packet.set(destination, 16);
  const sum = checksum(packet.subarray(0, IP_HEADER));
  new DataView(packet.buffer).setUint16(10, sum);
  return packet;
}

function concatenate(header: DataView, rest: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(header.byteLength + rest.length);
  bytes.set(new Uint8Array(header.buffer));
  bytes.set(rest, header.byteLength);
  return bytes;
}

/** The checksum over a segment and its pseudo header (RFC 9293 section 3.1). */
function pseudoChecksum(
  { source, destination }: RawAddressing,
  protocol: number,
  segment: Uint8Array,
): number {
  const pseudo = new DataView(new ArrayBuffer(12));
  pseudo.setUint8(9, protocol);
  pseudo.setUint16(10, segment.length);
  const bytes = concatenate(pseudo, segment);
  bytes.set(source, 0);
  bytes.set(destination, 4);
  return checksum(bytes);
}

/** The Internet checksum (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) {
    sum += (bytes[index] ?? 0) << 8 | (bytes[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
