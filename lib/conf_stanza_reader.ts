// Reading one stanza's settings: typed values out, problems gathered with their places.

import type { RawStanza } from "./conf_access_files.ts";
import type { AccessVariableName } from "./conf_access_variables.ts";
import { errorAt, type Problem, warningAt } from "./conf_problem.ts";
import { faultAt, type Setting } from "./conf_text.ts";
import { parseFlag } from "./conf_values.ts";
import type { Parsed } from "./net_list.ts";

/** What the system knows; the functions do not throw. */
export interface AccessLookups {
  /** A user's ids, or null when there is none of that name. */
  readonly user: (name: string) => { readonly uid: number; readonly gid: number } | null;
  /** A group's id, or null when there is none of that name. */
  readonly group: (name: string) => { readonly gid: number } | null;
  /** Whether the path is a directory and no symbolic link. */
  readonly isDirectory: (path: string) => boolean;
  /** Whether the path is a file that may be executed. */
  readonly isProgram: (path: string) => boolean;
}

/** A stanza being read. */
export interface StanzaReader {
  /** Its SOURCE line. */
  readonly source: Setting;
  /** The value of SOURCE, by which fwknopd's messages name a stanza. */
  readonly title: string;
  /** The stanza as fwknopd's warnings name it: `stanza source: 'ANY' (#1)`. */
  readonly tag: string;
  /** The same at the end of a message: `(stanza source: 'ANY' #1)`. */
  readonly endTag: string;
  /** Everything found so far. */
  readonly problems: Problem[];
  readonly settings: ReadonlyMap<AccessVariableName, Setting>;
  /** The value as it is written, or null when it is not set. */
  text(name: AccessVariableName): string | null;
  /** The typed value; null when it is not set, or wrong and thus a problem. */
  read<T>(
    name: AccessVariableName,
    parse: (text: string) => Parsed<T>,
    context?: string,
  ): T | null;
  /** Y or N; false when it is not set. */
  flag(name: AccessVariableName): boolean;
  /** Whichever of two variables was set last, or null when neither is. */
  latest(one: AccessVariableName, other: AccessVariableName): Setting | null;
  /** Adds an error at a setting. */
  fail(setting: Setting, message: string, hint?: string): void;
  /** Adds a warning at a setting. */
  warn(setting: Setting, message: string, hint?: string): void;
}

/**
 * A reader of a stanza.
 *
 * @param number the stanza's place in the order of all, from 1
 */
export function createStanzaReader(raw: RawStanza, number: number): StanzaReader {
  const { source, settings } = raw;
  const problems: Problem[] = [];
  const reader: StanzaReader = {
    source,
    title: source.value,
    tag: `stanza source: '${source.value}' (#${number})`,
    endTag: `(stanza source: '${source.value}' #${number})`,
    problems,
    settings,
    text: (name) => settings.get(name)?.value ?? null,
    read: (name, parse, context = "") => {
      const setting = settings.get(name);
      if (setting === undefined) return null;
      const parsed = parse(setting.value);
      if (parsed.ok) return parsed.value;
      problems.push(faultAt(setting, parsed.fault, context));
      return null;
    },
    flag: (name) => reader.read(name, parseFlag, `${name} is `) ?? false,
    latest: (one, other) => {
      const name = [...settings.keys()].findLast((each) => each === one || each === other);
      return name === undefined ? null : settings.get(name) ?? null;
    },
    fail: (setting, message, hint) => {
      problems.push(errorAt(setting.place, message, hint ?? null));
    },
    warn: (setting, message, hint) => {
      problems.push(warningAt(setting.place, message, hint ?? null));
    },
  };
  return reader;
}
