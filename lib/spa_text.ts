// Bytes as strings: field contents without loss, and texts of which only ASCII matters.

const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** Bytes as text when anything but ASCII will be refused: other bytes become other characters. */
export function asciiText(bytes: Uint8Array): string {
  return DECODER.decode(bytes);
}

/**
 * The text of a field's bytes. Well-formed UTF-8 reads as usual; each byte that is not part of it
 * becomes one lone surrogate U+DC80 to U+DCFF (the rule of PEP 383), so {@linkcode fieldBytes}
 * gives back the very same bytes.
 */
export function fieldText(bytes: Uint8Array): string {
  let text = "";
  let index = 0;
  while (index < bytes.length) {
    const length = sequenceLength(bytes, index);
    if (length === 0) {
      text += String.fromCharCode(0xdc00 + (bytes[index] ?? 0));
      index += 1;
    } else {
      text += codePointAt(bytes, index, length);
      index += length;
    }
  }
  return text;
}

/** The bytes of a field's text: UTF-8, with U+DC80 to U+DCFF standing for single bytes. */
export function fieldBytes(text: string): Uint8Array {
  const encoder = new TextEncoder();
  if (!/[\udc80-\udcff]/u.test(text)) return encoder.encode(text);
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code - 0xdc00);
    else bytes.push(...encoder.encode(character));
  }
  return Uint8Array.from(bytes);
}

/** Length of the well-formed UTF-8 sequence at `index` (RFC 3629 section 4), 0 when there is none. */
function sequenceLength(bytes: Uint8Array, index: number): number {
  const first = bytes[index] ?? 0;
  if (first < 0x80) return 1;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  const second = bytes[index + 1] ?? 0;
  const [low, high] = secondByteRange(first);
  if (length === 0 || second < low || second > high) return 0;
  for (let offset = 2; offset < length; offset++) {
    if (((bytes[index + offset] ?? 0) & 0xc0) !== 0x80) return 0;
  }
  return length;
}

/** Shuts out overlong forms, surrogates and code points above U+10FFFF. */
function secondByteRange(first: number): readonly [number, number] {
  switch (first) {
    case 0xe0:
      return [0xa0, 0xbf];
    case 0xed:
      return [0x80, 0x9f];
    case 0xf0:
      return [0x90, 0xbf];
    case 0xf4:
      return [0x80, 0x8f];
    default:
      return [0x80, 0xbf];
  }
}

function codePointAt(bytes: Uint8Array, index: number, length: number): string {
  const first = bytes[index] ?? 0;
  let code = length === 1 ? first : first & (0xff >> (length + 1));
  for (let offset = 1; offset < length; offset++) {
    code = code << 6 | (bytes[index + offset] ?? 0) & 0x3f;
  }
  return String.fromCodePoint(code);
}
