// A packet on its way through the decision, and what replay memory keeps and tells of it.

import type { ReplayRecord } from "./auth_replay.ts";
import type { IpAddress } from "./net_address.ts";
import type { HttpPacket } from "./net_http.ts";
import { replayDigest } from "./spa_digest.ts";

/** A packet that looks like SPA, and how it came. */
export interface Knock {
  /** The text as received, without its fixed beginning. */
  readonly wire: string;
  /** IANA number of the transport protocol. */
  readonly protocol: number;
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly destination: IpAddress;
  readonly destinationPort: number;
  /** The request that it came in; null when it came by itself. */
  readonly http: HttpPacket | null;
}

/**
 * What to remember of a packet.
 *
 * @param now wall clock in seconds since 1970 UTC
 */
export function recordOf(knock: Knock, now: number): ReplayRecord {
  return {
    digest: replayDigest(knock.wire),
    protocol: knock.protocol,
    source: knock.source.text,
    sourcePort: knock.sourcePort,
    destination: knock.destination.text,
    destinationPort: knock.destinationPort,
    time: Math.floor(now),
  };
}

/** The log's line for a packet that was seen before, in fwknopd's wording. */
export function describeReplay(knock: Knock, original: ReplayRecord): string {
  return `Replay detected from source IP: ${knock.source.text}, ` +
    `Destination proto/port: ${knock.protocol}/${knock.destinationPort}, ` +
    `Original source IP: ${original.source}, ` +
    `Original dst proto/port: ${original.protocol}/${original.destinationPort}, ` +
    `Entry created: ${formatLocalTime(original.time)}`;
}

/** MM/DD/YY HH:MM:SS in local time, as fwknopd prints it. */
function formatLocalTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (number: number): string => String(number % 100).padStart(2, "0");
  const day = [date.getMonth() + 1, date.getDate(), date.getFullYear()].map(two).join("/");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time}`;
}
