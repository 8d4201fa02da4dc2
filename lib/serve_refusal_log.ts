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
/** Lines in an interval after which packets of the same reason are only counted. */
const FULL_LINES = 10;

/** A log of refusals to which nothing was told yet. It has a timer only while there is something to tell. */
export function createRefusalLog(log: Log, timer: Timer): RefusalLog {
  const written = new Map<RefusalReason, number>();
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
    written.clear();
    summarize();
  }

  return {
    tell(reason, lines, write) {
      cancel ??= timer(INTERVAL, endInterval);
      const before = written.get(reason) ?? 0;
      if (before >= FULL_LINES) {
        counted.set(reason, (counted.get(reason) ?? 0) + 1);
        return;
      }
      // A packet that draws no line counts as one, so that silence is broken once there are many.
      written.set(reason, before + Math.max(1, lines));
      write();
    },
    flush() {
      cancel?.();
      cancel = null;
      written.clear();
      summarize();
    },
  };
}
