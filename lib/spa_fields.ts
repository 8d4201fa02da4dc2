// The plaintext of a packet: fields joined by ":" and the digest of them, encoded and decoded.

import { decodeBase64, encodeBase64 } from "./spa_base64.ts";
import {
  computeDigest,
  DIGEST_NAMES,
  type DigestName,
  digestTextLength,
  equalTextConstantTime,
} from "./spa_digest.ts";
import { accept, refuse, refuseData, type Result, type SpaErrorName } from "./spa_error.ts";
import {
  checkMessage,
  checkNatAccess,
  checkServerAuth,
  checkUsername,
  type Extensions,
  hasClientTimeout,
  hasNatAccess,
  isMessageText,
  isNatAccessText,
  isUsernameText,
  MAX_CLIENT_TIMEOUT,
  type MessageType,
  messageTypeFor,
  type SpaFields,
} from "./spa_message.ts";
import { asciiText, fieldBytes, fieldText } from "./spa_text.ts";

/** Fields in the form that is encrypted. */
export interface EncodedFields {
  /** The fields joined by `:`, without the digest. */
  readonly encoded: string;
  /** Unpadded base64. */
  readonly digest: string;
  /** What is encrypted: the fields, `:`, and the digest. */
  readonly plaintext: string;
  /** The type that was written, which follows the client timeout. */
  readonly messageType: MessageType;
}

/** Fields as they came out of a packet. */
export interface DecodedFields extends SpaFields {
  /** The fields joined by `:`, without the digest. */
  readonly encoded: string;
  /** Unpadded base64. */
  readonly digest: string;
  readonly digestType: DigestName;
}

/** Fewest bytes of a plaintext, and characters of a packet, that libfko looks at. */
export const MIN_TEXT_LENGTH = 36;
/** Most bytes of a plaintext, and characters of a packet, that libfko looks at. */
export const MAX_TEXT_LENGTH = 1499;

const MAX_SENT_TIMESTAMP = 2 ** 32 - 1;
const MAX_TIMESTAMP = 2 ** 31 - 1;
const MAX_SEPARATORS = 11;
const MAX_FIELD_TEXT = 256;

/**
 * Writes fields as text, after checking each as libfko's setters do.
 *
 * A client timeout turns types 1, 2 and 5 into 3, 4 and 6, and 0 turns them back; a command never
 * carries one. NAT access is refused where the type has none, and asked for where it has.
 */
export function encodeFields(
  fields: SpaFields,
  digestType: DigestName,
  extensions: Extensions = {},
): Result<EncodedFields> {
  const { natAccess, serverAuth, clientTimeout } = fields;
  const messageType = messageTypeFor(fields.messageType, clientTimeout);
  const problem = checkPlainFields(fields);
  if (problem !== null) return refuse(problem);
  if (hasNatAccess(messageType) !== (natAccess !== null)) {
    return refuseData(natAccess === null ? "NAT_EMPTY" : "MESSAGE_TYPE_VALIDFAIL");
  }
  const error = checkUsername(fields.username) ??
    checkMessage(messageType, fields.message, extensions) ??
    (natAccess === null ? null : checkNatAccess(natAccess)) ??
    (serverAuth === null ? null : checkServerAuth(serverAuth));
  if (error !== null) return { ok: false, error };

  const parts = [
    fields.randomValue,
    fieldBase64(fields.username),
    String(fields.timestamp),
    fields.version,
    String(messageType),
    fieldBase64(fields.message),
  ];
  if (natAccess !== null) parts.push(fieldBase64(natAccess));
  if (serverAuth !== null) parts.push(fieldBase64(serverAuth));
  if (hasClientTimeout(messageType)) parts.push(String(clientTimeout));
  const encoded = parts.join(":");
  const digest = encodeBase64(computeDigest(digestType, new TextEncoder().encode(encoded)));
  return accept({ encoded, digest, plaintext: `${encoded}:${digest}`, messageType });
}

