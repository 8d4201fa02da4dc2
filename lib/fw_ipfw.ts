// ipfw, planned: fwknop's numbered rules in a set of their own, and the set that ended rules are
// moved to, so that connections they opened live on. ipfw(8) has one edit a call.

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
  type UpkeepOutcome,
} from "./fw_firewall.ts";
import { dynamicNumbers, numbersIn, parseIpfwRules } from "./fw_ipfw_listing.ts";
import type { ProgramResult } from "./host.ts";
import { parseIpv4 } from "./net_address.ts";
import { formatPorts, PROTOCOL_NUMBERS } from "./net_port.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface IpfwConfig {
  readonly FIREWALL_EXE: string;
  readonly FLUSH_IPFW_AT_INIT: boolean;
  readonly FLUSH_IPFW_AT_EXIT: boolean;
  readonly IPFW_START_RULE_NUM: number;
  readonly IPFW_MAX_RULES: number;
  readonly IPFW_ACTIVE_SET_NUM: number;
  readonly IPFW_EXPIRE_SET_NUM: number;
  readonly IPFW_EXPIRE_PURGE_INTERVAL: number;
  readonly IPFW_ADD_CHECK_STATE: boolean;
  readonly ENABLE_DESTINATION_RULE: boolean;
}

/** The highest number of a rule but for ipfw's own default rule (ipfw(8)). */
const LAST_NUMBER = 65_534;

const NO_NUMBER = "Access request rejected: Maximum allowed number of rules has been reached.";

/**
 * The planner for ipfw. It remembers which numbers are in use, since it hands them out.
 *
 * @param config variables of fwknopd.conf
 */
