// Runs one fuzz target in a worker, since an input that never ends can only be stopped from outside.

import { type Finding, runTarget, tryInput } from "../tests/fuzz/run.ts";
import type { FuzzTarget } from "../tests/fuzz/target.ts";
import { fuzzTargets } from "../tests/fuzz/targets.ts";

/** What a worker is to do. */
export interface FuzzOrder {
  readonly target: string;
  readonly milliseconds: number;
  readonly seed: number;
  /** Where the present input stands, for whoever stops the worker. */
  readonly shared: SharedArrayBuffer;
}

/** What became of it. */
export interface FuzzOutcome {
  readonly inputs: number;
  readonly milliseconds: number;
  /** Milliseconds that the slowest input took. */
  readonly slowest: number;
  readonly finding: Finding | null;
}

/** Bytes of the shared memory in front of the input: the number of inputs, and the input's length. */
export const SHARED_HEADER = 8;
/** An input that takes longer is a finding; milliseconds. */
const SLOW = 1000;

/** Another process may have had the processor: what counts is the best of several tries. */
function timeOf(target: FuzzTarget, input: Uint8Array): number {
  const start = performance.now();
  tryInput(target, input);
  return performance.now() - start;
}

function work({ target: name, milliseconds, seed, shared }: FuzzOrder): FuzzOutcome {
  const target = fuzzTargets().find((one) => one.name === name);
  if (target === undefined) throw new RangeError(`Cannot find target "${name}"`);
  const state = new Int32Array(shared, 0, 2);
  const present = new Uint8Array(shared, SHARED_HEADER);
  const start = performance.now();
  let began = start;
  let slowest = 0;
  let slow: Uint8Array | null = null;
  const { inputs, finding } = runTarget(target, {
    seed,
    goesOn: (count) => {
      const now = performance.now();
      if (count > 0 && now - began > slowest) {
        const input = present.slice(0, state[1]);
        slowest = Math.min(now - began, ...[1, 2, 3].map(() => timeOf(target, input)));
        if (slowest > SLOW) slow = input;
      }
      return slow === null && now - start < milliseconds;
    },
    before: (input) => {
      present.set(input);
      state[1] = input.length;
      Atomics.add(state, 0, 1);
      began = performance.now();
    },
  });
  const what = `one input took ${slowest.toFixed()} ms`;
  return {
    inputs,
    milliseconds: performance.now() - start,
    slowest,
    finding: finding ?? (slow === null ? null : { target: name, input: slow, what }),
  };
}

const scope = self as unknown as Pick<Worker, "onmessage" | "postMessage">;
scope.onmessage = ({ data }: MessageEvent<FuzzOrder>): void => scope.postMessage(work(data));
