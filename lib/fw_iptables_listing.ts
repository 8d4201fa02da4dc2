// What `iptables -S` prints, read: the rules of a chain with their fields and ends, and the form
// of a rule by which two spellings of it can be told to be the same.

import type { FirewallRule, ListedRule } from "./fw_firewall.ts";
import { PROTOCOL_NUMBERS } from "./net_port.ts";

/** A rule taken apart: option and values, in the order they stand; `!` leads a negated value. */
type Options = readonly (readonly [option: string, value: string])[];

/**
 * The rules of one chain in the output of `iptables -S` (iptables(8)), which may hold other
 * chains, policies and comments too.
 *
 * @param text standard output
 */
export function parseRules(text: string, table: string, chain: string): ListedRule[] {
  const rules: ListedRule[] = [];
  const lead = `-A ${chain} `;
  for (const line of text.split("\n")) {
    if (!line.startsWith(lead)) continue;
    rules.push(listedRule(line.slice(lead.length).trim(), table, chain, rules.length + 1));
  }
  return rules;
}

/** How often a chain jumps to another without any condition, in the output of `iptables -S`. */
export function countJumps(text: string, from: string, to: string): number {
  return text.split("\n").filter((line) => line.trimEnd() === `-A ${from} -j ${to}`).length;
}

/**
 * One spelling for all spellings of a rule: `-p 6 -s 192.0.2.1 -d 0.0.0.0/0 --dport 22` is what
 * iptables prints as `-s 192.0.2.1/32 -p tcp -m tcp --dport 22`.
 *
 * @param text what follows the chain's name
 */
export function canonicalRule(text: string): string {
  return canonical(splitOptions(text));
}

/**
 * What a rule opens, whenever it ends and wherever it leads: its {@linkcode canonicalRule} without
 * the comment and the match that say when, and without the address that NAT puts in.
 *
 * @param text what follows the chain's name
 * @returns also that address, and perhaps a port
 */
export function rulePurpose(text: string): Pick<FirewallRule, "purpose" | "leadsTo"> {
  const options = splitOptions(text);
  const leadsTo = options.find(([option]) => TRANSLATIONS.includes(option))?.[1];
  const purpose = canonical(
    options.filter(([option, value]) =>
      option !== "--comment" && option !== "--datestop" && !TRANSLATIONS.includes(option) &&
      !(option === "-m" && (value === "comment" || value === "time"))
    ),
  );
  return { purpose, ...(leadsTo === undefined ? {} : { leadsTo }) };
}

const TRANSLATIONS: readonly string[] = ["--to-destination", "--to-source"];

function canonical(options: Options): string {
  const protocol = valueOf(options, "-p");
  return options
    .filter(([option, value]) => !(option === "-m" && value === protocol))
    .filter(([option, value]) => !((option === "-s" || option === "-d") && isAnywhere(value)))
    .map(([option, value]) => `${option} ${value}`)
    .sort()
    .join(" ");
}

function isAnywhere(network: string): boolean {
  return network === "0.0.0.0/0" || network === "::/0";
}

/** Splits at blanks; iptables(8) puts values that have blanks or quotes in them in double quotes. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  for (const match of text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
    words.push(match[1]?.replace(/\\(.)/g, "$1") ?? match[2] ?? "");
  }
  return words;
}

function listedRule(text: string, table: string, chain: string, number: number): ListedRule {
  const options = splitOptions(text);
  const end = /_exp_(\d{1,11})(?!\d)/.exec(valueOf(options, "--comment") ?? "");
  return {
    table,
    chain,
    number,
    target: valueOf(options, "-j"),
    protocol: valueOf(options, "-p"),
    source: valueOf(options, "-s"),
    destination: valueOf(options, "-d"),
    sourcePort: portOf(options, "--sport"),
    destinationPort: portOf(options, "--dport") ?? portOf(options, "--ctorigdstport"),
    expires: end === null ? null : Number(end[1]),
    text,
    endsByItself: valueOf(options, "--datestop") !== null,
  };
}

function splitOptions(text: string): Options {
  const options: [string, string][] = [];
  let negated = false;
  for (const word of splitWords(text)) {
    const last = options.at(-1);
    if (word === "!") {
      negated = true;
    } else if (word.startsWith("-")) {
      options.push([word, negated ? "!" : ""]);
      negated = false;
    } else if (last !== undefined) {
      last[1] = last[1] === "" || last[1] === "!" ? last[1] + word : `${last[1]} ${word}`;
    }
  }
  return options.map(([option, value]) => [option, plainValue(option, value)]);
}

/** Protocols by name and single hosts without their mask, as people write them. */
function plainValue(option: string, value: string): string {
  if (option === "-s" || option === "-d") {
    return value.replace(value.includes(":") ? /\/128$/ : /\/32$/, "");
  }
  if (option !== "-p") return value;
  const named = Object.entries(PROTOCOL_NUMBERS).find(([, number]) => String(number) === value);
  return named?.[0] ?? value;
}

function valueOf(options: Options, wanted: string): string | null {
  return options.find(([option]) => option === wanted)?.[1] ?? null;
}

function portOf(options: Options, option: string): number | null {
  const value = valueOf(options, option);
  return value !== null && /^\d+$/.test(value) ? Number(value) : null;
}
