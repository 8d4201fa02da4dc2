// What a firewall that is given up, as its settings have changed, leaves to its successor.

import type { FirewallGrant } from "./auth_grant.ts";
import type { FirewallPlanner, FirewallRule } from "./fw_firewall.ts";
import type { OpenRules } from "./fw_open.ts";
import type { FirewallOutcome } from "./serve_firewall_opening.ts";
import type { Log } from "./serve_log.ts";

/** A grant that was open; times are those of the monotonic clock, in milliseconds. */
export interface LegacyGrant {
  readonly grant: FirewallGrant;
  readonly openedAt: number;
  readonly deadline: number;
}

/** What was open in a firewall that opens nothing more. */
export interface Legacy {
  /** In the order in which they were opened. */
  readonly grants: readonly LegacyGrant[];
  /** Number of rules of an earlier run; nobody knows the grants that they were for. */
  readonly others: number;
  /** Whether a firewall that ends grants by itself does so later than they are due. */
  readonly lags: boolean;
}

/** What nobody has left. */
export const NO_LEGACY: Legacy = { grants: [], others: 0, lags: false };

/** A firewall that opens nothing more. */
export interface Retired {
  readonly planner: Pick<FirewallPlanner, "rulesFor">;
  /** With what is really open in it. */
  readonly book: OpenRules;
  /** Rules that somebody has taken away, and that are not in the book any more. */
  readonly closed: readonly FirewallRule[];
}

/** Reads the book of a firewall. */
export function legacyOf(retired: Retired): Omit<Legacy, "lags"> {
  const found = new Map<FirewallGrant, { openedAt: number; deadline: number }>();
  let others = 0;
  for (const { rule: { grant, openedAt = 0 }, deadline } of retired.book.entries()) {
    if (grant === undefined) others++;
    else {
      const before = found.get(grant)?.deadline ?? 0;
      found.set(grant, { openedAt, deadline: Math.max(deadline, before) });
    }
  }
  const cut = new Set(retired.closed.flatMap(({ grant }) => grant ?? []));
  // Who knocked last has said where a port leads to.
  const grants = [...found].map(([grant, times]) => ({
    grant: cut.has(grant) ? remainderOf(grant, retired) : grant,
    ...times,
  })).toSorted((one, other) => one.openedAt - other.openedAt);
  return { grants, others };
}

/** Of a grant of which somebody has closed a part, the ports that are still open. */
function remainderOf(grant: FirewallGrant, { planner, book }: Retired): FirewallGrant {
  if (grant.kind !== "access") return grant;
  const isOpen = (port: FirewallGrant["ports"][number]): boolean =>
    // Whether it was opened as one of few or of many.
    [0, Infinity].some((open) => {
      const choice = planner.rulesFor({ ...grant, ports: [port] }, open);
      return choice.ok && choice.rules.every((rule) => book.has(rule));
    });
  return { ...grant, ports: grant.ports.filter(isOpen) };
}

/** A firewall that is set up and takes a legacy over. */
export interface Heir {
  readonly planner: Pick<FirewallPlanner, "rulesFor">;
  /** With those rules in it that set-up has found there. */
  readonly book: OpenRules;
  readonly log: Pick<Log, "info" | "warning">;
  /** The monotonic clock. */
  now(): number;
  open(grant: FirewallGrant, openedAt: number): Promise<FirewallOutcome>;
}

/** Opens again what is not still open, and tells what goes on and what has ended. */
export async function takeOver(heir: Heir, legacy: Omit<Legacy, "lags">): Promise<void> {
  const { book, log } = heir;
  const now = heir.now();
  const grants = legacy.grants.flatMap(({ grant, openedAt, deadline }) => {
    // Rather a moment less than more than was granted.
    const seconds = Math.floor((deadline - now) / 1000);
    return seconds > 0 ? [{ grant: { ...grant, seconds }, openedAt }] : [];
  });
  const lost = grants.filter((one) => !isKept(heir, one));
  const outcomes = await Promise.all(
    lost.map(({ grant, openedAt }) => heir.open(grant, openedAt)),
  );
  const reasons = outcomes.flatMap((outcome) => outcome.ok ? [] : [outcome.reason]);
  const known = [...book.entries()].filter(({ rule }) => rule.grant === undefined).length;
  const carried = grants.length - reasons.length;
  if (carried > 0) log.info(`${carried} open grant(s) go on.`);
  if (reasons.length > 0) {
    log.warning(`${reasons.length} open grant(s) have ended: ${reasons[0]}`);
  }
  if (known < legacy.others) {
    log.warning(`${legacy.others - known} rule(s) of an earlier run have ended.`);
  }
}

/** Whether all rules of a grant stayed where they were; the book has them as its rules then. */
function isKept(
  { planner, book }: Heir,
  { grant, openedAt }: { readonly grant: FirewallGrant; readonly openedAt: number },
): boolean {
  const choice = planner.rulesFor(grant, book.grants);
  if (!choice.ok || !choice.rules.every((rule) => book.has(rule))) return false;
  for (const rule of choice.rules) {
    const found = book.openRule(rule);
    const deadline = book.deadlineOf(rule);
    // Another grant may have extended it, whose rule it is then.
    if (found === null || deadline === null || found.expires !== grant.expires) continue;
    book.forget([found]);
    book.enter([{ ...rule, grant, openedAt }], deadline);
  }
  return true;
}
