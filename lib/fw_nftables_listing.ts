// Which grants are in force, as the sets that hold them tell, and ending some before their time.

import type { FirewallRule, ListedChain, Plan, RemoveOutcome } from "./fw_firewall.ts";
import { explain, listSets, readRuleset, scriptCall } from "./fw_nftables_calls.ts";
import { deletionOf, identityOf, keyOf } from "./fw_nftables_elements.ts";
import { setsThere } from "./fw_nftables_script.ts";
import type { PlacedSet } from "./fw_nftables_sets.ts";

/** Lists the grants. */
export type ListGrants = () => Plan<readonly ListedChain[]>;

/** Attempts at a transaction that fails when one of its elements ends at that moment. */
const ATTEMPTS = 3;
/** What the kernel says of an element that is not there. */
const NO_ELEMENT = /No such file|does not exist/;
/** So many elements are asked for one by one; each may take a process. */
const FEW_ELEMENTS = 8;

/**
 * Lists all sets of ours, in whichever tables.
 *
 * @param known those that have the problem when nothing can be listed
 */
export function* listGrants(
  program: string,
  known: readonly PlacedSet[],
): Plan<readonly ListedChain[]> {
  const found = yield* readRuleset(program);
  if (!found.ok) {
    return known.map(({ table, name: chain }) => ({
      table: `${table.family} ${table.table}`,
      chain,
      exists: false,
      problem: found.reason,
      rules: [],
    }));
  }
  return yield* listSets(program, setsThere(found.ruleset));
}

/**
 * Takes elements out. Those that end just now make the whole transaction fail, so that who is there
 * is looked up then.
 */
export function* closeElements(
  program: string,
  rules: readonly FirewallRule[],
  list: ListGrants,
): Plan<RemoveOutcome> {
  let present = rules;
  let reason = "";
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const missing = rules.filter((rule) => !present.includes(rule));
    const script = present.map(deletionOf);
    const [result] = script.length === 0 ? [] : yield [scriptCall(program, script)];
    if (script.length === 0 || result?.status === 0) {
      return { removed: present, missing, failed: [], reason: "" };
    }
    reason = explain(program, script, result);
    const listed = yield* list();
    if (listed.some(({ problem }) => problem !== null)) break;
    const there = new Set(listed.flatMap((chain) => chain.rules).map(identityOf));
    present = rules.filter((rule) => there.has(identityOf(rule)));
  }
  const missing = rules.filter((rule) => !present.includes(rule));
  return { removed: [], missing, failed: present, reason };
}

/** Tells which are gone. Asks for few elements by their keys, which takes no longer in a full set. */
export function* missingElements(
  program: string,
  rules: readonly FirewallRule[],
  list: ListGrants,
): Plan<readonly FirewallRule[]> {
  if (rules.length > FEW_ELEMENTS) {
    const chains = yield* list();
    if (chains.some(({ problem }) => problem !== null)) return [];
    const there = new Set(chains.flatMap((chain) => chain.rules).map(identityOf));
    return rules.filter((rule) => !there.has(identityOf(rule)));
  }
  const results = yield rules.map(({ table, chain, text }) =>
    scriptCall(program, [`get element ${table} ${chain} { ${keyOf(text)} }`])
  );
  return rules.filter((_, index) => {
    const result = results[index];
    return result !== undefined && result.status !== 0 && NO_ELEMENT.test(result.stderr);
  });
}
