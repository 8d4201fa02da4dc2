// The files of access.conf: include directives, folders and key files, to stanzas of untyped
// settings in the order in which they are tried.

import {
  ACCESS_VARIABLES,
  type AccessVariableName,
  accessVariableNames,
  isAccessVariable,
} from "./conf_access_variables.ts";
import { isServerVariable } from "./conf_fwknopd_variables.ts";
import { errorAt, type Place, type Problem, warningAt } from "./conf_problem.ts";
import {
  nameHint,
  parseConfigLines,
  type ReadText,
  type Setting,
  shownName,
  valuePlace,
} from "./conf_text.ts";
import { parseConfigFile } from "./conf_uci.ts";

/** The names in a directory, or the system's wording of why there are none. */
export type DirectoryNames =
  | { readonly ok: true; readonly names: readonly string[] }
  | { readonly ok: false; readonly reason: string };

/** How the files are reached; neither function throws. */
export interface AccessFiles {
  readonly readText: ReadText;
  readonly listDirectory: (path: string) => DirectoryNames;
}

/** A stanza as it is written. */
export interface RawStanza {
  /** The SOURCE line that starts it. */
  readonly source: Setting;
  /** The last setting of each variable, SOURCE included, in the order of their lines. */
  readonly settings: ReadonlyMap<AccessVariableName, Setting>;
}

/** The stanzas of all files. */
export interface AccessReading {
  readonly stanzas: readonly RawStanza[];
  /** Every file that was to be read, in reading order. */
  readonly files: readonly string[];
  readonly problems: readonly Problem[];
}

/** fwknopd's limit: the first file, one that it includes, and one that that one includes. */
const DEEPEST_INCLUDE = 3;
const DIRECTIVES = ["%include", "%include_folder", "%include_keys"];

interface OpenStanza extends RawStanza {
  readonly settings: Map<AccessVariableName, Setting>;
}

interface Progress {
  readonly access: AccessFiles;
  readonly stanzas: OpenStanza[];
  readonly files: string[];
  readonly problems: Problem[];
}

/**
 * Reads a file, or every `.conf` file of a folder, with all they include. Never throws.
 *
 * @param folder read instead of the file when it is not null
 */
export function readAccessFiles(
  path: string,
  folder: string | null,
  access: AccessFiles,
): AccessReading {
  const progress: Progress = { access, stanzas: [], files: [], problems: [] };
  if (folder === null) {
    readFile(path, [], null, progress);
  } else {
    readFolder(folder, [], null, progress);
  }
  const { stanzas, files, problems } = progress;
  if (stanzas.length === 0 && problems.every(({ severity }) => severity !== "error")) {
    const message = folder === null
      ? `Could not find valid SOURCE stanza in access file: '${path}'`
      : `Fatal, could not find any valid access.conf stanzas in '${folder}'`;
    const place = { file: folder ?? path, line: 0, column: 0 };
    problems.push(errorAt(place, message, "start a stanza with a line such as SOURCE ANY"));
  }
  return { stanzas, files, problems };
}

/** @param above the files that lead here, outermost first */
function readFile(
  path: string,
  above: readonly string[],
  namedAt: Place | null,
  progress: Progress,
): void {
  const { problems, files, access } = progress;
  const place = namedAt ?? { file: path, line: 0, column: 0 };
  if (above.length >= DEEPEST_INCLUDE) {
    const message =
      `Refusing to go deeper than ${DEEPEST_INCLUDE} levels. Lost in Limbo: '${path}'`;
    const hint = above.includes(path)
      ? "the file includes itself"
      : "include the file from one that stands higher";
    problems.push(errorAt(place, message, hint));
    return;
  }
  files.push(path);
  const file = access.readText(path);
  if (!file.ok) {
    problems.push(errorAt(place, `Could not open access file: ${path}: ${file.reason}`));
    return;
  }
  let current: OpenStanza | null = null;
  for (const line of parseConfigFile(file.text, path, "access")) {
    if (line.kind === "problem") {
      problems.push(line.problem);
      continue;
    }
    if (line.kind === "malformed") {
      problems.push(malformedEntry(line.place, line.word));
      continue;
    }
    const { setting } = line;
    const name = setting.name.replace(/:$/, "");
    if (name === "SOURCE") {
      current = { source: setting, settings: new Map([["SOURCE", setting]]) };
      progress.stanzas.push(current);
    } else if (name === "%include") {
      readFile(setting.value, [...above, path], valuePlace(setting), progress);
    } else if (name === "%include_folder") {
      readFolder(setting.value, [...above, path], valuePlace(setting), progress);
    } else if (current === null) {
      problems.push(beforeFirstSource(setting, name));
    } else if (name === "%include_keys") {
      readKeyFile(setting, current, progress);
    } else if (isAccessVariable(name)) {
      putSetting(current, name, setting, problems);
    } else {
      const message = `Ignoring unknown access parameter: '${
        shownName(name)
      }' in ${setting.place.file}`;
      problems.push(warningAt(setting.place, message, hintForUnknown(name)));
    }
  }
}

