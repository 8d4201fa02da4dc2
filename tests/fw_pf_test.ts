// The planner for pf against a pfctl in memory, through the real driver: fwknopd's command lines
// and the texts of its anchor.

import assert from "node:assert/strict";
import { type PfConfig, pfPlanner } from "../lib/fw_pf.ts";
import { anchorIsListed, parsePfRules, samePfRule } from "../lib/fw_pf_listing.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";
import { type FakePfctl, fakePfctl } from "./fake_pfctl.ts";
import { type FirewallScene, firewallScene, START } from "./firewall_scene.ts";

const CONFIG: PfConfig = { ...DEFAULT_CONFIG, FIREWALL_EXE: "/sbin/pfctl" };

interface PfScene extends FirewallScene {
  readonly pfctl: FakePfctl;
}

async function started(config: Partial<PfConfig> = {}, pfctl = fakePfctl()): Promise<PfScene> {
  const made = firewallScene(pfPlanner({ ...CONFIG, ...config }), pfctl.run);
  await made.firewall.start();
  return { pfctl, ...made };
}

Deno.test("pf: starting looks for the anchor and empties it, and so does ending", async () => {
  const { pfctl, firewall } = await started();
  assert.deepEqual(pfctl.commands.splice(0), ["-s Anchor", "-a fwknop -F all"]);
  await firewall.stop();
  assert.deepEqual(pfctl.commands, ["-a fwknop -F all"]);
});

Deno.test("pf: without the anchor nothing starts, with fwknopd's warning", async () => {
  for (const anchors of [[], ["fwknop2"], ["fwknop/inner"]]) {
    const pfctl = fakePfctl(anchors);
    const { firewall, lines } = firewallScene(pfPlanner(CONFIG), pfctl.run);
    await assert.rejects(
      firewall.start(),
      /^Error: cannot set up pf: [^\n]*anchor "fwknop"[^\n]*$/,
    );
    assert.deepEqual(lines, ["warning Warning: the fwknop anchor is not active in the pf policy"]);
    assert.deepEqual(pfctl.commands, ["-s Anchor"]);
  }
});

Deno.test("pf: grants are lines of the anchor with their end as label, and go line by line", async () => {
  const { pfctl, firewall, lines, grant, advance } = await started();
  pfctl.commands.length = 0;
  assert.deepEqual(await firewall.open(grant("192.0.2.10", 20, "tcp/22", "udp/53")), { ok: true });
  const [first, second] = [START + 20, START + 40];
  const mine =
    `pass in quick proto 6 from 192.0.2.10 to any port 22 keep state label _exp_${first}\n` +
    `pass in quick proto 17 from 192.0.2.10 to any port 53 keep state label _exp_${first}\n`;
  assert.deepEqual(pfctl.commands.splice(0), [
    "-a fwknop -s rules",
    `-a fwknop -f - <<< ${mine}`,
  ]);
  assert.match(
    lines.join("\n"),
    /^(info Added access rule to fwknop for 192\.0\.2\.10 -> any tcp\/22,udp\/53, expires at \d+\n?){2}$/,
  );
  await firewall.open(grant("192.0.2.11", 40, "tcp/443"));
  const printed = [
    `pass in quick inet proto tcp from 192.0.2.10 to any port = 22 flags S/SA keep state label "_exp_${first}"`,
    `pass in quick inet proto udp from 192.0.2.10 to any port = 53 keep state label "_exp_${first}"`,
  ];
  const other =
    `pass in quick proto 6 from 192.0.2.11 to any port 443 keep state label _exp_${second}\n`;
  assert.deepEqual(pfctl.commands.splice(0), [
    "-a fwknop -s rules",
    `-a fwknop -f - <<< ${printed.join("\n")}\n${other}`,
  ]);
  await advance(20_000);
  assert.deepEqual(pfctl.commands.splice(0).map((line) => line.slice(0, 18)), [
    "-a fwknop -s rules",
    "-a fwknop -f - <<<",
  ]);
  assert.equal(pfctl.rules.length, 1);
  await advance(20_000);
  assert.deepEqual(pfctl.commands.splice(0), ["-a fwknop -s rules", "-a fwknop -F all"]);
  assert.equal(firewall.grants, 0);
  await firewall.stop();
});

Deno.test("pf: rules end although pfctl prints ports by name", async () => {
  const { pfctl, firewall, grant, advance } = await started(
    {},
    fakePfctl(["fwknop"], { 22: "ssh" }),
  );
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  assert.match(pfctl.rules[0] ?? "", /port = ssh /);
  await advance(5_000);
  assert.deepEqual(pfctl.rules, []);
  await firewall.stop();
});

Deno.test("pf: what somebody else put into the anchor stays", async () => {
  const { pfctl, firewall, grant, advance } = await started();
  const theirs =
    'pass in quick inet proto tcp from 192.0.2.99 to any port = 80 flags S/SA keep state label "web"';
  pfctl.rules.push(theirs);
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  assert.equal(pfctl.rules.length, 2);
  await advance(5_000);
  assert.deepEqual(pfctl.rules, [theirs]);
  await firewall.stop();
});

Deno.test("pf: a refused rule leaves the anchor as it was, and fails its own packet alone", async () => {
  const { pfctl, firewall, grant } = await started({ ENABLE_DESTINATION_RULE: true });
  pfctl.refuse = /port 13 /;
  const outcomes = await Promise.all([
    firewall.open(grant("192.0.2.10", 5, "tcp/22", "tcp/13")),
    firewall.open(grant("192.0.2.11", 5, "tcp/22")),
  ]);
  assert.deepEqual(outcomes.map(({ ok }) => ok), [false, true]);
  assert.equal(pfctl.rules.length, 1);
  assert.match(pfctl.rules[0] ?? "", /from 192\.0\.2\.11 to 192\.0\.2\.1 port = 22/);
  await firewall.stop();
});

Deno.test("pf: what cannot be removed is tried again", async () => {
  const { pfctl, firewall, grant, advance, lines } = await started();
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  pfctl.keep = true;
  await advance(5_500);
  assert.match(lines.join("\n"), /error Cannot remove 1 rule\(s\) that ended.*Device busy/);
  pfctl.keep = false;
  await advance(5_000);
  assert.deepEqual(pfctl.rules, []);
  await firewall.stop();
});

Deno.test("pf: listings are read, and rules recognized in both spellings", () => {
  const ours =
    "pass in quick proto 17 from 192.0.2.10 to 192.0.2.1 port 53 keep state label _exp_9";
  const printed =
    'pass in quick inet proto udp from 192.0.2.10 to 192.0.2.1 port = domain keep state label "_exp_9"';
  assert.ok(samePfRule(ours, printed));
  assert.ok(!samePfRule(ours, printed.replace("_exp_9", "_exp_90")));
  assert.ok(!samePfRule(ours, printed.replace("udp", "tcp")));
  assert.ok(!samePfRule("pass all", "pass all"));
  const [rule] = parsePfRules(`${ours}\n`, "fwknop");
  assert.deepEqual(
    [rule?.protocol, rule?.source, rule?.destination, rule?.destinationPort, rule?.expires],
    ["udp", "192.0.2.10", "192.0.2.1", 53, 9],
  );
  assert.equal(parsePfRules("block drop all\n", "fwknop")[0]?.expires, null);
  assert.ok(anchorIsListed("  ftp-proxy/*\n  fwknop\n", "fwknop"));
  assert.ok(!anchorIsListed("  fwknop/x\n", "fwknop"));
});
