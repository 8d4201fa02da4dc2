// The Rijndael layer: key derivation, padding, the encryption modes and the "Salted__" layout.

import { cbc, cfb, ctr, ecb } from "@noble/ciphers/aes.js";
import { md5 } from "@noble/hashes/legacy.js";
import { accept, refuse, refuseData, type Result } from "./spa_error.ts";

/** Modes in which AES-256 itself is used. `legacy` is CBC with short keys padded by `0`. */
export type RijndaelMode = "ECB" | "CBC" | "CFB" | "OFB" | "CTR" | "legacy";

/** How a packet is encrypted, by the word that configurations use; `Asymmetric` is GnuPG. */
export type EncryptionMode = RijndaelMode | "Asymmetric";

/** The longest Rijndael key, in bytes. */
export const MAX_RIJNDAEL_KEY_LENGTH = 32;

/** Bytes of salt in a packet. */
export const SALT_LENGTH = 8;

const MODE_IDS: Readonly<Record<EncryptionMode, number>> = {
  ECB: 1,
  CBC: 2,
  CFB: 3,
  OFB: 5,
  CTR: 6,
  Asymmetric: 7,
  legacy: 8,
};

const BLOCK = 16;
const LEGACY_KEY_LENGTH = 16;
const HEADER: readonly number[] = [0x53, 0x61, 0x6c, 0x74, 0x65, 0x64, 0x5f, 0x5f]; // "Salted__"
const OVERHEAD = HEADER.length + SALT_LENGTH;

/** The number that stands for a mode in field dumps: 1 to 8, without 4. */
export function encryptionModeId(mode: EncryptionMode): number {
  return MODE_IDS[mode];
}

/** The mode of a configuration word in any case, or null when there is none of that name. */
export function parseEncryptionMode(word: string): EncryptionMode | null {
  const upper = word.toUpperCase();
  const modes = Object.keys(MODE_IDS) as EncryptionMode[];
  return modes.find((mode) => mode.toUpperCase() === upper) ?? null;
}

/**
 * The key as a mode uses it. In legacy mode it is cut to 16 bytes, as fwknop's client and server
 * do, or filled up to 16 with ASCII `0`; in all others it stays as it is.
 */
export function effectiveKey(key: Uint8Array, mode: RijndaelMode): Uint8Array {
  if (mode !== "legacy" || key.length === LEGACY_KEY_LENGTH) return key;
  const filled = new Uint8Array(LEGACY_KEY_LENGTH).fill(0x30);
  filled.set(key.subarray(0, LEGACY_KEY_LENGTH));
  return filled;
}

/**
 * AES key and initialisation vector from a key and a salt: OpenSSL's `EVP_BytesToKey(3)` with MD5
 * and one round.
 */
export function deriveKey(
  key: Uint8Array,
  salt: Uint8Array,
): { aesKey: Uint8Array; iv: Uint8Array } {
  const derived = new Uint8Array(48);
  let previous: Uint8Array = new Uint8Array(0);
  for (let offset = 0; offset < derived.length; offset += previous.length) {
    previous = md5.create().update(previous).update(key).update(salt).digest();
    derived.set(previous, offset);
  }
  return { aesKey: derived.subarray(0, 32), iv: derived.slice(32) };
}

/**
 * Encrypts a packet's plaintext.
 *
 * @param key at most 32 bytes, else `FKO_ERROR_INVALID_KEY_LEN`
 * @param salt 8 random bytes, new for each packet
 * @returns `Salted__`, the salt, and the ciphertext in whole blocks
 */
