// The digest cache on the disk: read at start, added to before anything opens.

import {
  DIGEST_CACHE_HEADER,
  formatReplayRecord,
  parseReplayRecord,
  type ReplayMemory,
  type ReplayRecord,
} from "./auth_replay.ts";
import { type Host, reasonOf } from "./host.ts";
import type { Log } from "./serve_log.ts";

/** Keeps records on the disk. */
export interface ReplayFile {
  /** Resolves when the record is on the disk; rejects when it could not be written. */
  append(record: ReplayRecord): Promise<void>;
  close(): void;
}

/**
 * Reads the cache into the memory and opens it for more, making it when it is missing.
 *
 * @param keepUntil tells how long a record matters, in seconds since 1970; what the memory drops
 * for its age stays on the disk
 * @throws when the file cannot be read or made; the message names it and the reason
 */
export function openReplayFile(
  host: Host,
  path: string,
  memory: ReplayMemory,
  log: Log,
  keepUntil: (record: ReplayRecord) => number,
): ReplayFile {
  try {
    if (host.stat(path) === null) {
      host.writeTextFile(path, DIGEST_CACHE_HEADER, { mode: 0o600, how: "create" });
    }
    load(host, path, memory, log, keepUntil);
    const file = host.openRecordFile(path, 0o600);
    return { append: batched((text) => file.append(text)), close: () => file.close() };
  } catch (error) {
    throw new Error(`cannot use digest cache "${path}": ${reasonOf(error)}`);
  }
}

function load(
  host: Host,
  path: string,
  memory: ReplayMemory,
  log: Log,
  keepUntil: (record: ReplayRecord) => number,
): void {
  const now = host.now() / 1000;
  for (const [index, line] of host.readTextFile(path).split("\n").entries()) {
    const record = parseReplayRecord(line);
    if (record === "skip") continue;
    if (record === "invalid") {
      log.info(`*Skipping invalid digest file entry in ${path} at line ${index + 1}.\n - ${line}`);
      continue;
    }
    memory.add(record, keepUntil(record));
    memory.prune(now);
  }
  log.debug(`Using Digest Cache: '${path}' (entry count = ${memory.size})`);
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

/** Records that arrive while one write is under way share the next one, so that a burst costs few syncs. */
function batched(write: (text: string) => Promise<void>): ReplayFile["append"] {
  let waiting = "";
  let next: Promise<void> | null = null;
  let current: Promise<void> = Promise.resolve();
  return (record) => {
    waiting += formatReplayRecord(record);
    next ??= current.catch(() => {}).then(() => {
      const text = waiting;
      waiting = "";
      next = null;
      current = write(text);
      return current;
    });
    return next;
  };
}
