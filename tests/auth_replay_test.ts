import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { createReplayMemory } from "../lib/auth_replay.ts";
import {
  formatReplayRecord,
  parseReplayRecord,
  type ReplayRecord,
  replayTime,
} from "../lib/auth_replay_line.ts";

const RECORD: ReplayRecord = {
  digest: "k6eMNIFhKq3pIQB3PRZV6Wx6z46XkSaao48VnnqUL3o",
  protocol: 17,
  source: "192.0.2.10",
  sourcePort: 45092,
  destination: "192.0.2.1",
  destinationPort: 62201,
  time: 1795319701,
};

Deno.test("formatReplayRecord() writes the line that fwknopd writes", () => {
  strictEqual(
    formatReplayRecord(RECORD),
    "k6eMNIFhKq3pIQB3PRZV6Wx6z46XkSaao48VnnqUL3o 17 192.0.2.10 45092 192.0.2.1 62201 1795319701\n",
  );
});

Deno.test("parseReplayRecord() reads back what was written", () => {
  const record = fc.record({
    digest: fc.stringMatching(/^[A-Za-z0-9+/]{43}$/),
    protocol: fc.constantFrom(1, 6, 17),
    source: fc.constantFrom("192.0.2.10", "2001:db8::1"),
    sourcePort: fc.nat(65535),
    destination: fc.ipV4(),
    destinationPort: fc.nat(65535),
    time: fc.nat(4102444800),
  }, { noNullPrototype: true });
  fc.assert(fc.property(record, (one) => {
    deepStrictEqual(parseReplayRecord(formatReplayRecord(one).trimEnd()), one);
  }));
});

Deno.test("parseReplayRecord() tells comments from damaged lines", () => {
  const line = formatReplayRecord(RECORD).trimEnd();
  for (const comment of ["", "# a header", "; a remark"]) {
    strictEqual(parseReplayRecord(comment), "skip", comment);
  }
  const damaged = [
    ...[line.slice(0, 60), line.replace(" 17 ", " x "), ` ${line}`, `${line} 1`, "x"],
    ...[line.replace("k6", "k\u00e9"), line.replace(".", "\0"), line.repeat(3), `${line}\u2028`],
    ...[line.replace(" 17 ", "  "), line.replace("1795319701", "1".repeat(13))],
  ];
  for (const text of damaged) strictEqual(parseReplayRecord(text), "invalid", text);
});

Deno.test("parseReplayRecord() takes any text without throwing", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    const result = parseReplayRecord(text);
    strictEqual(typeof result === "object" || result === "skip" || result === "invalid", true);
  }));
});

Deno.test("a replay memory finds a record until its time is over, and then frees it", () => {
  const memory = createReplayMemory(0);
  memory.add(RECORD, 1000);
  memory.add({ ...RECORD, digest: "later" }, 2000);
  memory.prune(1000);
  deepStrictEqual(memory.find(RECORD.digest), RECORD);
  memory.prune(1001);
  strictEqual(memory.find(RECORD.digest), null);
  strictEqual(memory.find("later")?.digest, "later");
  strictEqual(memory.size, 1);
});

Deno.test("a replay memory keeps the newest records when their time is over, and no more", () => {
  const memory = createReplayMemory(2);
  for (const digest of ["one", "two", "three"]) memory.add({ ...RECORD, digest }, 1000);
  memory.prune(5000);
  deepStrictEqual(["one", "two", "three"].map((digest) => memory.find(digest) !== null), [
    false,
    true,
    true,
  ]);
  memory.add({ ...RECORD, digest: "four" }, 6000);
  memory.prune(5000);
  strictEqual(memory.find("two"), null);
  strictEqual(memory.size, 2);
});

Deno.test("a replay memory without an age limit keeps everything", () => {
  const memory = createReplayMemory();
  memory.add(RECORD, Infinity);
  memory.prune(Number.MAX_SAFE_INTEGER);
  strictEqual(memory.size, 1);
});

Deno.test("replayTime() reads a line wherever it stands among others", () => {
  const bytes = new TextEncoder().encode(`x${formatReplayRecord(RECORD)}y`);
  strictEqual(replayTime(bytes, 1, bytes.length - 2), RECORD.time);
  strictEqual(replayTime(bytes, 1, bytes.length - 12), null);
  strictEqual(replayTime(bytes, 1, 1), null);
});

Deno.test("a replay memory remembers as a map does, whatever comes and goes", () => {
  const digests = fc.stringMatching(/^[ab]{1,6}(?:[A-Za-z0-9+/]{37})?$/);
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ digest: digests, life: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ prune: fc.nat(100) }) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), fc.nat(20), (steps, spare) => {
    const memory = createReplayMemory(spare);
    let expected: { digest: string; keepUntil: number }[] = [];
    for (const [now, one] of steps.entries()) {
      if ("digest" in one) {
        const keepUntil = now + one.life;
        memory.add({ ...RECORD, digest: one.digest, time: now }, keepUntil);
        expected.push({ digest: one.digest, keepUntil });
      } else {
        memory.prune(one.prune);
        const kept = expected.findIndex(({ keepUntil }, index) =>
          expected.length - index <= spare || keepUntil >= one.prune
        );
        expected = kept < 0 ? [] : expected.slice(kept);
      }
      strictEqual(memory.size, expected.length);
    }
    for (const { digest } of expected) strictEqual(memory.find(digest)?.digest, digest);
    const kept = new Set(expected.map(({ digest }) => digest));
    for (const one of steps) {
      if ("digest" in one && !kept.has(one.digest)) strictEqual(memory.find(one.digest), null);
    }
  }));
});

Deno.test("a replay memory grows and shrinks through many blocks without losing a record", () => {
  const memory = createReplayMemory(0);
  const digest = (number: number): string => `${String(number).padStart(6, "0")}${"x".repeat(37)}`;
  const count = 30_000;
  for (let number = 0; number < count; number++) {
    memory.add({ ...RECORD, digest: digest(number) }, number);
  }
  for (const [now, first] of [[0, 0], [20_001, 20_001], [count - 1, count - 1]] as const) {
    memory.prune(now);
    strictEqual(memory.size, count - first);
    for (let number = 0; number < count; number += 97) {
      strictEqual(memory.find(digest(number)) !== null, number >= first, String(number));
    }
  }
  memory.prune(count);
  strictEqual(memory.size, 0);
  memory.add(RECORD, Infinity);
  deepStrictEqual(memory.find(RECORD.digest), RECORD);
});

Deno.test("a replay memory reads a digest as a whole, not its beginning", () => {
  const memory = createReplayMemory();
  memory.add(RECORD, Infinity);
  strictEqual(memory.find(RECORD.digest.slice(0, 20)), null);
  strictEqual(memory.find(`${RECORD.digest}A`), null);
  strictEqual(memory.find(""), null);
});
