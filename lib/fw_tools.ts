// What a firewall needs of the machine: its program with the package that has it, and modules of
// the kernel. Whoever lacks one of them is told its name.

import type { FirewallPlanner, Plan } from "./fw_firewall.ts";
import type { ProgramResult } from "./host.ts";

/** The packages that the programs of firewalls come with. */
const PACKAGES: Readonly<Record<string, string>> = {
  iptables: "install the package iptables",
  nftables: "install the package nftables",
  firewalld: "install the package firewalld",
  ipfw: "it is part of FreeBSD",
  pf: "it is part of FreeBSD and OpenBSD",
};

/** Complaints of programs, and the kernel's modules that answer them. */
const MODULES: readonly (readonly [complaint: RegExp, module: string])[] = [
  [/can't initialize ip6tables table `(\w+)'/, "ip6table_$1"],
  [/can't initialize iptables table `(\w+)'/, "iptable_$1"],
  [/[Ee]xtension (\w+) revision \d+ not supported|Couldn't load match `(\w+)'/, "xt_$1$2"],
  [/cache initialization failed|Protocol not supported|Failed to initialize nft/, "nf_tables"],
  [/ipfw: (?:getsockopt|setsockopt|socket)\(/, "ipfw"],
  [/\/dev\/pf: /, "pf"],
];

/** How a program that is not there is told of when it is called all the same. */
const NOT_STARTED = /^cannot run | is not there; /;

/** The packages of programs by their names. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  "firewall-cmd": "firewalld",
  ipset: "ipset",
  nft: "nftables",
};

/**
 * One line for a program that could not be started, which the host tells by the system's complaint
 * and status 127; null for one that was.
 *
 * @param owner the package that has it; null for an unknown one
 */
export function startFailure(
  program: string,
  result: ProgramResult | undefined,
  owner: string | null = packageOf(program),
): string | null {
  const complaint = result?.status === 127 ? result.stderr.trim() : "";
  if (!complaint.startsWith(`${program}: `)) return null;
  const why = complaint.slice(program.length + 2).replace(/^Failed to spawn '.*?': /, "")
    .replace(/ \(os error \d+\)$/, "");
  if (!/^(?:entity not found|No such file)/.test(why)) return `cannot run ${program}: ${why}`;
  const where = owner === null ? "is it installed?" : `install the package ${owner}`;
  return `${program} is not there; ${where}`;
}

function packageOf(program: string): string | null {
  const name = program.slice(program.lastIndexOf("/") + 1);
  return PACKAGE_OF[name] ?? (/^ip6?tables/.test(name) ? "iptables" : null);
}

/**
 * A planner whose set-up and check say that a program is not there, and touch nothing; the others
 * say so when calling it fails.
 */
export function missingProgram(planner: FirewallPlanner, program: string): FirewallPlanner {
  const where = PACKAGES[planner.name] ?? "";
  const refusal = { ok: false, reason: `${program} is not there; ${where}` } as const;
  // deno-lint-ignore require-yield -- nothing is to be asked
  function* refuse(): Plan<typeof refusal> {
    return refusal;
  }
  return {
    ...planner,
    setUp: refuse,
    check: refuse,
    *tearDown() {
      const outcome = yield* planner.tearDown();
      return !outcome.ok && NOT_STARTED.test(outcome.reason) ? refusal : outcome;
    },
    *list() {
      const chains = yield* planner.list();
      return chains.map((chain) =>
        NOT_STARTED.test(chain.problem ?? "") ? { ...chain, problem: refusal.reason } : chain
      );
    },
  };
}

/** A planner whose set-up and check name the module of the kernel that seems to be missing. */
export function withModules(planner: FirewallPlanner): FirewallPlanner {
  const { check } = planner;
  return {
    ...planner,
    *setUp(flush) {
      return explained(yield* planner.setUp(flush));
    },
    ...(check === undefined ? {} : {
      *check() {
        return explained(yield* check());
      },
    }),
  };
}

function explained<T extends { readonly ok: boolean }>(outcome: T): T {
  if (outcome.ok || !("reason" in outcome) || typeof outcome.reason !== "string") return outcome;
  const module = moduleFor(outcome.reason);
  if (module === null) return outcome;
  return { ...outcome, reason: `${outcome.reason} (is the kernel's module ${module} there?)` };
}

/** The module that a complaint is about; null when it is about something else. */
export function moduleFor(complaint: string): string | null {
  for (const [pattern, module] of MODULES) {
    const found = pattern.exec(complaint);
    if (found !== null) {
      return module.replace("$1", found[1] ?? "").replace("$2", found[2] ?? "");
    }
  }
  return null;
}
