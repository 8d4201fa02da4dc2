// What a fuzz target is, and the small helpers that all of them use.

/** One parser or decision under test: a pure function of bytes that throws where a rule is broken. */
export interface FuzzTarget {
  readonly name: string;
  /** What has to hold, in one sentence. */
  readonly rule: string;
  /** Inputs to start from; made when asked, since some cost time. */
  readonly seeds: () => readonly Uint8Array[];
  /** Words of the language, which mutations put in. */
  readonly words?: readonly string[];
  /** Most bytes of an input; 2,048 unless given. */
  readonly longest?: number;
  /** Takes any bytes; throws for a finding and for nothing else. */
  readonly check: (input: Uint8Array) => void;
}

/** Throws unless the rule holds. */
export function rule(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** UTF-8. */
export function bytesOf(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** As files are read: bytes that are no UTF-8 become U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

/** Each byte a character, as payloads are compared. */
export function latin1Of(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Whether two byte strings are the same. */
export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

/** The first byte, which chooses among variants, and the rest. */
export function choiceOf(input: Uint8Array): readonly [choice: number, rest: Uint8Array] {
  return [input[0] ?? 0, input.subarray(1)];
}

/** An input of {@linkcode choiceOf}. */
export function withChoice(choice: number, rest: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + rest.length);
  input[0] = choice;
  input.set(rest, 1);
  return input;
}

/** A member of a list by a number that may be too large for it. */
export function pick<Item>(items: readonly Item[], choice: number): Item {
  const item = items[choice % items.length];
  if (item === undefined) throw new RangeError("Cannot pick from an empty list");
  return item;
}

/** Makes something when it is first asked for, and only then. */
export function once<Made>(make: () => Made): () => Made {
  let made: { readonly value: Made } | null = null;
  return () => (made ??= { value: make() }).value;
}
