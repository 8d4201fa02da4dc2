import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  createReplayMemory,
  formatReplayRecord,
  parseReplayRecord,
  type ReplayRecord,
} from "../lib/auth_replay.ts";

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
  const damaged = [line.slice(0, 60), line.replace(" 17 ", " x "), ` ${line}`, `${line} 1`, "x"];
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
