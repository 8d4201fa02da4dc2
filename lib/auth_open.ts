// Whether a stanza's keys made a packet: HMAC first, then replay memory, and only then decryption.

import type { LogLevel, RefusalReason } from "./auth_event.ts";
import { describeReplay, type Knock } from "./auth_knock.ts";
import type { ReplayMemory } from "./auth_replay.ts";
import type { Stanza } from "./conf_access.ts";
import { type PreparedHmac, prepareHmac, replayDigest } from "./spa_digest.ts";
import {
  acceptUnauthenticated,
  authenticateWith,
  type DecodedPacket,
  openPacket,
} from "./spa_packet.ts";

/** A stanza with its HMAC key prepared; null where it has none. */
export interface Candidate {
  readonly stanza: Stanza;
  readonly hmac: PreparedHmac | null;
}

/** Does once what costs time for every packet. */
export function prepareStanza(stanza: Stanza): Candidate {
  const { HMAC_KEY: key, HMAC_DIGEST_TYPE: type } = stanza;
  return { stanza, hmac: key === null || type === null ? null : prepareHmac(type, key) };
}

/** fwknop's numbers for "No stanza encryption mode match". */
const RIJNDAEL = 1;
const GPG = 2;

/** A packet that a stanza's keys opened, or why they did not. */
export type Opened =
  | { readonly ok: true; readonly packet: DecodedPacket }
  | {
    readonly ok: false;
    readonly reason: RefusalReason;
    readonly level: LogLevel;
    readonly text: string;
  };

/**
 * Opens a packet with a stanza's keys.
 *
 * @param now wall clock in seconds since 1970 UTC
 */
export function openWith(
  { stanza, hmac }: Candidate,
  knock: Knock,
  replays: Pick<ReplayMemory, "find">,
  now: number,
): Opened {
  const prefix = `[${knock.source.text}] (stanza #${stanza.number})`;
  const refused = (reason: RefusalReason, level: LogLevel, text: string): Opened => ({
    ok: false,
    reason,
    level,
    text: `${prefix} ${text}`,
  });
  if (stanza.ACCESS_EXPIRE !== null && now > stanza.ACCESS_EXPIRE) {
    return refused("stanza-expired", "info", "Access stanza has expired");
  }
  if (stanza.KEY === null) {
    const type = knock.wire.length >= 400 ? GPG : RIJNDAEL;
    return refused(
      "no-encryption-mode-match",
      "error",
      `No stanza encryption mode match for encryption type: ${type}.`,
    );
  }
  const mode = stanza.ENCRYPTION_MODE;
  const text = hmac === null
    ? acceptUnauthenticated(knock.wire, mode)
    : authenticateWith(hmac, knock.wire, mode);
  if (!text.ok) {
    const why = `Error creating fko context: ${text.error.text}`;
    return refused(hmac === null ? "undecodable" : "hmac-mismatch", "warning", why);
  }
  const original = replays.find(replayDigest(knock.wire));
  if (original !== null) {
    return { ok: false, reason: "replay", level: "warning", text: describeReplay(knock, original) };
  }
  const packet = openPacket(text.value, { key: stanza.KEY, mode });
  if (!packet.ok) {
    return refused("undecodable", "warning", `Error creating fko context: ${packet.error.text}`);
  }
  const tag = hmac === null ? null : knock.wire.slice(packet.value.data.length);
  const hmacType = hmac?.name ?? null;
  return { ok: true, packet: { ...packet.value, hmac: tag, hmacType } };
}
