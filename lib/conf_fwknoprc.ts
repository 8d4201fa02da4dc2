// The client's .fwknoprc (section names in brackets, then `NAME value` lines): text to lines, and
// the [default] section with a named stanza on top to settings. Writing is in conf_fwknoprc_save.ts.

import { errorAt, type Problem, warningAt } from "./conf_problem.ts";
import { nearest } from "./conf_suggest.ts";
import { RC_VARIABLES, type RcSettings, type RcVariable } from "./conf_fwknoprc_variables.ts";

/** One line, taken apart. */
export type RcLine =
  | { readonly kind: "blank" }
  /** The name is kept as it is written, blanks included. */
  | { readonly kind: "section"; readonly name: string }
  | RcAssignment
  /** Neither of the above: a variable without a value. */
  | { readonly kind: "malformed"; readonly column: number };

/** `NAME value`. */
export interface RcAssignment {
  readonly kind: "variable";
  readonly name: string;
  /** Up to the first blank, `;` or `#`. */
  readonly value: string;
  /** From 1. */
  readonly nameColumn: number;
  /** From 1. */
  readonly valueColumn: number;
  /** What follows the value, the blanks before it included. */
  readonly rest: string;
}

/** Takes one line apart, without its line end. Never throws. */
export function parseRcLine(line: string): RcLine {
  if (/^\s*(?:[#;]|$)/.test(line)) return { kind: "blank" };
  const section = /^\s*\[([^\]]*)\]/.exec(line);
  if (section !== null) return { kind: "section", name: section[1] ?? "" };
  const parts = /^(\s*)(\S+)(\s+)([^\s;#]+)(.*)$/.exec(line);
  if (parts === null) return { kind: "malformed", column: line.search(/\S/) + 1 };
  const [, indent = "", name = "", gap = "", value = "", rest = ""] = parts;
  return {
    kind: "variable",
    name: name.replace(/:$/, ""),
    value,
    nameColumn: indent.length + 1,
    valueColumn: indent.length + name.length + gap.length + 1,
    rest,
  };
}

/** The lines of a file, without their line ends (LF or CR LF). */
function splitRcLines(text: string): string[] {
  return text.split("\n").map((line) => line.replace(/\r$/, ""));
}

/** Names of the sections in file order, `default` left out, repeated ones repeated. */
export function listStanzas(text: string): string[] {
  return splitRcLines(text)
    .map(parseRcLine)
    .flatMap((line) => line.kind === "section" ? [line.name] : [])
    .filter((name) => !sameStanza(name, "default"));
}

/** Section names are compared without regard to case. */
export function sameStanza(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** What a file says to one run of the client. */
export interface RcReading {
  readonly settings: RcSettings;
  /** Whether the named stanza exists; true when none was named. */
  readonly found: boolean;
  /** Errors make the settings unusable; values of keys are not in the messages. */
  readonly problems: readonly Problem[];
  /** The sections that were read and the variables in them, in reading order. */
  readonly trace: readonly RcTrace[];
}

/** One section that was read. */
export interface RcTrace {
  readonly section: string;
  readonly variables: readonly string[];
}

/**
 * Reads the `[default]` section and a named stanza on top of it. Sections that are not asked for
 * are not checked. Never throws.
 *
 * @param text the file
 * @param file its name, for the messages
 * @param stanza the stanza to read on top of `[default]`, or null for none
 */
export function readFwknoprc(text: string, file: string, stanza: string | null): RcReading {
  const lines = splitRcLines(text);
  const problems: Problem[] = [];
  const trace: RcTrace[] = [];
  const fromDefault = readSection("default");
  if (stanza === null || problems.some(({ severity }) => severity === "error")) {
    return { settings: fromDefault.settings, found: true, problems, trace };
  }
  const fromStanza = readSection(stanza);
  return {
    settings: { ...fromDefault.settings, ...fromStanza.settings },
    found: fromStanza.found,
    problems,
    trace,
  };

  function readSection(wanted: string): { settings: RcSettings; found: boolean } {
    let settings: RcSettings = {};
    let found = false;
    let inside = false;
    const variables: string[] = [];
    for (const [index, line] of lines.entries()) {
      const parsed = parseRcLine(line);
      if (parsed.kind === "section") {
        inside = sameStanza(parsed.name, wanted);
        found ||= inside;
      } else if (inside && parsed.kind === "malformed") {
        problems.push(malformed(file, index + 1, line, parsed.column));
        break;
      } else if (inside && parsed.kind === "variable") {
        variables.push(parsed.name);
        settings = { ...settings, ...readAssignment(parsed, line, index + 1) };
      }
    }
    if (found) trace.push({ section: wanted, variables });
    return { settings, found };
  }

  function readAssignment(assignment: RcAssignment, line: string, number: number): RcSettings {
    const { name, nameColumn, valueColumn } = assignment;
    const variable = RC_VARIABLES.find((known) => known.name === name);
    if (variable === undefined) {
      problems.push(errorAt(
        { file, line: number, column: nameColumn },
        parameterError(file, number, name, "***"),
        unknownVariableHint(name),
      ));
      return {};
    }
    const value = variable.wholeLine ? line.slice(valueColumn - 1).trimEnd() : assignment.value;
    const shown = variable.secret ? "***" : value;
    const place = { file, line: number, column: valueColumn };
    const reading = variable.read(value);
    if ("refusal" in reading) {
      problems.push(errorAt(place, parameterError(file, number, name, shown), reading.refusal));
      return {};
    }
    if (reading.oddity !== undefined) {
      problems.push(warningAt(place, `${name}: ${reading.oddity}, so it changes nothing`));
    }
    const cut = cutValue(variable, assignment);
    if (cut !== null) {
      problems.push(warningAt(place, `the value of ${name} ends at the first ${cut}`, CUT_HINT));
    }
    return reading.settings;
  }
}

const CUT_HINT = "keys with such characters can be given in base64: KEY_BASE64, HMAC_KEY_BASE64, " +
  "GPG_SIGNING_PW_BASE64";

/** What ended a value early, if it looks as if more was meant; `;` and `#` after a blank start a comment. */
function cutValue(variable: RcVariable, { rest }: RcAssignment): string | null {
  if (variable.wholeLine || rest === "") return null;
  if (/^[;#]/.test(rest)) return variable.secret ? `'${rest.charAt(0)}'` : null;
  return /^\s+[^\s;#]/.test(rest) ? "blank" : null;
}

/** fwknop's wording, which programs look for. */
function parameterError(file: string, line: number, name: string, value: string): string {
  return `Parameter error in ${file}, line ${line}: var=${name}, val=${value}`;
}

function malformed(file: string, line: number, text: string, column: number): Problem {
  const name = /\S+/.exec(text)?.[0] ?? "";
  const known = RC_VARIABLES.some((variable) => variable.name === name.replace(/:$/, ""));
  return errorAt(
    { file, line, column },
    known ? `Invalid entry in '${name}': it has no value` : "Invalid entry in the stanza",
    "a line is a variable's name, blanks and a value",
  );
}

function unknownVariableHint(name: string): string {
  if (name === "CLIENT_TIMEOUT") return "the time of access is called FW_TIMEOUT";
  const similar = nearest(RC_VARIABLES.map((known) => known.name), name);
  return similar === null ? `${name} is not a variable of .fwknoprc` : `did you mean ${similar}?`;
}
