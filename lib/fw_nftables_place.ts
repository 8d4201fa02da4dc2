// Where grants take effect in nftables. An `accept` in one base chain keeps no later one from
// dropping, so the place is chosen explicitly, and one where a grant could not open is refused.

import type { NftChainName } from "./conf_nftables.ts";
import {
  acceptsMark,
  chainText,
  closedChains,
  type NftChain,
  type NftTable,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";
import { formatPorts, type ProtocolPort } from "./net_port.ts";

/** What chooses the place, by its names in fwknopd.conf. */
export interface PlaceConfig {
  readonly NFT_ATTACH: NftChainName | null;
  readonly NFT_MARK: number | null;
  readonly ENABLE_DEFAULT_DROP: readonly ProtocolPort[];
}

/** Where grants take effect. `table` holds the sets. */
export type Place =
  & { readonly table: NftTable }
  & (
    | { readonly kind: "attached"; readonly chain: NftChainName }
    | { readonly kind: "own"; readonly hidden: readonly ProtocolPort[] }
    | { readonly kind: "mark"; readonly mark: number }
  );

/** The place, or one line that says why there is none. */
export type PlaceChoice = { readonly ok: true; readonly place: Place } | {
  readonly ok: false;
  readonly reason: string;
};

/** The table that is ours as a whole. */
export const OWN_TABLE: NftTable = { family: "inet", table: "spa" };

/** Priority of the chain that marks: that of `mangle`, ahead of `filter` (nft(8), table 6). */
export const MARK_PRIORITY = -150;
/** Priority of the chain that hides: a little ahead of `filter`. */
export const HIDE_PRIORITY = -5;

/** Chooses the place for a configuration and what is in force. */
export function choosePlace(config: PlaceConfig, ruleset: Ruleset): PlaceChoice {
  const closed = closedChains(ruleset).filter((chain) => !sameTable(chain, OWN_TABLE));
  if (config.NFT_ATTACH !== null) return attach(config.NFT_ATTACH, ruleset, closed);
  if (config.ENABLE_DEFAULT_DROP.length > 0) return hide(config.ENABLE_DEFAULT_DROP, closed);
  if (config.NFT_MARK !== null) return mark(config.NFT_MARK, ruleset, closed);
  return find(ruleset, closed);
}

/** What to tell of a place. */
export function describePlace(place: Place): string {
  switch (place.kind) {
    case "attached":
      return `nftables: grants are accepted in chain ${chainText(place.chain)}`;
    case "own":
      return `nftables: table inet spa hides ${formatPorts(place.hidden)} from all but grants`;
    case "mark":
      return `nftables: packets of grants carry the mark 0x${place.mark.toString(16)}`;
  }
}

function attach(
  name: NftChainName,
  ruleset: Ruleset,
  closed: readonly NftChain[],
): PlaceChoice {
  const chain = ruleset.chains.find((one) => chainText(one) === chainText(name));
  if (chain === undefined) return refuse(`NFT_ATTACH: there is no chain ${chainText(name)}`);
  if (chain.hook !== "input" || chain.type !== "filter") {
    return refuse(`NFT_ATTACH: ${chainText(name)} is no filter chain of the input hook`);
  }
  const obstacle = closed.find((other) => other !== chain && sharesPackets(other, chain));
  if (obstacle !== undefined) {
    return refuse(
      `a grant in ${chainText(name)} could not open: ${chainText(obstacle)} drops, too;` +
        " have both accept a mark and set NFT_MARK",
    );
  }
  const table = { family: chain.family, table: chain.table };
  return { ok: true, place: { kind: "attached", table, chain: { ...table, chain: chain.chain } } };
}

function hide(hidden: readonly ProtocolPort[], closed: readonly NftChain[]): PlaceChoice {
  const [obstacle] = closed;
  if (obstacle === undefined) return { ok: true, place: { kind: "own", table: OWN_TABLE, hidden } };
  return refuse(
    `a grant could not open: ${chainText(obstacle)} drops what it does not know;` +
      ` set NFT_ATTACH ${chainText(obstacle)} in place of ENABLE_DEFAULT_DROP`,
  );
}

function mark(value: number, ruleset: Ruleset, closed: readonly NftChain[]): PlaceChoice {
  const text = `0x${value.toString(16)}`;
  if (closed.length === 0) {
    return refuse(`NFT_MARK ${text}: ${NOTHING_CLOSED}`);
  }
  for (const chain of closed) {
    if (chain.hook !== "input" || chain.priority <= MARK_PRIORITY) {
      return refuse(`NFT_MARK ${text}: ${chainText(chain)} drops before packets can be marked`);
    }
    if (!acceptsMark(ruleset, chain, value)) {
      return refuse(
        `a grant could not open: no rule of ${chainText(chain)} accepts the mark;` +
          ` add "meta mark ${text} accept"`,
      );
    }
  }
  return { ok: true, place: { kind: "mark", table: OWN_TABLE, mark: value } };
}

function find(ruleset: Ruleset, closed: readonly NftChain[]): PlaceChoice {
  const [first, second] = closed;
  if (first === undefined) {
    return refuse(`${NOTHING_CLOSED}; set ENABLE_DEFAULT_DROP to the ports to hide`);
  }
  if (first.chain === "INPUT" && first.table === "filter" && first.family !== "inet") {
    return refuse(`${chainText(first)} belongs to iptables; set FIREWALL_TYPE iptables`);
  }
  if (second !== undefined) {
    const names = closed.map(chainText).join(", ");
    return refuse(`more than one chain drops (${names}); set NFT_ATTACH or NFT_MARK`);
  }
  return attach(first, ruleset, closed);
}

const NOTHING_CLOSED = "no chain of nftables drops packets to this host, so nothing is hidden";

function sharesPackets(one: NftChain, other: NftChain): boolean {
  return one.family === "inet" || other.family === "inet" || one.family === other.family;
}

function refuse(reason: string): PlaceChoice {
  return { ok: false, reason };
}
