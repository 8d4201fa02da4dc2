// A firewall's driver with a planner of its own, programs that a test plays, and clocks that it
// moves.

import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { FirewallPlanner } from "../lib/fw_firewall.ts";
import type { ProgramCall, ProgramResult } from "../lib/host.ts";
import { createFirewall, type Firewall } from "../lib/serve_firewall.ts";
import { createLog } from "../lib/serve_log.ts";

/** The wall clock at the start, in seconds since 1970 UTC. */
export const START = 1_795_323_500;

/** A driver at work. */
export interface FirewallScene {
  readonly firewall: Firewall;
  /** What it logged, each line behind its level. */
  readonly lines: string[];
  /** Moves both clocks, calling what is due on the way. */
  advance(milliseconds: number): Promise<void>;
  grant(source: string, seconds: number, ...ports: string[]): FirewallGrant;
}

/** @param run answers the planner's calls; it is told the wall clock in seconds */
export function firewallScene(
  planner: FirewallPlanner,
  run: (call: ProgramCall, now: number) => ProgramResult,
): FirewallScene {
  const lines: string[] = [];
  const timers = new Map<symbol, { readonly at: number; readonly action: () => void }>();
  let elapsed = 0;
  const now = (): number => START * 1000 + elapsed;
  const firewall = createFirewall({
    host: {
      now,
      monotonic: () => elapsed,
      run: (call) => Promise.resolve(run(call, Math.floor(now() / 1000))),
    },
    planner,
    log: createLog(0, (level, text) => lines.push(`${level} ${text}`)),
    timer: (milliseconds, action) => {
      const key = Symbol();
      timers.set(key, { at: elapsed + milliseconds, action });
      return () => timers.delete(key);
    },
  });
  return {
    firewall,
    lines,
    async advance(milliseconds) {
      const end = elapsed + milliseconds;
      for (;;) {
        await settle();
        const [next] = [...timers].sort(([, a], [, b]) => a.at - b.at);
        if (next === undefined || next[1].at > end) break;
        timers.delete(next[0]);
        elapsed = Math.max(elapsed, next[1].at);
        next[1].action();
      }
      elapsed = end;
      await settle();
    },
    grant: (source, seconds, ...ports) => ({
      kind: "access",
      stanza: 1,
      source,
      destination: source.includes(":") ? "2001:db8::1" : "192.0.2.1",
      ports: ports.map((text) => {
        const [protocol, port] = text.split("/");
        return { protocol: protocol === "udp" ? "udp" : "tcp", port: Number(port) };
      }),
      seconds,
      expires: Math.floor(now() / 1000) + seconds,
    }),
  };
}

/** Lets everything run that waits for nothing but other promises. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
