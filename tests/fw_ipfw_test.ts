// The planner for ipfw against an ipfw in memory, through the real driver: fwknopd's command lines.

import assert from "node:assert/strict";
import { endingRules } from "../lib/fw_firewall.ts";
import { type IpfwConfig, ipfwPlanner } from "../lib/fw_ipfw.ts";
import { dynamicNumbers, parseIpfwRules } from "../lib/fw_ipfw_listing.ts";
import type { ProgramCall } from "../lib/host.ts";
import { runPlan } from "../lib/serve_plan.ts";
import { type FakeIpfw, fakeIpfw } from "./fake_ipfw.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";
import { type FirewallScene, firewallScene, START } from "./firewall_scene.ts";

const CONFIG: IpfwConfig = { ...DEFAULT_CONFIG, FIREWALL_EXE: "/sbin/ipfw" };

interface IpfwScene extends FirewallScene {
  readonly ipfw: FakeIpfw;
}

function scene(config: Partial<IpfwConfig> = {}, ipfw = fakeIpfw()): IpfwScene {
  return { ipfw, ...firewallScene(ipfwPlanner({ ...CONFIG, ...config }), ipfw.run) };
}

async function started(config: Partial<IpfwConfig> = {}, ipfw = fakeIpfw()): Promise<IpfwScene> {
  const made = scene(config, ipfw);
  await made.firewall.start();
  made.lines.length = 0;
  ipfw.commands.length = 0;
  return made;
}

Deno.test("ipfw: starting runs fwknopd's commands and logs its lines", async () => {
  const { ipfw, firewall, lines } = scene({ IPFW_ADD_CHECK_STATE: true });
  await firewall.start();
  assert.deepEqual(ipfw.commands, [
    "set 1 list",
    "add 10000 set 1 check-state",
    "set disable 2",
    "-S set 2 list",
  ]);
  assert.deepEqual(lines, [
    "info Added check-state rule 10000 to set 1",
    "info Set ipfw expire set 2 to disabled.",
  ]);
  ipfw.commands.length = 0;
  await firewall.stop();
  assert.deepEqual(ipfw.commands, ["set 1 list", "delete set 1"]);
  assert.deepEqual(ipfw.rules(), []);
});

Deno.test("ipfw: a grant's life is fwknopd's: one number a packet, moved at its end, purged later", async () => {
  const { ipfw, firewall, lines, grant, advance } = await started({ IPFW_ADD_CHECK_STATE: true });
  const end = START + 20;
  const outcome = await firewall.open(grant("192.0.2.10", 20, "tcp/22", "udp/53"));
  assert.deepEqual(outcome, { ok: true });
  assert.deepEqual(ipfw.commands, [
    `add 10001 set 1 pass 6 from 192.0.2.10 to me dst-port 22 setup keep-state // _exp_${end}`,
    `add 10001 set 1 pass 17 from 192.0.2.10 to me dst-port 53 keep-state // _exp_${end}`,
  ]);
  assert.deepEqual(
    lines.splice(0),
    Array(2).fill(
      `info Added access rule to set 1 for 192.0.2.10 -> me tcp/22,udp/53, expires at ${end}`,
    ),
  );
  ipfw.commands.length = 0;
  await advance(20_000);
  assert.deepEqual(ipfw.commands.splice(0), ["set move rule 10001 to 2"]);
  assert.match(lines.splice(0).join("\n"), /Removed rule 1 from set 1 with expire time of \d+/);
  // A connection through it is still alive.
  ipfw.dynamic.add(10001);
  await advance(10_000);
  assert.deepEqual(ipfw.commands.splice(0), ["-d set 2 list"]);
  ipfw.dynamic.clear();
  await advance(30_000);
  assert.deepEqual(ipfw.commands.splice(0), ["-d set 2 list", "set 2 delete 10001"]);
  assert.deepEqual(lines, ["info Purged rule 10001 from set 2"]);
  await advance(60_000);
  assert.deepEqual(ipfw.commands, []);
  await firewall.stop();
});

Deno.test("ipfw: each packet gets the lowest number that is free", async () => {
  const { ipfw, firewall, grant, advance } = await started({ IPFW_START_RULE_NUM: 500 });
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  await firewall.open(grant("192.0.2.11", 50, "tcp/22"));
  await advance(5_000);
  // The first one's is not free before it was purged.
  await firewall.open(grant("192.0.2.12", 50, "tcp/22"));
  assert.deepEqual(ipfw.rules().map((rule) => rule.slice(0, 9)), [
    "500 set 2",
    "501 set 1",
    "502 set 1",
  ]);
  await advance(30_000);
  await firewall.open(grant("192.0.2.13", 50, "tcp/22"));
  assert.match(ipfw.rules()[0] ?? "", /^500 set 1 pass 6 from 192\.0\.2\.13 /);
  await firewall.stop();
});

Deno.test("ipfw: more packets than IPFW_MAX_RULES are refused in fwknopd's words", async () => {
  const { ipfw, firewall, grant } = await started({ IPFW_MAX_RULES: 1 });
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  assert.deepEqual(await firewall.open(grant("192.0.2.11", 5, "tcp/22")), {
    ok: false,
    reason: "Access request rejected: Maximum allowed number of rules has been reached.",
  });
  assert.equal(ipfw.rules().length, 1);
  await firewall.stop();
});

