// Writing to the digest cache: records are added, and the file is written anew when most of it no
// longer matters. While it cannot be written nothing is accepted, and the log says so once.

import { SPARE_RECORDS } from "./auth_replay.ts";
import {
  DIGEST_CACHE_HEADER,
  LONGEST_LINE,
  type ReplayRecord,
  replayTime,
} from "./auth_replay_line.ts";
import { type Host, reasonOf, type RecordFile } from "./host.ts";
import type { Log } from "./serve_log.ts";
import { linesOf } from "./serve_replay_lines.ts";

/** What of the host the digest cache needs. */
export type ReplayHost = Pick<
  Host,
  | "uid"
  | "now"
  | "lstat"
  | "writeTextFile"
  | "readPieces"
  | "replaceFile"
  | "syncDirectory"
  | "openRecordFile"
>;

/** Tells how long a record of that time matters, both in seconds since 1970. */
export type KeepUntil = (record: Pick<ReplayRecord, "time">) => number;

/** The mode of the file. */
export const OWNER_ONLY = 0o600;
/** Lines that are looked at before other things have their turn: a few milliseconds. */
export const LINES_A_TURN = 4096;
/** Characters of records that wait for the disk to be written again. */
const MOST_OWED = 1 << 20;

/** Makes an empty digest cache; throws when it cannot be made. */
export function makeReplayFile(host: ReplayHost, path: string): void {
  host.writeTextFile(path, DIGEST_CACHE_HEADER, { mode: OWNER_ONLY, how: "create" });
  host.syncDirectory(directoryOf(path));
}

function directoryOf(path: string): string {
  return path.replace(/[^/]*$/, "") || ".";
}

/** Writes to the cache. One call at a time. */
export interface ReplayWriter {
  /**
   * Resolves when the records are on the disk. Rejects when they could not be written; they are
   * then written with the next ones.
   */
  write(text: string, records: number): Promise<void>;
  /** Writes the file anew if much of it no longer matters; never rejects. */
  tidy(): Promise<void>;
  close(): void;
}

/** What a writer works with. */
export interface ReplayWriterParts {
  readonly host: ReplayHost;
  readonly path: string;
  readonly log: Log;
  readonly keepUntil: KeepUntil;
  readonly file: RecordFile;
  /** How many are in the file; nothing is written before that is known. */
  readonly records: Promise<number>;
}

/** A writer for a file that has been read. */
export function createReplayWriter(parts: ReplayWriterParts): ReplayWriter {
  const { host, path, log, keepUntil } = parts;
  let file: RecordFile | null = parts.file;
  let records = 0;
  const counted = parts.records.then((count) => void (records = count), (error) => {
    log.warning(`Cannot read digest cache ${path}: ${reasonOf(error)}`);
  });
  /** Records at which the file is looked through for those that still matter. */
  let limit = 2 * SPARE_RECORDS;
  /** Records of packets that were refused since they could not be written. */
  let owed = "";
  let failing = false;
  let closed = false;

  function open(): RecordFile {
    if (file !== null && host.lstat(path) !== null) return file;
    file?.close();
    file = null;
    if (host.lstat(path) === null) {
      log.warning(`Digest cache ${path} has vanished, making a new one.`);
      makeReplayFile(host, path);
      records = 0;
    }
    file = host.openRecordFile(path, OWNER_ONLY);
    return file;
  }

  async function add(text: string, count: number): Promise<void> {
    try {
      await open().append(owed + text);
    } catch (error) {
      if (owed.length < MOST_OWED) owed += text;
      // What is there now may be another file or disk when it works again.
      file?.close();
      file = null;
      if (!failing) {
        log.error(`Cannot write to digest cache ${path}, so nothing is opened: ${reasonOf(error)}`);
      }
      failing = true;
      throw error;
    }
    if (failing) log.warning(`Digest cache ${path} can be written again.`);
    failing = false;
    records += count;
    owed = "";
  }

  /** Writes the file anew, without most records that no longer matter, if there are many. */
  async function tidy(): Promise<void> {
    await counted;
    if (records < limit || closed) return;
    const now = host.now() / 1000;
    const spare = records - SPARE_RECORDS;
    let left = 0;
    const matters = (time: number, record: number): boolean => {
      const kept = record >= spare || keepUntil({ time }) >= now;
      if (kept) left++;
      return kept;
    };
    try {
      await host.replaceFile(path, keptLines(host.readPieces(path), matters), OWNER_ONLY);
      records = left;
    } catch (error) {
      log.warning(`Cannot write digest cache ${path} anew: ${reasonOf(error)}`);
    }
    limit = 2 * Math.max(records, SPARE_RECORDS);
    file?.close();
    file = null;
  }

  return {
    tidy,
    async write(text, count) {
      await tidy();
      await add(text, count);
    },
    close() {
      closed = true;
      file?.close();
      file = null;
    },
  };
}

/** The header and the records that matter, in pieces: after each the caller may do other things. */
function* keptLines(
  pieces: Iterable<Uint8Array>,
  matters: (time: number, record: number) => boolean,
): Generator<Uint8Array> {
  yield new TextEncoder().encode(DIGEST_CACHE_HEADER);
  const kept = new Uint8Array(LINES_A_TURN * (LONGEST_LINE + 1));
  let filled = 0;
  let lines = 0;
  let record = 0;
  for (const { bytes, from, to } of linesOf(pieces)) {
    const time = replayTime(bytes, from, to);
    if (time !== null && matters(time, record++)) {
      kept.set(bytes.subarray(from, to + 1), filled);
      filled += to + 1 - from;
    }
    if (++lines % LINES_A_TURN === 0) {
      yield kept.subarray(0, filled);
      filled = 0;
    }
  }
  yield kept.subarray(0, filled);
}
