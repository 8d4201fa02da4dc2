// An iptables that lives in memory: chains, rules, restore transactions, its exit statuses and the
// spelling it prints. Tests run planners and drivers against it.

import type { ProgramCall, ProgramResult } from "../lib/host.ts";

interface StoredRule {
  readonly given: string;
  /** As `-S` prints it. */
  readonly spelled: string;
}

type Chains = Map<string, StoredRule[]>;

/** A firewall for tests. */
export interface FakeIptables {
  run(call: ProgramCall): ProgramResult;
  /** What `iptables-save` would show of the rules, without policies. */
  save(table?: string): string[];
  /** Every call so far. */
  readonly calls: ProgramCall[];
  /** Rules whose text matches are refused. */
  refuse: RegExp | null;
  /** While true, no rule can be removed. */
  keep: boolean;
  /** When set, answers for every program. */
  broken: ProgramResult | null;
}

const BUILT_IN: Readonly<Record<string, readonly string[]>> = {
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
};

/** @param commands edits to begin with, as `-t filter -A INPUT -j DROP` */
export function fakeIptables(...commands: readonly string[]): FakeIptables {
  let tables = new Map(
    Object.entries(BUILT_IN).map(([table, names]): [string, Chains] => [
      table,
      new Map(names.map((name) => [name, []])),
    ]),
  );

  const fake: FakeIptables = {
    calls: [],
    refuse: null,
    keep: false,
    broken: null,
    run(call) {
      fake.calls.push(call);
      if (call.args[0] === "-V") return result(0, versionOf(call.program));
      if (fake.broken !== null) return fake.broken;
      const args = call.args.filter((arg, index) =>
        arg !== "-w" && call.args[index - 1] !== "-w" && arg !== "--noflush"
      );
      return call.stdin === undefined ? command(args) : restore(call.stdin);
    },
    save(table = "filter") {
      const chains = [...tables.get(table) ?? []];
      return [
        ...chains.filter(([name]) => !isBuiltIn(table, name)).map(([name]) => `:${name}`),
        ...chains.flatMap(([name, rules]) => rules.map((rule) => `-A ${name} ${rule.spelled}`)),
      ];
    },
  };
  for (const line of commands) {
    const result = command(line.split(" "));
    if (result.status !== 0) throw new Error(`${line}: ${result.stderr}`);
  }
  return fake;

  function restore(stdin: string): ProgramResult {
    const before = copy();
    let table = "";
    for (const [index, line] of stdin.trimEnd().split("\n").entries()) {
      if (line.startsWith("*")) {
        table = line.slice(1);
      } else if (line !== "COMMIT") {
        const failure = edit(table, line.split(" "));
        if (failure !== null) {
          tables = before;
          return result(1, "", `iptables-restore: line ${index + 1} failed: ${failure}`);
        }
      }
    }
    return result(0, "");
  }

  function command(args: readonly string[]): ProgramResult {
    const position = args.indexOf("-t");
    const table = args[position + 1] ?? "";
    const words = args.filter((_, index) => index !== position && index !== position + 1);
    const [operation, name = ""] = words;
    const rules = tables.get(table)?.get(name);
    if (operation === "-S" || operation === "-L") {
      if (rules === undefined) return result(1, "", NO_CHAIN);
      const head = isBuiltIn(table, name) ? `-P ${name} ACCEPT` : `-N ${name}`;
      return result(0, [head, ...rules.map((rule) => `-A ${name} ${rule.spelled}`), ""].join("\n"));
    }
    if (operation === "-C") {
      const text = words.slice(2).join(" ");
      return result(rules?.some((rule) => same(rule, text)) ? 0 : 1, "", "iptables: Bad rule");
    }
    const failure = edit(table, words);
    return failure === null ? result(0, "") : result(1, "", `iptables: ${failure}`);
  }

  function edit(table: string, words: readonly string[]): string | null {
    const [operation, name = "", ...rest] = words;
    const chains = tables.get(table) ?? new Map<string, StoredRule[]>();
    const rules = chains.get(name);
    if (operation === "-N") {
      if (rules !== undefined) return "Chain already exists.";
      chains.set(name, []);
      return null;
    }
    if (rules === undefined) return NO_CHAIN;
    if (operation === "-F") rules.splice(0);
    if (operation === "-X") {
      const referred = [...chains.values()].flat().some(({ given }) =>
        given.endsWith(`-j ${name}`)
      );
      if (referred || rules.length > 0) return "CHAIN_DEL failed (Device or resource busy)";
      chains.delete(name);
    }
    const number = /^\d+$/.test(rest[0] ?? "") ? Number(rest.shift()) : 1;
    const text = rest.join(" ");
    if (operation === "-D") {
      if (fake.keep) return "Device or resource busy.";
      const index = rules.findIndex((rule) => same(rule, text));
      if (index < 0) return "Bad rule (does a matching rule exist in that chain?).";
      rules.splice(index, 1);
    }
    if (operation === "-A" || operation === "-I") {
      if (fake.refuse?.test(text)) return "Invalid argument.";
      if (number > rules.length + 1) return "Index of insertion too big.";
      const at = operation === "-A" ? rules.length : number - 1;
      rules.splice(at, 0, { given: text, spelled: spell(text) });
    }
    return null;
  }

  function copy(): Map<string, Chains> {
    return new Map([...tables].map(([table, chains]) => [
      table,
      new Map([...chains].map(([name, rules]) => [name, [...rules]])),
    ]));
  }
}

