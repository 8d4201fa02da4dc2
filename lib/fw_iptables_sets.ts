// iptables for many grants: beyond a number that are open, those for plain access become elements
// of a set that one rule looks up, instead of rules of their own. It takes the kernel as long to
// add the ten-thousandth as the first, and to find it for a packet.

import type { FirewallGrant } from "./auth_grant.ts";
import { callOf, explainCall } from "./fw_call.ts";
import {
  type AddOutcome,
  chainKey,
  endingRules,
  type FirewallRule,
  type ListedChain,
  type Plan,
  type RemoveOutcome,
  type RuleChoice,
  type SetUpOutcome,
  type TearDownOutcome,
} from "./fw_firewall.ts";
import {
  additionOf,
  creationOf,
  elementsFor,
  everyIpset,
  type GrantIpset,
  IPSET_TABLE,
  type IpsetConfig,
  ipsetName,
  ipsetScript,
  ipsetsFor,
  isOurs,
  LONGEST_TIMEOUT,
  lookUpRule,
  parseIpset,
  removalOf,
} from "./fw_ipset.ts";
import type { IptablesPlanner } from "./fw_iptables.ts";
import { chainName, showCall } from "./fw_iptables_chains.ts";
import {
  applyEdits,
  type Edit,
  explainFailure,
  type IptablesPrograms,
} from "./fw_iptables_edit.ts";
import { canonicalRule, parseRules } from "./fw_iptables_listing.ts";
import { findProblem } from "./fw_iptables_set_up.ts";
import { joinKeepers, together } from "./fw_joined.ts";

/** The programs at hand. */
export interface SetPrograms extends IptablesPrograms {
  /** Null where it is not installed. */
  readonly ipset: string | null;
}

/** When grants become elements of sets. */
export interface SetSettings extends IpsetConfig {
  /** N gives each grant rules of its own, however many there are. */
  readonly ENABLE_IPSET: boolean;
  /** As many grants have rules of their own. */
  readonly IPSET_ABOVE_GRANTS: number;
}

/** What `ipset` says of a set, or an element, that is not there. */
const NOT_THERE = /does not exist|is NOT in set/;

/** So many elements are asked for one by one, each with a process. */
const FEW_ELEMENTS = 8;

/** The kernel lets go of a set some time after the last rule that looked it up. */
const DESTROY_ATTEMPTS = 50;

/**
 * A planner that keeps the grants above a number in sets, where that is wanted and ipset works. It
 * takes away what an earlier run has left of them in any case.
 */
