// The firewall's driver: batches grants into few processes, ends them on time, survives failures.
// What a rule looks like is the planner's business.

import type { FirewallGrant } from "./auth_grant.ts";
import { chainKey, endingRules, type FirewallPlanner, type FirewallRule } from "./fw_firewall.ts";
import { createOpenRules, type OpenGrant } from "./fw_open.ts";
import { type Host, reasonOf } from "./host.ts";
import { type Legacy, legacyOf, takeOver } from "./serve_firewall_legacy.ts";
import {
  createOpening,
  findMissing,
  type FirewallOutcome,
  type OpeningRequest,
} from "./serve_firewall_opening.ts";
import type { Log } from "./serve_log.ts";
import { runPlan } from "./serve_plan.ts";
import { LONGEST_WAIT, systemTimer, type Timer } from "./serve_timer.ts";

/** What a firewall is made of. */
export interface FirewallParts {
  readonly host: Pick<Host, "run" | "monotonic" | "now">;
  readonly planner: FirewallPlanner;
  readonly log: Log;
  /** Waits; `setTimeout` unless a test plays the clock. */
  readonly timer?: Timer;
  /** Milliseconds between looks for overdue rules that are not ours; 0, the default, never looks. */
  readonly sweepInterval?: number;
}

/** A firewall at work. */
export interface Firewall {
  /** Its planner's name; two that differ have no rules in common, if one of them is nftables. */
  readonly kind: string;
  /**
   * Sets up chains and jumps; throws an `Error` with one line for the operator.
   *
   * @param legacy what its predecessor has left: that goes on, and the log tells of what cannot
   */
  start(legacy?: Legacy): Promise<void>;
  /** Opens access; resolves when it is really open, or with the reason why it is not. */
  open(grant: FirewallGrant): Promise<FirewallOutcome>;
  /** Opens what still waits and nothing more, and leaves everything as it is, for a successor. */
  retire(): Promise<Legacy>;
  /** Closes everything that it has set up, whatever the configuration says of the end. */
  clear(): Promise<void>;
  /** Ends: refuses what still waits and, unless configured otherwise, closes everything. */
  stop(): Promise<void>;
  /** Number of grants that are open now. */
  readonly grants: number;
}

/** Grants that share a process; what arrives meanwhile waits for it, so it must stay short. */
const OPEN_BATCH = 256;

/** Ended grants that share a process; others may wait to be opened. */
const CLOSE_BATCH = 256;

/** Milliseconds to the first retry of a removal that failed, doubled each time up to the limit. */
const RETRY_FIRST = 1000;
const RETRY_LIMIT = 60_000;

/** How many times as long as removing took nothing is removed again, and most milliseconds of it. */
const REST_FACTOR = 10;
const REST_LIMIT = 2000;

/** Milliseconds by which a timer is late only because the machine slept, or stood still as long. */
const SLEPT = 1000;

