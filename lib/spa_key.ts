// Keys and random values: rules, sizes and how random bytes become them.

import { encodePaddedBase64 } from "./spa_base64.ts";
import { MAX_RIJNDAEL_KEY_LENGTH } from "./spa_cipher.ts";
import { type DigestName, equalConstantTime } from "./spa_digest.ts";
import { accept, refuseData, type Result } from "./spa_error.ts";

/** The longest HMAC key that fwknop's client and generator take, in bytes. */
export const MAX_GENERATED_HMAC_KEY_LENGTH = 128;

/** Bytes of a generated HMAC key. fwknop has none for SHA3 and fails; the digest's length serves. */
const HMAC_KEY_LENGTHS: Readonly<Record<DigestName, number>> = {
  MD5: 16,
  SHA1: 20,
  SHA256: 64,
  SHA384: 128,
  SHA512: 128,
  SHA3_256: 64,
  SHA3_512: 64,
};

/** Lengths of keys to generate, in bytes. */
export interface KeyOptions {
  /** 1 to 32; 32 unless given. */
  readonly keyLength?: number;
  /** 1 to 128; by the HMAC type unless given. */
  readonly hmacKeyLength?: number;
  /** SHA256 unless given. */
  readonly hmacType?: DigestName;
}

/** A pair of keys, also as configurations hold them: padded base64. */
export interface GeneratedKeys {
  readonly key: Uint8Array;
  readonly keyBase64: string;
  readonly hmacKey: Uint8Array;
  readonly hmacKeyBase64: string;
}

/**
 * Makes an encryption key and an HMAC key.
 *
 * @param randomBytes gives that many bytes from a cryptographically strong source
 * @returns codes 68 and 69 for a key length and an HMAC key length out of range
 */
export function generateKeys(
  randomBytes: (count: number) => Uint8Array,
  options: KeyOptions = {},
): Result<GeneratedKeys> {
  const keyLength = options.keyLength ?? MAX_RIJNDAEL_KEY_LENGTH;
  const hmacKeyLength = options.hmacKeyLength ?? HMAC_KEY_LENGTHS[options.hmacType ?? "SHA256"];
  if (!isLength(keyLength, MAX_RIJNDAEL_KEY_LENGTH)) {
    return refuseData("FUNCS_GEN_KEYLEN_VALIDFAIL");
  }
  if (!isLength(hmacKeyLength, MAX_GENERATED_HMAC_KEY_LENGTH)) {
    return refuseData("FUNCS_GEN_HMACLEN_VALIDFAIL");
  }
  const key = randomBytes(keyLength);
  const hmacKey = randomBytes(hmacKeyLength);
  return accept({
    key,
    keyBase64: encodePaddedBase64(key),
    hmacKey,
    hmacKeyBase64: encodePaddedBase64(hmacKey),
  });
}

function isLength(length: number, largest: number): boolean {
  return Number.isInteger(length) && length >= 1 && length <= largest;
}

/** Whether the two keys of a configuration are the same bytes, which client and server refuse. */
export function areKeysIdentical(key: Uint8Array, hmacKey: Uint8Array): boolean {
  return equalConstantTime(key, hmacKey);
}

/** Bytes that {@linkcode randomValueFrom} needs. */
export const RANDOM_VALUE_BYTES = 16;

/**
 * The random value of a packet: 16 decimal digits.
 *
 * @param bytes 16 bytes from a cryptographically strong source
 */
export function randomValueFrom(bytes: Uint8Array): string {
  if (bytes.length < RANDOM_VALUE_BYTES) throw new RangeError("A random value takes 16 bytes");
  const number = bytes.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n);
  return String(number % 10n ** 16n).padStart(16, "0");
}

/**
 * The port, 10000 to 65534, that fwknop makes of a random value where one is to be drawn. Use a
 * value that no packet carries: the port gives its first digits away.
 */
export function portFromRandomValue(randomValue: string): number {
  return 10000 + Number(randomValue.slice(0, 5)) % 55535;
}
