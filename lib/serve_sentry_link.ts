// The monitor's end of one sentry process: starts it, reads its reports as what a stranger may have
// written, and ends it at the first that it may not make.

import type { Host } from "./host.ts";
import { CaptureError } from "./serve_capture.ts";
import type { Log } from "./serve_log.ts";
import { createLineReader } from "./serve_pipe_lines.ts";
import { formatOrder, type Order, type SentryStart } from "./serve_pipe_orders.ts";
import {
  logLine,
  parseReport,
  type Report,
  REPORT_LIMIT,
  type ReportedCounts,
} from "./serve_pipe_reports.ts";
import { SENTRY_PROCESS } from "./serve_sentry_start.ts";

type Of<Kind extends Report["kind"]> = Extract<Report, { readonly kind: Kind }>;

/** What a sentry's requests lead to. A promise that is given back holds up the reading until then. */
export interface LinkParts {
  readonly host: Pick<Host, "startPart" | "monotonic">;
  readonly log: Log;
  readonly start: SentryStart;
  readonly onRequest: (report: Of<"request">) => Promise<void> | void;
  readonly onDecrypt: (report: Of<"decrypt">) => Promise<void> | void;
  readonly onJudged: (notes: readonly string[]) => void;
  readonly onRenew: () => void;
  readonly onSettle: (report: Of<"settle">) => void;
}

/** How a sentry ended that was not asked to. */
export interface SentryEnd {
  /** What it said itself; it may lie. */
  readonly failure: { readonly text: string; readonly hint: string | null } | null;
  readonly status: number;
}

/** How a capture ended, and after how many packets in all. */
export interface CaptureEnd {
  readonly how: "stopped" | "limit";
  readonly taken: number;
}

/** A sentry process. Promises of what it does reject with {@linkcode SentryEndError} at its end. */
export interface SentryLink {
  /** Lines that announce its capture, which is open. */
  readonly opened: Promise<readonly string[]>;
  readonly ready: Promise<void>;
  readonly stopped: Promise<CaptureEnd>;
  readonly settled: Promise<ReportedCounts>;
  readonly over: Promise<SentryEnd>;
  /** Resolves once the system has taken it. */
  order(order: Order): Promise<void>;
  counts(): Promise<ReportedCounts>;
  /** Ends it by force; one that has settled has nothing left to do. */
  close(): void;
}

/** A sentry ended before it did what was waited for. */
export class SentryEndError extends Error {
  override readonly name = "SentryEndError";
  /** What is known of it. */
  readonly end: SentryEnd;

  constructor(end: SentryEnd) {
    super(end.failure?.text ?? `the sentry has ended with status ${end.status}`);
    this.end = end;
  }
}

/** A sentry's end as an error for the operator; any other error as it is. */
export function asCaptureError(error: unknown): unknown {
  if (!(error instanceof SentryEndError)) return error;
  return new CaptureError(error.message, error.end.failure?.hint ?? null);
}

/** UTF-16 units of lines for the log that are taken in a second. */
const LOG_ALLOWANCE = 8 << 20;
const SECOND = 1000;

/** Reports of notes that one sentry makes at most: see serve_judged_notes.ts. */
const MOST_JUDGED = 50;

