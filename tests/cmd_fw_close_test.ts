// `spa fw-close` against an iptables in memory, and what the next knock makes of it.

import assert from "node:assert/strict";
import { run } from "../lib/cmd_fw_close.ts";
import type { Host } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import { type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const END = 1_795_323_530;

interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function close(iptables: FakeIptables, ...args: string[]): Promise<Finished> {
  const printed = { stdout: "", stderr: "" };
  const host: Host = {
    ...denoHost(),
    env: () => undefined,
    isTerminal: () => false,
    readTextFile: () => "ENABLE_IPT_OUTPUT Y\nENABLE_IP6TABLES N\n",
    stat: (path) => path === "/usr/sbin/iptables" ? denoHost().stat("/") : null,
    run: (call) => Promise.resolve(iptables.run(call)),
    stdout: (text) => void (printed.stdout += text),
    stderr: (text) => void (printed.stderr += text),
  };
  const status = await run(["-c", "/etc/test.conf", ...args], host);
  return { status, ...printed };
}

const rule = (match: string): string => `${match} -m comment --comment _exp_${END} -j ACCEPT`;

/** Two clients, one with a rule for the answers, and a rule of somebody else in our chain. */
function withRules(): FakeIptables {
  return fakeIptables(
    "-t filter -N FWKNOP_INPUT",
    "-t filter -N FWKNOP_OUTPUT",
    `-t filter -A FWKNOP_INPUT ${rule("-p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 22")}`,
    `-t filter -A FWKNOP_OUTPUT ${rule("-p 6 -d 192.0.2.10 -s 0.0.0.0/0 --sport 22")}`,
    `-t filter -A FWKNOP_INPUT ${rule("-p 6 -s 192.0.2.11 -d 192.0.2.10 --dport 443")}`,
    "-t filter -A FWKNOP_INPUT -s 192.0.2.10/32 -j ACCEPT",
  );
}

function left(iptables: FakeIptables): string[] {
  return iptables.save().filter((line) => line.startsWith("-A FWKNOP")).map((line) =>
    line.replace(/ -m comment.*/, "")
  );
}

const OTHERS = [
  "-A FWKNOP_INPUT -s 192.0.2.11/32 -d 192.0.2.10/32 -p tcp -m tcp --dport 443",
  "-A FWKNOP_INPUT -s 192.0.2.10/32 -j ACCEPT",
];

Deno.test("fw-close ends the grants of one address in all chains, and no others", async () => {
  const iptables = withRules();
  const { status, stdout, stderr } = await close(iptables, "192.0.2.10");
  assert.deepEqual([status, stderr], [0, ""]);
  assert.equal(stdout.match(/^Closed in filter FWKNOP_(?:INPUT|OUTPUT): /gm)?.length, 2);
  assert.deepEqual(left(iptables), OTHERS);
});

Deno.test("fw-close --all ends what has an end", async () => {
  const iptables = withRules();
  assert.equal((await close(iptables, "--all")).status, 0);
  assert.deepEqual(left(iptables), OTHERS.slice(1));
  const again = await close(iptables, "--all");
  assert.deepEqual([again.status, again.stdout], [0, "No grant is open.\n"]);
});

Deno.test("fw-close --json tells what was closed", async () => {
  const iptables = withRules();
  const { status, stdout } = await close(iptables, "--json", "192.0.2.11");
  assert.equal(status, 0);
  const { firewall, closed, left: kept } = JSON.parse(stdout);
  assert.deepEqual([firewall, closed.length, kept], ["iptables", 1, []]);
  assert.deepEqual([closed[0].table, closed[0].chain, closed[0].expires], [
    "filter",
    "FWKNOP_INPUT",
    END,
  ]);
});

Deno.test("fw-close fails with one line where nothing is open for the address", async () => {
  for (const address of ["192.0.2.12", "2001:db8::1"]) {
    const iptables = withRules();
    const before = iptables.save();
    const { status, stdout, stderr } = await close(iptables, address);
    assert.deepEqual([status, stdout, stderr], [1, "", `spa: nothing is open for ${address}\n`]);
    assert.deepEqual(iptables.save(), before);
  }
});

Deno.test("fw-close fails with the reason when a rule stays or nothing can be read", async () => {
  const stubborn = withRules();
  stubborn.keep = true;
  const { status, stderr } = await close(stubborn, "192.0.2.10");
  assert.equal(status, 1);
  assert.match(stderr, /^spa: cannot end all grants of iptables: .*busy.*\n$/);
  const silent = withRules();
  silent.broken = { status: 4, stdout: "", stderr: "Permission denied\n" };
  for (const word of ["192.0.2.10", "--all"]) {
    const outcome = await close(silent, word);
    assert.deepEqual([outcome.status, outcome.stderr], [1, "spa: Permission denied\n"], word);
  }
});

Deno.test("fw-close takes one address or --all", async () => {
  const iptables = withRules();
  for (const args of [[], ["192.0.2.10", "--all"], ["192.0.2.10", "192.0.2.11"], ["host"], [""]]) {
    assert.equal((await close(iptables, ...args)).status, 2, args.join(" "));
  }
  assert.deepEqual(iptables.calls, []);
});
