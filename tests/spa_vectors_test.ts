// The codec against packets of the real fwknop, both ways.

import assert from "node:assert/strict";
import { encodeBase64 } from "../lib/spa_base64.ts";
import { deriveKey, effectiveKey, type RijndaelMode } from "../lib/spa_cipher.ts";
import { digestId, replayDigest } from "../lib/spa_digest.ts";
import type { Result } from "../lib/spa_error.ts";
import { decodePlaintext, encodeFields } from "../lib/spa_fields.ts";
import { messageTypeFor, parseAccessMessage, parseNatAccess } from "../lib/spa_message.ts";
import {
  acceptUnauthenticated,
  authenticatePacket,
  checkPacketShape,
  decodePacket,
  encodeGpgPacket,
  encodePacket,
  gpgMessage,
  openPacket,
} from "../lib/spa_packet.ts";
import {
  lastPayload,
  loadNegatives,
  loadQuirks,
  loadTransports,
  loadVectors,
  packetOfPayload,
  type Vector,
  vectorBytes,
  vectorFields,
  vectorKeys,
} from "./vectors.ts";

const vectors = loadVectors();
const rijndael = vectors.filter(({ encryption }) => encryption.type === 1);
const gpg = vectors.filter(({ encryption }) => encryption.type === 2);

function codeOf(result: Result<unknown>): number {
  return result.ok ? 0 : result.error.code;
}

function hexBytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function derivedOf(vector: Vector): NonNullable<Vector["derived"]> {
  assert.ok(vector.derived, `${vector.id} has intermediates`);
  return vector.derived;
}

Deno.test("decodePacket() reads each packet of the real client as libfko does", () => {
  for (const vector of rijndael) {
    const result = decodePacket(vector.packet, vectorKeys(vector));
    assert.equal(codeOf(result), vector.libfko_decode.code, vector.id);
    if (!result.ok) continue;
    assert.ok(vector.decoded, vector.id);
    const { encoded, digest, digestType, hmac, hmacType, mode, data, ...fields } = result.value;
    assert.deepEqual(fields, vectorFields(vector.decoded), vector.id);
    assert.equal(encoded, vector.fields.encoded, vector.id);
    assert.equal(digest, vector.fields.digest, vector.id);
    assert.equal(digestId(digestType), vector.decoded.digest_type, vector.id);
    assert.equal(hmac, vector.fields.hmac, vector.id);
    assert.equal(hmacType ?? "None", vector.hmac_type.name, vector.id);
    assert.equal(mode, vector.encryption.mode_name, vector.id);
    assert.equal(data + (hmac ?? ""), vector.packet, vector.id);
  }
});

Deno.test("the stages of a server accept what decodePacket() accepts", () => {
  for (const vector of rijndael) {
    const keys = vectorKeys(vector);
    const { hmacKey, hmacType, mode } = keys;
    const text = hmacKey !== undefined && hmacType !== undefined
      ? authenticatePacket(vector.packet, { hmacKey, hmacType, mode })
      : acceptUnauthenticated(vector.packet, mode);
    const opened = text.ok ? openPacket(text.value, keys) : text;
    assert.equal(codeOf(opened), vector.libfko_decode.code, vector.id);
    if (opened.ok) assert.equal(opened.value.encoded, vector.fields.encoded, vector.id);
  }
});

Deno.test("checkPacketShape() lets each packet of the real client through", () => {
  for (const vector of vectors) {
    const shape = checkPacketShape(vector.packet);
    assert.ok(shape.ok, vector.id);
    assert.equal(shape.value.wire, vector.packet, vector.id);
    if (vector.fwknopd?.verdict !== "accept") continue;
    const { mayBeRijndael, mayBeGpg } = shape.value;
    assert.ok(vector.encryption.type === 1 ? mayBeRijndael : mayBeGpg, vector.id);
  }
});

Deno.test("encodePacket() makes the bytes that the real client made of the same fields", () => {
  for (const vector of rijndael) {
    const keys = vectorKeys(vector);
    const packet = encodePacket(vectorFields(vector.fields), {
      ...keys,
      mode: vector.encryption.mode_name as RijndaelMode,
      digestType: vector.digest_type.name,
      salt: hexBytes(derivedOf(vector).salt_hex),
    });
    assert.ok(packet.ok, vector.id);
    assert.equal(packet.value.wire, vector.packet, vector.id);
    assert.equal(packet.value.encoded, vector.fields.encoded, vector.id);
    assert.equal(packet.value.digest, vector.fields.digest, vector.id);
    assert.equal(packet.value.hmac, vector.fields.hmac, vector.id);
  }
});

