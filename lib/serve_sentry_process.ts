// The sentry as a process of its own: opens the capture, gives up all privileges, and from then on
// only reads packets and writes reports to the monitor. What judges packets is serve_sentry.ts.

import type { Policy } from "./auth_decide.ts";
import { createReplayMemory, type ReplayMemory, type ReplayRecord } from "./auth_replay.ts";
import { type ByteStream, type Confinement, type Host, reasonOf } from "./host.ts";
import { CaptureError, type CaptureSource, runCapture } from "./serve_capture.ts";
import { createJudgedNotes, type JudgedNotes } from "./serve_judged_notes.ts";
import { createLog, type Log } from "./serve_log.ts";
import { keepMemorySmall } from "./serve_memory.ts";
import { createLineReader } from "./serve_pipe_lines.ts";
import { type Order, ORDER_LIMIT, parseOrder, type SentryStart } from "./serve_pipe_orders.ts";
import {
  askedLine,
  formatReport,
  logLine,
  MOST_NOTES,
  type Report,
  type ReportedCounts,
} from "./serve_pipe_reports.ts";
import { loadReplayFile } from "./serve_replay_file.ts";
import { createSentry, keepUntil } from "./serve_sentry.ts";
import { createGpgQuestions } from "./serve_sentry_gpg.ts";
import { maxPacketAge, openSource, policyOf } from "./serve_settings.ts";
import { systemTimer } from "./serve_timer.ts";

/** Hands a report to the monitor. */
type Tell = (report: Report) => void;

/** Serves the monitor at the other end of standard input and output until that is gone. */
export async function runSentryProcess(host: Host): Promise<number> {
  const orders = readOrders(host.standardStream());
  const confinement = await host.loadConfinement();
  confinement.ignoreSignals();
  const { value: first } = await orders.next();
  if (first?.kind !== "start") return 1;
  const tell: Tell = (report) => {
    const line = formatReport(report);
    // A report that the monitor would take for a forgery is a bug; its packet opens nothing.
    if (line !== null) host.stdout(line);
  };
  const failed = Promise.withResolvers<never>();
  try {
    const obey = await takeUp(host, confinement, first, tell, failed.reject);
    await Promise.race([failed.promise, obeyAll(orders, obey)]);
    return 0;
  } catch (error) {
    const hint = error instanceof CaptureError ? error.hint : null;
    tell({ kind: "failed", text: logLine(reasonOf(error)), hint });
    return 1;
  }
}

async function obeyAll(
  orders: AsyncIterable<Order>,
  obey: (order: Order) => void,
): Promise<void> {
  for await (const order of orders) obey(order);
}

const READ_BYTES = 1 << 16;

async function* readOrders(stream: ByteStream): AsyncGenerator<Order, void> {
  const reader = createLineReader(ORDER_LIMIT);
  const buffer = new Uint8Array(READ_BYTES);
  for (;;) {
    const count = await stream.read(buffer);
    if (count === null) return;
    for (const line of reader.push(buffer.subarray(0, count)) ?? []) yield parseOrder(line);
  }
}

/**
 * Takes up the work, without privileges at its end.
 *
 * @param fail called when it cannot go on later
 * @returns what orders are given to
 * @throws when something that is needed cannot be had
 */