/** Starts a sentry. */
export function startSentry(parts: LinkParts): SentryLink {
  const { host, log, start } = parts;
  const process = host.startPart(SENTRY_PROCESS.args, SENTRY_PROCESS.environment);
  const opened = Promise.withResolvers<readonly string[]>();
  const ready = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<CaptureEnd>();
  const settled = Promise.withResolvers<ReportedCounts>();
  const over = Promise.withResolvers<SentryEnd>();
  const questions = new Map<number, PromiseWithResolvers<ReportedCounts>>();
  const allowance = createAllowance(host, log);
  /** What it has been told and has told itself, in this order. */
  const phase = { opened: false, ready: false, judges: false, mayStop: false, stopped: false };
  let lastQuestion = 0;
  let judged = 0;
  let failure: SentryEnd["failure"] = null;

  /** What the report may lead to at this time; false when there is no such time. */
  function take(report: Report): Promise<void> | boolean | void {
    switch (report.kind) {
      case "opened":
        if (phase.opened) return false;
        phase.opened = true;
        return opened.resolve(report.announcement.map(logLine));
      case "ready":
        if (!phase.opened || phase.ready) return false;
        phase.ready = true;
        return ready.resolve();
      case "log":
        return allowance(report.text) ? log[report.level](logLine(report.text)) : undefined;
      case "decision":
        return allowance("") ? log.decision?.(report.entry) : undefined;
      case "request":
        return phase.judges ? parts.onRequest(report) : false;
      case "decrypt":
        return phase.judges ? parts.onDecrypt(report) : false;
      case "judged":
        return phase.mayStop && ++judged <= MOST_JUDGED ? parts.onJudged(report.notes) : false;
      case "settle":
        return phase.judges ? parts.onSettle(report) : false;
      case "renew":
        return phase.opened ? parts.onRenew() : false;
      case "counts":
        questions.get(report.id)?.resolve(report.counts);
        return void questions.delete(report.id);
      case "stopped":
        return takeStop(report);
      case "settled":
        if (!phase.stopped) return false;
        return settled.resolve(report.counts);
      case "failed":
        failure = { text: logLine(report.text), hint: report.hint };
        return;
    }
  }

  function takeStop({ how, taken }: Of<"stopped">): boolean {
    const { packetLimit } = start.options;
    const believed = how === "limit" ? packetLimit > 0 && taken >= packetLimit : phase.mayStop;
    if (!phase.judges || phase.stopped || !believed) return false;
    phase.stopped = true;
    stopped.resolve({ how, taken });
    return true;
  }

  /** Resolves with what is wrong when it reports what it may not, and with null at its end. */
  async function read(): Promise<string | null> {
    const reader = createLineReader(REPORT_LIMIT);
    for (;;) {
      const bytes = await process.read();
      if (bytes === null) return null;
      const lines = reader.push(bytes);
      if (lines === null) return "a line without end";
      for (const line of lines) {
        const report = parseReport(line);
        if (report === null) return "what is no report";
        if (await take(report) === false) return `"${report.kind}" out of turn`;
      }
    }
  }

  async function follow(): Promise<void> {
    const wrong = await read();
    if (wrong !== null) {
      log.error(`The sentry has told ${wrong}; ending it.`);
      process.kill();
    }
    const end: SentryEnd = {
      failure: wrong === null ? failure : null,
      status: await process.status,
    };
    const error = new SentryEndError(end);
    for (const one of [opened, ready, stopped, settled, ...questions.values()]) one.reject(error);
    over.resolve(end);
  }

  for (const { promise } of [opened, ready, stopped, settled]) promise.catch(() => {});
  const order = (what: Order): Promise<void> => {
    if (what.kind === "go") phase.judges = true;
    if (what.kind === "stop") phase.mayStop = true;
    return process.write(formatOrder(what));
  };
  order({ kind: "start", ...start });
  follow();

  return {
    opened: opened.promise,
    ready: ready.promise,
    stopped: stopped.promise,
    settled: settled.promise,
    over: over.promise,
    order,
    counts() {
      const id = ++lastQuestion;
      const question = Promise.withResolvers<ReportedCounts>();
      question.promise.catch(() => {});
      questions.set(id, question);
      order({ kind: "count", id });
      return question.promise;
    },
    close: process.kill,
  };
}

/** Lets so much through in a second; what is too much is counted and told. */
function createAllowance(
  { monotonic }: Pick<Host, "monotonic">,
  log: Log,
): (text: string) => boolean {
  let since = monotonic();
  let used = 0;
  let dropped = 0;
  return (text) => {
    const now = monotonic();
    if (now - since >= SECOND) {
      if (dropped > 0) log.warning(`Dropped ${dropped} lines of the sentry: there were too many.`);
      since = now;
      used = 0;
      dropped = 0;
    }
    used += text.length + 80;
    if (used <= LOG_ALLOWANCE) return true;
    dropped++;
    return false;
  };
}
