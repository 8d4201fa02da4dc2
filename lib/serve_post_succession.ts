// The sentries of a post: the one that judges and one that is to follow it. No packet is lost or
// judged twice from one to the next.

import type { Counts } from "./serve_log.ts";
import type { ApartParts } from "./serve_post.ts";
import { createDepartures, SETTLE_PATIENCE } from "./serve_post_departures.ts";
import type { RequestDesk } from "./serve_post_desk.ts";
import { type SentryListener, type SentryPlan, startPlannedSentry } from "./serve_post_start.ts";
import { asCaptureError, type SentryEnd, type SentryLink } from "./serve_sentry_link.ts";
import { within } from "./serve_timer.ts";

/** What happens to the present sentry. */
export interface SuccessionEvents {
  /** It has taken as many packets as were asked for. */
  readonly onLimit: () => void;
  /** It has ended although nobody had it end. */
  readonly onDeath: (link: SentryLink, end: SentryEnd) => void;
  /** It, or another, asks for its capture to be opened anew. */
  readonly onRenew: () => void;
}

/** A sentry that is ready to follow the present one; one of the two is to be called. */
export interface Successor {
  /** The present one ends its capture, and this one judges from where that ended. */
  takeOver(): Promise<void>;
  dismiss(): void;
}

/** Sentries that follow one another. */
export interface Succession {
  /** The one that judges, or will when {@linkcode Succession.begin} is called. */
  readonly present: SentryLink;
  /** True once it was asked to stop or settle: nobody follows any more. */
  readonly isEnding: boolean;
  /** Has the first one judge. */
  begin(): void;
  /** Waits for other changes to be over; resolves with what ends this one's turn. */
  turn(): Promise<() => void>;
  /**
   * Starts a sentry while the present one judges, and waits until it is ready. Only in a turn.
   *
   * @throws {CaptureError} when it cannot open its capture
   */
  startSuccessor(plan: SentryPlan): Promise<Successor>;
  /**
   * Puts a sentry in the place of the present one, which has died. Only in a turn.
   *
   * @throws {SentryEndError} when that ends before it is ready
   */
  replacePresent(plan: SentryPlan): Promise<void>;
  /** What all of them have counted. */
  counts(): Promise<Counts>;
  /** Resolves when the present one has ended its capture, or was waited for long enough. */
  stop(): Promise<void>;
  /** Resolves when everything is judged, or was waited for long enough. */
  settle(): Promise<void>;
  /** Ends all of them by force. */
  close(): void;
}

/** Milliseconds that a sentry has to end its capture. */
const STOP_PATIENCE = 2000;

/** Starts the first sentry; whoever calls waits for it to be opened and ready. */
export function startSuccession(
  parts: ApartParts,
  desk: RequestDesk,
  events: SuccessionEvents,
  first: SentryPlan,
): Succession {
  const { log } = parts;
  const departures = createDepartures();
  let successor: SentryLink | null = null;
  let changing: Promise<unknown> = Promise.resolve();
  let isEnding = false;
  /** The present one met its limit while another was there to follow. */
  let metLimit = false;
  /** Packets that sentries before the present one have taken. */
  let taken = 0;

  const listener: SentryListener = {
    accepted(record, by) {
      // A packet may come again while another sentry still judges what gpg kept waiting.
      for (const other of new Set([present, successor, ...departures.links])) {
        if (other !== by) other?.order({ kind: "remember", records: [record] });
      }
    },
    judged(notes, by) {
      if (by !== successor) successor?.order({ kind: "skip", notes });
    },
    renew: events.onRenew,
  };
  const start = (plan: SentryPlan, awaitsInterfaces: boolean): SentryLink =>
    startPlannedSentry(parts, desk, plan, awaitsInterfaces, listener);
  /** What was there when the server started may be gone for a while. */
  const startAnother = (plan: SentryPlan): SentryLink =>
    start(plan, !plan.settings.config.EXIT_AT_INTF_DOWN);

  let present = start(first, false);

  function follow(link: SentryLink): void {
    link.stopped.then(({ how }) => {
      if (how !== "limit" || link !== present) return;
      if (successor === null) events.onLimit();
      else metLimit = true;
    }, () => {});
    link.over.then((end) => {
      if (link === present && !isEnding) events.onDeath(link, end);
    });
  }

  /** Has the capture end and what it has judged be known to the successor. */
  async function relieve(next: SentryLink, announcement: readonly string[]): Promise<void> {
    const old = present;
    old.order({ kind: "stop", givesUpGpg: false });
    const end = await within(STOP_PATIENCE, old.stopped, null);
    if (end === null) old.close();
    else taken = end.taken;
    departures.begin(old);
    if (end?.how === "limit") {
      next.close();
      successor = null;
      return events.onLimit();
    }
    install(next, announcement);
  }

  function install(link: SentryLink, announcement: readonly string[]): void {
    present = link;
    successor = null;
    follow(link);
    if (isEnding) return void link.close();
    for (const line of announcement) log.info(line);
    link.order({ kind: "go", taken });
  }

  return {
    get present() {
      return present;
    },
    get isEnding() {
      return isEnding;
    },
    begin() {
      follow(present);
      present.order({ kind: "go", taken });
    },
    async turn() {
      const before = changing;
      const { promise, resolve } = Promise.withResolvers<void>();
      changing = promise;
      await before;
      return resolve;
    },
    async startSuccessor(plan) {
      present.order({ kind: "note" });
      const link = startAnother(plan);
      successor = link;
      const dismiss = (): void => {
        successor = null;
        link.close();
        if (metLimit) events.onLimit();
      };
      try {
        const announcement = await link.opened;
        await link.ready;
        return { takeOver: () => relieve(link, announcement), dismiss };
      } catch (error) {
        dismiss();
        throw asCaptureError(error);
      }
    },
    async replacePresent(plan) {
      const link = startAnother(plan);
      try {
        const announcement = await link.opened;
        await link.ready;
        install(link, announcement);
      } catch (error) {
        link.close();
        throw error;
      }
    },
    counts: () => departures.counts(present),
    async stop() {
      isEnding = true;
      present.order({ kind: "stop", givesUpGpg: true });
      await within(STOP_PATIENCE, present.stopped, null);
    },
    settle() {
      const patience = isEnding ? STOP_PATIENCE : SETTLE_PATIENCE;
      isEnding = true;
      return departures.end(present, patience);
    },
    close() {
      successor?.close();
      departures.close();
      present.close();
    },
  };
}
