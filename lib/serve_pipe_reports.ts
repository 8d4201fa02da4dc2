// What the sentry tells the monitor, and the strict reading of it: the sentry handles what strangers
// send, so a line from it is believed as little as a packet.

import type { Asked, LogLevel, RefusalReason } from "./auth_event.ts";
import type { AccessGrant, CommandGrant, CycleGrant, NatGrant, NatTerms } from "./auth_grant.ts";
import type { Grant } from "./auth_grant.ts";
import type { ReplayRecord } from "./auth_replay.ts";
import type { Verdict } from "./net_nfqueue.ts";
import { PROTOCOL_NUMBERS, type ProtocolPort } from "./net_port.ts";
import type { CaptureCounters } from "./serve_capture.ts";
import type { DecisionEntry } from "./serve_log.ts";
import { formatLine, parseLine } from "./serve_pipe_lines.ts";
import {
  address,
  exactly,
  flag,
  keyOf,
  listOf,
  object,
  orNull,
  type Shape,
  text,
  whole,
} from "./serve_pipe_shape.ts";
import type { SentryRequest } from "./serve_sentry.ts";

/** What is counted of packets, in the form in which it crosses. */
export interface ReportedCounts {
  readonly packets: readonly { readonly what: Outcome; readonly count: number }[];
  readonly capture: CaptureCounters | null;
}

type Outcome = "granted" | RefusalReason;

/** What the sentry tells, by kind. */
export type Report =
  /** The capture is open; these lines announce it. */
  | { readonly kind: "opened"; readonly announcement: readonly string[] }
  /** Privileges are given up, replays are remembered: packets can be judged. */
  | { readonly kind: "ready" }
  | { readonly kind: "log"; readonly level: LogLevel; readonly text: string }
  | { readonly kind: "decision"; readonly entry: DecisionEntry }
  | {
    readonly kind: "request";
    /** The settings that the packet was judged by. */
    readonly generation: number;
    readonly request: SentryRequest;
  }
  | {
    readonly kind: "decrypt";
    readonly id: number;
    readonly generation: number;
    readonly stanza: number;
    /** Base64 without padding. */
    readonly message: string;
    readonly isAuthenticated: boolean;
  }
  | { readonly kind: "counts"; readonly id: number; readonly counts: ReportedCounts }
  /** Packets of the queue up to this one have been read. */
  | { readonly kind: "settle"; readonly lastId: number; readonly verdict: Verdict }
  /** A capture has to be opened again, which takes privileges. */
  | { readonly kind: "renew" }
  /** Packets that were judged while a successor was on its way; see `noteOf`. */
  | { readonly kind: "judged"; readonly notes: readonly string[] }
  /** Nothing is captured any more, and nothing of it left to be judged but what waits for gpg. */
  | { readonly kind: "stopped"; readonly how: "stopped" | "limit"; readonly taken: number }
  /** All is done. */
  | { readonly kind: "settled"; readonly counts: ReportedCounts }
  /** The sentry cannot go on, for a reason that an operator can do something about. */
  | { readonly kind: "failed"; readonly text: string; readonly hint: string | null };

/** Most bytes of a report's line. */
export const REPORT_LIMIT = 1 << 16;
/** Most UTF-16 units of a line for the log: escaped, it still fits in a report. */
export const LONGEST_LOG_LINE = 16_000;
/** Most notes in a report. */
export const MOST_NOTES = 1000;

const REASONS: Readonly<Record<Outcome, true>> = {
  "granted": true,
  "not-a-packet": true,
  "no-stanza-for-source": true,
  "stanza-expired": true,
  "no-encryption-mode-match": true,
  "hmac-mismatch": true,
  "replay": true,
  "undecodable": true,
  "rate-limited": true,
  "gpg-busy": true,
  "signer-not-listed": true,
  "too-old-or-new": true,
  "invalid-allow-address": true,
  "source-address-required": true,
  "user-name-mismatch": true,
  "nat-not-enabled": true,
  "nat-target-refused": true,
  "command-not-allowed": true,
  "port-denied": true,
  "test-mode": true,
  "digest-cache-failed": true,
  "firewall-failed": true,
  "monitor-refused": true,
};
const LEVELS: Readonly<Record<LogLevel, true>> = {
  error: true,
  warning: true,
  info: true,
  debug: true,
};

const MOST_PORTS = 512;
const LONGEST_TEXT = 2048;
/** Base64 of what fits in a packet. */
const LONGEST_MESSAGE = 4096;

const count = whole(0, Number.MAX_SAFE_INTEGER);
/** Numbers of stanzas, settings and questions. */
const number = whole(0, 0x7fffffff);
const port = whole(0, 0xffff);
const line = text(LONGEST_LOG_LINE);
const outcome = keyOf(REASONS);
const level = keyOf(LEVELS);

