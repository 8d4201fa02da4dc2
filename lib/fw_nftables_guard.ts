// Our rules that grants need in order to open, by their handles: whether they are in force is
// asked without a listing, which would take the longer the more rules and elements there are.

import type { NftChainName } from "./conf_nftables.ts";
import type { Plan } from "./fw_firewall.ts";
import { checkingCall, readRuleset } from "./fw_nftables_calls.ts";
import type { Place } from "./fw_nftables_place.ts";
import { chainText, type NftChain, type Ruleset, sameTable } from "./fw_nftables_ruleset.ts";
import { attachedChain, isJumpTo } from "./fw_nftables_script.ts";

/** A rule by its handle: a table gives none a second time as long as it exists. */
export interface GuardedRule extends NftChainName {
  readonly handle: number;
}

/** The rules of each place; none of one where they are not known. */
export type Guards = ReadonlyMap<Place, readonly GuardedRule[]>;

/** Reads the handles of rules that were just put in their places. */
export function* readGuards(
  program: string,
  places: readonly Place[],
): Plan<Guards> {
  if (places.length === 0) return new Map();
  const found = yield* readRuleset(program);
  if (!found.ok) return new Map();
  return new Map(places.map((place) => [place, guardedRules(place, found.ruleset)]));
}

/** The rules of our chain in a place, and the jump to it if the place is a chain of somebody else. */
function guardedRules(place: Place, { chains }: Ruleset): GuardedRule[] {
  const rulesOf = (name: string, isMeant: (rule: NftChain["rules"][number]) => boolean) =>
    chains.filter((chain) => chain.chain === name && sameTable(chain, place.table))
      .flatMap(({ family, table, chain, rules }) =>
        rules.filter(isMeant).map(({ handle }) => ({ family, table, chain, handle }))
      );
  const every = (): boolean => true;
  if (place.kind !== "attached") return rulesOf(place.hook, every);
  const own = attachedChain(place.hook);
  const jumps = rulesOf(place.chain.chain, (rule) => isJumpTo(rule, own));
  return jumps.length === 0 ? [] : [...jumps, ...rulesOf(own, every)];
}

/**
 * Whether all rules of some places are in force. The kernel is asked whether it would delete them.
 */
export function* areInForce(
  program: string,
  places: readonly Place[],
  guards: Guards,
): Plan<boolean> {
  const rules = places.map((place) => guards.get(place) ?? []);
  if (rules.some(({ length }) => length === 0)) return false;
  if (rules.length === 0) return true;
  const script = rules.flat().map((rule) => `delete rule ${chainText(rule)} handle ${rule.handle}`);
  const [result] = yield [checkingCall(program, script)];
  return result?.status === 0;
}
