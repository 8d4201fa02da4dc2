import assert from "node:assert/strict";
import { cbc } from "@noble/ciphers/aes.js";
import fc from "fast-check";
import { encodeBase64 } from "../lib/spa_base64.ts";
import { deriveKey, type EncryptionMode } from "../lib/spa_cipher.ts";
import { DIGEST_NAMES, prepareHmac } from "../lib/spa_digest.ts";
import type { Result } from "../lib/spa_error.ts";
import { encodeFields } from "../lib/spa_fields.ts";
import type { SpaFields } from "../lib/spa_message.ts";
import {
  acceptUnauthenticated,
  authenticatePacket,
  authenticateWith,
  checkPacketShape,
  decodePacket,
  type EncodedPacket,
  encodeGpgPacket,
  type EncodeOptions,
  encodePacket,
  gpgMessage,
  openPacket,
} from "../lib/spa_packet.ts";
import { sampleFields } from "./sample_packet.ts";
import { encodeOptions, spaFields } from "./spa_arbitrary.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const FIELDS = sampleFields({ username: "demo", message: "192.0.2.10,tcp/22" });

const OPTIONS = {
  key: bytes("SpaDemoKey"),
  salt: Uint8Array.of(0x60, 0x12, 0x3c, 0x3c, 0x65, 0x1e, 0x08, 0x9d),
  mode: "CBC",
  digestType: "SHA256",
  hmacKey: bytes("SpaDemoHmacKey"),
  hmacType: "SHA256",
} as const;

function codeOf(result: Result<unknown>): number {
  return result.ok ? 0 : result.error.code;
}

function encoded(fields: SpaFields, options: EncodeOptions): EncodedPacket {
  const packet = encodePacket(fields, options);
  assert.ok(packet.ok);
  return packet.value;
}

Deno.test("encodePacket() makes the worked example of a real client", () => {
  assert.equal(
    encoded(FIELDS, OPTIONS).wire,
    "9gEjw8ZR4InSjyiDvzzpWaLi8KsGaxjsWg+BLErxcGlLhoosZDZ0sBWCRPClxuVBZVJfg3XD77PvUahxdMR5HezhX8cH23h3" +
      "U3ytc/RAoMnT7IJsZ687mnDRgngbcw40eWTuFoVIq58Cio2c80m91DAiGxyoEZL5oNQSfnsreRYg7xU0K3jA9OpacimSSrjp" +
      "g9uvgJdE9SOY",
  );
});

Deno.test("decodePacket() gives back what encodePacket() took, and nothing else decodes to it", () => {
  fc.assert(
    fc.property(spaFields, encodeOptions, (fields, options) => {
      const packet = encodePacket(fields, options);
      assert.ok(packet.ok);
      const { wire, encoded, digest, hmac } = packet.value;
      // Longer packets are for GnuPG, see the tests of the limits.
      fc.pre(wire.length < 400);
      const result = decodePacket(wire, options);
      assert.ok(result.ok);
      const { data, mode, digestType, hmacType, ...decoded } = result.value;
      assert.deepEqual(decoded, { ...fields, encoded, digest, hmac });
      assert.deepEqual([mode, digestType], [options.mode, options.digestType]);
      assert.equal(hmacType, hmac === null ? null : options.hmacType ?? "SHA256");
      assert.equal(data + (hmac ?? ""), wire);
      const again = encodePacket(result.value, options);
      assert.ok(again.ok);
      assert.equal(again.value.wire, wire);
    }),
    { numRuns: 300 },
  );
});

Deno.test("decodePacket() refuses a packet with HMAC that differs in one bit, wherever it is", () => {
  for (const hmacType of DIGEST_NAMES) {
    const options = { ...OPTIONS, hmacType };
    const { wire } = encoded(FIELDS, options);
    for (let bit = 0; bit < wire.length * 8; bit++) {
      const flipped = bytes(wire);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ 1 << (bit & 7);
      const text = String.fromCharCode(...flipped);
      assert.equal(decodePacket(text, options).ok, false, `${hmacType} bit ${bit}`);
    }
  }
});

