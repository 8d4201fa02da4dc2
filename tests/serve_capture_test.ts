import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import type { Datagram } from "../lib/net_datagram.ts";
import { CaptureError, type CaptureSource, runCapture } from "../lib/serve_capture.ts";

/** A source with packets numbered in their payload; it stops once it is empty. */
function sourceOf(count: number, onEmpty: (source: CaptureSource) => void): CaptureSource {
  let sent = 0;
  let stopped = false;
  const source: CaptureSource = {
    announcement: [],
    wait: () => Promise.resolve(!stopped),
    drain(limit, take) {
      const last = Math.min(count, sent + limit);
      const taken = last - sent;
      for (; sent < last; sent++) take(datagram(sent));
      if (sent === count) onEmpty(source);
      return taken;
    },
    stop: () => void (stopped = true),
    close: () => {},
  };
  return source;
}

function datagram(number: number): Datagram {
  return {
    protocol: 17,
    source: new Uint8Array(4),
    destination: new Uint8Array(4),
    sourcePort: 0,
    destinationPort: 0,
    payload: Uint8Array.of(number & 255),
  };
}

Deno.test("runCapture() hands over every waiting packet in order until it is stopped", async () => {
  const seen: number[] = [];
  const source = sourceOf(200, (it) => it.stop());
  const ended = await runCapture(source, 0, ({ payload }) => seen.push(payload[0] ?? -1));
  strictEqual(ended, "stopped");
  deepStrictEqual(seen, Array.from({ length: 200 }, (_, index) => index));
});

Deno.test("runCapture() takes not one packet more than its limit", async () => {
  let seen = 0;
  const ended = await runCapture(sourceOf(200, () => {}), 65, () => seen++);
  strictEqual(ended, "limit");
  strictEqual(seen, 65);
});

Deno.test("runCapture() lets timers run while packets keep coming", async () => {
  let timersRun = 0;
  let stopped = false;
  const endless: CaptureSource = {
    announcement: [],
    wait: () => Promise.resolve(!stopped),
    drain: (limit) => stopped ? 0 : limit,
    stop: () => void (stopped = true),
    close: () => {},
  };
  const tick = (): void => {
    if (++timersRun === 3) endless.stop();
    else setTimeout(tick, 0);
  };
  setTimeout(tick, 0);
  let milliseconds = 0;
  const clock = (): number => milliseconds++;
  strictEqual(await runCapture(endless, 0, () => {}, 5, clock), "stopped");
  strictEqual(timersRun, 3);
  ok(milliseconds < 100, "a turn takes a few milliseconds");
});

Deno.test("runCapture() ends with the source's error when the source dies", async () => {
  const dead = sourceOf(1, () => {
    throw new CaptureError("The interface disappeared");
  });
  await rejects(runCapture(dead, 0, () => {}), /interface disappeared/);
});

Deno.test("runCapture() leaves timers their turn within a batch of datagrams that take long", async () => {
  const source = sourceOf(64, (it) => it.stop());
  let now = 0;
  let seen = 0;
  const turns: number[] = [];
  const look = (): void => {
    if (turns.at(-1) !== seen) turns.push(seen);
    if (seen < 64) setTimeout(look, 0);
  };
  setTimeout(look, 0);
  await runCapture(
    source,
    0,
    () => {
      seen++;
      now += 4;
    },
    10,
    () => now,
  );
  strictEqual(seen, 64);
  ok(turns.length > 8, `turns after ${turns.join(", ")} datagrams`);
});

Deno.test("runCapture() hands over what came before the source died", async () => {
  let seen = 0;
  const dead = sourceOf(3, () => {
    throw new CaptureError("The interface disappeared");
  });
  await rejects(runCapture(dead, 0, () => seen++), /interface disappeared/);
  strictEqual(seen, 3);
});