export function ipfwPlanner(config: IpfwConfig): FirewallPlanner {
  const active = String(config.IPFW_ACTIVE_SET_NUM);
  const ended = config.IPFW_EXPIRE_SET_NUM === 0 ? null : String(config.IPFW_EXPIRE_SET_NUM);
  const first = config.IPFW_START_RULE_NUM;
  const last = Math.min(first + config.IPFW_MAX_RULES - 1, LAST_NUMBER);
  const chain = `set ${active}`;
  /** The texts of the rules that share a number. */
  const texts = new Map<number, Set<string>>();
  /** Numbers of rules that ended and were not purged yet. */
  const moved = new Set<number>();

  const call = (...args: readonly string[]): FirewallCall => callOf(config.FIREWALL_EXE, args);

  function* run(
    ...args: readonly string[]
  ): Plan<{ result: ProgramResult; reason: string | null }> {
    const asked = call(...args);
    const [result] = yield [asked];
    if (result !== undefined && result.status === 0) return { result, reason: null };
    return {
      result: result ?? { status: 127, stdout: "", stderr: "" },
      reason: explainCall(asked, result),
    };
  }

  function freeNumber(): number | null {
    for (let number = first; number <= last; number++) {
      if (!texts.has(number) && !moved.has(number)) return number;
    }
    return null;
  }

  function* setUp(flush: boolean): Plan<SetUpOutcome> {
    const listed = yield* run("set", active, "list");
    if (listed.reason !== null) return { ok: false, reason: listed.reason };
    texts.clear();
    moved.clear();
    const there = listed.result.stdout.trim() !== "";
    if (flush && there) {
      const { reason } = yield* run("delete", "set", active);
      if (reason !== null) return { ok: false, reason };
    }
    const rules = flush ? [] : parseIpfwRules(listed.result.stdout, chain);
    const withNumbers = flush ? [] : numbersIn(listed.result.stdout);
    for (const number of withNumbers) texts.set(number, new Set());
    for (const rule of rules) texts.get(rule.number)?.add(rule.text);
    const lines: string[] = [];
    if (config.IPFW_ADD_CHECK_STATE && !texts.has(first)) {
      const { reason } = yield* run("add", String(first), "set", active, "check-state");
      if (reason !== null) return { ok: false, reason };
      texts.set(first, new Set(["check-state"]));
      lines.push(`Added check-state rule ${first} to set ${active}`);
    }
    if (ended !== null) {
      if (flush) {
        const { reason } = yield* run("set", "disable", ended);
        if (reason !== null) return { ok: false, reason };
        lines.push(`Set ipfw expire set ${ended} to disabled.`);
      }
      const { result, reason } = yield* run("-S", "set", ended, "list");
      if (reason !== null) return { ok: false, reason };
      for (const number of numbersIn(result.stdout)) moved.add(number);
    }
    return { ok: true, lines, kept: endingRules(rules) };
  }

  function* add(rules: readonly FirewallRule[]): Plan<AddOutcome> {
    const numbers = new Map<string, number>();
    for (const rule of rules) {
      const grant = `${rule.summary} ${rule.expires}`;
      const number = numbers.get(grant) ?? freeNumber();
      if (number === null) return yield* takeBack(numbers, NO_NUMBER, "rules");
      numbers.set(grant, number);
      texts.set(number, (texts.get(number) ?? new Set()).add(rule.text));
      const { reason, result } = yield* run(
        ...["add", String(number), "set", active],
        ...rule.text.split(" "),
      );
      if (reason !== null) {
        return yield* takeBack(numbers, reason, result.status === 127 ? "firewall" : "rules");
      }
    }
    return { ok: true, repaired: [], lost: [] };
  }

  function* takeBack(
    numbers: ReadonlyMap<string, number>,
    reason: string,
    blames: "rules" | "firewall",
  ): Plan<AddOutcome> {
    for (const number of numbers.values()) {
      yield* run("set", active, "delete", String(number));
      texts.delete(number);
    }
    return { ok: false, reason, blames, repaired: [], lost: [] };
  }

  /** A number can only go as a whole; the rules that share one are of one grant and end together. */
  function* remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    const removed: FirewallRule[] = [];
    const failed: FirewallRule[] = [];
    let why = "";
    let numbers = numbersByText();
    if (rules.some(({ text }) => !numbers.has(text))) {
      yield* learnNumbers();
      numbers = numbersByText();
    }
    const missing = rules.filter(({ text }) => !numbers.has(text));
    const known = rules.filter(({ text }) => numbers.has(text));
    const byNumber = Map.groupBy(known, ({ text }) => numbers.get(text) ?? 0);
    for (const [number, mine] of byNumber) {
      const shared = texts.get(number) ?? new Set();
      for (const { text } of mine) shared.delete(text);
      if (shared.size > 0) {
        removed.push(...mine);
        continue;
      }
      const { reason } = ended === null
        ? yield* run("set", active, "delete", String(number))
        : yield* run("set", "move", "rule", String(number), "to", ended);
      if (reason !== null && (yield* isThere(number, "set", active, "list"))) {
        for (const { text } of mine) shared.add(text);
        failed.push(...mine);
        why = reason;
        continue;
      }
      texts.delete(number);
      if (reason === null && ended !== null) moved.add(number);
      (reason === null ? removed : missing).push(...mine);
    }
    return { removed, missing, failed, reason: why };
  }

  /** Of rules that another run of this program has set. */
  function* learnNumbers(): Plan<void> {
    const { result, reason } = yield* run("set", active, "list");
    const listed = reason === null ? parseIpfwRules(result.stdout, chain) : [];
    const unknown = new Set(listed.map(({ number }) => number).filter((one) => !texts.has(one)));
    for (const number of unknown) texts.set(number, new Set());
    for (const { number, text } of listed) if (unknown.has(number)) texts.get(number)?.add(text);
  }

  function numbersByText(): ReadonlyMap<string, number> {
    return new Map(
      [...texts].flatMap(([number, shared]) => [...shared].map((text) => [text, number] as const)),
    );
  }

  function* isThere(number: number, ...listing: readonly string[]): Plan<boolean> {
    const { result, reason } = yield* run(...listing);
    return reason !== null || numbersIn(result.stdout).includes(number);
  }

  /** Ended rules stay for as long as connections have dynamic rules of theirs. */
  function* purge(set: string): Plan<UpkeepOutcome> {
    if (moved.size === 0) return { lines: [], reason: null };
    const { result, reason } = yield* run("-d", "set", set, "list");
    if (reason !== null) return { lines: [], reason };
    const busy = new Set(dynamicNumbers(result.stdout));
    const lines: string[] = [];
    for (const number of [...moved].filter((number) => !busy.has(number))) {
      const deleted = yield* run("set", set, "delete", String(number));
      // Without -S, ipfw keeps silent about the rules of a disabled set.
      if (deleted.reason !== null && (yield* isThere(number, "-S", "set", set, "list"))) {
        return { lines, reason: deleted.reason };
      }
      if (deleted.reason === null) lines.push(`Purged rule ${number} from set ${set}`);
      moved.delete(number);
    }
    return { lines, reason: null };
  }

  function* tearDown(): Plan<TearDownOutcome> {
    const listed = yield* run("set", active, "list");
    if (listed.reason !== null) return { ok: false, reason: listed.reason };
    if (listed.result.stdout.trim() === "") return { ok: true };
    const { reason } = yield* run("delete", "set", active);
    return reason === null ? { ok: true } : { ok: false, reason };
  }

  function* list(): Plan<readonly ListedChain[]> {
    const { result, reason } = yield* run("set", active, "list");
    const rules = reason === null ? parseIpfwRules(result.stdout, chain) : [];
    return [{ table: "ipfw", chain, exists: reason === null, problem: reason, rules }];
  }

  return {
    name: "ipfw",
    flushAtStart: config.FLUSH_IPFW_AT_INIT,
    flushAtExit: config.FLUSH_IPFW_AT_EXIT,
    newestFirst: false,
    listsAsTable: true,
    ...(ended === null
      ? {}
      : { upkeep: { seconds: config.IPFW_EXPIRE_PURGE_INTERVAL, run: () => purge(ended) } }),
    *check() {
      const { reason } = yield* run("set", active, "list");
      if (reason !== null) return { ok: false, reason };
      return { ok: true, lines: [`ipfw: grants are rules ${first} to ${last} in set ${active}`] };
    },
    setUp,
    rulesFor: (grant) => rulesFor(config, grant, chain),
    add,
    remove,
    tearDown,
    list,
    listing: (what) =>
      what === "all"
        ? [call("list")]
        : [active, ...(ended === null ? [] : [ended])].map((set) =>
          call("-d", "-S", "-T", "set", set, "list")
        ),
  };
}

/** `setup` means a TCP packet that opens a connection, so a rule for UDP goes without it. */
function rulesFor(config: IpfwConfig, grant: FirewallGrant, chain: string): RuleChoice {
  if (grant.kind === "nat") {
    const what = grant.nat.local ? "Local NAT" : "Forwarding/NAT";
    return { ok: false, reason: `${what} requests are not currently supported.` };
  }
  for (const address of [grant.source, grant.destination]) {
    if (parseIpv4(address) === null) {
      return { ok: false, reason: `ipfw opens for IPv4 addresses only, not for ${address}` };
    }
  }
  const destination = config.ENABLE_DESTINATION_RULE ? grant.destination : "me";
  const rules = grant.ports.map(({ protocol, port }) => ({
    kind: "access",
    table: "ipfw",
    chain,
    text: `pass ${PROTOCOL_NUMBERS[protocol]} from ${grant.source} to ${destination}` +
      ` dst-port ${port}${protocol === "tcp" ? " setup" : ""} keep-state` +
      ` // _exp_${grant.expires}`,
    expires: grant.expires,
    summary: `${grant.source} -> ${destination} ${formatPorts(grant.ports)}`,
  }));
  return { ok: true, rules };
}
