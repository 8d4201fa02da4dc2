// Rulesets as nft lists them, for tests of what is made of them.

import assert from "node:assert/strict";
import { parseRuleset, type Ruleset } from "../lib/fw_nftables_ruleset.ts";

/** An object of libnftables-json(5). */
export type Json = Readonly<Record<string, unknown>>;

/** The JSON of a base chain `input` in a table, and of its rules. */
export function base(at: string, policy: string, ...rules: readonly (readonly Json[])[]): Json[] {
  const [family, table, name, hook = "input", prio = "0"] = at.split(" ");
  return [
    { table: { family, name: table } },
    { chain: { family, table, name, type: "filter", hook, prio: Number(prio), policy } },
    ...rules.map((expr, index) => ({
      rule: { family, table, chain: name, handle: index + 2, expr },
    })),
  ];
}

/** The JSON of a chain that is only jumped to. */
export function chain(at: string, ...rules: readonly (readonly Json[])[]): Json[] {
  const [family, table, name] = at.split(" ");
  return [
    { chain: { family, table, name } },
    ...rules.map((expr) => ({ rule: { family, table, chain: name, handle: 9, expr } })),
  ];
}

/** What `nft --json list ruleset` prints. */
export function json(objects: readonly Json[]): string {
  return JSON.stringify({ nftables: [{ metainfo: { json_schema_version: 1 } }, ...objects] });
}

/** What is read of it. */
export function rulesetOf(...objects: readonly Json[]): Ruleset {
  const ruleset = parseRuleset(json(objects));
  assert(ruleset !== null);
  return ruleset;
}

/** A match of a rule. */
export const match = (left: unknown, right: unknown, op = "=="): Json => ({
  match: { op, left, right },
});
export const MARK = { meta: { key: "mark" } };
export const ACCEPT = { accept: null };
export const DROP = { drop: null };
export const COUNTER = { counter: { packets: 0, bytes: 0 } };
