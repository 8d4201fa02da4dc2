// Where datagrams come from: one interface for every way to see a knock, and the loop that drains it.

import type { Datagram } from "./net_datagram.ts";

/** A source of datagrams that wakes on the packet and costs nothing while none comes. */
export interface CaptureSource {
  /** Lines for the log when it starts, in fwknopd's wording. */
  readonly announcement: readonly string[];
  /** Resolves true when something may have come, false once `stop` was called. */
  wait(): Promise<boolean>;
  /**
   * Takes at most `limit` waiting packets and hands over the datagrams in them, which stay as they
   * are until the next call.
   * Throws {@linkcode CaptureError} when nothing will come any more.
   *
   * @returns the number of packets taken, datagrams or not; fewer than `limit` when none is left
   */
  drain(limit: number, take: (datagram: Datagram) => void): number;
  /** What came since the start; null, or not there, where the system does not count it. */
  counters?(): CaptureCounters | null;
  /** Ends the wait, for good. */
  stop(): void;
  /** Frees what the source holds; only after its wait has ended. */
  close(): void;
}

/** Packets as the system counted them. */
export interface CaptureCounters {
  /** Those that were meant for the capture, the lost ones too. */
  readonly received: number;
  /** Those lost because the program did not take them in time. */
  readonly dropped: number;
  /** Those that an interface or its driver lost. */
  readonly droppedByInterface: number;
  /** Fragments of IP packets that were passed over: they are not put together here. */
  readonly fragments: number;
}

/** A capture cannot start or cannot go on; the message is one line for the operator. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
  /** What the operator can do, or null. */
  readonly hint: string | null;

  constructor(message: string, hint: string | null = null) {
    super(message);
    this.hint = hint;
  }
}

/** Packets taken at a time. */
const BATCH = 64;
/** Milliseconds after which a flood leaves a turn to timers and signals; a turn costs two. */
const TURN = 8;
/** The same where the firewall has its turns, too: it takes several of them to open a port. */
export const SHARED_TURN = 4;

/**
 * Hands over datagrams until the source is stopped or `packetLimit` packets have been taken.
 *
 * Taking a batch is cheap. What becomes of a datagram may not be, if there are many stanzas, so the
 * clock is looked at after each: others wait for one of them at most when a turn is over.
 *
 * @param packetLimit 0 for no limit
 * @param turn milliseconds after which others have a turn
 * @param monotonic milliseconds from some start
 * @returns what ended it
 */
export async function runCapture(
  source: CaptureSource,
  packetLimit: number,
  take: (datagram: Datagram) => void,
  turn: number = TURN,
  monotonic: () => number = () => performance.now(),
): Promise<"stopped" | "limit"> {
  const batch: Datagram[] = [];
  let taken = 0;
  while (await source.wait()) {
    let turnEnds = monotonic() + turn;
    for (;;) {
      const room = packetLimit === 0 ? BATCH : Math.min(BATCH, packetLimit - taken);
      let count = 0;
      try {
        count = source.drain(room, (datagram) => batch.push(datagram));
        taken += count;
      } finally {
        // What came before a capture died still counts.
        for (const datagram of batch.splice(0)) {
          take(datagram);
          if (monotonic() < turnEnds) continue;
          await nextTurn();
          turnEnds = monotonic() + turn;
        }
      }
      if (packetLimit !== 0 && taken >= packetLimit) return "limit";
      if (count < room) break;
      if (monotonic() < turnEnds) continue;
      await nextTurn();
      turnEnds = monotonic() + turn;
    }
  }
  return "stopped";
}

/** Lets timers, processes and signals have their turn; unlike setImmediate, it waits for them. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
