// iptables and ip6tables as one firewall: each rule goes where its addresses belong.

import type { CheckOutcome, Plan, SetUpOutcome, TearDownOutcome } from "./fw_firewall.ts";
import type { IptablesPlanner } from "./fw_iptables.ts";
import { joinKeepers, together } from "./fw_joined.ts";
import { moduleFor } from "./fw_tools.ts";
import { parseIp } from "./net_address.ts";

/** How the second planner comes in. */
export interface FamilySettings {
  /** Whether the firewall is of no use without IPv6; else IPv4 goes on alone, with a warning. */
  readonly needsIpv6: boolean;
}

/** The planner for both IP versions, from one for each. */
export function bothFamilies(
  ipv4: IptablesPlanner,
  ipv6: IptablesPlanner,
  { needsIpv6 }: FamilySettings,
): IptablesPlanner {
  /** Why there is no IPv6; null while there is. */
  let lack: string | null = null;

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const [one, other] = yield* together(ipv4.setUp(flush), ipv6.setUp(flush));
    lack = other.ok ? null : other.reason;
    if (one.ok && other.ok) {
      return {
        ok: true,
        lines: [...one.lines, ...other.lines.map((line) => `IPv6: ${line}`)],
        warnings: [
          ...one.warnings ?? [],
          ...(other.warnings ?? []).map((line) => `IPv6: ${line}`),
        ],
        kept: [...one.kept, ...other.kept],
      };
    }
    if (one.ok && !other.ok && !needsIpv6) {
      return { ...one, warnings: [...one.warnings ?? [], noAccess(other.reason)] };
    }
    // None may stay half open.
    if (one.ok) yield* ipv4.tearDown();
    if (other.ok) yield* ipv6.tearDown();
    if (!one.ok) return one;
    return other.ok ? other : { ...other, reason: `${ipv6.name}: ${other.reason}` };
  }

  function noAccess(reason: string): string {
    const module = moduleFor(reason);
    const question = module === null ? "" : ` (is the kernel's module ${module} there?)`;
    return `No access over IPv6: cannot set up ${ipv6.name}: ${reason}${question}`;
  }

  function* check(): Plan<CheckOutcome> {
    const [one, other] = yield* together(ipv4.check(), ipv6.check());
    if (!one.ok) return one;
    if (other.ok) {
      const warnings = (other.warnings ?? []).map((line) => `IPv6: ${line}`);
      return { ok: true, lines: one.lines, warnings: [...one.warnings ?? [], ...warnings] };
    }
    if (needsIpv6) return { ok: false, reason: `${ipv6.name}: ${other.reason}` };
    return { ...one, warnings: [...one.warnings ?? [], noAccess(other.reason)] };
  }

  function* tearDown(): Plan<TearDownOutcome> {
    const [one, other] = yield* together(ipv4.tearDown(), ipv6.tearDown());
    // What could not be set up has left nothing that could not be taken away.
    if (!one.ok || other.ok || lack !== null) return one;
    return { ok: false, reason: `${ipv6.name}: ${other.reason}` };
  }

  return {
    name: ipv4.name,
    flushAtStart: ipv4.flushAtStart,
    flushAtExit: ipv4.flushAtExit,
    newestFirst: ipv4.newestFirst,
    check,
    setUp,
    rulesFor: (grant, open) => {
      if (parseIp(grant.source)?.version !== 6) return ipv4.rulesFor(grant, open);
      if (lack === null) return ipv6.rulesFor(grant, open);
      return { ok: false, reason: `cannot open for ${grant.source}: ${lack}` };
    },
    ...joinKeepers(ipv4, ipv6, ({ family }) => family === "ipv6"),
    tearDown,
    *list() {
      const [one, other] = yield* together(ipv4.list(), ipv6.list());
      // A firewall without IPv6 looks as it does where there is none.
      return [...one, ...other.filter(({ exists }) => exists)];
    },
    listing: (what) => [
      ...ipv4.listing(what),
      ...ipv6.listing(what).map((call) => ({ ...call, optional: ipv6.name })),
    ],
  };
}
