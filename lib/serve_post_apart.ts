// Packets judged by a process without privileges, the sentry. Here is the monitor's side: a sentry
// that ends is followed by another, and so is one whose capture has to be opened anew.

import type { PacketQueue } from "../ffi/libnetfilter_queue.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { reasonOf } from "./host.ts";
import { CaptureError } from "./serve_capture.ts";
import { queueCounters } from "./serve_capture_nfqueue.ts";
import type { Counts } from "./serve_log.ts";
import { sentrySettings, type SentryStart } from "./serve_pipe_orders.ts";
import type { Post, PostParts, PreparedChange } from "./serve_post.ts";
import { addCounts, NO_COUNTS } from "./serve_post_counts.ts";
import { createRequestDesk, type RequestDesk } from "./serve_post_desk.ts";
import { createRulesHistory } from "./serve_post_rules.ts";
import {
  type SentryEnd,
  SentryEndError,
  type SentryLink,
  startSentry,
} from "./serve_sentry_link.ts";
import { captureKey, rulesOf, type Settings } from "./serve_settings.ts";
import { systemTimer } from "./serve_timer.ts";

/** What a post apart needs besides. */
export interface ApartParts extends PostParts {
  /** Whom sentries become. */
  readonly account: SentryStart["account"];
  /** The digest cache that sentries read; null without one. */
  readonly replayFile: string | null;
  /**
   * Opens the netfilter queue of a configuration, which takes privileges; null when it asks for
   * none. Rejects with {@linkcode CaptureError} when it cannot be had.
   */
  readonly openQueue: (config: ServerConfig) => Promise<PacketQueue | null>;
}

/** Milliseconds before a sentry that has died is followed by another, doubled each time. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;
/** Milliseconds after which a sentry is thought to be sound. */
const SOUND_AFTER = 60_000;
/** Milliseconds between two captures that are opened because interfaces have come back. */
const RENEWAL_PAUSE = 1000;
/** Milliseconds that a sentry has to end its capture, and then to have gpg's answers. */
const STOP_PATIENCE = 2000;
const SETTLE_PATIENCE = 12_000;
const COUNT_PATIENCE = 2000;

