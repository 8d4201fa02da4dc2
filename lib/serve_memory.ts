// What starting takes of memory and running does not: given back once, soon after the start.

import type { Host, Native } from "./host.ts";
import type { Timer } from "./serve_timer.ts";

/** Milliseconds after which everything has had its first turn. */
const START_IS_OVER = 1000;

/** Has what the start has left behind given back to the system, while nothing waits for it. */
export function releaseStartMemory(
  host: Pick<Host, "collectGarbage">,
  { libc, releaseCode }: Pick<Native, "libc" | "releaseCode">,
  timer: Timer,
): void {
  timer(START_IS_OVER, () => {
    host.collectGarbage();
    libc.trimMemory();
    releaseCode();
  });
}
