// What keeps grants from opening for some packets, and packets that nothing hides this host from:
// no reason to refuse a set-up, but one to tell.

import {
  chainsOnPath,
  closedChains,
  decisionIn,
  isClosed,
  isInputName,
  newPackets,
  pairsOf,
  reachableFrom,
  valuesIn,
} from "./fw_nftables_fate.ts";
import { rewritesMark } from "./fw_nftables_mark.ts";
import { markText, type Place } from "./fw_nftables_place.ts";
import {
  chainText,
  type FilterHook,
  isRecord,
  type NftChain,
  OWN_TABLE,
  type Ruleset,
  sameTable,
  versionsOf,
} from "./fw_nftables_ruleset.ts";
import type { IpVersion } from "./net_address.ts";
import { formatPorts } from "./net_port.ts";

/**
 * Lines for the log, by what is in force.
 *
 * @param versions the IP versions that this host has
 */
export function placeWarnings(
  ruleset: Ruleset,
  places: readonly Place[],
  versions: readonly IpVersion[] = [4, 6],
): string[] {
  const lines = [...new Set(places.map(({ hook }) => hook))].flatMap((hook) => {
    const ofHook = places.filter((place) => place.hook === hook);
    return [
      ...withoutPlace(ruleset, hook, ofHook),
      ...ofHook.flatMap((place) => droppedByInterface(ruleset, place, ofHook)),
      ...(hook === "input" ? ofHook.flatMap((place) => droppedByPort(ruleset, place, ofHook)) : []),
      ...ofHook.flatMap((place) => withoutMark(ruleset, place)),
      ...(hook === "input" ? nothingHidden(ruleset, ofHook, versions) : []),
    ];
  });
  return [...new Set(lines)].map((line) => `nftables: ${line}`);
}

function others(chains: readonly NftChain[]): NftChain[] {
  return chains.filter((chain) => !sameTable(chain, OWN_TABLE));
}

/** An IP version whose packets a chain drops that no grant gets into. */
function withoutPlace(ruleset: Ruleset, hook: FilterHook, places: readonly Place[]): string[] {
  if (places.some(({ kind }) => kind !== "attached")) return [];
  return ([4, 6] as const).flatMap((version) => {
    if (places.some(({ table }) => versionsOf(table).includes(version))) return [];
    const closed = others(closedChains(ruleset, hook))
      .find((chain) => versionsOf(chain).includes(version));
    if (closed === undefined) return [];
    const chain = chainText(closed);
    return [
      `grants for IPv${version} cannot open: ${chain} drops, and NFT_ATTACH does not name it`,
    ];
  });
}

/** Chains that drop all that comes by some interface, whatever the place of grants has accepted. */
function droppedByInterface(
  ruleset: Ruleset,
  place: Place,
  places: readonly Place[],
): string[] {
  const mark = place.kind === "mark" ? place.mark : null;
  return openChains(ruleset, place.hook, places).flatMap((chain) => {
    const names = interfacesIn(reachableFrom(ruleset, chain));
    const interfaces = [...names.filter((name) => name !== "lo"), UNNAMED];
    const dropped = new Map<number, string[]>();
    for (const input of interfaces) {
      const decision = decisionIn(ruleset, chain, newPackets({ mark, input }));
      if (decision?.fate !== "drop") continue;
      const { handle } = decision.rule;
      const text = input === UNNAMED ? "other interfaces" : input.replace("*", "...");
      dropped.set(handle, [...dropped.get(handle) ?? [], text]);
    }
    return [...dropped].map(([handle, by]) =>
      `grants cannot open for what comes by ${by.join(", ")}:` +
      ` ${chainText(chain)} drops it (rule with handle ${handle})`
    );
  });
}

/** Chains that drop a port which grants are to open and our own table hides from all others. */
function droppedByPort(ruleset: Ruleset, place: Place, places: readonly Place[]): string[] {
  const mark = place.kind === "mark" ? place.mark : null;
  return openChains(ruleset, place.hook, places).flatMap((chain) =>
    place.hidden.flatMap((to) => {
      const decision = decisionIn(ruleset, chain, newPackets({ mark, to }));
      if (decision?.fate !== "drop") return [];
      return [
        `grants for ${formatPorts([to])} cannot open: ${chainText(chain)} drops it` +
        ` (rule with handle ${decision.rule.handle})`,
      ];
    })
  );
}

/** Chains of others on the way of a hook that grants do not go into; closed ones were asked about. */
function openChains(
  ruleset: Ruleset,
  hook: FilterHook,
  places: readonly Place[],
): NftChain[] {
  const isAttached = (chain: NftChain): boolean =>
    places.some((one) => one.kind === "attached" && chainText(one.chain) === chainText(chain));
  return others(chainsOnPath(ruleset, hook))
    .filter((chain) => !isAttached(chain) && !isClosed(ruleset, chain));
}

/** No interface has this name, so that only rules about all others speak of it. */
const UNNAMED = "";

/** The names of interfaces that rules speak of. */
function interfacesIn(chains: readonly NftChain[]): string[] {
  const names = chains.flatMap(({ rules }) => rules).flatMap(({ statements }) => statements)
    .flatMap(({ match, vmap }): unknown[] => {
      if (isRecord(match) && isInputName(match.left)) return valuesIn(match.right);
      return isRecord(vmap) && isInputName(vmap.key) ? pairsOf(vmap.data).map(([key]) => key) : [];
    });
  return [...new Set(names.filter((name) => typeof name === "string"))];
}

/** Rules that take the mark off some packets; those that do so with all of them are refused. */
function withoutMark(ruleset: Ruleset, place: Place): string[] {
  if (place.kind !== "mark") return [];
  const closed = others(closedChains(ruleset, place.hook));
  return rewritesMark(ruleset, closed, place.mark).map(({ chain, handle }) =>
    `${chainText(chain)} may take the mark ${markText(place.mark)} off grants` +
    ` (rule with handle ${handle})`
  );
}

/** IP versions of which no chain drops any packet. */
function nothingHidden(
  ruleset: Ruleset,
  places: readonly Place[],
  versions: readonly IpVersion[],
): string[] {
  const bare = versions.filter((version) =>
    !places.some(({ hidden, table }) => hidden.length > 0 && versionsOf(table).includes(version)) &&
    !others(chainsOnPath(ruleset, "input")).some((chain) =>
      versionsOf(chain).includes(version) &&
      (chain.policy === "drop" || reachableFrom(ruleset, chain).some(dropsAnything))
    )
  );
  if (bare.length === versions.length) return ["no chain drops any packet, so nothing is hidden"];
  return bare.map((version) =>
    `IPv${version} packets are not dropped by any chain, so nothing is hidden from them`
  );
}

function dropsAnything({ rules }: NftChain): boolean {
  return rules.some(({ statements }) => statements.some(mayDrop));
}

/** Whether a statement has `drop` or `reject` in it, also in a verdict map. */
function mayDrop(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(mayDrop);
  if (!isRecord(value)) return false;
  if ("drop" in value || "reject" in value) return true;
  if (isRecord(value.xt) && value.xt.name === "REJECT") return true;
  return Object.values(value).some(mayDrop);
}
