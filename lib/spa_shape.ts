// Cheap checks of what arrives and of what is about to be sent: length, alphabet, first characters.

import { isBase64Bytes, isBase64Text } from "./spa_base64.ts";
import type { EncryptionMode } from "./spa_cipher.ts";
import { accept, refuse, type Result } from "./spa_error.ts";
import { MAX_TEXT_LENGTH } from "./spa_fields.ts";
import { asciiText } from "./spa_text.ts";

/** What all Rijndael ciphertexts begin with in base64; it is not sent. */
export const RIJNDAEL_BEGINNING = "U2FsdGVkX1";
/** What all usable OpenPGP messages begin with in base64; it is not sent. */
export const GPG_BEGINNING = "hQ";

/** Texts of this many characters and more are GnuPG's, whatever they are. */
export const MIN_GPG_LENGTH = 400;

/** Fewest bytes of a payload that servers look at. */
export const MIN_PACKET_LENGTH = 140;
/** Most bytes of a payload that servers look at. */
export const MAX_PACKET_LENGTH = 1500;

/** The longest tag (SHA512), which may make a Rijndael packet longer than its text may be. */
const MAX_TAG_LENGTH = 86;
/** Characters of a packet above which no Rijndael key can open it. */
const MAX_RIJNDAEL_WIRE_LENGTH = MIN_GPG_LENGTH + MAX_TAG_LENGTH - 1;

/** A payload that looks like an SPA packet. */
export interface PacketShape {
  /** The payload as text. */
  readonly wire: string;
  /** Whether length and first character allow that a Rijndael key opens it. */
  readonly mayBeRijndael: boolean;
  /** Whether the length allows that GnuPG opens it. */
  readonly mayBeGpg: boolean;
}

/** Whether a packet without its fixed beginning goes on as every Rijndael packet does. */
export function beginsLikeRijndael(wire: string): boolean {
  // "Salted__" leaves its last four bits, all ones, to the first character that is sent.
  return /^[89+/]/.test(wire);
}

/**
 * Tells payloads that cannot be SPA packets from those that may be, without any key. Of an HTTP
 * request, give the extracted packet: the fixed beginnings are then refused there too.
 *
 * @param payload as captured, or as text of which each character stands for a byte
 * @returns code 4096 for length and fixed beginnings, 4098 for any character outside the base64
 * alphabet, `=` too. A payload that may be neither Rijndael nor GnuPG is left for the stanzas to
 * refuse, which costs no hashing, because fwknopd names the stanza in its log
 */
export function checkPacketShape(payload: Uint8Array | string): Result<PacketShape> {
  const { length } = payload;
  if (length < MIN_PACKET_LENGTH || length > MAX_PACKET_LENGTH) {
    return refuse("FWKNOPD_ERROR_BAD_FORMAT");
  }
  const isRestored = beginsWith(payload, RIJNDAEL_BEGINNING) ||
    length > MIN_GPG_LENGTH && beginsWith(payload, GPG_BEGINNING);
  if (isRestored) return refuse("FWKNOPD_ERROR_BAD_FORMAT");
  // Bytes become a text only now: most junk is not worth one.
  const isText = typeof payload === "string" ? isBase64Text(payload) : isBase64Bytes(payload);
  if (!isText) return refuse("FWKNOPD_ERROR_NOT_SPA_DATA");
  const wire = typeof payload === "string" ? payload : asciiText(payload);
  return accept({
    wire,
    mayBeRijndael: beginsLikeRijndael(wire) && length <= MAX_RIJNDAEL_WIRE_LENGTH,
    mayBeGpg: length >= MIN_GPG_LENGTH && length <= MAX_TEXT_LENGTH,
  });
}

function beginsWith(payload: Uint8Array | string, text: string): boolean {
  if (typeof payload === "string") return payload.startsWith(text);
  for (let index = 0; index < text.length; index++) {
    if (payload[index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

/** Which servers would look at a packet of some length. */
export interface PacketSize {
  /** Characters of the packet. */
  readonly length: number;
  /** Most characters that any fwknopd takes in this mode. */
  readonly limit: number;
  /** Most characters that fwknopd takes for a stanza with ENABLE_CMD_EXEC. */
  readonly commandLimit: number;
  /** Most bytes of fields and digest together, so that a Rijndael packet stays within `limit`. */
  readonly plaintextLimit: number;
  /** Whether every fwknopd takes it. */
  readonly fits: boolean;
  /** Whether fwknopd takes it for a stanza with ENABLE_CMD_EXEC. */
  readonly fitsCommandStanza: boolean;
}

/**
 * Measures a packet that is about to be sent. fwknop's client sends what no server takes, without
 * a word; a sender that asks here need not.
 *
 * @param packet the text that is sent, and its tag
 */
export function measurePacket(
  { wire, hmac }: { readonly wire: string; readonly hmac: string | null },
  mode: EncryptionMode,
): PacketSize {
  const { length } = wire;
  const tagLength = hmac?.length ?? 0;
  const isGpg = mode === "Asymmetric";
  // With a tag, libfko counts the text after cutting the tag and restoring the beginning.
  const library = isGpg
    ? MAX_TEXT_LENGTH
    : MIN_GPG_LENGTH - 1 + (hmac === null ? 0 : tagLength - RIJNDAEL_BEGINNING.length);
  const limit = isGpg ? library : Math.min(library, MIN_GPG_LENGTH - 1);
  const least = isGpg ? MIN_GPG_LENGTH : MIN_PACKET_LENGTH;
  return {
    length,
    limit,
    commandLimit: library,
    plaintextLimit: isGpg ? MAX_TEXT_LENGTH : plaintextLimit(limit - tagLength),
    fits: length >= least && length <= limit,
    fitsCommandStanza: length >= least && length <= library,
  };
}

/** Most bytes that fit a Rijndael text of which `length` characters are sent. */
function plaintextLimit(length: number): number {
  const bytes = Math.floor((length + RIJNDAEL_BEGINNING.length) * 6 / 8);
  return Math.floor((bytes - 16) / 16) * 16 - 1;
}
