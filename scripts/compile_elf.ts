// ELF surgery: appends one segment to a copy of the Deno runtime by turning its PT_NOTE program
// header into a PT_LOAD, and lets the entry point lead there. Pure; see docs/executable.md.
// Formats: System V gABI chapters 4 and 5; relocation numbers from the AMD64 and AArch64 psABIs.

import type { StubPlan } from "./compile_asm.ts";
import { aarch64Stub } from "./compile_stub_aarch64.ts";
import { x86Stub } from "./compile_stub_x86_64.ts";

/** A processor that the stub is written for. */
export type Machine = "x86_64" | "aarch64";

/** What the surgery must know of a runtime. Addresses are virtual, offsets count in the file. */
export interface Runtime {
  readonly machine: Machine;
  readonly entry: number;
  /** Index of the program header that is given up. */
  readonly noteHeader: number;
  /** Index of the last loaded segment's program header. */
  readonly lastLoadHeader: number;
  readonly programHeaders: { readonly offset: number; readonly count: number };
  /** Alignment of loaded segments. */
  readonly alignment: number;
  /** Where a further segment can be loaded. */
  readonly freeAddress: number;
  /** The word in which the loader puts the address of libc's `environ`. */
  readonly environSlot: number;
}

/** A result, or why the runtime's layout is not one this surgery knows. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly reason: string;
};

/** What the executable starts the runtime with. */
export interface Launch {
  /** The program's text, in one file. */
  readonly program: Uint8Array;
  /** Words between `argv[0]` and the user's arguments; one names the file descriptor. */
  readonly args: readonly string[];
  /** Variables in front of the environment. */
  readonly env: readonly string[];
  /** The descriptor of the memory file that holds the program. */
  readonly descriptor: number;
}

const MACHINES: Readonly<
  Record<Machine, {
    readonly number: number;
    readonly globDat: number;
    readonly stub: (plan: StubPlan) => Uint8Array;
  }>
> = {
  x86_64: { number: 62, globDat: 6, stub: x86Stub },
  aarch64: { number: 183, globDat: 1025, stub: aarch64Stub },
};

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const RELOCATION_SIZE = 24;
const SYMBOL_SIZE = 24;
const PT = { load: 1, dynamic: 2, interpreter: 3, note: 4 } as const;
const DT = { strings: 5, symbols: 6, relocations: 7, relocationsSize: 8 } as const;
const READ_AND_EXECUTE = 5;

interface ProgramHeader {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly alignment: number;
}

/**
 * Reads what the surgery must know, and refuses every layout but the one it knows: a
 * position-independent 64-bit little-endian program for Linux with a dynamic loader, exactly one
 * PT_NOTE, and `environ` reached through a slot that the loader fills before the program starts.
 *
 * @param file the whole runtime
 */
export function readRuntime(file: Uint8Array): Outcome<Runtime> {
  try {
    return read(file);
  } catch (error) {
    if (error instanceof RangeError) return refused("it is cut short or points outside itself");
    throw error;
  }
}

/**
 * The executable: the runtime, padding, and the segment with stub, words and program.
 *
 * @param file the whole runtime
 * @param launch what to start it with
 */
export function attachProgram(file: Uint8Array, launch: Launch): Outcome<Uint8Array> {
  const found = readRuntime(file);
  if (!found.ok) return found;
  const runtime = found.value;
  const offset = alignUp(file.length, runtime.alignment);
  const segment = MACHINES[runtime.machine].stub({
    ...launch,
    address: runtime.freeAddress,
    entry: runtime.entry,
    environSlot: runtime.environSlot,
  });
  const image = new Uint8Array(offset + segment.length);
  image.set(file);
  image.set(segment, offset);

  const view = new DataView(image.buffer);
  view.setBigUint64(24, BigInt(runtime.freeAddress), true);
  // Loaded segments must be in the order of their addresses: the new one goes behind the last.
  const place = (index: number): number =>
    runtime.programHeaders.offset + index * PROGRAM_HEADER_SIZE;
  const at = runtime.noteHeader < runtime.lastLoadHeader
    ? runtime.lastLoadHeader
    : runtime.lastLoadHeader + 1;
  if (runtime.noteHeader < runtime.lastLoadHeader) {
    image.copyWithin(place(runtime.noteHeader), place(runtime.noteHeader + 1), place(at + 1));
  } else {
    image.copyWithin(place(at + 1), place(at), place(runtime.noteHeader));
  }
  view.setUint32(place(at), PT.load, true);
  view.setUint32(place(at) + 4, READ_AND_EXECUTE, true);
  const values = [
    offset,
    runtime.freeAddress,
    runtime.freeAddress,
    segment.length,
    segment.length,
    runtime.alignment,
  ];
  values.forEach((value, index) => {
    view.setBigUint64(place(at) + 8 + 8 * index, BigInt(value), true);
  });
  return { ok: true, value: image };
}

