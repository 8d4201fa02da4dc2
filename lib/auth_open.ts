// Whether a stanza's keys made a packet: HMAC first, then replay memory, and only then decryption.

import type { LogLevel, RefusalReason } from "./auth_event.ts";
import { askGpg, type GpgAnswer, type GpgCall, readGpgAnswer } from "./auth_gpg.ts";
import { describeReplay, type Knock } from "./auth_knock.ts";
import type { ReplayMemory } from "./auth_replay.ts";
import type { Trial } from "./auth_trial.ts";
import type { Stanza } from "./conf_access.ts";
import type { PreparedHmac, PrepareHmac } from "./spa_digest.ts";
import type { GpgDump } from "./spa_dump.ts";
import type { GpgSignature } from "./spa_gpg_status.ts";
import {
  acceptUnauthenticated,
  type DecodedPacket,
  type OpenedPacket,
  openPacket,
} from "./spa_packet.ts";
import type { Extensions } from "./spa_message.ts";
import { beginsLikeRijndael, MIN_GPG_LENGTH } from "./spa_shape.ts";

/** A stanza with its HMAC key prepared. */
export interface Candidate {
  readonly stanza: Stanza;
  /** Null where it has none; stanzas with the same key share it. */
  readonly hmac: PreparedHmac | null;
}

/** Does once what costs time for every packet. */
export function prepareStanzas(
  stanzas: readonly Stanza[],
  prepare: PrepareHmac,
): readonly Candidate[] {
  const keys = new Map<string, PreparedHmac>();
  return stanzas.map((stanza) => {
    const { HMAC_KEY: key, HMAC_DIGEST_TYPE: type } = stanza;
    if (key === null || type === null) return { stanza, hmac: null };
    const name = `${type} ${key.toHex()}`;
    const hmac = keys.get(name) ?? prepare(type, key);
    keys.set(name, hmac);
    return { stanza, hmac };
  });
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
  /** How many lines the log gets. */
  readonly lines: number;
  /** Makes them: of a flood, few packets' are written. */
  readonly texts: () => readonly string[];
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
  trial: Trial,
  replays: Pick<ReplayMemory, "find">,
  now: number,
): Opened | NotOpened | NeedsGpg {
  const { stanza } = candidate;
  const { knock } = trial;
  if (stanza.ACCESS_EXPIRE !== null && now > stanza.ACCESS_EXPIRE) {
    return refuse(stanza, knock, "stanza-expired", "info", ["Access stanza has expired"]);
  }
  const { length } = knock.wire;
  let result: Opened | NotOpened | null = null;
  if (stanza.KEY !== null && mayBeRijndael(knock.wire)) {
    result = openRijndael(candidate, stanza.KEY, trial, replays);
    if (result.kind === "opened" || result.reason === "replay") return result;
  }
  if (stanza.GPG_DECRYPT_PW !== null && length >= MIN_GPG_LENGTH) {
    return prepareGpg(candidate, trial, replays);
  }
  if (result !== null) return result;
  const type = length >= MIN_GPG_LENGTH ? GPG : RIJNDAEL;
  return refuse(stanza, knock, "no-encryption-mode-match", "error", [
    `No stanza encryption mode match for encryption type: ${type}.`,
  ]);
}

/** fwknopd goes by the length alone and so loses long packets that are not GnuPG's. */
function mayBeRijndael(wire: string): boolean {
  return wire.length < MIN_GPG_LENGTH || beginsLikeRijndael(wire);
}

/**
 * Whether the stanza's HMAC key made the packet's tag; false for a stanza without one. The trial
 * remembers it.
 */
export function isAuthenticBy({ stanza, hmac }: Candidate, trial: Trial): boolean {
  if (hmac === null) return false;
  const { wire } = trial.knock;
  return stanza.KEY !== null && mayBeRijndael(wire) &&
      trial.authenticate(hmac, stanza.ENCRYPTION_MODE, EXTENSIONS).ok ||
    stanza.GPG_DECRYPT_PW !== null && wire.length >= MIN_GPG_LENGTH &&
      trial.authenticate(hmac, "Asymmetric", {}).ok;
}

function openRijndael(
  { stanza, hmac }: Candidate,
  key: Uint8Array,
  trial: Trial,
  replays: Pick<ReplayMemory, "find">,
): Opened | NotOpened {
  const { knock } = trial;
  const mode = stanza.ENCRYPTION_MODE;
  const text = hmac === null
    ? acceptUnauthenticated(knock.wire, mode, EXTENSIONS)
    : trial.authenticate(hmac, mode, EXTENSIONS);
  if (!text.ok) {
    const reason = hmac === null ? "undecodable" : "hmac-mismatch";
    const why = `Error creating fko context: ${text.error.text}`;
    return refuse(stanza, knock, reason, "warning", [why]);
  }
  const replay = refuseReplay(trial, replays);
  if (replay !== null) return replay;
  if (hmac === null && !trial.allowance().spend()) return refuseForRate(stanza, knock);
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
  trial: Trial,
  replays: Pick<ReplayMemory, "find">,
): NeedsGpg | NotOpened {
  const { knock } = trial;
  const text = hmac === null
    ? acceptUnauthenticated(knock.wire, "Asymmetric")
    : trial.authenticate(hmac, "Asymmetric", {});
  if (!text.ok) {
    const reason = hmac === null ? "undecodable" : "hmac-mismatch";
    const why = `Error creating fko context (before decryption): ${text.error.text}`;
    return refuse(stanza, knock, reason, "warning", [why]);
  }
  const replay = refuseReplay(trial, replays);
  if (replay !== null) return replay;
  const asked = askGpg(stanza, text.value, hmac !== null);
  if (!asked.ok) return refuse(stanza, knock, asked.reason, "warning", asked.texts);
  if (hmac === null && !trial.allowance().spend()) return refuseForRate(stanza, knock);
  return { kind: "needs-gpg", request: asked.request, text: text.value };
}

/**
 * Goes on where a packet needed gpg. The same packet may have been accepted in the meantime, which
 * is why the replay memory is asked again.
 */
export function openWithAnswer(
  { stanza, hmac }: Candidate,
  trial: Trial,
  replays: Pick<ReplayMemory, "find">,
  text: string,
  { decryption }: GpgAnswer,
): Opened | NotOpened {
  const { knock } = trial;
  const replay = refuseReplay(trial, replays);
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
  return {
    kind: "refused",
    reason,
    level,
    lines: texts.length,
    texts() {
      const prefix = `[${knock.source.text}] (stanza #${stanza.number})`;
      return texts.map((text) => `${prefix} ${text}`);
    },
  };
}

function refuseForRate(stanza: Stanza, knock: Knock): NotOpened {
  return refuse(stanza, knock, "rate-limited", "warning", [
    "Too many packets that fail, not decrypting one without HMAC",
  ]);
}

function refuseReplay(trial: Trial, replays: Pick<ReplayMemory, "find">): NotOpened | null {
  const original = replays.find(trial.replayDigest());
  return original === null ? null : {
    kind: "refused",
    reason: "replay",
    level: "warning",
    lines: 1,
    texts: () => [describeReplay(trial.knock, original)],
  };
}

function withTag(packet: OpenedPacket, knock: Knock, hmac: PreparedHmac | null): DecodedPacket {
  const tag = hmac === null ? null : knock.wire.slice(packet.data.length);
  return { ...packet, hmac: tag, hmacType: hmac?.name ?? null };
}
