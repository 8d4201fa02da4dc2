// How the values of client settings are written, in .fwknoprc and on the command line alike: Y or
// N, numbers, durations, base64, addresses. Each reader gives null for what it does not accept.

import { ipFromValue, parseIp } from "./net_address.ts";

/**
 * A whole number in decimal digits.
 *
 * @param minimum smallest number accepted
 * @param maximum largest number accepted
 */
export function parseDecimal(text: string, minimum: number, maximum: number): number | null {
  if (!/^\d{1,15}$/.test(text)) return null;
  const number = Number(text);
  return number >= minimum && number <= maximum ? number : null;
}

/** Seconds of each unit, by the names it goes by. */
const UNITS: readonly (readonly [names: RegExp, seconds: number])[] = [
  [/^(?:s|secs?|seconds?)?$/, 1],
  [/^(?:m|mins?|minutes?)$/, 60],
  [/^(?:h|hrs?|hours?)$/, 3600],
  [/^(?:d|days?)$/, 86400],
];

/**
 * A length of time in seconds, from `90`, `90s`, `10m`, `10min`, `2hours`, `1h30m` or `2d`.
 * Letters of any case; without a unit the number means seconds.
 */
export function parseDuration(text: string): number | null {
  if (!/^\d{1,8}(?:[a-z]+\d{1,8})*[a-z]*$/i.test(text)) return null;
  let total = 0;
  for (const [, digits = "", unit = ""] of text.matchAll(/(\d+)([a-z]*)/gi)) {
    const known = UNITS.find(([names]) => names.test(unit.toLowerCase()));
    if (known === undefined) return null;
    total += Number(digits) * known[1];
  }
  return total;
}

/** Whether a text holds base64 characters only (RFC 4648 section 4); its length is not looked at. */
export function looksLikeBase64(text: string): boolean {
  return /^[A-Za-z0-9+/=]+$/.test(text);
}

/** The letter `Y` or `N` in either case; no other word, since fwknop takes none either. */
export function parseYOrN(text: string): boolean | null {
  if (/^y$/i.test(text)) return true;
  return /^n$/i.test(text) ? false : null;
}

/** The start of the addresses that stand for IPv4 ones: `::ffff:0:0/96`, RFC 4291 section 2.5.5.2. */
const IPV4_MAPPED = 0xffffn;

/**
 * An address that is to be let in, in the form that a packet carries: IPv4, also where it is
 * written as IPv6, or the form of RFC 5952. `::` is `0.0.0.0`, the address that the gateway sees.
 */
export function parseAllowedAddress(text: string): string | null {
  const address = parseIp(text);
  if (address === null || address.version === 4) return address?.text ?? null;
  if (address.value === 0n) return "0.0.0.0";
  if (address.value >> 32n !== IPV4_MAPPED) return address.text;
  return ipFromValue(4, address.value & 0xffffffffn).text;
}
