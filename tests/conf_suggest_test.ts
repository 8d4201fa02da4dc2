import assert from "node:assert/strict";
import { nearest } from "../lib/conf_suggest.ts";

Deno.test("nearest() finds the word that was meant, or none", () => {
  const names = ["destination", "access", "test", "fd"];
  assert.equal(nearest(names, "detsination"), "destination");
  assert.equal(nearest(names, "tets"), "test");
  assert.equal(nearest(names, "acces"), "access");
  assert.equal(nearest(names, "banana"), null);
  assert.equal(nearest(names, "xy"), null);
});
