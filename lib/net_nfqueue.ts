// Netfilter's queue messages: from what nfnetlink(7) delivers to the packets that wait for a verdict.
// Formats are those of linux/netlink.h and linux/netfilter/nfnetlink_queue.h.

import { readUint16 } from "./net_bytes.ts";

/** A packet that the kernel holds until it is told what to do with it. */
export interface QueuedPacket {
  /** Names it in a verdict; one higher than the packet before it. */
  readonly id: number;
  /** Where on its way through the kernel it is; see {@linkcode LOCAL_INPUT}. */
  readonly hook: number;
  /** From the IP header on: there is no link layer in front of it. */
  readonly packet: Uint8Array;
}

/** What came from a queue. */
export interface QueueMessages {
  readonly packets: readonly QueuedPacket[];
  /** Why requests of ours were refused, such as verdicts: numbers of errno(3). */
  readonly errors: readonly number[];
}

/** What is to become of a packet. */
export type Verdict = "drop" | "accept";

/** The hook of packets to this host: NF_INET_LOCAL_IN of linux/netfilter.h. */
export const LOCAL_INPUT = 1;

/** Subsystem NFNL_SUBSYS_QUEUE, message NFQNL_MSG_PACKET. */
const PACKET_MESSAGE = 3 << 8;
/** struct nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32 */
const MESSAGE_HEADER_BYTES = 16;
const ERROR_MESSAGE = 2;
/** struct nfgenmsg: family u8, version u8, queue u16 */
const GENERIC_HEADER_BYTES = 4;
/** struct nfattr: length u16, type u16 */
const ATTRIBUTE_HEADER_BYTES = 4;
/** Without the flags of nested attributes and of byte order. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const PACKET_HEADER_ATTRIBUTE = 1;
/** struct nfqnl_msg_packet_hdr: id u32, protocol u16, hook u8; all of it in network order */
const PACKET_HEADER_BYTES = 7;
const PAYLOAD_ATTRIBUTE = 10;

/**
 * Reads what one call of recv(2) gave; never throws. Packets are views of the same bytes. Other
 * messages, and packets without an id or content, are left out.
 */
export function parseQueueMessages(bytes: Uint8Array): QueueMessages {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const packets: QueuedPacket[] = [];
  const errors: number[] = [];
  let at = 0;
  while (at + MESSAGE_HEADER_BYTES <= bytes.length) {
    const end = at + view.getUint32(at, true);
    if (end < at + MESSAGE_HEADER_BYTES || end > bytes.length) break;
    const type = view.getUint16(at + 4, true);
    const start = at + MESSAGE_HEADER_BYTES;
    if (type === PACKET_MESSAGE) {
      const attributes = bytes.subarray(Math.min(start + GENERIC_HEADER_BYTES, end), end);
      const packet = readAttributes(attributes);
      if (packet !== null) packets.push(packet);
    } else if (type === ERROR_MESSAGE && start + 4 <= end) {
      const error = -view.getInt32(start, true);
      // Zero acknowledges.
      if (error !== 0) errors.push(error);
    }
    at = aligned(end);
  }
  return { packets, errors };
}

function readAttributes(bytes: Uint8Array): QueuedPacket | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let header: Pick<QueuedPacket, "id" | "hook"> | null = null;
  let packet: Uint8Array | null = null;
  let at = 0;
  while (at + ATTRIBUTE_HEADER_BYTES <= bytes.length) {
    const end = at + view.getUint16(at, true);
    if (end < at + ATTRIBUTE_HEADER_BYTES || end > bytes.length) return null;
    const value = bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, end);
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
    if (type === PACKET_HEADER_ATTRIBUTE && value.length >= PACKET_HEADER_BYTES) {
      const id = readUint16(value, 0) * 0x10000 + readUint16(value, 2);
      header = { id, hook: value[6] ?? 0 };
    } else if (type === PAYLOAD_ATTRIBUTE) {
      packet = value;
    }
    at = aligned(end);
  }
  return header === null || packet === null ? null : { ...header, packet };
}

/** Messages and attributes begin at multiples of four bytes. */
function aligned(offset: number): number {
  return offset + 3 & ~3;
}
