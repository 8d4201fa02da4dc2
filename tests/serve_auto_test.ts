// How `auto` is settled on a machine: what is run, and which program the configuration then names.

import assert from "node:assert/strict";
import type { FileInfo, ProgramCall, ProgramResult } from "../lib/host.ts";
import { settleAuto } from "../lib/serve_auto.ts";
import { DEFAULT_CONFIG, versionOf } from "./fake_iptables.ts";
import { base, json } from "./nftables_json.ts";

const QUIET = { verbosity: 0, debug: () => {} };
const AUTO = { ...DEFAULT_CONFIG, FIREWALL_TYPE: "auto", NFT_EXE: "/opt/nft" } as const;
const IPTABLES = ["/usr/sbin/iptables", "/usr/sbin/iptables-nft", "/usr/sbin/iptables-legacy"];
const INFO: FileInfo = {
  ...{ isFile: true, isDirectory: false, isSymlink: false },
  ...{ mode: 0o755, uid: 0, size: 0 },
};
const NAMES = "/proc/net/ip_tables_names";

interface Machine {
  readonly programs: readonly string[];
  readonly files?: Readonly<Record<string, string>>;
  readonly uid?: number;
  /** What `/usr/sbin/iptables` is. */
  readonly variant?: "nf_tables" | "legacy";
  readonly ruleset?: string;
  readonly legacy?: string;
}

async function settle(
  machine: Machine,
): Promise<{ type: string; program: string; line: string | null; ran: string[] }> {
  const { programs, files = {}, uid = 0, variant = "nf_tables" } = machine;
  const ran: string[] = [];
  const answer = ({ program, args }: ProgramCall): string => {
    if (program === "/opt/nft") return machine.ruleset ?? json([]);
    if (args[0] !== "-V") return machine.legacy ?? "-P INPUT ACCEPT\n";
    return versionOf(variant === "legacy" ? "iptables-legacy" : program);
  };
  const { config, line } = await settleAuto(
    {
      uid,
      stat: (path) => programs.includes(path) || Object.hasOwn(files, path) ? INFO : null,
      readTextFile: (path) => files[path] ?? "",
      run: (call): Promise<ProgramResult> => {
        ran.push(call.program);
        return Promise.resolve({ status: 0, stdout: answer(call), stderr: "" });
      },
    },
    QUIET,
    AUTO,
  );
  return { type: config.FIREWALL_TYPE, program: config.FIREWALL_EXE, line, ran };
}

Deno.test("auto names the program whose tables are in force", async () => {
  const all = [...IPTABLES, "/opt/nft"];
  const drop = json(base("ip filter INPUT", "drop"));
  const legacy = "-P INPUT DROP\n";
  const inForce = { [NAMES]: "nat\nfilter\n" };
  const cases: [machine: Machine, type: string, program: string][] = [
    [{ programs: all }, "nftables", IPTABLES[0] ?? ""],
    [{ programs: all, ruleset: drop }, "iptables", "/usr/sbin/iptables"],
    [
      { programs: all, ruleset: drop, variant: "legacy" },
      ...["iptables", "/usr/sbin/iptables-nft"] as const,
    ],
    [
      { programs: all, files: inForce, legacy },
      ...["iptables", "/usr/sbin/iptables-legacy"] as const,
    ],
    [
      { programs: all, files: inForce, legacy, variant: "legacy" },
      ...["iptables", "/usr/sbin/iptables"] as const,
    ],
    // Without nft, and tables of iptables-legacy that drop nothing.
    [{ programs: IPTABLES, files: inForce }, "iptables", "/usr/sbin/iptables"],
    [
      { programs: all, files: { "/run/firewalld.pid": "1" } },
      ...["firewalld", "/usr/bin/firewall-cmd"] as const,
    ],
  ];
  for (const [machine, type, program] of cases) {
    const settled = await settle(machine);
    assert.deepEqual([settled.type, settled.program], [type, program], JSON.stringify(machine));
    assert.match(settled.line ?? "", /^FIREWALL_TYPE auto: \S+, since /);
  }
});

Deno.test("auto takes iptables where nft cannot list anything", async () => {
  const settled = await settle({ programs: [...IPTABLES, "/opt/nft"], ruleset: "" });
  assert.equal(settled.type, "iptables");
  assert.match(settled.line ?? "", /since there is no nft that works$/);
});

Deno.test("auto reads no table of iptables-legacy that is not there: reading would make it", async () => {
  const { ran } = await settle({
    programs: [...IPTABLES, "/opt/nft"],
    files: { [NAMES]: "nat\n" },
  });
  assert.deepEqual(ran, ["/opt/nft", "/usr/sbin/iptables"]);
});

Deno.test("auto runs nothing without the right to, and leaves a type that is said alone", async () => {
  const { type, ran } = await settle({ programs: [...IPTABLES, "/opt/nft"], uid: 1000 });
  assert.equal(type, "nftables");
  assert.deepEqual(ran, []);
  const host = {
    uid: 0,
    stat: () => assert.fail("looked"),
    readTextFile: () => assert.fail("read"),
    run: () => assert.fail("ran"),
  };
  const settled = await settleAuto(host, QUIET, DEFAULT_CONFIG);
  assert.deepEqual(settled, { config: DEFAULT_CONFIG, line: null });
});
