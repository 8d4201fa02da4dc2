// Opening what waits: which rules are to be added, which are open already, and what becomes of a
// batch that the firewall does not take.

import {
  chainKey,
  endingRules,
  type FirewallPlanner,
  type FirewallRule,
  type Plan,
} from "./fw_firewall.ts";
import type { OpenRules } from "./fw_open.ts";
import type { Host } from "./host.ts";
import type { Log } from "./serve_log.ts";
import { runPlan } from "./serve_plan.ts";

/** Whether access is open now, or why not. */
export type FirewallOutcome = { readonly ok: true } | {
  readonly ok: false;
  readonly reason: string;
};

/** One grant that waits to be opened. */
export interface OpeningRequest {
  readonly rules: readonly FirewallRule[];
  /** On the monotonic clock, in milliseconds. */
  readonly deadline: number;
  resolve(outcome: FirewallOutcome): void;
}

/** What opening works with. */
export interface OpeningParts {
  readonly host: Pick<Host, "run" | "monotonic" | "now">;
  readonly planner: FirewallPlanner;
  readonly log: Log;
  /** What is open; is kept up to date. */
  readonly book: OpenRules;
  /** Milliseconds after which what could not be removed is due again. */
  readonly retry: number;
  /** Called when a firewall that ends rules by itself has begun to count their time late. */
  lagged(): void;
}

/** Milliseconds for adding after which the firewall's ends are later than ours. */
const LAG = 1000;

const TOO_LATE: FirewallOutcome = {
  ok: false,
  reason: "the firewall took longer than the grant lasts",
};

/** Opens requests together, in as few processes as it can, and resolves each of them. */
export type OpenTogether = (requests: readonly OpeningRequest[]) => Promise<void>;

