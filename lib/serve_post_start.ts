// Starts a sentry of a post: what it is told at its start, and who hears what it reports.

import type { PacketQueue } from "../ffi/libnetfilter_queue.ts";
import type { ReplayRecord } from "./auth_replay.ts";
import { reasonOf } from "./host.ts";
import { sentrySettings } from "./serve_pipe_orders.ts";
import type { ApartParts } from "./serve_post.ts";
import type { RequestDesk } from "./serve_post_desk.ts";
import { type SentryLink, startSentry } from "./serve_sentry_link.ts";
import type { Settings } from "./serve_settings.ts";

/** What a sentry is started for. */
export interface SentryPlan {
  readonly settings: Settings;
  /** The number of the rules that it judges by. */
  readonly generation: number;
  /** The netfilter queue that it reads; null without one. */
  readonly queue: PacketQueue | null;
}

/** Hears reports that concern other sentries, too. */
export interface SentryListener {
  /** It asks for a grant to be opened; called before that is done. */
  accepted(record: ReplayRecord, by: SentryLink): void;
  /** It has ended its capture and tells what it judged. */
  judged(notes: readonly string[], by: SentryLink): void;
  /** It asks for its capture to be opened anew, since it may not do so itself. */
  renew(): void;
}

/**
 * Starts a sentry.
 *
 * @param awaitsInterfaces whether it may begin without interfaces that are gone
 */
export function startPlannedSentry(
  { host, log, options, account, replayFile }: ApartParts,
  desk: RequestDesk,
  { settings, generation, queue }: SentryPlan,
  awaitsInterfaces: boolean,
  listener: SentryListener,
): SentryLink {
  const begin = (): SentryLink =>
    startSentry({
      host,
      log,
      start: {
        settings: sentrySettings(settings),
        generation,
        options,
        verbosity: log.verbosity,
        decisions: log.decision !== null,
        account,
        monitor: host.pid,
        replayFile,
        awaitsInterfaces,
        queueDescriptor: queue?.fd ?? null,
      },
      onRequest: (report) => {
        const { record } = report.request;
        if (record !== null) listener.accepted(record, link);
        return desk.request(report);
      },
      onDecrypt: (report) => desk.decrypt(report, link),
      onJudged: (notes) => listener.judged(notes, link),
      onRenew: () => listener.renew(),
      onSettle: ({ lastId, verdict }) => {
        try {
          queue?.settle(lastId, verdict);
        } catch (error) {
          log.error(`Cannot settle packets of the netfilter queue: ${reasonOf(error)}`);
        }
      },
    });
  const link = queue === null ? begin() : queue.lendTo(begin);
  const records = desk.records();
  if (records.length > 0) link.order({ kind: "remember", records });
  return link;
}
