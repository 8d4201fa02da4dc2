// firewalld, planned: grants are rich rules with a time-out, which the daemon itself takes back,
// whatever becomes of this program. They live at run time only; no permanent file is touched.

import type { FirewallGrant } from "./auth_grant.ts";
import { callOf, explainCall } from "./fw_call.ts";
import {
  type AddOutcome,
  endingRules,
  type FirewallCall,
  type FirewallPlanner,
  type FirewallRule,
  type ListedChain,
  type Plan,
  type RemoveOutcome,
  type RuleChoice,
  type SetUpOutcome,
  type TearDownOutcome,
} from "./fw_firewall.ts";
import {
  isTagged,
  matchOf,
  NOT_RUNNING,
  parseRichRules,
  parseZoneNames,
  richRule,
  type TagSyntax,
  tagSyntaxOf,
  whyUnreachable,
} from "./fw_firewalld_rules.ts";
import { parseIp } from "./net_address.ts";
import { formatPorts } from "./net_port.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface FirewalldConfig {
  readonly FIREWALL_EXE: string;
  readonly FLUSH_FIREWD_AT_INIT: boolean;
  readonly FLUSH_FIREWD_AT_EXIT: boolean;
  readonly ENABLE_DESTINATION_RULE: boolean;
  /** Zones that grants open in, with commas; null for every active one and the default one. */
  readonly FIREWD_ZONE: string | null;
}

/** Zones and the way to tag rules, as the daemon at hand has them. */
interface Daemon {
  readonly zones: readonly string[];
  readonly tag: TagSyntax;
}

/** A command line has an end, at some 2 MB; a rule takes up to 300 bytes of it. */
const RULES_PER_CALL = 1000;

type Step<T> = ({ readonly ok: true } & T) | { readonly ok: false; readonly reason: string };

/**
 * The planner for firewalld. It remembers the zones that its last set-up found.
 *
 * @param config variables of fwknopd.conf
 */
