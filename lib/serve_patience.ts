// How long programs are waited for: to their ends, but once time is short no longer than that in all.

import type { Host } from "./host.ts";
import { systemTimer, type Timer } from "./serve_timer.ts";

/** Runs programs, with a patience that can be put an end to. */
export interface Patience {
  readonly run: Host["run"];
  /**
   * Lets all programs that run, and those that follow, have so many milliseconds in all; after that
   * they are killed or not even started, with `timedOut` in their results. Only the first call has
   * an effect.
   */
  shorten(milliseconds: number): void;
  /** Stops the clock that {@linkcode shorten} has started; for when no more programs will run. */
  close(): void;
}

/** @param timer waits; `setTimeout` unless a test plays the clock */
export function createPatience(host: Pick<Host, "run">, timer: Timer = systemTimer): Patience {
  const end = new AbortController();
  let limit: number | null = null;
  let cancel = (): void => {};
  return {
    run: async (call) => {
      if (limit !== null && end.signal.aborted) {
        return { status: 137, stdout: "", stderr: "", timedOut: limit };
      }
      return await host.run({ ...call, signal: end.signal });
    },
    shorten: (milliseconds) => {
      if (limit !== null) return;
      limit = milliseconds;
      cancel = timer(milliseconds, () => end.abort());
    },
    close: () => cancel(),
  };
}
