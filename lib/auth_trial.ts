// One packet before many stanzas: what is found out about it once, however many of them look at it.

import type { Knock } from "./auth_knock.ts";
import type { Allowance, FailureLimiter } from "./auth_limit.ts";
import type { EncryptionMode } from "./spa_cipher.ts";
import { type DigestName, type PreparedHmac, replayDigest } from "./spa_digest.ts";
import { refuseData, type Result } from "./spa_error.ts";
import type { Extensions } from "./spa_message.ts";
import { acceptAuthenticated, splitTag, type TaggedText } from "./spa_packet.ts";

/** A packet on trial. */
export interface Trial {
  readonly knock: Knock;
  /**
   * As `authenticateWith`. Each key hashes the packet once at most; once one has matched, all
   * others are taken not to: two keys that agree on a tag are a forgery of HMAC.
   */
  authenticate(hmac: PreparedHmac, mode: EncryptionMode, extensions: Extensions): Result<string>;
  /** The packet's key in replay memory. */
  replayDigest(): string;
  /** For what costs more than a hash and has nothing to vouch for it. */
  allowance(): Allowance;
}

/** Opens the trial of a packet that came at this wall clock in seconds, with nothing known yet. */
export type OpenTrial = (knock: Knock, arrival: number) => Trial;

/** How a key reads a packet: GnuPG's and Rijndael's texts differ in their beginning. */
interface Reading {
  readonly hmac: PreparedHmac;
  readonly isGpg: boolean;
}

/** Makes ready what all trials share, so that a packet that is nothing costs little memory. */
export function prepareTrials(limiter: FailureLimiter): OpenTrial {
  const mismatch = refuseData("HMAC_COMPAREFAIL");
  const encoded = createEncoder();

  return (knock, arrival) => {
    const splits: Partial<Record<string, Result<TaggedText>>> = {};
    let mismatches: Set<PreparedHmac> | null = null;
    let gpgMismatches: Set<PreparedHmac> | null = null;
    let match: Reading | null = null;
    let digest: string | null = null;
    let allowance: Allowance | null = null;

    function split(name: DigestName, mode: EncryptionMode, isGpg: boolean): Result<TaggedText> {
      return splits[isGpg ? `${name} GPG` : name] ??= splitTag(knock.wire, name, mode);
    }

    function matches(hmac: PreparedHmac, isGpg: boolean, { text, tag }: TaggedText): boolean {
      if (match !== null) return match.hmac === hmac && match.isGpg === isGpg;
      const failed = isGpg ? gpgMismatches ??= new Set() : mismatches ??= new Set();
      if (failed.has(hmac)) return false;
      if (hmac.matches(encoded(text), tag)) {
        match = { hmac, isGpg };
        return true;
      }
      failed.add(hmac);
      return false;
    }

    return {
      knock,
      authenticate(hmac, mode, extensions) {
        const isGpg = mode === "Asymmetric";
        const tagged = split(hmac.name, mode, isGpg);
        if (!tagged.ok) return tagged;
        return matches(hmac, isGpg, tagged.value)
          ? acceptAuthenticated(tagged.value, mode, extensions)
          : mismatch;
      },
      replayDigest: () => digest ??= replayDigest(knock.wire),
      allowance: () => allowance ??= limiter.allowanceFor(knock.source, arrival),
    };
  };
}

/** The bytes of an ASCII text, valid until the next call, made once for calls with the same text. */
function createEncoder(): (text: string) => Uint8Array {
  const encoder = new TextEncoder();
  let last: string | null = null;
  let buffer = new Uint8Array(0);
  let bytes = buffer;
  return (text) => {
    if (text === last) return bytes;
    if (buffer.length < text.length) buffer = new Uint8Array(text.length);
    encoder.encodeInto(text, buffer);
    bytes = buffer.subarray(0, text.length);
    last = text;
    return bytes;
  };
}
