// Waiting without blocking: the daemon's timers, which tests play themselves.

/** Calls `action` once after some milliseconds, unless the function it gives back is called. */
export type Timer = (milliseconds: number, action: () => void) => () => void;

/** Timers of the system count milliseconds in 31 bits; none needs to be that long. */
export const LONGEST_WAIT = 3_600_000;

/** The system's timer; at most 2^31 - 1 milliseconds. */
export function systemTimer(milliseconds: number, action: () => void): () => void {
  const id = setTimeout(action, milliseconds);
  return () => clearTimeout(id);
}
