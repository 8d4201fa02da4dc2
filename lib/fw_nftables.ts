// nftables, planned: grants are elements of named sets with a time-out, so that the kernel ends
// them whatever becomes of this program; all edits of a step are one transaction.

import type { FirewallGrant } from "./auth_grant.ts";
import type {
  AddOutcome,
  FirewallCall,
  FirewallPlanner,
  FirewallRule,
  ListedChain,
  Plan,
  RuleChoice,
  SetUpOutcome,
  TearDownOutcome,
} from "./fw_firewall.ts";
import {
  choosePlace,
  describePlace,
  OWN_TABLE,
  type Place,
  type PlaceConfig,
} from "./fw_nftables_place.ts";
import { parseRuleset, type Ruleset } from "./fw_nftables_ruleset.ts";
import { JUMP, removalScript, setsIn, setUpScript } from "./fw_nftables_script.ts";
import { elementScript, elementsOf, parseElements, setsFor } from "./fw_nftables_sets.ts";
import type { ProgramResult } from "./host.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface NftablesConfig extends PlaceConfig {
  /** Null: {@linkcode NFT_PROGRAM}, or whatever runs its calls for it. */
  readonly NFT_EXE: string | null;
  readonly FLUSH_IPT_AT_INIT: boolean;
  readonly FLUSH_IPT_AT_EXIT: boolean;
  readonly ENABLE_DESTINATION_RULE: boolean;
}

/** The program whose calls this planner yields where NFT_EXE names no other. */
export const NFT_PROGRAM = "/usr/sbin/nft";

const JUMP_GONE = "the jump to our chain is gone";

/** Milliseconds after which a call is given up: well past a long ruleset. */
const CALL_TIMEOUT = 60_000;

type Step<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly reason: string };

/**
 * The planner for nftables. It remembers the place that its last set-up found, since grants are
 * elements of sets in that place.
 *
 * @param config variables of fwknopd.conf
 */
export function nftablesPlanner(config: NftablesConfig): FirewallPlanner {
  const { ENABLE_DESTINATION_RULE: destination } = config;
  const program = config.NFT_EXE ?? NFT_PROGRAM;
  let place: Place | null = null;

  function* inspect(): Plan<Step<{ ruleset: Ruleset; place: Place }>> {
    const found = yield* readRuleset(program);
    if (!found.ok) return found;
    const choice = choosePlace(config, found.ruleset);
    return choice.ok ? { ...found, place: choice.place } : choice;
  }

  function* complete(flush: boolean): Plan<Step<{ ruleset: Ruleset; place: Place }>> {
    const found = yield* inspect();
    if (!found.ok) return found;
    const script = setUpScript(found.place, found.ruleset, destination, flush);
    const [result] = yield [scriptCall(program, script)];
    if (result?.status !== 0) return { ok: false, reason: explain(program, script, result) };
    place = found.place;
    return found;
  }

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const done = yield* complete(flush);
    if (!done.ok) return done;
    const lines = [describePlace(done.place)];
    if (flush) return { ok: true, lines, kept: [] };
    const chains = yield* listSets(program, done.ruleset, [done.place]);
    return { ok: true, lines, kept: chains.flatMap(({ rules }) => rules.flatMap(keptRule)) };
  }

  function* add(
    rules: readonly FirewallRule[],
    renewed: ReadonlySet<FirewallRule> = new Set(),
  ): Plan<AddOutcome> {
    const all = new Set(rules);
    let first = yield* addElements(rules, renewed);
    // One that is about to end is no longer known, but still there.
    if (!first.ok && first.exists) first = yield* addElements(rules, all);
    if (first.ok) return { ok: true, repaired: [], lost: [] };
    // Somebody may have flushed the ruleset, such as by loading it again from its file.
    const before = place;
    const done = yield* complete(false);
    if (!done.ok) {
      return { ok: false, reason: done.reason, blames: "firewall", repaired: [], lost: [] };
    }
    const { family, table } = done.place.table;
    const there = setsIn(done.ruleset, done.place.table);
    const lost = setsFor(family, destination).map(({ name }) => name)
      .filter((name) => !there.includes(name)).map((name) => `${family} ${table} ${name}`);
    const moved = before === null || describePlace(before) !== describePlace(done.place);
    const repaired = lost.length > 0 || moved || first.reason === JUMP_GONE
      ? [describePlace(done.place)]
      : [];
    const second = yield* addElements(rules, all);
    if (second.ok) return { ok: true, repaired, lost };
    const blames = second.status === 1 ? "rules" : "firewall";
    return { ok: false, reason: second.reason, blames, repaired, lost };
  }

  /** In a chain of somebody else, the same call looks whether the jump is still there. */
  function* addElements(
    rules: readonly FirewallRule[],
    mayExist: ReadonlySet<FirewallRule>,
  ): Plan<{ ok: true } | { ok: false; reason: string; status: number; exists?: boolean }> {
    if (place === null) return { ok: false, reason: "nothing is set up", status: 1 };
    const { table } = place;
    const elements = rules.flatMap((rule) => elementScript(table, rule, mayExist.has(rule)));
    // `list chain` would fetch all elements of the table's sets, and with JSON nft takes no script.
    const look = place.kind === "attached" ? [`list ruleset ${table.family}`] : [];
    const script = [...elements, ...look];
    const [result] = yield [scriptCall(program, script)];
    if (result?.status !== 0) {
      const reason = explain(program, script, result);
      const exists = /File exists/.test(result?.stderr ?? "");
      return { ok: false, reason, status: result?.status ?? 127, exists };
    }
    if (look.length === 0 || result.stdout.includes(JUMP)) return { ok: true };
    return { ok: false, reason: JUMP_GONE, status: 1 };
  }

  function* list(): Plan<readonly ListedChain[]> {
    const found = yield* readRuleset(program);
    if (!found.ok) {
      const { family, table } = place?.table ?? config.NFT_ATTACH ?? OWN_TABLE;
      return setsFor(family, destination).map(({ name: chain }) => ({
        table: `${family} ${table}`,
        chain,
        exists: false,
        problem: found.reason,
        rules: [],
      }));
    }
    return yield* listSets(
      program,
      found.ruleset,
      found.ruleset.tables.map((table) => ({ table })),
    );
  }

  return {
    name: "nftables",
    flushAtStart: config.FLUSH_IPT_AT_INIT,
    flushAtExit: config.FLUSH_IPT_AT_EXIT,
    newestFirst: false,
    endsByItself: true,
    *check() {
      const found = yield* inspect();
      return found.ok ? { ok: true, lines: [describePlace(found.place)] } : found;
    },
    setUp,
    rulesFor: (grant) => rulesFor(grant, place, destination),
    add,
    // deno-lint-ignore require-yield -- the kernel has ended them already
    *remove(rules) {
      return { removed: rules, missing: [], failed: [], reason: "" };
    },
    *tearDown(): Plan<TearDownOutcome> {
      const found = yield* readRuleset(program);
      if (!found.ok) return found;
      const script = removalScript(found.ruleset, place?.table ?? config.NFT_ATTACH, null);
      if (script.length === 0) return { ok: true };
      const [result] = yield [scriptCall(program, script)];
      if (result?.status === 0) return { ok: true };
      return { ok: false, reason: explain(program, script, result) };
    },
    list,
    listing: (what) => what === "all" ? [readingCall(program, "list", "ruleset")] : [],
  };
}

