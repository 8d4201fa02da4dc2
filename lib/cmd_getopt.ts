// Command lines read the way getopt_long(3) reads them: clusters, attached values, abbreviated
// long names, options and operands in any order. Knows tables of options, not what they mean.

import { nearest } from "./conf_suggest.ts";

/** One option a command takes. The same table makes the parser and the help text. */
export interface OptionSpec {
  /** The name it is known by, without dashes. */
  readonly long: string;
  /** Further long names; like `long`, they may be abbreviated. */
  readonly aliases?: readonly string[];
  /** Long names of older programs; they match only when given whole, so they make no abbreviation ambiguous. */
  readonly oldNames?: readonly string[];
  /** Set where fwknop has no such option: it matches only when given whole, so that fwknop's keep their abbreviations. */
  readonly own?: true;
  /** One letter. */
  readonly short?: string;
  /** Placeholder of its argument, as the help shows it; none means that it takes no argument. */
  readonly argument?: string;
  readonly help: string;
  /** Heading the help lists it under. */
  readonly group: string;
  /** Accepted, but not listed in the help. */
  readonly hidden?: true;
}

/** An option met on the command line. */
export interface FoundOption {
  /** `long` of its entry in the table. */
  readonly name: string;
  /** Its argument; null for an option that takes none. */
  readonly value: string | null;
}

/** What is wrong with a command line, and what to try. */
export interface UsageError {
  readonly text: string;
  readonly hint?: string;
}

/** A command line taken apart. */
export interface ParsedOptions {
  /** In the order of the command line; repeated options are all there. */
  readonly found: readonly FoundOption[];
  readonly operands: readonly string[];
  /** The last of the operands: those behind `--`. */
  readonly behindDashes: readonly string[];
  /** Empty when the command line follows the table; in the order of the command line. */
  readonly errors: readonly UsageError[];
}

/** How {@linkcode parseOptions} reads. */
export interface ParseSettings {
  /** Stop at the first operand, as POSIXLY_CORRECT in the environment asks for. */
  readonly posixlyCorrect?: boolean;
}

/**
 * Takes a command line apart by getopt_long(3)'s rules, with long names matched without regard to
 * case. Reads on after an error, so that `--help` further right is still found.
 *
 * @param table the options that exist
 * @param args the words after the program's and the subcommand's name
 */
export function parseOptions(
  table: readonly OptionSpec[],
  args: readonly string[],
  settings: ParseSettings = {},
): ParsedOptions {
  const found: FoundOption[] = [];
  const operands: string[] = [];
  let behindDashes: readonly string[] = [];
  const errors: UsageError[] = [];

  let index = 0;
  while (index < args.length) {
    const word = args[index++] ?? "";
    if (word === "--") {
      behindDashes = args.slice(index);
      break;
    }
    if (word.startsWith("--")) {
      readLong(word.slice(2));
    } else if (word.startsWith("-") && word.length > 1) {
      readCluster(word.slice(1));
    } else {
      operands.push(word);
      if (settings.posixlyCorrect) break;
    }
  }
  operands.push(...args.slice(index));
  return { found, operands, behindDashes, errors };

  function readLong(text: string): void {
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    const attached = equals < 0 ? null : text.slice(equals + 1);
    const match = matchLongName(table, name);
    if ("error" in match) {
      errors.push(match.error(`--${text}`));
      return;
    }
    const { spec, long } = match;
    if (spec.argument === undefined) {
      if (attached !== null) {
        errors.push({ text: `option '--${long}' doesn't allow an argument` });
      } else {
        found.push({ name: spec.long, value: null });
      }
    } else if (attached !== null) {
      found.push({ name: spec.long, value: attached });
    } else if (index < args.length) {
      found.push({ name: spec.long, value: args[index++] ?? "" });
    } else {
      errors.push({ text: `option '--${long}' requires an argument` });
    }
  }

  function readCluster(letters: string): void {
    const characters = [...letters];
    for (const [position, letter] of characters.entries()) {
      const spec = table.find((entry) => entry.short === letter);
      if (spec === undefined) {
        errors.push({ text: `invalid option -- '${letter}'` });
      } else if (spec.argument === undefined) {
        found.push({ name: spec.long, value: null });
      } else {
        const attached = characters.slice(position + 1).join("");
        if (attached !== "") {
          found.push({ name: spec.long, value: attached });
        } else if (index < args.length) {
          found.push({ name: spec.long, value: args[index++] ?? "" });
        } else {
          errors.push({ text: `option requires an argument -- '${letter}'` });
        }
        return;
      }
    }
  }
}

type LongMatch =
  | { readonly spec: OptionSpec; readonly long: string }
  | { readonly error: (word: string) => UsageError };

/** A whole name wins over abbreviations; names of one option are never ambiguous among themselves. */
function matchLongName(table: readonly OptionSpec[], name: string): LongMatch {
  const wanted = name.toLowerCase();
  const abbreviated = new Map<OptionSpec, string>();
  for (const spec of table) {
    for (const long of longNames(spec)) {
      const lower = long.toLowerCase();
      if (lower === wanted) return { spec, long };
      const abbreviable = !spec.own && !spec.oldNames?.includes(long);
      if (lower.startsWith(wanted) && abbreviable && !abbreviated.has(spec)) {
        abbreviated.set(spec, long);
      }
    }
  }
  const matches = [...abbreviated];
  const only = matches[0];
  if (only !== undefined && matches.length === 1) return { spec: only[0], long: only[1] };
  if (only !== undefined) {
    const possibilities = matches.map(([, long]) => `'--${long}'`).join(" ");
    return {
      error: (word) => ({
        text: `option '${word}' is ambiguous; possibilities: ${possibilities}`,
      }),
    };
  }
  const similar = nearest(table.filter((spec) => !spec.hidden).flatMap(longNames), wanted);
  return {
    error: (word) => ({
      text: `unrecognized option '${word}'`,
      ...(similar === null ? {} : { hint: `did you mean '--${similar}'?` }),
    }),
  };
}

function longNames(spec: OptionSpec): readonly string[] {
  return [spec.long, ...spec.aliases ?? [], ...spec.oldNames ?? []];
}
