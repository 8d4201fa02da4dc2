// Adding and removing iptables rules: in transactions, with repair of what somebody removed.

import {
  type AddOutcome,
  chainKey,
  type FirewallRule,
  type Plan,
  type RemoveOutcome,
} from "./fw_firewall.ts";
import {
  chainName,
  completeChains,
  type IptablesChain,
  lookForJumps,
  showCall,
} from "./fw_iptables_chains.ts";
import {
  applyEdits,
  type Edit,
  type EditOutcome,
  type IptablesPrograms,
} from "./fw_iptables_edit.ts";
import { canonicalRule, parseRules } from "./fw_iptables_listing.ts";

/** Exit statuses that blame the edit itself: no match, or text that iptables(8) does not take. */
const BLAMES_EDIT: readonly number[] = [1, 2];

/**
 * Adds all of the rules or none.
 *
 * @param chains those that may be in use
 * @param operation append or insert
 */
export function* addRules(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
  operation: "-A" | "-I",
  rules: readonly FirewallRule[],
): Plan<AddOutcome> {
  const edits = rules.map((rule) => ruleEdit(operation, rule));
  const used = chains.filter((spec) =>
    rules.some((rule) => rule.table === spec.table && rule.chain === spec.to)
  );
  // Reading the built-in chain beside the edit costs no time; `-C` would, since the nft variant
  // then reads all rules of the chain that is jumped to.
  const look = lookForJumps(programs, used);
  const first = yield* applyEdits(programs, edits, look.calls);
  if (first.ok && look.findsAll(first.beside)) return { ok: true, repaired: [], lost: [] };

  const completed = yield* completeChains(programs, chains, false);
  if (!completed.ok) {
    if (mayHaveAdded(first)) yield* removeRules(programs, rules);
    return { ok: false, reason: completed.reason, blames: "firewall", repaired: [], lost: [] };
  }
  const repaired = completed.lines;
  const lost = completed.made.map((spec) => chainKey(chainName(programs, spec)));
  if (first.ok && lost.length === 0) return { ok: true, repaired, lost };

  if (mayHaveAdded(first)) yield* removeRules(programs, rules);
  const broken = repaired.length > 0 || lost.length > 0;
  const last = broken ? yield* applyEdits(programs, edits) : first;
  if (last.ok) return { ok: true, repaired, lost };
  if (broken && mayHaveAdded(last)) yield* removeRules(programs, rules);
  const blames = BLAMES_EDIT.includes(last.status) ? "rules" : "firewall";
  return { ok: false, reason: last.reason, blames, repaired, lost };
}

/** Which of the rules are not in their chains; none where that cannot be told. */
export function* missingRules(
  programs: IptablesPrograms,
  rules: readonly FirewallRule[],
): Plan<readonly FirewallRule[]> {
  if (rules.length === 0) return [];
  const there = yield* identitiesIn(programs, rules);
  return there === null ? [] : rules.filter((rule) => !there.has(identityOf(rule)));
}

/** Removes rules by content; those that are gone already do not keep the others. */
export function* removeRules(
  programs: IptablesPrograms,
  rules: readonly FirewallRule[],
): Plan<RemoveOutcome> {
  const together = yield* deleteRules(programs, rules);
  if (together.left.length === 0) {
    return { removed: rules, missing: [], failed: [], reason: "" };
  }

  const there = yield* identitiesIn(programs, together.left);
  if (there === null) {
    return {
      removed: together.removed,
      missing: [],
      failed: together.left,
      reason: together.reason,
    };
  }
  const missing = together.left.filter((rule) => !there.has(identityOf(rule)));
  const present = together.left.filter((rule) => there.has(identityOf(rule)));
  const again = yield* deleteRules(programs, present);

  const removed = [...together.removed, ...again.removed];
  if (again.left.length === 0 || !BLAMES_EDIT.includes(again.status)) {
    return { removed, missing, failed: again.left, reason: again.reason };
  }
  const failed: FirewallRule[] = [];
  let reason = "";
  for (const rule of again.left) {
    const alone = yield* deleteRules(programs, [rule]);
    removed.push(...alone.removed);
    failed.push(...alone.left);
    if (alone.left.length > 0) reason = alone.reason;
  }
  return { removed, missing, failed, reason };
}

/** All rules of the chains that these rules are in; null when they cannot be read. */
function* identitiesIn(
  programs: IptablesPrograms,
  rules: readonly FirewallRule[],
): Plan<ReadonlySet<string> | null> {
  const chains = [...new Map(rules.map((rule) => [chainKey(rule), rule])).values()];
  const results = yield chains.map((rule) => showCall(programs, rule.table, rule.chain));
  // Status 1 is how iptables says that a chain is not there; others mean that it cannot tell.
  if (results.some((result) => result.status > 1)) return null;
  return new Set(
    chains.flatMap((rule, index) =>
      parseRules(results[index]?.stdout ?? "", rule.table, rule.chain).map(identityOf)
    ),
  );
}

/** A program that was killed may have done its work before. */
function mayHaveAdded(outcome: EditOutcome): boolean {
  return outcome.done.length > 0 || (!outcome.ok && outcome.status > 128);
}

interface Deletion {
  readonly removed: readonly FirewallRule[];
  readonly left: readonly FirewallRule[];
  readonly reason: string;
  readonly status: number;
}

function* deleteRules(
  programs: IptablesPrograms,
  rules: readonly FirewallRule[],
): Plan<Deletion> {
  const edits = rules.map((rule) => ruleEdit("-D", rule));
  const outcome = yield* applyEdits(programs, edits);
  if (outcome.ok) return { removed: rules, left: [], reason: "", status: 0 };
  const done = new Set(outcome.done);
  const wasDone = edits.map((edit) => done.has(edit));
  return {
    removed: rules.filter((_, index) => wasDone[index]),
    left: rules.filter((_, index) => !wasDone[index]),
    reason: outcome.reason,
    status: outcome.status,
  };
}

function ruleEdit(operation: "-A" | "-I" | "-D", rule: FirewallRule): Edit {
  return { table: rule.table, operation, chain: rule.chain, rest: rule.text };
}

function identityOf(rule: Pick<FirewallRule, "table" | "chain" | "text">): string {
  return `${rule.table} ${rule.chain} ${canonicalRule(rule.text)}`;
}
