import assert from "node:assert/strict";
import {
  looksLikeBase64,
  parseAllowedAddress,
  parseDecimal,
  parseDuration,
} from "../lib/conf_fwknoprc_values.ts";

Deno.test("parseDuration() adds up units, and accepts nothing it does not know", async (t) => {
  const cases: ReadonlyArray<readonly [text: string, seconds: number | null]> = [
    ["0", 0],
    ["90", 90],
    ["90s", 90],
    ["10sec", 10],
    ["10m", 600],
    ["10M", 600],
    ["10min", 600],
    ["2hours", 7200],
    ["2days", 172800],
    ["1h30m", 5400],
    ["1d1h1m1s", 90061],
    ["", null],
    ["m", null],
    ["1.5h", null],
    ["3w", null],
    ["-5", null],
    ["5 m", null],
    ["5month", null],
    ["99999999999999999", null],
  ];
  for (const [text, seconds] of cases) {
    await t.step(text || "(empty)", () => assert.equal(parseDuration(text), seconds));
  }
});

Deno.test("parseDecimal() accepts digits within the limits only", () => {
  assert.equal(parseDecimal("0", 0, 9), 0);
  assert.equal(parseDecimal("9", 0, 9), 9);
  for (const text of ["10", "", "1x", " 1", "+1", "-1", "0x1", "1e0", "9".repeat(30)]) {
    assert.equal(parseDecimal(text, 0, 9), null, text);
  }
});

Deno.test("looksLikeBase64() refuses other characters and nothing at all", () => {
  assert.ok(looksLikeBase64("aA0+/=="));
  for (const text of ["", "a-b", "a b", "a\n"]) assert.ok(!looksLikeBase64(text), text);
});

Deno.test("parseAllowedAddress() gives the form that a packet carries", () => {
  const table: ReadonlyArray<readonly [text: string, address: string | null]> = [
    ["192.0.2.10", "192.0.2.10"],
    ["0.0.0.0", "0.0.0.0"],
    ["2001:DB8:0::1", "2001:db8::1"],
    ["::ffff:192.0.2.10", "192.0.2.10"],
    ["::FFFF:c000:20a", "192.0.2.10"],
    ["::", "0.0.0.0"],
    ["::1", "::1"],
    ["fe80::1%eth0", null],
    ["[2001:db8::1]", null],
    ["192.0.2.010", null],
    ["host.example", null],
    ["", null],
  ];
  for (const [text, address] of table) assert.equal(parseAllowedAddress(text), address, text);
});
