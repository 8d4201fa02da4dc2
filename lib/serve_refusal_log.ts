// What the log says of packets that nobody vouches for: in full while they are few, and as numbers
// while they are a flood, so that no stranger decides how much is written.

import type { RefusalReason } from "./auth_event.ts";
import type { Log } from "./serve_log.ts";
import type { Timer } from "./serve_timer.ts";

/** Writes of refused packets no more than is good for the log. */
export interface RefusalLog {
  /**
   * Has a packet's lines written, or only counts the packet.
   *
   * @param lines how many `write` writes
   */
  tell(reason: RefusalReason, lines: number, write: () => void): void;
  /** Tells what has only been counted so far; the log may be used afterwards, too. */
  flush(): void;
}

/** Milliseconds from one summary to the next. */
const INTERVAL = 1000;
/** Packets of one reason that are told in an interval; the others are only counted. */
const TOLD_PACKETS = 10;
/** Lines of one reason after which no further packet is told: each stanza that refuses writes some. */
const TOLD_LINES = 500;

/** A log of refusals to which nothing was told yet. It has a timer only while there is something to tell. */
export function createRefusalLog(log: Log, timer: Timer): RefusalLog {
  const told = new Map<RefusalReason, { packets: number; lines: number }>();
  const counted = new Map<RefusalReason, number>();
  let cancel: (() => void) | null = null;

  function summarize(): void {
    if (counted.size === 0) return;
    const counts = [...counted].map(([reason, count]) => `${reason} ${count}`);
    log.warning(`Refused without a line each: ${counts.join(", ")}`);
    counted.clear();
  }

  function endInterval(): void {
    cancel = counted.size === 0 ? null : timer(INTERVAL, endInterval);
    told.clear();
    summarize();
  }

  return {
    tell(reason, lines, write) {
      cancel ??= timer(INTERVAL, endInterval);
      const before = told.get(reason) ?? { packets: 0, lines: 0 };
      if (before.packets >= TOLD_PACKETS || before.lines >= TOLD_LINES) {
        counted.set(reason, (counted.get(reason) ?? 0) + 1);
        return;
      }
      told.set(reason, { packets: before.packets + 1, lines: before.lines + lines });
      write();
    },
    flush() {
      cancel?.();
      cancel = null;
      told.clear();
      summarize();
    },
  };
}
