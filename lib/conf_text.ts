// The line format that fwknopd.conf and access.conf share, and how their readers get at files.

import type { TextFault } from "./net_list.ts";
import { COMMAND_LINE, errorAt, type Place, type Problem, warningAt } from "./conf_problem.ts";
import { nearest } from "./conf_suggest.ts";

/** The text of a file, or the system's wording of why there is none. */
export type FileText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly reason: string };

/** Reads a file; never throws. */
export type ReadText = (path: string) => FileText;

/** `NAME value` in a file. */
export interface Setting {
  readonly name: string;
  /** Never empty in a file; without the blanks around it. */
  readonly value: string;
  /** Where the name starts. */
  readonly place: Place;
  /** Where the value starts, from 1. */
  readonly valueColumn: number;
  /** Blanks behind the value, before the `;` or the line's end. */
  readonly trailingBlanks: boolean;
}

/** What an option of the command line sets. */
export function commandLineSetting(name: string, value: string): Setting {
  return { name, value, place: COMMAND_LINE, valueColumn: 0, trailingBlanks: false };
}

/** A line that says something: a setting, or one word where two are needed. */
export type ConfigLine =
  | { readonly kind: "setting"; readonly setting: Setting }
  | { readonly kind: "malformed"; readonly place: Place; readonly word: string };

/**
 * Takes a file apart. A line is `NAME value`, where the value ends at the first `;` or the line's
 * end; what follows a `;` is a comment. Lines of blanks and lines that start with `#` or `;` say
 * nothing and are left out.
 *
 * @param file its name, for the places
 */
export function parseConfigLines(text: string, file: string): ConfigLine[] {
  const lines: ConfigLine[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const parsed = parseConfigLine(line, file, index + 1);
    if (parsed !== null) lines.push(parsed);
  }
  return lines;
}

function parseConfigLine(text: string, file: string, line: number): ConfigLine | null {
  const nameStart = text.search(/\S/);
  const first = text[nameStart];
  if (first === undefined || first === "#" || first === ";") return null;
  const nameEnd = endOf(text, nameStart, /[\s;]/);
  const word = text.slice(nameStart, nameEnd);
  const place = { file, line, column: nameStart + 1 };
  const valueEnd = endOf(text, nameEnd, /[;\r]/);
  const raw = text.slice(nameEnd, valueEnd);
  const value = raw.trim();
  if (value === "") return { kind: "malformed", place, word };
  const valueColumn = nameEnd + raw.length - raw.trimStart().length + 1;
  const trailingBlanks = raw !== raw.trimEnd();
  return { kind: "setting", setting: { name: word, value, place, valueColumn, trailingBlanks } };
}

/** Where the first character of a kind stands at or behind a position; else the text's length. */
function endOf(text: string, from: number, kind: RegExp): number {
  const found = text.slice(from).search(kind);
  return found < 0 ? text.length : from + found;
}

/** The place of a setting's value, or of a part of it. */
export function valuePlace(setting: Setting, offset = 0): Place {
  const column = setting.valueColumn === 0 ? 0 : setting.valueColumn + offset;
  return { ...setting.place, column };
}

/** The error that a fault in a setting's value is. */
export function faultAt(setting: Setting, fault: TextFault, context = ""): Problem {
  const comment = /\s#/.test(setting.value) ? "; a comment behind a value starts with ;" : "";
  return errorAt(
    valuePlace(setting, fault.offset),
    `cannot read "${fault.value}": ${context}${fault.why}`,
    fault.hint + comment,
  );
}

/** The warning for a number that is read as fwknopd reads it: ENABLE_STRICT_NUMBERS is N. */
export function looseNumber(setting: Setting, number: string): Problem {
  const message = `${setting.name} "${setting.value}" is read as ${number}`;
  return warningAt(valuePlace(setting), message, `write ${setting.name} ${number}`);
}

/** A name for a message, cut at the first character no variable has, since a key may follow. */
export function shownName(name: string): string {
  return /^[%#]?\w*/.exec(name)?.[0] || name.slice(0, 1);
}

/** The hint for an unknown name: the known one it is most like, or null. */
export function nameHint(known: Iterable<string>, name: string): string | null {
  const meant = nearest(known, shownName(name));
  return meant === null ? null : `did you mean ${meant}?`;
}
