// Prints how much a flood has the sentry do between two turns of its timers, as milliseconds of
// processor time, which other programs disturb little. bench_stall STANZAS: a capture that never runs
// dry gives packets with a wrong HMAC, and bytes that are no packet, to a sentry with so many stanzas
// for any source.

import process from "node:process";
import type { Datagram } from "../lib/net_datagram.ts";
import type { CaptureSource } from "../lib/serve_capture.ts";
import { runCapture } from "../lib/serve_capture.ts";
import { denoHost } from "../lib/host_deno.ts";
import { datagramOf, openBench, stanzasOf } from "../tests/gateway_fixture.ts";

const SECONDS = 3;
const JUNK = 256;
const TICK = 1;
const WARM_UP = 20;

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

const samples: number[] = [];
let last = process.cpuUsage();
const timer = setInterval(() => {
  const { user, system } = process.cpuUsage(last);
  last = process.cpuUsage();
  samples.push((user + system) / 1000);
}, TICK);
setTimeout(() => source.stop(), SECONDS * 1000);
await runCapture(source, 0, sentry.receive);
clearInterval(timer);
// The first ticks wait for the program to be compiled, which a server has behind it.
console.log(JSON.stringify(samples.slice(WARM_UP)));