const ports = listOf(object<ProtocolPort>({ protocol: keyOf(PROTOCOL_NUMBERS), port }), MOST_PORTS);
const terms = {
  stanza: number,
  source: address,
  destination: address,
  ports,
  seconds: number,
  expires: count,
};
const hostName = text(255, /^[A-Za-z0-9._-]+$/);
const natHost: Shape<string> = (value): value is string => hostName(value) || address(value);
const nat = object<NatTerms>({
  local: flag,
  host: natHost,
  port,
  all: flag,
  translatesDestination: flag,
  forcedSource: orNull(address),
  masquerade: flag,
});
const GRANTS: readonly Shape<Grant>[] = [
  object<AccessGrant>({ kind: exactly("access"), ...terms }),
  object<NatGrant>({ kind: exactly("nat"), ...terms, nat }),
  object<CommandGrant>({
    kind: exactly("command"),
    stanza: number,
    source: address,
    command: text(255, /^[ -~]+$/),
  }),
  object<CycleGrant>({ kind: exactly("cycle"), ...terms, packetSource: address }),
];
const grant: Shape<Grant> = (value): value is Grant => GRANTS.some((shape) => shape(value));
const record = object<ReplayRecord>({
  digest: text(43, /^[A-Za-z0-9+/]{43}$/),
  protocol: whole(0, 255),
  source: address,
  sourcePort: port,
  destination: address,
  destinationPort: port,
  time: count,
});
const asked = object<Asked>({
  user: text(LONGEST_TEXT),
  request: text(LONGEST_TEXT),
  nat: orNull(text(LONGEST_TEXT)),
});
/** Whatever grants is to be remembered. */
const request: Shape<SentryRequest> = (value): value is SentryRequest =>
  object<SentryRequest>({
    packetSource: address,
    stanza: number,
    record: orNull(record),
    grant: orNull(grant),
    asked: orNull(asked),
  })(value) && value.record !== null;
const counts = object<ReportedCounts>({
  packets: listOf(object({ what: outcome, count }), Object.keys(REASONS).length),
  capture: orNull(object<CaptureCounters>({
    received: count,
    dropped: count,
    droppedByInterface: count,
    fragments: count,
  })),
});

/** Of a refusal only: what was granted is the monitor's to tell. */
const entry: Shape<DecisionEntry> = (value): value is DecisionEntry =>
  object<DecisionEntry>({
    level,
    id: orNull(text(43, /^[A-Za-z0-9+/]*$/)),
    source: address,
    stanza: orNull(number),
    outcome,
    asked: orNull(asked),
    address: orNull(address),
    seconds: orNull(number),
  })(value) && value.outcome !== "granted";

type Of<Kind extends Report["kind"]> = Extract<Report, { readonly kind: Kind }>;

const SHAPES: { readonly [Kind in Report["kind"]]: Shape<Of<Kind>> } = {
  opened: object<Of<"opened">>({ kind: exactly("opened"), announcement: listOf(line, 64) }),
  ready: object<Of<"ready">>({ kind: exactly("ready") }),
  log: object<Of<"log">>({ kind: exactly("log"), level, text: line }),
  decision: object<Of<"decision">>({ kind: exactly("decision"), entry }),
  request: object<Of<"request">>({ kind: exactly("request"), generation: number, request }),
  decrypt: object<Of<"decrypt">>({
    kind: exactly("decrypt"),
    id: number,
    generation: number,
    stanza: number,
    message: text(LONGEST_MESSAGE, /^[A-Za-z0-9+/]*$/),
    isAuthenticated: flag,
  }),
  counts: object<Of<"counts">>({ kind: exactly("counts"), id: number, counts }),
  settle: object<Of<"settle">>({
    kind: exactly("settle"),
    lastId: whole(0, 0xffffffff),
    verdict: keyOf<Verdict>({ drop: true, accept: true }),
  }),
  renew: object<Of<"renew">>({ kind: exactly("renew") }),
  judged: object<Of<"judged">>({
    kind: exactly("judged"),
    notes: listOf(text(64, /^[!-~]+$/), MOST_NOTES),
  }),
  stopped: object<Of<"stopped">>({
    kind: exactly("stopped"),
    how: keyOf({ stopped: true, limit: true }),
    taken: count,
  }),
  settled: object<Of<"settled">>({ kind: exactly("settled"), counts }),
  failed: object<Of<"failed">>({ kind: exactly("failed"), text: line, hint: orNull(line) }),
};

/** The line for a report; null for what {@linkcode parseReport} would not take. */
export function formatReport(report: Report): string | null {
  const shape: Shape<Report> = SHAPES[report.kind];
  return shape(report) ? formatLine(report) : null;
}

/** Reads a report; null for whatever is not exactly one. Never throws. */
export function parseReport(bytes: Uint8Array): Report | null {
  const value = parseLine(bytes);
  if (typeof value !== "object" || value === null) return null;
  const { kind } = value as { readonly kind?: unknown };
  if (!keyOf(SHAPES)(kind)) return null;
  const shape: Shape<Report> = SHAPES[kind];
  return shape(value) ? value : null;
}

/** A text for the log without what could harm a terminal, cut to what a report holds. */
export function logLine(text: string): string {
  const cut = text.length > LONGEST_LOG_LINE ? `${text.slice(0, LONGEST_LOG_LINE - 3)}...` : text;
  // deno-lint-ignore no-control-regex -- they are what is looked for
  return cut.replaceAll(/[\0-\x08\x0b-\x1f\x7f-\x9f]/g, "?");
}

/** What a packet asks for, cut to what a report holds. */
export function askedLine(asked: Asked | null): Asked | null {
  const cut = (text: string): string => text.slice(0, LONGEST_TEXT);
  return asked === null ? null : {
    user: cut(asked.user),
    request: cut(asked.request),
    nat: asked.nat === null ? null : cut(asked.nat),
  };
}