/** Reads a folder's `.conf` files in the order of their names; hidden ones are left out. */
function readFolder(
  folder: string,
  above: readonly string[],
  namedAt: Place | null,
  progress: Progress,
): void {
  const path = folder.length > 1 ? folder.replace(/\/$/, "") : folder;
  const listed = progress.access.listDirectory(path);
  if (!listed.ok) {
    const message = `Invalid access folder directory '${path}': ${listed.reason}`;
    progress.problems.push(errorAt(namedAt ?? { file: path, line: 0, column: 0 }, message));
    return;
  }
  const names = listed.names.filter((name) => name.endsWith(".conf") && !name.startsWith("."));
  for (const name of names.sort()) {
    readFile(path === "/" ? `/${name}` : `${path}/${name}`, above, namedAt, progress);
  }
}

/** Adds the keys of a file to a stanza. A bad key file is an error, never a stanza silently lost. */
function readKeyFile(directive: Setting, stanza: OpenStanza, progress: Progress): void {
  const path = directive.value;
  const { problems } = progress;
  progress.files.push(path);
  const failure = `Data error in included keyfile: '${path}', skipping stanza`;
  const file = progress.access.readText(path);
  if (!file.ok) {
    problems.push(errorAt(valuePlace(directive), `${failure}: ${file.reason}`));
    return;
  }
  let keys = 0;
  for (const line of parseConfigLines(file.text, path)) {
    if (line.kind === "malformed") {
      problems.push(malformedEntry(line.place, line.word));
      continue;
    }
    const name = line.setting.name.replace(/:$/, "");
    if (isAccessVariable(name) && ACCESS_VARIABLES[name].inKeyFile) {
      putSetting(stanza, name, line.setting, problems);
      keys++;
      continue;
    }
    const message = `Ignoring invalid entry: '${shownName(name)}' in key file ${path}`;
    const hint = isAccessVariable(name) ? `write ${name} in ${directive.place.file}` : null;
    problems.push(warningAt(line.setting.place, message, hint));
  }
  if (keys === 0) {
    problems.push(errorAt(valuePlace(directive), `${failure}: it holds no key`));
  }
}

function putSetting(
  stanza: OpenStanza,
  name: AccessVariableName,
  setting: Setting,
  problems: Problem[],
): void {
  const earlier = stanza.settings.get(name);
  if (earlier !== undefined && earlier.value !== setting.value) {
    const { file, line } = earlier.place;
    problems.push(warningAt(setting.place, `${name} replaces the one in ${file} line ${line}`));
  }
  // Taken out first, so that the map's order tells which of two variables was set last.
  stanza.settings.delete(name);
  stanza.settings.set(name, { ...setting, name });
}

/** The line itself is not shown: it may hold a key. */
function malformedEntry(place: Place, word: string): Problem {
  const name = word.replace(/:$/, "");
  const known = isAccessVariable(name) || DIRECTIVES.includes(name);
  const message = `Invalid access file entry in ${place.file} at line ${place.line}`;
  return known
    ? errorAt(place, `${message}: ${name} has no value`, `write ${name} VALUE`)
    : errorAt(place, `${message}: not NAME VALUE`, "start a comment with #");
}

function beforeFirstSource(setting: Setting, name: string): Problem {
  const message = `'${shownName(name)}' stands before the first SOURCE and is ignored`;
  return warningAt(setting.place, message, "start the stanza with its SOURCE line");
}

function hintForUnknown(name: string): string | null {
  if (name === "DIGEST_TYPE") return "the client chooses the digest; leave the variable out";
  if (isServerVariable(name)) return `${name} belongs in fwknopd.conf`;
  return nameHint([...accessVariableNames(), ...DIRECTIVES], name);
}
