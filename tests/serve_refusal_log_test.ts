import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { createLog } from "../lib/serve_log.ts";
import { createRefusalLog } from "../lib/serve_refusal_log.ts";
import { openBench, stanzasOf } from "./gateway_fixture.ts";

/** A timer that runs out when the test says so. */
function clock() {
  const waiting: (() => void)[] = [];
  return {
    waiting,
    timer: (milliseconds: number, action: () => void) => {
      strictEqual(milliseconds, 1000);
      waiting.push(action);
      return () => void waiting.splice(waiting.indexOf(action), 1);
    },
    secondPasses: (): void => waiting.shift()?.(),
  };
}

function bench() {
  const { waiting, timer, secondPasses } = clock();
  const lines: string[] = [];
  const log = createLog(0, (_, text) => lines.push(text));
  return { refusals: createRefusalLog(log, timer), lines, waiting, secondPasses };
}

Deno.test("few refusals are told in full, many as one line a second with counts by reason", () => {
  const { refusals, lines, waiting, secondPasses } = bench();
  const flood = (): void => {
    for (let packet = 0; packet < 1000; packet++) {
      refusals.tell("hmac-mismatch", 2, () => lines.push("a", "b"));
      refusals.tell("no-stanza-for-source", 1, () => lines.push("c"));
    }
  };
  flood();
  // Ten packets of each reason.
  deepStrictEqual(lines.splice(0).sort().join(""), "aaaaaaaaaabbbbbbbbbbcccccccccc");
  secondPasses();
  const summary = "Refused without a line each: hmac-mismatch 990, no-stanza-for-source 990";
  deepStrictEqual(lines.splice(0), [summary]);
  flood();
  strictEqual(lines.splice(0).length, 30);
  secondPasses();
  deepStrictEqual(lines.splice(0), [summary]);

  // The second after a flood passes, and then nothing waits any more.
  secondPasses();
  strictEqual(waiting.length, 0);
  refusals.tell("replay", 1, () => lines.push("d"));
  deepStrictEqual(lines, ["d"]);
});

Deno.test("refusals that draw no line are counted as well once there are many", () => {
  const { refusals, lines, secondPasses } = bench();
  for (let packet = 0; packet < 15; packet++) refusals.tell("not-a-packet", 0, () => {});
  secondPasses();
  deepStrictEqual(lines, ["Refused without a line each: not-a-packet 5"]);
});

Deno.test("what has been counted is told at the end, and no timer stays", () => {
  const { refusals, lines, waiting } = bench();
  for (let packet = 0; packet < 11; packet++) refusals.tell("replay", 1, () => {});
  refusals.flush();
  deepStrictEqual(lines, ["Refused without a line each: replay 1"]);
  strictEqual(waiting.length, 0);
  refusals.flush();
  strictEqual(lines.length, 1);
});

Deno.test("a packet of many stanzas' lines is told whole, and the next is counted", () => {
  const { refusals, lines } = bench();
  let told = 0;
  for (let packet = 0; packet < 2; packet++) refusals.tell("hmac-mismatch", 2000, () => told++);
  refusals.flush();
  strictEqual(told, 1);
  deepStrictEqual(lines, ["Refused without a line each: hmac-mismatch 1"]);
});

Deno.test("a sentry under a flood writes little, and counts everything", () => {
  const { timer, secondPasses } = clock();
  const access = `SOURCE ANY\nKEY TestKey\nHMAC_KEY TestHmacKey\n`;
  const { sentry, lines, send } = openBench(stanzasOf(access), { time: 0, timer });
  for (let packet = 0; packet < 500; packet++) {
    strictEqual(send("8" + "A".repeat(199)), "hmac-mismatch");
    strictEqual(send("?".repeat(200)), "not-a-packet");
  }
  ok(lines.length <= 20, `${lines.length} lines`);
  secondPasses();
  deepStrictEqual(lines.at(-1), {
    level: "warning",
    text: "Refused without a line each: hmac-mismatch 490, not-a-packet 490",
  });
  deepStrictEqual([...sentry.tally], [["hmac-mismatch", 500], ["not-a-packet", 500]]);
});
