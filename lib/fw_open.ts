// What is open: rules in the order of their chains, and grants by the time they end. Knows no
// program and no clock; times are whatever number the caller counts in.

import { chainKey, type FirewallRule } from "./fw_firewall.ts";

/** Rules that were added together and end together. */
export interface OpenGrant {
  /** Rules that are still in the firewall. */
  readonly rules: Set<FirewallRule>;
  /** When its rules are due for removal. */
  readonly deadline: number;
  /** How often removal failed. */
  readonly failures: number;
}

/** The book of what is open. */
export interface OpenRules {
  /** Number of grants with at least one rule. */
  readonly grants: number;
  /** Whether what the rule opens is open. */
  has(rule: FirewallRule): boolean;
  /** The rule that opens the same, perhaps the very rule; null when it is not open. */
  openRule(rule: FirewallRule): FirewallRule | null;
  /** When what the rule opens is due to be closed; null when it is not open. */
  deadlineOf(rule: FirewallRule): number | null;
  /** Enters rules that are open now; those it knows already keep their end. */
  enter(rules: readonly FirewallRule[], deadline: number): void;
  /** Gives a grant that was taken out, and could not be removed, another deadline. */
  postpone(grant: OpenGrant, deadline: number): void;
  /** Takes out grants that are due, the earliest first; their rules stay until `forget`. */
  takeDue(now: number, limit: number): OpenGrant[];
  /** The earliest deadline; null when nothing is open. */
  readonly nextDeadline: number | null;
  /** Rules with their position in their chain, from 1, in the order of positions. */
  number(rules: readonly FirewallRule[]): Map<FirewallRule, number>;
  /** All rules that are not past their end, with when they are due to be closed. */
  entries(): Iterable<{ readonly rule: FirewallRule; readonly deadline: number }>;
  /** Strikes out rules that are gone. */
  forget(rules: readonly FirewallRule[]): void;
  /** Strikes out all rules of a chain, given by its key. */
  forgetChain(key: string): void;
}

interface Entry {
  readonly rule: FirewallRule;
  readonly owner: OpenGrant;
}

/**
 * An empty book.
 *
 * @param newestFirst whether a new rule becomes the first of its chain
 */
export function createOpenRules(newestFirst: boolean): OpenRules {
  /** By chain, then by what a rule opens; a map keeps the order in which rules were added. */
  const chains = new Map<string, Map<string, Entry>>();
  const heap: OpenGrant[] = [];
  let grants = 0;

  const entryOf = (rule: FirewallRule): Entry | undefined =>
    chains.get(chainKey(rule))?.get(purposeOf(rule));

  function strike({ rule, owner }: Entry): void {
    chains.get(chainKey(rule))?.delete(purposeOf(rule));
    owner.rules.delete(rule);
    if (owner.rules.size === 0) grants--;
  }

  /** Grants whose rules all went before their time still lie in the heap. */
  function dropEmpty(): void {
    while (heap[0]?.rules.size === 0) popFirst(heap);
  }

  return {
    get grants(): number {
      return grants;
    },
    has: (rule) => entryOf(rule) !== undefined,
    openRule: (rule) => entryOf(rule)?.rule ?? null,
    deadlineOf: (rule) => entryOf(rule)?.owner.deadline ?? null,
    enter: (rules, deadline) => {
      const owner: OpenGrant = { rules: new Set(), deadline, failures: 0 };
      for (const rule of rules) {
        if (entryOf(rule) !== undefined) continue;
        owner.rules.add(rule);
        const name = chainKey(rule);
        const chain = chains.get(name) ?? new Map<string, Entry>();
        chains.set(name, chain.set(purposeOf(rule), { rule, owner }));
      }
      if (owner.rules.size === 0) return;
      grants++;
      push(heap, owner);
    },
    postpone: (grant, deadline) => {
      const owner: OpenGrant = { rules: grant.rules, deadline, failures: grant.failures + 1 };
      for (const rule of owner.rules) {
        chains.get(chainKey(rule))?.set(purposeOf(rule), { rule, owner });
      }
      if (owner.rules.size > 0) push(heap, owner);
    },
    takeDue: (now, limit) => {
      const due: OpenGrant[] = [];
      for (dropEmpty(); due.length < limit; dropEmpty()) {
        const first = heap[0];
        if (first === undefined || first.deadline > now) break;
        popFirst(heap);
        due.push(first);
      }
      return due;
    },
    get nextDeadline(): number | null {
      dropEmpty();
      return heap[0]?.deadline ?? null;
    },
    number: (rules) => {
      const wanted = new Set(rules);
      const numbers: [FirewallRule, number][] = [];
      for (const name of new Set(rules.map(chainKey))) {
        const chain = chains.get(name);
        if (chain === undefined) continue;
        let index = 0;
        for (const { rule } of chain.values()) {
          index++;
          if (wanted.has(rule)) {
            numbers.push([rule, newestFirst ? chain.size + 1 - index : index]);
          }
        }
      }
      return new Map(newestFirst ? numbers.reverse() : numbers);
    },
    *entries() {
      for (const chain of chains.values()) {
        for (const { rule, owner } of chain.values()) {
          if (owner.failures === 0) yield { rule, deadline: owner.deadline };
        }
      }
    },
    forget: (rules) => {
      for (const rule of rules) {
        const entry = entryOf(rule);
        if (entry !== undefined) strike(entry);
      }
    },
    forgetChain: (key) => {
      for (const entry of [...chains.get(key)?.values() ?? []]) strike(entry);
    },
  };
}

function purposeOf({ purpose, text }: FirewallRule): string {
  return purpose ?? text;
}

function push(heap: OpenGrant[], grant: OpenGrant): void {
  let index = heap.length;
  heap.push(grant);
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (!swapIfEarlier(heap, index, parent)) return;
    index = parent;
  }
}

function popFirst(heap: OpenGrant[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  heap[0] = last;
  for (let index = 0;;) {
    const left = 2 * index + 1;
    const right = left + 1;
    const earlier = (heap[right]?.deadline ?? Infinity) < (heap[left]?.deadline ?? Infinity)
      ? right
      : left;
    if (!swapIfEarlier(heap, earlier, index)) return;
    index = earlier;
  }
}

/** Puts the grant at `below` in the place of the one at `above` if it ends earlier. */
function swapIfEarlier(heap: OpenGrant[], below: number, above: number): boolean {
  const lower = heap[below];
  const upper = heap[above];
  if (lower === undefined || upper === undefined || lower.deadline >= upper.deadline) return false;
  heap[above] = lower;
  heap[below] = upper;
  return true;
}
