// How the values of client settings are written, in .fwknoprc and on the command line alike:
// flags, numbers, durations, base64. Each reader gives null for what it does not accept.

/**
 * A whole number in decimal digits.
 *
 * @param minimum smallest number accepted
 * @param maximum largest number accepted
 */
export function parseWholeNumber(text: string, minimum: number, maximum: number): number | null {
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

/** `Y` or `N` in either case as true or false. */
export function parseFlag(text: string): boolean | null {
  if (/^y$/i.test(text)) return true;
  return /^n$/i.test(text) ? false : null;
}
