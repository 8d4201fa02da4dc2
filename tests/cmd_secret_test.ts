import assert from "node:assert/strict";
import { EMPTY_SECRET, type SecretLine, typeByte } from "../lib/cmd_secret.ts";

function type(text: string): SecretLine {
  return [...new TextEncoder().encode(text)].reduce(typeByte, EMPTY_SECRET);
}

Deno.test("typing a secret", async (t) => {
  const cases: ReadonlyArray<readonly [typed: string, secret: string, end: SecretLine["end"]]> = [
    ["abc", "abc", null],
    ["abc\r", "abc", "entered"],
    ["abc\n", "abc", "entered"],
    ["abc\x7f\x08d\r", "ad", "entered"],
    ["\x7f\x7fa\r", "a", "entered"],
    ["aé\x7fb\r", "ab", "entered"],
    ["a🔑\x7fb\r", "ab", "entered"],
    ["wrong\x15right\r", "right", "entered"],
    ["one two\x17three\r", "one three", "entered"],
    ["one two  \x17\r", "one ", "entered"],
    ["one\x17\r", "", "entered"],
    ["a\x1b[Db\x1bOAc\x1b[3~d\r", "abcd", "entered"],
    ["abc\x03", "", "interrupted"],
    ["abc\x1c", "", "interrupted"],
    ["\x04", "", "interrupted"],
    ["abc\x04", "abc", "entered"],
  ];
  for (const [typed, secret, end] of cases) {
    await t.step(JSON.stringify(typed), () => {
      const line = type(typed);
      assert.equal(new TextDecoder().decode(Uint8Array.from(line.bytes)), secret);
      assert.equal(line.end, end);
    });
  }
});
