// Two firewalls as one: each rule goes to the one it belongs to, and both work at the same time.

import type { AddOutcome, FirewallRule, Plan, RemoveOutcome } from "./fw_firewall.ts";
import type { IptablesPlanner } from "./fw_iptables.ts";

/** What is done with rules. */
export type RuleKeeper = Pick<IptablesPlanner, "add" | "remove" | "missing">;

/**
 * Joins the two.
 *
 * @param isOthers whether a rule belongs to the second
 */
export function joinKeepers(
  one: RuleKeeper,
  other: RuleKeeper,
  isOthers: (rule: FirewallRule) => boolean,
): RuleKeeper {
  const split = (rules: readonly FirewallRule[]): [FirewallRule[], FirewallRule[]] => [
    rules.filter((rule) => !isOthers(rule)),
    rules.filter(isOthers),
  ];

  function* add(
    rules: readonly FirewallRule[],
    renewed?: ReadonlySet<FirewallRule>,
  ): Plan<AddOutcome> {
    const [ours, theirs] = split(rules);
    if (theirs.length === 0) return yield* one.add(ours, renewed);
    if (ours.length === 0) return yield* other.add(theirs, renewed);
    const [mine, yours] = yield* together(one.add(ours, renewed), other.add(theirs, renewed));
    const repaired = [...mine.repaired, ...yours.repaired];
    const lost = [...mine.lost, ...yours.lost];
    if (mine.ok && yours.ok) return { ok: true, repaired, lost };
    if (mine.ok) yield* one.remove(ours);
    if (yours.ok) yield* other.remove(theirs);
    const failed = mine.ok ? yours : mine;
    const reason = failed.ok ? "" : failed.reason;
    // Those of the other firewall would fare better alone.
    const blames = mine.ok || yours.ok || (failed.ok ? "" : failed.blames) === "rules"
      ? "rules"
      : "firewall";
    return { ok: false, reason, blames, repaired, lost };
  }

  function* remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    const [ours, theirs] = split(rules);
    if (theirs.length === 0) return yield* one.remove(ours);
    if (ours.length === 0) return yield* other.remove(theirs);
    const [mine, yours] = yield* together(one.remove(ours), other.remove(theirs));
    return {
      removed: [...mine.removed, ...yours.removed],
      missing: [...mine.missing, ...yours.missing],
      failed: [...mine.failed, ...yours.failed],
      reason: [mine.reason, yours.reason].filter((reason) => reason !== "").join("; "),
    };
  }

  function* missing(rules: readonly FirewallRule[]): Plan<readonly FirewallRule[]> {
    const [ours, theirs] = split(rules);
    const [mine, yours] = yield* together(one.missing(ours), other.missing(theirs));
    return [...mine, ...yours];
  }

  return { add, remove, missing };
}

/** Runs two plans at the same time, their steps joined to one. */
export function* together<A, B>(one: Plan<A>, other: Plan<B>): Plan<[A, B]> {
  let left = one.next();
  let right = other.next();
  while (!left.done || !right.done) {
    const mine = left.done ? [] : left.value;
    const theirs = right.done ? [] : right.value;
    const results = yield [...mine, ...theirs];
    if (!left.done) left = one.next(results.slice(0, mine.length));
    if (!right.done) right = other.next(results.slice(mine.length));
  }
  return [left.value, right.value];
}
