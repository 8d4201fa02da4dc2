// A short run of every fuzz target, always with the same inputs; scripts/fuzz runs them for long.

import assert from "node:assert/strict";
import { createDice, createMutator } from "./fuzz/mutate.ts";
import { runTarget } from "./fuzz/run.ts";
import { bytesOf, type FuzzTarget, latin1Of, rule } from "./fuzz/target.ts";
import { fuzzTargets } from "./fuzz/targets.ts";

/** Inputs for each target, besides its seeds. */
const INPUTS = 500;

for (const target of fuzzTargets()) {
  Deno.test(`fuzzing ${target.name}: ${target.rule}`, () => {
    const limit = target.seeds().length + INPUTS;
    const { inputs, finding } = runTarget(target, { seed: 1, goesOn: (count) => count < limit });
    const input = finding === null ? "" : JSON.stringify(latin1Of(finding.input));
    assert.equal(finding, null, `${finding?.what}: ${input}`);
    assert.equal(inputs, limit);
  });
}

/** Breaks on any input with both letters in it. */
const BROKEN: FuzzTarget = {
  name: "broken",
  rule: "no input has an x and a y",
  seeds: () => [bytesOf("some text with an x in it")],
  words: ["y"],
  check: (input) => rule(!(input.includes(120) && input.includes(121)), "both are there"),
};

Deno.test("runTarget() finds what breaks a rule, shortens it, and finds it again", () => {
  const run = () => runTarget(BROKEN, { seed: 7, goesOn: (count) => count < 10_000 });
  const { finding } = run();
  assert.ok(finding !== null);
  assert.equal([...latin1Of(finding.input)].sort().join(""), "xy");
  assert.equal(finding.what, "Error: both are there");
  assert.deepEqual(run().finding, finding);
});

Deno.test("createMutator() keeps to the longest input and gives the same for the same dice", () => {
  const material = {
    seeds: [bytesOf("abc"), bytesOf("d".repeat(90))],
    words: ["word"],
    longest: 64,
  };
  const [one, other, third] = [5, 5, 6].map((seed) => {
    const mutate = createMutator(material, createDice(seed));
    return Array.from({ length: 500 }, () => latin1Of(mutate()));
  });
  assert.deepEqual(one, other);
  assert.notDeepEqual(one, third);
  assert.ok(one?.every((input) => input.length <= 64));
  assert.ok(new Set(one).size > 300, "many different inputs");
});
