import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeBase64,
  decodedLength,
  decodeKeyBase64,
  encodeBase64,
  encodePaddedBase64,
  isBase64Bytes,
  isBase64Text,
} from "../lib/spa_base64.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** RFC 4648 section 10. */
const RFC_4648 = [
  ["", ""],
  ["f", "Zg=="],
  ["fo", "Zm8="],
  ["foo", "Zm9v"],
  ["foob", "Zm9vYg=="],
  ["fooba", "Zm9vYmE="],
  ["foobar", "Zm9vYmFy"],
] as const;

Deno.test("base64 agrees with the test vectors of RFC 4648, with and without padding", () => {
  for (const [plain, padded] of RFC_4648) {
    const bare = padded.replaceAll("=", "");
    assert.equal(encodePaddedBase64(bytes(plain)), padded);
    assert.equal(encodeBase64(bytes(plain)), bare);
    assert.deepEqual(decodeBase64(bare), bytes(plain));
    assert.deepEqual(decodeKeyBase64(padded), bytes(plain));
    assert.equal(decodedLength(bare.length), plain.length);
  }
});

Deno.test("decodeBase64() gives back what encodeBase64() took", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
    assert.deepEqual(decodeBase64(encodeBase64(data)), data);
    assert.deepEqual(decodeKeyBase64(encodePaddedBase64(data)), data);
  }));
});

Deno.test("decodeBase64() accepts one text for each byte string only", () => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  const text = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 12 });
  fc.assert(fc.property(text, (candidate) => {
    const decoded = decodeBase64(candidate);
    if (decoded !== null) assert.equal(encodeBase64(decoded), candidate);
  }));
});

Deno.test("decodeBase64() refuses padding, loose bits, a lone character and foreign characters", () => {
  for (
    const text of ["Zg==", "Zm8=", "=", "Zh", "Zm9", "Z", "Zm9vY", "Zm9v\n", "Zm-v", "Zm 8", "é"]
  ) {
    assert.equal(decodeBase64(text), null, text);
  }
});

Deno.test("decodeKeyBase64() forgives padding, loose bits and a lone character", () => {
  const table = [
    ["Zg", "f"],
    ["Zg=", "f"],
    ["Zg==", "f"],
    ["Zh", "f"],
    ["Zg==Zm9v", "f"],
    ["Zm9vY", "foo"],
    ["=", ""],
  ] as const;
  for (const [text, plain] of table) assert.deepEqual(decodeKeyBase64(text), bytes(plain), text);
  for (const text of ["Zm-v", "Zm 8", "é", "Z\0=="]) {
    assert.equal(decodeKeyBase64(text), null, text);
  }
});

Deno.test("isBase64Text() knows the 64 characters, and not '='", () => {
  for (let code = 0; code < 300; code++) {
    const character = String.fromCharCode(code);
    assert.equal(isBase64Text(character), /[A-Za-z0-9+/]/.test(character), `${code}`);
  }
});

Deno.test("isBase64Bytes() says of every byte what isBase64Text() says of its character", () => {
  for (let byte = 0; byte < 256; byte++) {
    const text = `Aa0${String.fromCharCode(byte)}`;
    const array = Uint8Array.from(text, (character) => character.charCodeAt(0));
    assert.equal(isBase64Bytes(array), isBase64Text(text), `${byte}`);
  }
  assert.ok(isBase64Bytes(new Uint8Array(0)));
});
