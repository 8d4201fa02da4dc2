// Where grants take effect in nftables. An `accept` in one base chain keeps no later one from
// dropping, so for each hook the place is chosen explicitly, and one where a grant could not open
// is refused.

import type { NftChainName } from "./conf_nftables.ts";
import { barringChain, closedToPublished } from "./fw_nftables_docker.ts";
import {
  acceptsMark,
  belongsToIptables,
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
  /** Whether grants also open ports that Docker publishes; it forwards them. */
  readonly ENABLE_DOCKER: boolean;
  /** Whether grants open what this host forwards to others. */
  readonly ENABLE_IPT_FORWARDING: boolean;
}

/** Where grants take effect in a hook. */
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
    if (belongsToIptables(chain)) {
      const isPublished = config.ENABLE_DOCKER && chain.hook === "forward";
      const advice = isPublished ? HIDE_PUBLISHED : "set FIREWALL_TYPE iptables, or NFT_MARK";
      return refuse(`NFT_ATTACH: ${text} belongs to iptables, ${MISREAD}; ${advice}`);
    }
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
  if (hook === "forward" && config.ENABLE_DOCKER) return choosePublished(config, ruleset, named);
  const closed = withoutOurs(closedChains(ruleset, hook));
  if (hook === "input") return chooseInput(config, ruleset, named, closed);
  if (named !== null) return attach(named, hook, closed);
  if (closed.length === 0) return { ok: true, place: { ...atOurs(hook), kind: "open" } };
  if (config.NFT_MARK !== null) return mark(config.NFT_MARK, hook, ruleset, closed);
  return find(hook, closed);
}

function chooseInput(
  config: PlaceConfig,
  ruleset: Ruleset,
  named: NftChain | null,
  closed: readonly NftChain[],
): HookChoice {
  const { NFT_MARK, ENABLE_DEFAULT_DROP: hidden } = config;
  if (named !== null) return hiding(attach(named, "input", closed), hidden);
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
  named: NftChain | null,
): HookChoice {
  const { NFT_MARK, ENABLE_DEFAULT_DROP: hidden } = config;
  // What else is forwarded must pass through Docker's chains, too.
  const others = config.ENABLE_IPT_FORWARDING ? closedChains(ruleset, "forward") : [];
  const closed = withoutOurs([...new Set([...closedToPublished(ruleset), ...others])]);
  const bar = barringChain(ruleset, null);
  const remaining = NFT_MARK === null ? bar : barringChain(ruleset, NFT_MARK);
  if (remaining !== null) return refuse(barredBy(remaining, NFT_MARK));
  const choice = named !== null
    ? attach(named, "forward", closed)
    : NFT_MARK !== null && (closed.length > 0 || bar !== null)
    ? mark(NFT_MARK, "forward", ruleset, closed)
    : closed.length > 0
    ? find("forward", closed)
    : hidden.length > 0
    ? { ok: true as const, place: { ...atOurs("forward"), kind: "own" as const } }
    : refuse(
      `no chain of nftables drops what Docker publishes, so that is open to all; ${HIDE_PUBLISHED}`,
    );
  return hiding(choice, hidden);
}

function hiding(choice: HookChoice, hidden: readonly ProtocolPort[]): HookChoice {
  return choice.ok ? { ok: true, place: { ...choice.place, hidden } } : choice;
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

function atOurs(hook: FilterHook): Pick<Place, "hook" | "table" | "hidden"> {
  return { hook, table: OWN_TABLE, hidden: [] };
}

function markText(mark: number): string {
  return `0x${mark.toString(16)}`;
}

/** What to tell of a place, a line each. */
export function describePlace(
  place: Place,
  config: Pick<PlaceConfig, "ENABLE_DOCKER" | "ENABLE_IPT_FORWARDING">,
): string[] {
  const { hook, table, hidden } = place;
  const docker = hook === "forward" && config.ENABLE_DOCKER;
  const subjects = [
    ...(hook !== "forward" || config.ENABLE_IPT_FORWARDING ? [SUBJECTS[hook]] : []),
    ...(docker ? ["grants to what Docker publishes"] : []),
  ];
  const grants = subjects.flatMap((subject) => describeGrants(place, subject));
  const what = `${formatPorts(hidden)}${docker ? ", published by Docker," : ""}`;
  const hides = `nftables: table ${table.family} ${table.table} hides ${what} from all but grants`;
  return [...grants, ...(hidden.length > 0 ? [hides] : [])];
}

function describeGrants(place: Place, subject: string): string[] {
  switch (place.kind) {
    case "attached":
      return [`nftables: ${subject} are accepted in chain ${chainText(place.chain)}`];
    case "own":
      return [];
    case "mark":
      return [`nftables: packets of ${subject} carry the mark ${markText(place.mark)}`];
    case "open":
      return [
        place.hook === "forward"
          ? "nftables: no chain drops what this host forwards, so that hides nothing"
          : "nftables: no chain drops what this host sends",
      ];
  }
}

const SUBJECTS: Readonly<Record<FilterHook, string>> = {
  input: "grants",
  forward: "forwarded grants",
  output: "answers to grants",
};

/** Saved and loaded again by iptables, such a rule does accept all. */
const MISREAD = "which shows a rule with a set as one that accepts all";

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
  return { ok: true, place: { hook, kind: "attached", table, chain: name, hidden: [] } };
}

function hide(hidden: readonly ProtocolPort[], closed: readonly NftChain[]): HookChoice {
  const [obstacle] = closed;
  if (obstacle === undefined) {
    return { ok: true, place: { ...atOurs("input"), kind: "own", hidden } };
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
  const text = markText(value);
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
  return { ok: true, place: { ...atOurs(hook), kind: "mark", mark: value } };
}

function find(hook: FilterHook, closed: readonly NftChain[]): HookChoice {
  const [first, second] = closed;
  if (first === undefined) {
    return refuse(`${NOTHING_CLOSED}; set ENABLE_DEFAULT_DROP to the ports to hide`);
  }
  if (belongsToIptables(first)) {
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
