// Sentries on their way out: they have ended their captures, settle what they took, and what they
// have counted stays.

import type { Counts } from "./serve_log.ts";
import { addCounts, NO_COUNTS } from "./serve_post_counts.ts";
import type { SentryLink } from "./serve_sentry_link.ts";
import { within } from "./serve_timer.ts";

/** The sentries that are on their way out, and the sums of those that have gone. */
export interface Departures {
  /** Those that still settle. */
  readonly links: readonly SentryLink[];
  /** Gives a sentry that has ended its capture its time to settle, and then ends it. */
  begin(link: SentryLink): void;
  /** What those that have gone, the others and the present one have counted. */
  counts(present: SentryLink): Promise<Counts>;
  /** Resolves when the last one and all others have settled, or within so many milliseconds each. */
  end(last: SentryLink, patience: number): Promise<void>;
  /** Ends all of them by force. */
  close(): void;
}

/** Milliseconds that a sentry has to settle, gpg's answers among that. */
export const SETTLE_PATIENCE = 12_000;
const COUNT_PATIENCE = 2000;

/** Nobody has left yet. */
export function createDepartures(): Departures {
  /** With what waits for them to settle. */
  const leaving = new Map<SentryLink, Promise<void>>();
  let past: Counts = NO_COUNTS;
  let hasEnded = false;
  return {
    get links() {
      return [...leaving.keys()];
    },
    begin(link) {
      const settling = within(SETTLE_PATIENCE, link.settled, null).then((counts) => {
        if (counts !== null) past = addCounts(past, counts);
        link.close();
        leaving.delete(link);
      });
      leaving.set(link, settling);
    },
    async counts(present) {
      const asked = hasEnded ? [] : [...leaving.keys(), present];
      const answers = await Promise.all(asked.map(async (link) => ({
        link,
        counts: await within(COUNT_PATIENCE, link.counts(), null),
      })));
      return answers
        // What has settled in the meantime is in the sum already.
        .filter(({ link }) => link === present || leaving.has(link))
        .reduce((sum, { counts }) => counts === null ? sum : addCounts(sum, counts), past);
    },
    async end(last, patience) {
      const counts = await within(patience, last.settled, null);
      if (counts !== null) past = addCounts(past, counts);
      hasEnded = true;
      await within(patience, Promise.all(leaving.values()), null);
    },
    close() {
      for (const link of leaving.keys()) link.close();
    },
  };
}