Deno.test("without HMAC, no change of one character keeps a packet's meaning", () => {
  const { hmacKey: _key, hmacType: _type, ...options } = OPTIONS;
  for (const mode of ["ECB", "CBC", "CFB", "OFB", "CTR", "legacy"] as const) {
    const { wire } = encoded(FIELDS, { ...options, mode });
    for (let index = 0; index < wire.length; index++) {
      for (const character of "89+/AZaz05=-_ \n") {
        if (character === wire[index]) continue;
        const changed = wire.slice(0, index) + character + wire.slice(index + 1);
        assert.equal(decodePacket(changed, { ...options, mode }).ok, false, `${mode} ${index}`);
      }
    }
    for (const tail of ["=", "==", "A", "AA", "AAAA", "\n", "\0", `=${wire}`]) {
      assert.equal(decodePacket(wire + tail, { ...options, mode }).ok, false, `${mode} ${tail}`);
    }
  }
});

Deno.test("no byte string makes a decoder stage throw or pass", () => {
  const junk = fc.oneof(
    fc.uint8Array({ maxLength: 1600 }).map((data) => String.fromCharCode(...data)),
    fc.string({ unit: "binary", maxLength: 500 }),
    fc.uint8Array({ minLength: 100, maxLength: 1150 }).map(encodeBase64),
    fc.uint8Array({ minLength: 100, maxLength: 250 }).map((data) => `9${encodeBase64(data)}`),
  );
  const mode = fc.constantFrom<EncryptionMode>(
    "ECB",
    "CBC",
    "CFB",
    "OFB",
    "CTR",
    "legacy",
    "Asymmetric",
  );
  const key = fc.uint8Array({ maxLength: 40 });
  const hmacType = fc.constantFrom(...DIGEST_NAMES);
  fc.assert(
    fc.property(junk, mode, key, key, hmacType, (wire, mode, key, hmacKey, hmacType) => {
      checkPacketShape(wire);
      checkPacketShape(bytes(wire));
      gpgMessage(wire);
      assert.equal(authenticatePacket(wire, { hmacKey, hmacType, mode }).ok, false);
      assert.equal(openPacket(wire, { key, mode }).ok, false);
      assert.equal(decodePacket(wire, { key, mode }).ok, false);
      assert.equal(decodePacket(wire, { key, mode, hmacKey, hmacType }).ok, false);
    }),
    { numRuns: 500 },
  );
});

Deno.test("a packet with a good tag and junk inside is refused without throwing", () => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=: ";
  const data = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 400 });
  fc.assert(fc.property(data, fc.constantFrom(...DIGEST_NAMES), (data, hmacType) => {
    const tag = prepareHmac(hmacType, OPTIONS.hmacKey).tag(`U2FsdGVkX1${data}`);
    assert.equal(decodePacket(data + tag, { ...OPTIONS, hmacType }).ok, false);
  }));
});

Deno.test("a wrong key, mode, HMAC key or HMAC type refuses a packet with fwknop's codes", () => {
  const { wire } = encoded(FIELDS, OPTIONS);
  const other = bytes("another key");
  const { hmacKey: _key, hmacType: _type, ...withoutHmac } = OPTIONS;
  assert.equal(codeOf(decodePacket(wire, OPTIONS)), 0);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, key: other })), 107);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, mode: "CTR" })), 107);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, key: bytes("k".repeat(33)) })), 95);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, hmacKey: other })), 75);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, hmacKey: new Uint8Array(137) })), 109);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, hmacType: "SHA3_256" })), 75);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, hmacType: "SHA1" })), 75);
  assert.equal(codeOf(decodePacket(wire, withoutHmac)), 47);
  assert.equal(codeOf(decodePacket(`U2FsdGVkX1${wire}`, OPTIONS)), 75);
});

Deno.test("a packet without padding is refused, though all its fields are right", () => {
  const fields = encodeFields({ ...FIELDS, username: "demo12" }, "SHA256");
  assert.ok(fields.ok);
  const plaintext = bytes(fields.value.plaintext);
  const { key, salt, mode } = OPTIONS;
  const { aesKey, iv } = deriveKey(key, salt);
  const seal = (blocks: Uint8Array): string => {
    const encrypted = cbc(aesKey, iv, { disablePadding: true }).encrypt(blocks);
    return encodeBase64(Uint8Array.of(...bytes("Salted__"), ...salt, ...encrypted)).slice(10);
  };
  assert.equal(plaintext.length % 16, 0);
  const padding = new Uint8Array(16).fill(16);
  assert.equal(
    codeOf(decodePacket(seal(Uint8Array.of(...plaintext, ...padding)), { key, mode })),
    0,
  );
  assert.equal(codeOf(decodePacket(seal(plaintext), { key, mode })), 107);
});

