// The rules that requests are held against, by generation: a packet that waited for gpg is held
// against those that were in force when it came, for as long as it can have waited.

import type { Rules } from "./auth_grant_check.ts";

/** Rules in force, and those that were a short while ago. */
export interface RulesHistory {
  /** The number of the rules in force. */
  readonly generation: number;
  /** Puts rules in force; gives their number. */
  enact(rules: Rules): number;
  /** The rules with this number; null when they are too old or never were. */
  find(generation: number): Rules | null;
}

/** Milliseconds after which nothing can wait any more: longer than gpg may take. */
const MEMORY = 15_000;

/** @param monotonic milliseconds from some start */
export function createRulesHistory(rules: Rules, monotonic: () => number): RulesHistory {
  const entries = new Map<number, { readonly rules: Rules; over: number }>();
  let generation = 1;
  entries.set(generation, { rules, over: Infinity });
  return {
    get generation() {
      return generation;
    },
    enact(next) {
      const now = monotonic();
      for (const [number, entry] of entries) {
        if (number === generation) entry.over = now + MEMORY;
        else if (entry.over < now) entries.delete(number);
      }
      entries.set(++generation, { rules: next, over: Infinity });
      return generation;
    },
    find(number) {
      const entry = entries.get(number);
      return entry !== undefined && entry.over >= monotonic() ? entry.rules : null;
    },
  };
}
