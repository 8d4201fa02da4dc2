// The text for `nft -f` that puts sets and rules in their places, and takes them away again. Each
// script is one transaction: the kernel applies all of it or nothing.

import { MARK_PRIORITY } from "./fw_nftables_mark.ts";
import { HIDE_PRIORITY, type Place } from "./fw_nftables_place.ts";
import {
  type FilterHook,
  isRecord,
  type NftChain,
  type NftRule,
  type NftSet,
  type NftTable,
  OWN_TABLE,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";
import {
  GRANT_SETS,
  hideTranslated,
  isMap,
  lookUps,
  type NatHook,
  type PlacedSet,
  setDeclaration,
} from "./fw_nftables_sets.ts";
import type { ProtocolPort } from "./net_port.ts";

/** Where everything of a configuration is. */
export interface Layout {
  readonly places: readonly Place[];
  readonly sets: readonly PlacedSet[];
}

/** Our chain in a table of somebody else. */
export function attachedChain(hook: FilterHook): string {
  return `spa_${hook}`;
}
const ATTACHED_CHAINS: readonly string[] = (["input", "forward", "output"] as const)
  .map(attachedChain);

/** The comment of the jumps to them, by which we know them again. */
const JUMP_COMMENT = "spa: single packet authorization";

function jumpOf(hook: FilterHook): string {
  return `jump ${attachedChain(hook)} comment "${JUMP_COMMENT}"`;
}

/** Priorities of our chains that translate: ahead of others, so that a grant's target counts. */
const NAT_PRIORITIES: Readonly<Record<NatHook, number>> = { prerouting: -110, postrouting: 90 };

/**
 * Puts everything in its place, whatever is there of an earlier run.
 *
 * @param flush whether grants of an earlier run end
 */
export function setUpScript(layout: Layout, ruleset: Ruleset, flush: boolean): string[] {
  const { places, sets } = layout;
  const usesOwnTable = sets.some(({ table }) => sameTable(table, OWN_TABLE));
  return [
    ...removalScript(ruleset, places.map(({ table }) => table), flush ? [] : sets),
    ...(usesOwnTable ? [`add table ${homeOf(OWN_TABLE)}`] : []),
    ...sets.map((set) =>
      `add ${isMap(set) ? "map" : "set"} ${homeOf(set.table)} ${set.name} ${setDeclaration(set)}`
    ),
    ...places.flatMap((place) => {
      const ofTable = setsAt(sets, place.hook).filter(({ table }) => sameTable(table, place.table));
      return placeRules(place, ofTable);
    }),
    ...(["prerouting", "postrouting"] as const).flatMap((hook) =>
      translation(hook, setsAt(sets, hook))
    ),
  ];
}

function setsAt(sets: readonly PlacedSet[], hook: FilterHook | NatHook): PlacedSet[] {
  return sets.filter((set) => set.hook === hook);
}

function homeOf({ family, table }: NftTable): string {
  return `${family} ${table}`;
}

function placeRules(place: Place, sets: readonly PlacedSet[]): string[] {
  const { hook, hidden } = place;
  const home = homeOf(place.table);
  const rules = (chain: string, ...lines: readonly string[]): string[] =>
    lines.map((line) => `add rule ${home} ${chain} ${line}`);
  const lookedUp = (verdict?: string): string[] => sets.flatMap((set) => lookUps(set, verdict));
  // What is hidden is so for new connections of other hosts.
  const exempt = [...(hook === "input" ? ["iif lo"] : []), "ct state established,related"];
  const hiding = hidden.length === 0 ? [] : [
    ...exempt.map((match) => `${match} return`),
    ...hidingRules(hook, hidden),
  ];
  switch (place.kind) {
    case "attached": {
      const chain = attachedChain(hook);
      return [
        `add chain ${home} ${chain}`,
        ...rules(chain, ...lookedUp(), ...hiding),
        `insert rule ${home} ${place.chain.chain} ${jumpOf(hook)}`,
      ];
    }
    case "own":
      return [
        baseChain("filter", hook, HIDE_PRIORITY),
        ...rules(hook, ...exempt.map((match) => `${match} accept`)),
        ...rules(hook, ...lookedUp(), ...hidingRules(hook, hidden)),
      ];
    case "mark": {
      const mark = `meta mark set meta mark | 0x${place.mark.toString(16)}`;
      const verdict = hidden.length === 0 ? mark : `${mark} accept`;
      return [
        baseChain("filter", hook, MARK_PRIORITY),
        ...rules(hook, ...lookedUp(verdict), ...hiding),
      ];
    }
    case "open":
      return [baseChain("filter", hook, HIDE_PRIORITY), ...rules(hook, ...lookedUp())];
  }
}

function translation(hook: NatHook, sets: readonly PlacedSet[]): string[] {
  if (sets.length === 0) return [];
  return [
    baseChain("nat", hook, NAT_PRIORITIES[hook]),
    ...sets.flatMap((set) => lookUps(set))
      .map((rule) => `add rule ${homeOf(OWN_TABLE)} ${hook} ${rule}`),
  ];
}

/** A base chain in our own table, named as its hook. */
function baseChain(
  type: "filter" | "nat",
  hook: FilterHook | NatHook,
  priority: number,
): string {
  return `add chain ${homeOf(OWN_TABLE)} ${hook} ` +
    `{ type ${type} hook ${hook} priority ${priority}; policy accept; }`;
}

function hidingRules(hook: FilterHook, hidden: readonly ProtocolPort[]): string[] {
  if (hook === "forward") return hidden.map(hideTranslated);
  return (["tcp", "udp"] as const).flatMap((protocol) => {
    const ports = hidden.filter((one) => one.protocol === protocol).map(({ port }) => port);
    return ports.length === 0 ? [] : [`${protocol} dport { ${ports.join(", ")} } drop`];
  });
}

/**
 * Takes away what is ours, wherever an earlier configuration had put it.
 *
 * @param tables where our chains are known as ours even without a jump
 * @param keep sets that stay, with their grants
 */
export function removalScript(
  ruleset: Ruleset,
  tables: readonly NftTable[],
  keep: readonly PlacedSet[],
): string[] {
  return ruleset.tables.flatMap((table) => {
    const home = homeOf(table);
    const chains = ruleset.chains.filter((chain) => sameTable(chain, table));
    const stays = ({ name }: NftSet): boolean =>
      keep.some((set) => set.name === name && sameTable(set.table, table));
    const isOwn = sameTable(table, OWN_TABLE);
    const sets = isOwn
      ? ruleset.sets.filter((set) => sameTable(set, table))
      : setsIn(ruleset, table);
    if (isOwn && !sets.some(stays)) return [`delete table ${home}`];
    const jumps = chains.flatMap(({ chain, rules }) =>
      rules.filter(isOurJump).map(({ handle }) => `delete rule ${home} ${chain} handle ${handle}`)
    );
    const isOurs = isOwn || jumps.length > 0 || tables.some((one) => sameTable(one, table));
    if (!isOurs) return [];
    return [
      ...jumps,
      ...chains.filter(({ chain }) => isOwn || ATTACHED_CHAINS.includes(chain))
        .flatMap(({ chain }) => [`flush chain ${home} ${chain}`, `delete chain ${home} ${chain}`]),
      ...sets.filter((set) => !stays(set)).map(({ kind, name }) =>
        `delete ${kind} ${home} ${name}`
      ),
    ];
  });
}

/** Whether a chain is one that scripts make. */
export function isOurChain(chain: NftChain): boolean {
  return sameTable(chain, OWN_TABLE) || ATTACHED_CHAINS.includes(chain.chain);
}

function isOurJump(rule: NftRule): boolean {
  return ATTACHED_CHAINS.some((chain) => isJumpTo(rule, chain));
}

/** Whether a rule is a jump of ours to one of our chains. */
export function isJumpTo({ comment, statements }: NftRule, chain: string): boolean {
  return comment === JUMP_COMMENT &&
    statements.some(({ jump }) => isRecord(jump) && jump.target === chain);
}

/** Sets of our names that are in a table. */
function setsIn(ruleset: Ruleset, table: NftTable): NftSet[] {
  const names = new Set(GRANT_SETS.map(({ name }) => name));
  return ruleset.sets.filter((set) => names.has(set.name) && sameTable(set, table));
}

/** Whether the set is in force, with whatever is in it. */
export function isThere(ruleset: Ruleset, { name, table }: PlacedSet): boolean {
  return setsIn(ruleset, table).some((set) => set.name === name);
}

/** Sets of ours in any table. */
export function setsThere(ruleset: Ruleset): PlacedSet[] {
  return ruleset.tables.flatMap((table) => GRANT_SETS.map((set) => ({ ...set, table })))
    .filter((set) => isThere(ruleset, set));
}
