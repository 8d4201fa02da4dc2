// Values of settings that both server files have: Y/N, whole numbers, chain specifications.

import { failed, type Parsed } from "./net_list.ts";

/**
 * Reads `Y`, `YES`, `N` or `NO` in any case. Words that only begin with these letters are refused:
 * fwknopd goes by the first letter, so that `Nope` or a stray word silently means something.
 */
export function parseFlag(text: string): Parsed<boolean> {
  const word = withoutComment(text);
  if (/^y(?:es)?$/i.test(word)) return { ok: true, value: true };
  if (/^no?$/i.test(word)) return { ok: true, value: false };
  return failed(0, word, "neither yes nor no", "write Y or N");
}

/**
 * Reads a decimal number without letting anything else through.
 *
 * @param outside what to say of a number outside the range
 */
export function parseWholeNumber(
  text: string,
  low: number,
  high: number,
  outside: string,
): Parsed<number> {
  const word = withoutComment(text);
  const hint = high === Infinity
    ? `write a whole number from ${low}`
    : `write a whole number from ${low} to ${high}`;
  if (!/^[+-]?\d+$/.test(word)) return failed(0, word, "not a whole number", hint);
  const number = Number(word);
  if (number < low || number > high || !Number.isSafeInteger(number)) {
    return failed(0, word, outside, hint);
  }
  return { ok: true, value: number };
}

/**
 * The number that fwknopd reads from a text that is none, which is strtol(3)'s: the digits in front,
 * or 0. Null when the text is a whole number.
 */
export function numberInFront(text: string): string | null {
  const word = withoutComment(text);
  if (/^[+-]?\d+$/.test(word)) return null;
  return /^[+-]?\d+/.exec(word)?.[0] ?? "0";
}

/** A chain of fwknop's and the one that jumps to it, as `IPT_INPUT_ACCESS` and its like name them. */
export interface ChainSpec {
  /** What a rule does with a packet, such as `ACCEPT`. */
  readonly target: string;
  readonly table: string;
  /** The chain the packets come from, such as `INPUT`. */
  readonly from: string;
  /** Where in `from` the jump stands, from 1. */
  readonly jumpPosition: number;
  /** The chain the rules stand in, such as `FWKNOP_INPUT`. */
  readonly to: string;
  /** Read and kept; rules are appended or, with ENABLE_RULE_PREPEND, put first. */
  readonly rulePosition: number;
}

const CHAIN_HINT = "write six fields: ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1 " +
  "(target, table, from-chain, jump position, to-chain, rule position)";
const HIGHEST_POSITION = 65536;
/** iptables(8): names of chains have at most 28 characters. */
const LONGEST_CHAIN_NAME = 28;

/**
 * Reads six comma-separated fields of letters, digits and `_`; blanks count for nothing.
 *
 * @param name the variable, for the messages
 */
export function parseChainSpec(name: string, text: string): Parsed<ChainSpec> {
  const invalid = `Invalid ${name} specification`;
  const strange = text.search(/[^\w\s,]/);
  if (strange >= 0) {
    const hint = "use only letters, digits and _ in the six fields";
    return failed(strange, text.charAt(strange), `${invalid}: not allowed there`, hint);
  }
  const fields = text.replace(/\s/g, "").split(",");
  const [target, table, from, jump, to, rule] = fields;
  const complete = target && table && from && jump && to && rule && fields.length === 6;
  if (!complete) return failed(0, text, `${invalid}: not six fields`, CHAIN_HINT);
  if (from.length > LONGEST_CHAIN_NAME || to.length > LONGEST_CHAIN_NAME) {
    const hint = `name the chains with at most ${LONGEST_CHAIN_NAME} characters`;
    return failed(0, text, `${invalid}: a chain's name is too long`, hint);
  }
  const jumpPosition = position(jump);
  if (jumpPosition === null || jumpPosition === 0) {
    return failed(0, text, `invalid jump rule position in Line: ${text}`, positionHint(1));
  }
  const rulePosition = position(rule);
  if (rulePosition === null) {
    return failed(0, text, `invalid to_chain rule position in Line: ${text}`, positionHint(0));
  }
  return { ok: true, value: { target, table, from, jumpPosition, to, rulePosition } };
}

function position(text: string): number | null {
  const number = /^\d+$/.test(text) ? Number(text) : Infinity;
  return number <= HIGHEST_POSITION ? number : null;
}

function positionHint(lowest: number): string {
  return `write a position from ${lowest} to ${HIGHEST_POSITION}`;
}

/** Flags and numbers hold no `#`, so ` # text` can only be meant as a comment. */
function withoutComment(text: string): string {
  return text.replace(/\s+#.*$/, "");
}
