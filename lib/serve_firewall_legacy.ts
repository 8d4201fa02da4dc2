// What a firewall that is given up, as its settings have changed, leaves to its successor.

import type { FirewallGrant } from "./auth_grant.ts";
import type { FirewallPlanner } from "./fw_firewall.ts";
import type { OpenRules } from "./fw_open.ts";
import type { FirewallOutcome } from "./serve_firewall_opening.ts";
import type { Log } from "./serve_log.ts";

/** What was open in a firewall that opens nothing more. */
export interface Legacy {
  /** With the seconds that they have left, in the order in which they were opened. */
  readonly grants: readonly FirewallGrant[];
  /** Number of rules of an earlier run; nobody knows the grants that they were for. */
  readonly others: number;
  /** Whether a firewall that ends grants by itself does so later than they are due. */
  readonly lags: boolean;
}

/** What nobody has left. */
export const NO_LEGACY: Legacy = { grants: [], others: 0, lags: false };

/** Reads the book of a firewall, in which everything is really open, at a time of its clock. */
export function legacyOf(book: OpenRules, now: number): Omit<Legacy, "lags"> {
  const ends = new Map<FirewallGrant, number>();
  let others = 0;
  for (const { rule: { grant }, deadline } of book.entries()) {
    if (grant === undefined) others++;
    else ends.set(grant, Math.max(deadline, ends.get(grant) ?? 0));
  }
  // Who knocked last has said where a port leads to.
  const opened = ([{ seconds }, end]: readonly [FirewallGrant, number]): number =>
    end - seconds * 1000;
  const grants = [...ends].toSorted((one, other) => opened(one) - opened(other))
    // Rather a moment less than more than was granted.
    .map(([grant, end]) => ({ ...grant, seconds: Math.floor((end - now) / 1000) }))
    .filter(({ seconds }) => seconds > 0);
  return { grants, others };
}

/** A firewall that is set up and takes a legacy over. */
export interface Heir {
  readonly planner: Pick<FirewallPlanner, "rulesFor">;
  /** With those rules in it that set-up has found there. */
  readonly book: OpenRules;
  readonly log: Pick<Log, "info" | "warning">;
  open(grant: FirewallGrant): Promise<FirewallOutcome>;
}

/** Opens again what is not still open, and tells what goes on and what has ended. */
export async function takeOver(
  heir: Heir,
  { grants, others }: Omit<Legacy, "lags">,
): Promise<void> {
  const { book, log } = heir;
  const lost = grants.filter((grant) => !isKept(heir, grant));
  const outcomes = await Promise.all(lost.map((grant) => heir.open(grant)));
  const reasons = outcomes.flatMap((outcome) => outcome.ok ? [] : [outcome.reason]);
  const known = [...book.entries()].filter(({ rule }) => rule.grant === undefined).length;
  const carried = grants.length - reasons.length;
  if (carried > 0) log.info(`${carried} open grant(s) go on.`);
  if (reasons.length > 0) {
    log.warning(`${reasons.length} open grant(s) have ended: ${reasons[0]}`);
  }
  if (known < others) {
    log.warning(`${others - known} rule(s) of an earlier run have ended.`);
  }
}

/** Whether all rules of a grant stayed where they were; the book has them as its rules then. */
function isKept({ planner, book }: Heir, grant: FirewallGrant): boolean {
  const choice = planner.rulesFor(grant, book.grants);
  if (!choice.ok || !choice.rules.every((rule) => book.has(rule))) return false;
  for (const rule of choice.rules) {
    const found = book.openRule(rule);
    const deadline = book.deadlineOf(rule);
    // Another grant may have extended it, whose rule it is then.
    if (found === null || deadline === null || found.expires !== grant.expires) continue;
    book.forget([found]);
    book.enter([{ ...rule, grant }], deadline);
  }
  return true;
}
