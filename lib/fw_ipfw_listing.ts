// What `ipfw list` prints, read (ipfw(8)): rules with their numbers and ends, and which numbers
// still have dynamic rules.

import type { ListedRule } from "./fw_firewall.ts";
import { PROTOCOL_NUMBERS } from "./net_port.ts";

/** A line of a listing: `# DISABLED ` may stand in front, and `set N ` behind the number. */
const RULE = /^(?:# DISABLED )?(\d{1,5}) (?:set \d+ )?(.+)$/;

/** What stands above the dynamic rules in a listing with `-d`. */
const DYNAMIC = /^## Dynamic rules/;

/**
 * The rules in a listing of one set, without dynamic ones.
 *
 * @param chain what to call the set
 */
export function parseIpfwRules(text: string, chain: string): ListedRule[] {
  return staticLines(text).flatMap((line) => {
    const found = RULE.exec(line);
    if (found === null) return [];
    return [listedRule(Number(found[1]), found[2] ?? "", chain)];
  });
}

/** The numbers of the rules in a listing, each once. */
export function numbersIn(text: string): number[] {
  const numbers = staticLines(text).flatMap((line) => {
    const found = RULE.exec(line);
    return found === null ? [] : [Number(found[1])];
  });
  return [...new Set(numbers)];
}

/** The numbers of the rules that have dynamic rules, in a listing with `-d`. */
export function dynamicNumbers(text: string): number[] {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => DYNAMIC.test(line));
  if (start < 0) return [];
  const numbers = lines.slice(start + 1).flatMap((line) => {
    const found = /^\s*(\d{1,5})\s/.exec(line);
    return found === null ? [] : [Number(found[1])];
  });
  return [...new Set(numbers)];
}

function staticLines(text: string): string[] {
  const lines = text.split("\n").map((line) => line.trim());
  const end = lines.findIndex((line) => DYNAMIC.test(line));
  return end < 0 ? lines : lines.slice(0, end);
}

function listedRule(number: number, text: string, chain: string): ListedRule {
  const [, target = null, protocol = null, source = null, destination = null, port] =
    /^(\S+) (\S+) from (\S+) to (\S+)(?: dst-port (\d+))?(?: |$)/.exec(text) ?? [];
  const end = /\/\/ .*_exp_(\d{1,11})(?!\d)/.exec(text);
  return {
    table: "ipfw",
    chain,
    number,
    target,
    protocol: protocolName(protocol),
    source,
    destination,
    sourcePort: null,
    destinationPort: port === undefined ? null : Number(port),
    expires: end === null ? null : Number(end[1]),
    text,
  };
}

function protocolName(word: string | null): string | null {
  const named = Object.entries(PROTOCOL_NUMBERS).find(([, number]) => String(number) === word);
  return named?.[0] ?? word;
}
