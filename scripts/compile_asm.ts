// A two-pass assembler small enough to read: pieces of machine code with labels between them.
// The instruction tables are in compile_stub_x86_64.ts and compile_stub_aarch64.ts.

/** One instruction, one label or a stretch of data. */
export type Piece = {
  /** The assembly text; for data, what it is. */
  readonly text: string;
  /** Bytes it takes; 0 for a label. */
  readonly size: number;
  /** The name that stands for this place. */
  readonly label?: string;
  /** The bytes, when the piece comes to lie at virtual address `here`. */
  readonly encode: (here: number, addressOf: (label: string) => number) => Uint8Array;
};

/** What the stub needs to know of the runtime it starts, and what it brings along. */
export interface StubPlan {
  /** Virtual address at which the stub comes to lie, before the loader moves the image. */
  readonly address: number;
  /** Virtual address of the runtime's own entry point. */
  readonly entry: number;
  /** Virtual address of the word in which the loader puts the address of libc's `environ`. */
  readonly environSlot: number;
  /** Words to insert after `argv[0]`. */
  readonly args: readonly string[];
  /** Variables to put in front of the environment. */
  readonly env: readonly string[];
  /** The file descriptor that the last of `args` names. */
  readonly descriptor: number;
  /** The program's text. */
  readonly program: Uint8Array;
}

/** The place named `label`. */
export function label(name: string): Piece {
  return { text: `${name}:`, size: 0, label: name, encode: () => new Uint8Array(0) };
}

/** Bytes that are no instruction. */
export function data(name: string, bytes: Uint8Array): Piece {
  return { text: name, size: bytes.length, label: name, encode: () => bytes };
}

/**
 * Lays the pieces one after the other.
 *
 * @param pieces instructions, labels, data
 * @param address virtual address of the first piece
 * @param known addresses outside the pieces, by label
 */
export function assemble(
  pieces: readonly Piece[],
  address: number,
  known: Readonly<Record<string, number>>,
): Uint8Array {
  const labels = new Map(Object.entries(known));
  let size = 0;
  for (const piece of pieces) {
    if (piece.label !== undefined) labels.set(piece.label, address + size);
    size += piece.size;
  }
  const addressOf = (name: string): number => {
    const found = labels.get(name);
    if (found === undefined) throw new Error(`no label ${name}`);
    return found;
  };
  const image = new Uint8Array(size);
  let offset = 0;
  for (const piece of pieces) {
    const bytes = piece.encode(address + offset, addressOf);
    if (bytes.length !== piece.size) throw new Error(`size of ${piece.text}`);
    image.set(bytes, offset);
    offset += piece.size;
  }
  return image;
}

/** Distance in bytes as a two's complement number of `bits` bits; throws when it does not fit. */
export function signed(distance: number, bits: number): number {
  if (distance < -(2 ** (bits - 1)) || distance >= 2 ** (bits - 1)) {
    throw new RangeError(`distance ${distance} does not fit into ${bits} bits`);
  }
  return distance < 0 ? distance + 2 ** bits : distance;
}

/** A number as four bytes, lowest first. */
export function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** What the stub says when a system call fails. */
const MESSAGE = "spa: cannot load the program into memory (memfd_create, write or dup3 failed)\n" +
  "hint: the limit of open files (ulimit -n) must be above 250\n";

/**
 * The data every stub works on, in the order of its labels: `name` of the memory file, `message`
 * for failure, `offsets` of the inserted strings from label `start`, the strings, `program`.
 */
export function stubData(plan: StubPlan): Piece[] {
  const words = [...plan.args, ...plan.env];
  if (words.length % 2 !== 0) {
    // The ABIs want the stack pointer at a multiple of 16 bytes on entry.
    throw new Error("the number of inserted words must be even");
  }
  const strings = words.map((text, index) => data(`string${index}`, zeroTerminated(text)));
  return [
    data("name", zeroTerminated("spa.js")),
    data("message", new TextEncoder().encode(MESSAGE)),
    label("offsets"),
    ...words.map((_, index): Piece => ({
      text: `offset of string${index}`,
      size: 4,
      encode: (_here, addressOf) => word(addressOf(`string${index}`) - addressOf("start")),
    })),
    ...strings,
    data("program", plan.program),
  ];
}

/** Bytes of the message for failure. */
export const messageLength: number = MESSAGE.length;

function zeroTerminated(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}
