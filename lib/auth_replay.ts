// The memory of packets that were accepted: their lines of digest.cache as bytes, found through a
// hash table, forgotten in the order in which they came.

import {
  formatReplayRecord,
  LONGEST_LINE,
  parseReplayRecord,
  type ReplayRecord,
} from "./auth_replay_line.ts";

export type { ReplayRecord };

/** Remembers records until they can no longer matter. */
export interface ReplayMemory {
  find(digest: string): ReplayRecord | null;
  /**
   * @param keepUntil wall clock in seconds after which the packet would be refused for its age
   * anyway; `Infinity` keeps it for ever
   */
  add(record: ReplayRecord, keepUntil: number): void;
  /** As `add`, for the line of a record, without its line end; the bytes are copied. */
  addLine(line: Uint8Array, keepUntil: number): void;
  /** Drops what is no longer needed at that wall clock in seconds, but for the newest records. */
  prune(now: number): void;
  readonly size: number;
}

/** Records that stay although their time is over. */
export const SPARE_RECORDS = 10_000;

/** Bytes of the blocks that hold lines; a record never spans two. */
const BLOCK = 1 << 16;
const FEWEST = 1 << 8;
const SPACE = 32;

/**
 * An empty memory. Looking up, adding and pruning cost the same however much it holds: about 130
 * bytes a record.
 *
 * @param spare how many of the newest records are kept whatever the clock says: it may be set back,
 * and then old packets are fresh again
 */
export function createReplayMemory(spare: number = SPARE_RECORDS): ReplayMemory {
  const encoder = new TextEncoder();
  /** By their numbers; those that hold forgotten records only are gone. */
  const blocks = new Map<number, Uint8Array>();
  let oldestBlock = 0;
  let block = new Uint8Array(BLOCK);
  let used = BLOCK;
  let columns = makeColumns(FEWEST);
  /** Records from the first one up to the last are remembered. */
  let first = 0;
  let last = 0;
  /** Numbers of records, plus one, by the hash of their digests; 0 is free. */
  let table = new Int32Array(4 * FEWEST);

  function enter(record: number): void {
    const mask = table.length - 1;
    let slot = columns.hash[record]! & mask;
    while (table[slot] !== 0) slot = (slot + 1) & mask;
    table[slot] = record + 1;
  }

  /** Makes room for more, without what is forgotten. */
  function tidy(): void {
    const live = last - first;
    let room = FEWEST;
    while (room < 2 * live) room *= 2;
    const tidied = makeColumns(room);
    for (const name of ["place", "keepUntil", "hash"] as const) {
      tidied[name].set(columns[name].subarray(first, last));
    }
    columns = tidied;
    table = new Int32Array(2 * room);
    first = 0;
    last = live;
    for (let record = 0; record < last; record++) enter(record);
  }

  function addLine(line: Uint8Array, keepUntil: number): void {
    const { length } = line;
    if (length > LONGEST_LINE) throw new RangeError("a record's line is too long");
    if (last === columns.place.length) tidy();
    if (used + 1 + length > BLOCK) {
      block = new Uint8Array(BLOCK);
      blocks.set(oldestBlock + blocks.size, block);
      used = 0;
    }
    columns.place[last] = (oldestBlock + blocks.size - 1) * BLOCK + used;
    columns.keepUntil[last] = keepUntil;
    columns.hash[last] = hashOf(line);
    block[used++] = length;
    block.set(line, used);
    used += length;
    enter(last++);
  }

  function lineAt(place: number): Uint8Array {
    const bytes = blocks.get(Math.floor(place / BLOCK))!;
    const from = place % BLOCK;
    return bytes.subarray(from + 1, from + 1 + bytes[from]!);
  }

  return {
    find(digest) {
      const key = encoder.encode(`${digest} `);
      const mask = table.length - 1;
      for (let slot = hashOf(key) & mask; table[slot] !== 0; slot = (slot + 1) & mask) {
        const record = table[slot]! - 1;
        if (record < first) continue;
        const line = lineAt(columns.place[record]!);
        if (key.every((byte, index) => line[index] === byte)) return readRecord(line);
      }
      return null;
    },
    add: (record, keepUntil) =>
      addLine(encoder.encode(formatReplayRecord(record).trimEnd()), keepUntil),
    addLine,
    prune(now) {
      // Records come in the order of time; one with a longer life only delays those behind it.
      while (last - first > spare && columns.keepUntil[first]! < now) first++;
      if (first === last) return;
      const oldest = Math.floor(columns.place[first]! / BLOCK);
      while (oldestBlock < oldest) blocks.delete(oldestBlock++);
    },
    get size() {
      return last - first;
    },
  };
}

/** What is known of each record, by its number. */
interface Columns {
  /** Where its line begins, counted over all blocks: a byte with its length, then the line. */
  readonly place: Float64Array;
  readonly keepUntil: Float64Array;
  /** Of its digest. */
  readonly hash: Int32Array;
}

function makeColumns(room: number): Columns {
  return {
    place: new Float64Array(room),
    keepUntil: new Float64Array(room),
    hash: new Int32Array(room),
  };
}

function readRecord(line: Uint8Array): ReplayRecord {
  const record = parseReplayRecord(new TextDecoder().decode(line));
  if (typeof record === "string") throw new TypeError("what is remembered is no record");
  return record;
}

/** FNV-1a over a line's digest, which a blank ends. */
function hashOf(line: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < line.length && line[index] !== SPACE; index++) {
    hash = Math.imul(hash ^ line[index]!, 0x01000193);
  }
  return hash;
}
