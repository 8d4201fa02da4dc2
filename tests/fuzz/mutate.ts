// Inputs made from seeds: bits flipped, pieces cut, doubled, moved, taken from other seeds, words
// of the language put in. The same seed number gives the same inputs.

import { bytesOf } from "./target.ts";

/** Numbers that look random, from 0 up to a bound that is not reached. */
export type Dice = (bound: number) => number;

/** Marsaglia's xorshift32. */
export function createDice(seed: number): Dice {
  let state = seed >>> 0 || 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return Math.floor(state / 2 ** 32 * bound);
  };
}

/** Where mutations get their material. */
export interface Material {
  readonly seeds: readonly Uint8Array[];
  readonly words: readonly string[];
  readonly longest: number;
}

/** One change at a random place. */
type Change = (input: Uint8Array, dice: Dice) => Uint8Array;

const ODD_BYTES = [0, 1, 9, 10, 13, 32, 34, 35, 44, 45, 47, 58, 59, 61, 92, 127, 128, 255];

const flipBit: Change = (input, dice) => changeByte(input, dice, (byte) => byte ^ 1 << dice(8));
const setByte: Change = (input, dice) => changeByte(input, dice, () => dice(256));
const setOddByte: Change = (input, dice) =>
  changeByte(input, dice, () => ODD_BYTES[dice(ODD_BYTES.length)] ?? 0);
const countByte: Change = (input, dice) =>
  changeByte(input, dice, (byte) => byte + (dice(2) === 0 ? 1 : 255));
const cutPiece: Change = (input, dice) => {
  const [from, to] = piece(input, dice);
  return splice(input, from, to, EMPTY);
};
const doublePiece: Change = (input, dice) => {
  const [from, to] = piece(input, dice);
  return splice(input, to, to, input.slice(from, to));
};
const movePiece: Change = (input, dice) => {
  const [from, to] = piece(input, dice);
  const rest = splice(input, from, to, EMPTY);
  const at = dice(rest.length + 1);
  return splice(rest, at, at, input.slice(from, to));
};
const truncate: Change = (input, dice) => input.slice(0, dice(input.length + 1));

const EMPTY = new Uint8Array(0);

/** Gives one input after the other, without end. */
export function createMutator({ seeds, words, longest }: Material, dice: Dice): () => Uint8Array {
  const wordBytes = words.map(bytesOf);
  const someSeed = (): Uint8Array => seeds[dice(seeds.length)] ?? EMPTY;
  const putWord: Change = (input) => {
    const at = dice(input.length + 1);
    const word = wordBytes[dice(wordBytes.length)] ?? EMPTY;
    return splice(input, at, dice(2) === 0 ? at : at + word.length, word);
  };
  const crossOver: Change = (input) => {
    const [from, to] = piece(input, dice);
    const other = someSeed();
    return splice(input, from, to, other.slice(...piece(other, dice)));
  };
  const anything: Change = () => Uint8Array.from({ length: dice(80) }, () => dice(256));
  const changes: readonly Change[] = [
    flipBit,
    flipBit,
    setByte,
    setOddByte,
    countByte,
    cutPiece,
    doublePiece,
    movePiece,
    truncate,
    crossOver,
    crossOver,
    ...(words.length > 0 ? [putWord, putWord, putWord] : []),
  ];
  return () => {
    const fromSeed = dice(100) > 0;
    let input: Uint8Array = fromSeed ? someSeed().slice() : anything(EMPTY, dice);
    // Mostly few changes: an input with many is refused at its beginning.
    for (let left = fromSeed ? 1 + dice(1 + dice(6)) : 0; left > 0; left--) {
      input = (changes[dice(changes.length)] ?? flipBit)(input, dice);
    }
    return input.length > longest ? input.slice(0, longest) : input;
  };
}

function changeByte(input: Uint8Array, dice: Dice, to: (byte: number) => number): Uint8Array {
  const at = dice(input.length);
  const byte = input[at];
  if (byte !== undefined) input[at] = to(byte);
  return input;
}

/** Short pieces more often than long ones. */
function piece({ length }: Uint8Array, dice: Dice): readonly [from: number, to: number] {
  const from = dice(length + 1);
  return [from, from + dice(1 + dice(length - from + 1))];
}

function splice(input: Uint8Array, from: number, to: number, put: Uint8Array): Uint8Array {
  const rest = input.subarray(Math.min(to, input.length));
  const result = new Uint8Array(from + put.length + rest.length);
  result.set(input.subarray(0, from));
  result.set(put, from);
  result.set(rest, from + put.length);
  return result;
}
