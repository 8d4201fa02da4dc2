// What becomes of a packet in the chains that are in force: whether they drop it, and by which rule,
// as far as rules tell that by what is known of the packet.

import {
  type FilterHook,
  isRecord,
  type NftChain,
  type NftRule,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";
import type { ProtocolPort } from "./net_port.ts";

/** What is known of packets whose fate is asked for; by default nothing. */
export interface PacketTraits {
  /** Whether a match is met by all of them, or by some that matter; false when neither is known. */
  meets(match: Readonly<Record<string, unknown>>): "all" | "some" | false;
  /** Whether a key of a verdict map has a value with all of them; without it, none is known. */
  has?(key: unknown, value: unknown): boolean;
}

const ANY_PACKET: PacketTraits = { meets: () => false };

/** A rule of a chain that decides about a packet, itself or through chains that it leads to. */
interface Decision {
  readonly fate: "accept" | "drop";
  readonly rule: NftRule;
}

/** Whether a packet that no rule speaks of is dropped or rejected in this base chain. */
export function isClosed(ruleset: Ruleset, chain: NftChain, traits = ANY_PACKET): boolean {
  return (fateIn(ruleset, chain, traits) ?? chain.policy) === "drop";
}

/** nft(8) allows no deeper jumps. */
const DEEPEST_JUMP = 16;

/** What becomes of such a packet by the rules alone; null when they leave it to the policy. */
export function fateIn(
  ruleset: Ruleset,
  chain: NftChain,
  traits: PacketTraits,
): Decision["fate"] | null {
  return decisionIn(ruleset, chain, traits)?.fate ?? null;
}

/**
 * The rule that decides about such a packet; null when the rules leave it to the policy. What drops
 * but some of the packets that matter counts as dropping.
 */
export function decisionIn(
  ruleset: Ruleset,
  chain: NftChain,
  traits: PacketTraits,
  depth = 0,
): Decision | null {
  if (depth > DEEPEST_JUMP) return null;
  for (const rule of chain.rules) {
    const { statements } = rule;
    const last = statements.at(-1);
    // A rule with any other statement, such as a match or a limit, is not for every packet.
    const met = statements.slice(0, -1).map((one) => isSilent(one) ? "all" : traits.meets(one));
    if (last === undefined || met.includes(false)) continue;
    const fate = verdictOf(ruleset, chain, last, traits, depth);
    if (met.includes("some")) {
      if (fate === "drop") return { fate, rule };
    } else if (fate !== null) return fate === "return" ? null : { fate, rule };
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
): Decision["fate"] | "return" | null {
  if ("accept" in last) return "accept";
  if ("drop" in last || "reject" in last) return "drop";
  if (isRecord(last.xt) && last.xt.name === "REJECT") return "drop";
  if ("return" in last) return "return";
  if ("vmap" in last) {
    const verdict = verdictIn(last.vmap, traits);
    return verdict === null ? null : verdictOf(ruleset, chain, verdict, traits, depth);
  }
  const jump = last.jump ?? last.goto;
  const target = isRecord(jump)
    ? ruleset.chains.find((other) => sameTable(other, chain) && other.chain === jump.target)
    : undefined;
  const there = target === undefined
    ? null
    : decisionIn(ruleset, target, traits, depth + 1)?.fate ?? null;
  return there ?? ("goto" in last ? "return" : null);
}

/** The verdict of a verdict map for such a packet; null when it is not known to have any. */
function verdictIn(vmap: unknown, { has }: PacketTraits): Record<string, unknown> | null {
  if (!isRecord(vmap) || has === undefined) return null;
  for (const [value, verdict] of pairsOf(vmap.data)) {
    if (isRecord(verdict) && has(vmap.key, value)) return verdict;
  }
  return null;
}

/** What a map in a rule leads from and to. */
export function pairsOf(data: unknown): (readonly [value: unknown, verdict: unknown])[] {
  if (!isRecord(data) || !Array.isArray(data.set)) return [];
  return data.set.flatMap((pair: unknown) =>
    Array.isArray(pair) ? [[pair[0], pair[1]] as const] : []
  );
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

/** Base chains that packets pass on their way through a hook. */
export function chainsOnPath({ chains }: Ruleset, hook: FilterHook): NftChain[] {
  return chains.filter((chain) => chain.hook !== null && PATHS[hook].includes(chain.hook));
}

/** Base chains that every packet passes on its way through a hook, and that drop what nobody accepts. */
export function closedChains(
  ruleset: Ruleset,
  hook: FilterHook,
  traits: PacketTraits = ANY_PACKET,
): NftChain[] {
  return chainsOnPath(ruleset, hook).filter((chain) => isClosed(ruleset, chain, traits));
}

/** Whether rules accept all new connections whose packets carry all bits of a mark. */
export function acceptsMark(ruleset: Ruleset, chain: NftChain, mark: number): boolean {
  return fateIn(ruleset, chain, newPackets({ mark })) === "accept";
}

/**
 * What is known of packets that begin connections.
 *
 * @param known the bits of their mark, the name of the interface that they come by, and the port
 *   that they go to
 */
export function newPackets(
  { mark = null, input = null, to = null }: {
    readonly mark?: number | null;
    readonly input?: string | null;
    readonly to?: ProtocolPort | null;
  },
): PacketTraits {
  const has = (key: unknown, value: unknown): boolean => {
    if (!isRecord(key)) return false;
    if (isRecord(key.ct) && key.ct.key === "state") return value === "new";
    if (input !== null && isInputName(key)) return isNamed(input, value);
    if (to !== null && isDestination(key)) return isFor(to, key, value);
    const isMark = mark !== null && isRecord(key.meta) && key.meta.key === "mark";
    return isMark && value === mark;
  };
  return {
    has,
    meets({ match }) {
      if (!isRecord(match)) return false;
      if (mark !== null && matchesMark(match, mark)) return "all";
      const { op, left, right } = match;
      if (!isRecord(left) || isRecord(left.meta) && left.meta.key === "mark") return false;
      const isState = isRecord(left.ct) && left.ct.key === "state";
      const isKnown = isState || (input !== null && isInputName(left)) ||
        (to !== null && isDestination(left));
      if (!isKnown) return false;
      const isIn = valuesIn(right).some((value) => has(left, value));
      return (op === "!=" ? !isIn : (op === "==" || op === "in") && isIn) && "all";
    },
  };
}

/** Whether a key is the interface that packets come by. */
export function isInputName(key: unknown): boolean {
  return isRecord(key) && isRecord(key.meta) && /^iif(name)?$/.test(String(key.meta.key));
}

/** Whether a key is the protocol, or the port that packets go to. */
function isDestination(key: Readonly<Record<string, unknown>>): boolean {
  return isRecord(key.meta) && key.meta.key === "l4proto" ||
    isRecord(key.payload) && key.payload.field === "dport";
}

/** Whether packets for a port have a value in the place of a key. */
function isFor(
  { protocol, port }: ProtocolPort,
  { payload }: Readonly<Record<string, unknown>>,
  value: unknown,
): boolean {
  if (!isRecord(payload)) return value === protocol;
  if (payload.protocol !== protocol && payload.protocol !== "th") return false;
  const [first, last] = isRecord(value) && Array.isArray(value.range)
    ? value.range
    : [value, value];
  return Number(first) <= port && port <= Number(last);
}

/** Whether an interface's name is what a rule says, in which `*` at the end stands for any more. */
function isNamed(name: string, value: unknown): boolean {
  if (typeof value !== "string") return false;
  return value.endsWith("*") ? name.startsWith(value.slice(0, -1)) : name === value;
}

/** The values on the right side of a match. */
export function valuesIn(right: unknown): unknown[] {
  if (isRecord(right) && Array.isArray(right.set)) return right.set;
  return Array.isArray(right) ? right : [right];
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

/** A chain and all that it leads to, also by way of verdict maps and other chains. */
export function reachableFrom(ruleset: Ruleset, chain: NftChain): NftChain[] {
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
