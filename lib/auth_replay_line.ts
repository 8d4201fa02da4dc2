// The lines of fwknopd's digest.cache: one accepted packet each.

/** One accepted packet. */
export interface ReplayRecord {
  /** Unpadded base64 of the SHA-256 of the wire text: 43 characters. */
  readonly digest: string;
  /** IANA number of the transport protocol. */
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** Wall clock of the acceptance, in seconds since 1970 UTC. */
  readonly time: number;
}

/** First line of a new digest.cache. */
export const DIGEST_CACHE_HEADER =
  "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>\n";

/** The line of digest.cache for a record, with its line end. */
export function formatReplayRecord(record: ReplayRecord): string {
  const { digest, protocol, source, sourcePort, destination, destinationPort, time } = record;
  return `${digest} ${protocol} ${source} ${sourcePort} ${destination} ${destinationPort} ${time}\n`;
}

/**
 * Reads a line of digest.cache: a record, `"skip"` for a comment or an empty line, or `"invalid"`.
 * Never throws.
 */
export function parseReplayRecord(line: string): ReplayRecord | "skip" | "invalid" {
  const bytes = new TextEncoder().encode(line);
  if (isRemark(bytes, 0, bytes.length)) return "skip";
  if (replayTime(bytes, 0, bytes.length) === null) return "invalid";
  const [digest, protocol, source, sourcePort, destination, destinationPort, time] = line.split(
    " ",
  );
  return {
    digest: digest!,
    protocol: Number(protocol),
    source: source!,
    sourcePort: Number(sourcePort),
    destination: destination!,
    destinationPort: Number(destinationPort),
    time: Number(time),
  };
}

/** Bytes of the longest line of a record that is read, without its line end. */
export const LONGEST_LINE = 255;

const SPACE = 32;
const DIGIT = 1;
const ADDRESS = 2;
const BASE64 = 4;
const BLANK = 8;
const CLASSES = classesOfBytes();
/** Kind and most characters of each field; the time is the last. */
const FIELDS: readonly (readonly [kind: number, most: number])[] = [
  [BASE64, 64],
  [DIGIT, 3],
  [ADDRESS, 45],
  [DIGIT, 5],
  [ADDRESS, 45],
  [DIGIT, 5],
  [DIGIT, 12],
];

/** Whether the bytes from one place up to another are a comment or an empty line. */
export function isRemark(bytes: Uint8Array, from: number, to: number): boolean {
  return from === to || [35, 59, 13].includes(bytes[from]!);
}

/**
 * The time of the record that the bytes from one place up to another are, without their line end;
 * null when they are none. A million lines take a fraction of a second.
 */
export function replayTime(bytes: Uint8Array, from: number, to: number): number | null {
  if (to - from > LONGEST_LINE) return null;
  let at = from;
  let start = from;
  for (const [kind, most] of FIELDS) {
    if (at > from && bytes[at++] !== SPACE) return null;
    start = at;
    while (at < to && (CLASSES[bytes[at]!]! & kind) !== 0) at++;
    if (at === start || at - start > most) return null;
  }
  let time = 0;
  for (let digit = start; digit < at; digit++) time = time * 10 + bytes[digit]! - 48;
  while (at < to && (CLASSES[bytes[at]!]! & BLANK) !== 0) at++;
  return at === to ? time : null;
}

function classesOfBytes(): Uint8Array {
  const classes = new Uint8Array(256);
  const members: readonly (readonly [kind: number, pattern: RegExp])[] = [
    [DIGIT, /[0-9]/],
    [ADDRESS, /[0-9A-Fa-f.:]/],
    [BASE64, /[A-Za-z0-9+/]/],
    [BLANK, /[ \t\r]/],
  ];
  for (let byte = 0; byte < 128; byte++) {
    for (const [kind, pattern] of members) {
      if (pattern.test(String.fromCharCode(byte))) classes[byte]! |= kind;
    }
  }
  return classes;
}
