// One packet before many stanzas: what is found out about it once, however many of them look at it.

import type { Knock } from "./auth_knock.ts";
import type { Allowance } from "./auth_limit.ts";
import type { EncryptionMode } from "./spa_cipher.ts";
import { type DigestName, type PreparedHmac, replayDigest } from "./spa_digest.ts";
import { refuseData, type Result } from "./spa_error.ts";
import type { Extensions } from "./spa_message.ts";
import { acceptAuthenticated, splitTag, type TaggedText } from "./spa_packet.ts";

/** A packet on trial. */
export interface Trial {
  readonly knock: Knock;
  /** For what costs more than a hash and has nothing to vouch for it. */
  readonly allowance: Allowance;
  /**
   * As `authenticateWith`. Each key hashes the packet once at most; once one has matched, all
   * others are taken not to: two keys that agree on a tag are a forgery of HMAC.
   */
  authenticate(hmac: PreparedHmac, mode: EncryptionMode, extensions: Extensions): Result<string>;
  /** The packet's key in replay memory. */
  replayDigest(): string;
  /** Whether some key's tag has matched. */
  readonly isAuthentic: boolean;
}

/** How a key reads a packet: GnuPG's and Rijndael's texts differ in their beginning. */
interface Reading {
  readonly hmac: PreparedHmac;
  readonly isGpg: boolean;
}

/** A trial in which nothing is known yet. */
export function openTrial(knock: Knock, allowance: Allowance): Trial {
  const splits = new Map<string, Result<TaggedText>>();
  const mismatches: readonly [Set<PreparedHmac>, Set<PreparedHmac>] = [new Set(), new Set()];
  const mismatch = refuseData("HMAC_COMPAREFAIL");
  let match: Reading | null = null;
  let digest: string | null = null;

  function split(name: DigestName, mode: EncryptionMode, isGpg: boolean): Result<TaggedText> {
    const key = isGpg ? `${name} GPG` : name;
    const known = splits.get(key);
    if (known !== undefined) return known;
    const result = splitTag(knock.wire, name, mode);
    splits.set(key, result);
    return result;
  }

  function matches(hmac: PreparedHmac, isGpg: boolean, { bytes, tag }: TaggedText): boolean {
    if (match !== null) return match.hmac === hmac && match.isGpg === isGpg;
    const failed = mismatches[isGpg ? 1 : 0];
    if (failed.has(hmac)) return false;
    if (hmac.matches(bytes, tag)) {
      match = { hmac, isGpg };
      return true;
    }
    failed.add(hmac);
    return false;
  }

  return {
    knock,
    allowance,
    authenticate(hmac, mode, extensions) {
      const isGpg = mode === "Asymmetric";
      const tagged = split(hmac.name, mode, isGpg);
      if (!tagged.ok) return tagged;
      return matches(hmac, isGpg, tagged.value)
        ? acceptAuthenticated(tagged.value, mode, extensions)
        : mismatch;
    },
    replayDigest: () => digest ??= replayDigest(knock.wire),
    get isAuthentic() {
      return match !== null;
    },
  };
}
