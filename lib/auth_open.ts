// Whether a stanza's keys made a packet: HMAC first, then replay memory, and only then decryption.

import type { LogLevel, RefusalReason } from "./auth_event.ts";
import { askGpg, type GpgAnswer, type GpgCall, readGpgAnswer } from "./auth_gpg.ts";
import { describeReplay, type Knock } from "./auth_knock.ts";
import type { ReplayMemory } from "./auth_replay.ts";
import type { Stanza } from "./conf_access.ts";
import { type PreparedHmac, prepareHmac, replayDigest } from "./spa_digest.ts";
import type { GpgDump } from "./spa_dump.ts";
import type { GpgSignature } from "./spa_gpg_status.ts";
import {
  acceptUnauthenticated,
  authenticateWith,
  type DecodedPacket,
  type OpenedPacket,
  openPacket,
} from "./spa_packet.ts";
import type { Extensions } from "./spa_message.ts";
import { beginsLikeRijndael, MIN_GPG_LENGTH } from "./spa_shape.ts";

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

/** What is read here although fwknop refuses it. */
const EXTENSIONS: Extensions = { ipv6: true, long: true };

/** fwknop's numbers for "No stanza encryption mode match". */
const RIJNDAEL = 1;
const GPG = 2;

/** A packet that a stanza's keys opened. */
export interface Opened {
  readonly kind: "opened";
  readonly packet: DecodedPacket;
  /** What the field dump shows of GnuPG; null for a Rijndael packet. */
  readonly gpg: GpgDump | null;
  /** Null unless the stanza looks at GnuPG signatures. */
  readonly signature: GpgSignature | null;
}

/** Why a stanza's keys did not open a packet. */
export interface NotOpened {
  readonly kind: "refused";
  readonly reason: RefusalReason;
  readonly level: LogLevel;
  /** Lines for the log. */
  readonly texts: readonly string[];
}

/** A packet that is authentic as far as the stanza can tell, and that gpg has to decrypt. */
export interface NeedsGpg {
  readonly kind: "needs-gpg";
  readonly request: GpgCall;
  /** The packet with its fixed beginning, without its tag. */
  readonly text: string;
}

/**
 * Opens a packet with a stanza's keys: with KEY first, then with GnuPG.
 *
 * @param now wall clock in seconds since 1970 UTC
 */
export function openWith(
  candidate: Candidate,
  knock: Knock,
  replays: Pick<ReplayMemory, "find">,
  now: number,
): Opened | NotOpened | NeedsGpg {
  const { stanza } = candidate;
  if (stanza.ACCESS_EXPIRE !== null && now > stanza.ACCESS_EXPIRE) {
    return refuse(stanza, knock, "stanza-expired", "info", ["Access stanza has expired"]);
  }
  const { length } = knock.wire;
  let result: Opened | NotOpened | null = null;
  // fwknopd goes by the length alone and so loses long packets that are not GnuPG's.
  if (stanza.KEY !== null && (length < MIN_GPG_LENGTH || beginsLikeRijndael(knock.wire))) {
    result = openRijndael(candidate, stanza.KEY, knock, replays);
    if (result.kind === "opened" || result.reason === "replay") return result;
  }
  if (stanza.GPG_DECRYPT_PW !== null && length >= MIN_GPG_LENGTH) {
    return prepareGpg(candidate, knock, replays);
  }
  if (result !== null) return result;
  const type = length >= MIN_GPG_LENGTH ? GPG : RIJNDAEL;
  return refuse(stanza, knock, "no-encryption-mode-match", "error", [
    `No stanza encryption mode match for encryption type: ${type}.`,
  ]);
}

function openRijndael(
  { stanza, hmac }: Candidate,
  key: Uint8Array,
  knock: Knock,
  replays: Pick<ReplayMemory, "find">,
): Opened | NotOpened {
  const mode = stanza.ENCRYPTION_MODE;
  const text = hmac === null
    ? acceptUnauthenticated(knock.wire, mode, EXTENSIONS)
    : authenticateWith(hmac, knock.wire, mode, EXTENSIONS);
  if (!text.ok) {
    const reason = hmac === null ? "undecodable" : "hmac-mismatch";
    const why = `Error creating fko context: ${text.error.text}`;
    return refuse(stanza, knock, reason, "warning", [why]);
  }
  const replay = refuseReplay(knock, replays);
  if (replay !== null) return replay;
  const packet = openPacket(text.value, { key, mode, ...EXTENSIONS });
  if (!packet.ok) {
    const why = `Error creating fko context: ${packet.error.text}`;
    return refuse(stanza, knock, "undecodable", "warning", [why]);
  }
  return {
    kind: "opened",
    packet: withTag(packet.value, knock, hmac),
    gpg: null,
    signature: null,
  };
}

function prepareGpg(
  { stanza, hmac }: Candidate,
  knock: Knock,
  replays: Pick<ReplayMemory, "find">,
): NeedsGpg | NotOpened {
  const text = hmac === null
    ? acceptUnauthenticated(knock.wire, "Asymmetric")
    : authenticateWith(hmac, knock.wire, "Asymmetric");
  if (!text.ok) {
    const reason = hmac === null ? "undecodable" : "hmac-mismatch";
    const why = `Error creating fko context (before decryption): ${text.error.text}`;
    return refuse(stanza, knock, reason, "warning", [why]);
  }
  const replay = refuseReplay(knock, replays);
  if (replay !== null) return replay;
  const asked = askGpg(stanza, text.value, hmac !== null);
  return asked.ok
    ? { kind: "needs-gpg", request: asked.request, text: text.value }
    : refuse(stanza, knock, asked.reason, "warning", asked.texts);
}

/**
 * Goes on where a packet needed gpg. The same packet may have been accepted in the meantime, which
 * is why the replay memory is asked again.
 */
export function openWithAnswer(
  { stanza, hmac }: Candidate,
  knock: Knock,
  replays: Pick<ReplayMemory, "find">,
  text: string,
  { decryption }: GpgAnswer,
): Opened | NotOpened {
  const replay = refuseReplay(knock, replays);
  if (replay !== null) return replay;
  const answer = readGpgAnswer(stanza, text, decryption);
  if (!answer.ok) return refuse(stanza, knock, answer.reason, "warning", answer.texts);
  const { packet, gpg, signature } = answer;
  return { kind: "opened", packet: withTag(packet, knock, hmac), gpg, signature };
}

function refuse(
  stanza: Stanza,
  knock: Knock,
  reason: RefusalReason,
  level: LogLevel,
  texts: readonly string[],
): NotOpened {
  const prefix = `[${knock.source.text}] (stanza #${stanza.number})`;
  return { kind: "refused", reason, level, texts: texts.map((text) => `${prefix} ${text}`) };
}

function refuseReplay(knock: Knock, replays: Pick<ReplayMemory, "find">): NotOpened | null {
  const original = replays.find(replayDigest(knock.wire));
  return original === null ? null : {
    kind: "refused",
    reason: "replay",
    level: "warning",
    texts: [describeReplay(knock, original)],
  };
}

function withTag(packet: OpenedPacket, knock: Knock, hmac: PreparedHmac | null): DecodedPacket {
  const tag = hmac === null ? null : knock.wire.slice(packet.data.length);
  return { ...packet, hmac: tag, hmacType: hmac?.name ?? null };
}
