// A worker that posts a message every half millisecond while it is told to; Deno's own timers take
// two milliseconds or more, which would blur what the probe measures.

/** The part of a worker's global scope that is used; Deno's default types are those of a window. */
interface WorkerScope {
  onmessage: (event: MessageEvent<Int32Array>) => void;
  postMessage(message: null): void;
}

const PERIOD_MILLISECONDS = 0.5;
const scope = globalThis as unknown as WorkerScope;

// The message is shared memory: its first cell is 1 while ticks are wanted, 0 else.
scope.onmessage = ({ data: running }) => {
  for (;;) {
    Atomics.wait(running, 0, 0);
    Atomics.wait(running, 0, 1, PERIOD_MILLISECONDS);
    scope.postMessage(null);
  }
};