export function firewalldPlanner(config: FirewalldConfig): FirewallPlanner {
  let daemon: Daemon | null = null;
  /** The rule that stands for a match, as it was added or found. */
  const standing = new Map<string, FirewallRule>();

  const call = (...args: readonly string[]): FirewallCall => callOf(config.FIREWALL_EXE, args);
  const listCall = (zone: string): FirewallCall => call(`--zone=${zone}`, "--list-rich-rules");

  function* inspect(): Plan<Step<Daemon>> {
    const calls = [call("--version"), call("--get-default-zone"), call("--get-active-zones")];
    const results = yield calls;
    for (const [index, asked] of calls.entries()) {
      const result = results[index];
      if (result?.status !== 0) return { ok: false, reason: explain(asked, result) };
    }
    const [version = "", initial = "", active = ""] = results.map(({ stdout }) => stdout);
    const named = (config.FIREWD_ZONE ?? "").split(",").map((name) => name.trim())
      .filter((name) => name !== "");
    const zones = named.length > 0 ? named : [initial.trim(), ...parseZoneNames(active)];
    return { ok: true, zones: [...new Set(zones)], tag: tagSyntaxOf(version) };
  }

  function* read(zones: readonly string[]): Plan<ListedChain[]> {
    const calls = zones.map(listCall);
    const results = yield calls;
    return zones.map((zone, index) => {
      const asked = calls[index] ?? call();
      const result = results[index];
      const isThere = result?.status === 0;
      return {
        table: "zone",
        chain: zone,
        exists: isThere,
        problem: isThere ? null : explain(asked, result),
        rules: isThere ? parseRichRules(result.stdout, zone) : [],
      };
    });
  }

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const found = yield* inspect();
    if (!found.ok) return found;
    const chains = yield* read(found.zones);
    const problem = chains.find((chain) => chain.problem !== null)?.problem ?? null;
    if (problem !== null) return { ok: false, reason: problem };
    daemon = found;
    standing.clear();
    const rules = endingRules(chains.flatMap((chain) => chain.rules));
    const lines = [describe(found)];
    if (flush) {
      const { reason } = yield* takeAway(rules);
      return reason === "" ? { ok: true, lines, kept: [] } : { ok: false, reason };
    }
    for (const rule of rules.toSorted((a, b) => a.expires - b.expires)) {
      standing.set(keyOf(rule), rule);
    }
    // Where this fails they end by themselves, no later than the one that stands for the same.
    yield* takeAway(rules.filter((rule) => standing.get(keyOf(rule)) !== rule));
    const kept = [...standing.values()].map((rule) => ({ ...rule, text: matchOf(rule.text) }));
    return { ok: true, lines, kept };
  }

  function* add(
    rules: readonly FirewallRule[],
    renewed: ReadonlySet<FirewallRule> = new Set(),
  ): Plan<AddOutcome> {
    if (daemon === null) return refused("nothing is set up", "firewall");
    const { tag } = daemon;
    const calls = additions(rules, tag);
    const results = yield calls;
    const failure = results.findIndex((result) => !succeeded(result));
    if (failure >= 0) {
      const asked = calls[failure] ?? call();
      const result = results[failure];
      yield* takeAway(rules.map((rule) => asAdded(rule, tag)));
      const blames = result?.status === NOT_RUNNING || result?.status === 127
        ? "firewall"
        : "rules";
      return refused(explain(asked, result), blames);
    }
    const replaced = rules.flatMap((rule) => {
      const before = renewed.has(rule) ? standing.get(keyOf(rule)) : undefined;
      const after = asAdded(rule, tag);
      standing.set(keyOf(rule), after);
      return before === undefined || before.text === after.text ? [] : [before];
    });
    // Where this fails they end by themselves, no later than what stands in their place.
    if (replaced.length > 0) yield* takeAway(replaced);
    return { ok: true, repaired: [], lost: [] };
  }

  function additions(rules: readonly FirewallRule[], tag: TagSyntax): FirewallCall[] {
    const groups = Map.groupBy(rules, (rule) => `${rule.chain} ${rule.life?.seconds ?? 0}`);
    return [...groups.values()].map((group) => {
      const [first] = group;
      return call(
        `--zone=${first?.chain ?? ""}`,
        ...group.map((rule) => `--add-rich-rule=${asAdded(rule, tag).text}`),
        `--timeout=${Math.max(1, first?.life?.seconds ?? 1)}`,
      );
    });
  }

  /** Rules that ended meanwhile are no failure to firewall-cmd either. */
  function* takeAway(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    if (rules.length === 0) return { removed: [], missing: [], failed: [], reason: "" };
    const groups = [...Map.groupBy(rules, (rule) => rule.chain)].flatMap(([zone, all]) =>
      inPortions(all).map((group) => ({ zone, group }))
    );
    const calls = groups.map(({ zone, group }) =>
      call(`--zone=${zone}`, ...group.map(({ text }) => `--remove-rich-rule=${text}`))
    );
    const results = yield calls;
    const removed: FirewallRule[] = [];
    const failed: FirewallRule[] = [];
    let reason = "";
    for (const [index, { group }] of groups.entries()) {
      const result = results[index];
      if (succeeded(result)) {
        removed.push(...group);
      } else {
        failed.push(...group);
        reason = explain(calls[index] ?? call(), result);
      }
    }
    return { removed, missing: [], failed, reason };
  }

  function* remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    const added = new Map(rules.map((rule) => [asStanding(rule), rule]));
    const outcome = yield* takeAway([...added.keys()]);
    const asGiven = (list: readonly FirewallRule[]): FirewallRule[] =>
      list.flatMap((rule) => added.get(rule) ?? []);
    for (const rule of outcome.removed) {
      if (standing.get(keyOf(rule)) === rule) standing.delete(keyOf(rule));
    }
    return { ...outcome, removed: asGiven(outcome.removed), failed: asGiven(outcome.failed) };
  }

  /** What was just listed is as it was read, whatever came to stand beside it. */
  function asStanding(rule: FirewallRule): FirewallRule {
    return (isTagged(rule.text) ? undefined : standing.get(keyOf(rule))) ?? rule;
  }

  /** A zone that cannot be read is not known to have lost anything. */
  function* missing(rules: readonly FirewallRule[]): Plan<readonly FirewallRule[]> {
    const chains = yield* read([...new Set(rules.map(({ chain }) => chain))]);
    const unread = new Set(chains.filter(({ exists }) => !exists).map(({ chain }) => chain));
    const there = new Set(chains.flatMap((chain) => endingRules(chain.rules)).map(identityOf));
    return rules.filter((rule) =>
      !unread.has(rule.chain) && !there.has(identityOf(asStanding(rule)))
    );
  }

  function* list(): Plan<readonly ListedChain[]> {
    const found = yield* inspect();
    if (found.ok) return yield* read(found.zones);
    const zone = { table: "zone", chain: "public", exists: false, rules: [] };
    return [{ ...zone, problem: found.reason }];
  }

  return {
    name: "firewalld",
    flushAtStart: config.FLUSH_FIREWD_AT_INIT,
    flushAtExit: config.FLUSH_FIREWD_AT_EXIT,
    newestFirst: false,
    endsByItself: true,
    *check() {
      const found = yield* inspect();
      return found.ok ? { ok: true, lines: [describe(found)] } : found;
    },
    setUp,
    rulesFor: (grant) => rulesFor(grant, daemon?.zones ?? [], config.ENABLE_DESTINATION_RULE),
    add,
    remove,
    missing,
    *tearDown(): Plan<TearDownOutcome> {
      const found = yield* inspect();
      if (!found.ok) return found;
      const chains = yield* read(found.zones);
      const { reason } = yield* takeAway(chains.flatMap(({ rules }) => endingRules(rules)));
      standing.clear();
      return reason === "" ? { ok: true } : { ok: false, reason };
    },
    list,
    listing: (what) => what === "all" ? [call("--list-all-zones")] : [],
  };
}

