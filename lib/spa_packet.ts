// Whole SPA packets: fields to wire text, and back in the stages that a server goes through.

import { decodeBase64, decodedLength, encodeBase64, isBase64Text } from "./spa_base64.ts";
import {
  decryptRijndael,
  type EncryptionMode,
  encryptRijndael,
  type RijndaelMode,
} from "./spa_cipher.ts";
import {
  type DigestName,
  digestTextLength,
  MAX_HMAC_KEY_LENGTH,
  type PreparedHmac,
  prepareHmac,
} from "./spa_digest.ts";
import { accept, refuse, refuseData, type Result } from "./spa_error.ts";
import {
  type DecodedFields,
  decodePlaintext,
  type EncodedFields,
  encodeFields,
  MAX_TEXT_LENGTH,
  MIN_TEXT_LENGTH,
} from "./spa_fields.ts";
import type { Extensions, MessageType, SpaFields } from "./spa_message.ts";
import {
  beginsLikeRijndael,
  GPG_BEGINNING,
  MIN_GPG_LENGTH,
  RIJNDAEL_BEGINNING,
} from "./spa_shape.ts";

export { checkPacketShape, measurePacket, type PacketShape, type PacketSize } from "./spa_shape.ts";

/** How {@linkcode encodePacket} encrypts and authenticates. */
export interface EncodeOptions extends Extensions {
  /** At most 32 bytes. */
  readonly key: Uint8Array;
  /** 8 random bytes, new for each packet. */
  readonly salt: Uint8Array;
  readonly mode: RijndaelMode;
  readonly digestType: DigestName;
  /** At most 136 bytes; without it the packet has no tag. */
  readonly hmacKey?: Uint8Array;
  /** SHA256 unless given. */
  readonly hmacType?: DigestName;
}

/** A packet that is ready to be sent. */
export interface EncodedPacket {
  /** What is sent. */
  readonly wire: string;
  /** The fields joined by `:`, without the digest. */
  readonly encoded: string;
  /** Unpadded base64. */
  readonly digest: string;
  /** The tag in unpadded base64, the end of `wire`; null without HMAC. */
  readonly hmac: string | null;
  /** The type that was written, which follows the client timeout. */
  readonly messageType: MessageType;
}

/** Keys and modes that a receiver expects, and what it takes beyond fwknop's protocol. */
export interface DecodeKeys extends Extensions {
  readonly key: Uint8Array;
  readonly mode: EncryptionMode;
  /** Without it, or when it is empty, packets carry no tag. */
  readonly hmacKey?: Uint8Array;
  /** SHA256 unless given. */
  readonly hmacType?: DigestName;
}

/** A packet that was decrypted. */
export interface OpenedPacket extends DecodedFields {
  readonly mode: EncryptionMode;
  /** The packet without its tag and without its fixed beginning. */
  readonly data: string;
}

/** A packet that was authenticated and decrypted. */
export interface DecodedPacket extends OpenedPacket {
  /** The tag in unpadded base64; null without HMAC. */
  readonly hmac: string | null;
  readonly hmacType: DigestName | null;
}

/** Encodes, encrypts and authenticates a packet. Errors are those of libfko's setters. */
export function encodePacket(fields: SpaFields, options: EncodeOptions): Result<EncodedPacket> {
  const body = encodeFields(fields, options.digestType, options);
  if (!body.ok) return body;
  const ciphertext = encryptRijndael(new TextEncoder().encode(body.value.plaintext), options);
  if (!ciphertext.ok) return ciphertext;
  return finishPacket(body.value, ciphertext.value, RIJNDAEL_BEGINNING, options);
}

/**
 * Makes a packet of an OpenPGP message that holds `fields.plaintext`.
 *
 * @param message the message in binary form; refused as `FKO_ERROR_WRONG_ENCRYPTION_TYPE` unless it
 * begins as receivers will restore it: RSA or ElGamal with at least 2048 bits
 */
