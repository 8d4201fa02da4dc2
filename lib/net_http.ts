// An SPA packet inside the text of an HTTP request, and whom a proxy says that it is from.

import { type IpAddress, parseIp } from "./net_address.ts";

/** Which requests may carry a packet, and whom to believe. */
export interface HttpSettings {
  /** Take requests of programs that do not call themselves Fwknop. */
  readonly anyUserAgent: boolean;
  /** Take X-Forwarded-For as the address that 0.0.0.0 in a packet stands for. */
  readonly forwardedFor: boolean;
}

/** What a request carries. */
export interface HttpPacket {
  /** The path as standard base64; whether it is a packet is not known yet. */
  readonly packet: string;
  /** The address in X-Forwarded-For; null without one. */
  readonly forwardedFor: IpAddress | null;
  /** What X-Forwarded-For has instead of an address, fit for a log; null when there is nothing. */
  readonly badForwardedFor: string | null;
}

/** Most bytes of a request that servers look at. */
const MAX_REQUEST_LENGTH = 1500;
/** The longest text of an IPv6 address (RFC 4291, section 2.2), and some more to show what is wrong. */
const SHOWN_LENGTH = 64;
const BEGINNING = "GET /";

/** Whether a payload begins as a request does that could carry a packet; capitals or not. */
export function isHttpRequest(payload: Uint8Array): boolean {
  return String.fromCharCode(...payload.subarray(0, BEGINNING.length)).toUpperCase() === BEGINNING;
}

/**
 * Takes the packet out of a request: the path up to the first white space, with `-` and `_` for
 * `+` and `/` (RFC 4648, section 5). A request is one payload; streams are not put together.
 *
 * @param payload a payload for which {@linkcode isHttpRequest} is true
 * @returns null for a request of a program that may not knock
 */
export function readHttpPacket(payload: Uint8Array, settings: HttpSettings): HttpPacket | null {
  if (payload.length > MAX_REQUEST_LENGTH) return null;
  const text = String.fromCharCode(...payload);
  if (!settings.anyUserAgent && !text.includes("User-Agent: Fwknop")) return null;
  const path = /^[^\t\n\v\f\r ]*/.exec(text.slice(BEGINNING.length))?.[0] ?? "";
  const packet = path.replaceAll("-", "+").replaceAll("_", "/");
  const value = settings.forwardedFor
    ? /X-Forwarded-For: ([^\t\n\v\f\r ]*)/i.exec(text)?.[1] ?? null
    : null;
  const forwardedFor = value === null ? null : parseIp(value);
  const bad = value !== null && forwardedFor === null;
  return { packet, forwardedFor, badForwardedFor: bad ? printable(value) : null };
}

/** What strangers wrote must not move the cursor of who reads the log. */
function printable(text: string): string {
  return text.slice(0, SHOWN_LENGTH).replace(/[^\x21-\x7e]/g, "?");
}
