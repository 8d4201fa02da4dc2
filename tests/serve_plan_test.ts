// Which planner a configuration and a machine ask for, and what is said where the machine lacks
// something, before any rule is touched.

import assert from "node:assert/strict";
import type { FirewallType } from "../lib/conf_firewall.ts";
import { moduleFor } from "../lib/fw_tools.ts";
import type { FileInfo, ProgramCall, ProgramResult } from "../lib/host.ts";
import { choosePlanner, type FirewallConfig, runPlan } from "../lib/serve_plan.ts";
import { DEFAULT_CONFIG, fakeIptables } from "./fake_iptables.ts";

const QUIET = { verbosity: 0, debug: () => {} };
const INFO: FileInfo = {
  ...{ isFile: true, isDirectory: false, isSymlink: false },
  ...{ mode: 0o755, uid: 0, size: 0 },
};

/** A machine with these files; those named with a text can be read. */
function machine(files: Readonly<Record<string, string>>): Parameters<typeof choosePlanner>[0] {
  return {
    stat: (path) => Object.hasOwn(files, path) ? INFO : null,
    readTextFile: (path) => {
      const text = files[path];
      if (text === undefined) throw new Error("No such file or directory");
      return text;
    },
  };
}

const ALL_PROGRAMS = {
  "/usr/sbin/iptables": "",
  "/usr/sbin/iptables-restore": "",
  "/usr/sbin/nft": "",
  "/usr/bin/firewall-cmd": "",
};

Deno.test("a planner is that of FIREWALL_TYPE, whatever else runs", () => {
  const cases: [type: FirewallType, files: Record<string, string>, name: string][] = [
    ["iptables", { ...ALL_PROGRAMS, "/run/firewalld.pid": "123" }, "iptables"],
    ["nftables", {}, "nftables"],
    ["firewalld", ALL_PROGRAMS, "firewalld"],
    ["ipfw", {}, "ipfw"],
    ["pf", {}, "pf"],
  ];
  for (const [FIREWALL_TYPE, files, name] of cases) {
    const planner = choosePlanner(machine(files), { ...DEFAULT_CONFIG, FIREWALL_TYPE });
    assert.equal(planner.name, name, JSON.stringify([FIREWALL_TYPE, files]));
  }
});

Deno.test("a missing program is named with its package, by set-up and check, and nothing runs", async () => {
  const cases: [config: Partial<FirewallConfig>, expected: RegExp][] = [
    [{ FIREWALL_TYPE: "iptables" }, /^\/usr\/sbin\/iptables is not there; .*package iptables$/],
    [
      { FIREWALL_TYPE: "nftables", NFT_EXE: "/opt/nft" },
      /^\/opt\/nft is not there; .*package nftables$/,
    ],
    [
      { FIREWALL_TYPE: "firewalld", FIREWALL_EXE: "/usr/bin/firewall-cmd" },
      /^\/usr\/bin\/firewall-cmd is not there; install the package firewalld$/,
    ],
    [{ FIREWALL_TYPE: "ipfw", FIREWALL_EXE: "/sbin/ipfw" }, /^\/sbin\/ipfw .* FreeBSD$/],
    [{ FIREWALL_TYPE: "pf", FIREWALL_EXE: "/sbin/pfctl" }, /^\/sbin\/pfctl .* OpenBSD$/],
  ];
  const run = (): Promise<ProgramResult> => assert.fail("a program runs");
  for (const [config, expected] of cases) {
    const planner = choosePlanner(machine({}), { ...DEFAULT_CONFIG, ...config });
    for (const plan of [planner.setUp(true), planner.check?.()]) {
      assert.ok(plan !== undefined);
      const outcome = await runPlan({ run }, QUIET, plan);
      assert.ok(!outcome.ok);
      assert.match(outcome.reason, expected);
    }
  }
});

