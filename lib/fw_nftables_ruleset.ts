// What nftables has in force, as far as it matters for grants: tables, chains with their rules, and
// sets. Reads the JSON of libnftables-json(5).

import type { NftChainName } from "./conf_nftables.ts";
import type { IpVersion } from "./net_address.ts";

/** The hooks whose chains drop packets or let them pass. */
export type FilterHook = "input" | "forward" | "output";

/** A table. */
export type NftTable = Pick<NftChainName, "family" | "table">;

/** The table that is ours as a whole. */
export const OWN_TABLE: NftTable = { family: "inet", table: "spa" };

/** A rule, as far as it matters here. */
export interface NftRule {
  readonly handle: number;
  readonly comment: string | null;
  /** Statements; each is an object with one key, its kind. */
  readonly statements: readonly Readonly<Record<string, unknown>>[];
}

/** A chain of a family that IP packets pass. */
export interface NftChain extends NftChainName {
  /** Null for a chain that is only jumped to. */
  readonly hook: string | null;
  readonly type: string | null;
  readonly priority: number;
  readonly policy: string | null;
  readonly rules: readonly NftRule[];
}

/** A named set or map. */
export interface NftSet extends NftTable {
  readonly name: string;
  readonly kind: "set" | "map";
}

/** All tables, chains, sets and maps in force. */
export interface Ruleset {
  readonly tables: readonly NftTable[];
  readonly chains: readonly NftChain[];
  readonly sets: readonly NftSet[];
}

/** Text for messages: `inet filter input`. */
export function chainText({ family, table, chain }: NftChainName): string {
  return `${family} ${table} ${chain}`;
}

/** Whether two tables are the same. */
export function sameTable(one: NftTable, other: NftTable): boolean {
  return one.family === other.family && one.table === other.table;
}

/** Whether packets of some IP version can be in tables of both families. */
export function sharesPackets(one: NftTable, other: NftTable): boolean {
  return one.family === "inet" || other.family === "inet" || one.family === other.family;
}

/** The IP versions of the packets in a table. */
export function versionsOf({ family }: Pick<NftTable, "family">): readonly IpVersion[] {
  return family === "inet" ? [4, 6] : family === "ip" ? [4] : [6];
}

/** Whether a base chain is one that iptables makes for packets to be dropped in. */
export function belongsToIptables({ family, table, chain, hook }: NftChain): boolean {
  return chain === hook?.toUpperCase() && table === "filter" && family !== "inet";
}

/**
 * Reads the output of `nft --json list ...`; null when it is not that.
 */
export function parseRuleset(text: string): Ruleset | null {
  const objects = parseObjects(text);
  if (objects === null) return null;
  const tables = objects.flatMap(({ table }): NftTable[] => {
    const family = isRecord(table) ? familyOf(table.family) : null;
    return isRecord(table) && family !== null ? [{ family, table: String(table.name) }] : [];
  });
  const rules = Map.groupBy(
    objects.flatMap(({ rule }) => isRecord(rule) ? [rule] : []),
    ({ family, table, chain }) => JSON.stringify([family, table, chain]),
  );
  const chains = objects.flatMap(({ chain }): NftChain[] => {
    const family = isRecord(chain) ? familyOf(chain.family) : null;
    if (!isRecord(chain) || family === null) return [];
    const own = rules.get(JSON.stringify([family, chain.table, chain.name])) ?? [];
    return [{
      family,
      table: String(chain.table),
      chain: String(chain.name),
      hook: textOf(chain.hook),
      type: textOf(chain.type),
      priority: Number(chain.prio ?? 0),
      policy: textOf(chain.policy),
      rules: own.map((rule) => ({
        handle: Number(rule.handle),
        comment: textOf(rule.comment),
        statements: Array.isArray(rule.expr) ? rule.expr.filter(isRecord) : [],
      })),
    }];
  });
  const sets = objects.flatMap(({ set, map }): NftSet[] => {
    const one = set ?? map;
    const family = isRecord(one) ? familyOf(one.family) : null;
    if (!isRecord(one) || family === null) return [];
    const kind = set === undefined ? "map" : "set";
    return [{ family, table: String(one.table), name: String(one.name), kind }];
  });
  return { tables, chains, sets };
}

/** The objects in the output of `nft --json`; null when it is something else. */
export function parseObjects(text: string): Record<string, unknown>[] | null {
  try {
    const document: unknown = JSON.parse(text);
    if (!isRecord(document) || !Array.isArray(document.nftables)) return null;
    return document.nftables.filter(isRecord);
  } catch {
    return null;
  }
}

/** Whether a value is an object with keys. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function familyOf(value: unknown): NftChainName["family"] | null {
  return value === "ip" || value === "ip6" || value === "inet" ? value : null;
}
