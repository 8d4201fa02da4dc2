import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeKeyBase64 } from "../lib/spa_base64.ts";
import { DIGEST_NAMES } from "../lib/spa_digest.ts";
import {
  areKeysIdentical,
  generateKeys,
  type KeyOptions,
  portFromRandomValue,
  randomValueFrom,
} from "../lib/spa_key.ts";

/** Bytes that are never the same twice. */
function counter(): (count: number) => Uint8Array {
  let next = 0;
  return (count) => Uint8Array.from({ length: count }, () => next++ & 0xff);
}

Deno.test("generateKeys() makes keys of the lengths that fwknop's generator has", () => {
  const lengths = DIGEST_NAMES.map((hmacType) => {
    const keys = generateKeys(counter(), { hmacType });
    assert.ok(keys.ok);
    return [hmacType, keys.value.key.length, keys.value.hmacKey.length];
  });
  assert.deepEqual(lengths, [
    ["MD5", 32, 16],
    ["SHA1", 32, 20],
    ["SHA256", 32, 64],
    ["SHA384", 32, 128],
    ["SHA512", 32, 128],
    ["SHA3_256", 32, 64],
    ["SHA3_512", 32, 64],
  ]);
});

Deno.test("generateKeys() gives different keys, also as padded base64", () => {
  const keys = generateKeys(counter());
  assert.ok(keys.ok);
  const { key, keyBase64, hmacKey, hmacKeyBase64 } = keys.value;
  assert.equal(keyBase64.length, 44);
  assert.equal(hmacKeyBase64.length, 88);
  assert.deepEqual(decodeKeyBase64(keyBase64), key);
  assert.deepEqual(decodeKeyBase64(hmacKeyBase64), hmacKey);
  assert.equal(areKeysIdentical(key, hmacKey), false);
  assert.equal(areKeysIdentical(key, key.slice()), true);
  assert.equal(areKeysIdentical(key, key.slice(1)), false);
});

Deno.test("generateKeys() refuses lengths out of range with fwknop's codes", () => {
  const table: readonly (readonly [KeyOptions, number])[] = [
    [{ keyLength: 1, hmacKeyLength: 1 }, 0],
    [{ keyLength: 32, hmacKeyLength: 128 }, 0],
    [{ keyLength: 0 }, 68],
    [{ keyLength: 33 }, 68],
    [{ keyLength: 1.5 }, 68],
    [{ keyLength: NaN }, 68],
    [{ hmacKeyLength: 0 }, 69],
    [{ hmacKeyLength: 129 }, 69],
  ];
  for (const [options, code] of table) {
    const keys = generateKeys(counter(), options);
    assert.equal(keys.ok ? 0 : keys.error.code, code, JSON.stringify(options));
    if (!keys.ok) continue;
    assert.equal(keys.value.key.length, options.keyLength);
    assert.equal(keys.value.hmacKey.length, options.hmacKeyLength);
  }
});

Deno.test("randomValueFrom() makes 16 digits, with leading zeros, of 16 bytes", () => {
  assert.equal(randomValueFrom(new Uint8Array(16)), "0000000000000000");
  // 2^128 - 1 = 340282366920938463463374607431768211455
  assert.equal(randomValueFrom(new Uint8Array(16).fill(255)), "4607431768211455");
  fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (data) => {
    assert.match(randomValueFrom(data), /^[0-9]{16}$/);
  }));
  assert.throws(() => randomValueFrom(new Uint8Array(15)), RangeError);
});

Deno.test("portFromRandomValue() stays between 10000 and 65534", () => {
  assert.equal(portFromRandomValue("0000099999999999"), 10000);
  assert.equal(portFromRandomValue("5553412345678901"), 65534);
  assert.equal(portFromRandomValue("5553500000000000"), 10000);
  assert.equal(portFromRandomValue("9999900000000000"), 54464);
});
