// Memory that is taken for a while and not needed afterwards: given back soon after the start, and
// when a flood is over.

import type { Host, Native } from "./host.ts";
import type { Timer } from "./serve_timer.ts";

/** Milliseconds after which everything has had its first turn. */
const START_IS_OVER = 1000;
/** Packets that leave something behind which is worth the time. */
const FLOOD = 20_000;
/** Milliseconds in which no more than so many packets come when a flood is over. */
const QUIET_TIME = 1000;
const QUIET = 100;

/** Gives memory back to the system. */
export interface MemoryKeeper {
  /** Tells of packets that were taken; costs nothing, and no timer runs while few come. */
  took(packets: number): void;
}

/** Has what is left behind given back while nothing waits for it: now soon, and after each flood. */
export function keepMemorySmall(
  host: Pick<Host, "collectGarbage">,
  { libc, releaseCode }: Pick<Native, "libc" | "releaseCode">,
  timer: Timer,
): MemoryKeeper {
  let taken = 0;
  let watching = false;

  function release(): void {
    host.collectGarbage();
    libc.trimMemory();
    releaseCode();
  }

  function awaitQuiet(): void {
    watching = true;
    const before = taken;
    timer(QUIET_TIME, () => {
      watching = false;
      if (taken - before > QUIET) return awaitQuiet();
      taken = 0;
      release();
    });
  }

  timer(START_IS_OVER, release);
  return {
    took(packets) {
      taken += packets;
      if (taken >= FLOOD && !watching) awaitQuiet();
    },
  };
}
