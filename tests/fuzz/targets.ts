// All fuzz targets.

import type { FuzzTarget } from "./target.ts";
import { confTargets } from "./targets_conf.ts";
import { decisionTargets } from "./targets_decision.ts";
import { netTargets } from "./targets_net.ts";
import { outputTargets } from "./targets_output.ts";
import { packetTargets } from "./targets_packet.ts";

/** In the order in which a packet meets them, then files and programs. */
export function fuzzTargets(): readonly FuzzTarget[] {
  return [
    ...netTargets(),
    ...packetTargets(),
    ...decisionTargets(),
    ...confTargets(),
    ...outputTargets(),
  ];
}
