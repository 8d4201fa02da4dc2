// iptables and ip6tables as one firewall: each rule goes where its addresses belong, and both
// programs of a step run at the same time.

import type {
  AddOutcome,
  FirewallRule,
  Plan,
  RemoveOutcome,
  SetUpOutcome,
  TearDownOutcome,
} from "./fw_firewall.ts";
import type { IptablesPlanner } from "./fw_iptables.ts";
import { moduleFor } from "./fw_tools.ts";
import { parseIp } from "./net_address.ts";

/** How the second planner comes in. */
export interface FamilySettings {
  /** Whether the firewall is of no use without IPv6; else IPv4 goes on alone, with a warning. */
  readonly needsIpv6: boolean;
}

/** The planner for both IP versions, from one for each. */
export function bothFamilies(
  ipv4: IptablesPlanner,
  ipv6: IptablesPlanner,
  { needsIpv6 }: FamilySettings,
): IptablesPlanner {
  /** Why there is no IPv6; null while there is. */
  let lack: string | null = null;

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const [one, other] = yield* together(ipv4.setUp(flush), ipv6.setUp(flush));
    lack = other.ok ? null : other.reason;
    if (one.ok && other.ok) {
      return {
        ok: true,
        lines: [...one.lines, ...other.lines.map((line) => `IPv6: ${line}`)],
        warnings: [
          ...one.warnings ?? [],
          ...(other.warnings ?? []).map((line) => `IPv6: ${line}`),
        ],
        kept: [...one.kept, ...other.kept],
      };
    }
    if (one.ok && !other.ok && !needsIpv6) {
      const module = moduleFor(other.reason);
      const question = module === null ? "" : ` (is the kernel's module ${module} there?)`;
      const warning = `No access over IPv6: cannot set up ${ipv6.name}: ${other.reason}${question}`;
      return { ...one, warnings: [...one.warnings ?? [], warning] };
    }
    // None may stay half open.
    if (one.ok) yield* ipv4.tearDown();
    if (other.ok) yield* ipv6.tearDown();
    if (!one.ok) return one;
    return other.ok ? other : { ...other, reason: `${ipv6.name}: ${other.reason}` };
  }

  function* add(rules: readonly FirewallRule[]): Plan<AddOutcome> {
    const [ours, theirs] = split(rules);
    if (theirs.length === 0) return yield* ipv4.add(ours);
    if (ours.length === 0) return yield* ipv6.add(theirs);
    const [one, other] = yield* together(ipv4.add(ours), ipv6.add(theirs));
    const repaired = [...one.repaired, ...other.repaired];
    const lost = [...one.lost, ...other.lost];
    if (one.ok && other.ok) return { ok: true, repaired, lost };
    if (one.ok) yield* ipv4.remove(ours);
    if (other.ok) yield* ipv6.remove(theirs);
    const failed = one.ok ? other : one;
    const reason = failed.ok ? "" : failed.reason;
    // Those of the other family would fare better alone.
    const blames = one.ok || other.ok || (failed.ok ? "" : failed.blames) === "rules"
      ? "rules"
      : "firewall";
    return { ok: false, reason, blames, repaired, lost };
  }

  function* remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    const [ours, theirs] = split(rules);
    if (theirs.length === 0) return yield* ipv4.remove(ours);
    if (ours.length === 0) return yield* ipv6.remove(theirs);
    const [one, other] = yield* together(ipv4.remove(ours), ipv6.remove(theirs));
    return {
      removed: [...one.removed, ...other.removed],
      missing: [...one.missing, ...other.missing],
      failed: [...one.failed, ...other.failed],
      reason: [one.reason, other.reason].filter((reason) => reason !== "").join("; "),
    };
  }

  function* missing(rules: readonly FirewallRule[]): Plan<readonly FirewallRule[]> {
    const [ours, theirs] = split(rules);
    const [one, other] = yield* together(ipv4.missing(ours), ipv6.missing(theirs));
    return [...one, ...other];
  }

  function* tearDown(): Plan<TearDownOutcome> {
    const [one, other] = yield* together(ipv4.tearDown(), ipv6.tearDown());
    // What could not be set up has left nothing that could not be taken away.
    if (!one.ok || other.ok || lack !== null) return one;
    return { ok: false, reason: `${ipv6.name}: ${other.reason}` };
  }

  return {
    name: ipv4.name,
    flushAtStart: ipv4.flushAtStart,
    flushAtExit: ipv4.flushAtExit,
    newestFirst: ipv4.newestFirst,
    setUp,
    rulesFor: (grant) => {
      if (parseIp(grant.source)?.version !== 6) return ipv4.rulesFor(grant);
      if (lack === null) return ipv6.rulesFor(grant);
      return { ok: false, reason: `cannot open for ${grant.source}: ${lack}` };
    },
    add,
    remove,
    missing,
    tearDown,
    *list() {
      const [one, other] = yield* together(ipv4.list(), ipv6.list());
      // A firewall without IPv6 looks as it does where there is none.
      return [...one, ...other.filter(({ exists }) => exists)];
    },
    listing: (what) => [
      ...ipv4.listing(what),
      ...ipv6.listing(what).map((call) => ({ ...call, optional: ipv6.name })),
    ],
  };
}

function split(rules: readonly FirewallRule[]): [FirewallRule[], FirewallRule[]] {
  return [
    rules.filter(({ family }) => family === undefined),
    rules.filter(({ family }) => family === "ipv6"),
  ];
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
