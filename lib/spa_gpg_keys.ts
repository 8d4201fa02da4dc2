// GnuPG keys as `gpg --with-colons` lists them (doc/DETAILS of GnuPG), and whether a message made
// with them fits a packet.

import { decodedLength } from "./spa_base64.ts";
import { MAX_TEXT_LENGTH } from "./spa_fields.ts";

/** A key or subkey. */
export interface GpgKeyPart {
  /** OpenPGP's number of the public-key algorithm (RFC 4880 section 9.1). */
  readonly algorithm: number;
  readonly bits: number;
  /** Name of the curve; empty for algorithms without one. */
  readonly curve: string;
  /** Lower-case letters of what it may do: `e` encrypt, `s` sign. */
  readonly capabilities: string;
  /** Neither expired nor revoked nor invalid, and in a listing of secret keys really there. */
  readonly isUsable: boolean;
  /** Seconds since 1970 UTC. */
  readonly created: number;
}

/** A primary key and its subkeys. */
export interface GpgKey {
  /** Of the primary key, upper-case hexadecimal. */
  readonly fingerprint: string;
  /** The primary key first. */
  readonly parts: readonly GpgKeyPart[];
}

/** Reads a listing of public or secret keys; what it does not know it skips. Never throws. */
export function parseKeyListing(listing: string): GpgKey[] {
  const keys: { fingerprint: string; parts: GpgKeyPart[] }[] = [];
  for (const line of listing.split("\n")) {
    const fields = line.split(":");
    const [type = ""] = fields;
    const key = keys.at(-1);
    if (type === "pub" || type === "sec") {
      keys.push({ fingerprint: "", parts: [readPart(fields)] });
    } else if (key === undefined) {
      continue;
    } else if (type === "sub" || type === "ssb") {
      key.parts.push(readPart(fields));
    } else if (type === "fpr" && key.fingerprint === "") {
      key.fingerprint = (fields[9] ?? "").toUpperCase();
    }
  }
  return keys;
}

const UNUSABLE = /^[oidren]/;

function readPart(fields: readonly string[]): GpgKeyPart {
  const secretIsElsewhere = fields[14] === "#";
  return {
    algorithm: Number(fields[3] ?? 0),
    bits: Number(fields[2] ?? 0),
    curve: fields[16] ?? "",
    capabilities: (fields[11] ?? "").replace(/[^a-z]/g, ""),
    isUsable: !UNUSABLE.test(fields[1] ?? "") && !secretIsElsewhere,
    created: Number(fields[5] ?? 0),
  };
}

/** The part that gpg takes for a purpose: the newest usable subkey, else the primary key; or null. */
export function chooseKeyPart(key: GpgKey, purpose: "encrypt" | "sign"): GpgKeyPart | null {
  const letter = purpose === "encrypt" ? "e" : "s";
  const [primary, ...subkeys] = key.parts.filter((part, index) =>
    index === 0 || part.isUsable && part.capabilities.includes(letter)
  );
  const newest = subkeys.reduce<GpgKeyPart | null>(
    (best, part) => best === null || part.created >= best.created ? part : best,
    null,
  );
  if (newest !== null) return newest;
  return primary !== undefined && primary.isUsable && primary.capabilities.includes(letter)
    ? primary
    : null;
}

const RSA: ReadonlySet<number> = new Set([1, 2, 3]);
const ELGAMAL = 16;
const DSA = 17;

/** Fewest bits of a key whose messages begin as receivers restore them: base64 `hQ`. */
export const MIN_RECIPIENT_BITS = 1952;

/**
 * Whether a packet can carry what is encrypted to this key. Receivers put `hQ` in front of every
 * packet, and only RSA and ElGamal messages begin so.
 */
export function canReceivePackets({ algorithm, bits }: GpgKeyPart): boolean {
  return RSA.has(algorithm) && bits >= MIN_RECIPIENT_BITS ||
    algorithm === ELGAMAL && bits >= MIN_RECIPIENT_BITS / 2;
}

