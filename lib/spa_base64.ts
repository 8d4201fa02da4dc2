// Base64 as SPA packets use it (RFC 4648 section 4, without padding), and as key settings use it.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Value of each ASCII character in the alphabet; 255 for all others. */
const VALUES: Readonly<Uint8Array> = Uint8Array.from(
  { length: 128 },
  (_, code) => ALPHABET.indexOf(String.fromCharCode(code)) & 255,
);

function valueAt(text: string, index: number): number {
  return VALUES[text.charCodeAt(index)] ?? 255;
}

/** Encodes bytes without padding, the form of every base64 text inside a packet. */
export function encodeBase64(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let count = 0;
  for (const byte of bytes) {
    bits = (bits << 8 | byte) & 0xffff;
    count += 8;
    while (count >= 6) {
      count -= 6;
      text += ALPHABET.charAt(bits >> count & 63);
    }
  }
  return count > 0 ? text + ALPHABET.charAt(bits << (6 - count) & 63) : text;
}

/** Encodes bytes with `=` padding, the form of keys in configuration files. */
export function encodePaddedBase64(bytes: Uint8Array): string {
  const text = encodeBase64(bytes);
  return text.padEnd(Math.ceil(text.length / 4) * 4, "=");
}

/** Whether every character is one of the 64; `=` is not. */
export function isBase64Text(text: string): boolean {
  return /^[A-Za-z0-9+/]*$/.test(text);
}

/** As {@linkcode isBase64Text}, of ASCII bytes; most junk is told by its first few. */
export function isBase64Bytes(bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index++) {
    if ((VALUES[bytes[index]!] ?? 255) === 255) return false;
  }
  return true;
}

/** Number of whole bytes that `length` base64 characters without padding stand for. */
export function decodedLength(length: number): number {
  return Math.floor(length * 6 / 8);
}

/**
 * Decodes unpadded base64 strictly, so that each byte string has exactly one text.
 *
 * @returns the bytes, or null for any other character (`=` too), a length of 4n+1, or unused bits
 * that are not zero
 */
export function decodeBase64(text: string): Uint8Array | null {
  if (text.length % 4 === 1) return null;
  const bytes = new Uint8Array(decodedLength(text.length));
  const rest = decodeInto(bytes, text, text.length);
  return rest === 0 ? bytes : null;
}

/**
 * Decodes a key from a configuration, as forgiving as fwknop is there: padding may be present, cut
 * or missing, what follows it is ignored, and so are unused bits.
 *
 * @returns the bytes, or null when a character before the first `=` is not base64
 */
export function decodeKeyBase64(text: string): Uint8Array | null {
  const end = text.indexOf("=");
  const length = end < 0 ? text.length : end;
  const bytes = new Uint8Array(decodedLength(length));
  return decodeInto(bytes, text, length) < 0 ? null : bytes;
}

/** Fills `bytes` from the first `length` characters; gives the unused bits, or -1 for a bad character. */
function decodeInto(bytes: Uint8Array, text: string, length: number): number {
  let bits = 0;
  let count = 0;
  let position = 0;
  for (let index = 0; index < length; index++) {
    const value = valueAt(text, index);
    if (value === 255) return -1;
    bits = bits << 6 | value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes[position++] = bits >> count;
      bits &= (1 << count) - 1;
    }
  }
  return bits;
}
