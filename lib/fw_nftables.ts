// nftables, planned: grants are elements of named sets with a time-out, so that the kernel ends
// them whatever becomes of this program; all edits of a step are one transaction.

import {
  type AddOutcome,
  type CheckOutcome,
  endingRules,
  type FirewallPlanner,
  type FirewallRule,
  type ListedChain,
  type Plan,
  type SetUpOutcome,
  type TearDownOutcome,
} from "./fw_firewall.ts";
import { whoRefers } from "./fw_nftables_busy.ts";
import {
  explain,
  listSets,
  NFT_PROGRAM,
  readingCall,
  readRuleset,
  scriptCall,
  type Step,
} from "./fw_nftables_calls.ts";
import { describeLayout } from "./fw_nftables_describe.ts";
import {
  elementPurpose,
  elementScript,
  identityOf,
  type Presence,
} from "./fw_nftables_elements.ts";
import { type ElementConfig, elementsOf } from "./fw_nftables_grant.ts";
import { areInForce, type Guards, readGuards } from "./fw_nftables_guard.ts";
import { closeElements, listGrants, missingElements } from "./fw_nftables_listing.ts";
import { choosePlaces, type Place, type PlaceConfig, tableAt } from "./fw_nftables_place.ts";
import { OWN_TABLE, type Ruleset, sameTable } from "./fw_nftables_ruleset.ts";
import {
  isThere,
  type Layout,
  removalScript,
  setsThere,
  setUpScript,
} from "./fw_nftables_script.ts";
import { hooksFor, isMap, type PlacedSet, setsFor } from "./fw_nftables_sets.ts";
import { nftablesUpkeep } from "./fw_nftables_upkeep.ts";
import { placeWarnings } from "./fw_nftables_warnings.ts";
import type { IpVersion } from "./net_address.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface NftablesConfig extends PlaceConfig, ElementConfig {
  /** Null: {@linkcode NFT_PROGRAM}, or whatever runs its calls for it. */
  readonly NFT_EXE: string | null;
  readonly FLUSH_IPT_AT_INIT: boolean;
  readonly FLUSH_IPT_AT_EXIT: boolean;
  /** Whether this host has IPv6; true by default. */
  readonly hasIpv6?: boolean;
}

const RULES_GONE = "rules of ours are gone";

/** How often elements that come and go between looking and putting them in are looked for again. */
const ATTEMPTS = 3;

type Addition = { readonly ok: true } | {
  readonly ok: false;
  readonly reason: string;
  readonly status: number;
  /** Whether elements were there, or not there, unlike what was expected. */
  readonly surprised: boolean;
};

/** What is in force, and where everything of ours is to be in it. */
interface Found {
  readonly ruleset: Ruleset;
  readonly layout: Layout;
}

/**
 * The planner for nftables. It remembers the places that its last set-up found, since grants are
 * elements of sets in those places.
 *
 * @param config variables of fwknopd.conf
 */