/** What opens requests in one firewall. */
export function createOpening(parts: OpeningParts): OpenTogether {
  const { host, planner, log, book, retry } = parts;
  return openTogether;

  async function openTogether(requests: readonly OpeningRequest[]): Promise<void> {
    await forgetMissing(requests);
    const fresh = freshRules(requests);
    const rules = [...fresh];
    const outlived = rules.flatMap((rule) => {
      const open = book.openRule(rule);
      return open === null || open.text === rule.text ? [] : [open];
    });
    if (fresh.size > 0) {
      const renewed = new Set(rules.filter((rule) => book.has(rule)));
      const start = host.monotonic();
      const outcome = await runPlan(host, log, planner.add(rules, renewed));
      for (const line of outcome.repaired) log.info(line);
      for (const chain of outcome.lost) book.forgetChain(chain);
      if (!outcome.ok) return await openApart(requests, outcome);
      if (host.monotonic() > start + LAG) parts.lagged();
    }
    const now = host.monotonic();
    for (const request of requests) {
      const mine = request.rules.filter((rule) => fresh.has(rule));
      if (request.deadline > now) {
        for (const rule of mine) logAdded(rule);
        for (const rule of request.rules) if (!mine.includes(rule)) logKnown(rule);
      }
      // What has got a new end must not be closed at its old one.
      book.forget(mine);
      book.enter(mine, request.deadline);
    }
    const incomplete: OpeningRequest[] = [];
    for (const request of requests) {
      if (request.deadline <= now) request.resolve(TOO_LATE);
      else if (request.rules.every((rule) => book.has(rule))) request.resolve({ ok: true });
      else incomplete.push(request);
    }
    if (outlived.length > 0) await removeOutlived(outlived);
    // Rules that were open before went with a chain that had vanished.
    if (incomplete.length > 0) await openTogether(incomplete);
  }

  /**
   * What a knock finds open already may have been closed by somebody, such as `spa fw-close`; the
   * knock is to open it again.
   */
  async function forgetMissing(requests: readonly OpeningRequest[]): Promise<void> {
    const known = new Set<FirewallRule>();
    for (const { rules, deadline } of requests) {
      for (const rule of rules) {
        const open = book.openRule(rule);
        // What is kept by the firewall and is to end later is added again in any case.
        const isKnown = rule.life === undefined && open?.text === rule.text;
        const lasts = isKnown || (book.deadlineOf(rule) ?? 0) >= deadline;
        if (open !== null && lasts) known.add(open);
      }
    }
    if (known.size > 0) book.forget(await runPlan(host, log, findMissing(planner, [...known])));
  }

  /** Removes rules in whose place others stand, which end later or lead elsewhere. */
  async function removeOutlived(rules: readonly FirewallRule[]): Promise<void> {
    const outcome = await runPlan(host, log, planner.remove(rules));
    for (const rule of outcome.removed) {
      log.debug(`Rule '${rule.text}' in ${rule.chain} made way for another`);
    }
    if (outcome.failed.length === 0) return;
    // By their texts they are entered beside what replaced them, and closed when they are due.
    const failed = outcome.failed.map(({ purpose: _, ...rule }) => rule);
    log.error(`Cannot remove ${failed.length} rule(s), trying again: ${outcome.reason}`);
    book.enter(failed, host.monotonic() + retry);
  }

  /**
   * The rules to add: those that are not open, end too early or lead elsewhere, each once. Those
   * that the firewall ends by itself are added again with their latest end, since nobody told if
   * they went early.
   */
  function freshRules(requests: readonly OpeningRequest[]): ReadonlySet<FirewallRule> {
    const latest = new Map<string, { rule: FirewallRule; deadline: number }>();
    for (const { rules, deadline } of requests) {
      for (const rule of rules) {
        const key = `${chainKey(rule)} ${rule.purpose ?? rule.text}`;
        const chosen = latest.get(key);
        const open = chosen?.rule ?? book.openRule(rule);
        const end = chosen?.deadline ?? book.deadlineOf(rule);
        const isKept = rule.life !== undefined;
        const isLonger = end !== null && end < deadline && (isKept || open?.text !== rule.text);
        if (end === null || isLonger || open?.leadsTo !== rule.leadsTo) {
          latest.set(key, { rule, deadline });
        } else if (isKept && chosen === undefined) {
          latest.set(key, { rule: lasting(rule, end), deadline: end });
        }
      }
    }
    return new Set([...latest.values()].map(({ rule }) => rule));
  }

  /** The same rule, with its end at a time of the monotonic clock. */
  function lasting(rule: FirewallRule, deadline: number): FirewallRule {
    // Without any time left it would stay for ever.
    const seconds = Math.max(1, Math.ceil((deadline - host.monotonic()) / 1000));
    const expires = Math.floor(host.now() / 1000) + seconds;
    return { ...rule, expires, ...(rule.life ? { life: { ...rule.life, seconds } } : {}) };
  }

  /** One refused rule makes a whole batch fail: halves find it in few processes. */
  async function openApart(
    requests: readonly OpeningRequest[],
    { reason, blames }: { readonly reason: string; readonly blames: "rules" | "firewall" },
  ): Promise<void> {
    if (requests.length === 1 || blames === "firewall") {
      for (const request of requests) request.resolve({ ok: false, reason });
      return;
    }
    const middle = requests.length >> 1;
    await openTogether(requests.slice(0, middle));
    await openTogether(requests.slice(middle));
  }

  function logAdded(rule: FirewallRule): void {
    const { kind, chain, summary, expires } = rule;
    const open = book.openRule(rule);
    const isExtended = open !== null && open.leadsTo === rule.leadsTo;
    const what = isExtended ? `Extended ${kind} rule in` : `Added ${kind} rule to`;
    log.info(`${what} ${chain} for ${summary}, expires at ${expires}`);
  }

  function logKnown({ table, chain, text }: FirewallRule): void {
    log.debug(`rule_exists() Rule : '-t ${table} ${text}' in ${chain} already exists`);
  }
}

/** Those of the rules that somebody else has surely removed; none where the firewall does not tell. */
export function* findMissing(
  planner: FirewallPlanner,
  rules: readonly FirewallRule[],
): Plan<readonly FirewallRule[]> {
  if (planner.missing !== undefined) return yield* planner.missing(rules);
  if (planner.endsByItself) return [];
  const chains = yield* planner.list();
  if (chains.some(({ problem }) => problem !== null)) return [];
  // Of rules without a name there is one in their chain that ends with them.
  const keyOf = (rule: FirewallRule): string => `${chainKey(rule)} ${rule.expires}`;
  const ends = new Set(chains.flatMap((chain) => endingRules(chain.rules)).map(keyOf));
  return rules.filter((rule) => !ends.has(keyOf(rule)));
}
