// The calls of nft that plans yield, and what their answers say.

import { whyUnanswered } from "./fw_call.ts";
import type { FirewallCall, ListedChain, Plan } from "./fw_firewall.ts";
import { listingWords, parseElements } from "./fw_nftables_elements.ts";
import { parseRuleset, type Ruleset } from "./fw_nftables_ruleset.ts";
import type { PlacedSet } from "./fw_nftables_sets.ts";
import type { ProgramResult } from "./host.ts";

/** The program whose calls this planner yields where NFT_EXE names no other. */
export const NFT_PROGRAM = "/usr/sbin/nft";

/** Milliseconds after which a call is given up: well past a long ruleset. */
const CALL_TIMEOUT = 60_000;

/** What a part of a plan came to. */
export type Step<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly reason: string };

/** What is in force, without elements. */
export function* readRuleset(program: string): Plan<Step<{ ruleset: Ruleset }>> {
  const call = readingCall(program, "--json", "--terse", "list", "ruleset");
  const [result] = yield [call];
  if (result?.status !== 0) return { ok: false, reason: explain(program, [], result) };
  const ruleset = parseRuleset(result.stdout);
  if (ruleset !== null) return { ok: true, ruleset };
  return { ok: false, reason: `${program} does not list the ruleset as JSON` };
}

/** Reads sets that are there, with their elements. */
export function* listSets(program: string, sets: readonly PlacedSet[]): Plan<ListedChain[]> {
  if (sets.length === 0) return [];
  const results = yield sets.map((set) => readingCall(program, "--json", ...listingWords(set)));
  return sets.map((set, index) => {
    const result = results[index];
    const rules = result?.status === 0 ? parseElements(result.stdout, set) : null;
    return {
      table: `${set.table.family} ${set.table.table}`,
      chain: set.name,
      exists: true,
      problem: rules === null ? explain(program, [], result) : null,
      rules: rules ?? [],
    };
  });
}

/** A call that only reads. */
export function readingCall(program: string, ...args: readonly string[]): FirewallCall {
  const call = { program, args, timeout: CALL_TIMEOUT };
  return { call, echo: [`${program} ${args.join(" ")}`] };
}

/** A call that makes changes, of which the kernel applies all or nothing. */
export function scriptCall(program: string, script: readonly string[]): FirewallCall {
  const stdin = script.map((line) => `${line}\n`).join("");
  const call = { program, args: ["--terse", "-f", "-"], stdin, timeout: CALL_TIMEOUT };
  return { call, echo: script.map((line) => `${program} ${line}`) };
}

/** A call that tells by its status whether the kernel would make changes, and makes none. */
export function checkingCall(program: string, script: readonly string[]): FirewallCall {
  const { call } = scriptCall(program, script);
  const options = ["--check", ...call.args];
  return {
    call: { ...call, args: options },
    echo: script.map((line) => `${program} --check ${line}`),
  };
}

/** One line that says why a call failed. */
export function explain(
  program: string,
  script: readonly string[],
  result: ProgramResult | undefined,
): string {
  if (result === undefined || result.status === 127) {
    return `cannot run ${program}; it comes with the package nftables`;
  }
  const unanswered = whyUnanswered(program, result);
  if (unanswered !== null) return unanswered;
  const text = result.stderr.split("\n").map((line) => line.trim())
    .find((line) => /Error:|not permitted|must be root/.test(line));
  if (text === undefined) return `${program}: exit status ${result.status}`;
  const why = text.replace(/^.*?Error: /, "");
  // libnftables tells no number, and repeats the first line whichever is wrong.
  const number = /^[^:]*:(\d+):/.exec(text)?.[1] ?? (script.length === 1 ? 1 : null);
  const line = number === null ? undefined : script[Number(number) - 1];
  return line === undefined ? `${program}: ${why}` : `${program}: ${why} (${line})`;
}