export function nftablesPlanner(config: NftablesConfig): FirewallPlanner {
  const program = config.NFT_EXE ?? NFT_PROGRAM;
  const hooks = hooksFor(config);
  const describe = (layout: Layout): string[] => describeLayout(layout, config);
  let layout: Layout | null = null;
  let guards: Guards = new Map();
  /** Warnings that came with the last set-up. */
  let told: readonly string[] = [];

  function layoutOf(places: readonly Place[]): Layout {
    const tableFor = (hook: PlacedSet["hook"], version: IpVersion) =>
      tableAt(places, hook, version) ?? OWN_TABLE;
    return { places, sets: setsFor(config, tableFor) };
  }

  function warningsFor({ ruleset, layout }: Found): string[] {
    return placeWarnings(ruleset, layout.places, config.hasIpv6 === false ? [4] : [4, 6]);
  }

  function* inspect(): Plan<Step<Found>> {
    const found = yield* readRuleset(program);
    if (!found.ok) return found;
    const choice = choosePlaces(config, found.ruleset, hooks);
    return choice.ok ? { ...found, layout: layoutOf(choice.places) } : choice;
  }

  function* complete(flush: boolean): Plan<Step<Found>> {
    const found = yield* inspect();
    if (!found.ok) return found;
    const script = setUpScript(found.layout, found.ruleset, flush);
    const [result] = yield [scriptCall(program, script)];
    if (result?.status !== 0) {
      const reason = explain(program, script, result);
      return { ok: false, reason: `${reason}${whoRefers(found.ruleset, script, reason)}` };
    }
    layout = found.layout;
    guards = yield* readGuards(program, layout.places.filter(isGuarded));
    told = warningsFor(found);
    return found;
  }

  function* check(): Plan<CheckOutcome> {
    const found = yield* inspect();
    if (!found.ok) return found;
    return { ok: true, lines: describe(found.layout), warnings: warningsFor(found) };
  }

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const done = yield* complete(flush);
    if (!done.ok) return done;
    const lines = describe(done.layout);
    const warnings = told;
    if (flush) return { ok: true, lines, warnings, kept: [] };
    const there = done.layout.sets.filter((set) => isThere(done.ruleset, set));
    const chains = yield* listSets(program, there);
    const kept = chains.flatMap(({ rules }) => endingRules(rules))
      .map((rule) => ({ ...rule, ...elementPurpose(rule.text) }));
    return { ok: true, lines, warnings, kept };
  }

  function* add(
    rules: readonly FirewallRule[],
    renewed: ReadonlySet<FirewallRule> = new Set(),
  ): Plan<AddOutcome> {
    let first = yield* addElements(
      new Map(rules.map((rule) => [rule, renewed.has(rule) ? "renewed" : "new"])),
    );
    // One that is about to end is no longer known, but still there.
    if (!first.ok && first.surprised) first = yield* addWhateverIsThere(rules);
    if (first.ok) return { ok: true, repaired: [], lost: [] };
    // Somebody may have flushed the ruleset, such as by loading it again from its file.
    const before = layout;
    const done = yield* complete(false);
    if (!done.ok) {
      return { ok: false, reason: done.reason, blames: "firewall", repaired: [], lost: [] };
    }
    const lost = lostIn(done).map(homeOf);
    const lines = describe(done.layout);
    const moved = before === null || describe(before).join() !== lines.join();
    const repaired = lost.length > 0 || moved || first.reason === RULES_GONE ? lines : [];
    const second = yield* addWhateverIsThere(rules.map((rule) => placed(rule, done.layout)));
    if (second.ok) return { ok: true, repaired, lost };
    const blames = second.status === 1 ? "rules" : "firewall";
    return { ok: false, reason: second.reason, blames, repaired, lost };
  }

  /**
   * What a map's element leads to cannot change while it is there, so those are looked for; in
   * sets it does not matter.
   */
  function* addWhateverIsThere(rules: readonly FirewallRule[]): Plan<Addition> {
    const maps = (layout?.sets ?? []).filter((set) =>
      isMap(set) && rules.some((rule) => holds(set, rule))
    );
    let last: Addition = { ok: false, reason: "", status: 1, surprised: true };
    for (let attempt = 0; !last.ok && last.surprised && attempt < ATTEMPTS; attempt++) {
      const listed = maps.length === 0 ? [] : yield* listSets(program, maps);
      const there = new Set(
        listed.flatMap((chain) => chain.rules).map((rule) => identityOf(rule)),
      );
      const presence = (rule: FirewallRule): Presence => {
        if (!maps.some((set) => holds(set, rule))) return "renewed";
        return there.has(identityOf(rule)) ? "replaced" : "new";
      };
      last = yield* addElements(new Map(rules.map((rule) => [rule, presence(rule)])));
    }
    return last;
  }

  /** In chains of somebody else, rules of ours may have gone without the sets. */
  function* addElements(rules: ReadonlyMap<FirewallRule, Presence>): Plan<Addition> {
    if (layout === null) {
      return { ok: false, reason: "nothing is set up", status: 1, surprised: false };
    }
    const script = [...rules].flatMap(([rule, presence]) => elementScript(rule, presence));
    const [result] = yield [scriptCall(program, script)];
    if (result?.status !== 0) {
      const reason = explain(program, script, result);
      const deletes = rules.values().some((presence) => presence === "replaced");
      const surprise = deletes ? /File exists|No such file/ : /File exists/;
      const surprised = surprise.test(result?.stderr ?? "");
      return { ok: false, reason, status: result?.status ?? 127, surprised };
    }
    const used = passedIn(layout).filter((place) =>
      layout?.sets.some((set) =>
        servedBy(set, place) && rules.keys().some((rule) => holds(set, rule))
      )
    );
    if (yield* areInForce(program, used, guards)) return { ok: true };
    return { ok: false, reason: RULES_GONE, status: 1, surprised: false };
  }

  /** Changes what is in force by a script for it. */
  function* change(scriptFor: (ruleset: Ruleset) => readonly string[]): Plan<TearDownOutcome> {
    const found = yield* readRuleset(program);
    if (!found.ok) return found;
    const script = scriptFor(found.ruleset);
    if (script.length === 0) return { ok: true };
    const [result] = yield [scriptCall(program, script)];
    if (result?.status === 0) return { ok: true };
    return { ok: false, reason: explain(program, script, result) };
  }

  function* list(): Plan<readonly ListedChain[]> {
    const known = layout?.sets ?? setsFor(config, () => config.NFT_ATTACH?.[0] ?? OWN_TABLE);
    return yield* listGrants(program, known);
  }

  return {
    name: "nftables",
    flushAtStart: config.FLUSH_IPT_AT_INIT,
    flushAtExit: config.FLUSH_IPT_AT_EXIT,
    newestFirst: false,
    endsByItself: true,
    hides: config.ENABLE_DEFAULT_DROP,
    check,
    upkeep: nftablesUpkeep({
      hides: config.ENABLE_DEFAULT_DROP.length > 0,
      isHiding: () => areInForce(program, layout?.places.filter(isGuarded) ?? [], guards),
      *repair() {
        const done = yield* complete(false);
        if (!done.ok) return done;
        return { ok: true, lines: describe(done.layout), lost: lostIn(done).map(homeOf) };
      },
      check,
      told: () => told,
    }),
    setUp,
    rulesFor: (grant) => elementsOf(grant, (layout ?? layoutOf([])).sets, config),
    add,
    // deno-lint-ignore require-yield -- the kernel has ended them already
    *remove(rules) {
      return { removed: rules, missing: [], failed: [], reason: "" };
    },
    close: (rules) => closeElements(program, rules, list),
    missing: (rules) => missingElements(program, rules, list),
    endGrants: () =>
      change((ruleset) =>
        setsThere(ruleset).map((set) => `flush ${isMap(set) ? "map" : "set"} ${homeOf(set)}`)
      ),
    tearDown: () =>
      change((ruleset) => {
        const tables = layout?.places.map(({ table }) => table) ?? config.NFT_ATTACH ?? [];
        return removalScript(ruleset, tables, []);
      }),
    list,
    listing: (what) => what === "all" ? [readingCall(program, "list", "ruleset")] : [],
  };
}

