// One stanza's settings to a checked stanza: addresses, ports, times, and the parts put together.

import type { RawStanza } from "./conf_access_files.ts";
import { ACCESS_VARIABLES, type AccessVariableName } from "./conf_access_variables.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { hasErrors, type Problem } from "./conf_problem.ts";
import type { Stanza } from "./conf_stanza.ts";
import { readCommands, readNat } from "./conf_stanza_commands.ts";
import { checkKeys, readGpg, readKeys } from "./conf_stanza_keys.ts";
import { type AccessLookups, createStanzaReader, type StanzaReader } from "./conf_stanza_reader.ts";
import { parseDay, parseEpoch, parseSeconds } from "./conf_stanza_values.ts";
import { looseNumber } from "./conf_text.ts";
import { numberInFront } from "./conf_values.ts";
import { parseAddressList } from "./net_address.ts";
import { parsePortList } from "./net_port.ts";

/** fwknop's default for FW_ACCESS_TIMEOUT, in seconds. */
const DEFAULT_TIMEOUT = 30;
/** fwknop's default for MAX_FW_TIMEOUT, in seconds. */
const DEFAULT_LONGEST_TIMEOUT = 300;

/**
 * Checks a stanza.
 *
 * @param number its place in the order of all stanzas, from 1
 * @returns the stanza, or null when one of the problems is an error
 */
export function buildStanza(
  raw: RawStanza,
  number: number,
  config: ServerConfig,
  lookups: AccessLookups,
): { readonly stanza: Stanza | null; readonly problems: readonly Problem[] } {
  const loosened = config.ENABLE_STRICT_NUMBERS ? { raw, problems: [] } : loosenNumbers(raw);
  const reader = createStanzaReader(loosened.raw, number);
  reader.problems.push(...loosened.problems);
  const keys = readKeys(reader);
  const gpg = readGpg(reader, config, lookups);
  checkKeys(reader, { ...keys, ...gpg });
  const timeouts = readTimeouts(reader, config);
  const stanza: Stanza = {
    number,
    file: raw.source.place.file,
    line: raw.source.place.line,
    written: writtenTexts(reader),
    ...readTargets(reader),
    ...keys,
    ...timeouts,
    ...readRequirements(reader),
    ...readCommands(reader, timeouts.MAX_FW_TIMEOUT, config, lookups),
    ...readNat(reader, config),
    ...gpg,
  };
  return { stanza: hasErrors(reader.problems) ? null : stanza, problems: reader.problems };
}

const NUMBERS: readonly AccessVariableName[] = [
  "FW_ACCESS_TIMEOUT",
  "MAX_FW_TIMEOUT",
  "CMD_CYCLE_TIMER",
  "ACCESS_EXPIRE_EPOCH",
];

/** Numbers as fwknopd reads them, each with a warning. */
function loosenNumbers(
  raw: RawStanza,
): { readonly raw: RawStanza; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const settings = [...raw.settings].map(([name, setting]) => {
    const number = NUMBERS.includes(name) ? numberInFront(setting.value) : null;
    if (number === null) return [name, setting] as const;
    problems.push(looseNumber(setting, number));
    return [name, { ...setting, value: number }] as const;
  });
  return { raw: { ...raw, settings: new Map(settings) }, problems };
}

function writtenTexts(reader: StanzaReader): Stanza["written"] {
  const entries = [...reader.settings].map(([name, { value }]) =>
    [name, ACCESS_VARIABLES[name].secret ? "" : value] as const
  );
  return new Map(entries);
}

function readTargets(
  reader: StanzaReader,
): Pick<Stanza, "SOURCE" | "DESTINATION" | "OPEN_PORTS" | "RESTRICT_PORTS"> {
  const context = (name: string): string => `Fatal invalid ${name} in access stanza: `;
  const nobody = { any: false, ranges: [], text: reader.title };
  return {
    SOURCE: reader.read("SOURCE", parseAddressList, context("SOURCE")) ?? nobody,
    DESTINATION: reader.read("DESTINATION", parseAddressList, context("DESTINATION")),
    OPEN_PORTS: reader.read("OPEN_PORTS", parsePortList, context("OPEN_PORTS")),
    RESTRICT_PORTS: reader.read("RESTRICT_PORTS", parsePortList, context("RESTRICT_PORTS")),
  };
}

/** A MAX_FW_TIMEOUT that is set limits FW_ACCESS_TIMEOUT, as fwknopd says it does but does not. */
function readTimeouts(
  reader: StanzaReader,
  config: ServerConfig,
): Pick<Stanza, "FW_ACCESS_TIMEOUT" | "MAX_FW_TIMEOUT"> {
  const seconds = (name: "FW_ACCESS_TIMEOUT" | "MAX_FW_TIMEOUT"): number | null =>
    reader.read(name, (value) => parseSeconds(value, 0, `${name} value not in range`));
  const usual = seconds("FW_ACCESS_TIMEOUT") || DEFAULT_TIMEOUT;
  const longest = seconds("MAX_FW_TIMEOUT") || DEFAULT_LONGEST_TIMEOUT;
  const limit = reader.settings.get("MAX_FW_TIMEOUT");
  if (limit === undefined || longest >= usual) {
    return { FW_ACCESS_TIMEOUT: usual, MAX_FW_TIMEOUT: longest };
  }
  const message = "MAX_FW_TIMEOUT < FW_ACCESS_TIMEOUT, honoring MAX_FW_TIMEOUT for";
  if (!config.ENABLE_FW_TIMEOUT_LIMIT) {
    const hint = `access lasts ${usual} seconds all the same, since ENABLE_FW_TIMEOUT_LIMIT is N`;
    reader.warn(limit, `${message} ${reader.tag}`, hint);
    return { FW_ACCESS_TIMEOUT: usual, MAX_FW_TIMEOUT: longest };
  }
  const hint = `access lasts ${longest} seconds here; fwknopd gives ${usual} all the same`;
  reader.warn(limit, `${message} ${reader.tag}`, hint);
  return { FW_ACCESS_TIMEOUT: longest, MAX_FW_TIMEOUT: longest };
}

function readRequirements(
  reader: StanzaReader,
): Pick<Stanza, "REQUIRE_USERNAME" | "REQUIRE_SOURCE_ADDRESS" | "ACCESS_EXPIRE"> {
  const last = reader.latest("REQUIRE_SOURCE_ADDRESS", "REQUIRE_SOURCE")?.name;
  const long = reader.flag("REQUIRE_SOURCE_ADDRESS");
  const short = reader.flag("REQUIRE_SOURCE");
  const REQUIRE_SOURCE_ADDRESS = last === "REQUIRE_SOURCE" ? short : long;
  if (!REQUIRE_SOURCE_ADDRESS) {
    const message =
      `REQUIRE_SOURCE_ADDRESS not enabled for access stanza source: '${reader.title}'`;
    reader.warn(reader.source, message);
  }
  const expiry = reader.latest("ACCESS_EXPIRE", "ACCESS_EXPIRE_EPOCH")?.name;
  const day = reader.read("ACCESS_EXPIRE", parseDay);
  const epoch = reader.read("ACCESS_EXPIRE_EPOCH", parseEpoch);
  return {
    REQUIRE_USERNAME: reader.text("REQUIRE_USERNAME"),
    REQUIRE_SOURCE_ADDRESS,
    ACCESS_EXPIRE: (expiry === "ACCESS_EXPIRE" ? day : epoch) || null,
  };
}
