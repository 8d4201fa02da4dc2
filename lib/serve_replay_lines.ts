// Lines of a file that is read piece by piece, however long file and lines are.

/** Where a line is: its end, which `to` stands at, does not belong to it. */
export interface LinePlace {
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
}

/** Bytes of a line that are kept when it spans pieces: more than any line that means something. */
const MOST_KEPT = 1024;
const LINE_END = 0x0a;

/**
 * The lines in pieces of a file; each place is good until the next is asked for. At `to` there is a
 * line end, also behind a last line that has none. Of a line longer than a piece only the beginning
 * and the end are given.
 */
export function* linesOf(pieces: Iterable<Uint8Array>): Generator<LinePlace> {
  let rest = new Uint8Array(0);
  for (const piece of pieces) {
    let from = 0;
    let to = piece.indexOf(LINE_END);
    if (rest.length > 0) {
      const line = joined(rest, piece.subarray(0, to < 0 ? piece.length : to + 1));
      if (to < 0) {
        rest = cut(line);
        continue;
      }
      yield { bytes: line, from: 0, to: line.length - 1 };
      from = to + 1;
      to = piece.indexOf(LINE_END, from);
    }
    while (to >= 0) {
      yield { bytes: piece, from, to };
      from = to + 1;
      to = piece.indexOf(LINE_END, from);
    }
    rest = cut(piece.slice(from));
  }
  if (rest.length === 0) return;
  const line = joined(rest, Uint8Array.of(LINE_END));
  yield { bytes: line, from: 0, to: line.length - 1 };
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function cut(line: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return line.length <= MOST_KEPT ? line : line.slice(0, MOST_KEPT);
}