/** The driver of one firewall. */
export function createFirewall(parts: FirewallParts): Firewall {
  const { host, planner, log } = parts;
  const timer = parts.timer ?? systemTimer;
  const sweepInterval = parts.sweepInterval ?? 0;
  const book = createOpenRules(planner.newestFirst);
  const openTogether = createOpening({
    ...{ host, planner, log, book, retry: RETRY_FIRST },
    lagged: () => void (lags = true),
  });
  const waiting: OpeningRequest[] = [];
  /** Requests that were not answered yet. */
  let pending = 0;
  let working: Promise<void> | null = null;
  /** Rules of others that a sweep found, with their position. */
  let overdue = new Map<FirewallRule, number>();
  let sweeping: Promise<void> | null = null;
  let cancelTimer = (): void => {};
  let cancelSweep = (): void => {};
  /** Whether it is time for upkeep, which must not meet a repair for a knock. */
  let upkeepDue = false;
  let cancelUpkeep = (): void => {};
  /** Whether anything of ours may be in force: a knock sets up what the start could not. */
  let mayHaveRules = false;
  let stopped = false;
  /** Until when nothing is removed, on the monotonic clock. */
  let restEnd = 0;
  /** When the present wait ends, on the monotonic clock. */
  let wakeTime = Infinity;
  /**
   * A firewall that ends grants itself does so later than they are due: the machine slept, which it
   * has not counted, or it took its time to begin.
   */
  let lags = false;

  return {
    get grants(): number {
      return book.grants;
    },
    kind: planner.name,
    start: async (legacy) => {
      const flush = legacy === undefined && planner.flushAtStart;
      const outcome = await runPlan(host, log, planner.setUp(flush));
      if (!outcome.ok) {
        if (outcome.warning !== undefined) log.warning(outcome.warning);
        throw new Error(`cannot set up ${planner.name}: ${outcome.reason}`);
      }
      mayHaveRules = true;
      for (const line of outcome.lines) log.info(line);
      for (const line of outcome.warnings ?? []) log.warning(line);
      for (const rule of outcome.kept) book.enter([rule], deadlineAtWallClock(rule.expires));
      if (legacy !== undefined) {
        lags = legacy.lags;
        await takeOver({ planner, book, log, now: host.monotonic, open }, legacy);
      }
      armSweep();
      armUpkeep();
      wake();
    },
    open: (grant) => open(grant),
    retire: async () => {
      while (working !== null) await working;
      await halt();
      const rules = [...book.entries()].map(({ rule }) => rule);
      // Nobody told of what others, such as `spa fw-close`, have closed meanwhile.
      const closed = rules.length === 0
        ? []
        : await runPlan(host, log, findMissing(planner, rules));
      book.forget(closed);
      return { ...legacyOf({ planner, book, closed }), lags };
    },
    clear: async () => {
      if (mayHaveRules) await tearDown();
    },
    stop: async () => {
      await halt();
      if (planner.flushAtExit) await tearDown();
    },
  };

  function open(
    grant: FirewallGrant,
    openedAt: number = host.monotonic(),
  ): Promise<FirewallOutcome> {
    if (stopped) return Promise.resolve(STOPPED);
    const choice = planner.rulesFor(grant, book.grants + pending);
    if (!choice.ok) return Promise.resolve(choice);
    const rules = choice.rules.map((rule) => ({ ...rule, grant, openedAt }));
    const deadline = host.monotonic() + grant.seconds * 1000;
    mayHaveRules = true;
    pending++;
    return new Promise<FirewallOutcome>((resolve) => {
      waiting.push({ rules, deadline, resolve });
      wake();
    }).finally(() => pending--);
  }

  /** Does nothing by itself any more. */
  async function halt(): Promise<void> {
    stopped = true;
    cancelTimer();
    cancelSweep();
    cancelUpkeep();
    for (const request of waiting.splice(0)) request.resolve(STOPPED);
    await sweeping;
    await working;
  }

  async function tearDown(): Promise<void> {
    const outcome = await runPlan(host, log, planner.tearDown());
    if (!outcome.ok) log.error(`Cannot remove all rules of ${planner.name}: ${outcome.reason}`);
  }

  /** A rule of an earlier run says only when it ends by the wall clock. */
  function deadlineAtWallClock(expires: number): number {
    return host.monotonic() + Math.max(0, expires * 1000 - host.now());
  }

  function wake(): void {
    if (working !== null || stopped) return;
    cancelTimer();
    lags ||= host.monotonic() > wakeTime + SLEPT;
    wakeTime = Infinity;
    working = work().catch(tellFault).finally(() => {
      working = null;
      arm();
    });
  }

  function arm(): void {
    if (stopped) return;
    if (waiting.length + overdue.size > 0 || upkeepDue) return wake();
    const next = book.nextDeadline;
    if (next === null) {
      lags = false;
      return;
    }
    const due = Math.max(next, restEnd);
    const wait = Math.min(LONGEST_WAIT, Math.max(0, Math.ceil(due - host.monotonic())));
    wakeTime = host.monotonic() + wait;
    cancelTimer = timer(wait, wake);
  }

  function tellFault(error: unknown): void {
    log.error(`Cannot go on with ${planner.name} as it should: ${reasonOf(error)}`);
  }

  /** Opening comes before closing, but takes turns with it: neither may starve the other. */
  async function work(): Promise<void> {
    let changed = false;
    while (!stopped) {
      const requests = waiting.splice(0, OPEN_BATCH);
      if (requests.length > 0) await openAll(requests);
      const now = host.monotonic();
      const due = now < restEnd ? [] : book.takeDue(now, CLOSE_BATCH);
      if (due.length > 0) await close(due);
      const foreign = overdue;
      overdue = new Map();
      if (foreign.size > 0) await closeForeign(foreign);
      if (upkeepDue) await tidyUp();
      if (requests.length + due.length + foreign.size === 0) break;
      changed = true;
    }
    if (changed && !stopped && log.verbosity >= 2) await logListing();
  }

  /** Answers every request, whatever happens. */
  async function openAll(requests: readonly OpeningRequest[]): Promise<void> {
    try {
      await openTogether(requests);
    } catch (error) {
      for (const request of requests) request.resolve({ ok: false, reason: reasonOf(error) });
    }
  }

  async function close(due: readonly OpenGrant[]): Promise<void> {
    const numbers = book.number(due.flatMap((grant) => [...grant.rules]));
    const rules = [...numbers.keys()];
    const plan = lags && planner.close !== undefined ? planner.close(rules) : planner.remove(rules);
    const start = host.monotonic();
    const outcome = await runPlan(host, log, plan);
    if (rules.every(({ endsByItself }) => endsByItself)) rest(start);
    for (const rule of outcome.removed) logRemoved(rule, numbers.get(rule));
    for (const rule of outcome.missing) {
      log.debug(`Rule '${rule.text}' was no longer in ${rule.chain}`);
    }
    book.forget([...outcome.removed, ...outcome.missing]);
    if (outcome.failed.length === 0) return;
    log.error(
      `Cannot remove ${outcome.failed.length} rule(s) that ended, trying again: ${outcome.reason}`,
    );
    for (const grant of due) {
      const wait = Math.min(RETRY_LIMIT, RETRY_FIRST * 2 ** grant.failures);
      book.postpone(grant, host.monotonic() + wait);
    }
  }

  /** Where removing takes long, knocks would wait for the removal of rules that open nothing more. */
  function rest(start: number): void {
    const now = host.monotonic();
    restEnd = now + Math.min(REST_LIMIT, REST_FACTOR * (now - start));
  }

  function armSweep(): void {
    if (sweepInterval === 0 || stopped) return;
    cancelSweep = timer(sweepInterval, () => {
      sweeping = sweep().catch(tellFault).finally(() => {
        sweeping = null;
        armSweep();
      });
    });
  }

  /**
   * Other programs may leave rules with an end in our chains; fwknopd removes them, so do we.
   * Reading may take long, so it goes on beside the work.
   */
  async function sweep(): Promise<void> {
    const chains = await runPlan(host, log, planner.list());
    const keyOf = (rule: FirewallRule): string => `${chainKey(rule)} ${rule.expires}`;
    const ends = new Set([...book.entries()].map(({ rule }) => keyOf(rule)));
    for (const listed of chains.flatMap((chain) => chain.rules)) {
      for (const rule of endingRules([listed])) {
        const ours = ends.has(keyOf(rule));
        if (!ours && rule.expires * 1000 <= host.now()) overdue.set(rule, listed.number);
      }
    }
    if (overdue.size > 0) wake();
  }

  function armUpkeep(): void {
    const { upkeep: duty } = planner;
    if (duty === undefined || stopped) return;
    cancelUpkeep = timer(duty.seconds * 1000, () => {
      upkeepDue = true;
      wake();
    });
  }

  async function tidyUp(): Promise<void> {
    upkeepDue = false;
    const { upkeep: duty } = planner;
    if (duty === undefined) return;
    try {
      const { lines, warnings = [], lost = [], reason } = await runPlan(host, log, duty.run());
      for (const chain of lost) book.forgetChain(chain);
      for (const line of warnings) log.warning(line);
      for (const line of lines) log.info(line);
      if (reason !== null) log.error(`Cannot tidy up ${planner.name}: ${reason}`);
    } finally {
      armUpkeep();
    }
  }

  async function closeForeign(numbers: ReadonlyMap<FirewallRule, number>): Promise<void> {
    const outcome = await runPlan(host, log, planner.remove([...numbers.keys()]));
    for (const rule of outcome.removed) logRemoved(rule, numbers.get(rule));
    if (outcome.failed.length > 0) log.error(`Cannot remove overdue rules: ${outcome.reason}`);
  }

  async function logListing(): Promise<void> {
    for (const call of planner.listing("ours")) {
      const result = await host.run(call.call);
      if (call.optional !== undefined && result.status !== 0) continue;
      log.debug(`fw_dump_rules() CMD: '${call.echo.join(" ")}'\n${result.stdout.trimEnd()}`);
    }
  }

  function logRemoved({ chain, expires }: FirewallRule, number: number | undefined): void {
    log.info(`Removed rule ${number ?? 1} from ${chain} with expire time of ${expires}`);
  }
}

const STOPPED: FirewallOutcome = { ok: false, reason: "the firewall is being shut down" };