export function encodeGpgPacket(
  fields: EncodedFields,
  message: Uint8Array,
  options: Pick<EncodeOptions, "hmacKey" | "hmacType">,
): Result<EncodedPacket> {
  if (decodedLength(MAX_TEXT_LENGTH) < message.length) {
    return refuseData("ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL");
  }
  return finishPacket(fields, message, GPG_BEGINNING, options);
}

function finishPacket(
  fields: EncodedFields,
  ciphertext: Uint8Array,
  beginning: string,
  { hmacKey, hmacType = "SHA256" }: Pick<EncodeOptions, "hmacKey" | "hmacType">,
): Result<EncodedPacket> {
  const text = encodeBase64(ciphertext);
  if (!text.startsWith(beginning)) return refuse("FKO_ERROR_WRONG_ENCRYPTION_TYPE");
  if (hmacKey !== undefined && hmacKey.length > MAX_HMAC_KEY_LENGTH) {
    return refuse("FKO_ERROR_INVALID_HMAC_KEY_LEN");
  }
  const hmac = hmacKey === undefined ? null : prepareHmac(hmacType, hmacKey).tag(text);
  const whole = text + (hmac ?? "");
  if (whole.length > MAX_TEXT_LENGTH) return refuse("FKO_ERROR_MISSING_ENCODED_DATA");
  const { encoded, digest, messageType } = fields;
  return accept({ wire: whole.slice(beginning.length), encoded, digest, hmac, messageType });
}

/**
 * Checks a packet's tag. The first thing to do with a packet that passed the cheap checks.
 *
 * @returns the packet's text with its fixed beginning, without its tag, for {@linkcode openPacket}
 */
export function authenticatePacket(
  wire: string,
  { hmacKey, hmacType, mode }: { hmacKey: Uint8Array; hmacType: DigestName; mode: EncryptionMode },
): Result<string> {
  if (hmacKey.length === 0 || hmacKey.length > MAX_HMAC_KEY_LENGTH) {
    return refuse("FKO_ERROR_INVALID_HMAC_KEY_LEN");
  }
  return authenticateWith(prepareHmac(hmacType, hmacKey), wire, mode);
}

/** As {@linkcode authenticatePacket}, with a key that was prepared once for many packets. */
export function authenticateWith(
  hmac: PreparedHmac,
  wire: string,
  mode: EncryptionMode,
  extensions: Extensions = {},
): Result<string> {
  const split = splitTag(wire, hmac.name, mode);
  if (!split.ok) return split;
  const { text, tag } = split.value;
  if (!hmac.matches(new TextEncoder().encode(text), tag)) return refuseData("HMAC_COMPAREFAIL");
  return acceptAuthenticated(split.value, mode, extensions);
}

/** A packet and its tag apart, before anything is known about either. */
export interface TaggedText {
  /** The packet's text with its fixed beginning, without its tag: what the tag is computed of. */
  readonly text: string;
  readonly tag: Uint8Array;
}

/**
 * What {@linkcode authenticateWith} does before it needs a key: the same for all keys of a digest,
 * so a server with many keys does it once.
 */
export function splitTag(
  wire: string,
  digest: DigestName,
  mode: EncryptionMode,
): Result<TaggedText> {
  if (!isPossibleLength(wire.length)) return refuseData("FUNCS_NEW_MSGLEN_VALIDFAIL");
  const end = wire.length - digestTextLength(digest);
  if (end < MIN_TEXT_LENGTH) return refuseData("HMAC_ENCMSGLEN_VALIDFAIL");
  const data = wire.slice(0, end);
  if (!isBase64Text(data)) return refuseData("ENCODE_NOTBASE64");
  // No packet's text begins so, and most junk does: the answer is known without hashing.
  if (mode !== "Asymmetric" && !beginsLikeRijndael(data)) return refuseData("HMAC_COMPAREFAIL");
  const tag = decodeBase64(wire.slice(end));
  if (tag === null) return refuseData("HMAC_COMPAREFAIL");
  return accept({ text: beginningOf(mode) + data, tag });
}

/** What {@linkcode authenticateWith} does once the tag has matched: tells modes apart by length. */
export function acceptAuthenticated(
  { text }: TaggedText,
  mode: EncryptionMode,
  extensions: Extensions,
): Result<string> {
  return isModeLength(text.length, mode, extensions)
    ? accept(text)
    : refuseData("ENCRYPT_TYPE_UNKNOWN");
}