Deno.test("ipfw: a packet of which one rule is refused leaves none of its rules", async () => {
  const { ipfw, firewall, grant } = await started();
  ipfw.refuse = /dst-port 13 /;
  const outcome = await firewall.open(grant("192.0.2.10", 5, "tcp/22", "tcp/13"));
  assert.deepEqual(outcome, { ok: false, reason: "ipfw: setsockopt(IP_FW_XADD): refused" });
  assert.deepEqual(ipfw.rules(), []);
  await firewall.stop();
});

Deno.test("ipfw: destination, sets and the way without an expire set are the configuration's", async () => {
  const { ipfw, firewall, grant, advance } = await started({
    ENABLE_DESTINATION_RULE: true,
    IPFW_ACTIVE_SET_NUM: 7,
    IPFW_EXPIRE_SET_NUM: 0,
  });
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  await advance(5_000);
  assert.deepEqual(ipfw.commands, [
    "add 10000 set 7 pass 6 from 192.0.2.10 to 192.0.2.1 dst-port 22 setup keep-state" +
    ` // _exp_${START + 5}`,
    "set 7 delete 10000",
  ]);
  await firewall.stop();
});

Deno.test("ipfw: what an earlier run left goes at the start, or is kept and ends on time", async () => {
  for (const flush of [true, false]) {
    const ipfw = fakeIpfw();
    const before = scene({ FLUSH_IPFW_AT_EXIT: false }, ipfw);
    await before.firewall.start();
    await before.firewall.open(before.grant("192.0.2.10", 20, "tcp/22"));
    await before.firewall.stop();
    assert.equal(ipfw.rules().length, 1);

    const { firewall, advance, grant } = await started({ FLUSH_IPFW_AT_INIT: flush }, ipfw);
    assert.equal(ipfw.rules().length, flush ? 0 : 1);
    if (!flush) {
      await firewall.open(grant("192.0.2.11", 60, "tcp/22"));
      assert.match(ipfw.rules()[1] ?? "", /^10001 set 1 /);
      await advance(20_000);
      assert.match(ipfw.rules()[0] ?? "", /^10000 set 2 /);
    }
    await firewall.stop();
  }
});

Deno.test("ipfw: a rule that somebody else removed is no failure", async () => {
  const { ipfw, firewall, grant, advance, lines } = await started();
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  ipfw.run({ program: "/sbin/ipfw", args: ["delete", "set", "1"] });
  await advance(5_000);
  assert.equal(firewall.grants, 0);
  assert.deepEqual(lines.filter((line) => line.startsWith("error")), []);
  await firewall.stop();
});

Deno.test("ipfw: who has not set a rule up can remove it as it is listed, with those of its number", async () => {
  const { ipfw, firewall, grant } = await started();
  await firewall.open(grant("192.0.2.10", 50, "tcp/22"));
  await firewall.open(grant("192.0.2.11", 50, "tcp/22", "tcp/80"));
  const other = ipfwPlanner(CONFIG);
  const host = { run: (call: ProgramCall) => Promise.resolve(ipfw.run(call)) };
  const quiet = { verbosity: 0, debug: () => {} };
  const chains = await runPlan(host, quiet, other.list());
  const theirs = chains.flatMap(({ rules }) => endingRules(rules))
    .filter(({ text }) => text.includes("192.0.2.11"));
  const outcome = await runPlan(host, quiet, other.remove(theirs));
  assert.equal(outcome.removed.length, 2);
  assert.deepEqual(ipfw.rules().map((rule) => rule.slice(0, 11)), [
    "10000 set 1",
    "10001 set 2",
    "10001 set 2",
  ]);
  await firewall.stop();
});

Deno.test("ipfw: translation of addresses and IPv6 are refused", async () => {
  const { firewall, grant } = await started();
  const access = grant("192.0.2.10", 5, "tcp/22");
  const nat = { local: false, host: "198.51.100.20", port: 22, all: false, masquerade: false };
  const asked = { ...access, kind: "nat" as const };
  const terms = { ...nat, translatesDestination: true, forcedSource: null };
  const outcomes = [
    await firewall.open({ ...asked, nat: terms }),
    await firewall.open({ ...asked, nat: { ...terms, local: true } }),
    await firewall.open(grant("2001:db8::10", 5, "tcp/22")),
  ];
  assert.deepEqual(outcomes.map((outcome) => outcome.ok ? "" : outcome.reason), [
    "Forwarding/NAT requests are not currently supported.",
    "Local NAT requests are not currently supported.",
    "ipfw opens for IPv4 addresses only, not for 2001:db8::10",
  ]);
  await firewall.stop();
});

Deno.test("ipfw: listings are read in the spelling of either version", () => {
  const text = "10000 check-state :default\n" +
    "10001 allow tcp from 192.0.2.10 to me dst-port 22 setup keep-state :default // _exp_99\n" +
    "# DISABLED 10002 set 2 pass 17 from 192.0.2.11 to 192.0.2.1 dst-port 53 keep-state // x_exp_7\n" +
    "## Dynamic rules (1 128):\n10001 4 320 (295s) STATE tcp 192.0.2.10 4711 <-> 192.0.2.1 22\n";
  const rules = parseIpfwRules(text, "set 1");
  assert.deepEqual(
    rules.map(({ number, protocol, source, destination, destinationPort, expires }) => [
      ...[number, protocol, source, destination, destinationPort, expires],
    ]),
    [
      [10000, null, null, null, null, null],
      [10001, "tcp", "192.0.2.10", "me", 22, 99],
      [10002, "udp", "192.0.2.11", "192.0.2.1", 53, 7],
    ],
  );
  assert.deepEqual(dynamicNumbers(text), [10001]);
  assert.deepEqual(dynamicNumbers("10001 allow\n"), []);
});