function read(file: Uint8Array): Outcome<Runtime> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x7f454c46) return refused("it is not an ELF file");
  if (view.getUint8(4) !== 2 || view.getUint8(5) !== 1) {
    return refused("it is not 64-bit little-endian");
  }
  if (view.getUint16(16, true) !== 3) return refused("it is not position-independent");
  const machine = machineOf(view.getUint16(18, true));
  if (machine === undefined) return refused("its processor is neither x86-64 nor aarch64");
  if (view.getUint16(54, true) !== PROGRAM_HEADER_SIZE) {
    return refused("its program headers have an unknown size");
  }
  const table = { offset: number64(view, 32), count: view.getUint16(56, true) };
  if (table.offset !== HEADER_SIZE) return refused("its program headers are not at the start");

  const headers = Array.from(
    { length: table.count },
    (_, index) => programHeader(view, table.offset + index * PROGRAM_HEADER_SIZE),
  );
  if (!headers.some(({ type }) => type === PT.interpreter)) {
    return refused("it has no dynamic loader");
  }
  const notes = headers.filter(({ type }) => type === PT.note).length;
  if (notes !== 1) return refused(`it has ${notes} PT_NOTE headers, not one`);
  const loads = headers.filter(({ type }) => type === PT.load);
  const end = Math.max(...loads.map(({ address, memorySize }) => address + memorySize));
  const last = loads.at(-1);
  if (last === undefined || last.address + last.memorySize !== end) {
    return refused("its segments are not in the order of their addresses");
  }
  // Pages of 64 KiB are the largest that either processor's Linux uses.
  const alignment = Math.max(0x10000, ...loads.map((load) => load.alignment));
  const environSlot = findEnviron(view, headers, MACHINES[machine].globDat);
  if (environSlot === undefined) {
    return refused("it does not reach environ through its global offset table");
  }
  return {
    ok: true,
    value: {
      machine,
      entry: number64(view, 24),
      noteHeader: headers.findIndex(({ type }) => type === PT.note),
      lastLoadHeader: headers.lastIndexOf(last),
      programHeaders: table,
      alignment,
      freeAddress: alignUp(end, alignment),
      environSlot,
    },
  };
}

function machineOf(number: number): Machine | undefined {
  const names: Machine[] = ["x86_64", "aarch64"];
  return names.find((name) => MACHINES[name].number === number);
}

function programHeader(view: DataView, at: number): ProgramHeader {
  return {
    type: view.getUint32(at, true),
    offset: number64(view, at + 8),
    address: number64(view, at + 16),
    fileSize: number64(view, at + 32),
    memorySize: number64(view, at + 40),
    alignment: number64(view, at + 48),
  };
}

/** The address of the one GLOB_DAT relocation for `environ`. */
function findEnviron(
  view: DataView,
  headers: readonly ProgramHeader[],
  globDat: number,
): number | undefined {
  const offsetOf = (address: number): number => {
    const load = headers.find((header) =>
      header.type === PT.load && address >= header.address &&
      address < header.address + header.fileSize
    );
    if (load === undefined) throw new RangeError("address outside the file");
    return address - load.address + load.offset;
  };
  const dynamic = headers.find(({ type }) => type === PT.dynamic);
  if (dynamic === undefined) return undefined;
  const tags = new Map<number, number>();
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.fileSize; at += 16) {
    const tag = view.getUint32(at, true);
    if (tag === DT.strings || tag === DT.symbols || tag === DT.relocations) {
      tags.set(tag, offsetOf(number64(view, at + 8)));
    } else if (tag === DT.relocationsSize) {
      tags.set(tag, number64(view, at + 8));
    }
  }
  const [strings, symbols, relocations, size] = [
    tags.get(DT.strings),
    tags.get(DT.symbols),
    tags.get(DT.relocations),
    tags.get(DT.relocationsSize),
  ];
  if (
    strings === undefined || symbols === undefined || relocations === undefined ||
    size === undefined
  ) return undefined;
  for (let at = relocations; at < relocations + size; at += RELOCATION_SIZE) {
    if (view.getUint32(at + 8, true) !== globDat) continue;
    const symbol = symbols + view.getUint32(at + 12, true) * SYMBOL_SIZE;
    if (hasText(view, strings + view.getUint32(symbol, true), "environ\0")) {
      return number64(view, at);
    }
  }
  return undefined;
}

function hasText(view: DataView, at: number, text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if (view.getUint8(at + index) !== text.charCodeAt(index)) return false;
  }
  return true;
}

/** A 64-bit number; those of a sound file are far below 2^53. */
function number64(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError("number out of bounds");
  return Number(value);
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

function refused(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