/** Checks the fields that are written as they are. */
function checkPlainFields(fields: SpaFields): SpaErrorName | null {
  const { randomValue, timestamp, version, messageType, clientTimeout } = fields;
  if (!/^[0-9]{16}$/.test(randomValue)) return "FKO_ERROR_INVALID_DATA_RAND_LEN_VALIDFAIL";
  if (!isWholeNumber(timestamp, MAX_SENT_TIMESTAMP)) {
    return "FKO_ERROR_INVALID_DATA_TIMESTAMP_VALIDFAIL";
  }
  if (!/^[ -9;-~]{1,8}$/.test(version)) return "FKO_ERROR_INVALID_DATA";
  if (!isWholeNumber(messageType, 6)) return "FKO_ERROR_INVALID_DATA_MESSAGE_TYPE_VALIDFAIL";
  if (!isWholeNumber(clientTimeout, 2 ** 31 - 1)) {
    return "FKO_ERROR_INVALID_DATA_CLIENT_TIMEOUT_NEGATIVE";
  }
  return null;
}

function isWholeNumber(value: number, largest: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= largest;
}

function fieldBase64(text: string): string {
  return encodeBase64(fieldBytes(text));
}

/**
 * Reads a decrypted plaintext: length, characters, digest, then field by field. Refuses every other
 * way to write the same fields than that of {@linkcode encodeFields}: libfko takes signs, leading
 * zeros, padding, NULs and more.
 *
 * @param plaintext what decryption gave; of GnuPG, all of it
 * @param origin decides which errors a wrong length or a bad random value have
 */
export function decodePlaintext(
  plaintext: Uint8Array,
  origin: "Rijndael" | "GPG",
  extensions: Extensions = {},
): Result<DecodedFields> {
  if (plaintext.length < MIN_TEXT_LENGTH || plaintext.length > MAX_TEXT_LENGTH) {
    return refuseData(
      origin === "GPG" ? "ENCRYPT_DECRYPTED_MSGLEN_VALIDFAIL" : "DECODE_MSGLEN_VALIDFAIL",
    );
  }
  const text = asciiText(plaintext);
  // A wrong key shows here first, which is why it is the error that stands for one.
  if (origin === "Rijndael" && !/^[0-9]{16}:/.test(text)) {
    return refuse("FKO_ERROR_DECRYPTION_FAILURE");
  }
  if (!/^[ -~]+$/.test(text)) return refuseData("DECODE_NON_ASCII");
  const separators = text.split(":").length - 1;
  if (separators < 6) return refuseData("DECODE_LT_MIN_FIELDS");
  // A digest with a separator in it is never one, whatever its length.
  const digestStart = separators > MAX_SEPARATORS
    ? text.split(":", MAX_SEPARATORS).join(":").length + 1
    : text.lastIndexOf(":") + 1;
  const encoded = text.slice(0, digestStart - 1);
  const digest = text.slice(digestStart);
  const digestType = matchDigest(encoded, digest);
  if (!digestType.ok) return digestType;
  const fields = decodeFields(encoded.split(":"), extensions);
  if (!fields.ok) return fields;
  return accept({ ...fields.value, encoded, digest, digestType: digestType.value });
}

/** The digest type whose value the text is; several have the same length. */
function matchDigest(encoded: string, digest: string): Result<DigestName> {
  const candidates = DIGEST_NAMES.filter((name) => digestTextLength(name) === digest.length);
  if (candidates.length === 0) return refuse("FKO_ERROR_INVALID_DIGEST_TYPE");
  const bytes = new TextEncoder().encode(encoded);
  for (const name of candidates) {
    const computed = encodeBase64(computeDigest(name, bytes));
    if (equalTextConstantTime(computed, digest)) return accept(name);
  }
  return refuse("FKO_ERROR_DIGEST_VERIFICATION_FAILED");
}

