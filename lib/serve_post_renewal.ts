// Captures that are opened anew because interfaces have come back, which takes another sentry: the
// present one gave up its privileges to do so.

import type { Log } from "./serve_log.ts";
import type { SentryPlan } from "./serve_post_start.ts";
import type { Succession } from "./serve_post_succession.ts";
import { systemTimer } from "./serve_timer.ts";

/** Milliseconds between two captures that are opened because interfaces have come back. */
const RENEWAL_PAUSE = 1000;

/**
 * Gives the function to call when a sentry asks for its capture to be opened anew, which it may do
 * as often as it likes.
 *
 * @param plan what a sentry is to be started for at the time
 */
export function createRenewals(
  sentries: Succession,
  plan: () => SentryPlan,
  log: Log,
): () => Promise<void> {
  let isRenewing = false;
  let again = false;
  return async function renew(): Promise<void> {
    if (sentries.isEnding) return;
    again = isRenewing;
    if (isRenewing) return;
    isRenewing = true;
    const release = await sentries.turn();
    try {
      const successor = await sentries.startSuccessor(plan());
      await successor.takeOver();
    } catch (error) {
      log.debug(`Cannot open the capture again yet: ${String(error)}`);
    } finally {
      release();
      systemTimer(RENEWAL_PAUSE, () => {
        isRenewing = false;
        if (again) void renew();
      });
    }
  };
}
