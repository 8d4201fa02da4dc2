import assert from "node:assert/strict";
import fc from "fast-check";
import { fieldBytes, fieldText } from "../lib/spa_text.ts";

Deno.test("fieldBytes() gives back the very bytes that fieldText() took", () => {
  const utf8 = fc.string({ unit: "grapheme" }).map((text) => new TextEncoder().encode(text));
  fc.assert(fc.property(fc.oneof(fc.uint8Array(), utf8), fc.nat(20), (data, cut) => {
    const part = data.subarray(cut);
    assert.deepEqual(fieldBytes(fieldText(part)), part);
  }));
});

Deno.test("text in UTF-8 reads as it was written", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.equal(fieldText(new TextEncoder().encode(text)), text);
    assert.deepEqual(fieldBytes(text), new TextEncoder().encode(text));
  }));
});

Deno.test("fieldText() shows bytes that are no UTF-8 as lone surrogates", () => {
  const table: readonly (readonly [string, readonly number[], string])[] = [
    ["a byte of no sequence", [0x61, 0xff, 0x62], "a\udcffb"],
    ["a sequence that is cut", [0xe2, 0x82], "\udce2\udc82"],
    ["an overlong form", [0xc0, 0xaf], "\udcc0\udcaf"],
    ["a longer overlong form", [0xe0, 0x80, 0xaf], "\udce0\udc80\udcaf"],
    ["a surrogate", [0xed, 0xa0, 0x80], "\udced\udca0\udc80"],
    ["beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80], "\udcf4\udc90\udc80\udc80"],
    ["a byte order mark", [0xef, 0xbb, 0xbf], "\ufeff"],
    ["four bytes", [0xf0, 0x9f, 0x94, 0x91], "\u{1f511}"],
  ];
  for (const [what, data, text] of table) {
    assert.equal(fieldText(Uint8Array.from(data)), text, what);
  }
});
