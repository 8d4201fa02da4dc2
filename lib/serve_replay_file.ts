// The digest cache on the disk: read at start, and added to before anything opens.

import type { ReplayMemory } from "./auth_replay.ts";
import { formatReplayRecord, isRemark, type ReplayRecord, replayTime } from "./auth_replay_line.ts";
import { checkFilePermissions } from "./conf_permissions.ts";
import { type Host, reasonOf } from "./host.ts";
import { linesOf } from "./serve_replay_lines.ts";
import {
  createReplayWriter,
  type KeepUntil,
  LINES_A_TURN,
  makeReplayFile,
  OWNER_ONLY,
  type ReplayHost,
  type ReplayWriter,
} from "./serve_replay_writer.ts";
import type { Log } from "./serve_log.ts";

/** Keeps records on the disk. */
export interface ReplayFile {
  /**
   * Resolves when the record is on the disk. Rejects when it could not be written: then the packet
   * stays refused, and its record is written with the next one.
   */
  append(record: ReplayRecord): Promise<void>;
  close(): void;
}

/** Damaged lines that are shown; the others are counted. */
const MOST_SHOWN = 10;
const LONGEST_SHOWN = 160;

/**
 * Reads the cache into the memory and opens it for more, making it when it is missing.
 *
 * @param memory null when another process reads it
 * @param keepUntil tells how long a record of that time matters, both in seconds since 1970; what
 * is older stays on the disk for a while, the newest records in any case
 * @throws when the file cannot be read, made or trusted; the message names it and the reason
 */
export function openReplayFile(
  host: ReplayHost,
  path: string,
  memory: ReplayMemory | null,
  log: Log,
  keepUntil: KeepUntil,
): ReplayFile {
  try {
    const look = prepare(host, path, log) ? lookThrough(host, path, memory, log, keepUntil) : null;
    // Whether it is a digest cache shows at its beginning.
    const beginning = look?.next() ?? { done: true, value: 0 };
    const records = memory === null || look === null
      ? inTurns(look, beginning)
      : Promise.resolve(toItsEnd(look, beginning));
    const file = host.openRecordFile(path, OWNER_ONLY);
    return batched(createReplayWriter({ host, path, log, keepUntil, file, records }));
  } catch (error) {
    throw new Error(`cannot use digest cache "${path}": ${reasonOf(error)}`);
  }
}

type Step = IteratorResult<void, number>;

function toItsEnd(look: Generator<void, number>, beginning: Step): number {
  let step = beginning;
  while (!step.done) step = look.next();
  return step.value;
}

/** Where nobody waits for the records themselves, other things have their turns. */
async function inTurns(look: Generator<void, number> | null, beginning: Step): Promise<number> {
  let step = beginning;
  while (!step.done && look !== null) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    step = look.next();
  }
  return step.done ? step.value : 0;
}

/** Makes the file if it is missing; tells whether there is anything in it. */
function prepare(host: ReplayHost, path: string, log: Log): boolean {
  const info = host.lstat(path);
  if (info === null) {
    makeReplayFile(host, path);
    return false;
  }
  if (info.isSymlink) {
    throw new Error("it is a symbolic link; set DIGEST_FILE to the file itself");
  }
  if (!info.isFile) throw new Error("it is not a regular file");
  for (const { message } of checkFilePermissions(path, info, host.uid, false)) log.warning(message);
  return true;
}

/**
 * Reads the cache into the memory; throws when it cannot be read or is something else.
 *
 * @returns how many records the file has
 */
export function loadReplayFile(
  host: ReplayHost,
  path: string,
  memory: ReplayMemory,
  log: Log,
  keepUntil: KeepUntil,
): number {
  const look = lookThrough(host, path, memory, log, keepUntil);
  return toItsEnd(look, look.next());
}

/** Reads the cache, some lines each time. */
function* lookThrough(
  host: ReplayHost,
  path: string,
  memory: ReplayMemory | null,
  log: Log,
  keepUntil: KeepUntil,
): Generator<void, number> {
  const now = host.now() / 1000;
  const decoder = new TextDecoder();
  let records = 0;
  let damaged = 0;
  let number = 0;
  let known = false;
  for (const { bytes, from, to } of linesOf(host.readPieces(path))) {
    if (++number % LINES_A_TURN === 0) yield;
    const time = replayTime(bytes, from, to);
    if (time !== null) {
      records++;
      memory?.addLine(bytes.subarray(from, to), keepUntil({ time }));
      memory?.prune(now);
    } else if (isRemark(bytes, from, to)) {
      known ||= decoder.decode(bytes.subarray(from, from + 10)) === "# <digest>";
    } else if (++damaged <= MOST_SHOWN) {
      const shown = printable(
        decoder.decode(bytes.subarray(from, Math.min(to, from + LONGEST_SHOWN))),
      );
      log.info(`*Skipping invalid digest file entry in ${path} at line ${number}.\n - ${shown}`);
    } else if (records === 0 && !known) {
      break;
    }
  }
  if (damaged > 0 && records === 0 && !known) {
    throw new Error("it is not a digest cache: remove it, or set DIGEST_FILE to another file");
  }
  if (damaged > MOST_SHOWN) {
    log.info(`*Skipped ${damaged} invalid digest file entries in ${path}.`);
  }
  log.debug(`Using Digest Cache: '${path}' (entry count = ${memory?.size ?? records})`);
  return records;
}

function printable(text: string): string {
  return text.replace(/[\p{C}\uFFFD]/gu, "?");
}

/** Renames the cache to `<path>-old`, so that the next one starts empty. */
export function rotateReplayFile(host: Host, path: string, log: Log): void {
  log.info(`Rotating digest file: ${path}`);
  try {
    host.rename(path, `${path}-old`);
  } catch (error) {
    log.error(`Unable to rename digest file: ${path} to ${path}-old: ${reasonOf(error)}`);
  }
}

/** Records that come while one write is under way share the next: a burst costs few syncs. */
function batched(writer: ReplayWriter): ReplayFile {
  let waiting: string[] = [];
  let next: Promise<void> | null = null;
  let current: Promise<void> = writer.tidy();
  return {
    append(record) {
      waiting.push(formatReplayRecord(record));
      next ??= current.catch(() => {}).then(() => {
        const texts = waiting;
        waiting = [];
        next = null;
        current = writer.write(texts.join(""), texts.length);
        return current;
      });
      return next;
    },
    close: () => writer.close(),
  };
}
