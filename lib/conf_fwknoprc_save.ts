// Writing to .fwknoprc: changes the variables of one stanza and keeps every other byte of the file.

import { parseRcLine, sameStanza } from "./conf_fwknoprc.ts";

/** A variable to write. */
export interface RcValue {
  readonly name: string;
  /** Without blanks, `;` and `#`, which end a value; see {@linkcode isWritableValue}. */
  readonly value: string;
}

/** What becomes of a stanza. */
export interface StanzaChange {
  readonly stanza: string;
  /** In the order in which new ones are written. */
  readonly set: readonly RcValue[];
  /** Variables that are taken out, or `all` for every one that `set` does not have. */
  readonly remove: readonly string[] | "all";
}

/** Whether a value reads back as it was written. */
export function isWritableValue(value: string): boolean {
  return /^[^\s;#]+$/.test(value);
}

/** Value of each variable in the stanza, or null when the file has no such stanza. */
export function readStanzaValues(text: string, stanza: string): Map<string, string> | null {
  let values: Map<string, string> | null = null;
  let inside = false;
  for (const line of text.split("\n")) {
    const parsed = parseRcLine(line.replace(/\r$/, ""));
    if (parsed.kind === "section") {
      inside = sameStanza(parsed.name, stanza);
      if (inside) values ??= new Map();
    } else if (inside && parsed.kind === "variable") {
      values?.set(parsed.name, parsed.value);
    }
  }
  return values;
}

/**
 * The file with the change made. A variable that the stanza has gets its new value where it stands,
 * others are added at the stanza's end; a stanza that is not there is added at the end of the file.
 * Comments, blank lines, other stanzas and line ends stay as they are.
 */
export function changeStanza(text: string, change: StanzaChange): string {
  const { stanza, set, remove } = change;
  const pending = new Map(set.map(({ name, value }) => [name, value]));
  const written = new Set<string>();
  const lines = text.split("\n");
  const kept: string[] = [];
  const lineEnd = lines.some((line) => line.endsWith("\r")) ? "\r" : "";
  let inside = false;
  // Where new variables go: behind the last one, since a comment below may belong to what follows.
  let end = -1;

  for (const line of lines) {
    const parsed = parseRcLine(line.replace(/\r$/, ""));
    if (parsed.kind === "section") {
      inside = sameStanza(parsed.name, stanza);
      kept.push(line);
      if (inside) end = kept.length;
      continue;
    }
    if (!inside || parsed.kind !== "variable") {
      kept.push(line);
      continue;
    }
    const { name, valueColumn, value } = parsed;
    const fresh = pending.get(name);
    if (fresh !== undefined) {
      const before = line.slice(0, valueColumn - 1);
      kept.push(before + fresh + line.slice(valueColumn - 1 + value.length));
      pending.delete(name);
      written.add(name);
    } else if (!written.has(name) && remove !== "all" && !remove.includes(name)) {
      kept.push(line);
    } else {
      continue;
    }
    end = kept.length;
  }

  const added = set.filter(({ name }) => pending.has(name)).map((entry) =>
    formatVariable(entry) + lineEnd
  );
  if (end < 0) return appendStanza(text, stanza, added, lineEnd);
  if (added.length === 0) return kept.join("\n");
  const rest = kept.slice(end);
  // The stanza may end with the file, and the file without a line end.
  const tail = rest.length === 0 ? [""] : rest;
  return [...kept.slice(0, end), ...added, ...tail].join("\n");
}

function appendStanza(
  text: string,
  stanza: string,
  variables: readonly string[],
  lineEnd: string,
): string {
  // The last line may have half of its end.
  const missing = text.endsWith("\r") ? "\n" : `${lineEnd}\n`;
  const before = text === "" || text.endsWith("\n") ? text : text + missing;
  const gap = text === "" ? "" : `${lineEnd}\n`;
  return `${before}${gap}${[`[${stanza}]${lineEnd}`, ...variables, ""].join("\n")}`;
}

/** As fwknop writes them: the value starts in column 29. */
function formatVariable({ name, value }: RcValue): string {
  return `${name.padEnd(24)}    ${value}`;
}
