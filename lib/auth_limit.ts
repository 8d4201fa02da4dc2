// How many packets that fail may cost more than a hash: token buckets for each source and for all
// of them. Only stanzas without an HMAC key need it, since nothing cheap tells their junk apart.

import type { IpAddress } from "./net_address.ts";

/** Failures a second that are paid for; 0 sets no limit. */
export interface FailureRates {
  /** Packets from one source: an IPv4 address or an IPv6 /64. */
  readonly source: number;
  /** Decryptions for all sources together; a packet may take one for each stanza. */
  readonly total: number;
}

/** What one packet may still cost. */
export interface Allowance {
  /** Takes what a decryption costs; false when the packet's source or all of them have used theirs up. */
  spend(): boolean;
  /** Gives back what was taken: the packet did not fail. */
  giveBack(): void;
}

/** Buckets that failures empty and time fills. */
export interface FailureLimiter {
  /** @param now wall clock in seconds; setting it back fills nothing and takes nothing */
  allowanceFor(source: IpAddress, now: number): Allowance;
  /** Sources that are remembered. */
  readonly size: number;
}

/** Holds at most what its rate gives in a second. */
interface Bucket {
  tokens: number;
  filledAt: number;
}

/** Sources that are remembered; who can send from more of them is left to the common bucket. */
const MOST_SOURCES = 4096;

/** A limiter to which nothing has happened. */
export function createFailureLimiter(
  rates: FailureRates,
  mostSources: number = MOST_SOURCES,
): FailureLimiter {
  const common: Bucket = { tokens: rates.total, filledAt: -Infinity };
  /** In the order in which they were heard of last. */
  const sources = new Map<bigint, Bucket>();

  function bucketOf(source: IpAddress, now: number): Bucket {
    const key = keyOf(source);
    const bucket = sources.get(key) ?? { tokens: rates.source, filledAt: now };
    sources.delete(key);
    sources.set(key, bucket);
    const oldest = sources.keys().next();
    if (sources.size > mostSources && !oldest.done) sources.delete(oldest.value);
    return bucket;
  }

  return {
    allowanceFor(source, now) {
      let own: Bucket | null = null;
      let spent = 0;
      return {
        spend() {
          if (rates.source > 0 && own === null) {
            const bucket = bucketOf(source, now);
            if (!take(bucket, rates.source, now)) return false;
            own = bucket;
          }
          if (rates.total > 0 && !take(common, rates.total, now)) return false;
          spent++;
          return true;
        },
        giveBack() {
          if (own !== null) own.tokens++;
          own = null;
          common.tokens += spent;
          spent = 0;
        },
      };
    },
    get size() {
      return sources.size;
    },
  };
}

function take(bucket: Bucket, rate: number, now: number): boolean {
  const passed = Math.max(0, now - bucket.filledAt);
  bucket.tokens = Math.min(rate, bucket.tokens + passed * rate);
  bucket.filledAt = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens--;
  return true;
}

/** Whoever has one address of an IPv6 /64 usually has all of it. */
function keyOf({ version, value }: IpAddress): bigint {
  return version === 4 ? value : -1n - (value >> 64n);
}
