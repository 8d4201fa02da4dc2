// FIREWALL_TYPE command, planned: no firewall at all. The commands of stanzas are not the
// firewall's business; here is only what answers whoever asks for rules.

import type { FirewallPlanner } from "./fw_firewall.ts";

/** The planner of no firewall: it has nothing to set up, to list or to take away. */
export function commandPlanner(): FirewallPlanner {
  return {
    name: "command",
    flushAtStart: false,
    flushAtExit: false,
    newestFirst: false,
    listsAsTable: true,
    // deno-lint-ignore require-yield -- nothing is to be asked
    *setUp() {
      return { ok: true, lines: [], kept: [] };
    },
    rulesFor: () => ({ ok: false, reason: "there is no firewall, only commands" }),
    // deno-lint-ignore require-yield
    *add() {
      const reason = "there is no firewall, only commands";
      return { ok: false, reason, blames: "firewall", repaired: [], lost: [] };
    },
    // deno-lint-ignore require-yield
    *remove(rules) {
      return { removed: [], missing: rules, failed: [], reason: "" };
    },
    // deno-lint-ignore require-yield
    *tearDown() {
      return { ok: true };
    },
    // deno-lint-ignore require-yield
    *list() {
      return [];
    },
    listing: () => [],
  };
}
