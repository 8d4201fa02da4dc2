// fwknopd.conf: the main file, its overrides, the command line and the defaults to one typed
// configuration, with everything that is wrong or without effect.

import { checkIpfwSet, checkOwners, settleFirewall } from "./conf_firewall_settle.ts";
import { checkCombinations, checkNftables, effectWarning } from "./conf_fwknopd_checks.ts";
import { effectiveTexts, expandSettings, type ServerTexts } from "./conf_fwknopd_expand.ts";
import { readServerFiles } from "./conf_fwknopd_files.ts";
import { initialValue, loosenNumbers, typedConfig } from "./conf_fwknopd_values.ts";
import {
  isServerVariable,
  type ServerConfig,
  type ServerVariableName,
} from "./conf_fwknopd_variables.ts";
import { type Problem, sortProblems } from "./conf_problem.ts";
import { commandLineSetting, type ReadText, type Setting } from "./conf_text.ts";
import { isUci } from "./conf_uci.ts";

/** Where a server's configuration comes from. */
export interface ServerConfigSource {
  /** The main file. */
  readonly path: string;
  /** Reads the main file and those that OVERRIDE_CONFIG names. */
  readonly readText: ReadText;
  /** Values of command line options; they beat every file. */
  readonly commandLine?: ServerTexts;
  /** Defaults that differ from those of the table. */
  readonly defaults?: ServerTexts;
  /** Also warn about settings that nothing here needs. */
  readonly verbose?: boolean;
}

/** A server's configuration and how it came about. */
export interface ServerConfigReading {
  /** Usable only when no problem is an error: a variable in error has its default. */
  readonly config: ServerConfig;
  /** The text of each variable that is set or has a default, `$NAME` replaced. */
  readonly texts: ReadonlyMap<ServerVariableName, string>;
  /** The variables that files or the command line set, and where; in order of their setting. */
  readonly settings: ReadonlyMap<ServerVariableName, Setting>;
  /** In the order of the files. */
  readonly problems: readonly Problem[];
}

/**
 * Reads the main file, then the files that OVERRIDE_CONFIG names; the last setting wins, and the
 * command line beats all. A value that starts with `$NAME` starts with that variable's value: the
 * one set before it, else the one set later, else the default. Never throws.
 */
export function parseServerConfig(source: ServerConfigSource): ServerConfigReading {
  const main = source.readText(source.path);
  if (!main.ok || !isUci(main.text)) return readServerConfig(source);
  // The stanzas are in the same file unless it says otherwise.
  const defaults = { ACCESS_FILE: source.path, ...source.defaults };
  return readServerConfig({ ...source, defaults });
}

function readServerConfig(source: ServerConfigSource): ServerConfigReading {
  const problems: Problem[] = [];
  const overrides = source.commandLine?.OVERRIDE_CONFIG;
  const written = readServerFiles(source.path, source.readText, overrides, problems);
  const commandLine = Object.entries(source.commandLine ?? {}).map(([name, value]) =>
    commandLineSetting(name, value)
  );
  const settings = new Map<ServerVariableName, Setting>();
  const expanded = expandSettings(written.settings, source.defaults ?? {}, problems);
  for (const setting of [...expanded, commandLineSetting("CONFIG_FILE", source.path)]) {
    put(settings, setting);
  }
  for (const setting of commandLine) put(settings, setting);

  const texts = effectiveTexts(settings, source.defaults ?? {});
  loosenNumbers(texts, settings, problems);
  const { config: typed, faulty } = typedConfig(texts, settings, source.defaults ?? {}, problems);
  const config = settleFirewall(typed, settings);
  texts.set("FIREWALL_EXE", config.FIREWALL_EXE);
  const isDefault = (name: ServerVariableName): boolean => {
    const initial = initialValue(name, settings, source.defaults ?? {});
    return JSON.stringify(typed[name]) === JSON.stringify(initial);
  };
  problems.push(
    ...checkCombinations(config, settings),
    ...checkNftables(config, settings),
    ...checkIpfwSet(config, settings),
    ...checkOwners(config, settings, isDefault),
  );
  for (const [name, setting] of settings) {
    if (faulty.has(name)) continue;
    const warning = isDefault(name) ? null : effectWarning(name, setting, source.verbose ?? false);
    if (warning !== null) problems.push(warning);
  }
  return { config, texts, settings, problems: sortProblems(problems, written.files) };
}

function put(settings: Map<ServerVariableName, Setting>, setting: Setting): void {
  if (!isServerVariable(setting.name)) return;
  settings.delete(setting.name);
  settings.set(setting.name, setting);
}
