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
  /** Puts back what is gone; tells what hides, and the sets that had gone with their grants. */
  repair(): Plan<Step<{ readonly lines: readonly string[]; readonly lost: readonly string[] }>>;
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

  function* hide(): Plan<Told> {
    if (!parts.hides || (yield* parts.isHiding())) {
      unrepaired = null;
      return NOTHING;
    }
    const done = yield* parts.repair();
    if (!done.ok) {
      if (done.reason === unrepaired) return NOTHING;
      unrepaired = done.reason;
      return warningOf(`rules that hide services are gone: ${done.reason}`);
    }
    unrepaired = null;
    const ended = done.lost.length > 0 ? "; grants that were open have ended" : "";
    return {
      ...warningOf(`rules that hide services were gone, and are back${ended}`),
      lines: done.lines,
      lost: done.lost,
    };
  }

  function* check(): Plan<Told> {
    const outcome = yield* parts.check();
    if (!outcome.ok) {
      if (outcome.reason === barred) return NOTHING;
      barred = outcome.reason;
      return warningOf(`grants can no longer open: ${outcome.reason}`);
    }
    const warnings = outcome.warnings ?? [];
    const known = warned ?? parts.told();
    warned = warnings;
    const recovered = barred === null ? [] : ["nftables: grants can open again"];
    barred = null;
    const fresh = warnings.filter((line) => !known.includes(line));
    return { lines: recovered, warnings: fresh, lost: [] };
  }

  return {
    seconds,
    *run(): Plan<UpkeepOutcome> {
      const hidden = yield* hide();
      sinceCheck += seconds;
      if (sinceCheck < CHECK_INTERVAL) return { ...hidden, reason: null };
      sinceCheck = 0;
      const checked = yield* check();
      return {
        lines: [...hidden.lines, ...checked.lines],
        warnings: [...hidden.warnings, ...checked.warnings],
        lost: hidden.lost,
        reason: null,
      };
    },
  };
}

/** What was found and done. */
type Told = Required<Omit<UpkeepOutcome, "reason">>;

const NOTHING: Told = { lines: [], warnings: [], lost: [] };

function warningOf(text: string): Told {
  return { lines: [], warnings: [`nftables: ${text}`], lost: [] };
}
