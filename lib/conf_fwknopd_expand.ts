// References to variables in fwknopd.conf, as in `DIGEST_FILE $FWKNOP_RUN_DIR/digest.cache`, and the
// defaults, some of which are such references.

import {
  isServerVariable,
  SERVER_VARIABLES,
  type ServerVariableName,
  serverVariableNames,
} from "./conf_fwknopd_variables.ts";
import { errorAt, type Problem, warningAt } from "./conf_problem.ts";
import { type Setting, valuePlace } from "./conf_text.ts";

/** Texts for some of the variables. */
export type ServerTexts = Readonly<Partial<Record<ServerVariableName, string>>>;

/**
 * Replaces `$NAME` at the start of values by that variable's value: the one set before it, else the
 * one set later, else the default. A setting whose reference has no value is an error and left out.
 */
export function expandSettings(
  settings: readonly Setting[],
  defaults: ServerTexts,
  problems: Problem[],
): Setting[] {
  const sofar = new Map<string, string>();
  const expanded: Setting[] = [];
  for (const [index, setting] of settings.entries()) {
    if (setting.value.indexOf("$") > 0) {
      const why = `'$' is a plain character in the middle of ${setting.name}`;
      problems.push(warningAt(valuePlace(setting, setting.value.indexOf("$")), why));
    }
    const value = expand(setting.value, (name) => {
      const earlier = sofar.get(name);
      if (earlier !== undefined) return earlier;
      const later = settings.slice(index).findLast((other) => other.name === name)?.value;
      if (later !== undefined) return later.startsWith("$") ? undefined : later;
      return defaultText(name, (other) => sofar.get(other), defaults);
    });
    if (value === null) {
      const why = `Invalid embedded variable in: '${setting.value}'`;
      const hint = "name a variable of this file that has a value and stands above";
      problems.push(errorAt(valuePlace(setting), why, hint));
      continue;
    }
    sofar.set(setting.name, value);
    expanded.push({ ...setting, value });
  }
  return expanded;
}

/** The value with a `$NAME` in front replaced; null when there is no such value. */
function expand(value: string, lookUp: (name: string) => string | undefined): string | null {
  const reference = /^\$([A-Z_]*)/.exec(value);
  if (reference === null) return value;
  const found = lookUp(reference[1] ?? "");
  return found === undefined ? null : found + value.slice(reference[0].length);
}

/** A variable's default text, with the `$NAME` in it replaced by what is set or again by a default. */
export function defaultText(
  name: string,
  isSet: (name: string) => string | undefined,
  defaults: ServerTexts,
): string | undefined {
  if (!isServerVariable(name)) return undefined;
  const initial = defaults[name] ?? SERVER_VARIABLES[name].initial;
  if (initial === null) return undefined;
  const value = expand(
    initial,
    (other) => other === name ? undefined : isSet(other) ?? defaultText(other, isSet, defaults),
  );
  return value ?? undefined;
}

/** The text of each variable that is set or has a default. */
export function effectiveTexts(
  settings: ReadonlyMap<ServerVariableName, Setting>,
  defaults: ServerTexts,
): Map<ServerVariableName, string> {
  const isSet = (name: string): string | undefined =>
    isServerVariable(name) ? settings.get(name)?.value : undefined;
  const texts = new Map<ServerVariableName, string>();
  for (const name of serverVariableNames()) {
    const text = isSet(name) ?? defaultText(name, isSet, defaults);
    if (text !== undefined) texts.set(name, text);
  }
  const replayed = settings.has("PCAP_FILE") && !settings.has("ENABLE_SPA_PACKET_AGING");
  if (replayed) texts.set("ENABLE_SPA_PACKET_AGING", "N");
  return texts;
}