Deno.test("a program that was given up waiting for is said not to have answered", async () => {
  const result = { status: 137, stdout: "", stderr: "waiting\n", timedOut: 60_000 };
  const run = (): Promise<ProgramResult> => Promise.resolve(result);
  const cases: [FIREWALL_TYPE: FirewallType, more: Partial<FirewallConfig>, program: string][] = [
    ["iptables", {}, "/usr/sbin/iptables"],
    ["nftables", { NFT_EXE: "/usr/sbin/nft" }, "/usr/sbin/nft"],
    ["firewalld", { FIREWALL_EXE: "/usr/bin/firewall-cmd" }, "/usr/bin/firewall-cmd"],
    [
      "firewalld",
      { FIREWALL_EXE: "/usr/bin/firewall-cmd", ENABLE_FIREWD_DIRECT: true },
      "firewall-cmd",
    ],
    ["ipfw", { FIREWALL_EXE: "/sbin/ipfw" }, "/sbin/ipfw"],
    ["pf", { FIREWALL_EXE: "/sbin/pfctl" }, "/sbin/pfctl"],
  ];
  for (const [FIREWALL_TYPE, more, program] of cases) {
    const files = { ...ALL_PROGRAMS, "/sbin/ipfw": "", "/sbin/pfctl": "" };
    const planner = choosePlanner(machine(files), { ...DEFAULT_CONFIG, FIREWALL_TYPE, ...more });
    for (const plan of [planner.setUp(true), planner.tearDown()]) {
      const outcome = await runPlan({ run }, QUIET, plan);
      assert.ok(!outcome.ok);
      assert.equal(outcome.reason, `${program} did not answer within 60 s`);
    }
  }
});

Deno.test("a host with IPv6 is told when no ip6tables is beside iptables", async () => {
  const ipv6 = { "/proc/sys/net/ipv6/conf/all/disable_ipv6": "0\n" };
  const cases: [files: Record<string, string>, config: Partial<FirewallConfig>, told: boolean][] = [
    [{ ...ALL_PROGRAMS, ...ipv6 }, {}, true],
    [{ ...ALL_PROGRAMS, ...ipv6, "/usr/sbin/ip6tables": "" }, {}, false],
    [{ ...ALL_PROGRAMS, ...ipv6 }, { IP6TABLES_EXE: "/opt/ip6tables" }, false],
    [{ ...ALL_PROGRAMS, ...ipv6 }, { ENABLE_IP6TABLES: false }, false],
    [ALL_PROGRAMS, {}, false],
  ];
  for (const [files, config, told] of cases) {
    const planner = choosePlanner(machine(files), { ...DEFAULT_CONFIG, ...config });
    const fake = fakeIptables();
    const run = (call: ProgramCall): Promise<ProgramResult> => Promise.resolve(fake.run(call));
    const check = planner.check?.();
    assert.ok(check !== undefined);
    const outcome = await runPlan({ run }, QUIET, check);
    assert.ok(outcome.ok);
    const lack = outcome.warnings?.some((line) => /there is no ip6tables beside/.test(line));
    assert.equal(lack, told, JSON.stringify([files, config]));
  }
});

Deno.test("a program that is looked up in PATH is left to whoever runs it", async () => {
  const planner = choosePlanner(machine({}), { ...DEFAULT_CONFIG, FIREWALL_EXE: "iptables" });
  let calls = 0;
  const run = (): Promise<ProgramResult> => {
    calls++;
    return Promise.resolve({ status: 4, stdout: "", stderr: "Permission denied\n" });
  };
  assert.equal((await runPlan({ run }, QUIET, planner.setUp(true))).ok, false);
  assert.ok(calls > 0);
});

Deno.test("a missing module of the kernel is named in the reason", async () => {
  const cases: [complaint: string, module: string | null][] = [
    [
      "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist" +
      " (do you need to insmod?)",
      "iptable_nat",
    ],
    ["ip6tables v1.8.9 (legacy): can't initialize ip6tables table `filter': x", "ip6table_filter"],
    [
      "Warning: Extension comment revision 0 not supported, missing kernel module?",
      "xt_comment",
    ],
    ["Couldn't load match `time':No such file or directory", "xt_time"],
    ["/usr/sbin/nft: cache initialization failed: Protocol not supported", "nf_tables"],
    ["ipfw: getsockopt(IP_FW_XGET): Protocol not available", "ipfw"],
    ["pfctl: /dev/pf: No such file or directory", "pf"],
    ["iptables: Permission denied (you must be root)", null],
  ];
  for (const [complaint, module] of cases) assert.equal(moduleFor(complaint), module, complaint);

  const planner = choosePlanner(machine(ALL_PROGRAMS), DEFAULT_CONFIG);
  const stderr = `${cases[0]?.[0]}\n`;
  const run = (): Promise<ProgramResult> => Promise.resolve({ status: 3, stdout: "", stderr });
  const outcome = await runPlan({ run }, QUIET, planner.setUp(true));
  assert.ok(!outcome.ok);
  assert.match(outcome.reason, /\(is the kernel's module iptable_nat there\?\)$/);
});
