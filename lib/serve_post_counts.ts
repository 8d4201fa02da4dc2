// What several sentries have counted, added up.

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