Deno.test("an HMAC key that is absent or empty means no HMAC to a receiver, SHA256 is the default", () => {
  const { hmacKey, hmacType: _type, ...options } = OPTIONS;
  const bare = encoded(FIELDS, options);
  assert.equal(bare.hmac, null);
  assert.ok(decodePacket(bare.wire, options).ok);
  assert.ok(decodePacket(bare.wire, { ...options, hmacKey: new Uint8Array(0) }).ok);
  const emptyKey = { hmacKey: new Uint8Array(0), hmacType: "SHA256", mode: "CBC" } as const;
  assert.equal(codeOf(authenticatePacket(bare.wire, emptyKey)), 109);
  const { wire } = encoded(FIELDS, { ...options, hmacKey });
  assert.ok(decodePacket(wire, OPTIONS).ok);
});

Deno.test("the stages refuse impossible lengths and characters with libfko's codes", () => {
  const hmac = prepareHmac("SHA256", OPTIONS.hmacKey);
  const cases: readonly (readonly [string, number, number])[] = [
    ["A".repeat(35), 67, 67],
    ["A".repeat(36), 74, 0],
    ["A".repeat(36 + 42), 74, 0],
    ["A".repeat(36 + 43), 75, 0],
    ["A".repeat(399), 75, 0],
    ["A".repeat(400), 75, 65],
    ["A".repeat(1499), 75, 65],
    ["A".repeat(1500), 67, 67],
    [`${"A".repeat(100)}=${"A".repeat(100)}`, 47, 47],
    [`${"A".repeat(100)}\0${"A".repeat(100)}`, 47, 47],
  ];
  for (const [wire, withHmac, without] of cases) {
    assert.equal(codeOf(authenticateWith(hmac, wire, "CBC")), withHmac, `${wire.length}`);
    assert.equal(codeOf(acceptUnauthenticated(wire, "CBC")), without, `${wire.length}`);
  }
});

Deno.test("encodePacket() refuses keys that are too long and what the fields refuse", () => {
  assert.equal(codeOf(encodePacket(FIELDS, { ...OPTIONS, key: new Uint8Array(33) })), 95);
  assert.equal(codeOf(encodePacket(FIELDS, { ...OPTIONS, hmacKey: new Uint8Array(137) })), 109);
  assert.equal(codeOf(encodePacket(FIELDS, { ...OPTIONS, hmacKey: new Uint8Array(136) })), 0);
  assert.equal(codeOf(encodePacket({ ...FIELDS, message: "" }, OPTIONS)), 80);
});

Deno.test("a GnuPG packet goes by its length, its mode and the beginning of its message", () => {
  const fields = encodeFields(FIELDS, "SHA256");
  assert.ok(fields.ok);
  const openPgp = (length: number): Uint8Array =>
    Uint8Array.from({ length }, (_, index) => index === 0 ? 0x85 : index === 1 ? 0x01 : 0x5a);
  const keys = { hmacKey: OPTIONS.hmacKey, hmacType: "SHA256" } as const;

  const packet = encodeGpgPacket(fields.value, openPgp(600), keys);
  assert.ok(packet.ok);
  const { wire, hmac } = packet.value;
  assert.equal(wire.length, 800 - 2 + 43);
  const text = authenticatePacket(wire, { ...keys, mode: "Asymmetric" });
  assert.ok(text.ok);
  assert.deepEqual(gpgMessage(text.value), openPgp(600));
  assert.equal(text.value.slice(2) + (hmac ?? ""), wire);
  assert.equal(codeOf(openPacket(text.value, OPTIONS)), 53);
  assert.equal(codeOf(decodePacket(wire, { ...OPTIONS, mode: "Asymmetric" })), 111);
  assert.equal(codeOf(decodePacket(wire, { key: OPTIONS.key, mode: "CBC" })), 65);

  assert.equal(codeOf(encodeGpgPacket(fields.value, openPgp(1124), {})), 0);
  assert.equal(codeOf(encodeGpgPacket(fields.value, openPgp(1125), {})), 59);
  assert.equal(codeOf(encodeGpgPacket(fields.value, openPgp(1092), keys)), 0);
  assert.equal(codeOf(encodeGpgPacket(fields.value, openPgp(1093), keys)), 98);
  assert.equal(codeOf(encodeGpgPacket(fields.value, bytes("\u0001 no OpenPGP"), keys)), 105);
});
