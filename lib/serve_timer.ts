// Waiting without blocking: the daemon's timers, which tests play themselves.

/** Calls `action` once after some milliseconds, unless the function it gives back is called. */
export type Timer = (milliseconds: number, action: () => void) => () => void;

/**
 * Milliseconds after which to look at the clock again: timers stand still while the machine sleeps,
 * the clock of `Host.monotonic` does not. What became overdue is late by no more than this.
 */
export const LONGEST_WAIT = 10_000;

/** The system's timer; at most 2^31 - 1 milliseconds. */
export function systemTimer(milliseconds: number, action: () => void): () => void {
  const id = setTimeout(action, milliseconds);
  return () => clearTimeout(id);
}

/** What the promise gives, or `otherwise` when it rejects or takes more milliseconds than `limit`. */
export function within<T, F>(limit: number, promise: Promise<T>, otherwise: F): Promise<T | F> {
  return new Promise((resolve) => {
    const cancel = systemTimer(limit, () => resolve(otherwise));
    promise.then((value) => {
      cancel();
      resolve(value);
    }, () => {
      cancel();
      resolve(otherwise);
    });
  });
}
