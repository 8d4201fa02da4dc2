// The text for `nft -f` that puts sets and rules in their place, and takes them away again. Each
// script is one transaction: the kernel applies all of it or nothing.

import { HIDE_PRIORITY, MARK_PRIORITY, OWN_TABLE, type Place } from "./fw_nftables_place.ts";
import {
  isRecord,
  type NftRule,
  type NftTable,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";
import { GRANT_SETS, setMatch, setsFor, setType } from "./fw_nftables_sets.ts";
import type { ProtocolPort } from "./net_port.ts";

/** Our chain in a table of somebody else. */
export const ATTACHED_CHAIN = "spa_input";
/** The comment of the jump to it, by which we know it again. */
const JUMP_COMMENT = "spa: single packet authorization";
/** The jump, as nft reads and lists it. */
export const JUMP = `jump ${ATTACHED_CHAIN} comment "${JUMP_COMMENT}"`;

/**
 * Puts everything in its place, whatever is there of an earlier run.
 *
 * @param flush whether grants of an earlier run end
 */
export function setUpScript(
  place: Place,
  ruleset: Ruleset,
  destination: boolean,
  flush: boolean,
): string[] {
  const { family, table } = place.table;
  const home = `${family} ${table}`;
  const sets = setsFor(family, destination);
  const addSets = sets.map((set) =>
    `add set ${home} ${set.name} { type ${setType(set)}; flags timeout; }`
  );
  const lookUp = (chain: string, verdict: string): string[] =>
    sets.map((set) => `add rule ${home} ${chain} ${setMatch(set)} ${verdict}`);
  const removed = removalScript(ruleset, place.table, flush ? null : place.table);
  switch (place.kind) {
    case "attached":
      return [
        ...removed,
        ...addSets,
        `add chain ${home} ${ATTACHED_CHAIN}`,
        ...lookUp(ATTACHED_CHAIN, "accept"),
        `insert rule ${home} ${place.chain.chain} ${JUMP}`,
      ];
    case "own":
      return [
        ...removed,
        `add table ${home}`,
        ...addSets,
        baseChain(home, HIDE_PRIORITY),
        `add rule ${home} input iif lo accept`,
        `add rule ${home} input ct state established,related accept`,
        ...lookUp("input", "accept"),
        ...hidingRules(home, place.hidden),
      ];
    case "mark":
      return [
        ...removed,
        `add table ${home}`,
        ...addSets,
        baseChain(home, MARK_PRIORITY),
        ...lookUp("input", `meta mark set meta mark | 0x${place.mark.toString(16)}`),
      ];
  }
}

/**
 * Takes away what is ours, wherever an earlier configuration had put it.
 *
 * @param place a table where our chain is known as ours even without a jump; null for none
 * @param keepSets the table whose sets stay, with their grants; null for none
 */
export function removalScript(
  ruleset: Ruleset,
  place: NftTable | null,
  keepSets: NftTable | null,
): string[] {
  return ruleset.tables.flatMap((table) => {
    const home = `${table.family} ${table.table}`;
    const keeps = keepSets !== null && sameTable(table, keepSets);
    const chains = ruleset.chains.filter((chain) => sameTable(chain, table));
    if (sameTable(table, OWN_TABLE)) {
      if (!keeps) return [`delete table ${home}`];
      return chains.flatMap(({ chain }) => [
        `flush chain ${home} ${chain}`,
        `delete chain ${home} ${chain}`,
      ]);
    }
    const jumps = chains.flatMap(({ chain, rules }) =>
      rules.filter(isOurJump).map(({ handle }) => `delete rule ${home} ${chain} handle ${handle}`)
    );
    const isOurs = jumps.length > 0 || (place !== null && sameTable(table, place));
    if (!isOurs) return [];
    const chain = chains.find((one) => one.chain === ATTACHED_CHAIN);
    return [
      ...jumps,
      ...(chain === undefined
        ? []
        : [`flush chain ${home} ${chain.chain}`, `delete chain ${home} ${chain.chain}`]),
      ...(keeps ? [] : setsIn(ruleset, table).map((name) => `delete set ${home} ${name}`)),
    ];
  });
}

function isOurJump({ comment, statements }: NftRule): boolean {
  return comment === JUMP_COMMENT &&
    statements.some(({ jump }) => isRecord(jump) && jump.target === ATTACHED_CHAIN);
}

/** Names of our sets that are in a table. */
export function setsIn(ruleset: Ruleset, table: NftTable): string[] {
  return GRANT_SETS.map(({ name }) => name)
    .filter((name) => ruleset.sets.some((set) => set.name === name && sameTable(set, table)));
}

function baseChain(home: string, priority: number): string {
  return `add chain ${home} input ` +
    `{ type filter hook input priority ${priority}; policy accept; }`;
}

function hidingRules(home: string, hidden: readonly ProtocolPort[]): string[] {
  return (["tcp", "udp"] as const).flatMap((protocol) => {
    const ports = hidden.filter((one) => one.protocol === protocol).map(({ port }) => port);
    if (ports.length === 0) return [];
    return [`add rule ${home} input ${protocol} dport { ${ports.join(", ")} } drop`];
  });
}
