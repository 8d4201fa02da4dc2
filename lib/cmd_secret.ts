// Asking for a secret on the terminal: a line editor that shows nothing.

import type { Terminal } from "./host.ts";

const CONTROL = { c: 0x03, d: 0x04, h: 0x08, u: 0x15, w: 0x17, backslash: 0x1c } as const;
const DELETE = 0x7f;
const ESCAPE = 0x1b;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;

/** A line that is being typed; `end` says how it ended, once it did. */
export interface SecretLine {
  readonly bytes: readonly number[];
  readonly end: "entered" | "interrupted" | null;
  /** Inside an escape sequence, such as an arrow key sends; its bytes are no part of the secret. */
  readonly escape: boolean;
}

/** A line of which nothing was typed. */
export const EMPTY_SECRET: SecretLine = { bytes: [], end: null, escape: false };

/**
 * One byte more. Backspace and Delete erase a character (all bytes of its UTF-8 form), Ctrl-W a
 * word, Ctrl-U the line; Ctrl-C, Ctrl-\ and Ctrl-D on an empty line give up.
 */
export function typeByte(line: SecretLine, byte: number): SecretLine {
  const { bytes } = line;
  if (line.escape) {
    const introducer = byte === 0x5b || byte === 0x4f;
    return introducer || byte < 0x40 ? line : { ...line, escape: false };
  }
  switch (byte) {
    case LINE_FEED:
    case CARRIAGE_RETURN:
      return { ...line, end: "entered" };
    case CONTROL.c:
    case CONTROL.backslash:
      return { ...EMPTY_SECRET, end: "interrupted" };
    case CONTROL.d:
      return { ...line, end: bytes.length === 0 ? "interrupted" : "entered" };
    case CONTROL.h:
    case DELETE:
      return { ...line, bytes: eraseCharacter(bytes) };
    case CONTROL.u:
      return EMPTY_SECRET;
    case CONTROL.w:
      return { ...line, bytes: eraseWord(bytes) };
    case ESCAPE:
      return { ...line, escape: true };
    default:
      return { ...line, bytes: [...bytes, byte] };
  }
}

function eraseCharacter(bytes: readonly number[]): readonly number[] {
  const start = bytes.findLastIndex((byte) => (byte & 0xc0) !== 0x80);
  return bytes.slice(0, Math.max(start, 0));
}

function eraseWord(bytes: readonly number[]): readonly number[] {
  const wordEnd = bytes.findLastIndex((byte) => byte !== SPACE);
  const wordStart = bytes.slice(0, wordEnd + 1).lastIndexOf(SPACE);
  return bytes.slice(0, wordStart + 1);
}

/**
 * Asks for a secret.
 *
 * @returns its bytes, or null when the user gave up or the terminal went away
 */
export function askSecret(terminal: Terminal, prompt: string): Uint8Array | null {
  terminal.write(prompt);
  let line = EMPTY_SECRET;
  while (line.end === null) {
    const typed = terminal.read();
    if (typed === null) return null;
    for (const byte of typed) {
      if (line.end === null) line = typeByte(line, byte);
    }
  }
  terminal.write("\n");
  return line.end === "entered" ? Uint8Array.from(line.bytes) : null;
}
