// fwknopd.conf: the main file, its overrides, the command line and the defaults to one typed
// configuration, with everything that is wrong or without effect.

import { ACCESS_VARIABLES } from "./conf_access_variables.ts";
import { queueFaults, uselessSources } from "./conf_capture.ts";
import { parseFirewallType } from "./conf_firewall.ts";
import { checkIpfwSet, checkOwners, settleFirewall } from "./conf_firewall_settle.ts";
import {
  defaultText,
  effectiveTexts,
  expandSettings,
  type ServerTexts,
} from "./conf_fwknopd_expand.ts";
import {
  FORMER_SERVER_NAMES,
  isServerVariable,
  type LogFormat,
  SERVER_VARIABLES,
  type ServerConfig,
  type ServerVariable,
  type ServerVariableName,
  serverVariableNames,
  type SyslogFacility,
} from "./conf_fwknopd_variables.ts";
import { parseHiddenPorts, parseNftChains, parseNftMark } from "./conf_nftables.ts";
import { errorAt, type Place, type Problem, sortProblems, warningAt } from "./conf_problem.ts";
import {
  faultAt,
  looseNumber,
  nameHint,
  type ReadText,
  type Setting,
  shownName,
  valuePlace,
} from "./conf_text.ts";
import { isUci, parseConfigFile } from "./conf_uci.ts";
import { numberInFront, parseChainSpec, parseFlag, parseWholeNumber } from "./conf_values.ts";
import { parseIpv4 } from "./net_address.ts";
import { failed, type Parsed, splitList } from "./net_list.ts";

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
  const files = [source.path];
  const written = readFiles(source, files, problems);
  const commandLine = Object.entries(source.commandLine ?? {}).map(([name, value]) =>
    commandLineSetting(name, value)
  );
  const settings = new Map<ServerVariableName, Setting>();
  const expanded = expandSettings(written, source.defaults ?? {}, problems);
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
    ...crossChecks(config, settings),
    ...firewallChecks(config, settings),
    ...checkIpfwSet(config, settings),
    ...checkOwners(config, settings, isDefault),
  );
  for (const [name, setting] of settings) {
    if (faulty.has(name)) continue;
    const warning = isDefault(name) ? null : effectWarning(name, setting, source.verbose ?? false);
    if (warning !== null) problems.push(warning);
  }
  return { config, texts, settings, problems: sortProblems(problems, files) };
}

function commandLineSetting(name: string, value: string): Setting {
  const place = { file: "command line", line: 0, column: 0 };
  return { name, value, place, valueColumn: 0, trailingBlanks: false };
}

function put(settings: Map<ServerVariableName, Setting>, setting: Setting): void {
  if (!isServerVariable(setting.name)) return;
  settings.delete(setting.name);
  settings.set(setting.name, setting);
}

/** The known settings of all files in reading order; adds the override files to `files`. */
function readFiles(source: ServerConfigSource, files: string[], problems: Problem[]): Setting[] {
  const settings = readFile(source.path, source, null, problems);
  const named = settings.findLast((setting) => setting.name === "OVERRIDE_CONFIG");
  const list = source.commandLine?.OVERRIDE_CONFIG ?? named?.value ?? "";
  const fromLine = source.commandLine?.OVERRIDE_CONFIG === undefined ? named : undefined;
  for (const { text: path, offset } of splitList(list)) {
    if (path === "") continue;
    files.push(path);
    const place = fromLine === undefined ? null : valuePlace(fromLine, offset);
    const more = readFile(path, source, place, problems);
    for (const setting of more.filter(({ name }) => name === "OVERRIDE_CONFIG")) {
      const why = "OVERRIDE_CONFIG has no effect in an override file";
      problems.push(warningAt(setting.place, why, `name the files in ${source.path}`));
    }
    settings.push(...more);
  }
  return settings;
}

