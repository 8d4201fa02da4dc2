import assert from "node:assert/strict";
import fc from "fast-check";
import { errorAt, formatProblem, hasErrors, warningAt } from "../lib/conf_problem.ts";

Deno.test("formatProblem() names file, line, column, what is wrong and what would be right", () => {
  const place = { file: "access.conf", line: 3, column: 8 };
  const cases: [shown: string, expected: string][] = [
    [
      formatProblem(errorAt(place, 'cannot read "x": no number', "write 1 to 9")),
      'spa: access.conf:3:8: cannot read "x": no number\nhint: write 1 to 9',
    ],
    [formatProblem(errorAt({ ...place, column: 0 }, "bad line")), "spa: access.conf:3: bad line"],
    [formatProblem(warningAt(place, "odd")), "spa: access.conf:3:8: warning: odd"],
    [
      formatProblem(warningAt({ file: "command line", line: 0, column: 0 }, "odd")),
      "spa: command line: warning: odd",
    ],
  ];
  for (const [shown, expected] of cases) assert.equal(shown, expected);
});

Deno.test("formatProblem() shows no control character and never more lines than its own", () => {
  const character = fc.constantFrom(..."a\n\r\t\u0000\u001b\u007f\u009b\u2028\u202e");
  fc.assert(fc.property(fc.string({ unit: character }), (text) => {
    const shown = formatProblem(errorAt({ file: text, line: 1, column: 1 }, text, text));
    assert.match(shown, /^spa: [a?]*:1:1: [a?]*\nhint: [a?]*$/);
  }));
});

Deno.test("hasErrors() is true when one finding is an error", () => {
  const place = { file: "f", line: 1, column: 1 };
  assert.equal(hasErrors([]), false);
  assert.equal(hasErrors([warningAt(place, "odd")]), false);
  assert.equal(hasErrors([warningAt(place, "odd"), errorAt(place, "bad")]), true);
});