/** Sets that had gone, with their grants. */
function lostIn({ ruleset, layout }: Found): PlacedSet[] {
  return layout.sets.filter((set) => !isThere(ruleset, set));
}

/** Whether rules may go without the sets, or without anybody adding to the sets. */
function isGuarded({ kind, hidden }: Place): boolean {
  return kind === "attached" || kind === "mark" || hidden.length > 0;
}

function homeOf({ table, name }: PlacedSet): string {
  return `${table.family} ${table.table} ${name}`;
}

/** The places in which packets of grants pass by rules of ours, beside others that drop. */
function passedIn({ places }: Layout): Place[] {
  return places.filter(({ kind }) => kind === "attached" || kind === "mark");
}

function servedBy(set: PlacedSet, { hook, table }: Place): boolean {
  return set.hook === hook && sameTable(set.table, table);
}

/** The rule in the table where its set is now. */
function placed(rule: FirewallRule, { sets }: Layout): FirewallRule {
  const home = sets.find(({ name }) => name === rule.chain)?.table;
  return home === undefined ? rule : { ...rule, table: `${home.family} ${home.table}` };
}

function holds({ name, table }: PlacedSet, rule: FirewallRule): boolean {
  return rule.chain === name && rule.table === `${table.family} ${table.table}`;
}
