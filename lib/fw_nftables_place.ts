// Where grants take effect in nftables. An `accept` in one base chain keeps no later one from
// dropping, so for each hook the place is chosen explicitly, and one where a grant could not open
// is refused.

import type { NftChainName } from "./conf_nftables.ts";
import { barringChain, closedToPublished } from "./fw_nftables_docker.ts";
import { acceptsMark, closedChains } from "./fw_nftables_fate.ts";
import { MARK_PRIORITY, rewritesMark } from "./fw_nftables_mark.ts";
import {
  belongsToIptables,
  chainText,
  type FilterHook,
  type NftChain,
  type NftTable,
  OWN_TABLE,
  type Ruleset,
  sameTable,
  sharesPackets,
  versionsOf,
} from "./fw_nftables_ruleset.ts";
import type { IpVersion } from "./net_address.ts";
import type { ProtocolPort } from "./net_port.ts";

/** What chooses places, by its names in fwknopd.conf. */
export interface PlaceConfig {
  /** Null when it is not set. */
  readonly NFT_ATTACH: readonly NftChainName[] | null;
  readonly NFT_MARK: number | null;
  readonly ENABLE_DEFAULT_DROP: readonly ProtocolPort[];
  /** Whether grants also open ports that Docker publishes; it forwards them. */
  readonly ENABLE_DOCKER: boolean;
  /** Whether grants open what this host forwards to others. */
  readonly ENABLE_IPT_FORWARDING: boolean;
}

/** Where grants take effect in a hook, for the IP versions that are in its table. */
export type Place =
  & {
    readonly hook: FilterHook;
    /** Holds the sets. */
    readonly table: NftTable;
    /** Ports that our chain hides from all but grants; in the forward hook, what Docker publishes. */
    readonly hidden: readonly ProtocolPort[];
  }
  & (
    | { readonly kind: "attached"; readonly chain: NftChainName }
    /** Only our chain drops anything. */
    | { readonly kind: "own" }
    | { readonly kind: "mark"; readonly mark: number }
    /** Nothing is dropped there. */
    | { readonly kind: "open" }
  );

/** A place for each hook, or two, one for each IP version; or one line that says why there is none. */
export type PlaceChoice = { readonly ok: true; readonly places: readonly Place[] } | Refusal;

interface Refusal {
  readonly ok: false;
  readonly reason: string;
}

/**
 * The table for an IP version's packets of a hook. Where no place has any, it is one without them.
 */
export function tableAt(
  places: readonly Place[],
  hook: string,
  version: IpVersion,
): NftTable | null {
  const tables = places.filter((place) => place.hook === hook).map(({ table }) => table);
  return tables.find((table) => versionsOf(table).includes(version)) ?? tables[0] ?? null;
}

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
  const named: NftChain[] = [];
  for (const name of config.NFT_ATTACH ?? []) {
    const text = chainText(name);
    const chain = ruleset.chains.find((one) => chainText(one) === text);
    if (chain === undefined) return refuse(`NFT_ATTACH: there is no chain ${text}`);
    if (belongsToIptables(chain)) {
      const isPublished = config.ENABLE_DOCKER && chain.hook === "forward";
      const advice = isPublished ? HIDE_PUBLISHED : "set FIREWALL_TYPE iptables, or NFT_MARK";
      return refuse(`NFT_ATTACH: ${text} belongs to iptables, ${MISREAD}; ${advice}`);
    }
    if (!hooks.some((hook) => hook === chain.hook) || chain.type !== "filter") {
      return refuse(`NFT_ATTACH: ${text} is no filter chain of the ${hooks.join(" or ")} hook`);
    }
    const other = named.find((one) => one.hook === chain.hook && sharesPackets(one, chain));
    if (other !== undefined) {
      return refuse(`NFT_ATTACH: ${chainText(other)} and ${text} are chains of the same hook`);
    }
    named.push(chain);
  }
  const places: Place[] = [];
  for (const hook of hooks) {
    const ofHook = named.filter((chain) => chain.hook === hook);
    const choice = choosePlace(config, ruleset, hook, ofHook);
    if (!choice.ok) return choice;
    places.push(...choice.places);
  }
  return { ok: true, places };
}

function choosePlace(
  config: PlaceConfig,
  ruleset: Ruleset,
  hook: FilterHook,
  named: readonly NftChain[],
): PlaceChoice {
  if (hook === "forward" && config.ENABLE_DOCKER) return choosePublished(config, ruleset, named);
  const closed = withoutOurs(closedChains(ruleset, hook));
  if (hook === "input") return chooseInput(config, ruleset, named, closed);
  if (named.length > 0) return attach(named, hook, closed);
  if (closed.length === 0) return at({ ...atOurs(hook), kind: "open" });
  if (config.NFT_MARK !== null) return mark(config.NFT_MARK, hook, ruleset, closed);
  return find(hook, closed);
}

function chooseInput(
  config: PlaceConfig,
  ruleset: Ruleset,
  named: readonly NftChain[],
  closed: readonly NftChain[],
): PlaceChoice {
  const { NFT_MARK, ENABLE_DEFAULT_DROP: hidden } = config;
  if (named.length > 0) return hiding(attach(named, "input", closed), hidden);
  // Beside Docker, rules that close this host leave its published ports open.
  const besides = config.ENABLE_DOCKER && closed.length > 0;
  if (hidden.length > 0 && !besides) return hide(hidden, closed);
  if (NFT_MARK === null) return hiding(find("input", closed), hidden);
  if (closed.length > 0) return hiding(mark(NFT_MARK, "input", ruleset, closed), hidden);
  return refuse(`NFT_MARK ${markText(NFT_MARK)}: ${NOTHING_CLOSED}`);
}

