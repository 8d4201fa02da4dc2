// What follows a sentry that has died: another, at once and then after pauses that grow.

import { type Host, reasonOf } from "./host.ts";
import { CaptureError } from "./serve_capture.ts";
import type { Log } from "./serve_log.ts";
import type { SentryPlan } from "./serve_post_start.ts";
import type { Succession } from "./serve_post_succession.ts";
import { type SentryEnd, SentryEndError, type SentryLink } from "./serve_sentry_link.ts";
import { systemTimer } from "./serve_timer.ts";

/** What restarts work with. */
export interface RestartParts {
  readonly host: Pick<Host, "monotonic">;
  readonly log: Log;
  readonly sentries: Succession;
  /** What a sentry is to be started for at this time. */
  readonly plan: () => SentryPlan;
  /** The capture has died and cannot be opened again. */
  readonly onCaptureEnd: (error: CaptureError) => void;
}

/** Starts sentries in the place of those that died. */
export interface Restarts {
  /** Tries until a sentry judges again, or there is no use in trying. */
  replace(dead: SentryLink, end: SentryEnd): Promise<void>;
  /** Ends a pause, when the sentries are ending. */
  giveUp(): void;
}

/** Milliseconds before a sentry that has died is followed by another, doubled each time. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;
/** Milliseconds after which a sentry is thought to be sound. */
const SOUND_AFTER = 60_000;

/** No sentry has died yet. */
export function createRestarts(parts: RestartParts): Restarts {
  const { host, log, sentries } = parts;
  let pause = 0;
  let startedAt = host.monotonic();
  let endPause = (): void => {};

  async function sleepBeforeStart(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = systemTimer(pause, resolve);
      endPause = () => {
        cancel();
        resolve();
      };
    });
    pause = pause === 0 ? FIRST_PAUSE : Math.min(LONGEST_PAUSE, 2 * pause);
  }

  /** @returns whether there is nothing left to try */
  async function startAnother(failure: SentryEnd["failure"]): Promise<boolean> {
    startedAt = host.monotonic();
    try {
      await sentries.replacePresent(parts.plan());
      return true;
    } catch (error) {
      // A capture that cannot be opened again is at its end, and what it said first says why.
      if (error instanceof SentryEndError && error.end.failure !== null) {
        const why = failure ?? error.end.failure;
        parts.onCaptureEnd(new CaptureError(why.text, why.hint));
        return true;
      }
      log.error(`Cannot start another sentry: ${reasonOf(error)}`);
      return false;
    }
  }

  return {
    async replace(dead, { failure, status }) {
      if (host.monotonic() - startedAt >= SOUND_AFTER) pause = 0;
      if (failure === null) {
        const when = pause === 0 ? "at once" : `in ${pause / 1000} s`;
        log.error(
          `The sentry has ended unexpectedly (status ${status}); starting another ${when}.`,
        );
      }
      for (;;) {
        await sleepBeforeStart();
        // A reload may have its turn in between, which may be what helps.
        const release = await sentries.turn();
        try {
          if (dead !== sentries.present || sentries.isEnding) return;
          if (await startAnother(failure)) return;
        } finally {
          release();
        }
      }
    },
    giveUp: () => endPause(),
  };
}
