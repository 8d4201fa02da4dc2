import assert from "node:assert/strict";
import fc from "fast-check";
import { parseChainSpec, parseFlag, parseWholeNumber } from "../lib/conf_values.ts";

Deno.test("parseFlag() takes Y, YES, N and NO in any case and nothing else", () => {
  for (const text of ["Y", "y", "yes", "YES", "Yes", "Y  # comment"]) {
    assert.deepEqual(parseFlag(text), { ok: true, value: true }, text);
  }
  for (const text of ["N", "n", "no", "NO", "N # comment"]) {
    assert.deepEqual(parseFlag(text), { ok: true, value: false }, text);
  }
  for (const text of ["", "0", "1", "true", "yes please", "none", "off", "Y#", "YY", "J"]) {
    const parsed = parseFlag(text);
    assert.ok(!parsed.ok, text);
    assert.match(parsed.fault.hint, /Y or N/);
  }
});

Deno.test("parseWholeNumber() takes decimal numbers of its range and nothing else", () => {
  const cases: [text: string, expected: number | "outside" | "no number"][] = [
    ["1", 1],
    ["10", 10],
    ["+7", 7],
    ["007", 7],
    ["5 # seconds", 5],
    ["0", "outside"],
    ["11", "outside"],
    ["-1", "outside"],
    ["4294967298", "outside"],
    ["99999999999999999999999999", "outside"],
    ["", "no number"],
    ["abc", "no number"],
    ["5s", "no number"],
    ["5 6", "no number"],
    ["0x5", "no number"],
    ["5.0", "no number"],
    ["5e0", "no number"],
  ];
  for (const [text, expected] of cases) {
    const parsed = parseWholeNumber(text, 1, 10, "outside");
    if (typeof expected === "number") {
      assert.deepEqual(parsed, { ok: true, value: expected }, text);
      continue;
    }
    assert.ok(!parsed.ok, text);
    assert.equal(parsed.fault.why === "outside" ? "outside" : "no number", expected, text);
    assert.match(parsed.fault.hint, /1 to 10/);
  }
  assert.equal(parseWholeNumber("9007199254740993", 0, Infinity, "outside").ok, false);
});

Deno.test("parseChainSpec() reads six fields and drops blanks", () => {
  const spec = {
    target: "ACCEPT",
    table: "filter",
    from: "INPUT",
    jumpPosition: 2,
    to: "FWKNOP_INPUT",
    rulePosition: 0,
  };
  for (
    const text of [
      "ACCEPT, filter, INPUT, 2, FWKNOP_INPUT, 0",
      "ACCEPT,filter ,IN PUT,2,FWKNOP_INPUT,0",
    ]
  ) {
    assert.deepEqual(parseChainSpec("IPT_INPUT_ACCESS", text), { ok: true, value: spec });
  }
});

Deno.test("parseChainSpec() tells what is wrong and where", () => {
  const cases: [text: string, offset: number, why: RegExp][] = [
    ["ACCEPT, filter, INPUT, 1, FWKNOP_INPUT", 0, /Invalid IPT_INPUT_ACCESS specification/],
    ["ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1, 1", 0, /not six fields/],
    ["ACCEPT,, INPUT, 1, FWKNOP_INPUT, 1", 0, /not six fields/],
    ["", 0, /not six fields/],
    ["ACCEPT, filter, INPUT, -1, FWKNOP_INPUT, 1", 23, /Invalid IPT_INPUT_ACCESS/],
    ["ACCEPT, filter, INPUT, 1, FWKNOP-INPUT, 1", 32, /Invalid IPT_INPUT_ACCESS/],
    [`ACCEPT, filter, INPUT, 1, ${"X".repeat(29)}, 1`, 0, /too long/],
    ["ACCEPT, filter, INPUT, 65537, FWKNOP_INPUT, 1", 0, /invalid jump rule position in Line: ACC/],
    ["ACCEPT, filter, INPUT, 0, FWKNOP_INPUT, 1", 0, /invalid jump rule position/],
    ["ACCEPT, filter, INPUT, x, FWKNOP_INPUT, 1", 0, /invalid jump rule position/],
    ["ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 65537", 0, /invalid to_chain rule position in Line/],
  ];
  for (const [text, offset, why] of cases) {
    const parsed = parseChainSpec("IPT_INPUT_ACCESS", text);
    assert.ok(!parsed.ok, text);
    assert.equal(parsed.fault.offset, offset, text);
    assert.match(parsed.fault.why, why, text);
  }
});

Deno.test("no text makes a value parser throw", () => {
  const character = fc.constantFrom(..."YNyesno0123456789, -_#\tACCEPT");
  fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: character })), (text) => {
    parseFlag(text);
    parseWholeNumber(text, 0, Infinity, "outside");
    parseChainSpec("IPT_INPUT_ACCESS", text);
  }));
});