function rulesFor(grant: FirewallGrant, place: Place | null, destination: boolean): RuleChoice {
  if (grant.kind === "access") return elementsOf(grant, place?.table ?? OWN_TABLE, destination);
  return { ok: false, reason: "nftables translates no addresses in this release" };
}

function keptRule(listed: ListedChain["rules"][number]): FirewallRule[] {
  const { table, chain, text, expires } = listed;
  return expires === null ? [] : [{ kind: "earlier", table, chain, text, expires, summary: text }];
}

function* readRuleset(program: string): Plan<Step<{ ruleset: Ruleset }>> {
  const call = readingCall(program, "--json", "--terse", "list", "ruleset");
  const [result] = yield [call];
  if (result?.status !== 0) return { ok: false, reason: explain(program, [], result) };
  const ruleset = parseRuleset(result.stdout);
  if (ruleset !== null) return { ok: true, ruleset };
  return { ok: false, reason: `${program} does not list the ruleset as JSON` };
}

function* listSets(
  program: string,
  ruleset: Ruleset,
  places: readonly Pick<Place, "table">[],
): Plan<ListedChain[]> {
  const sets = places.flatMap(({ table }) =>
    setsIn(ruleset, table).map((name) => ({ ...table, name }))
  );
  if (sets.length === 0) return [];
  const results = yield sets.map(({ family, table, name }) =>
    readingCall(program, "--json", "list", "set", family, table, name)
  );
  return sets.map((set, index) => {
    const result = results[index];
    const rules = result?.status === 0 ? parseElements(result.stdout, set) : null;
    return {
      table: `${set.family} ${set.table}`,
      chain: set.name,
      exists: true,
      problem: rules === null ? explain(program, [], result) : null,
      rules: rules ?? [],
    };
  });
}

function readingCall(program: string, ...args: readonly string[]): FirewallCall {
  const call = { program, args, timeout: CALL_TIMEOUT };
  return { call, echo: [`${program} ${args.join(" ")}`] };
}

function scriptCall(program: string, script: readonly string[]): FirewallCall {
  const stdin = script.map((line) => `${line}\n`).join("");
  const call = { program, args: ["--terse", "-f", "-"], stdin, timeout: CALL_TIMEOUT };
  return { call, echo: script.map((line) => `${program} ${line}`) };
}

/** One line that says why a call failed. */
function explain(
  program: string,
  script: readonly string[],
  result: ProgramResult | undefined,
): string {
  if (result === undefined || result.status === 127) {
    return `cannot run ${program}; it comes with the package nftables`;
  }
  const text = result.stderr.split("\n").map((line) => line.trim())
    .find((line) => /Error:|not permitted|must be root/.test(line));
  if (text === undefined) return `${program}: exit status ${result.status}`;
  const why = text.replace(/^.*?Error: /, "");
  // libnftables tells no number, and repeats the first line whichever is wrong.
  const number = /^[^:]*:(\d+):/.exec(text)?.[1] ?? (script.length === 1 ? 1 : null);
  const line = number === null ? undefined : script[Number(number) - 1];
  return line === undefined ? `${program}: ${why}` : `${program}: ${why} (${line})`;
}
