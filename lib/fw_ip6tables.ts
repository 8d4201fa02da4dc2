// ip6tables, planned. NAT came late to IPv6 and many kernels leave it out, so access goes on
// without it.

import type { CheckOutcome, Plan, SetUpOutcome, TearDownOutcome } from "./fw_firewall.ts";
import { withKnownProgram } from "./fw_iptables_check.ts";
import type { IptablesPrograms } from "./fw_iptables_edit.ts";
import { familyPlanner, type IptablesConfig, type IptablesPlanner } from "./fw_iptables.ts";

/** The programs of ip6tables. */
export interface Ip6tablesPrograms {
  readonly iptables: string;
  /** Null when there is none that fits: every edit is then a call of its own. */
  readonly restore: string | null;
}

/** How the programs complain of a kernel without the table. */
const NO_TABLE = /Table does not exist|does not support|not supported/;

/** The planner for ip6tables and IPv6. */
export function ip6tablesPlanner(
  config: IptablesConfig,
  { iptables, restore }: Ip6tablesPrograms,
): IptablesPlanner {
  const programs = { family: "ipv6", iptables, restore } as const;
  return withKnownProgram(withOrWithoutNat(config, programs), programs);
}

function withOrWithoutNat(config: IptablesConfig, programs: IptablesPrograms): IptablesPlanner {
  const whole = familyPlanner(config, programs);
  if (!config.ENABLE_IPT_FORWARDING && !config.ENABLE_IPT_LOCAL_NAT) return whole;
  const withoutNat = { ...config, ENABLE_IPT_FORWARDING: false, ENABLE_IPT_LOCAL_NAT: false };
  const plain = familyPlanner(withoutNat, programs);
  /** Why there is no NAT; null while there is. */
  let lack: string | null = null;
  const planner = (): IptablesPlanner => lack === null ? whole : plain;

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const outcome = yield* whole.setUp(flush);
    lack = null;
    if (outcome.ok) return outcome;
    const less = yield* plain.setUp(flush);
    if (!less.ok) return outcome;
    lack = outcome.reason;
    return { ...less, warnings: [...less.warnings ?? [], `NAT is not available: ${lack}`] };
  }

  function* check(): Plan<CheckOutcome> {
    const outcome = yield* whole.check();
    if (outcome.ok) return outcome;
    const less = yield* plain.check();
    if (!less.ok) return outcome;
    return { ...less, warnings: [`NAT is not available: ${outcome.reason}`] };
  }

  function* tearDown(): Plan<TearDownOutcome> {
    const outcome = yield* planner().tearDown();
    if (outcome.ok || !NO_TABLE.test(outcome.reason)) return outcome;
    return yield* plain.tearDown();
  }

  return {
    ...whole,
    check,
    setUp,
    rulesFor: (grant, open) => {
      if (grant.kind === "access" || lack === null) return planner().rulesFor(grant, open);
      return { ok: false, reason: `no NAT for ${grant.source}: ${lack}` };
    },
    add: (rules, renewed) => planner().add(rules, renewed),
    tearDown,
  };
}