Deno.test("deriveKey() gives the AES key and the vector that the real client used", () => {
  for (const vector of rijndael) {
    const derived = derivedOf(vector);
    const { key, mode } = vectorKeys(vector);
    const used = effectiveKey(key, mode as RijndaelMode);
    const { aesKey, iv } = deriveKey(used, hexBytes(derived.salt_hex));
    assert.equal(hex(aesKey), derived.aes_key_hex, vector.id);
    assert.equal(hex(iv), derived.iv_hex, vector.id);
  }
});

Deno.test("replayDigest() is what fwknopd writes to its digest cache", () => {
  for (const vector of vectors) {
    assert.equal(replayDigest(vector.packet), vector.raw_digest_sha256_b64, vector.id);
  }
});

Deno.test("a GnuPG packet's message comes out and makes the same packet again", () => {
  for (const vector of gpg.filter(({ libfko_decode }) => libfko_decode.code !== 75)) {
    const keys = vectorKeys(vector);
    const { hmacKey, hmacType, mode } = keys;
    const authenticated = hmacKey !== undefined && hmacType !== undefined;
    const text = authenticated
      ? authenticatePacket(vector.packet, { hmacKey, hmacType, mode })
      : acceptUnauthenticated(vector.packet, mode);
    assert.ok(text.ok, vector.id);
    assert.equal(codeOf(openPacket(text.value, keys)), 111, vector.id);
    const message = gpgMessage(text.value);
    assert.ok(message, vector.id);
    const fields = encodeFields(vectorFields(vector.fields), vector.digest_type.name);
    assert.ok(fields.ok, vector.id);
    assert.equal(fields.value.encoded, vector.fields.encoded, vector.id);
    const options = authenticated ? { hmacKey, hmacType } : {};
    const packet = encodeGpgPacket(fields.value, message, options);
    assert.ok(packet.ok, vector.id);
    assert.equal(packet.value.wire, vector.packet, vector.id);
  }
});

Deno.test("decodePlaintext() reads what GnuPG decrypted as libfko does", () => {
  for (const vector of gpg.filter(({ libfko_decode }) => libfko_decode.code !== 75)) {
    const { encoded, digest } = vector.fields;
    const plaintext = new TextEncoder().encode(`${encoded}:${digest}`);
    const result = decodePlaintext(plaintext, "GPG");
    assert.equal(codeOf(result), vector.libfko_decode.code, vector.id);
    if (!result.ok) continue;
    assert.ok(vector.decoded, vector.id);
    const { encoded: _encoded, digest: _digest, digestType, ...fields } = result.value;
    assert.deepEqual(fields, vectorFields(vector.decoded), vector.id);
    assert.equal(digestId(digestType), vector.decoded.digest_type, vector.id);
  }
});

Deno.test("a GnuPG packet that receivers cannot restore is refused at both ends", () => {
  const [vector] = gpg.filter(({ category }) => category === "gpg-curve25519-broken");
  assert.ok(vector);
  assert.equal(codeOf(decodePacket(vector.packet, vectorKeys(vector))), 75);
  const fields = encodeFields(vectorFields(vector.fields), vector.digest_type.name);
  assert.ok(fields.ok);
  const curve25519 = Uint8Array.from({ length: 400 }, (_, index) => index === 0 ? 0x84 : 0x5e);
  assert.equal(codeOf(encodeGpgPacket(fields.value, curve25519, {})), 105);
});

Deno.test("negatives of the library are refused with the code that libfko gives", () => {
  const negatives = loadNegatives().filter(({ expect }) => expect.layer === "libfko");
  assert.ok(negatives.length > 100);
  for (const negative of negatives) {
    const wire = packetOfPayload(lastPayload(negative));
    const code = codeOf(decodePacket(wire, vectorKeys(negative)));
    const name = `${negative.id} ${negative.description}`;
    if (negative.libfko_decode.code >= 114) assert.equal(code, 111, name);
    // A NUL ends the plaintext for libfko, which then finds the digest wrong; here it is no ASCII.
    else if (negative.class === "padding") assert.ok([7, 108].includes(code), name);
    else assert.equal(code, negative.libfko_decode.code, name);
  }
});

