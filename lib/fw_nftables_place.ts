// Where grants take effect in nftables. An `accept` in one base chain keeps no later one from
// dropping, so for each hook the place is chosen explicitly, and one where a grant could not open
// is refused.

import type { NftChainName } from "./conf_nftables.ts";
import {
  acceptsMark,
  chainText,
  closedChains,
  type FilterHook,
  type NftChain,
  type NftTable,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";
import { formatPorts, type ProtocolPort } from "./net_port.ts";

/** What chooses places, by its names in fwknopd.conf. */
export interface PlaceConfig {
  /** Null when it is not set. */
  readonly NFT_ATTACH: readonly NftChainName[] | null;
  readonly NFT_MARK: number | null;
  readonly ENABLE_DEFAULT_DROP: readonly ProtocolPort[];
}

/** Where grants take effect in a hook. `table` holds the sets. */
export type Place =
  & { readonly hook: FilterHook; readonly table: NftTable }
  & (
    | { readonly kind: "attached"; readonly chain: NftChainName }
    | { readonly kind: "own"; readonly hidden: readonly ProtocolPort[] }
    | { readonly kind: "mark"; readonly mark: number }
    /** Nothing is dropped there. */
    | { readonly kind: "open" }
  );

/** A place for each hook, or one line that says why there is none. */
export type PlaceChoice = { readonly ok: true; readonly places: readonly Place[] } | Refusal;

interface Refusal {
  readonly ok: false;
  readonly reason: string;
}

type HookChoice = { readonly ok: true; readonly place: Place } | Refusal;

/** The table that is ours as a whole. */
export const OWN_TABLE: NftTable = { family: "inet", table: "spa" };

/** Priority of the chains that mark: that of `mangle`, ahead of `filter` (nft(8), table 6). */
export const MARK_PRIORITY = -150;
/** Priority of our own chains that let pass or hide: a little ahead of `filter`. */
export const HIDE_PRIORITY = -5;

/**
 * Chooses the places for a configuration and what is in force.
 *
 * @param hooks those in which grants have packets pass
 */
export function choosePlaces(
  config: PlaceConfig,
  ruleset: Ruleset,
  hooks: readonly FilterHook[],
): PlaceChoice {
  const named = new Map<FilterHook, NftChain>();
  for (const name of config.NFT_ATTACH ?? []) {
    const text = chainText(name);
    const chain = ruleset.chains.find((one) => chainText(one) === text);
    if (chain === undefined) return refuse(`NFT_ATTACH: there is no chain ${text}`);
    const hook = hooks.find((one) => one === chain.hook);
    if (hook === undefined || chain.type !== "filter") {
      return refuse(`NFT_ATTACH: ${text} is no filter chain of the ${hooks.join(" or ")} hook`);
    }
    const other = named.get(hook);
    if (other !== undefined) {
      return refuse(`NFT_ATTACH: ${chainText(other)} and ${text} are chains of the same hook`);
    }
    named.set(hook, chain);
  }
  const places: Place[] = [];
  for (const hook of hooks) {
    const choice = choosePlace(config, ruleset, hook, named.get(hook) ?? null);
    if (!choice.ok) return choice;
    places.push(choice.place);
  }
  return { ok: true, places };
}

function choosePlace(
  config: PlaceConfig,
  ruleset: Ruleset,
  hook: FilterHook,
  named: NftChain | null,
): HookChoice {
  const closed = closedChains(ruleset, hook).filter((chain) => !sameTable(chain, OWN_TABLE));
  if (named !== null) return attach(named, hook, closed);
  if (hook === "input") {
    if (config.ENABLE_DEFAULT_DROP.length > 0) return hide(config.ENABLE_DEFAULT_DROP, closed);
  } else if (closed.length === 0) {
    return { ok: true, place: { hook, kind: "open", table: OWN_TABLE } };
  }
  if (config.NFT_MARK !== null) return mark(config.NFT_MARK, hook, ruleset, closed);
  return find(hook, closed);
}

/** What to tell of a place. */
export function describePlace(place: Place): string {
  switch (place.kind) {
    case "attached":
      return `nftables: ${SUBJECTS[place.hook]} are accepted in chain ${chainText(place.chain)}`;
    case "own":
      return `nftables: table inet spa hides ${formatPorts(place.hidden)} from all but grants`;
    case "mark":
      return `nftables: packets of grants carry the mark 0x${place.mark.toString(16)}`;
    case "open":
      return place.hook === "forward"
        ? "nftables: no chain drops what this host forwards, so that hides nothing"
        : "nftables: no chain drops what this host sends";
  }
}

const SUBJECTS: Readonly<Record<FilterHook, string>> = {
  input: "grants",
  forward: "forwarded grants",
  output: "answers to grants",
};

function attach(chain: NftChain, hook: FilterHook, closed: readonly NftChain[]): HookChoice {
  if (chain.hook !== hook || chain.type !== "filter") {
    return refuse(`NFT_ATTACH: ${chainText(chain)} is no filter chain of the ${hook} hook`);
  }
  const obstacle = closed.find((other) => other !== chain && sharesPackets(other, chain));
  if (obstacle !== undefined) {
    return refuse(
      `a grant in ${chainText(chain)} could not open: ${chainText(obstacle)} drops, too;` +
        " have both accept a mark and set NFT_MARK",
    );
  }
  const table = { family: chain.family, table: chain.table };
  const name = { ...table, chain: chain.chain };
  return { ok: true, place: { hook, kind: "attached", table, chain: name } };
}

function hide(hidden: readonly ProtocolPort[], closed: readonly NftChain[]): HookChoice {
  const [obstacle] = closed;
  if (obstacle === undefined) {
    return { ok: true, place: { hook: "input", kind: "own", table: OWN_TABLE, hidden } };
  }
  return refuse(
    `a grant could not open: ${chainText(obstacle)} drops what it does not know;` +
      ` set NFT_ATTACH ${chainText(obstacle)} in place of ENABLE_DEFAULT_DROP`,
  );
}

function mark(
  value: number,
  hook: FilterHook,
  ruleset: Ruleset,
  closed: readonly NftChain[],
): HookChoice {
  const text = `0x${value.toString(16)}`;
  if (closed.length === 0) {
    return refuse(`NFT_MARK ${text}: ${NOTHING_CLOSED}`);
  }
  for (const chain of closed) {
    if (chain.hook === "prerouting" || (chain.hook === hook && chain.priority <= MARK_PRIORITY)) {
      return refuse(`NFT_MARK ${text}: ${chainText(chain)} drops before packets can be marked`);
    }
    if (!acceptsMark(ruleset, chain, value)) {
      return refuse(
        `a grant could not open: no rule of ${chainText(chain)} accepts the mark;` +
          ` add "meta mark ${text} accept"`,
      );
    }
  }
  return { ok: true, place: { hook, kind: "mark", table: OWN_TABLE, mark: value } };
}

function find(hook: FilterHook, closed: readonly NftChain[]): HookChoice {
  const [first, second] = closed;
  if (first === undefined) {
    return refuse(`${NOTHING_CLOSED}; set ENABLE_DEFAULT_DROP to the ports to hide`);
  }
  if (
    first.chain === hook.toUpperCase() && first.table === "filter" && first.family !== "inet"
  ) {
    return refuse(`${chainText(first)} belongs to iptables; set FIREWALL_TYPE iptables`);
  }
  if (second !== undefined) {
    const names = closed.map(chainText).join(", ");
    return refuse(`more than one chain drops (${names}); set NFT_ATTACH or NFT_MARK`);
  }
  return attach(first, hook, closed);
}

const NOTHING_CLOSED = "no chain of nftables drops packets to this host, so nothing is hidden";

function sharesPackets(one: NftChain, other: NftChain): boolean {
  return one.family === "inet" || other.family === "inet" || one.family === other.family;
}

function refuse(reason: string): Refusal {
  return { ok: false, reason };
}