function asAdded(rule: FirewallRule, tag: TagSyntax): FirewallRule {
  if (rule.life === undefined) return rule;
  return { ...rule, text: richRule(rule.text, tag, rule.life.stanza, rule.expires) };
}

function inPortions(rules: readonly FirewallRule[]): FirewallRule[][] {
  const count = Math.ceil(rules.length / RULES_PER_CALL);
  return Array.from(
    { length: count },
    (_, index) => rules.slice(index * RULES_PER_CALL, (index + 1) * RULES_PER_CALL),
  );
}

/** The same for a rule that was just made and for one that was read. */
function keyOf({ chain, text }: FirewallRule): string {
  return `${chain} ${matchOf(text)}`;
}

/** Tells it also from the rule for the same that has another end. */
function identityOf(rule: FirewallRule): string {
  return `${keyOf(rule)} ${rule.expires}`;
}

function describe({ zones }: Daemon): string {
  const plural = zones.length === 1 ? "zone" : "zones";
  return `firewalld: grants are rich rules with a time-out in the ${plural} ${zones.join(", ")}`;
}

function refused(reason: string, blames: "rules" | "firewall"): AddOutcome {
  return { ok: false, reason, blames, repaired: [], lost: [] };
}

/** Of several rules in one call, some may fail although the call as a whole only warns of them. */
function succeeded(result: { status: number; stderr: string } | undefined): boolean {
  return result?.status === 0 && !/^Warning: (?!ALREADY_ENABLED|NOT_ENABLED)/m.test(result.stderr);
}

function explain(asked: FirewallCall, result: Parameters<typeof explainCall>[1]): string {
  const unreachable = whyUnreachable(result);
  if (unreachable !== null) return unreachable;
  const reason = explainCall(asked, result).replace(/^(?:Error|Warning): /, "");
  return reason.startsWith("INVALID_ZONE") ? `${reason}: see FIREWD_ZONE` : reason;
}

function rulesFor(
  grant: FirewallGrant,
  zones: readonly string[],
  withDestination: boolean,
): RuleChoice {
  if (grant.kind === "nat") {
    return { ok: false, reason: "firewalld translates addresses with ENABLE_FIREWD_DIRECT Y only" };
  }
  const { ports, seconds, stanza, expires } = grant;
  const source = parseIp(grant.source);
  const target = parseIp(grant.destination);
  if (source === null) return { ok: false, reason: `cannot open for "${grant.source}"` };
  if (withDestination && target?.version !== source.version) {
    return { ok: false, reason: `no rule leads from ${source.text} to ${grant.destination}` };
  }
  const family = `ipv${source.version}`;
  const to = withDestination ? ` destination address="${target?.text}"` : "";
  const anywhere = source.version === 6 ? "::/0" : "0.0.0.0/0";
  const destination = withDestination ? grant.destination : anywhere;
  const rules = zones.flatMap((zone) =>
    ports.map(({ protocol, port }) => ({
      kind: "access",
      table: "zone",
      chain: zone,
      text: `rule family="${family}" source address="${source.text}"${to}` +
        ` port port="${port}" protocol="${protocol}"`,
      expires,
      summary: `${source.text} -> ${destination} ${formatPorts(ports)}`,
      life: { seconds, stanza },
    }))
  );
  return { ok: true, rules };
}