async function takeUp(
  host: Host,
  confinement: Confinement,
  start: SentryStart,
  tell: Tell,
  fail: (error: unknown) => void,
): Promise<(order: Order) => void> {
  const native = await host.native();
  const { options } = start;
  const log = createReportLog(start, tell);
  const source = openSource(host, native, start.settings.config, options, log, {
    awaits: start.awaitsInterfaces,
    renew: () => tell({ kind: "renew" }),
  }, {
    descriptor: start.queueDescriptor,
    settle: (lastId, verdict) => tell({ kind: "settle", lastId, verdict }),
  });
  tell({ kind: "opened", announcement: source.announcement });

  const replays = readReplays(host, start);
  const generations = new WeakMap<Policy, number>();
  let policy = enact(start);
  const questions = createGpgQuestions(tell);
  const sentry = createSentry({
    policy,
    replays,
    log,
    now: host.now,
    timer: systemTimer,
    submit: (request, itsPolicy) =>
      tell({
        kind: "request",
        generation: generations.get(itsPolicy) ?? 0,
        request: { ...request, asked: askedLine(request.asked) },
      }),
    decrypt: (request, itsPolicy) => questions.ask(request, generations.get(itsPolicy) ?? 0),
  });

  // The time zone is read from a file when it is first asked for.
  new Date().getTimezoneOffset();
  for (const line of confinement.confine(start.account, start.monitor)) log.warning(line);
  tell({ kind: "ready" });
  const memory = keepMemorySmall(host, native, systemTimer);

  const notes = createJudgedNotes();

  function enact({ settings, generation }: Pick<SentryStart, "settings" | "generation">): Policy {
    // What only the monitor needs of the settings is not here.
    const made = policyOf({ ...settings, reading: { settings: new Map() } }, options, log, native);
    generations.set(made, generation);
    return made;
  }

  function remember(records: readonly ReplayRecord[]): void {
    for (const record of records) replays.add(record, keepUntil(record, policy));
  }

  function counts(): ReportedCounts {
    return {
      packets: [...sentry.tally].map(([what, count]) => ({ what, count })),
      capture: source.counters?.() ?? null,
    };
  }

  async function judge(before: number): Promise<void> {
    const counted = countingSource(source, before, notes, memory.took);
    const limit = options.packetLimit;
    const left = limit === 0 ? 0 : limit - before;
    const how = left < 0 ? "limit" : await runCapture(counted.source, left, sentry.receive);
    const judged = notes.take();
    while (judged.length > 0) tell({ kind: "judged", notes: judged.splice(0, MOST_NOTES) });
    tell({ kind: "stopped", how, taken: counted.taken() });
    await sentry.settled();
    sentry.flushLog();
    tell({ kind: "settled", counts: counts() });
  }

  return (order) => {
    switch (order.kind) {
      case "start":
        return;
      case "remember":
        return remember(order.records);
      case "skip":
        return notes.skip(order.notes);
      case "note":
        return notes.begin();
      case "settings":
        policy = enact(order);
        return sentry.setPolicy(policy);
      case "decrypted":
        return questions.answer(order.id, order.decryption);
      case "count":
        return tell({ kind: "counts", id: order.id, counts: counts() });
      case "go":
        return void judge(order.taken).catch(fail);
      case "stop":
        if (order.givesUpGpg) questions.giveUp();
        return source.stop();
    }
  };
}

/** What the digest cache remembers; nothing without one. */
function readReplays(host: Host, { replayFile, settings }: SentryStart): ReplayMemory {
  const replays = createReplayMemory();
  if (replayFile === null) return replays;
  const age = { maxPacketAge: maxPacketAge(settings.config) };
  // What is wrong with it, the monitor has told.
  const quiet = createLog(0, () => {});
  loadReplayFile(host, replayFile, replays, quiet, (record) => keepUntil(record, age));
  return replays;
}

/**
 * A source that counts its packets, passes over those that another sentry has judged, and takes what
 * is left when it is stopped.
 *
 * @param took told of packets that were taken
 */
function countingSource(
  source: CaptureSource,
  before: number,
  notes: JudgedNotes,
  took: (packets: number) => void,
): { readonly source: CaptureSource; taken(): number } {
  let taken = before;
  let stopped = false;
  return {
    taken: () => taken,
    source: {
      ...source,
      async wait() {
        if (stopped) return false;
        stopped = !await source.wait();
        return true;
      },
      drain(limit, take) {
        const count = source.drain(limit, (datagram) => {
          if (notes.judge(datagram)) take(datagram);
        });
        taken += count;
        took(count);
        // All that had come before this sentry began to judge has been seen.
        if (count < limit) notes.endSkipping();
        return count;
      },
    },
  };
}

function createReportLog({ verbosity, decisions }: SentryStart, tell: Tell): Log {
  const put = (level: "error" | "warning" | "info" | "debug") => (text: string): void =>
    tell({ kind: "log", level, text: logLine(text) });
  return {
    verbosity,
    error: put("error"),
    warning: put("warning"),
    info: put("info"),
    debug: verbosity > 0 ? put("debug") : () => {},
    // Only the monitor has all the numbers.
    counts: () => {},
    decision: decisions
      ? (entry) => tell({ kind: "decision", entry: { ...entry, asked: askedLine(entry.asked) } })
      : null,
  };
}