/** The place in the forward hook where that includes what Docker forwards. */
function choosePublished(
  config: PlaceConfig,
  ruleset: Ruleset,
  named: readonly NftChain[],
): PlaceChoice {
  const { NFT_MARK, ENABLE_DEFAULT_DROP: hidden } = config;
  // What else is forwarded must pass through Docker's chains, too.
  const others = config.ENABLE_IPT_FORWARDING ? closedChains(ruleset, "forward") : [];
  const closed = withoutOurs([...new Set([...closedToPublished(ruleset), ...others])]);
  const bar = barringChain(ruleset, null);
  const remaining = NFT_MARK === null ? bar : barringChain(ruleset, NFT_MARK);
  if (remaining !== null) return refuse(barredBy(remaining, NFT_MARK));
  const choice = named.length > 0
    ? attach(named, "forward", closed)
    : NFT_MARK !== null && (closed.length > 0 || bar !== null)
    ? mark(NFT_MARK, "forward", ruleset, closed)
    : closed.length > 0
    ? find("forward", closed)
    : hidden.length > 0
    ? at({ ...atOurs("forward"), kind: "own" })
    : refuse(
      `no chain of nftables drops what Docker publishes, so that is open to all; ${HIDE_PUBLISHED}`,
    );
  return hiding(choice, hidden);
}

function hiding(choice: PlaceChoice, hidden: readonly ProtocolPort[]): PlaceChoice {
  if (!choice.ok) return choice;
  return { ok: true, places: choice.places.map((place) => ({ ...place, hidden })) };
}

const HIDE_PUBLISHED =
  "set ENABLE_DEFAULT_DROP to the ports to hide, or NFT_ATTACH to a forward chain of yours";

function barredBy(chain: NftChain, mark: number | null): string {
  const what = `a grant could not open: ${chainText(chain)} drops what Docker publishes`;
  if (mark === null) {
    return `${what}, and belongs to iptables; remove its rule and ${HIDE_PUBLISHED}`;
  }
  const program = chain.family === "ip6" ? "ip6tables" : "iptables";
  const match = `-m mark --mark ${markText(mark)}/${markText(mark)}`;
  return `${what}; add "${program} -I DOCKER-USER ${match} -j RETURN"`;
}

function withoutOurs(chains: readonly NftChain[]): NftChain[] {
  return chains.filter((chain) => !sameTable(chain, OWN_TABLE));
}

function at(place: Place): PlaceChoice {
  return { ok: true, places: [place] };
}

function atOurs(hook: FilterHook): Pick<Place, "hook" | "table" | "hidden"> {
  return { hook, table: OWN_TABLE, hidden: [] };
}

/** A mark as messages have it. */
export function markText(mark: number): string {
  return `0x${mark.toString(16)}`;
}

/** Saved and loaded again by iptables, such a rule does accept all. */
const MISREAD = "which shows a rule with a set as one that accepts all";

function attach(
  chains: readonly NftChain[],
  hook: FilterHook,
  closed: readonly NftChain[],
): PlaceChoice {
  const places: Place[] = [];
  for (const chain of chains) {
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
    places.push({ hook, kind: "attached", table, chain: name, hidden: [] });
  }
  return { ok: true, places };
}

function hide(hidden: readonly ProtocolPort[], closed: readonly NftChain[]): PlaceChoice {
  const [obstacle] = closed;
  if (obstacle === undefined) {
    return at({ ...atOurs("input"), kind: "own", hidden });
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
): PlaceChoice {
  const text = markText(value);
  for (const chain of closed) {
    if (chain.hook === "prerouting" || (chain.hook === hook && chain.priority <= MARK_PRIORITY)) {
      return refuse(`NFT_MARK ${text}: ${chainText(chain)} drops before packets can be marked`);
    }
    if (!acceptsMark(ruleset, chain, value)) {
      return refuse(
        `a grant could not open: ${chainText(chain)} does not accept all that carries the mark;` +
          ` put that first: nft insert rule ${chainText(chain)} meta mark ${text} accept`,
      );
    }
  }
  const rewriting = rewritesMark(ruleset, closed, value).find(({ always }) => always);
  if (rewriting !== undefined) {
    const { chain, handle } = rewriting;
    return refuse(
      `a grant could not open: ${chainText(chain)} takes the mark ${text} off all packets` +
        ` (rule with handle ${handle}); have it keep those bits`,
    );
  }
  return at({ ...atOurs(hook), kind: "mark", mark: value });
}

/** The only chain that drops, or the only one for each IP version. */
function find(hook: FilterHook, closed: readonly NftChain[]): PlaceChoice {
  if (closed.length === 0) {
    return refuse(`${NOTHING_CLOSED}; set ENABLE_DEFAULT_DROP to the ports to hide, or NFT_ATTACH`);
  }
  const foreign = closed.find(belongsToIptables);
  if (foreign !== undefined) {
    return refuse(`${chainText(foreign)} belongs to iptables; set FIREWALL_TYPE iptables`);
  }
  const [first, second] = closed;
  const isOneEach = closed.length === 2 && first && second && !sharesPackets(first, second);
  if (closed.length > 1 && !isOneEach) {
    const names = closed.map(chainText).join(", ");
    return refuse(`more than one chain drops (${names}); set NFT_ATTACH or NFT_MARK`);
  }
  return attach(closed, hook, closed);
}

const NOTHING_CLOSED = "no chain of nftables drops what it does not know";

function refuse(reason: string): Refusal {
  return { ok: false, reason };
}
