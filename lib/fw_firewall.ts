// What a firewall backend is: a planner that knows commands and never runs one. A plan asks for
// program calls and is told their results, so that whoever drives it owns processes and time.

import type { FirewallGrant } from "./auth_grant.ts";
import type { ProgramCall, ProgramResult } from "./host.ts";
import type { ProtocolPort } from "./net_port.ts";

/** A call and what a log shows of it: the single commands that it stands for. */
export interface FirewallCall {
  readonly call: ProgramCall;
  readonly echo: readonly string[];
}

/**
 * A sequence of calls that depends on their results. Each step is a set of calls that may run at
 * the same time; the plan is resumed with their results in the same order.
 */
export type Plan<T> = Generator<readonly FirewallCall[], T, readonly ProgramResult[]>;

/** Which chain or set. */
export interface ChainName {
  readonly table: string;
  readonly chain: string;
  /** Set where a firewall has tables of the same name for each family, and this is in those of IPv6. */
  readonly family?: "ipv6";
}

/** One rule that gives access, as plain data; `chain` is the chain or set that holds it. */
export interface FirewallRule extends ChainName {
  /** What the log calls it: `access`, `OUTPUT`. */
  readonly kind: string;
  /** The rule in the backend's own language; equal text in one chain means the same rule. */
  readonly text: string;
  /**
   * What it opens, whenever it ends: of rules that open the same, only the one that ends last is
   * kept. Without it, rules open the same when their texts are equal.
   */
  readonly purpose?: string;
  /**
   * Where it leads those that it matches, if anywhere: of rules that open the same, one that leads
   * elsewhere takes the place of the other at once.
   */
  readonly leadsTo?: string;
  /** Wall clock, in whole seconds since 1970 UTC, at which it ends; part of the text. */
  readonly expires: number;
  /** Whether it opens nothing after its end even if it is still there. */
  readonly endsByItself?: boolean;
  /** What the log says of it after the chain's name: `192.0.2.10 -> 0.0.0.0/0 tcp/22`. */
  readonly summary: string;
  /**
   * Where the firewall ends rules by itself: how long it lasts, and whose stanza granted it. The
   * text then has no end in it, and adding the rule again gives it a new one.
   */
  readonly life?: { readonly seconds: number; readonly stanza: number };
  /** What it is for, where this run has opened it. */
  readonly grant?: FirewallGrant;
  /** When that was asked for, on the monotonic clock in milliseconds. */
  readonly openedAt?: number;
}

/** The rules of a grant, or why this firewall cannot express it. */
export type RuleChoice =
  | { readonly ok: true; readonly rules: readonly FirewallRule[] }
  | { readonly ok: false; readonly reason: string };

/** A rule as the firewall reports it; null where the rule does not match on something. */
export interface ListedRule extends ChainName {
  /** Position in its chain, from 1. */
  readonly number: number;
  readonly target: string | null;
  /** A name when it is well known (`tcp`), otherwise the number. */
  readonly protocol: string | null;
  readonly source: string | null;
  readonly destination: string | null;
  readonly sourcePort: number | null;
  readonly destinationPort: number | null;
  /** From its `_exp_` comment; null for a rule that does not end. */
  readonly expires: number | null;
  /** In the backend's own language, fit for removal. */
  readonly text: string;
  /** Number of the stanza that granted it, where the firewall keeps that. */
  readonly stanza?: number | null;
  /** Seconds by the firewall's own clock, where it has one. */
  readonly secondsLeft?: number | null;
  /** Address, or address and port, that its packets go to, or seem to come from. */
  readonly translatedTo?: string;
  /** Whether the kernel stops it at its end even if nobody removes it; not set where all are alike. */
  readonly endsByItself?: boolean;
}

/** A chain of ours and its rules. */
export interface ListedChain extends ChainName {
  /** False when the firewall does not have it. */
  readonly exists: boolean;
  /** Why its rules could not be read; null when they could. */
  readonly problem: string | null;
  readonly rules: readonly ListedRule[];
}

/** How setting up went. */
export type SetUpOutcome =
  | {
    readonly ok: true;
    /** Lines for the log, in fwknopd's wording. */
    readonly lines: readonly string[];
    /** What is in force in a lesser way than was asked for, a line each; none by default. */
    readonly warnings?: readonly string[];
    /** Rules of an earlier run that were kept and will end. */
    readonly kept: readonly FirewallRule[];
  }
  | {
    readonly ok: false;
    /** One line for the operator. */
    readonly reason: string;
    /** A line that fwknopd logs for this failure. */
    readonly warning?: string;
  };

/** How adding rules went; a failure leaves none of them behind. */
export type AddOutcome =
  & {
    /** What was found missing and set up again, for the log. */
    readonly repaired: readonly string[];
    /** Chains that had vanished with all their rules, by their {@linkcode chainKey}. */
    readonly lost: readonly string[];
  }
  & (
    | { readonly ok: true }
    | {
      readonly ok: false;
      readonly reason: string;
      /** Whether other rules may fare better, or none would. */
      readonly blames: "rules" | "firewall";
    }
  );

