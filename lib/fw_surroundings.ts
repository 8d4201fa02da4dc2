// What filters packets to a host: rules of nftables, of iptables-nft, which nftables shows, and of
// iptables-legacy, which it does not. Found out by reading alone.

import type { FirewallCall, Plan } from "./fw_firewall.ts";
import { variantOf, versionCall } from "./fw_iptables_check.ts";
import { type FilterTable, parseFilterTable } from "./fw_iptables_table.ts";
import { readingCall as nftCall } from "./fw_nftables_calls.ts";
import { closedChains, targetsIn } from "./fw_nftables_fate.ts";
import {
  isRecord,
  type NftChain,
  OWN_TABLE,
  parseRuleset,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";
import type { ProgramResult } from "./host.ts";

/** The programs to look with; null for those that are not there, or would see nothing. */
export interface Instruments {
  readonly nft: string | null;
  /** The iptables whose variant matters. */
  readonly iptables: string | null;
  /** Programs that read a table `filter`. Those of iptables-legacy make the table by reading it. */
  readonly filters: Readonly<Record<"ipv4" | "ipv6" | "legacy4" | "legacy6", string | null>>;
}

/** What is in force; null for what is not known. */
export interface Surroundings {
  readonly ruleset: Ruleset | null;
  readonly variant: "nft" | "legacy" | null;
  readonly filters: Readonly<Record<keyof Instruments["filters"], FilterTable | null>>;
}

/** Looks at all of it at the same time. */
export function* lookAround({ nft, iptables, filters }: Instruments): Plan<Surroundings> {
  const calls = {
    ruleset: nft === null ? null : nftCall(nft, "--json", "--terse", "list", "ruleset"),
    version: iptables === null ? null : versionCall(iptables),
    ipv4: filterCall(filters.ipv4),
    ipv6: filterCall(filters.ipv6),
    legacy4: filterCall(filters.legacy4),
    legacy6: filterCall(filters.legacy6),
  };
  const made = Object.values(calls).filter((call) => call !== null);
  const results = made.length === 0 ? [] : yield made;
  const outputOf = (call: FirewallCall | null): ProgramResult | undefined => {
    const result = call === null ? undefined : results[made.indexOf(call)];
    return result?.status === 0 ? result : undefined;
  };
  const tableOf = (call: FirewallCall | null): FilterTable | null => {
    const result = outputOf(call);
    return result === undefined ? null : parseFilterTable(result.stdout);
  };
  const listed = outputOf(calls.ruleset);
  return {
    ruleset: listed === undefined ? null : parseRuleset(listed.stdout),
    variant: variantOf(outputOf(calls.version)),
    filters: {
      ipv4: tableOf(calls.ipv4),
      ipv6: tableOf(calls.ipv6),
      legacy4: tableOf(calls.legacy4),
      legacy6: tableOf(calls.legacy6),
    },
  };
}

/** Seconds to wait for the lock that the legacy programs share, and milliseconds in all. */
const LOCK_WAIT = "10";
const CALL_TIMEOUT = 20_000;

function filterCall(program: string | null): FirewallCall | null {
  if (program === null) return null;
  const args = ["-w", LOCK_WAIT, "-t", "filter", "-S"];
  return {
    call: { program, args, timeout: CALL_TIMEOUT },
    echo: [`${program} -t filter -S`],
  };
}

/** Whether a base chain is one that iptables-nft makes, in whichever of its tables. */
export function isOfIptables({ family, chain, hook }: NftChain): boolean {
  return hook !== null && chain === hook.toUpperCase() && family !== "inet";
}

/** Chains that drop packets to this host which no rule speaks of, but for those of iptables and ours. */
export function nativeObstacles(ruleset: Ruleset): NftChain[] {
  return closedChains(ruleset, "input").filter((chain) =>
    !isOfIptables(chain) && !sameTable(chain, OWN_TABLE)
  );
}

/** Whether some chain of these families may drop packets to this host; false only where none does. */
export function mayDrop(ruleset: Ruleset, families: readonly NftChain["family"][]): boolean {
  const met = new Set(
    ruleset.chains.filter(({ family, hook }) =>
      families.includes(family) && hook !== null && INPUT_HOOKS.includes(hook)
    ),
  );
  // A set also visits what is added on the way.
  for (const chain of met) {
    if (chain.policy === "drop" || chain.rules.some(({ statements }) => drops(statements))) {
      return true;
    }
    const targets = new Set(targetsIn(chain.rules.map(({ statements }) => statements)));
    for (const other of ruleset.chains) {
      if (sameTable(other, chain) && targets.has(other.chain)) met.add(other);
    }
  }
  return false;
}

const INPUT_HOOKS = ["ingress", "prerouting", "input"];

/** Whether some JSON has a verdict in it that may be the end of a packet, also in a verdict map. */
function drops(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(drops);
  if (!isRecord(value)) return false;
  return Object.entries(value).some(([key, inner]) => {
    if (key === "drop" || key === "reject" || key === "queue") return true;
    if (key !== "xt") return drops(inner);
    // An extension of iptables that is not shown may be anything.
    return !isRecord(inner) || (inner.type !== "match" && !HARMLESS.has(String(inner.name)));
  });
}

/** Targets of iptables that let packets go on. */
const HARMLESS = new Set(
  "LOG NFLOG MARK CONNMARK DNAT REDIRECT SNAT MASQUERADE CT NOTRACK TCPMSS TRACE SET".split(" "),
);
