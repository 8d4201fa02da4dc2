// Digests and HMACs that SPA packets carry, their names, numbers and text lengths.

import { hmac } from "@noble/hashes/hmac.js";
import { md5, sha1 } from "@noble/hashes/legacy.js";
import { sha256, sha384, sha512 } from "@noble/hashes/sha2.js";
import { sha3_256, sha3_512 } from "@noble/hashes/sha3.js";
import { encodeBase64 } from "./spa_base64.ts";

/** A digest, by the word that configurations use. */
export type DigestName =
  | "MD5"
  | "SHA1"
  | "SHA256"
  | "SHA384"
  | "SHA512"
  | "SHA3_256"
  | "SHA3_512";

/** All digests, in the order of their numbers 1 to 7. */
export const DIGEST_NAMES: readonly DigestName[] = [
  "MD5",
  "SHA1",
  "SHA256",
  "SHA384",
  "SHA512",
  "SHA3_256",
  "SHA3_512",
];

/** The longest HMAC key that libfko takes, in bytes: the largest block size (SHA3-256). */
export const MAX_HMAC_KEY_LENGTH = 136;

const HASHES = {
  MD5: md5,
  SHA1: sha1,
  SHA256: sha256,
  SHA384: sha384,
  SHA512: sha512,
  SHA3_256: sha3_256,
  SHA3_512: sha3_512,
} as const;

/** The number that stands for a digest in field dumps and log lines: 1 to 7. */
export function digestId(name: DigestName): number {
  return DIGEST_NAMES.indexOf(name) + 1;
}

/** The digest of a configuration word in any case, or null when there is none of that name. */
export function parseDigestName(word: string): DigestName | null {
  const upper = word.toUpperCase();
  return DIGEST_NAMES.find((name) => name === upper) ?? null;
}

/** Length in bytes of a digest or HMAC. */
export function digestLength(name: DigestName): number {
  return HASHES[name].outputLen;
}

/** Length in characters of a digest or HMAC as unpadded base64. */
export function digestTextLength(name: DigestName): number {
  return Math.ceil(HASHES[name].outputLen * 8 / 6);
}

/** The digest of some bytes. */
export function computeDigest(name: DigestName, bytes: Uint8Array): Uint8Array {
  return HASHES[name](bytes);
}

/** The HMAC (RFC 2104) of some bytes; a key of any length, longer than a block is hashed first. */
export function computeHmac(name: DigestName, key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return hmac(HASHES[name], key, bytes);
}

/** A key that is ready to compute HMACs; keeps the key's two hash states, so a tag costs less. */
export interface PreparedHmac {
  readonly name: DigestName;
  /** Characters of a tag. */
  readonly tagLength: number;
  /** The HMAC of an ASCII text as unpadded base64. */
  readonly tag: (text: string) => string;
  /** Whether a tag's bytes are the HMAC of these bytes; takes a time that depends on lengths only. */
  readonly matches: (bytes: Uint8Array, tag: Uint8Array) => boolean;
}

/** Hashes a key once for the many tags that a server computes with it. */
export type PrepareHmac = (name: DigestName, key: Uint8Array) => PreparedHmac;

/** Computes the HMAC of some bytes with a key that it holds, into an array of the digest's length. */
export type ComputeMac = (bytes: Uint8Array, mac: Uint8Array) => void;

/** As {@linkcode PrepareHmac}, with this module's own hashes. */
export function prepareHmac(name: DigestName, key: Uint8Array): PreparedHmac {
  const keyed = hmac.create(HASHES[name], key);
  const running = keyed.clone();
  return preparedHmacFrom(name, (bytes, mac) => {
    keyed._cloneInto(running).update(bytes).digestInto(mac);
  });
}

/** A prepared key around whatever computes its HMACs. */
export function preparedHmacFrom(name: DigestName, compute: ComputeMac): PreparedHmac {
  const mac = new Uint8Array(digestLength(name));
  return {
    name,
    tagLength: digestTextLength(name),
    tag(text) {
      compute(new TextEncoder().encode(text), mac);
      return encodeBase64(mac);
    },
    matches(bytes, tag) {
      compute(bytes, mac);
      return equalConstantTime(mac, tag);
    },
  };
}

/** Compares in a time that depends on the lengths only. */
export function equalConstantTime(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let index = 0; index < left.length; index++) {
    difference |= (left[index] ?? 0) ^ (right[index] ?? 0);
  }
  return difference === 0;
}

/** Compares two texts in a time that depends on the lengths only. */
export function equalTextConstantTime(left: string, right: string): boolean {
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let index = 0; index < left.length; index++) {
    difference |= left.charCodeAt(index) ^ right.charCodeAt(index);
  }
  return difference === 0;
}

/**
 * What replay memory keeps of a packet: SHA-256 of its text as received, as unpadded base64.
 * The same as fwknopd writes to its `digest.cache`.
 *
 * @param wire the packet with its tag, without its fixed beginning; of an HTTP request, the
 * extracted packet
 */
export function replayDigest(wire: string): string {
  return encodeBase64(sha256(new TextEncoder().encode(wire)));
}
