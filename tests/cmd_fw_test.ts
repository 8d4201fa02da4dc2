// `spa fw-list` and `spa fw-flush` against an iptables in memory.

import assert from "node:assert/strict";
import { run as flush } from "../lib/cmd_fw_flush.ts";
import { run as list } from "../lib/cmd_fw_list.ts";
import type { Host, Native } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import { type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const NOW = 1_795_323_500;

interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command with a configuration of this text in /etc/test.conf. */
async function perform(
  command: (args: string[], host: Host) => Promise<number>,
  args: readonly string[],
  iptables: FakeIptables,
  config = "",
  changes: Partial<Host> = {},
): Promise<Finished> {
  let stdout = "";
  let stderr = "";
  const host: Host = {
    ...denoHost(),
    now: () => NOW * 1000,
    env: () => undefined,
    isTerminal: () => false,
    readTextFile: (path) => {
      if (path === "/etc/test.conf") return config;
      throw new Error("No such file or directory");
    },
    stat: () => null,
    run: (call) => Promise.resolve(iptables.run(call)),
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    ...changes,
  };
  const status = await command(["-c", "/etc/test.conf", ...args], host);
  return { status, stdout, stderr };
}

function withOneRule(): FakeIptables {
  return fakeIptables(
    "-t filter -N FWKNOP_INPUT",
    "-t filter -A INPUT -j FWKNOP_INPUT",
    "-t filter -A FWKNOP_INPUT -p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 22" +
      ` -m comment --comment _exp_${NOW + 30} -j ACCEPT`,
  );
}

Deno.test("fw-list prints fwknopd's heading and what the firewall prints", async () => {
  const { status, stdout } = await perform(list, [], withOneRule());
  assert.equal(status, 0);
  assert.match(stdout, /^Listing rules in fwknopd iptables chains\.\.\.\n\n/);
  assert.match(stdout, /192\.0\.2\.10/);
});

Deno.test("fw-list --json tells each rule's fields and the seconds it has left", async () => {
  const { status, stdout } = await perform(list, ["--json"], withOneRule());
  assert.equal(status, 0);
  assert.deepEqual(JSON.parse(stdout), {
    firewall: "iptables",
    chains: [{
      table: "filter",
      chain: "FWKNOP_INPUT",
      exists: true,
      rules: [{
        number: 1,
        target: "ACCEPT",
        protocol: "tcp",
        source: "192.0.2.10",
        destination: null,
        sourcePort: null,
        destinationPort: 22,
        expires: NOW + 30,
        secondsLeft: 30,
        endsByItself: false,
      }],
    }],
  });
});

Deno.test("fw-list of chains that are not there is no failure", async () => {
  assert.equal((await perform(list, [], fakeIptables())).status, 0);
  const { status, stdout } = await perform(list, ["--json"], fakeIptables());
  assert.equal(status, 0);
  assert.equal(JSON.parse(stdout).chains[0].exists, false);
});

Deno.test("fw-list and fw-flush fail with the reason when the firewall cannot be asked", async () => {
  for (
    const [command, args] of [
      [list, []],
      [list, ["--json"]],
      [list, ["--all"]],
      [flush, []],
      [flush, ["--json"]],
    ] as const
  ) {
    const iptables = withOneRule();
    iptables.broken = { status: 4, stdout: "", stderr: "Permission denied\n" };
    const { status, stderr } = await perform(command, args, iptables);
    assert.equal(status, 1);
    assert.match(stderr, /Permission denied/);
  }
});

Deno.test("fw-flush removes our chains and jumps", async () => {
  const iptables = withOneRule();
  const { status, stdout } = await perform(flush, [], iptables);
  assert.deepEqual([status, stdout], [0, "Deleting any existing firewall rules...\n"]);
  assert.deepEqual(iptables.save(), []);
});

/** fwknopd.conf of a server whose packets come from a queue, and what it leaves when it is killed. */
const QUEUE = "ENABLE_NFQ_CAPTURE Y\nNFQ_TABLE filter\nFWKNOP_PID_FILE /run/test.pid\n";

function withQueueRule(): FakeIptables {
  return fakeIptables(
    "-t filter -N FWKNOP_NFQ",
    "-t filter -A INPUT -j FWKNOP_NFQ",
    "-t filter -A INPUT -j DROP",
    "-t filter -A FWKNOP_NFQ -p udp -m udp --dport 62201 -j NFQUEUE --queue-num 1",
    "-t filter -N FWKNOP_INPUT",
    "-t filter -A INPUT -j FWKNOP_INPUT",
  );
}

/** A pid file that this process has locked; null for none. An error is that of opening it. */
function pidFileOf(holder: number | null | Error): Partial<Host> {
  const libc: Partial<Native["libc"]> = {
    openFileReadOnly(path) {
      assert.equal(path, "/run/test.pid");
      if (holder instanceof Error) throw holder;
      return 3;
    },
    queryLock: () => ({ holder: holder instanceof Error ? null : holder }),
    closeFile: () => {},
  };
  return {
    native: () => Promise.resolve({ libc } as Native),
    stat: (path) => path === "/run/test.pid" ? ({} as ReturnType<Host["stat"]>) : null,
  };
}

const QUEUE_RULE = [
  ":FWKNOP_NFQ",
  "-A INPUT -j FWKNOP_NFQ",
  "-A INPUT -j DROP",
  "-A FWKNOP_NFQ -p udp -m udp --dport 62201 -j NFQUEUE --queue-num 1",
];

Deno.test("fw-flush removes the rule of a queue that a killed server has left", async () => {
  const iptables = withQueueRule();
  const { status, stdout, stderr } = await perform(flush, [], iptables, QUEUE, pidFileOf(null));
  assert.deepEqual([status, stderr], [0, ""]);
  assert.equal(stdout, "Deleting any existing firewall rules...\n");
  assert.deepEqual(iptables.save(), ["-A INPUT -j DROP"]);
  const again = await perform(flush, ["--json"], iptables, QUEUE, pidFileOf(null));
  assert.deepEqual(JSON.parse(again.stdout), {
    firewall: "iptables",
    flushed: true,
    queueRule: "flushed",
  });
});

Deno.test("fw-flush leaves a running server the rule of its queue, and says so", async () => {
  const iptables = withQueueRule();
  const { status, stdout } = await perform(flush, [], iptables, QUEUE, pidFileOf(7));
  assert.equal(status, 0);
  assert.match(stdout, /\nThe rule of the netfilter queue stays: .* fwknopd, .* \(pid=7\)/);
  assert.deepEqual(iptables.save(), QUEUE_RULE);
  const asJson = await perform(flush, ["--json"], iptables, QUEUE, pidFileOf(7));
  assert.equal(JSON.parse(asJson.stdout).queueRule, "kept");
});

Deno.test("fw-flush leaves the rule of a queue where it cannot tell whether a server runs", async () => {
  const iptables = withQueueRule();
  const pidFile = pidFileOf(new Error("Permission denied (os error 13)"));
  const { status, stderr } = await perform(flush, [], iptables, QUEUE, pidFile);
  assert.equal(status, 1);
  assert.match(stderr, /^spa: cannot remove the rule of the netfilter queue: .*Permission denied/);
  assert.deepEqual(iptables.save(), QUEUE_RULE);
});

Deno.test("fw-flush fails with the reason when the rule of a queue cannot be removed", async () => {
  const iptables = withQueueRule();
  iptables.keep = true;
  const done = await perform(flush, ["--json"], iptables, QUEUE, pidFileOf(null));
  assert.equal(done.status, 1);
  assert.match(done.stderr, /cannot remove the rule of the netfilter queue: .*busy/);
  assert.equal(JSON.parse(done.stdout).queueRule, "failed");
});

Deno.test("fw-flush removes a queue's table of nftables where iptables is not used", async () => {
  const programs = fakeIptables();
  programs.broken = { status: 0, stdout: "", stderr: "" };
  const config = `${QUEUE}FIREWALL_TYPE command\nNFT_EXE /opt/nft\n`;
  assert.equal((await perform(flush, [], programs, config, pidFileOf(null))).status, 0);
  assert.deepEqual(programs.calls.map(({ program, stdin }) => [program, stdin]), [
    ["/opt/nft", "add table inet spa_nfqueue\ndelete table inet spa_nfqueue\n"],
  ]);
});

Deno.test("fw-flush knows of no queue where the configuration has none", async () => {
  const iptables = withQueueRule();
  const { status, stdout } = await perform(flush, ["--json"], iptables);
  assert.deepEqual([status, JSON.parse(stdout)], [0, { firewall: "iptables", flushed: true }]);
  assert.deepEqual(iptables.save(), QUEUE_RULE);
});

/** An nft that has our own table with a set in it, and keeps the scripts that it is given. */
function fakeNft(): FakeIptables & { readonly scripts: string[] } {
  const at = { family: "inet", table: "spa" };
  const nftables = [{ table: { family: "inet", name: "spa" } }, {
    set: { ...at, name: "spa_access4", type: "ipv4_addr", handle: 2 },
  }, { map: { ...at, name: "spa_dnat4", type: "ipv4_addr", map: "ipv4_addr", handle: 3 } }];
  const scripts: string[] = [];
  return {
    ...fakeIptables(),
    scripts,
    run({ stdin }) {
      if (stdin !== undefined) scripts.push(stdin);
      return { status: 0, stdout: JSON.stringify({ nftables }), stderr: "" };
    },
  };
}

const HIDING = "FIREWALL_TYPE nftables\nNFT_EXE nft\nENABLE_DEFAULT_DROP tcp/22,udp/53\n" +
  "FWKNOP_PID_FILE /run/test.pid\n";

Deno.test("fw-flush ends grants, and hides on what a running server hides", async () => {
  const nft = fakeNft();
  const { status, stdout } = await perform(flush, [], nft, HIDING, pidFileOf(7));
  assert.equal(status, 0);
  assert.match(stdout, /\nAll grants have ended\. What hides tcp\/22,udp\/53 stays, .* \(pid=7\)/);
  assert.deepEqual(nft.scripts, [
    "flush set inet spa spa_access4\nflush map inet spa spa_dnat4\n",
  ]);
  const asJson = await perform(flush, ["--json"], nft, HIDING, pidFileOf(7));
  assert.deepEqual(JSON.parse(asJson.stdout), {
    firewall: "nftables",
    flushed: true,
    hidden: ["tcp/22", "udp/53"],
    hiding: "kept",
  });
});

Deno.test("fw-flush without a server takes away what hides, and says what is open now", async () => {
  const nft = fakeNft();
  const { status, stdout } = await perform(flush, [], nft, HIDING, pidFileOf(null));
  assert.equal(status, 0);
  assert.match(stdout, /\nOpen to all now, unless other rules drop it: tcp\/22,udp\/53\n$/);
  assert.deepEqual(nft.scripts, ["delete table inet spa\n"]);
  const asJson = await perform(flush, ["--json"], nft, HIDING, pidFileOf(null));
  assert.equal(JSON.parse(asJson.stdout).hiding, "removed");
});

Deno.test("fw-flush opens nothing where it cannot tell whether a server runs", async () => {
  const nft = fakeNft();
  const pidFile = pidFileOf(new Error("Permission denied (os error 13)"));
  const { status, stdout, stderr } = await perform(flush, [], nft, HIDING, pidFile);
  assert.deepEqual([status, stdout, nft.scripts], [1, "", []]);
  assert.match(
    stderr,
    /^spa: cannot tell whether a server needs what hides tcp\/22,udp\/53: .*\n$/,
  );
});

Deno.test("both read the chains of the configuration, and stop when it is wrong", async () => {
  const config = "IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, OTHER, 1;\n";
  const { stdout } = await perform(list, ["--json"], withOneRule(), config);
  assert.equal(JSON.parse(stdout).chains[0].chain, "OTHER");
  const iptables = withOneRule();
  for (const command of [list, flush]) {
    const { status, stderr } = await perform(command, [], iptables, "IPT_INPUT_ACCESS wrong;\n");
    assert.equal(status, 1);
    assert.match(stderr, /IPT_INPUT_ACCESS/);
  }
  assert.deepEqual(iptables.save(), withOneRule().save());
});

Deno.test("a wrong command line has status 2 and changes nothing", async () => {
  const iptables = withOneRule();
  for (const args of [["--nothing"], ["stray"], ["-O"]]) {
    for (const command of [list, flush]) {
      assert.equal((await perform(command, args, iptables)).status, 2);
    }
  }
  assert.deepEqual(iptables.calls, []);
});

Deno.test("with FIREWALL_TYPE command nothing is listed, and nothing runs", async () => {
  const iptables = withOneRule();
  const config = "FIREWALL_TYPE command\n";
  const listed = await perform(list, [], iptables, config);
  assert.deepEqual([listed.status, listed.stdout], [
    0,
    "No firewall, so no rules: FIREWALL_TYPE is command.\n",
  ]);
  const asJson = await perform(list, ["--json"], iptables, config);
  assert.deepEqual(JSON.parse(asJson.stdout), { firewall: "command", chains: [] });
  assert.equal((await perform(flush, [], iptables, config)).status, 0);
  assert.deepEqual(iptables.calls, []);
});

Deno.test("a program that is not there is named with its package", async () => {
  const config = "FIREWALL_TYPE ipfw\n";
  for (const command of [list, flush]) {
    const iptables = withOneRule();
    const stderr = "/sbin/ipfw: Failed to spawn '/sbin/ipfw': No such file or directory";
    iptables.broken = { status: 127, stdout: "", stderr };
    const done = await perform(command, [], iptables, config);
    assert.equal(done.status, 1);
    assert.match(done.stderr, /\/sbin\/ipfw is not there; it is part of FreeBSD\n$/);
  }
});