function readFile(
  path: string,
  source: ServerConfigSource,
  namedAt: Place | null,
  problems: Problem[],
): Setting[] {
  const file = source.readText(path);
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

/** With ENABLE_STRICT_NUMBERS N, numbers are what fwknopd makes of their texts. */
function loosenNumbers(
  texts: Map<ServerVariableName, string>,
  settings: ReadonlyMap<ServerVariableName, Setting>,
  problems: Problem[],
): void {
  const strict = parseFlag(texts.get("ENABLE_STRICT_NUMBERS") ?? "Y");
  if (!strict.ok || strict.value) return;
  for (const [name, setting] of settings) {
    const number = SERVER_VARIABLES[name].kind === "number" ? numberInFront(setting.value) : null;
    if (number === null) continue;
    texts.set(name, number);
    problems.push(looseNumber(setting, number));
  }
}

type Value = ServerConfig[ServerVariableName];

/** Types the texts; `faulty` are the variables whose setting is an error. */
function typedConfig(
  texts: ReadonlyMap<ServerVariableName, string>,
  settings: ReadonlyMap<ServerVariableName, Setting>,
  defaults: ServerTexts,
  problems: Problem[],
): { config: ServerConfig; faulty: ReadonlySet<ServerVariableName> } {
  const faulty = new Set<ServerVariableName>();
  const values = serverVariableNames().map((name): [ServerVariableName, Value] => {
    const text = texts.get(name);
    if (text === undefined) return [name, unsetValue(name)];
    const parsed = parseValue(name, text);
    if (parsed.ok) return [name, parsed.value];
    faulty.add(name);
    problems.push(faultAt(settings.get(name) ?? commandLineSetting(name, text), parsed.fault));
    return [name, initialValue(name, settings, defaults)];
  });
  // Each value has the type of its row's kind, which is what ServerConfig says.
  return { config: Object.fromEntries(values) as unknown as ServerConfig, faulty };
}

function unsetValue(name: ServerVariableName): Value {
  return SERVER_VARIABLES[name].kind === "flag" ? false : null;
}

/** The value the variable would have if it were not set. */
function initialValue(
  name: ServerVariableName,
  settings: ReadonlyMap<ServerVariableName, Setting>,
  defaults: ServerTexts,
): Value {
  const isSet = (other: string): string | undefined =>
    isServerVariable(other) && other !== name ? settings.get(other)?.value : undefined;
  const text = defaultText(name, isSet, defaults);
  const parsed = text === undefined ? null : parseValue(name, text);
  return parsed?.ok ? parsed.value : unsetValue(name);
}

function parseValue(name: ServerVariableName, text: string): Parsed<Value> {
  const row: ServerVariable = SERVER_VARIABLES[name];
  switch (row.kind) {
    case "flag": {
      const parsed = parseFlag(text);
      if (parsed.ok) return parsed;
      return failed(0, parsed.fault.value, `${name} is ${parsed.fault.why}`, parsed.fault.hint);
    }
    case "number": {
      const outside = row.high === Infinity
        ? `${name} value '${text}' not in the range (>0)`
        : `var ${name} value '${text}' not in the range ${row.low}-${row.high}`;
      return parseWholeNumber(text, row.low, row.high, outside);
    }
    case "chain":
      return parseChainSpec(name, text);
    case "facility":
      return parseFacility(text);
    case "log-format":
      return parseLogFormat(text);
    case "firewall-type":
      return parseFirewallType(text);
    case "nft-chains":
      return parseNftChains(text);
    case "nft-mark":
      return parseNftMark(text);
    case "hidden-ports":
      return parseHiddenPorts(text);
    case "absolute":
      if (text.startsWith("/")) return { ok: true, value: text };
      return failed(0, text, `Path '${text}' is not absolute`, "write a path that starts with /");
    case "text":
      return { ok: true, value: text };
  }
}

function parseFacility(text: string): Parsed<SyslogFacility> {
  const word = text.toUpperCase();
  if (/^LOG_(?:DAEMON|LOCAL[0-7])$/.test(word)) return { ok: true, value: word as SyslogFacility };
  const why = `Invalid SYSLOG_FACILITY setting '${text}'`;
  return failed(0, text, why, "write LOG_DAEMON or LOG_LOCAL0 to LOG_LOCAL7");
}

function parseLogFormat(text: string): Parsed<LogFormat> {
  const word = text.toLowerCase();
  if (word === "text" || word === "json") return { ok: true, value: word };
  return failed(0, text, `Invalid LOG_FORMAT setting '${text}'`, "write text or json");
}

/** What single variables cannot tell. */
function crossChecks(
  config: ServerConfig,
  settings: ReadonlyMap<ServerVariableName, Setting>,
): Problem[] {
  const problems: Problem[] = [];
  const at = (name: ServerVariableName): Setting =>
    settings.get(name) ?? commandLineSetting(name, "");
  const snat = (["ENABLE_IPT_SNAT", "ENABLE_FIREWD_SNAT"] as const).some((name) => config[name]);
  const address = config.SNAT_TRANSLATE_IP;
  if (snat && address !== null && parseIpv4(address) === null) {
    const why = "Invalid IPv4 addr for SNAT_TRANSLATE_IP";
    const hint =
      "write the IPv4 address that inner hosts should see, or leave it out to masquerade";
    problems.push(faultAt(at("SNAT_TRANSLATE_IP"), failed(0, address, why, hint).fault));
  }
  const { IPFW_ACTIVE_SET_NUM: active, IPFW_EXPIRE_SET_NUM: expired } = config;
  if (active > 0 && active === expired) {
    const name = settings.has("IPFW_EXPIRE_SET_NUM")
      ? "IPFW_EXPIRE_SET_NUM"
      : "IPFW_ACTIVE_SET_NUM";
    const why = "Cannot set identical ipfw active and expire sets";
    problems.push(faultAt(at(name), failed(0, String(active), why, "use two set numbers").fault));
  }
  for (const { name, fault } of queueFaults(config)) problems.push(faultAt(at(name), fault));
  for (const { name, because } of uselessSources(config)) {
    problems.push(warningAt(at(name).place, `${name} has no effect with ${because}`));
  }
  return problems;
}

/** Settings of one firewall that the other has no use for, and those that contradict each other. */
function firewallChecks(
  config: ServerConfig,
  settings: ReadonlyMap<ServerVariableName, Setting>,
): Problem[] {
  const problems: Problem[] = [];
  const warn = (name: ServerVariableName, why: string): void => {
    const setting = settings.get(name);
    if (setting !== undefined) problems.push(warningAt(setting.place, `${name} ${why}`));
  };
  const type = config.FIREWALL_TYPE;
  const placements = ([
    ["NFT_ATTACH", config.NFT_ATTACH !== null],
    ["NFT_MARK", config.NFT_MARK !== null],
    ["ENABLE_DEFAULT_DROP", config.ENABLE_DEFAULT_DROP.length > 0],
  ] as const).flatMap(([name, isSet]) => isSet ? [name] : []);
  if (type !== "nftables" && type !== "auto") {
    for (const name of placements) warn(name, "has no effect without FIREWALL_TYPE nftables");
    return problems;
  }
  const [first, second] = placements;
  const contradicting = second === undefined ? undefined : settings.get(second);
  if (contradicting !== undefined) {
    const why = `${first} and ${second} cannot both be set`;
    problems.push(errorAt(contradicting.place, why, "choose one place for grants"));
  }
  if (type === "nftables") {
    for (const name of ONLY_IPTABLES) {
      if (config[name] !== true) warn(name, "has no effect with FIREWALL_TYPE nftables");
    }
    if (config.ENABLE_DOCKER) warn("ENABLE_DOCKER", "has no effect with FIREWALL_TYPE nftables");
  }
  return problems;
}

/** What only iptables has: its program and chains, and grants that are wider or last longer. */
const ONLY_IPTABLES = [
  "FIREWALL_EXE",
  "IPT_INPUT_ACCESS",
  "IPT_OUTPUT_ACCESS",
  "IPT_FORWARD_ACCESS",
  "IPT_DNAT_ACCESS",
  "IPT_SNAT_ACCESS",
  "IPT_MASQUERADE_ACCESS",
  "ENABLE_FORWARD_DESTINATION",
  "ENABLE_STRICT_SNAT",
  "ENABLE_RULE_RENEWAL",
  "ENABLE_KERNEL_EXPIRY",
] as const;

/** What to say of a setting that differs from its default but does nothing; null if it works. */
function effectWarning(
  name: ServerVariableName,
  setting: Setting,
  verbose: boolean,
): Problem | null {
  const { effect } = SERVER_VARIABLES[name];
  if (effect === "works" || (effect === "unneeded" && !verbose)) return null;
  return warningAt(setting.place, `${name} ${EFFECT_TEXTS[effect]}`);
}

const EFFECT_TEXTS = {
  unneeded: "has no effect: nothing here needs it",
  useless: "has no effect, here as in fwknopd",
} as const;
