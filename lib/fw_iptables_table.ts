// The table `filter` of iptables as `iptables -S` prints it, and what it does to packets to this
// host.

import { splitWords } from "./fw_iptables_listing.ts";

/** A rule, as far as it matters here. */
interface TableRule {
  /** Whether it is for every packet. */
  readonly unconditional: boolean;
  /** Null for a rule that only counts. */
  readonly target: string | null;
  /** Whether its chain comes back when the target has no verdict. */
  readonly returns: boolean;
}

/** The chains of one table. */
export interface FilterTable {
  readonly policies: ReadonlyMap<string, string>;
  readonly chains: ReadonlyMap<string, readonly TableRule[]>;
}

/** Where packets to this host pass. */
const INPUT = "INPUT";
/** iptables allows no deeper jumps either. */
const DEEPEST_JUMP = 16;
const DROPPING = new Set(["DROP", "REJECT", "TARPIT"]);
/** Targets that surely let packets go on. */
const HARMLESS = new Set(
  "ACCEPT RETURN LOG NFLOG ULOG MARK CONNMARK SECMARK CONNSECMARK AUDIT TRACE SET".split(" "),
);

/** Reads the output of `iptables -t filter -S` (iptables(8)). */
export function parseFilterTable(text: string): FilterTable {
  const policies = new Map<string, string>();
  const chains = new Map<string, TableRule[]>();
  for (const line of text.split("\n")) {
    const [operation, name = "", ...rest] = splitWords(line);
    if (operation !== "-P" && operation !== "-N" && operation !== "-A") continue;
    const rules = chains.get(name) ?? [];
    chains.set(name, rules);
    if (operation === "-P") policies.set(name, rest[0] ?? "");
    if (operation === "-A") rules.push(ruleOf(rest));
  }
  return { policies, chains };
}

function ruleOf(words: readonly string[]): TableRule {
  const at = words.findIndex((word) => word === "-j" || word === "-g");
  const matches = at < 0 ? words : words.slice(0, at);
  const comment = matches[0] === "-m" && matches[1] === "comment" && matches.length === 4;
  return {
    unconditional: matches.length === 0 || comment,
    target: at < 0 ? null : words[at + 1] ?? null,
    returns: words[at] !== "-g",
  };
}

/** Whether a packet to this host that no rule speaks of is dropped or rejected. */
export function closesInput(table: FilterTable): boolean {
  const fate = fateIn(table, INPUT, 0) ?? table.policies.get(INPUT) ?? "ACCEPT";
  return DROPPING.has(fate);
}

/** What the rules decide for every packet; null when they leave it to the policy. */
function fateIn(table: FilterTable, chain: string, depth: number): string | null {
  if (depth > DEEPEST_JUMP) return null;
  for (const { unconditional, target, returns } of table.chains.get(chain) ?? []) {
    if (!unconditional || target === null) continue;
    if (target === "RETURN") return null;
    if (target === "ACCEPT" || DROPPING.has(target)) return target;
    const fate = fateIn(table, target, depth + 1);
    if (fate !== null || !returns) return fate;
  }
  return null;
}

/** Whether some packets to this host may be dropped; false only where none is. */
export function mayDropInput(table: FilterTable): boolean {
  if ((table.policies.get(INPUT) ?? "ACCEPT") !== "ACCEPT") return true;
  const met = new Set([INPUT]);
  // A set also visits what is added on the way.
  for (const chain of met) {
    for (const { target } of table.chains.get(chain) ?? []) {
      if (target === null || HARMLESS.has(target)) continue;
      if (!table.chains.has(target)) return true;
      met.add(target);
    }
  }
  return false;
}

/**
 * Whether somebody has written rules for packets to this host.
 *
 * @param ours the chain whose jump does not count
 */
export function rulesInput(table: FilterTable, ours: string): boolean {
  if ((table.policies.get(INPUT) ?? "ACCEPT") !== "ACCEPT") return true;
  return (table.chains.get(INPUT) ?? []).some(({ target }) => target !== ours);
}
