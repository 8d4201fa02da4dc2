// All fuzz targets.

import { createGateway } from "./gateway.ts";
import { type FuzzTarget, once } from "./target.ts";
import { confTargets } from "./targets_conf.ts";
import { decisionTargets } from "./targets_decision.ts";
import { firewallTargets } from "./targets_firewall.ts";
import { netTargets } from "./targets_net.ts";
import { outputTargets } from "./targets_output.ts";
import { packetTargets } from "./targets_packet.ts";
import { pipeTargets } from "./targets_pipe.ts";

/** In the order in which a packet meets them, then files and programs. */
export function fuzzTargets(): readonly FuzzTarget[] {
  const gateway = once(createGateway);
  return [
    ...netTargets(),
    ...packetTargets(),
    ...decisionTargets(gateway),
    ...pipeTargets(gateway),
    ...confTargets(),
    ...outputTargets(),
    ...firewallTargets(),
  ];
}
