// The memory of packets that were accepted, and the lines of fwknopd's digest.cache that keep it.

/** One accepted packet, as a line of digest.cache tells it. */
export interface ReplayRecord {
  /** Unpadded base64 of the SHA-256 of the wire text: 43 characters. */
  readonly digest: string;
  /** IANA number of the transport protocol. */
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** Wall clock of the acceptance, in seconds since 1970 UTC. */
  readonly time: number;
}

/** Remembers records until they can no longer matter. */
export interface ReplayMemory {
  find(digest: string): ReplayRecord | null;
  /**
   * @param keepUntil wall clock in seconds after which the packet would be refused for its age
   * anyway; `Infinity` keeps it for ever
   */
  add(record: ReplayRecord, keepUntil: number): void;
  /** Drops what is no longer needed at that wall clock in seconds, but for the newest records. */
  prune(now: number): void;
  readonly size: number;
}

/** Records that stay although their time is over. */
const SPARE_RECORDS = 10_000;

/**
 * An empty memory. Looking up, adding and pruning cost the same however much it holds.
 *
 * @param spare how many of the newest records are kept whatever the clock says: it may be set back,
 * and then old packets are fresh again
 */
export function createReplayMemory(spare: number = SPARE_RECORDS): ReplayMemory {
  const kept = new Map<string, { record: ReplayRecord; keepUntil: number }>();
  return {
    find: (digest) => kept.get(digest)?.record ?? null,
    add(record, keepUntil) {
      kept.set(record.digest, { record, keepUntil });
    },
    prune(now) {
      // Records come in the order of time; one with a longer life only delays those behind it.
      for (const [digest, { keepUntil }] of kept) {
        if (kept.size <= spare || keepUntil >= now) return;
        kept.delete(digest);
      }
    },
    get size() {
      return kept.size;
    },
  };
}

/** First line of a new digest.cache. */
export const DIGEST_CACHE_HEADER =
  "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>\n";

/** The line of digest.cache for a record, with its line end. */
export function formatReplayRecord(record: ReplayRecord): string {
  const { digest, protocol, source, sourcePort, destination, destinationPort, time } = record;
  return `${digest} ${protocol} ${source} ${sourcePort} ${destination} ${destinationPort} ${time}\n`;
}

/**
 * Reads a line of digest.cache: a record, `"skip"` for a comment or an empty line, or `"invalid"`.
 * Never throws.
 */
export function parseReplayRecord(line: string): ReplayRecord | "skip" | "invalid" {
  const first = line[0];
  if (first === undefined || first === "#" || first === ";" || first === "\r") return "skip";
  const match =
    /^([A-Za-z0-9+/]{1,64}) (\d{1,3}) ([0-9A-Fa-f.:]+) (\d{1,5}) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,12})\s*$/
      .exec(line);
  if (match === null) return "invalid";
  const [, digest, protocol, source, sourcePort, destination, destinationPort, time] = match;
  return {
    digest: digest!,
    protocol: Number(protocol),
    source: source!,
    sourcePort: Number(sourcePort),
    destination: destination!,
    destinationPort: Number(destinationPort),
    time: Number(time),
  };
}
