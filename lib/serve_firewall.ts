// The firewall's driver: batches grants into few processes, ends them on time, survives failures.

import type { Grant } from "./auth_grant.ts";
import type { FirewallPlanner } from "./fw_firewall.ts";
import type { Host } from "./host.ts";
import type { Log } from "./serve_log.ts";

/** Whether access is open now, or why not. */
export type FirewallOutcome = { readonly ok: true } | {
  readonly ok: false;
  readonly reason: string;
};

/** Calls `action` once after some milliseconds, unless the function it gives back is called. */
export type Timer = (milliseconds: number, action: () => void) => () => void;

/** What a firewall is made of. */
export interface FirewallParts {
  readonly host: Pick<Host, "run" | "monotonic" | "now">;
  readonly planner: FirewallPlanner;
  readonly log: Log;
  /** Waits; `setTimeout` unless a test plays the clock. */
  readonly timer?: Timer;
  /** Milliseconds between looks for rules that others gave an `_exp_` comment; 0 never looks. */
  readonly sweepInterval?: number;
}

/** A firewall at work. */
export interface Firewall {
  /** Sets up chains and jumps; throws an `Error` with one line for the operator. */
  start(): Promise<void>;
  /** Opens access; resolves when it is really open, or with the reason why it is not. */
  open(grant: Grant): Promise<FirewallOutcome>;
  /** Ends: refuses what still waits and, unless configured otherwise, closes everything. */
  stop(): Promise<void>;
  /** Number of grants that are open now. */
  readonly grants: number;
}
