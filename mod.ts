/**
 * Single Packet Authorization, as fwknop 2.6 speaks it: encode, encrypt and authenticate a knock,
 * and take one apart again. Pure functions; time, random bytes and keys are arguments. Runs on
 * Deno, Node and Bun.
 *
 * @example A knock, and its way back
 * ```ts
 * import { decodePacket, encodePacket, PROTOCOL_VERSION, randomValueFrom } from "@spa/spa";
 * import assert from "node:assert/strict";
 *
 * const random = (count: number) => crypto.getRandomValues(new Uint8Array(count));
 * const key = random(32);
 * const hmacKey = random(64);
 *
 * const packet = encodePacket({
 *   randomValue: randomValueFrom(random(16)),
 *   username: "alice",
 *   timestamp: Math.floor(Date.now() / 1000),
 *   version: PROTOCOL_VERSION,
 *   messageType: 1,
 *   message: "192.0.2.10,tcp/22",
 *   natAccess: null,
 *   serverAuth: null,
 *   clientTimeout: 0,
 * }, { key, salt: random(8), mode: "CBC", digestType: "SHA256", hmacKey, hmacType: "SHA256" });
 *
 * assert.ok(packet.ok);
 * const decoded = decodePacket(packet.value.wire, {
 *   key,
 *   mode: "CBC",
 *   hmacKey,
 *   hmacType: "SHA256",
 * });
 * assert.ok(decoded.ok);
 * assert.equal(decoded.value.message, "192.0.2.10,tcp/22");
 * ```
 *
 * @example Refusals are values that name their reason
 * ```ts
 * import { decodePacket } from "@spa/spa";
 * import assert from "node:assert/strict";
 *
 * const key = new TextEncoder().encode("encryption key");
 * const hmacKey = new TextEncoder().encode("HMAC key");
 * const junk = "9".repeat(200);
 * const result = decodePacket(junk, { key, mode: "CBC", hmacKey, hmacType: "SHA256" });
 * assert.ok(!result.ok);
 * assert.equal(result.error.name, "FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL");
 * ```
 *
 * @module
 */

export { type Protocol, type ProtocolPort } from "./lib/net_port.ts";
export {
  decodeBase64,
  decodeKeyBase64,
  encodeBase64,
  encodePaddedBase64,
} from "./lib/spa_base64.ts";
export {
  type EncryptionMode,
  encryptionModeId,
  MAX_RIJNDAEL_KEY_LENGTH,
  parseEncryptionMode,
  type RijndaelMode,
  SALT_LENGTH,
} from "./lib/spa_cipher.ts";
export {
  DIGEST_NAMES,
  digestId,
  type DigestName,
  MAX_HMAC_KEY_LENGTH,
  parseDigestName,
  type PreparedHmac,
  prepareHmac,
  replayDigest,
} from "./lib/spa_digest.ts";
export { type FieldDump, formatFieldDump, type GpgDump } from "./lib/spa_dump.ts";
export {
  type InvalidDataName,
  listSpaErrors,
  type Result,
  type SpaError,
  spaError,
  type SpaErrorName,
} from "./lib/spa_error.ts";
export {
  type DecodedFields,
  decodePlaintext,
  type EncodedFields,
  encodeFields,
} from "./lib/spa_fields.ts";
export {
  areKeysIdentical,
  type GeneratedKeys,
  generateKeys,
  type KeyOptions,
  portFromRandomValue,
  RANDOM_VALUE_BYTES,
  randomValueFrom,
} from "./lib/spa_key.ts";
export {
  type AccessRequest,
  type CommandRequest,
  type Extensions,
  hasClientTimeout,
  hasNatAccess,
  MAX_CLIENT_TIMEOUT,
  type MessageType,
  messageTypeFor,
  messageTypeName,
  type NatTarget,
  parseAccessMessage,
  parseCommandMessage,
  parseNatAccess,
  PROTOCOL_VERSION,
  type SpaFields,
} from "./lib/spa_message.ts";
export {
  acceptUnauthenticated,
  authenticatePacket,
  authenticateWith,
  checkPacketShape,
  type DecodedPacket,
  type DecodeKeys,
  decodePacket,
  type EncodedPacket,
  encodeGpgPacket,
  type EncodeOptions,
  encodePacket,
  gpgMessage,
  measurePacket,
  type OpenedPacket,
  openPacket,
  type PacketShape,
  type PacketSize,
} from "./lib/spa_packet.ts";
export { fieldBytes, fieldText } from "./lib/spa_text.ts";
