// The texts of a server's variables to typed values, each by its row in the table of variables.

import { parseFirewallType } from "./conf_firewall.ts";
import { defaultText, type ServerTexts } from "./conf_fwknopd_expand.ts";
import {
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
import type { Problem } from "./conf_problem.ts";
import { commandLineSetting, faultAt, looseNumber, type Setting } from "./conf_text.ts";
import { numberInFront, parseChainSpec, parseFlag, parseWholeNumber } from "./conf_values.ts";
import { failed, type Parsed } from "./net_list.ts";

/** With ENABLE_STRICT_NUMBERS N, numbers are what fwknopd makes of their texts. */
export function loosenNumbers(
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
export function typedConfig(
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
export function initialValue(
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
