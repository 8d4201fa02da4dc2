// Prints for how many milliseconds a flood kept the sentry's event loop from its timers, and how
// many it was late at rest, since a busy machine keeps it, too. bench_stall STANZAS: a capture that never runs dry gives packets with a wrong HMAC, and bytes that
// are no packet, to a sentry with so many stanzas for any source.

import type { Datagram } from "../lib/net_datagram.ts";
import type { CaptureSource } from "../lib/serve_capture.ts";
import { runCapture } from "../lib/serve_capture.ts";
import { denoHost } from "../lib/host_deno.ts";
import { datagramOf, openBench, stanzasOf } from "../tests/gateway_fixture.ts";

const SECONDS = 3;
const JUNK = 256;
const TICK = 1;

const access = Array.from(
  { length: Number(Deno.args[0]) },
  (_, number) => `SOURCE ANY\nKEY key${number}\nHMAC_KEY hmac${number}\n`,
);
const { prepareHmac } = await denoHost().native();
const { sentry } = openBench(stanzasOf(access.join("")), { time: 0, prepareHmac });
const junk: readonly Datagram[] = Array.from({ length: JUNK }, (_, number) => {
  const bytes = crypto.getRandomValues(new Uint8Array(200));
  const text = number % 2 === 0
    ? String.fromCharCode(...bytes)
    : `8${bytes.toBase64().replaceAll("=", "").slice(0, 199)}`;
  return datagramOf(text, `192.0.2.${number & 127}`);
});

let stopped = false;
let next = 0;
const source: CaptureSource = {
  announcement: [],
  wait: () => Promise.resolve(!stopped),
  drain(limit, take) {
    if (stopped) return 0;
    for (let count = 0; count < limit; count++) {
      const datagram = junk[next++ % JUNK];
      if (datagram !== undefined) take(datagram);
    }
    return limit;
  },
  stop: () => void (stopped = true),
  close: () => {},
};

/** Milliseconds by which a timer was late while `act` went on. */
async function delays(act: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    samples.push(Math.max(0, now - last - TICK));
    last = now;
  }, TICK);
  await act();
  clearInterval(timer);
  return samples;
}

const atRest = await delays(() => new Promise((resolve) => setTimeout(resolve, SECONDS * 1000)));
setTimeout(() => source.stop(), SECONDS * 1000);
const flooded = await delays(() => runCapture(source, 0, sentry.receive));
console.log(JSON.stringify({ atRest, flooded }));
