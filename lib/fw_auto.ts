// Which firewall is in force on a host whose configuration speaks of none: `FIREWALL_TYPE auto`.

import { closesInput, rulesInput } from "./fw_iptables_table.ts";
import { chainText, type NftChain, type NftRule, type Ruleset } from "./fw_nftables_ruleset.ts";
import { isOfIptables, nativeObstacles, type Surroundings } from "./fw_surroundings.ts";

/** What there is on the host. */
export interface AutoFacts {
  readonly surroundings: Surroundings;
  /** Whether firewalld runs. */
  readonly firewalld: boolean;
  /** Whether nft is installed and works. */
  readonly nft: boolean;
  /** Our chain that iptables' INPUT may jump to since an earlier run. */
  readonly ownChain: string;
}

/** The firewall to take, and why in a few words. */
export type AutoChoice =
  & { readonly because: string }
  & (
    | { readonly type: "firewalld" | "nftables" }
    | {
      readonly type: "iptables";
      /** Whose tables are in force; null where either will do. */
      readonly variant: "nft" | "legacy" | null;
    }
  );

/** Chooses: what drops comes before what only has rules, and that before what is installed. */
export function chooseFirewall(facts: AutoFacts): AutoChoice {
  const { surroundings: { ruleset, filters }, ownChain } = facts;
  if (facts.firewalld) return { type: "firewalld", because: "it runs" };
  const legacy = [filters.legacy4, filters.legacy6].filter((table) => table !== null);
  if (legacy.some(closesInput)) return ofLegacy("drops packets");
  const natives = ruleset === null ? [] : nativeObstacles(ruleset);
  const native = natives.find(({ family }) => family !== "ip6");
  if (native !== undefined) return ofNative(native);
  const ruled = ruleset === null ? undefined : ruledByIptables(ruleset, ownChain);
  if (ruled !== undefined) {
    const because = ruled.policy === "drop"
      ? `chain ${chainText(ruled)} of iptables drops packets`
      : `chain ${chainText(ruled)} has rules of iptables`;
    return { type: "iptables", variant: "nft", because };
  }
  if (legacy.some((table) => rulesInput(table, ownChain))) return ofLegacy("has rules");
  // One for IPv6 alone says nothing where iptables is there for IPv4.
  if (natives[0] !== undefined) return ofNative(natives[0]);
  if (facts.nft) {
    return {
      type: "nftables",
      because: "no rules of iptables are in force for packets to this host",
    };
  }
  return { type: "iptables", variant: null, because: "there is no nft that works" };
}

function ofNative(chain: NftChain): AutoChoice {
  return { type: "nftables", because: `chain ${chainText(chain)} drops packets` };
}

function ofLegacy(what: string): AutoChoice {
  return { type: "iptables", variant: "legacy", because: `INPUT of iptables-legacy ${what}` };
}

/** A chain for packets to this host in which iptables-nft has written; a jump to ours is no rule. */
function ruledByIptables(ruleset: Ruleset, ownChain: string): NftChain | undefined {
  return ruleset.chains.find((one) =>
    one.hook === "input" && one.table === "filter" && isOfIptables(one) &&
    (one.policy === "drop" || one.rules.some(({ statements }) => !jumpsTo(statements, ownChain)))
  );
}

function jumpsTo(statements: NftRule["statements"], to: string): boolean {
  return statements.some(({ jump }) =>
    typeof jump === "object" && jump !== null && "target" in jump && jump.target === to
  );
}
