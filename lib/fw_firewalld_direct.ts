// firewalld, by direct rules as fwknopd sets them: iptables' chains and rules, passed through to
// iptables by the daemon. What iptables' planner plans is put into firewall-cmd's words.

import { callOf, whyUnanswered } from "./fw_call.ts";
import type { FirewallCall, FirewallPlanner, Plan } from "./fw_firewall.ts";
import { familyPlanner, type IptablesConfig, type IptablesPlanner } from "./fw_iptables.ts";
import { bothFamilies } from "./fw_iptables_families.ts";
import { whyUnreachable } from "./fw_firewalld_rules.ts";
import type { ProgramResult } from "./host.ts";

/** What the planner needs of fwknopd.conf, those of firewalld under the names of iptables. */
export interface DirectConfig extends IptablesConfig {
  /** N leaves IPv6 alone. */
  readonly ENABLE_IP6TABLES: boolean;
}

/** Exit status of firewall-cmd(1) when the passed command failed. */
const COMMAND_FAILED = 13;

/**
 * The planner for direct rules.
 *
 * @param backend FirewallBackend of firewalld.conf(5)
 */
export function directPlanner(
  config: DirectConfig,
  backend: "iptables" | "nftables",
): FirewallPlanner {
  const program = config.FIREWALL_EXE;
  const inner = config.ENABLE_IP6TABLES
    ? bothFamilies(inFamily("ipv4"), inFamily("ipv6"), { needsIpv6: false })
    : inFamily("ipv4");
  const pass = (call: FirewallCall): FirewallCall => passedThrough(program, call);

  /** The family is in the place of the program, as firewall-cmd(1) takes it. */
  function inFamily(family: "ipv4" | "ipv6"): IptablesPlanner {
    return familyPlanner(config, { family, iptables: family, restore: null });
  }

  function* through<T>(plan: Plan<T>): Plan<T> {
    let step = plan.next();
    while (!step.done) {
      const results = yield step.value.map(pass);
      step = plan.next(results.map(resultOf));
    }
    return step.value;
  }

  return {
    ...inner,
    name: "firewalld",
    *setUp(flush) {
      const outcome = yield* through(inner.setUp(flush));
      if (!outcome.ok) return outcome;
      const lines = outcome.lines.map((line) => line.replace(/^iptables /, "firewalld "));
      return {
        ...outcome,
        lines,
        warnings: [...outcome.warnings ?? [], ...warningsOf(backend)],
      };
    },
    *check() {
      const [result] = yield [callOf(program, ["--state"])];
      if (result?.status !== 0) return { ok: false, reason: reasonOf(result) };
      return { ok: true, lines: ["firewalld: grants are direct rules", ...warningsOf(backend)] };
    },
    add: (rules, renewed) => through(inner.add(rules, renewed)),
    remove: (rules) => through(inner.remove(rules)),
    missing: (rules) => through(inner.missing(rules)),
    tearDown: () => through(inner.tearDown()),
    list: () => through(inner.list()),
    listing: (what) => inner.listing(what).map((call) => ({ ...call, ...pass(call) })),
  };
}

/** firewalld(1) waits for iptables' lock by itself, so the option for that stays behind. */
function passedThrough(program: string, { call }: FirewallCall): FirewallCall {
  const wait = call.args.indexOf("-w");
  const args = wait < 0 ? call.args : call.args.toSpliced(wait, 2);
  return callOf(program, ["--direct", "--passthrough", call.program, ...args]);
}

/** What iptables would have given: its own text, and 1 for what it refuses. */
function resultOf(result: ProgramResult): ProgramResult {
  const stdout = result.stdout.replace(/\n*success\n$/, "\n");
  if (result.status === 0) return { ...result, stdout };
  const failed = /^Error: COMMAND_FAILED: '[^']*' failed: ([^]*)$/.exec(result.stderr);
  if (result.status === COMMAND_FAILED && failed !== null) {
    return { status: 1, stdout, stderr: (failed[1] ?? "").trim() };
  }
  return { status: 4, stdout, stderr: reasonOf(result) };
}

function reasonOf(result: ProgramResult | undefined): string {
  const unreachable = whyUnanswered("firewall-cmd", result) ?? whyUnreachable(result);
  if (unreachable !== null) return unreachable;
  const text = (result?.stderr ?? "").replace(/^Error: /, "").trim();
  return text === "" ? `firewall-cmd: exit status ${result?.status ?? 127}` : text;
}

/** firewalld.direct(5): an accepted packet still meets the rules in firewalld's own tables. */
function warningsOf(backend: "iptables" | "nftables"): string[] {
  if (backend === "iptables") return [];
  return [
    "firewalld: direct rules open nothing that a zone closes while FirewallBackend is nftables;" +
    " set ENABLE_FIREWD_DIRECT N",
  ];
}
