// GnuPG's part in opening a packet: what gpg is asked, and what its answer means for the stanza.
// HMAC and replay memory come before gpg, and replay memory once more after it.

import type { LogLevel, RefusalReason } from "./auth_event.ts";
import type { Stanza } from "./conf_access.ts";
import type { GpgDump } from "./spa_dump.ts";
import { type SpaError, spaError } from "./spa_error.ts";
import { decodePlaintext } from "./spa_fields.ts";
import { beginsLikeGpgMessage, GPG_PROGRAM } from "./spa_gpg.ts";
import {
  checkSignature,
  describeSignature,
  type GpgDecryption,
  type GpgSignature,
  signatureId,
} from "./spa_gpg_status.ts";
import { gpgMessage, type OpenedPacket } from "./spa_packet.ts";
import { GPG_BEGINNING } from "./spa_shape.ts";

/** What a stanza says about gpg itself. */
export type GpgSettings = Pick<Stanza, "GPG_EXE" | "GPG_HOME_DIR" | "GPG_DECRYPT_PW">;

/** A message, and what gpg has to know to decrypt it. */
export interface GpgCall {
  readonly settings: GpgSettings;
  readonly message: Uint8Array;
  /** Whether an HMAC has shown that it comes from somebody who is known. */
  readonly isAuthenticated: boolean;
}

/** A message that gpg is to decrypt before the decision can go on. */
export interface GpgRequest extends GpgCall {
  /** Number of the stanza whose settings these are. */
  readonly stanza: number;
}

/** What the decision goes on with. */
export interface GpgAnswer {
  /** `busy`: too many other messages are waiting. */
  readonly decryption: GpgDecryption | "busy";
  /** Wall clock in seconds since 1970 UTC, which has moved on meanwhile. */
  readonly now: number;
}

/** A packet that gpg opened. */
export interface GpgOpened {
  readonly ok: true;
  readonly packet: OpenedPacket;
  readonly gpg: GpgDump;
  /** Null when the stanza does not look at signatures. */
  readonly signature: GpgSignature | null;
}

/** Why gpg did not open a packet: lines for the log, without address and stanza. */
export interface GpgRefused {
  readonly ok: false;
  readonly reason: RefusalReason;
  readonly texts: readonly string[];
}

/**
 * The request for a packet's text, or at once the refusal of what cannot be an OpenPGP message.
 *
 * @param text the packet with its fixed beginning, without its tag
 */
export function askGpg(
  settings: GpgSettings,
  text: string,
  isAuthenticated: boolean,
): { readonly ok: true; readonly request: GpgCall } | GpgRefused {
  const message = gpgMessage(text);
  return message === null || !beginsLikeGpgMessage(message)
    ? refuseFor(spaError("FKO_ERROR_GPGME_DECRYPT_FAILED"), "No data")
    : { ok: true, request: { settings, message, isAuthenticated } };
}

/**
 * What gpg's answer makes of a packet: its signature first, then its fields.
 *
 * @param text the packet with its fixed beginning, without its tag
 */
export function readGpgAnswer(
  stanza: Stanza,
  text: string,
  decryption: GpgAnswer["decryption"],
): GpgOpened | GpgRefused {
  if (decryption === "busy") {
    return { ok: false, reason: "gpg-busy", texts: ["Too many GPG packets at once, ignoring one"] };
  }
  if (!decryption.ok) return refuseFor(decryption.error, decryption.detail);
  const signature = stanza.GPG_REQUIRE_SIG ? decryption.signature : null;
  if (stanza.GPG_REQUIRE_SIG) {
    const bad = checkSignature(signature, stanza.GPG_IGNORE_SIG_VERIFY_ERROR);
    if (bad !== null) return refuseFor(bad.error, bad.detail);
  }
  const fields = decodePlaintext(decryption.plaintext, "GPG", { ipv6: true });
  if (!fields.ok) return refuseFor(fields.error, "");
  const data = text.slice(GPG_BEGINNING.length);
  return {
    ok: true,
    packet: { ...fields.value, mode: "Asymmetric", data },
    gpg: dumpOf(stanza, signature),
    signature,
  };
}

function refuseFor(error: SpaError, detail: string): GpgRefused {
  const texts = [`Error creating fko context: ${error.text}`];
  if (detail !== "") texts.push(`- GPG ERROR: ${detail}`);
  return { ok: false, reason: "undecodable", texts };
}

function dumpOf(stanza: Stanza, signature: GpgSignature | null): GpgDump {
  return {
    signer: null,
    recipient: null,
    verifySignature: stanza.GPG_REQUIRE_SIG,
    ignoreSignature: !stanza.GPG_REQUIRE_SIG || stanza.GPG_IGNORE_SIG_VERIFY_ERROR,
    ...describeSignature(signature),
    homeDirectory: stanza.GPG_HOME_DIR,
    executable: stanza.GPG_EXE ?? GPG_PROGRAM,
  };
}

/**
 * Whether the stanza knows the signer: of the lists that it has, each must name the key. Says so in
 * fwknopd's words.
 *
 * @param prefix what the log's lines begin with: address and stanza
 * @returns the reason for a refusal, or null
 */
export function judgeSigner(
  stanza: Pick<Stanza, "GPG_FINGERPRINT_ID" | "GPG_REMOTE_ID">,
  signature: GpgSignature,
  prefix: string,
  say: (level: LogLevel, text: string) => void,
): RefusalReason | null {
  const { fingerprint } = signature;
  const id = signatureId(signature);
  say("info", `${prefix} Incoming SPA data signed by '${id}' (fingerprint '${fingerprint}').`);
  if (!isListed(stanza.GPG_FINGERPRINT_ID, fingerprint)) {
    say(
      "warning",
      `${prefix} Incoming SPA packet signed by: ${fingerprint}, ` +
        "but that fingerprint is not in the GPG_FINGERPRINT_ID list.",
    );
    return "signer-not-listed";
  }
  if (!isListed(stanza.GPG_REMOTE_ID, id)) {
    say(
      "warning",
      `${prefix} Incoming SPA packet signed by ID: ${id}, ` +
        "but that ID is not in the GPG_REMOTE_ID list.",
    );
    return "signer-not-listed";
  }
  return null;
}

function isListed(list: readonly string[] | null, wanted: string): boolean {
  return list === null || list.some((entry) => entry.toUpperCase() === wanted);
}
