// The closing commands that are still to run, on the disk: what a daemon that was killed has opened
// is closed by the next one. One JSON value a line; a finished command is noted, not removed.

import type { CommandLine } from "./auth_command.ts";
import { type Host, reasonOf, type RecordFile } from "./host.ts";
import type { Log } from "./serve_log.ts";

/** A closing command that is to run. */
export interface PendingClose {
  readonly stanza: number;
  /** The address that was let in, in its usual text form. */
  readonly source: string;
  /** Wall clock, in seconds since 1970 UTC. */
  readonly due: number;
  /** How long it was to be open; whatever the wall clock says later, it is not open longer. */
  readonly seconds: number;
  readonly line: CommandLine;
}

/** Keeps closing commands on the disk. */
export interface CycleFile {
  /** What an earlier run left, in the order of its opening. */
  readonly left: readonly PendingClose[];
  /** Resolves when the command is on the disk; rejects when it could not be written. */
  add(close: PendingClose): Promise<void>;
  /** Notes that a command has run; one that cannot be noted runs again after a restart. */
  remove(close: PendingClose): Promise<void>;
  /** Ends the writing; a file in which nothing is pending goes. */
  close(): void;
}

/** Lines of finished commands after which the file is written anew. */
const MOST_FINISHED = 1000;
const OWNER_ONLY = 0o600;
const WRITABLE_BY_OTHERS = 0o022;

/**
 * Reads the file, if there is one; it is made when something is to be kept.
 *
 * @throws when the file cannot be read, or when others than this user could have written commands
 * into it
 */
export function openCycleFile(
  host: Pick<Host, "uid" | "lstat" | "readTextFile" | "replaceFile" | "remove" | "openRecordFile">,
  path: string,
  log: Log,
): CycleFile {
  const left = new Map<number, PendingClose>();
  const numbers = new Map<PendingClose, number>();
  let file: RecordFile | null = null;
  let last = 0;
  let finished = 0;
  /** The last line has no end: what is added would become part of it. */
  let broken = false;
  let writing: Promise<void> = Promise.resolve();

  try {
    for (const entry of readEntries()) {
      last = Math.max(last, entry.number);
      if (entry.pending !== null) left.set(entry.number, entry.pending);
      else if (left.delete(entry.number)) finished++;
    }
    for (const [number, pending] of left) numbers.set(pending, number);
  } catch (error) {
    throw new Error(`cannot use "${path}": ${reasonOf(error)}`);
  }

  function readEntries(): Entry[] {
    const info = host.lstat(path);
    if (info === null) return [];
    if (!info.isFile || info.uid !== host.uid || (info.mode & WRITABLE_BY_OTHERS) !== 0) {
      throw new Error("others could have written commands into it; remove it");
    }
    const text = host.readTextFile(path);
    if (text !== "" && !text.endsWith("\n")) broken = true;
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.flatMap((line) => {
      const entry = parseEntry(line);
      if (entry === null) log.warning(`Skipping an invalid line of ${path}`);
      return entry ?? [];
    });
  }

  /** Replaces the file by one that has only what is pending. */
  async function rewrite(): Promise<void> {
    const lines = [...numbers].map(([pending, number]) => formatPending(number, pending));
    await host.replaceFile(path, [new TextEncoder().encode(lines.join(""))], OWNER_ONLY);
    file?.close();
    file = null;
    finished = 0;
    broken = false;
  }

  /** One after another, since the file may be replaced between two lines. */
  function append(text: string): Promise<void> {
    const write = async (): Promise<void> => {
      // A new file is made the same way: its name, too, has to be on the disk.
      const missing = file === null && host.lstat(path) === null;
      if (broken || missing || finished >= MOST_FINISHED) await rewrite();
      file ??= host.openRecordFile(path, OWNER_ONLY);
      broken = true;
      await file.append(text);
      broken = false;
    };
    const written = writing.then(write);
    writing = written.catch(() => {});
    return written;
  }

  return {
    left: [...left.values()],
    async add(close) {
      const number = ++last;
      numbers.set(close, number);
      try {
        await append(formatPending(number, close));
      } catch (error) {
        numbers.delete(close);
        throw error;
      }
    },
    async remove(close) {
      const number = numbers.get(close);
      if (number === undefined) return;
      numbers.delete(close);
      finished++;
      try {
        await append(`${JSON.stringify({ done: number })}\n`);
      } catch (error) {
        log.error(`Cannot write to ${path}: ${reasonOf(error)}`);
      }
    },
    close() {
      file?.close();
      file = null;
      if (numbers.size > 0 || host.lstat(path) === null) return;
      try {
        host.remove(path);
      } catch (error) {
        log.error(`Cannot remove ${path}: ${reasonOf(error)}`);
      }
    },
  };
}

function formatPending(number: number, pending: PendingClose): string {
  const { stanza, source, due, seconds, line } = pending;
  return `${JSON.stringify({ close: number, stanza, source, due, seconds, words: line.words })}\n`;
}

interface Entry {
  readonly number: number;
  /** Null notes that the command of this number has run. */
  readonly pending: PendingClose | null;
}

function parseEntry(line: string): Entry | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { close, done, stanza, source, due, seconds, words } = value as Readonly<
    Record<string, unknown>
  >;
  if (typeof done === "number") return { number: done, pending: null };
  const complete = typeof close === "number" && typeof stanza === "number" &&
    typeof source === "string" && typeof due === "number" && typeof seconds === "number" &&
    Array.isArray(words) && words.every((word) => typeof word === "string");
  if (!complete) return null;
  const command = { text: words.join(" "), words };
  return { number: close, pending: { stanza, source, due, seconds, line: command } };
}