/**
 * The counterpart of {@linkcode authenticatePacket} where no HMAC key is configured. Nothing is
 * authenticated: only the digest inside stands against a packet that was altered on its way.
 *
 * @returns the packet's text with its fixed beginning, for {@linkcode openPacket}
 */
export function acceptUnauthenticated(
  wire: string,
  mode: EncryptionMode,
  extensions: Extensions = {},
): Result<string> {
  if (!isPossibleLength(wire.length)) return refuseData("FUNCS_NEW_MSGLEN_VALIDFAIL");
  // Here the length counts as received, without the beginning, as libfko has it.
  if (!isModeLength(wire.length, mode, extensions)) return refuseData("ENCRYPT_TYPE_UNKNOWN");
  if (!isBase64Text(wire)) return refuseData("ENCODE_NOTBASE64");
  return accept(beginningOf(mode) + wire);
}

/**
 * Decrypts a packet's text and reads its fields.
 *
 * @param text what {@linkcode authenticatePacket} or {@linkcode acceptUnauthenticated} gave
 * @returns `FKO_ERROR_UNSUPPORTED_FEATURE` in mode Asymmetric: decrypt {@linkcode gpgMessage} with
 * GnuPG and give the result to `decodePlaintext`
 */
export function openPacket(
  text: string,
  { key, mode, ...extensions }: { key: Uint8Array; mode: EncryptionMode } & Extensions,
): Result<OpenedPacket> {
  if (mode === "Asymmetric") return refuse("FKO_ERROR_UNSUPPORTED_FEATURE");
  const length = decodedLength(text.length);
  if (length % 16 !== 0) return refuseData("ENCRYPT_CIPHERLEN_VALIDFAIL");
  const ciphertext = decodeBase64(text);
  if (ciphertext === null) return refuseData("ENCODE_NOTBASE64");
  const decrypted = decryptRijndael(ciphertext, { key, mode });
  if (!decrypted.ok) return decrypted;
  const { plaintext, isPadded } = decrypted.value;
  const fields = decodePlaintext(plaintext, "Rijndael", extensions);
  if (!fields.ok) return fields;
  // Whoever has the key could leave the padding out; then two packets would mean the same.
  if (!isPadded) return refuse("FKO_ERROR_DECRYPTION_FAILURE");
  return accept({ ...fields.value, mode, data: text.slice(RIJNDAEL_BEGINNING.length) });
}

/** The OpenPGP message of a packet's text in binary form, or null when it is not strict base64. */
export function gpgMessage(text: string): Uint8Array | null {
  return decodeBase64(text);
}

/** Authenticates, decrypts and reads a packet: all stages at once. */
export function decodePacket(wire: string, keys: DecodeKeys): Result<DecodedPacket> {
  const { hmacKey, hmacType = "SHA256", mode } = keys;
  const authenticated = hmacKey !== undefined && hmacKey.length > 0;
  const text = authenticated
    ? authenticatePacket(wire, { hmacKey, hmacType, mode })
    : acceptUnauthenticated(wire, mode);
  if (!text.ok) return text;
  const opened = openPacket(text.value, keys);
  if (!opened.ok) return opened;
  const hmac = authenticated ? wire.slice(opened.value.data.length) : null;
  return accept({ ...opened.value, hmac, hmacType: authenticated ? hmacType : null });
}

function beginningOf(mode: EncryptionMode): string {
  return mode === "Asymmetric" ? GPG_BEGINNING : RIJNDAEL_BEGINNING;
}

function isPossibleLength(length: number): boolean {
  return length >= MIN_TEXT_LENGTH && length <= MAX_TEXT_LENGTH;
}

/** GnuPG or Rijndael goes by length alone; a mode that does not fit refuses the packet. */
function isModeLength(length: number, mode: EncryptionMode, { long = false }: Extensions): boolean {
  const isGpg = mode === "Asymmetric";
  return length >= MIN_GPG_LENGTH === isGpg || long && !isGpg;
}
