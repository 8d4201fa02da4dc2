// Files on Deno that must survive a crash: lines added and synced, contents replaced at once, and
// files read piece by piece.

import type { RecordFile } from "./host.ts";

const PIECE = 1 << 20;
const LINE_END = 0x0a;

/** Opens a file for adding records; see `Host`. */
export function openRecordFile(path: string, mode: number): RecordFile {
  const file = Deno.openSync(path, { read: true, create: true, append: true, mode });
  const encoder = new TextEncoder();
  let { size } = file.statSync();
  let torn = size > 0 && !endsLine(file, size);

  async function append(text: string): Promise<void> {
    const bytes = encoder.encode(torn ? `\n${text}` : text);
    try {
      writeAll(file, bytes);
      await file.syncData();
    } catch (error) {
      takeBack();
      throw error;
    }
    size += bytes.length;
    torn = false;
  }

  /** What was not written as a whole must not become part of the next record. */
  function takeBack(): void {
    try {
      file.truncateSync(size);
    } catch {
      torn = true;
      size = file.statSync().size;
    }
  }

  return { append, close: () => file.close() };
}

function endsLine(file: Deno.FsFile, size: number): boolean {
  const last = new Uint8Array(1);
  file.seekSync(size - 1, Deno.SeekMode.Start);
  file.readSync(last);
  return last[0] === LINE_END;
}

/** Replaces a file's content at once; see `Host`. */
export async function replaceFile(
  path: string,
  pieces: Iterable<Uint8Array>,
  mode: number,
): Promise<void> {
  const next = `${path}.new`;
  removeIfThere(next);
  const file = Deno.openSync(next, { write: true, createNew: true, mode });
  try {
    for (const piece of pieces) {
      let at = 0;
      do at += await file.write(piece.subarray(at)); while (at < piece.length);
    }
    await file.sync();
    Deno.renameSync(next, path);
  } catch (error) {
    removeIfThere(next);
    throw error;
  } finally {
    file.close();
  }
  syncDirectory(path.replace(/[^/]*$/, "") || ".");
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Has the names in a directory written to the disk; see `Host`. */
export function syncDirectory(path: string): void {
  const directory = Deno.openSync(path);
  try {
    directory.syncSync();
  } finally {
    directory.close();
  }
}

/** The bytes of a file; see `Host`. */
export function* readPieces(path: string): Generator<Uint8Array> {
  const file = Deno.openSync(path);
  try {
    const piece = new Uint8Array(PIECE);
    for (let count = file.readSync(piece); count !== null; count = file.readSync(piece)) {
      yield piece.subarray(0, count);
    }
  } finally {
    file.close();
  }
}

/** Writes all bytes, at once. */
export function writeAll(
  writer: { writeSync(bytes: Uint8Array): number },
  bytes: Uint8Array,
): void {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(writer.writeSync(rest));
}