const NO_CHAIN = "No chain/target/match by that name.";

/** What iptables, or ip6tables, of either variant says of itself. */
export function versionOf(program: string): string {
  const name = program.includes("ip6tables") ? "ip6tables" : "iptables";
  return `${name} v1.8.9 (${program.includes("legacy") ? "legacy" : "nf_tables"})\n`;
}

function isBuiltIn(table: string, name: string): boolean {
  return BUILT_IN[table]?.includes(name) ?? false;
}

function same(rule: StoredRule, text: string): boolean {
  return rule.given === text || rule.spelled === spell(text);
}

/** The spelling of the rules that fwknop makes; other rules stay as they are. */
function spell(text: string): string {
  const match = /^(?:-p (6|17) )?((?:-[sd] \S+ )*)(--[sd]port \d+ )?(-m .*)$/.exec(text);
  if (match === null) return text;
  const [, number, addresses = "", port = "", rest] = match;
  const protocol = number === "6" ? "tcp" : "udp";
  const plain = addresses.replace(/-[sd] 0\.0\.0\.0\/0 /, "").replace(
    /(-[sd]) ([\d.]+) /g,
    "$1 $2/32 ",
  );
  const sorted = (plain.match(/-[sd] \S+ /g) ?? []).sort().reverse().join("");
  const named = number === undefined ? "" : `-p ${protocol} -m ${protocol} `;
  return `${sorted}${named}${port}${rest}`;
}

function result(status: number, stdout: string, stderr = ""): ProgramResult {
  return { status, stdout, stderr: status === 0 ? "" : `${stderr}\n` };
}

/**
 * The variables of fwknopd.conf that a planner needs: as they are by default, but that rules are
 * fwknopd's.
 */
export const DEFAULT_CONFIG = {
  FIREWALL_TYPE: "iptables",
  NFT_EXE: null,
  NFT_ATTACH: null,
  NFT_MARK: null,
  ENABLE_DEFAULT_DROP: [],
  ENABLE_FIREWD_DIRECT: false,
  FIREWD_ZONE: null,
  FLUSH_FIREWD_AT_INIT: true,
  FLUSH_FIREWD_AT_EXIT: true,
  FLUSH_IPFW_AT_INIT: true,
  FLUSH_IPFW_AT_EXIT: true,
  IPFW_START_RULE_NUM: 10000,
  IPFW_MAX_RULES: 65535,
  IPFW_ACTIVE_SET_NUM: 1,
  IPFW_EXPIRE_SET_NUM: 2,
  IPFW_EXPIRE_PURGE_INTERVAL: 30,
  IPFW_ADD_CHECK_STATE: false,
  PF_ANCHOR_NAME: "fwknop",
  FIREWALL_EXE: "/usr/sbin/iptables",
  FLUSH_IPT_AT_INIT: true,
  FLUSH_IPT_AT_EXIT: true,
  ENABLE_IPT_FORWARDING: false,
  ENABLE_IPT_LOCAL_NAT: false,
  ENABLE_IPT_SNAT: false,
  SNAT_TRANSLATE_IP: null,
  ENABLE_FORWARD_DESTINATION: true,
  ENABLE_STRICT_SNAT: true,
  ENABLE_RULE_RENEWAL: true,
  ENABLE_KERNEL_EXPIRY: false,
  ENABLE_DOCKER: false,
  ENABLE_IP6TABLES: true,
  IP6TABLES_EXE: null,
  ENABLE_IPSET: false,
  IPSET_EXE: null,
  IPSET_ABOVE_GRANTS: 500,
  ENABLE_IPT_OUTPUT: false,
  ENABLE_IPT_COMMENT_CHECK: true,
  ENABLE_DESTINATION_RULE: false,
  ENABLE_RULE_PREPEND: false,
  ENABLE_NFQ_CAPTURE: false,
  NFQ_INTERFACE: null,
  NFQ_PORT: 62201,
  NFQ_TABLE: "mangle",
  NFQ_CHAIN: "FWKNOP_NFQ",
  NFQ_QUEUE_NUMBER: 1,
  FWKNOP_PID_FILE: "/run/fwknop/fwknopd.pid",
  IPT_INPUT_ACCESS: chain("ACCEPT", "filter", "INPUT", "FWKNOP_INPUT"),
  IPT_OUTPUT_ACCESS: chain("ACCEPT", "filter", "OUTPUT", "FWKNOP_OUTPUT"),
  IPT_FORWARD_ACCESS: chain("ACCEPT", "filter", "FORWARD", "FWKNOP_FORWARD"),
  IPT_DNAT_ACCESS: chain("DNAT", "nat", "PREROUTING", "FWKNOP_PREROUTING"),
  IPT_SNAT_ACCESS: chain("SNAT", "nat", "POSTROUTING", "FWKNOP_POSTROUTING"),
  IPT_MASQUERADE_ACCESS: chain("MASQUERADE", "nat", "POSTROUTING", "FWKNOP_MASQUERADE"),
} as const;

function chain(
  target: string,
  table: string,
  from: string,
  to: string,
): { target: string; table: string; from: string; jumpPosition: number; to: string } {
  return { target, table, from, jumpPosition: 1, to };
}
