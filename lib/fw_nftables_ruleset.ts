// What nftables has in force, as far as it matters for grants: chains, whether a packet that
// nobody accepts gets through them, and what is ours. Reads the JSON of libnftables-json(5).

import type { NftChainName } from "./conf_nftables.ts";

/** The hooks whose chains drop packets or let them pass. */
export type FilterHook = "input" | "forward" | "output";

/** A table. */
export type NftTable = Pick<NftChainName, "family" | "table">;

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
  const rules = objects.flatMap(({ rule }) => isRecord(rule) ? [rule] : []);
  const chains = objects.flatMap(({ chain }): NftChain[] => {
    const family = isRecord(chain) ? familyOf(chain.family) : null;
    if (!isRecord(chain) || family === null) return [];
    const own = rules.filter((rule) =>
      rule.family === family && rule.table === chain.table && rule.chain === chain.name
    );
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

/** What is known of packets whose fate is asked for; by default nothing. */
export interface PacketTraits {
  /** Whether a match is met by all of them, or by some that matter; false when neither is known. */
  meets(match: Readonly<Record<string, unknown>>): "all" | "some" | false;
}

const ANY_PACKET: PacketTraits = { meets: () => false };

/** Whether a packet that no rule speaks of is dropped or rejected in this base chain. */
export function isClosed(ruleset: Ruleset, chain: NftChain, traits = ANY_PACKET): boolean {
  return (fateIn(ruleset, chain, traits) ?? chain.policy) === "drop";
}

/** nft(8) allows no deeper jumps. */
const DEEPEST_JUMP = 16;

/**
 * What becomes of such a packet by the rules alone; null when they leave it to the policy. What
 * drops but some of the packets that matter counts as dropping.
 */
export function fateIn(
  ruleset: Ruleset,
  chain: NftChain,
  traits: PacketTraits,
  depth = 0,
): "accept" | "drop" | null {
  if (depth > DEEPEST_JUMP) return null;
  for (const { statements } of chain.rules) {
    const last = statements.at(-1);
    // A rule with any other statement, such as a match or a limit, is not for every packet.
    const met = statements.slice(0, -1).map((one) => isSilent(one) ? "all" : traits.meets(one));
    if (last === undefined || met.includes(false)) continue;
    const fate = verdictOf(ruleset, chain, last, traits, depth);
    if (met.includes("some")) {
      if (fate === "drop") return fate;
    } else if (fate !== null) return fate === "return" ? null : fate;
  }
  return null;
}

/** What a statement at the end of a rule decides; null for nothing. */
function verdictOf(
  ruleset: Ruleset,
  chain: NftChain,
  last: Readonly<Record<string, unknown>>,
  traits: PacketTraits,
  depth: number,
): "accept" | "drop" | "return" | null {
  if ("accept" in last) return "accept";
  if ("drop" in last || "reject" in last) return "drop";
  if (isRecord(last.xt) && last.xt.name === "REJECT") return "drop";
  if ("return" in last) return "return";
  const jump = last.jump ?? last.goto;
  const target = isRecord(jump)
    ? ruleset.chains.find((other) => sameTable(other, chain) && other.chain === jump.target)
    : undefined;
  const there = target === undefined ? null : fateIn(ruleset, target, traits, depth + 1);
  return there ?? ("goto" in last ? "return" : null);
}

function isSilent(statement: Readonly<Record<string, unknown>>): boolean {
  return "counter" in statement || "log" in statement || "mangle" in statement;
}

/** The hooks that packets pass on their way; see nft(8), table 6. */
const PATHS: Readonly<Record<FilterHook, readonly string[]>> = {
  input: ["prerouting", "input"],
  forward: ["prerouting", "forward", "postrouting"],
  output: ["output", "postrouting"],
};

/** Base chains that every packet passes on its way through a hook, and that drop what nobody accepts. */
export function closedChains(
  ruleset: Ruleset,
  hook: FilterHook,
  traits: PacketTraits = ANY_PACKET,
): NftChain[] {
  return ruleset.chains.filter((chain) =>
    chain.hook !== null && PATHS[hook].includes(chain.hook) && isClosed(ruleset, chain, traits)
  );
}

/** Whether some rule that packets in a chain meet accepts them because they carry all bits of a mark. */
export function acceptsMark(ruleset: Ruleset, chain: NftChain, mark: number): boolean {
  return reachableFrom(ruleset, chain).some(({ rules }) =>
    rules.some(({ statements }) =>
      statements.some((statement) => matchesMark(statement.match, mark)) &&
      statements.some((statement) => "accept" in statement)
    )
  );
}

/** A chain and all that it jumps to, also by way of verdict maps and other chains. */
function reachableFrom(ruleset: Ruleset, chain: NftChain): NftChain[] {
  const found = new Set([chain]);
  // A set also visits what is added on the way.
  for (const one of found) {
    const targets = new Set(one.rules.flatMap(({ statements }) => targetsIn(statements)));
    for (const other of ruleset.chains) {
      if (sameTable(other, chain) && targets.has(other.chain)) found.add(other);
    }
  }
  return [...found];
}

/** The chains that some JSON names behind `jump` or `goto`. */
export function targetsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(targetsIn);
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === "jump" || key === "goto") && isRecord(inner) && typeof inner.target === "string"
      ? [inner.target]
      : targetsIn(inner)
  );
}

/** Whether a match is met by packets that carry all bits of a mark. */
export function matchesMark(match: unknown, mark: number): boolean {
  if (!isRecord(match)) return false;
  const { op, left, right } = match;
  const masked = isRecord(left) && Array.isArray(left["&"]) ? left["&"] : null;
  const key = masked === null ? left : masked[0];
  if (!isRecord(key) || !isRecord(key.meta) || key.meta.key !== "mark") return false;
  const mask = masked === null ? 0xffffffff : Number(masked[1]);
  // Marks use all 32 bits, which JavaScript's operators take for a sign.
  const bits = Number(BigInt(mark) & BigInt(mask >>> 0));
  if (op === "!=") return right === 0 && bits !== 0;
  if (op !== "==" && op !== "in") return false;
  const values: unknown[] = isRecord(right) && Array.isArray(right.set) ? right.set : [right];
  return bits !== 0 && values.includes(bits);
}
