// The files of a server's configuration, fwknopd.conf and its overrides, to the settings in them.

import { ACCESS_VARIABLES } from "./conf_access_variables.ts";
import {
  FORMER_SERVER_NAMES,
  isServerVariable,
  serverVariableNames,
} from "./conf_fwknopd_variables.ts";
import { errorAt, type Place, type Problem, warningAt } from "./conf_problem.ts";
import { nameHint, type ReadText, type Setting, shownName, valuePlace } from "./conf_text.ts";
import { parseConfigFile } from "./conf_uci.ts";
import { splitList } from "./net_list.ts";

/** What the files say. */
export interface WrittenSettings {
  /** Those of known variables, in reading order. */
  readonly settings: readonly Setting[];
  /** The names of the files, in reading order. */
  readonly files: readonly string[];
}

/**
 * Reads the main file, then those that OVERRIDE_CONFIG names; what is wrong in them goes to
 * `problems`.
 *
 * @param overrides OVERRIDE_CONFIG of the command line, which beats that of the file
 */
export function readServerFiles(
  main: string,
  readText: ReadText,
  overrides: string | undefined,
  problems: Problem[],
): WrittenSettings {
  const files = [main];
  const settings = readFile(main, readText, null, problems);
  const named = settings.findLast((setting) => setting.name === "OVERRIDE_CONFIG");
  const list = overrides ?? named?.value ?? "";
  const fromLine = overrides === undefined ? named : undefined;
  for (const { text: path, offset } of splitList(list)) {
    if (path === "") continue;
    files.push(path);
    const place = fromLine === undefined ? null : valuePlace(fromLine, offset);
    const more = readFile(path, readText, place, problems);
    for (const setting of more.filter(({ name }) => name === "OVERRIDE_CONFIG")) {
      const why = "OVERRIDE_CONFIG has no effect in an override file";
      problems.push(warningAt(setting.place, why, `name the files in ${main}`));
    }
    settings.push(...more);
  }
  return { settings, files };
}

function readFile(
  path: string,
  readText: ReadText,
  namedAt: Place | null,
  problems: Problem[],
): Setting[] {
  const file = readText(path);
  if (!file.ok) {
    const place = namedAt ?? { file: path, line: 0, column: 0 };
    problems.push(errorAt(place, `Could not open config file: ${path}: ${file.reason}`));
    return [];
  }
  const settings: Setting[] = [];
  for (const line of parseConfigFile(file.text, path, "config")) {
    if (line.kind === "problem") {
      problems.push(line.problem);
      continue;
    }
    if (line.kind === "setting") {
      const setting = knownSetting(line.setting, problems);
      if (setting !== null) settings.push(setting);
      continue;
    }
    const { place } = line;
    const message = `Invalid config file entry in ${path} at line ${place.line}`;
    problems.push(
      isServerVariable(line.word)
        ? errorAt(place, `${message}: ${line.word} has no value`, `write ${line.word} VALUE;`)
        : warningAt(place, `${message}: not NAME VALUE`, "start a comment with #"),
    );
  }
  return settings;
}

/** The setting if its variable exists; the Perl-era form `NAME: value` is understood. */
function knownSetting(setting: Setting, problems: Problem[]): Setting | null {
  const name = setting.name.replace(/:$/, "");
  if (!isServerVariable(name)) {
    const shown = shownName(setting.name);
    const message = `Ignoring unknown configuration parameter: '${shown}' in ${setting.place.file}`;
    problems.push(warningAt(setting.place, message, hintForUnknown(shown)));
    return null;
  }
  if (name === "CONFIG_FILE") {
    const hint = "name the file on the command line";
    problems.push(warningAt(setting.place, "CONFIG_FILE has no effect in a file", hint));
    return null;
  }
  if (setting.value === "=" || setting.value.startsWith("= ")) {
    const hint = `write ${name} ${setting.value.slice(1).trim() || "VALUE"};`;
    problems.push(errorAt(valuePlace(setting), 'cannot read "=": not part of a setting', hint));
    return null;
  }
  if (name !== setting.name) {
    const message =
      `'${setting.name}' is read as ${name}; fwknopd 2.6 ignores the form with a colon`;
    problems.push(warningAt(setting.place, message, `write ${name} ${setting.value};`));
  }
  return { ...setting, name };
}

function hintForUnknown(name: string): string | null {
  if (Object.hasOwn(FORMER_SERVER_NAMES, name)) return FORMER_SERVER_NAMES[name] ?? null;
  if (Object.hasOwn(ACCESS_VARIABLES, name)) return `${name} belongs in access.conf`;
  return nameHint(serverVariableNames(), name);
}
