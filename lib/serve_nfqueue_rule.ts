// A firewall beside which the rule of a netfilter queue comes and goes.

import {
  iptablesQueueRule,
  nftablesQueueRule,
  type QueueRuleConfig,
  queueRuleOfBothFamilies,
  type QueueRulePlanner,
} from "./fw_nfqueue.ts";
import type { Host } from "./host.ts";
import type { Firewall } from "./serve_firewall.ts";
import { NO_LEGACY } from "./serve_firewall_legacy.ts";
import type { Log } from "./serve_log.ts";
import type { Files } from "./serve_machine.ts";
import {
  choosePlanner,
  type FirewallConfig,
  ip6tablesFor,
  restoreBeside,
  runPlan,
} from "./serve_plan.ts";

/** The rule for the firewall that a configuration asks for. */
export function chooseQueueRule(
  host: Files,
  config: FirewallConfig & QueueRuleConfig,
): QueueRulePlanner {
  // FIREWALL_EXE is a program of another kind with all but iptables, perhaps on another host.
  if (choosePlanner(host, config).name !== "iptables") return nftablesQueueRule(config);
  const rule = (family: "ipv4" | "ipv6", iptables: string): QueueRulePlanner =>
    iptablesQueueRule(config, { family, iptables, restore: restoreBeside(host, iptables) });
  const ipv4 = rule("ipv4", config.FIREWALL_EXE);
  const ip6tables = ip6tablesFor(host, config);
  return ip6tables === null ? ipv4 : queueRuleOfBothFamilies(ipv4, rule("ipv6", ip6tables));
}

/**
 * Has a firewall's start and stop put the rule in place and take it away.
 *
 * @param firewall null where commands alone give access; nothing is ever opened in it then
 */
export function withQueueRule(
  firewall: Firewall | null,
  rule: QueueRulePlanner,
  host: Pick<Host, "run">,
  log: Log,
): Firewall {
  async function tearDown(): Promise<void> {
    const outcome = await runPlan(host, log, rule.tearDown());
    if (!outcome.ok) log.error(`Cannot remove the rule of the queue: ${outcome.reason}`);
  }

  return {
    get grants(): number {
      return firewall?.grants ?? 0;
    },
    kind: firewall?.kind ?? "command",
    start: async (legacy) => {
      await firewall?.start(legacy);
      const outcome = await runPlan(host, log, rule.setUp());
      if (outcome.ok) {
        for (const line of outcome.lines) log.info(line);
      } else {
        // Who succeeds another may not take away what both have.
        if (legacy === undefined) await firewall?.stop();
        else await firewall?.retire();
        throw new Error(`cannot hand packets to the netfilter queue: ${outcome.reason}`);
      }
    },
    open: (grant) =>
      firewall?.open(grant) ??
        Promise.resolve({ ok: false, reason: "this configuration has no firewall" }),
    retire: async () => {
      await tearDown();
      return await firewall?.retire() ?? NO_LEGACY;
    },
    clear: async () => await firewall?.clear(),
    stop: async () => {
      await tearDown();
      await firewall?.stop();
    },
  };
}