/** The key part for people: `RSA 2048`, `ed25519`. */
export function describeKeyPart({ algorithm, bits, curve }: GpgKeyPart): string {
  if (curve !== "") return curve;
  const name = RSA.has(algorithm)
    ? "RSA"
    : algorithm === ELGAMAL
    ? "ElGamal"
    : algorithm === DSA
    ? "DSA"
    : `algorithm ${algorithm}`;
  return `${name} ${bits}`;
}

/** Bytes of an encrypted session key's packet besides its number. */
const SESSION_KEY_BYTES = 15;
/** Bytes of the encrypted packet besides its content: headers, prefix, MDC, literal packet. */
const ENCLOSURE_BYTES = 61;
/** Bytes of a signature besides its number: one-pass packet, headers, subpackets. */
const SIGNATURE_BYTES = 73;
/** How far compression may take a message below the estimate, per byte of plaintext. */
const COMPRESSION_SAVES = 0.4;

/** Bytes of the numbers of a signature. */
function signatureNumber({ algorithm, bits }: GpgKeyPart): number {
  if (RSA.has(algorithm)) return bits / 8;
  // Two numbers of the size of the group or the field; of DSA, 224 or 256 bits are usual.
  return algorithm === DSA ? 56 : Math.ceil(bits / 8) * 2;
}

/** Bytes of the numbers of an encrypted session key. */
function sessionKeyNumber({ algorithm, bits }: GpgKeyPart): number {
  return algorithm === ELGAMAL ? bits / 4 + 2 : bits / 8;
}

/** Most bytes of a message that a packet with such a tag can carry. */
export function messageLimit(tagLength: number): number {
  return decodedLength(MAX_TEXT_LENGTH - tagLength);
}

/** What a packet would hold. */
export interface GpgMessagePlan {
  readonly recipient: GpgKeyPart;
  /** Null: not signed. */
  readonly signer: GpgKeyPart | null;
  /** Bytes of fields and digest. */
  readonly plaintextLength: number;
  /** Characters of the HMAC; 0 without. */
  readonly tagLength: number;
}

/** Whether no message of these keys can fit, whatever compression does. */
export function isSurelyTooLong(plan: GpgMessagePlan): boolean {
  const least = estimateLength(plan) - COMPRESSION_SAVES * plan.plaintextLength;
  return least > messageLimit(plan.tagLength);
}

/** Bytes of the message, give or take what compression does. */
export function estimateLength({ recipient, signer, plaintextLength }: GpgMessagePlan): number {
  const signature = signer === null ? 0 : SIGNATURE_BYTES + signatureNumber(signer);
  return SESSION_KEY_BYTES + sessionKeyNumber(recipient) + ENCLOSURE_BYTES + plaintextLength +
    Math.round(signature);
}

/** Which RSA keys fit such a packet, as advice to people. */
export function describeFittingKeys(plan: Omit<GpgMessagePlan, "recipient">): string {
  const { signer, plaintextLength, tagLength } = plan;
  const others = SESSION_KEY_BYTES + ENCLOSURE_BYTES + plaintextLength +
    (signer === null ? 0 : SIGNATURE_BYTES);
  const bits = Math.floor((messageLimit(tagLength) - others) / 64) * 512;
  if (bits < MIN_RECIPIENT_BITS) {
    return "no key fits this request: ask for less, or shorten the tag";
  }
  if (signer === null) return `an RSA recipient key of at most ${bits} bits fits this request`;
  const pairs = [[4096, 2048], [3072, 3072], [3072, 2048], [2048, 2048]] as const;
  const fitting = pairs.filter(([recipient, signing]) => recipient + signing <= bits).slice(0, 2)
    .map(([recipient, signing]) => `${recipient} with ${signing}`);
  const examples = fitting.length === 0 ? "" : `, such as ${fitting.join(" or ")}`;
  return `recipient and signing key may have ${bits} bits together (RSA)${examples}; an Ed25519 ` +
    "signing key counts as 512";
}