export function withSets(
  planner: IptablesPlanner,
  programs: SetPrograms,
  config: SetSettings,
): IptablesPlanner {
  /** What an earlier run may have left is listed, closed and taken away like what is in use. */
  const lookUps = everyIpset(config, programs.family);
  const known = programs.ipset === null ? [] : lookUps;
  const sets = programs.ipset === null ? [] : ipsetsFor(config, programs.family);
  /** Called for these sets only. */
  const ipset = programs.ipset ?? "ipset";
  /** Whether the last set-up found that sets can be used. */
  let usable = false;

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    usable = false;
    const outcome = yield* planner.setUp(flush);
    if (!outcome.ok) return outcome;
    if (flush) {
      yield* removeLookUps();
      const used = config.ENABLE_IPSET ? sets.map(({ name }) => name) : [];
      yield* destroySets(known.filter(({ name }) => !used.includes(name)));
    }
    const problem = config.ENABLE_IPSET ? yield* prepare(flush) : null;
    usable = config.ENABLE_IPSET && sets.length > 0 && problem === null;
    const chains = flush ? [] : yield* listSets();
    const kept = chains.flatMap(({ rules }) => endingRules(rules));
    const lines = problem === null ? [] : [`All grants get rules of their own: ${problem}`];
    return {
      ...outcome,
      lines: [...outcome.lines, ...lines],
      kept: [...outcome.kept, ...kept],
    };
  }

  /** Makes the sets, and tells why packets could not be looked up in them; null when they can. */
  function* prepare(flush: boolean): Plan<string | null> {
    if (sets.length === 0) return null;
    const script = ipsetScript(ipset, [
      ...sets.map(creationOf),
      ...(flush ? sets.map(({ name }) => `flush ${name}`) : []),
    ]);
    const [result] = yield [script];
    const problem = result?.status === 0
      ? yield* findProblem(
        programs,
        sets.map((set) => ({ chain: set.chain, text: lookUpRule(set) })),
      )
      : explainCall(script, result);
    if (problem !== null) yield* destroySets(known);
    return problem;
  }

  function rulesFor(grant: FirewallGrant, open = 0): RuleChoice {
    const choice = planner.rulesFor(grant, open);
    const fits = usable && open >= config.IPSET_ABOVE_GRANTS && grant.seconds <= LONGEST_TIMEOUT;
    if (!choice.ok || !fits || grant.kind !== "access") return choice;
    const stoodFor = new Set(sets.map(({ chain }) => chainKey(chainName(programs, chain))));
    return {
      ok: true,
      rules: [
        ...sets.flatMap((set) => elementsFor(set, grant)),
        ...choice.rules.filter((rule) => !stoodFor.has(chainKey(rule))),
      ],
    };
  }

  function* add(rules: readonly FirewallRule[]): Plan<AddOutcome> {
    const used = sets.filter(({ name }) => rules.some(({ chain }) => chain === name));
    const script = ipsetScript(ipset, rules.map(additionOf));
    const looks = used.map(({ chain }) => showCall(programs, chain.table, chain.from));
    const [first, ...shown] = yield [script, ...looks];
    const missing = used.filter((set, index) => !isLookedUp(shown[index]?.stdout ?? "", set));
    const repaired: string[] = [];
    const lost: string[] = [];
    const failed = (reason: string, blames: "rules" | "firewall"): AddOutcome => {
      return { ok: false, reason, blames, repaired, lost };
    };

    if (first?.status !== 0) {
      const made = yield* makeMissing(used);
      if (!made.ok) return failed(made.reason, "firewall");
      lost.push(...made.sets.map((set) => chainKey(ipsetName(set))));
    }
    if (missing.length > 0) {
      const outcome = yield* applyEdits(programs, missing.map(insertionOf));
      if (!outcome.ok) {
        yield* remove(rules);
        return failed(outcome.reason, "firewall");
      }
      repaired.push(
        ...missing.map(({ name, chain }) => `Added rule for set ${name} to chain: ${chain.from}`),
      );
    }
    if (first?.status === 0) return { ok: true, repaired, lost };
    const [second] = lost.length === 0 ? [first] : yield [script];
    if (second?.status === 0) return { ok: true, repaired, lost };
    yield* remove(rules);
    return failed(explainCall(script, second), "rules");
  }

  /** Makes those of the sets that somebody destroyed. */
  function* makeMissing(
    wanted: readonly GrantIpset[],
  ): Plan<{ ok: true; sets: GrantIpset[] } | { ok: false; reason: string }> {
    const looks = yield wanted.map(({ name }) => callOf(ipset, ["list", "-name", name]));
    const gone = wanted.filter((_, index) => looks[index]?.status !== 0);
    if (gone.length === 0) return { ok: true, sets: [] };
    const script = ipsetScript(ipset, gone.map(creationOf));
    const [result] = yield [script];
    if (result?.status === 0) return { ok: true, sets: gone };
    return { ok: false, reason: explainCall(script, result) };
  }

  function* remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    if (rules.length === 0) return { removed: [], missing: [], failed: [], reason: "" };
    const script = ipsetScript(ipset, rules.map(removalOf));
    const [result] = yield [script];
    if (result?.status === 0) return { removed: rules, missing: [], failed: [], reason: "" };
    const gone = yield* missing(rules);
    const left = rules.filter((rule) => !gone.includes(rule));
    return { removed: [], missing: gone, failed: left, reason: explainCall(script, result) };
  }

  /** Those that the kernel has ended, or somebody took out. */
  function* missing(rules: readonly FirewallRule[]): Plan<readonly FirewallRule[]> {
    if (rules.length > FEW_ELEMENTS) {
      const chains = yield* listSets();
      if (chains.some(({ problem }) => problem !== null)) return [];
      const there = new Set(
        chains.flatMap((chain) => chain.rules).map(({ chain, text }) => `${chain} ${text}`),
      );
      return rules.filter(({ chain, text }) => !there.has(`${chain} ${text}`));
    }
    const results = yield rules.map(({ chain, text }) => callOf(ipset, ["test", chain, text]));
    return rules.filter((_, index) => NOT_THERE.test(results[index]?.stderr ?? ""));
  }

  function* listSets(): Plan<ListedChain[]> {
    const calls = known.map(({ name }) => callOf(ipset, ["save", name]));
    const results = yield calls;
    return known.flatMap((set, index): ListedChain[] => {
      const call = calls[index];
      const result = results[index];
      if (result?.status === 0) {
        const rules = parseIpset(result.stdout, set);
        return [{ ...ipsetName(set), exists: true, problem: null, rules }];
      }
      if (call === undefined || NOT_THERE.test(result?.stderr ?? "")) return [];
      const problem = explainCall(call, result);
      return [{ ...ipsetName(set), exists: false, problem, rules: [] }];
    });
  }

  function* tearDown(): Plan<TearDownOutcome> {
    const outcome = yield* planner.tearDown();
    const problem = (yield* removeLookUps()) ?? (yield* destroySets(known));
    if (!outcome.ok || problem === null) return outcome;
    return { ok: false, reason: problem };
  }

  /** Gives the reason why some may be left, or null. */
  function* removeLookUps(): Plan<string | null> {
    const chains = [...new Map(lookUps.map(({ chain }) => [chain.from, chain])).values()];
    const calls = chains.map(({ table, from }) => showCall(programs, table, from));
    const results = yield calls;
    const ourRules = new Set(lookUps.map((set) => canonicalRule(lookUpRule(set))));
    const edits = chains.flatMap(({ table, from }, index) =>
      parseRules(results[index]?.stdout ?? "", table, from)
        .filter(({ text }) => ourRules.has(canonicalRule(text)))
        .map(({ text }): Edit => ({ table, operation: "-D", chain: from, rest: text }))
    );
    const outcome = yield* applyEdits(programs, edits);
    if (!outcome.ok) return outcome.reason;
    // Status 1 is how iptables says that a chain is not there; others mean that it cannot tell.
    const failed = results.findIndex(({ status }) => status > 1);
    const call = calls[failed]?.call;
    return call === undefined ? null : explainFailure(call, results[failed]);
  }

  /**
   * Leaves those that somebody else has made under our names. Gives the reason why some may be left,
   * or null; those are empty.
   */
  function* destroySets(which: readonly GrantIpset[]): Plan<string | null> {
    let problem: string | null = null;
    const looks = yield which.map(({ name }) => callOf(ipset, ["list", "-terse", name]));
    for (const { name } of which.filter((set, index) => isOurs(looks[index]?.stdout ?? "", set))) {
      const call = callOf(ipset, ["destroy", name]);
      let [result] = yield [call];
      if (result?.status !== 0) {
        yield [callOf(ipset, ["flush", name])];
      }
      for (let attempt = 1; attempt < DESTROY_ATTEMPTS && isInUse(result); attempt++) {
        [result] = yield [call];
      }
      if (result?.status !== 0) problem = explainCall(call, result);
    }
    return problem;
  }

  return {
    ...planner,
    ...joinKeepers(planner, { add, remove, missing }, ({ table }) => table === IPSET_TABLE),
    setUp,
    rulesFor,
    tearDown,
    *list() {
      const [chains, found] = yield* together(planner.list(), listSets());
      return [...chains, ...found];
    },
    listing: (what) => [
      ...planner.listing(what),
      ...known.map(({ name }) => ({
        ...callOf(ipset, ["list", name]),
        optional: IPSET_TABLE,
      })),
    ],
  };
}

function isInUse(
  result: { readonly status: number; readonly stderr: string } | undefined,
): boolean {
  return result?.status === 1 && result.stderr.includes("in use");
}

function insertionOf(set: GrantIpset): Edit {
  const { table, from: chain, jumpPosition } = set.chain;
  return { table, operation: "-I", chain, rest: `${jumpPosition} ${lookUpRule(set)}` };
}

/** Whether the rule of a set stands in the output of `iptables -S` for its chain. */
function isLookedUp(text: string, set: GrantIpset): boolean {
  const wanted = canonicalRule(lookUpRule(set));
  return parseRules(text, set.chain.table, set.chain.from)
    .some((rule) => canonicalRule(rule.text) === wanted);
}
