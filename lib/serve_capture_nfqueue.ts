// Knocks that a firewall rule hands over: the packets of a netfilter queue, each of which the kernel
// holds until it has a verdict. The rule is planned in fw_nfqueue.ts.

import type { PacketQueue, QueueReader } from "../ffi/libnetfilter_queue.ts";
import { type Native, reasonOf } from "./host.ts";
import { parsePacket } from "./net_datagram.ts";
import { LOCAL_INPUT, parseQueueMessages, type QueuedPacket, type Verdict } from "./net_nfqueue.ts";
import { type CaptureCounters, CaptureError, type CaptureSource } from "./serve_capture.ts";
import type { Log } from "./serve_log.ts";

/** What fwknopd's configuration says of a queue. */
export interface QueueSettings {
  readonly number: number;
  /** Packets that the kernel holds at most. */
  readonly length: number;
}

/** For each packet that may wait; the kernel doubles it (socket(7)), and a knock takes less. */
const BYTES_PER_PACKET = 1024;
/** What the kernel answers to a verdict by who may not give any. */
const EPERM = 1;

const MISSING_HINT = "install the package libnetfilter-queue1, or leave out ENABLE_NFQ_CAPTURE";
const REFUSED_HINT =
  "another program may listen to that queue: choose one with NFQ_QUEUE_NUMBER; it also takes root, " +
  "and a kernel with the module nfnetlink_queue";

/** A queue that is read here, and settled here or elsewhere. */
export type SettledQueue = QueueReader & Pick<PacketQueue, "settle" | "counters">;

/** A queue of a process that has the privileges for it. */
export interface LentQueue {
  /** As it was inherited; null when none was. */
  readonly descriptor: number | null;
  /** Has that process settle packets, as `PacketQueue` does. */
  readonly settle: SettledQueue["settle"];
}

/**
 * Starts listening to a queue.
 *
 * @throws {CaptureError} when the library, the kernel's part or the queue cannot be used
 */
export function openQueue(
  native: Pick<Native, "openPacketQueue">,
  { number, length }: QueueSettings,
): PacketQueue {
  try {
    return native.openPacketQueue({ number, length, bufferBytes: length * BYTES_PER_PACKET });
  } catch (error) {
    const missing = error instanceof Error && error.name === "QueueMissingError";
    throw new CaptureError(
      `cannot receive from netfilter queue ${number}: ${reasonOf(error)}`,
      missing ? MISSING_HINT : REFUSED_HINT,
    );
  }
}

/** The queue that another process has opened, and counts. */
export function borrowQueue(
  native: Pick<Native, "readPacketQueue">,
  { descriptor, settle }: LentQueue,
): SettledQueue {
  if (descriptor === null) throw new CaptureError("there is no netfilter queue to read");
  return { ...native.readPacketQueue(descriptor), settle, counters: () => null };
}

/** The packets of a queue. */
export function queueSource(
  native: Pick<Native, "libc">,
  log: Pick<Log, "warning">,
  number: number,
  queue: SettledQueue,
): CaptureSource {
  const waiter = native.libc.waiterFor(queue.fd);
  return {
    announcement: [
      `Receiving packets from netfilter queue ${number}.`,
      "Starting fwknopd main event loop.",
    ],
    wait: waiter.wait,
    drain: drainOf(queue, number, log),
    counters: () => queueCounters(queue),
    stop: waiter.wake,
    close() {
      waiter.close();
      queue.close();
    },
  };
}

function drainOf(
  queue: SettledQueue,
  number: number,
  log: Pick<Log, "warning">,
): CaptureSource["drain"] {
  let overrunTold = false;

  function next(): Uint8Array | null {
    try {
      const message = queue.next();
      if (message !== "overrun") return message;
    } catch (error) {
      throw new CaptureError(`cannot go on with netfilter queue ${number}: ${reasonOf(error)}`);
    }
    if (!overrunTold) {
      log.warning(`Netfilter queue ${number} overran: the kernel dropped packets unseen.`);
    }
    overrunTold = true;
    return new Uint8Array(0);
  }

  function read(message: Uint8Array): readonly QueuedPacket[] {
    const { packets, errors } = parseQueueMessages(message);
    if (errors.includes(EPERM)) {
      // Unsettled packets would fill the queue, and nothing would be seen any more.
      throw new CaptureError(
        `cannot go on with netfilter queue ${number}: the kernel refuses the verdicts`,
        "giving them takes CAP_NET_ADMIN",
      );
    }
    return packets;
  }

  return (limit, take) => {
    const settling = settlerOf(queue);
    try {
      for (let count = 0; count < limit; count++) {
        const message = next();
        if (message === null) return count;
        for (const packet of read(message)) {
          const datagram = parsePacket(packet.packet);
          settling.add(packet);
          if (typeof datagram === "object") take(datagram);
        }
      }
      return limit;
    } finally {
      settling.finish();
    }
  };
}

/** Settles packets as fwknopd does: what was for this host is dropped, since it has been seen. */
function settlerOf(
  queue: Pick<SettledQueue, "settle">,
): { add(packet: QueuedPacket): void; finish(): void } {
  /** Those before it have the same verdict, or have had their own. */
  let last: { readonly id: number; readonly verdict: Verdict } | null = null;

  function finish(): void {
    const settled = last;
    last = null;
    if (settled !== null) queue.settle(settled.id, settled.verdict);
  }

  return {
    add({ id, hook }) {
      const verdict = hook === LOCAL_INPUT ? "drop" : "accept";
      if (last !== null && last.verdict !== verdict) finish();
      last = { id, verdict };
    },
    finish,
  };
}

/** What the kernel counts of a queue. */
export function queueCounters(queue: Pick<PacketQueue, "counters">): CaptureCounters | null {
  const counted = queue.counters();
  // The kernel has put fragments together before any rule saw them.
  return counted === null ? null : { ...counted, droppedByInterface: 0, fragments: 0 };
}
