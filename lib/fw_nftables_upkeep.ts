// While the server runs: whether what hides services is still in force, and whether a grant could
// still open in what others have changed since.

import type { CheckOutcome, FirewallPlanner, Plan, UpkeepOutcome } from "./fw_firewall.ts";
import type { Step } from "./fw_nftables_calls.ts";

/** What upkeep works with. */
export interface UpkeepParts {
  /** Whether rules of ours hide anything. */
  readonly hides: boolean;
  /** Whether these are in force, asked without a listing. */
  isHiding(): Plan<boolean>;
  /** Puts back what is gone; tells what hides, and whether grants were lost. */
  repair(): Plan<Step<{ readonly lines: readonly string[]; readonly lost: boolean }>>;
  check(): Plan<CheckOutcome>;
  /** Warnings that the log has already. */
  told(): readonly string[];
}

/** Seconds between looks at what hides, in which services may stand open to all. */
const HIDING_INTERVAL = 10;
/** Seconds between checks, which list the ruleset. */
const CHECK_INTERVAL = 60;

/** The upkeep of a planner; what is wrong is told once, and once when it is over. */
export function nftablesUpkeep(parts: UpkeepParts): NonNullable<FirewallPlanner["upkeep"]> {
  const seconds = parts.hides ? HIDING_INTERVAL : CHECK_INTERVAL;
  let sinceCheck = 0;
  /** Why nothing could be put back, as told last. */
  let unrepaired: string | null = null;
  /** Why no grant can open, as told last. */
  let barred: string | null = null;
  let warned: readonly string[] | null = null;

  function* hide(): Plan<string[]> {
    if (!parts.hides || (yield* parts.isHiding())) {
      unrepaired = null;
      return [];
    }
    const done = yield* parts.repair();
    if (!done.ok) {
      if (done.reason === unrepaired) return [];
      unrepaired = done.reason;
      return [`Warning: nftables: rules that hide services are gone: ${done.reason}`];
    }
    unrepaired = null;
    const ended = done.lost ? "; grants that were open have ended" : "";
    return [
      `Warning: nftables: rules that hide services were gone, and are back${ended}`,
      ...done.lines,
    ];
  }

  function* check(): Plan<string[]> {
    const outcome = yield* parts.check();
    if (!outcome.ok) {
      if (outcome.reason === barred) return [];
      barred = outcome.reason;
      return [`Warning: nftables: grants can no longer open: ${outcome.reason}`];
    }
    const warnings = outcome.warnings ?? [];
    const known = warned ?? parts.told();
    warned = warnings;
    const recovered = barred === null ? [] : ["nftables: grants can open again"];
    barred = null;
    const fresh = warnings.filter((line) => !known.includes(line));
    return [...recovered, ...fresh.map((line) => `Warning: ${line}`)];
  }

  return {
    seconds,
    *run(): Plan<UpkeepOutcome> {
      const lines = yield* hide();
      sinceCheck += seconds;
      if (sinceCheck < CHECK_INTERVAL) return { lines, reason: null };
      sinceCheck = 0;
      return { lines: [...lines, ...yield* check()], reason: null };
    },
  };
}
