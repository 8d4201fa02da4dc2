import assert from "node:assert/strict";
import { cbc } from "@noble/ciphers/aes.js";
import fc from "fast-check";
import {
  decryptRijndael,
  deriveKey,
  effectiveKey,
  type EncryptionMode,
  encryptionModeId,
  encryptRijndael,
  parseEncryptionMode,
  type RijndaelMode,
} from "../lib/spa_cipher.ts";

const MODES: readonly RijndaelMode[] = ["ECB", "CBC", "CFB", "OFB", "CTR", "legacy"];
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const salt = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

function encrypted(plaintext: Uint8Array, key: Uint8Array, mode: RijndaelMode): Uint8Array {
  const result = encryptRijndael(plaintext, { key, salt, mode });
  assert.ok(result.ok);
  return result.value;
}

/** What decryption takes off blocks that come with padding of the test's own; null for nothing. */
function paddingTaken(padded: Uint8Array): number | null {
  const key = bytes("key");
  const { aesKey, iv } = deriveKey(key, salt);
  const blocks = cbc(aesKey, iv, { disablePadding: true }).encrypt(padded);
  const result = decryptRijndael(Uint8Array.of(...bytes("Salted__"), ...salt, ...blocks), {
    key,
    mode: "CBC",
  });
  assert.ok(result.ok);
  const { plaintext, isPadded } = result.value;
  assert.deepEqual(plaintext, padded.subarray(0, plaintext.length));
  return isPadded ? padded.length - plaintext.length : null;
}

Deno.test("decryptRijndael() gives back what encryptRijndael() took, in each mode", () => {
  const mode = fc.constantFrom(...MODES);
  const key = fc.uint8Array({ maxLength: 32 });
  const plain = fc.uint8Array({ maxLength: 100 });
  fc.assert(fc.property(mode, key, plain, (mode, key, plaintext) => {
    const ciphertext = encrypted(plaintext, key, mode);
    assert.equal(ciphertext.length, 16 + 16 * (Math.floor(plaintext.length / 16) + 1));
    const result = decryptRijndael(ciphertext, { key, mode });
    assert.ok(result.ok);
    assert.deepEqual(Uint8Array.from(result.value.plaintext), plaintext);
    assert.ok(result.value.isPadded);
  }));
});

Deno.test("a ciphertext names its salt and differs with key, salt and mode", () => {
  const plaintext = bytes("x".repeat(40));
  const texts = MODES.map((mode) => encrypted(plaintext, bytes("key"), mode).join());
  assert.equal(new Set(texts).size, MODES.length);
  assert.notEqual(encrypted(plaintext, bytes("kez"), "CBC").join(), texts[1]);
  const [head, rest] = [texts[1]?.split(",").slice(0, 16), bytes("Salted__")];
  assert.deepEqual(head?.map(Number), [...rest, ...salt]);
});

Deno.test("legacy mode fills a short key with 0 and cuts a long one, others take it as it is", () => {
  assert.deepEqual(effectiveKey(bytes("short"), "legacy"), bytes("short00000000000"));
  assert.deepEqual(effectiveKey(bytes(""), "legacy"), bytes("0".repeat(16)));
  assert.deepEqual(effectiveKey(bytes("k".repeat(40)), "legacy"), bytes("k".repeat(16)));
  for (const mode of MODES.filter((mode) => mode !== "legacy")) {
    assert.deepEqual(effectiveKey(bytes("short"), mode), bytes("short"), mode);
  }
});

Deno.test("a key of more than 32 bytes is refused, but in legacy mode", () => {
  const key = bytes("k".repeat(33));
  for (const mode of MODES) {
    const expected = mode === "legacy" ? 0 : 95;
    const made = encryptRijndael(bytes("x"), { key, salt, mode });
    assert.equal(made.ok ? 0 : made.error.code, expected, mode);
    const opened = decryptRijndael(new Uint8Array(32), { key, mode });
    assert.equal(opened.ok ? 0 : opened.error.code, mode === "legacy" ? 107 : 95, mode);
  }
});

Deno.test("a salt of another length is a bug of the caller, which throws", () => {
  for (const length of [0, 7, 9]) {
    const options = { key: bytes("k"), salt: new Uint8Array(length), mode: "CBC" } as const;
    assert.throws(() => encryptRijndael(bytes("x"), options), RangeError);
  }
});

Deno.test("decryptRijndael() refuses what is no whole ciphertext", () => {
  const whole = encrypted(bytes("x".repeat(40)), bytes("key"), "CBC");
  const options = { key: bytes("key"), mode: "CBC" } as const;
  const codes = [0, 8, 16, 17, 63].map((length) => {
    const result = decryptRijndael(whole.slice(0, length), options);
    return result.ok ? 0 : result.error.code;
  });
  assert.deepEqual(codes, [106, 53, 106, 53, 53]);
});

Deno.test("decryptRijndael() refuses any other header than Salted__", () => {
  for (let index = 0; index < 8; index++) {
    const ciphertext = encrypted(bytes("x".repeat(40)), bytes("key"), "CBC");
    ciphertext[index] = (ciphertext[index] ?? 0) ^ 1;
    const result = decryptRijndael(ciphertext, { key: bytes("key"), mode: "CBC" });
    assert.equal(result.ok ? 0 : result.error.code, 107, `byte ${index}`);
  }
});

Deno.test("decryptRijndael() takes off 1 to 16 equal bytes and leaves all else in place", () => {
  for (let count = 1; count <= 16; count++) {
    const padded = new Uint8Array(32).fill(count, 32 - count);
    assert.equal(paddingTaken(padded), count);
    padded[32 - count] = 99;
    assert.equal(paddingTaken(padded), null, `${count} bytes, the first one wrong`);
  }
  for (const last of [0, 17, 32, 255]) {
    assert.equal(paddingTaken(new Uint8Array(32).fill(last)), null, `last byte ${last}`);
  }
});

Deno.test("modes have the numbers and words that the protocol gives them", () => {
  const numbers: readonly (readonly [EncryptionMode, number])[] = [
    ["ECB", 1],
    ["CBC", 2],
    ["CFB", 3],
    ["OFB", 5],
    ["CTR", 6],
    ["Asymmetric", 7],
    ["legacy", 8],
  ];
  for (const [mode, id] of numbers) {
    assert.equal(encryptionModeId(mode), id);
    assert.equal(parseEncryptionMode(mode.toLowerCase()), mode);
    assert.equal(parseEncryptionMode(mode.toUpperCase()), mode);
  }
  for (const word of ["", "PCBC", "AES", "CBC ", "constructor"]) {
    assert.equal(parseEncryptionMode(word), null, word);
  }
});
