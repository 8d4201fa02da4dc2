// The book of open rules: order of ends, places in chains, counts.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FirewallRule } from "../lib/fw_firewall.ts";
import { createOpenRules } from "../lib/fw_open.ts";

function rule(name: string | number, chain = "FWKNOP_INPUT"): FirewallRule {
  return { kind: "access", table: "filter", chain, text: `${name}`, expires: 0, summary: "" };
}

Deno.test("takeDue() gives grants in the order of their deadlines, and only those due", () => {
  fc.assert(fc.property(fc.array(fc.nat(100)), fc.nat(100), (deadlines, now) => {
    const book = createOpenRules(false);
    for (const [index, deadline] of deadlines.entries()) book.enter([rule(index)], deadline);
    const due = book.takeDue(now, Infinity).map(({ deadline }) => deadline);
    const sorted = deadlines.toSorted((a, b) => a - b);
    assert.deepEqual(due, sorted.filter((deadline) => deadline <= now));
    assert.equal(book.nextDeadline, sorted.find((deadline) => deadline > now) ?? null);
  }));
});

Deno.test("takeDue() gives no more than asked for", () => {
  const book = createOpenRules(false);
  for (const deadline of [3, 1, 2]) book.enter([rule(deadline)], deadline);
  assert.deepEqual(book.takeDue(9, 2).map(({ deadline }) => deadline), [1, 2]);
  assert.deepEqual(book.takeDue(9, 2).map(({ deadline }) => deadline), [3]);
});

Deno.test("number() counts places in the chain, from either end", () => {
  const rules = [rule("a"), rule("b"), rule("c", "FWKNOP_OUTPUT"), rule("d")];
  const places = (newestFirst: boolean): [string, number][] => {
    const book = createOpenRules(newestFirst);
    for (const one of rules) book.enter([one], 0);
    return [...book.number(rules)].map(([{ text }, number]) => [text, number]);
  };
  assert.deepEqual(places(false), [["a", 1], ["b", 2], ["d", 3], ["c", 1]]);
  assert.deepEqual(places(true), [["c", 1], ["d", 1], ["b", 2], ["a", 3]]);
});

Deno.test("a grant counts until its last rule is forgotten", () => {
  const book = createOpenRules(false);
  const [first, second] = [rule("a"), rule("b")];
  book.enter([first, second], 5);
  book.enter([], 6);
  assert.equal(book.grants, 1);
  book.forget([first]);
  assert.equal(book.has(first), false);
  assert.equal(book.grants, 1);
  book.forget([second, second]);
  assert.equal(book.grants, 0);
  assert.equal(book.nextDeadline, null);
  assert.deepEqual(book.takeDue(9, 9), []);
});

Deno.test("a rule that is known keeps its end and its place", () => {
  const book = createOpenRules(false);
  book.enter([rule("a")], 1);
  book.enter([rule("b")], 2);
  book.enter([rule("a")], 3);
  assert.equal(book.grants, 2);
  assert.deepEqual(book.takeDue(9, 9).map(({ deadline }) => deadline), [1, 2]);
});

Deno.test("a postponed grant keeps its places and remembers its failures", () => {
  const book = createOpenRules(false);
  const [first, second] = [rule("a"), rule("b")];
  book.enter([first], 1);
  book.enter([second], 9);
  const [due] = book.takeDue(1, 9);
  assert(due);
  book.postpone(due, 4);
  assert.equal(book.grants, 2);
  assert.equal(book.nextDeadline, 4);
  assert.deepEqual([...book.number([first, second]).values()], [1, 2]);
  const [again] = book.takeDue(4, 9);
  assert.equal(again?.failures, 1);
  book.forget([first]);
  assert.equal(book.grants, 1);
});

Deno.test("forgetChain() strikes out the rules of that chain only", () => {
  const book = createOpenRules(false);
  const [input, output] = [rule("a"), rule("a", "FWKNOP_OUTPUT")];
  book.enter([input, output], 1);
  book.forgetChain("filter FWKNOP_INPUT");
  book.forgetChain("filter NONE");
  assert.deepEqual([book.has(input), book.has(output), book.grants], [false, true, 1]);
});
