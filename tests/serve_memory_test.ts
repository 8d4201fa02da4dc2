import assert from "node:assert/strict";
import { keepMemorySmall } from "../lib/serve_memory.ts";

/** A keeper whose timer the test plays, and how often it has given memory back. */
function play(): { took(packets: number): void; releases: number; timers: (() => void)[] } {
  const timers: (() => void)[] = [];
  const played = { took: (_packets: number): void => {}, releases: 0, timers };
  const nothing = (): void => {};
  const native = { libc: { trimMemory: nothing }, releaseCode: nothing };
  const keeper = keepMemorySmall(
    { collectGarbage: () => void played.releases++ },
    native as unknown as Parameters<typeof keepMemorySmall>[1],
    (_milliseconds, action) => {
      timers.push(action);
      return () => {};
    },
  );
  played.took = keeper.took;
  return played;
}

Deno.test("memory is given back once after the start, and no timer runs while few packets come", () => {
  const played = play();
  played.timers.shift()?.();
  assert.equal(played.releases, 1);
  for (let count = 0; count < 1000; count++) played.took(1);
  assert.equal(played.timers.length, 0);
});

Deno.test("memory is given back once after a flood, not during it", () => {
  const played = play();
  played.timers.shift()?.();
  for (let second = 0; second < 5; second++) {
    played.took(50_000);
    assert.equal(played.timers.length, 1);
    if (second > 0) played.timers.shift()?.();
    assert.equal(played.releases, 1);
  }
  played.took(50);
  played.timers.shift()?.();
  assert.equal(played.releases, 2);
  assert.equal(played.timers.length, 0);
  played.took(50);
  assert.equal(played.timers.length, 0);
  played.took(20_000);
  assert.equal(played.timers.length, 1);
});