function decodeFields(parts: readonly string[], extensions: Extensions): Result<SpaFields> {
  const [randomValue = "", user = "", time = "", version = "", type = "", ...rest] = parts;
  if (!/^[0-9]{16}$/.test(randomValue)) return refuseData("DECODE_RAND_MISSING");

  if (user === "") return refuseData("DECODE_USERNAME_MISSING");
  if (user.length > 64) return refuseData("DECODE_USERNAME_TOOBIG");
  const username = decodeField(user);
  if (username === null) return refuseData("DECODE_USERNAME_DECODEFAIL");
  if (!isUsernameText(username)) return refuseData("DECODE_USERNAME_VALIDFAIL");

  if (time === "") return refuseData("DECODE_TIMESTAMP_MISSING");
  if (time.length > 12) return refuseData("DECODE_TIMESTAMP_TOOBIG");
  const timestamp = decodeNumber(time, MAX_TIMESTAMP);
  if (timestamp === null) return refuseData("DECODE_TIMESTAMP_DECODEFAIL");

  if (version === "") return refuseData("DECODE_VERSION_MISSING");
  if (version.length > 8) return refuseData("DECODE_VERSION_TOOBIG");

  if (type === "") return refuseData("DECODE_MSGTYPE_MISSING");
  if (type.length > 2) return refuseData("DECODE_MSGTYPE_TOOBIG");
  if (!/^[0-6]$/.test(type)) return refuseData("DECODE_MSGTYPE_DECODEFAIL");
  const messageType = Number(type) as MessageType;
  const nat = hasNatAccess(messageType);
  const timed = hasClientTimeout(messageType);
  if (rest.length > 2 + Number(nat) + Number(timed)) {
    return refuseData("DECODE_WRONG_NUM_FIELDS");
  }

  const message = decodeMessage(messageType, rest[0] ?? "", extensions);
  if (!message.ok) return message;
  const natAccess = nat ? decodeNatAccess(rest[1] ?? "") : accept(null);
  if (!natAccess.ok) return natAccess;
  const extra = decodeExtra(rest.slice(nat ? 2 : 1), timed);
  if (!extra.ok) return extra;
  return accept({
    randomValue,
    username,
    timestamp,
    version,
    messageType,
    message: message.value,
    natAccess: natAccess.value,
    ...extra.value,
  });
}

function decodeMessage(
  type: MessageType,
  text: string,
  extensions: Extensions,
): Result<string> {
  if (text === "") return refuseData("DECODE_MESSAGE_MISSING");
  if (text.length > MAX_FIELD_TEXT) return refuseData("DECODE_MESSAGE_TOOBIG");
  const message = decodeField(text);
  if (message === null) return refuseData("DECODE_MESSAGE_DECODEFAIL");
  if (isMessageText(type, message, extensions)) return accept(message);
  return refuseData(type === 0 ? "DECODE_MESSAGE_VALIDFAIL" : "DECODE_ACCESS_VALIDFAIL");
}

function decodeNatAccess(text: string): Result<string> {
  if (text === "") return refuseData("DECODE_NATACCESS_MISSING");
  if (text.length > MAX_FIELD_TEXT) return refuseData("DECODE_NATACCESS_TOOBIG");
  const natAccess = decodeField(text);
  if (natAccess === null) return refuseData("DECODE_NATACCESS_DECODEFAIL");
  return isNatAccessText(natAccess) ? accept(natAccess) : refuseData("DECODE_NATACCESS_VALIDFAIL");
}

/** Reads what follows message and NAT access: server auth, which is optional, and the timeout. */
function decodeExtra(
  parts: readonly string[],
  timed: boolean,
): Result<Pick<SpaFields, "serverAuth" | "clientTimeout">> {
  if (parts.join(":").length > MAX_FIELD_TEXT) return refuseData("DECODE_SRVAUTH_MISSING");
  const timeout = timed ? decodeTimeout(parts.at(-1) ?? "") : accept(0);
  const authPart = timed ? parts.slice(0, -1)[0] : parts[0];
  if (authPart === undefined) {
    return timeout.ok ? accept({ serverAuth: null, clientTimeout: timeout.value }) : timeout;
  }
  const serverAuth = authPart === "" ? null : decodeField(authPart);
  if (serverAuth === null || serverAuth.includes("\0")) {
    return refuseData(timed ? "DECODE_EXTRA_DECODEFAIL" : "DECODE_SRVAUTH_DECODEFAIL");
  }
  return timeout.ok ? accept({ serverAuth, clientTimeout: timeout.value }) : timeout;
}

function decodeTimeout(text: string): Result<number> {
  if (text === "") return refuseData("DECODE_TIMEOUT_MISSING");
  if (!/^[0-9]+$/.test(text)) return refuseData("DECODE_TIMEOUT_VALIDFAIL");
  const timeout = decodeNumber(text, MAX_CLIENT_TIMEOUT);
  // A type with a timeout of 0 is the type without one, written differently.
  return timeout === null || timeout === 0
    ? refuseData("DECODE_TIMEOUT_DECODEFAIL")
    : accept(timeout);
}

function decodeField(text: string): string | null {
  const bytes = decodeBase64(text);
  return bytes === null ? null : fieldText(bytes);
}

/** Decimal digits without sign or leading zeros, up to `largest`. */
function decodeNumber(text: string, largest: number): number | null {
  if (!/^(0|[1-9][0-9]{0,11})$/.test(text)) return null;
  const value = Number(text);
  return value <= largest ? value : null;
}
