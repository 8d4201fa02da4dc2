// pf, planned: fwknop's rules in an anchor of their own, whose end is their label. pfctl(8) loads
// an anchor as a whole, so each edit reads it, and one load makes the change.

import type { FirewallGrant } from "./auth_grant.ts";
import { callOf, explainCall } from "./fw_call.ts";
import type {
  AddOutcome,
  CheckOutcome,
  FirewallCall,
  FirewallPlanner,
  FirewallRule,
  ListedChain,
  Plan,
  RemoveOutcome,
  RuleChoice,
  SetUpOutcome,
  TearDownOutcome,
} from "./fw_firewall.ts";
import { anchorIsListed, parsePfRules, samePfRule } from "./fw_pf_listing.ts";
import type { ProgramResult } from "./host.ts";
import { parseIpv4 } from "./net_address.ts";
import { formatPorts, PROTOCOL_NUMBERS } from "./net_port.ts";

/** What the planner needs of fwknopd.conf, by its variables' names. */
export interface PfConfig {
  readonly FIREWALL_EXE: string;
  readonly PF_ANCHOR_NAME: string;
  readonly ENABLE_DESTINATION_RULE: boolean;
}

/** fwknop's words for an anchor that no rule of /etc/pf.conf leads to. */
const NOT_ACTIVE = "the fwknop anchor is not active in the pf policy";

/**
 * The planner for pf. /etc/pf.conf must have the line `anchor "fwknop"`.
 *
 * @param config variables of fwknopd.conf
 */
export function pfPlanner(config: PfConfig): FirewallPlanner {
  const anchor = config.PF_ANCHOR_NAME;
  const call = (...args: readonly string[]): FirewallCall => callOf(config.FIREWALL_EXE, args);
  const readCall = call("-a", anchor, "-s", "rules");
  const flushCall = call("-a", anchor, "-F", "all");

  function* run(asked: FirewallCall): Plan<{ result: ProgramResult; reason: string | null }> {
    const [result] = yield [asked];
    if (result !== undefined && result.status === 0) return { result, reason: null };
    return {
      result: result ?? { status: 127, stdout: "", stderr: "" },
      reason: explainCall(asked, result),
    };
  }

  /** Puts these rules in the place of all that are there; one load is one transaction. */
  function* load(rules: readonly string[]): Plan<{ result: ProgramResult; reason: string | null }> {
    if (rules.length === 0) return yield* run(flushCall);
    const text = rules.map((rule) => `${rule}\n`).join("");
    return yield* run(callOf(config.FIREWALL_EXE, ["-a", anchor, "-f", "-"], text));
  }

  function* check(): Plan<CheckOutcome> {
    const { result, reason } = yield* run(call("-s", "Anchor"));
    if (reason !== null) return { ok: false, reason };
    if (!anchorIsListed(result.stdout, anchor)) {
      const hint = `add the line: anchor "${anchor}" to /etc/pf.conf`;
      return { ok: false, reason: `${NOT_ACTIVE}; ${hint}` };
    }
    return { ok: true, lines: [`pf: grants are rules of the anchor ${anchor}`] };
  }

  function* setUp(): Plan<SetUpOutcome> {
    const checked = yield* check();
    if (!checked.ok) return { ...checked, ...warningOf(checked.reason) };
    const { reason } = yield* run(flushCall);
    return reason === null ? { ok: true, lines: [], kept: [] } : { ok: false, reason };
  }

  function* add(rules: readonly FirewallRule[]): Plan<AddOutcome> {
    const refuse = (reason: string, blames: "rules" | "firewall"): AddOutcome => ({
      ...{ ok: false, reason, blames },
      ...{ repaired: [], lost: [] },
    });
    const there = yield* run(readCall);
    if (there.reason !== null) return refuse(there.reason, "firewall");
    const lines = [...linesOf(there.result.stdout), ...rules.map(({ text }) => text)];
    const { reason, result } = yield* load(lines);
    if (reason !== null) return refuse(reason, result.status === 127 ? "firewall" : "rules");
    return { ok: true, repaired: [], lost: [] };
  }

  function* remove(rules: readonly FirewallRule[]): Plan<RemoveOutcome> {
    const there = yield* run(readCall);
    if (there.reason !== null) {
      return { removed: [], missing: [], failed: rules, reason: there.reason };
    }
    const lines = linesOf(there.result.stdout);
    const stay = lines.filter((line) => !rules.some(({ text }) => samePfRule(text, line)));
    const isThere = ({ text }: FirewallRule): boolean =>
      lines.some((line) => samePfRule(text, line));
    const removed = rules.filter(isThere);
    const missing = rules.filter((rule) => !isThere(rule));
    if (removed.length === 0) return { removed, missing, failed: [], reason: "" };
    const { reason } = yield* load(stay);
    if (reason === null) return { removed, missing, failed: [], reason: "" };
    return { removed: [], missing, failed: removed, reason };
  }

  function* tearDown(): Plan<TearDownOutcome> {
    const { reason } = yield* run(flushCall);
    return reason === null ? { ok: true } : { ok: false, reason };
  }

  function* list(): Plan<readonly ListedChain[]> {
    const { result, reason } = yield* run(readCall);
    const rules = reason === null ? parsePfRules(result.stdout, anchor) : [];
    return [{ table: "pf", chain: anchor, exists: reason === null, problem: reason, rules }];
  }

  return {
    name: "pf",
    // fwknopd has no switch for either with pf.
    flushAtStart: true,
    flushAtExit: true,
    newestFirst: false,
    check,
    setUp,
    rulesFor: (grant) => rulesFor(config, grant),
    add,
    remove,
    tearDown,
    list,
    listing: (what) => what === "all" ? [call("-s", "rules"), readCall] : [readCall],
  };
}

function warningOf(reason: string): { readonly warning?: string } {
  return reason.startsWith(NOT_ACTIVE) ? { warning: `Warning: ${NOT_ACTIVE}` } : {};
}

function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
}

function rulesFor(config: PfConfig, grant: FirewallGrant): RuleChoice {
  if (grant.kind === "nat") {
    const what = grant.nat.local ? "Local NAT" : "Forwarding/NAT";
    return { ok: false, reason: `${what} requests are not currently supported.` };
  }
  for (const address of [grant.source, grant.destination]) {
    if (parseIpv4(address) === null) {
      return { ok: false, reason: `pf opens for IPv4 addresses only, not for ${address}` };
    }
  }
  const destination = config.ENABLE_DESTINATION_RULE ? grant.destination : "any";
  const rules = grant.ports.map(({ protocol, port }) => ({
    kind: "access",
    table: "pf",
    chain: config.PF_ANCHOR_NAME,
    text:
      `pass in quick proto ${PROTOCOL_NUMBERS[protocol]} from ${grant.source} to ${destination}` +
      ` port ${port} keep state label _exp_${grant.expires}`,
    expires: grant.expires,
    summary: `${grant.source} -> ${destination} ${formatPorts(grant.ports)}`,
  }));
  return { ok: true, rules };
}
