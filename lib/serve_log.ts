// The daemon's log: verbosity, and its two formats. Where lines go is the host's business.

import type { Asked, LogLevel, RefusalReason } from "./auth_event.ts";
import type { CaptureCounters } from "./serve_capture.ts";

/** What became of one packet, for programs to read. */
export interface DecisionEntry {
  readonly level: LogLevel;
  /** The beginning of the packet's digest in the digest cache; null for what is no packet. */
  readonly id: string | null;
  /** The address the packet came from. */
  readonly source: string;
  /** The stanza that granted or came closest to it; null when none was tried. */
  readonly stanza: number | null;
  readonly outcome: "granted" | RefusalReason;
  /** Null when no stanza's keys opened the packet. */
  readonly asked: Asked | null;
  /** The address that is let in; null for a refusal. */
  readonly address: string | null;
  /** Seconds that access lasts; null where that means nothing. */
  readonly seconds: number | null;
}

/** Packets so far. */
export interface Counts {
  /** Those that were judged, by what became of them. */
  readonly packets: ReadonlyMap<"granted" | RefusalReason, number>;
  /** What the capture counts; null where the system does not. */
  readonly capture: CaptureCounters | null;
}

/** Receives the daemon's lines; each is one event in fwknopd's wording, without a line end. */
export interface Log {
  error(text: string): void;
  warning(text: string): void;
  info(text: string): void;
  /** Dropped below verbosity 1. */
  debug(text: string): void;
  /** Takes what became of a packet; null where nobody wants it, since fwknopd's lines say it too. */
  readonly decision: ((entry: DecisionEntry) => void) | null;
  /** Takes numbers of packets; those below verbosity 1 that have level debug are dropped. */
  counts(level: "info" | "debug", counts: Counts): void;
  /** How much was asked for: the number of `-v` options plus VERBOSE. */
  readonly verbosity: number;
}

/** Where lines go. */
export type WriteLine = (level: LogLevel, text: string) => void;

/** Characters of a packet's digest that name it in the log. */
const ID_LENGTH = 16;

/** A packet's name in the log, from its digest. */
export function packetId(digest: string): string {
  return digest.slice(0, ID_LENGTH);
}

/**
 * A log that hands each wanted line to `write`. At verbosity 1 a line with the packet's id and the
 * reason follows what fwknopd says of a packet.
 *
 * @param verbosity 0 drops debug lines
 */
export function createLog(verbosity: number, write: WriteLine): Log {
  return {
    verbosity,
    error: (text) => write("error", text),
    warning: (text) => write("warning", text),
    info: (text) => write("info", text),
    debug: (text) => {
      if (verbosity > 0) write("debug", text);
    },
    counts: (level, counts) => {
      if (level === "info" || verbosity > 0) write(level, countsText(counts));
    },
    decision: verbosity === 0 ? null : (entry) => {
      if (entry.id !== null) write("debug", decisionText(entry));
    },
  };
}

/**
 * A log of one JSON object a line: `event` is `granted` or `refused` for what became of a packet,
 * `counts` for numbers of packets, and `message` for a line in fwknopd's wording.
 *
 * @param verbosity 0 drops what has level debug
 * @param now wall clock in milliseconds since 1970 UTC
 */
export function createJsonLog(verbosity: number, now: () => number, write: WriteLine): Log {
  const put = (level: LogLevel, event: string, fields: Readonly<Record<string, unknown>>): void => {
    if (level === "debug" && verbosity === 0) return;
    const time = new Date(now()).toISOString();
    write(level, JSON.stringify({ time, level, event, ...fields }));
  };
  const message = (level: LogLevel) => (text: string): void => put(level, "message", { text });
  return {
    verbosity,
    error: message("error"),
    warning: message("warning"),
    info: message("info"),
    debug: message("debug"),
    counts: (level, { packets, capture }) => {
      put(level, "counts", { packets: Object.fromEntries(packets), capture });
    },
    decision: ({ level, id, source, stanza, outcome, asked, address, seconds }) => {
      const packet = { id, source, stanza };
      if (outcome === "granted") {
        put(level, "granted", { ...packet, ...asked, grant: address, seconds });
      } else {
        put(level, "refused", { ...packet, reason: outcome, ...asked });
      }
    },
  };
}

function decisionText({ id, source, stanza, outcome }: DecisionEntry): string {
  const where = stanza === null ? `[${source}]` : `[${source}] (stanza #${stanza})`;
  return `${where} Packet ${id} ${outcome === "granted" ? outcome : `refused: ${outcome}`}`;
}

function countsText({ packets, capture }: Counts): string {
  const counts = [...packets].map(([what, count]) => `${what} ${count}`);
  const text = `Packets: ${counts.length === 0 ? "none" : counts.join(", ")}`;
  if (capture === null) return text;
  const { received, dropped, droppedByInterface, fragments } = capture;
  return `${text}; captured ${received}, ` +
    `dropped ${dropped} by the kernel and ${droppedByInterface} by the interface` +
    (fragments === 0 ? "" : `; passed over ${fragments} fragments`);
}
