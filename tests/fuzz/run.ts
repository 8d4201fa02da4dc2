// Runs a target: its seeds first, then mutations of them, until a limit; and makes what it finds
// short enough to read.

import { createDice, createMutator } from "./mutate.ts";
import type { FuzzTarget } from "./target.ts";

/** An input that breaks a target's rule. */
export interface Finding {
  readonly target: string;
  readonly input: Uint8Array;
  readonly what: string;
}

/** How a run goes. */
export interface RunLimits {
  /** The same number gives the same inputs. */
  readonly seed: number;
  /** Asked before each input with the number of those that were run. */
  readonly goesOn: (inputs: number) => boolean;
  /** Sees each input before it is run. */
  readonly before?: (input: Uint8Array) => void;
}

/** What a run found. */
export interface RunReport {
  readonly inputs: number;
  /** The run ends with the first. */
  readonly finding: Finding | null;
}

const LONGEST_INPUT = 2048;

/** Runs a target. */
export function runTarget(target: FuzzTarget, limits: RunLimits): RunReport {
  const seeds = target.seeds();
  const { words = [], longest = LONGEST_INPUT } = target;
  const mutate = createMutator({ seeds, words, longest }, createDice(limits.seed));
  let inputs = 0;
  while (limits.goesOn(inputs)) {
    const input = seeds[inputs] ?? mutate();
    limits.before?.(input);
    inputs++;
    const what = tryInput(target, input);
    if (what !== null) return { inputs, finding: shorten(target, input, what) };
  }
  return { inputs, finding: null };
}

/** What is wrong with an input; null when the rule holds. */
export function tryInput(target: FuzzTarget, input: Uint8Array): string | null {
  try {
    target.check(input.slice());
    return null;
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

/** Takes pieces away for as long as something stays wrong. */
function shorten(target: FuzzTarget, input: Uint8Array, what: string): Finding {
  let best = { input, what };
  for (let size = input.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= best.input.length;) {
      const shorter = Uint8Array.from([
        ...best.input.subarray(0, at),
        ...best.input.subarray(at + size),
      ]);
      const still = tryInput(target, shorter);
      if (still === null) at += size;
      else best = { input: shorter, what: still };
    }
  }
  return { target: target.name, ...best };
}
