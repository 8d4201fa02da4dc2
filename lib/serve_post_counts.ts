// What sentries have counted, added up, and what became of it with the monitor.

import type { RefusalReason } from "./auth_event.ts";
import type { CaptureCounters } from "./serve_capture.ts";
import type { Counts } from "./serve_log.ts";
import type { ReportedCounts } from "./serve_pipe_reports.ts";

/** Nothing is counted yet. */
export const NO_COUNTS: Counts = { packets: new Map(), capture: null };

/** The sums of both. */
export function addCounts(sum: Counts, counts: ReportedCounts): Counts {
  const packets = new Map(sum.packets);
  for (const { what, count } of counts.packets) packets.set(what, (packets.get(what) ?? 0) + count);
  return { packets, capture: addCaptures(sum.capture, counts.capture) };
}

function addCaptures(
  one: CaptureCounters | null,
  other: CaptureCounters | null,
): CaptureCounters | null {
  if (one === null || other === null) return one ?? other;
  return {
    received: one.received + other.received,
    dropped: one.dropped + other.dropped,
    droppedByInterface: one.droppedByInterface + other.droppedByInterface,
    fragments: one.fragments + other.fragments,
  };
}

/** A grant that the monitor could not carry out counts as what became of it. */
export function withFailures(
  { packets, capture }: Counts,
  failures: ReadonlyMap<RefusalReason, number>,
): Counts {
  const sums = new Map(packets);
  const add = (what: RefusalReason | "granted", count: number): void => {
    const sum = (sums.get(what) ?? 0) + count;
    if (sum === 0) sums.delete(what);
    else sums.set(what, sum);
  };
  for (const [reason, count] of failures) {
    add(reason, count);
    add("granted", -count);
  }
  return { packets: sums, capture };
}
