// What an administrator should know of a host whose grants are rules of iptables: that another
// firewall drops what they let in, or that nothing is hidden in the first place.

import type { CheckOutcome, FirewallPlanner, Plan, SetUpOutcome } from "./fw_firewall.ts";
import { closesInput, type FilterTable, mayDropInput } from "./fw_iptables_table.ts";
import { closedChains } from "./fw_nftables_fate.ts";
import { chainText, type NftChain } from "./fw_nftables_ruleset.ts";
import {
  type Instruments,
  isOfIptables,
  lookAround,
  mayDrop,
  nativeObstacles,
  type Surroundings,
} from "./fw_surroundings.ts";

/** What is known without looking at rules. */
export interface DoubtFacts {
  /** Whether this host takes packets of IPv6. */
  readonly ipv6: boolean;
  /** Whether iptables-legacy has tables, beside `filter` and `nat`, that may drop packets. */
  readonly legacyTables: Readonly<Record<"ipv4" | "ipv6", boolean>>;
  /** What else is to be told. */
  readonly warnings: readonly string[];
}

/** A planner that looks around when it has set up or checked, and tells what is doubtful. */
export function withDoubts<P extends Required<Pick<FirewallPlanner, "setUp" | "check">>>(
  planner: P,
  instruments: Instruments,
  facts: DoubtFacts,
): P {
  function* doubted<T extends SetUpOutcome | CheckOutcome>(outcome: T): Plan<T> {
    if (!outcome.ok) return outcome;
    const doubts = doubtsAbout(yield* lookAround(instruments), facts);
    const warnings = [...outcome.warnings ?? [], ...facts.warnings, ...doubts];
    return { ...outcome, warnings };
  }
  return {
    ...planner,
    *setUp(flush) {
      return yield* doubted(yield* planner.setUp(flush));
    },
    *check() {
      return yield* doubted(yield* planner.check());
    },
  };
}

/** What is doubtful, a line each; only what is certain. */
export function doubtsAbout(around: Surroundings, facts: DoubtFacts): string[] {
  const obstacle = obstacleOf(around);
  if (obstacle !== null) return [obstacle];
  const { ruleset, filters } = around;
  const open = (family: "ipv4" | "ipv6"): boolean => {
    const [own, other, families] = family === "ipv4"
      ? [filters.ipv4, filters.legacy4, ["ip", "inet"] as const]
      : [filters.ipv6, filters.legacy6, ["ip6", "inet"] as const];
    // Where there is no program to ask, nft shows what there is.
    const known = own !== null || (ruleset !== null && around.variant === "nft");
    return known && !facts.legacyTables[family] && !dropsSome(own) && !dropsSome(other) &&
      (ruleset === null || !mayDrop(ruleset, families));
  };
  if (filters.ipv4 === null) return [];
  if (open("ipv4")) return [NOTHING_HIDDEN];
  return facts.ipv6 && open("ipv6") ? [IPV6_OPEN] : [];
}

const NOTHING_HIDDEN =
  "Nothing is hidden: no rule drops packets to this host, so its services are open without a" +
  ' knock; accept what has to stay, then "iptables -P INPUT DROP"';

const IPV6_OPEN =
  "IPv6 packets to this host are not dropped by any rule of ip6tables, so its services are open" +
  " over IPv6 without a knock; accept lo, established connections and ipv6-icmp, then" +
  ' "ip6tables -P INPUT DROP"';

function dropsSome(table: FilterTable | null): boolean {
  return table !== null && mayDropInput(table);
}

/** A line about what drops packets that iptables lets in; null for nothing. */
function obstacleOf({ ruleset, variant, filters }: Surroundings): string | null {
  const tell = (what: string, advice: string): string =>
    `Grants may not open: ${what} drops packets, whatever iptables lets in; set ${advice}`;
  const closed = (table: FilterTable | null): boolean => table !== null && closesInput(table);
  if (variant === "nft" && (closed(filters.legacy4) || closed(filters.legacy6))) {
    return tell("INPUT of iptables-legacy", "FIREWALL_EXE /usr/sbin/iptables-legacy");
  }
  if (ruleset === null) return null;
  const chains = nativeObstacles(ruleset);
  const chain = chains.find(({ family }) => family !== "ip6");
  if (chain !== undefined) {
    const type = chain.table === "firewalld" ? "firewalld" : "nftables";
    return tell(`chain ${chainText(chain)} of nftables`, `FIREWALL_TYPE ${type}`);
  }
  if (chains[0] !== undefined && filters.ipv6 !== null) {
    return `Grants over IPv6 may not open: chain ${
      chainText(chains[0])
    } of nftables drops packets,` +
      " whatever ip6tables lets in; accept there what may come, or set ENABLE_IP6TABLES N";
  }
  const [other] = variant === "legacy" ? closedChains(ruleset, "input").filter(isFilter) : [];
  if (other === undefined) return null;
  return tell(`chain ${chainText(other)} of iptables-nft`, "FIREWALL_EXE /usr/sbin/iptables-nft");
}

function isFilter(chain: NftChain): boolean {
  return isOfIptables(chain) && chain.hook === "input";
}