/** Starts a sentry and waits until its capture is open; throws {@linkcode CaptureError} if it cannot be. */
export async function openApartPost(parts: ApartParts): Promise<Post> {
  const { host, log, options } = parts;
  let { settings } = parts;
  const rules = createRulesHistory(rulesOf(settings), host.monotonic);
  const desk: RequestDesk = createRequestDesk(parts, rules);
  const ended = Promise.withResolvers<"stopped" | "limit">();
  ended.promise.catch(() => {});
  /** Sentries that have ended their captures, and what waits for them to settle. */
  const leaving = new Map<SentryLink, Promise<void>>();
  let past: Counts = NO_COUNTS;
  let settled = false;
  let successor: SentryLink | null = null;
  let changing: Promise<unknown> = Promise.resolve();
  let ending = false;
  let givesUp = (): void => {};
  /** Packets that sentries before the present one have taken. */
  let taken = 0;
  /** Read by the present sentry. */
  let queue = await parts.openQueue(settings.config);

  function start(
    wanted: Settings,
    generation: number,
    awaitsInterfaces: boolean,
    itsQueue: PacketQueue | null,
  ): SentryLink {
    const begin = (): SentryLink => startWith(wanted, generation, awaitsInterfaces, itsQueue);
    const link = itsQueue === null ? begin() : itsQueue.lendTo(begin);
    const records = desk.records();
    if (records.length > 0) link.order({ kind: "remember", records });
    return link;
  }

  function startWith(
    wanted: Settings,
    generation: number,
    awaitsInterfaces: boolean,
    itsQueue: PacketQueue | null,
  ): SentryLink {
    const link: SentryLink = startSentry({
      host,
      log,
      start: {
        settings: sentrySettings(wanted),
        generation,
        options,
        verbosity: log.verbosity,
        decisions: log.decision !== null,
        account: parts.account,
        monitor: host.pid,
        replayFile: parts.replayFile,
        awaitsInterfaces,
        queueDescriptor: itsQueue?.fd ?? null,
      },
      onRequest: (report) => {
        const { record } = report.request;
        // A packet may come again while another sentry still judges what gpg kept waiting.
        for (const other of new Set([current, successor, ...leaving.keys()])) {
          if (record === null || other === null || other === link) continue;
          other.order({ kind: "remember", records: [record] });
        }
        return desk.request(report);
      },
      onDecrypt: (report) => desk.decrypt(report, link),
      onJudged: (notes) => {
        if (link !== successor) successor?.order({ kind: "skip", notes });
      },
      onRenew: () => void renew(),
      onSettle: ({ lastId, verdict }) => {
        try {
          itsQueue?.settle(lastId, verdict);
        } catch (error) {
          log.error(`Cannot settle packets of the netfilter queue: ${reasonOf(error)}`);
        }
      },
    });
    return link;
  }

  let current = start(settings, rules.generation, false, queue);
  const announcement = await current.opened.catch((error) => {
    current.close();
    queue?.close();
    throw asCaptureError(error);
  });

  /** One change at a time; resolves with what ends the turn. */
  async function turn(): Promise<() => void> {
    const before = changing;
    const { promise, resolve } = Promise.withResolvers<void>();
    changing = promise;
    await before;
    return resolve;
  }

  function follow(link: SentryLink): void {
    link.stopped.then(({ how }) => {
      if (how === "limit" && link === current && successor === null) ended.resolve(how);
    }, () => {});
    link.over.then((end) => {
      if (link === current && !ending) void replaceDead(link, end);
    });
  }

  /** Has the capture end and what it has judged be known to the successor. */
  async function relieve(next: SentryLink, lines: readonly string[]): Promise<void> {
    const old = current;
    old.order({ kind: "stop", givesUpGpg: false });
    const end = await within(STOP_PATIENCE, old.stopped, null);
    if (end === null) old.close();
    else taken = end.taken;
    leave(old);
    if (end?.how === "limit") {
      next.close();
      successor = null;
      return ended.resolve("limit");
    }
    install(next, lines);
  }

  function install(link: SentryLink, lines: readonly string[]): void {
    current = link;
    successor = null;
    follow(link);
    if (ending) return void link.close();
    for (const line of lines) log.info(line);
    link.order({ kind: "go", taken });
  }

  function leave(link: SentryLink): void {
    const settling = within(SETTLE_PATIENCE, link.settled, null).then((counts) => {
      if (counts !== null) past = addCounts(past, counts);
      link.close();
      leaving.delete(link);
    });
    leaving.set(link, settling);
  }

  let pause = 0;
  let startedAt = host.monotonic();

  async function replaceDead(link: SentryLink, { failure, status }: SentryEnd): Promise<void> {
    if (host.monotonic() - startedAt >= SOUND_AFTER) pause = 0;
    if (failure === null) {
      const when = pause === 0 ? "at once" : `in ${pause / 1000} s`;
      log.error(`The sentry has ended unexpectedly (status ${status}); starting another ${when}.`);
    }
    for (;;) {
      await sleepBeforeStart();
      // A reload may have its turn in between, which may be what helps.
      const release = await turn();
      try {
        if (link !== current || ending || await startAnother(failure)) return;
      } finally {
        release();
      }
    }
  }

  async function sleepBeforeStart(): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = systemTimer(pause, resolve);
      givesUp = () => {
        cancel();
        resolve();
      };
    });
    pause = pause === 0 ? FIRST_PAUSE : Math.min(LONGEST_PAUSE, 2 * pause);
  }

  /** @returns whether there is nothing left to try */
  async function startAnother(failure: SentryEnd["failure"]): Promise<boolean> {
    startedAt = host.monotonic();
    const next = start(settings, rules.generation, !settings.config.EXIT_AT_INTF_DOWN, queue);
    try {
      const lines = await next.opened;
      await next.ready;
      install(next, lines);
      return true;
    } catch (error) {
      next.close();
      // A capture that cannot be opened again is at its end, and what it said first says why.
      if (error instanceof SentryEndError && error.end.failure !== null) {
        const why = failure ?? error.end.failure;
        ended.reject(new CaptureError(why.text, why.hint));
        return true;
      }
      log.error(`Cannot start another sentry: ${reasonOf(error)}`);
      return false;
    }
  }

  let renewing = false;
  let renewAgain = false;

  /** A sentry may ask as often as it likes. */
  async function renew(): Promise<void> {
    if (ending) return;
    renewAgain = renewing;
    if (renewing) return;
    renewing = true;
    const release = await turn();
    try {
      const lines = await startSuccessor(settings, rules.generation, queue);
      if (successor !== null) await relieve(successor, lines);
    } catch (error) {
      log.debug(`Cannot open the capture again yet: ${String(error)}`);
    } finally {
      release();
      systemTimer(RENEWAL_PAUSE, () => {
        renewing = false;
        if (renewAgain) void renew();
      });
    }
  }

  /** Leaves a sentry that is ready to follow in `successor`. */
  async function startSuccessor(
    next: Settings,
    generation: number,
    itsQueue: PacketQueue | null,
  ): Promise<readonly string[]> {
    current.order({ kind: "note" });
    const link = start(next, generation, !next.config.EXIT_AT_INTF_DOWN, itsQueue);
    successor = link;
    try {
      const lines = await link.opened;
      await link.ready;
      return lines;
    } catch (error) {
      successor = null;
      link.close();
      throw asCaptureError(error);
    }
  }

  async function prepare(next: Settings): Promise<PreparedChange> {
    const release = await turn();
    // Requests of the new settings come only after `commit`, which is when their rules are known.
    const generation = rules.generation + 1;
    let lines: readonly string[] | null = null;
    let nextQueue = queue;
    const dropQueue = (): void => {
      if (nextQueue !== queue) nextQueue?.close();
    };
    try {
      if (captureKey(next.config) !== captureKey(settings.config)) {
        // A queue can be opened but once.
        if (!sameQueue(next.config, settings.config)) {
          nextQueue = await parts.openQueue(next.config);
        }
        lines = await startSuccessor(next, generation, nextQueue);
      }
    } catch (error) {
      dropQueue();
      release();
      throw error;
    }
    return {
      async commit() {
        settings = next;
        rules.enact(rulesOf(next));
        if (successor !== null && lines !== null) await relieve(successor, lines);
        else current.order({ kind: "settings", generation, settings: sentrySettings(next) });
        if (nextQueue !== queue) queue?.close();
        queue = nextQueue;
        release();
      },
      abort() {
        successor?.close();
        successor = null;
        dropQueue();
        release();
      },
    };
  }

  async function counts(): Promise<Counts> {
    const asked = settled ? [] : [...leaving.keys(), current];
    const answers = await Promise.all(
      asked.map((link) => within(COUNT_PATIENCE, link.counts(), null)),
    );
    let sum = past;
    for (const [index, answer] of answers.entries()) {
      const link = asked[index];
      // What has settled in the meantime is in the sum already.
      const isCounted = link === undefined || (link !== current && !leaving.has(link));
      if (answer !== null && !isCounted) sum = addCounts(sum, answer);
    }
    return queue === null ? sum : { ...sum, capture: queueCounters(queue) };
  }

  return {
    announcement,
    ready: () => current.ready.catch((error) => Promise.reject(asCaptureError(error))),
    run() {
      follow(current);
      current.order({ kind: "go", taken });
      return ended.promise;
    },
    prepare,
    counts,
    stop() {
      if (ending) return;
      ending = true;
      givesUp();
      current.order({ kind: "stop", givesUpGpg: true });
      within(STOP_PATIENCE, current.stopped, null).then(() => ended.resolve("stopped"));
    },
    async settle() {
      const patience = ending ? STOP_PATIENCE : SETTLE_PATIENCE;
      ending = true;
      givesUp();
      const last = await within(patience, current.settled, null);
      if (last !== null) past = addCounts(past, last);
      settled = true;
      await within(patience, Promise.all(leaving.values()), null);
    },
    close() {
      successor?.close();
      for (const link of leaving.keys()) link.close();
      current.close();
      queue?.close();
    },
  };
}

function sameQueue(one: ServerConfig, other: ServerConfig): boolean {
  return one.ENABLE_NFQ_CAPTURE === other.ENABLE_NFQ_CAPTURE &&
    one.NFQ_QUEUE_NUMBER === other.NFQ_QUEUE_NUMBER;
}

/** An error for the operator of what a sentry told about its end. */
function asCaptureError(error: unknown): unknown {
  if (!(error instanceof SentryEndError)) return error;
  return new CaptureError(error.message, error.end.failure?.hint ?? null);
}

/** What the promise gives, or `otherwise` when it rejects or takes more milliseconds than `limit`. */
function within<T, F>(limit: number, promise: Promise<T>, otherwise: F): Promise<T | F> {
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