export function encryptRijndael(
  plaintext: Uint8Array,
  { key, salt, mode }: { key: Uint8Array; salt: Uint8Array; mode: RijndaelMode },
): Result<Uint8Array> {
  if (salt.length !== SALT_LENGTH) throw new RangeError(`A salt has ${SALT_LENGTH} bytes`);
  const used = effectiveKey(key, mode);
  if (used.length > MAX_RIJNDAEL_KEY_LENGTH) return refuse("FKO_ERROR_INVALID_KEY_LEN");
  const encrypted = cipher(mode, deriveKey(used, salt)).encrypt(pad(plaintext));
  const result = new Uint8Array(OVERHEAD + encrypted.length);
  result.set(HEADER);
  result.set(salt, HEADER.length);
  result.set(encrypted, OVERHEAD);
  return accept(result);
}

/** What decryption gives. */
export interface Decrypted {
  readonly plaintext: Uint8Array;
  /** Whether there was padding as it should be; without it, nothing was cut off. */
  readonly isPadded: boolean;
}

/**
 * Decrypts what {@linkcode encryptRijndael} made. As libfko does, it leaves bad padding in place, so
 * that what is wrong shows in the same way later; a caller who found nothing wrong must still look
 * at `isPadded`. Other than libfko, it refuses a header that is not `Salted__`.
 */
export function decryptRijndael(
  ciphertext: Uint8Array,
  { key, mode }: { key: Uint8Array; mode: RijndaelMode },
): Result<Decrypted> {
  const used = effectiveKey(key, mode);
  if (used.length > MAX_RIJNDAEL_KEY_LENGTH) return refuse("FKO_ERROR_INVALID_KEY_LEN");
  if (ciphertext.length % BLOCK !== 0) return refuseData("ENCRYPT_CIPHERLEN_VALIDFAIL");
  if (ciphertext.length <= OVERHEAD) return refuse("FKO_ERROR_DECRYPTION_SIZE");
  if (HEADER.some((byte, index) => ciphertext[index] !== byte)) {
    return refuse("FKO_ERROR_DECRYPTION_FAILURE");
  }
  const derived = deriveKey(used, ciphertext.subarray(HEADER.length, OVERHEAD));
  const padded = cipher(mode, derived).decrypt(ciphertext.subarray(OVERHEAD));
  const plaintext = unpad(padded);
  return accept({ plaintext: plaintext ?? padded, isPadded: plaintext !== null });
}

interface BlockCipher {
  encrypt(bytes: Uint8Array): Uint8Array;
  decrypt(bytes: Uint8Array): Uint8Array;
}

function cipher(
  mode: RijndaelMode,
  { aesKey, iv }: { aesKey: Uint8Array; iv: Uint8Array },
): BlockCipher {
  switch (mode) {
    case "ECB":
      return ecb(aesKey, { disablePadding: true });
    case "CBC":
    case "legacy":
      return cbc(aesKey, iv, { disablePadding: true });
    case "CFB":
      return cfb(aesKey, iv);
    case "CTR":
      return ctr(aesKey, iv);
    case "OFB":
      return ofb(aesKey, iv);
  }
}

/** OFB's key stream is what CBC makes of zeros: each block is the encryption of the one before. */
function ofb(aesKey: Uint8Array, iv: Uint8Array): BlockCipher {
  const apply = (bytes: Uint8Array): Uint8Array => {
    const zeros = new Uint8Array(bytes.length);
    const stream = cbc(aesKey, iv, { disablePadding: true }).encrypt(zeros);
    return bytes.map((byte, index) => byte ^ (stream[index] ?? 0));
  };
  return { encrypt: apply, decrypt: apply };
}

/** Padding of RFC 5652 section 6.3: 1 to 16 bytes, each holding their number. */
function pad(bytes: Uint8Array): Uint8Array {
  const count = BLOCK - bytes.length % BLOCK;
  const padded = new Uint8Array(bytes.length + count).fill(count);
  padded.set(bytes);
  return padded;
}

function unpad(bytes: Uint8Array): Uint8Array | null {
  const count = bytes[bytes.length - 1] ?? 0;
  if (count < 1 || count > BLOCK) return null;
  if (bytes.subarray(-count).some((byte) => byte !== count)) return null;
  return bytes.subarray(0, -count);
}