Deno.test("negatives of the server's first look are refused without a key", () => {
  const negatives = loadNegatives().filter(({ expect }) => expect.layer === "server-precheck");
  assert.ok(negatives.length > 10);
  for (const negative of negatives) {
    const payload = lastPayload(negative);
    // With HTTP off a server looks at the request itself, otherwise at the packet inside it.
    const isExtracted = negative.description.startsWith("GET path");
    const shape = checkPacketShape(isExtracted ? packetOfPayload(payload) : payload);
    const name = `${negative.id} ${negative.description}`;
    assert.equal(codeOf(shape), Number(negative.fwknopd?.detail), name);
  }
});

Deno.test("negatives of policy, age and replay are for others to refuse: they decode", () => {
  const negatives = loadNegatives().filter(({ expect, encryption }) =>
    ["server-policy", "replay"].includes(expect.layer) && encryption.mode_name !== "Asymmetric"
  );
  assert.ok(negatives.length >= 10);
  for (const negative of negatives) {
    const result = decodePacket(packetOfPayload(lastPayload(negative)), vectorKeys(negative));
    assert.ok(result.ok, negative.id);
  }
});

/** Where this codec stands on each thing that the reference lets pass; the rest it refuses too. */
const ACCEPTED_QUIRKS = [
  "version-1",
  "version-9.9.9",
  "version-x_y_z",
  "version-2.0.2",
  "octal-ip",
  "zero-padded-port",
  "nat-bad-ip",
  "type1-extra-field",
  "legacy-with-hmac",
  "legacy-equals-cbc",
  "empty-key",
  "pad-zero-len",
];

Deno.test("quirks of the reference are refused, but for the named ones", () => {
  for (const quirk of loadQuirks().filter(({ name }) => !name.startsWith("gpg-"))) {
    const wire = packetOfPayload(lastPayload(quirk));
    const result = decodePacket(wire, vectorKeys(quirk));
    assert.equal(result.ok, ACCEPTED_QUIRKS.includes(quirk.name), quirk.name);
    if (result.ok) assert.equal(result.value.username, quirk.decoded.username, quirk.name);
  }
});

Deno.test("nothing gets past replay memory by being written in another way", () => {
  const bypasses = loadQuirks().filter(({ replay_bypass }) => replay_bypass === true);
  assert.equal(bypasses.length, 5);
  for (const quirk of bypasses) {
    const [first, ...again] = quirk.packets_b64.map(vectorBytes).map(packetOfPayload);
    assert.ok(decodePacket(first ?? "", vectorKeys(quirk)).ok, quirk.name);
    for (const wire of again) {
      assert.ok(!decodePacket(wire, vectorKeys(quirk)).ok, quirk.name);
    }
  }
});

Deno.test("addresses and NAT hosts that programs read differently have no meaning", () => {
  for (const quirk of loadQuirks()) {
    const { message, nat_access } = quirk.decoded;
    if (quirk.name === "octal-ip") assert.equal(parseAccessMessage(message ?? ""), null);
    if (quirk.name.startsWith("nat-")) assert.equal(parseNatAccess(nat_access ?? ""), null);
  }
});

Deno.test("each transport's packet decodes", () => {
  const encoder = new TextEncoder();
  for (const transport of loadTransports()) {
    const result = decodePacket(packetOfPayload(encoder.encode(transport.payload)), {
      key: encoder.encode(transport.key.text),
      hmacKey: encoder.encode(transport.hmac_key.text),
      hmacType: transport.hmac_type,
      mode: "CBC",
    });
    assert.ok(result.ok, transport.id);
    assert.equal(result.value.randomValue, transport.rand, transport.id);
    assert.equal(result.value.message, "192.0.2.9,tcp/22", transport.id);
  }
});

Deno.test("the vectors hold what the tests rely on", () => {
  assert.equal(vectors.length, 239);
  assert.ok(rijndael.length > 200 && gpg.length > 10);
  for (const { fields } of vectors) {
    assert.equal(messageTypeFor(fields.message_type, fields.client_timeout), fields.message_type);
  }
  assert.equal(encodeBase64(vectorBytes("AQI=")), "AQI");
});
