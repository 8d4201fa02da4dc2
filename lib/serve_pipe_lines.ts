// Messages between monitor and sentry on a pipe: one JSON value a line, of a limited length.

/** Takes what a pipe delivers, in any pieces. */
export interface LineReader {
  /** The lines that are whole now, or null once one was too long; nothing more is read then. */
  push(bytes: Uint8Array): readonly Uint8Array[] | null;
}

const LINE_FEED = 0x0a;

/** @param limit most bytes of a line, without its end */
export function createLineReader(limit: number): LineReader {
  let rest: Uint8Array[] = [];
  let held = 0;
  let broken = false;

  function take(end: Uint8Array): Uint8Array {
    if (rest.length === 0) return end;
    const line = new Uint8Array(held + end.length);
    let at = 0;
    for (const part of [...rest, end]) {
      line.set(part, at);
      at += part.length;
    }
    rest = [];
    held = 0;
    return line;
  }

  return {
    push(bytes) {
      const lines: Uint8Array[] = [];
      for (let from = 0; !broken;) {
        const end = bytes.indexOf(LINE_FEED, from);
        const part = bytes.subarray(from, end < 0 ? bytes.length : end);
        if (held + part.length > limit) broken = true;
        else if (end >= 0) lines.push(take(part));
        else {
          // The piece may be a buffer that is filled again.
          if (part.length > 0) rest.push(part.slice());
          held += part.length;
          return lines;
        }
        from = end + 1;
      }
      rest = [];
      return null;
    },
  };
}

/** The line for a message; JSON has no raw line feeds. */
export function formatLine(message: unknown): string {
  return `${JSON.stringify(message)}\n`;
}

/** The value of a line, or undefined when it is not JSON in UTF-8. Never throws. */
export function parseLine(line: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
  } catch {
    return undefined;
  }
}