/** How removing rules went. A rule that somebody else removed before is no failure. */
export interface RemoveOutcome {
  readonly removed: readonly FirewallRule[];
  /** Rules that were not there any more. */
  readonly missing: readonly FirewallRule[];
  /** Rules that may still be there, with the reason. */
  readonly failed: readonly FirewallRule[];
  readonly reason: string;
}

/** How tearing down went; a reason tells what may be left. */
export type TearDownOutcome = { readonly ok: true } | {
  readonly ok: false;
  readonly reason: string;
};

/** How upkeep went: lines for the log, and why not all of it was done. */
export interface UpkeepOutcome {
  readonly lines: readonly string[];
  /** What no longer is as it should be, a line each; none by default. */
  readonly warnings?: readonly string[];
  /** Chains that had vanished with all their rules, by their {@linkcode chainKey}; none by default. */
  readonly lost?: readonly string[];
  readonly reason: string | null;
}

/** Whether grants could open in what is in force now. */
export type CheckOutcome =
  | {
    readonly ok: true;
    readonly lines: readonly string[];
    /** What may keep grants from opening, or leaves services open to all; none by default. */
    readonly warnings?: readonly string[];
  }
  | { readonly ok: false; readonly reason: string };

/** One firewall, planned. All functions are pure: what they need to know, their plans ask for. */
export interface FirewallPlanner {
  /** Its name in `FIREWALL` settings and messages. */
  readonly name: string;
  /** Whether chains of an earlier run go at the start (FLUSH_IPT_AT_INIT). */
  readonly flushAtStart: boolean;
  /** Whether chains go at the end (FLUSH_IPT_AT_EXIT). */
  readonly flushAtExit: boolean;
  /** Whether a new rule becomes the first of its chain instead of the last. */
  readonly newestFirst: boolean;
  /** Whether the firewall ends all rules by itself. */
  readonly endsByItself?: boolean;
  /** Whether people are shown a table instead of what the firewall's program prints. */
  readonly listsAsTable?: boolean;
  /** What our own rules hide from all but grants, so that it is open without them; none by default. */
  readonly hides?: readonly ProtocolPort[];
  /** What is to be done every so many seconds, such as clearing away what ended. */
  readonly upkeep?: { readonly seconds: number; run(): Plan<UpkeepOutcome> };
  /** Tells where grants would take effect, or why none could; changes nothing. */
  check?(): Plan<CheckOutcome>;
  /** Makes chains and jumps; with `flush` without the rules of an earlier run. */
  setUp(flush: boolean): Plan<SetUpOutcome>;
  /**
   * The rules that give a grant its access.
   *
   * @param open number of grants that are open or wait to be, since many may be kept in another
   *   way; none by default
   */
  rulesFor(grant: FirewallGrant, open?: number): RuleChoice;
  /**
   * Adds all of the rules or none; repairs chains and jumps that somebody removed.
   *
   * @param renewed those of the rules that are there already and get a new end; none by default
   */
  add(
    rules: readonly FirewallRule[],
    renewed?: ReadonlySet<FirewallRule>,
  ): Plan<AddOutcome>;
  /** Removes rules by content. */
  remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome>;
  /**
   * Removes rules before their end, where `remove` leaves their end to the firewall. Those that have
   * ended meanwhile are missing.
   */
  close?(rules: readonly FirewallRule[]): Plan<RemoveOutcome>;
  /** Tells which of the rules are surely gone; anybody may remove them. */
  missing?(rules: readonly FirewallRule[]): Plan<readonly FirewallRule[]>;
  /** Ends all grants, also those of an earlier run, and goes on hiding what is hidden. */
  endGrants?(): Plan<TearDownOutcome>;
  /** Removes chains, jumps and all rules of ours, also those of an earlier run. */
  tearDown(): Plan<TearDownOutcome>;
  /** Reads the chains of ours. */
  list(): Plan<readonly ListedChain[]>;
  /** Calls whose raw output shows our chains to people, and all tables they are in. */
  listing(what: "ours" | "all"): readonly ListingCall[];
}

/** A call whose output is for people. */
export interface ListingCall extends FirewallCall {
  /**
   * Set for what need not be there: the name of the firewall. Its output then counts only where it
   * has rules, and comes after that name.
   */
  readonly optional?: string;
}

/** One text for one chain or set. */
export function chainKey({ table, chain, family }: ChainName): string {
  return family === undefined ? `${table} ${chain}` : `${family} ${table} ${chain}`;
}

/** The rules that have an end, as an earlier run or another program left them. */
export function endingRules(listed: readonly ListedRule[]): FirewallRule[] {
  return listed.flatMap(({ table, chain, family, text, expires }) => {
    if (expires === null) return [];
    const name = { table, chain, ...(family === undefined ? {} : { family }) };
    return [{ kind: "earlier", ...name, text, expires, summary: text }];
  });
}
