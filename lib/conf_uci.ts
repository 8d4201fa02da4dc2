// OpenWrt's /etc/config/fwknopd: a UCI file whose sections hold the settings of both of fwknop's
// files. `config config` is fwknopd.conf, and each `config access` a stanza of access.conf.

import { errorAt, type Place, type Problem, warningAt } from "./conf_problem.ts";
import { type ConfigLine, parseConfigLines, type Setting } from "./conf_text.ts";

/** The sections that stand for one of fwknop's files. */
export type UciPart = "config" | "access";

/** A line that says something, or what is wrong with it. */
export type FileLine = ConfigLine | { readonly kind: "problem"; readonly problem: Problem };

/** Sections and options for OpenWrt's own scripts and pages; the settings are not among them. */
const OPTIONS_OF_OPENWRT: Readonly<Record<string, readonly string[]>> = {
  global: ["uci_enabled"],
  network: ["network"],
  access: ["keytype", "hkeytype"],
};

/** Whether a file is in UCI's format: neither of fwknop's has a line that begins as these do. */
export function isUci(text: string): boolean {
  const first = /^[ \t]*([^\s#][^\n]*)/m.exec(text)?.[1] ?? "";
  return /^(?:config|package)\s/.test(first);
}

/**
 * Takes a file of either format apart.
 *
 * @param file its name, for the places
 * @param part the sections that are wanted of a UCI file
 */
export function parseConfigFile(text: string, file: string, part: UciPart): FileLine[] {
  return isUci(text) ? parseUciLines(text, file, part) : parseConfigLines(text, file);
}

interface Section {
  readonly type: string;
  readonly place: Place;
  /** By their names, in the order of their first lines; a `list` grows. */
  readonly settings: Map<string, Setting>;
}

/**
 * The settings of a UCI file. In the section of a stanza SOURCE may stand anywhere; here it comes
 * first, as access.conf has it. What is wrong outside of stanzas is told with the part `config`.
 */
function parseUciLines(text: string, file: string, part: UciPart): FileLine[] {
  const lines: FileLine[] = [];
  let section: Section | null = null;
  for (const [index, line] of text.split("\n").entries()) {
    const place = { file, line: index + 1, column: line.search(/\S/) + 1 };
    const words = splitWords(line.replace(/\r$/, ""));
    const keyword = words[0]?.text;
    if (keyword === undefined) continue;
    if (keyword === "config") {
      lines.push(...linesOf(section, part));
      section = { type: words[1]?.text ?? "", place, settings: new Map() };
    }
    // Each mistake is told by one of the two parts.
    const isTold = part === (section?.type === "access" ? "access" : "config");
    const fault = faultIn(words, section);
    if (fault !== null) {
      const at = { ...place, column: fault.column ?? place.column };
      if (isTold) lines.push({ kind: "problem", problem: errorAt(at, fault.why, fault.hint) });
    } else if (keyword === "config" && !isKnownSection(words[1]?.text ?? "")) {
      const why = `Ignoring unknown section: '${words[1]?.text}' in ${file}`;
      if (isTold) lines.push({ kind: "problem", problem: warningAt(place, why) });
    } else if ((keyword === "option" || keyword === "list") && section?.type === part) {
      putWords(section, words, place);
    }
  }
  lines.push(...linesOf(section, part));
  return lines;
}

function isKnownSection(type: string): boolean {
  return type === "config" || Object.hasOwn(OPTIONS_OF_OPENWRT, type);
}

function putWords(section: Section, words: readonly Word[], place: Place): void {
  const [keyword, name, value] = words;
  if (name === undefined || value === undefined) return;
  if (OPTIONS_OF_OPENWRT[section.type]?.includes(name.text)) return;
  const before = keyword?.text === "list" ? section.settings.get(name.text) : undefined;
  const setting = {
    name: name.text,
    value: value.text.trim(),
    place: { ...place, column: name.column },
    valueColumn: value.column + value.lead,
    trailingBlanks: value.text !== value.text.trimEnd(),
  };
  section.settings.set(
    name.text,
    before === undefined ? setting : { ...before, value: `${before.value}, ${setting.value}` },
  );
}

function linesOf(section: Section | null, part: UciPart): FileLine[] {
  if (section === null || section.type !== part) return [];
  const settings = [...section.settings.values()];
  if (part === "access") {
    const source = section.settings.get("SOURCE");
    if (source === undefined) {
      const why = "a section access needs the option SOURCE";
      const hint = "write option SOURCE 'ANY', or the addresses that may knock";
      return [{ kind: "problem", problem: errorAt(section.place, why, hint) }];
    }
    settings.sort((one, other) => Number(other === source) - Number(one === source));
  }
  return settings.map((setting) => ({ kind: "setting", setting }));
}

interface Fault {
  readonly why: string;
  readonly hint: string;
  /** Null for the start of the line. */
  readonly column: number | null;
}

function faultIn(words: readonly Word[], section: Section | null): Fault | null {
  const [keyword, name, value, more] = words;
  const open = words.find((word) => !word.closed);
  if (open !== undefined) {
    const hint = "end the value on its line, with the quote that it starts with";
    return { why: "a quote is not closed", hint, column: open.column };
  }
  switch (keyword?.text) {
    case "package":
      return null;
    case "config":
      if (name !== undefined) return null;
      return { why: "the section has no type", hint: "write config access", column: null };
    case "option":
    case "list":
      if (section === null) {
        const hint = "write a line such as config access above it";
        return { why: "the option is in no section", hint, column: null };
      }
      if (name === undefined || value === undefined || value.text.trim() === "") {
        const what = name?.text ?? keyword.text;
        return { why: `${what} has no value`, hint: `write option ${what} 'VALUE'`, column: null };
      }
      if (more === undefined) return null;
      return {
        why: `${name.text} has more than one value`,
        hint: "put blanks that belong to the value, and all of it, in quotes",
        column: more.column,
      };
    default:
      return {
        why: "the line is no part of a UCI file",
        hint: "write config, option or list; a comment starts with #",
        column: null,
      };
  }
}

interface Word {
  readonly text: string;
  /** Where it starts, from 1. */
  readonly column: number;
  /** Characters between its start and its value: a quote and blanks. */
  readonly lead: number;
  readonly closed: boolean;
}

/**
 * The words of a line, without quotes: in '...' every character is plain, in "..." and outside of
 * quotes a backslash makes the next one so; a # at the start of a word begins a comment.
 */
function splitWords(line: string): Word[] {
  const words: Word[] = [];
  let index = 0;
  for (;;) {
    while (/\s/.test(line[index] ?? "")) index++;
    if (index >= line.length || line[index] === "#") return words;
    const column = index + 1;
    let text = "";
    let quote = "";
    for (; index < line.length; index++) {
      const character = line[index] ?? "";
      if (quote === "" && /\s/.test(character)) break;
      if (character === quote) quote = "";
      else if (quote === "" && (character === "'" || character === '"')) quote = character;
      else if (character === "\\" && quote !== "'" && index + 1 < line.length) {
        text += line[++index];
      } else text += character;
    }
    const quoted = /^['"]/.test(line.slice(column - 1)) ? 1 : 0;
    const blanks = text.length - text.trimStart().length;
    words.push({ text, column, lead: quoted + blanks, closed: quote === "" });
  }
}
