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
    const ended = done.lost ? "; grants that were open have ended" : "";
    return {
      ...warningOf(`rules that hide services were gone, and are back${ended}`),
      lines: done.lines,
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
    return { lines: recovered, warnings: warnings.filter((line) => !known.includes(line)) };
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
        reason: null,
      };
    },
  };
}

/** What the log is to be told. */
type Told = Required<Pick<UpkeepOutcome, "lines" | "warnings">>;

const NOTHING: Told = { lines: [], warnings: [] };

function warningOf(text: string): Told {
  return { lines: [], warnings: [`nftables: ${text}`] };
}
