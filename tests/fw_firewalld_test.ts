// The planners for firewalld against a firewall-cmd in memory, through the real driver.

import assert from "node:assert/strict";
import { endingRules } from "../lib/fw_firewall.ts";
import { type FirewalldConfig, firewalldPlanner } from "../lib/fw_firewalld.ts";
import { directPlanner } from "../lib/fw_firewalld_direct.ts";
import {
  parseRichRules,
  parseZoneNames,
  richRule,
  tagSyntaxOf,
} from "../lib/fw_firewalld_rules.ts";
import type { ProgramCall } from "../lib/host.ts";
import { runPlan } from "../lib/serve_plan.ts";
import { type FakeFirewalld, fakeFirewalld } from "./fake_firewalld.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";
import { type FirewallScene, firewallScene, START } from "./firewall_scene.ts";

const CONFIG = { ...DEFAULT_CONFIG, FIREWALL_EXE: "/usr/bin/firewall-cmd" };

interface Scene extends FirewallScene {
  readonly firewalld: FakeFirewalld;
}

function scene(config: Partial<FirewalldConfig> = {}, firewalld = fakeFirewalld()): Scene {
  const planner = firewalldPlanner({ ...CONFIG, ...config });
  return { firewalld, ...firewallScene(planner, firewalld.run) };
}

async function started(
  config: Partial<FirewalldConfig> = {},
  firewalld = fakeFirewalld(),
): Promise<Scene> {
  const made = scene(config, firewalld);
  await made.firewall.start();
  made.lines.length = 0;
  firewalld.commands.length = 0;
  return made;
}

Deno.test("firewalld: a grant is a rich rule with a time-out in each zone", async () => {
  const zones = "internal (default)\n  sources: 198.51.100.0/24\npublic\n  interfaces: eth0\n";
  const { firewalld, firewall, lines, grant } = await started({}, fakeFirewalld(zones));
  await firewall.open(grant("192.0.2.10", 20, "tcp/22", "udp/53"));
  const [ssh, dns] = [["22", "tcp"], ["53", "udp"]].map(([port, protocol]) =>
    `rule family="ipv4" source address="192.0.2.10" port port="${port}" protocol="${protocol}"` +
    ` nflog group="65535" prefix="spa stanza 1 _exp_${START + 20}" accept`
  );
  assert.deepEqual(
    firewalld.commands,
    ["public", "internal"].map((zone) =>
      `--zone=${zone} --add-rich-rule=${ssh} --add-rich-rule=${dns} --timeout=20`
    ),
  );
  assert.equal(
    lines[0],
    `info Added access rule to public for 192.0.2.10 -> 0.0.0.0/0 tcp/22,udp/53, expires at ${
      START + 20
    }`,
  );
  assert.equal(lines.length, 4);
  await firewall.stop();
  assert.deepEqual(firewalld.rules("public", START), []);
  assert.deepEqual(firewalld.rules("internal", START), []);
});

Deno.test("firewalld: the start tells the zones, and needs a daemon that runs and zones that are", async () => {
  const good = scene({ FIREWD_ZONE: "public" });
  await good.firewall.start();
  assert.deepEqual(good.lines, [
    "info firewalld: grants are rich rules with a time-out in the zone public",
  ]);
  await good.firewall.stop();

  const silent = scene();
  silent.firewalld.running = false;
  await assert.rejects(silent.firewall.start(), /: firewalld is not running; start it first$/);
  const elsewhere = scene({ FIREWD_ZONE: "public, nowhere" });
  await assert.rejects(elsewhere.firewall.start(), /INVALID_ZONE: nowhere: see FIREWD_ZONE$/);
});

Deno.test("firewalld: a later knock takes the place of an earlier one without a gap, a shorter one does not cut it", async () => {
  const { firewalld, firewall, grant, advance, lines } = await started();
  const ends = (): number[] =>
    firewalld.rules("public", START + 10).map((rule) => Number(/_exp_(\d+)/.exec(rule)?.[1]));
  await firewall.open(grant("192.0.2.10", 20, "tcp/22"));
  await advance(10_000);
  firewalld.commands.length = 0;
  await firewall.open(grant("192.0.2.10", 60, "tcp/22"));
  assert.deepEqual(firewalld.commands.map((line) => /--(?:list|add|remove)/.exec(line)?.[0]), [
    "--add",
    "--remove",
  ]);
  assert.deepEqual(ends(), [START + 70]);
  await firewall.open(grant("192.0.2.10", 5, "tcp/22"));
  assert.deepEqual(ends(), [START + 70]);
  await advance(59_000);
  assert.equal(firewalld.rules("public", START + 69).length, 1);
  await advance(1_000);
  assert.deepEqual(firewalld.rules("public", START + 70), []);
  assert.equal(firewall.grants, 0);
  assert.deepEqual(lines.filter((line) => /error|warning/.test(line)), []);
  await firewall.stop();
});

Deno.test("firewalld: the next knock opens again after a reload that forgot all grants", async () => {
  const { firewalld, firewall, grant } = await started();
  await firewall.open(grant("192.0.2.10", 60, "tcp/22"));
  firewalld.reload();
  await firewall.open(grant("192.0.2.10", 60, "tcp/22"));
  assert.equal(firewalld.rules("public", START).length, 1);
  await firewall.stop();
});

Deno.test("firewalld: a knock after fw-close opens for its own time, and leaves what stayed", async () => {
  const zones = "internal (default)\npublic\n";
  const { firewalld, firewall, grant, advance, lines } = await started({}, fakeFirewalld(zones));
  const at = (seconds: number): number[] =>
    ["internal", "public"].flatMap((zone) =>
      firewalld.rules(zone, START + seconds).map((rule) =>
        Number(/_exp_(\d+)/.exec(rule)?.[1]) - START
      )
    );
  await firewall.open(grant("192.0.2.10", 600, "tcp/22", "tcp/80"));
  await advance(10_000);
  const host = { run: (call: ProgramCall) => Promise.resolve(firewalld.run(call, START + 10)) };
  const quiet = { verbosity: 0, debug: () => {} };
  const other = firewalldPlanner(CONFIG);
  const chains = await runPlan(host, quiet, other.list());
  const closed = chains.flatMap(({ rules }) => endingRules(rules))
    .filter(({ text }) => text.includes('"22"'));
  assert.equal(closed.length, 2);
  await runPlan(host, quiet, other.remove(closed));
  firewalld.commands.length = 0;
  lines.length = 0;

  await firewall.open(grant("192.0.2.10", 30, "tcp/22", "tcp/80"));
  assert.deepEqual(at(10), [600, 40, 600, 40]);
  assert.deepEqual(lines.map((line) => /Added access rule to (\w+)/.exec(line)?.[1]).sort(), [
    "internal",
    "public",
  ]);
  assert.deepEqual(firewalld.commands.filter((line) => line.includes("--list")).sort(), [
    "--zone=internal --list-rich-rules",
    "--zone=public --list-rich-rules",
  ]);
  await advance(30_000);
  assert.deepEqual(at(40), [600, 600]);
  await firewall.stop();
});

Deno.test("firewalld: shorter knocks leave an end where it was, whatever the clocks' fractions of a second", async () => {
  const { firewalld, firewall, grant, advance } = await started();
  await advance(600);
  await firewall.open(grant("192.0.2.10", 600, "tcp/22"));
  for (const seconds of [10, 20, 30]) {
    await advance(9_700);
    await firewall.open(grant("192.0.2.10", 30, "tcp/22"));
    assert.match(
      firewalld.rules("public", START + seconds).join("\n"),
      new RegExp(`^[^\n]*_exp_(?:${START + 600}|${START + 601})[^\n]*$`),
    );
  }
  await firewall.stop();
});

Deno.test("firewalld: where a zone cannot be listed no end changes, and a first knock lists none", async () => {
  const firewalld = fakeFirewalld();
  const { run } = firewalld;
  let listings = 0;
  let slow = false;
  firewalld.run = (call, now) => {
    if (call.args.at(-1) !== "--list-rich-rules") return run(call, now);
    listings++;
    return slow ? { status: 1, stdout: "", stderr: "Error: timed out\n" } : run(call, now);
  };
  const { firewall, grant, advance } = await started({}, firewalld);
  listings = 0;
  slow = true;
  await firewall.open(grant("192.0.2.10", 600, "tcp/22"));
  assert.equal(listings, 0);
  await advance(10_000);
  await firewall.open(grant("192.0.2.10", 30, "tcp/22"));
  assert.equal(listings, 1);
  assert.match(
    firewalld.rules("public", START + 599).join("\n"),
    new RegExp(`^[^\n]*_exp_${START + 600}[^\n]*$`),
  );
  slow = false;
  await firewall.stop();
});

Deno.test("firewalld: a refused rule fails its own packet alone and leaves nothing", async () => {
  const { firewalld, firewall, grant } = await started();
  firewalld.refuse = /port="13"/;
  const outcomes = await Promise.all([
    firewall.open(grant("192.0.2.10", 20, "tcp/22", "tcp/13")),
    firewall.open(grant("192.0.2.11", 20, "tcp/22")),
  ]);
  assert.deepEqual(outcomes.map(({ ok }) => ok), [false, true]);
  assert.match(firewalld.rules("public", START).join("\n"), /^[^\n]*192\.0\.2\.11[^\n]*$/);
  firewalld.running = false;
  assert.deepEqual(await firewall.open(grant("192.0.2.12", 20, "tcp/22")), {
    ok: false,
    reason: "firewalld is not running; start it first",
  });
  await firewall.stop();
});

Deno.test("firewalld: IPv6, destinations and an older daemon's tag", async () => {
  const older = fakeFirewalld();
  older.version = "1.1.1";
  const { firewalld, firewall, grant } = await started({ ENABLE_DESTINATION_RULE: true }, older);
  await firewall.open(grant("2001:db8::10", 20, "tcp/22"));
  assert.deepEqual(firewalld.rules("public", START), [
    'rule family="ipv6" source address="2001:db8::10" destination address="2001:db8::1"' +
    ` port port="22" protocol="tcp" log prefix="spa stanza 1 _exp_${START + 20}"` +
    ' level="debug" limit value="1/m" accept',
  ]);
  await firewall.stop();
  for (const [version, tag] of [["0.9.3", "log"], ["1.3.0\n", "nflog"], ["2.0.1", "nflog"]]) {
    assert.equal(tagSyntaxOf(version ?? ""), tag);
  }
});

Deno.test("firewalld: rules of an earlier run go at the start, or are kept and end on time", async () => {
  for (const flush of [true, false]) {
    const firewalld = fakeFirewalld();
    const foreign =
      'rule family="ipv4" source address="192.0.2.99" port port="80" protocol="tcp" accept';
    const before = await started({ FLUSH_FIREWD_AT_EXIT: false }, firewalld);
    await before.firewall.open(before.grant("192.0.2.10", 30, "tcp/22"));
    await before.firewall.stop();
    const listing = firewalld.run.bind(firewalld);
    // Somebody's rule without a tag, as firewall-cmd lists it.
    firewalld.run = (call, now) => {
      const result = listing(call, now);
      const lists = call.args.at(-1) === "--list-rich-rules";
      return lists ? { ...result, stdout: `${foreign}\n${result.stdout}` } : result;
    };
    const after = await started({ FLUSH_FIREWD_AT_INIT: flush }, firewalld);
    assert.equal(firewalld.rules("public", START).length, flush ? 0 : 1);
    assert.equal(after.firewall.grants, flush ? 0 : 1);
    // A new grant for the same must not go when the old one does.
    await after.firewall.open(after.grant("192.0.2.10", 60, "tcp/22"));
    await after.advance(30_000);
    assert.equal(firewalld.rules("public", START + 30).length, 1);
    await after.firewall.stop();
    assert.deepEqual(firewalld.rules("public", START + 30), []);
    assert.ok(firewalld.commands.every((line) => !line.includes("192.0.2.99")));
  }
});

Deno.test("firewalld: a knock extends what an earlier run left, and a shorter one leaves its end", async () => {
  const keep = { FLUSH_FIREWD_AT_INIT: false, FLUSH_FIREWD_AT_EXIT: false };
  for (
    const { seconds, end, logged } of [
      { seconds: 60, end: 60, logged: ["internal", "public"] },
      { seconds: 10, end: 30, logged: [] },
    ]
  ) {
    const firewalld = fakeFirewalld("internal (default)\npublic\n");
    const ends = (at: number): number[] =>
      ["internal", "public"].flatMap((zone) =>
        firewalld.rules(zone, START + at).map((rule) =>
          Number(/_exp_(\d+)/.exec(rule)?.[1]) - START
        )
      );
    const before = await started(keep, firewalld);
    await before.firewall.open(before.grant("192.0.2.10", 30, "tcp/22"));
    await before.firewall.stop();
    const after = await started(keep, firewalld);
    await after.firewall.open(after.grant("192.0.2.10", seconds, "tcp/22"));
    assert.deepEqual(ends(0), [end, end]);
    assert.deepEqual(
      after.lines.map((line) => /^info (\w+ access rule in \w+)/.exec(line)?.[1]).sort(),
      logged.map((zone) => `Extended access rule in ${zone}`),
    );
    await after.advance(end * 1000 - 1000);
    assert.deepEqual(ends(end - 1), [end, end]);
    assert.equal(after.firewall.grants, seconds > 30 ? 1 : 2);
    await after.advance(1000);
    assert.deepEqual(ends(end), []);
    assert.equal(after.firewall.grants, 0);
    await after.firewall.stop();
  }
});

Deno.test("firewalld: of rules that an earlier run left for the same, the one that ends last stays", async () => {
  const keep = { FLUSH_FIREWD_AT_INIT: false, FLUSH_FIREWD_AT_EXIT: false };
  const firewalld = fakeFirewalld();
  const add = (source: string, end: number): void => {
    const rule = `rule family="ipv4" source address="${source}" port port="22" protocol="tcp"` +
      ` nflog group="65535" prefix="spa stanza 1 _exp_${START + end}" accept`;
    const args = ["--zone=public", `--add-rich-rule=${rule}`, `--timeout=${end}`];
    assert.equal(firewalld.run({ program: "firewall-cmd", args }, START).status, 0);
  };
  for (const end of [20, 40, 30]) add("192.0.2.10", end);
  add("192.0.2.11", 20);
  const { firewall, advance } = await started(keep, firewalld);
  assert.deepEqual(
    firewalld.rules("public", START).map((rule) =>
      /address="([^"]+)".*_exp_(\d+)/.exec(rule)?.slice(1)
    ),
    [["192.0.2.10", `${START + 40}`], ["192.0.2.11", `${START + 20}`]],
  );
  assert.equal(firewall.grants, 2);
  // firewalld ended it by itself, which is no failure.
  await advance(40_000);
  assert.equal(firewall.grants, 0);
  await firewall.stop();
});

Deno.test("firewalld: a knock opens again what an earlier run left and somebody removed since", async () => {
  const keep = { FLUSH_FIREWD_AT_INIT: false, FLUSH_FIREWD_AT_EXIT: false };
  const firewalld = fakeFirewalld();
  const before = await started(keep, firewalld);
  await before.firewall.open(before.grant("192.0.2.10", 600, "tcp/22"));
  await before.firewall.stop();
  const after = await started(keep, firewalld);
  firewalld.reload();
  await after.firewall.open(after.grant("192.0.2.10", 30, "tcp/22"));
  assert.match(
    firewalld.rules("public", START).join("\n"),
    new RegExp(`^[^\n]*_exp_${START + 30}[^\n]*$`),
  );
  await after.firewall.stop();
});

Deno.test("firewalld: who has not set a rule up can remove it as it is listed", async () => {
  const { firewalld, firewall, grant } = await started();
  await firewall.open(grant("192.0.2.10", 60, "tcp/22"));
  await firewall.open(grant("192.0.2.11", 60, "tcp/22"));
  const other = firewalldPlanner(CONFIG);
  const host = { run: (call: ProgramCall) => Promise.resolve(firewalld.run(call, START)) };
  const quiet = { verbosity: 0, debug: () => {} };
  const chains = await runPlan(host, quiet, other.list());
  const theirs = chains.flatMap(({ rules }) => endingRules(rules))
    .filter(({ text }) => text.includes("192.0.2.11"));
  const outcome = await runPlan(host, quiet, other.remove(theirs));
  assert.equal(outcome.removed.length, 1);
  assert.match(firewalld.rules("public", START).join("\n"), /^[^\n]*192\.0\.2\.10[^\n]*$/);
  await firewall.open(grant("192.0.2.11", 90, "tcp/22"));
  assert.equal(firewalld.rules("public", START).length, 2);
  await firewall.stop();
});

Deno.test("firewalld: however many rules there are, no command line gets too long to take them away", async () => {
  const firewalld = fakeFirewalld();
  const additions = Array.from({ length: 20_000 }, (_, index) => {
    const source = `2001:db8:ffff:ffff:ffff:ffff:ffff:${(0x1000 + index).toString(16)}`;
    const match = `rule family="ipv6" source address="${source}" port port="22" protocol="tcp"`;
    return `--add-rich-rule=${richRule(match, "nflog", 1, START + 60)}`;
  });
  firewalld.run({ program: "", args: ["--zone=public", ...additions, "--timeout=60"] }, START);
  assert.equal(firewalld.rules("public", START).length, additions.length);
  const lengths: number[] = [];
  const host = {
    run: (call: ProgramCall) => {
      lengths.push(call.args.join(" ").length);
      return Promise.resolve(firewalld.run(call, START));
    },
  };
  const quiet = { verbosity: 0, debug: () => {} };
  const outcome = await runPlan(host, quiet, firewalldPlanner(CONFIG).tearDown());
  assert.deepEqual(outcome, { ok: true });
  assert.deepEqual(firewalld.rules("public", START), []);
  // execve(2): a quarter of the stack's limit, which is 8 MB nearly everywhere.
  assert.ok(Math.max(...lengths) < 1_000_000);
});

Deno.test("firewalld: listings are read", () => {
  assert.deepEqual(parseZoneNames("public (default)\n  interfaces: eth0\ndocker\n"), [
    "public",
    "docker",
  ]);
  const text = 'rule family="ipv4" source address="192.0.2.9" service name="ssh" accept\n' +
    'rule family="ipv4" source address="192.0.2.10" port port="22" protocol="tcp"' +
    ' nflog group="65535" prefix="spa stanza 3 _exp_99" accept\n';
  const [rule, ...others] = parseRichRules(text, "public");
  assert.deepEqual(others, []);
  assert.deepEqual(
    [
      rule?.number,
      rule?.source,
      rule?.destinationPort,
      rule?.protocol,
      rule?.expires,
      rule?.stanza,
    ],
    [2, "192.0.2.10", 22, "tcp", 99, 3],
  );
});

Deno.test("firewalld: direct rules are fwknopd's, passed through to iptables", async () => {
  const firewalld = fakeFirewalld();
  const config = { ...CONFIG, ENABLE_IPT_FORWARDING: true, ENABLE_IP6TABLES: false };
  const { firewall, lines, grant, advance } = firewallScene(
    directPlanner(config, "iptables"),
    firewalld.run,
  );
  await firewall.start();
  assert.deepEqual(lines.splice(0), [
    "info Added jump rule from chain: INPUT to chain: FWKNOP_INPUT",
    "info Added jump rule from chain: FORWARD to chain: FWKNOP_FORWARD",
    "info Added jump rule from chain: PREROUTING to chain: FWKNOP_PREROUTING",
    "info firewalld 'comment' match is available",
  ]);
  assert.ok(firewalld.commands.every((line) => /^--direct --passthrough ipv4 -t /.test(line)));
  firewalld.commands.length = 0;
  await firewall.open(grant("192.0.2.10", 20, "tcp/22"));
  assert.deepEqual(firewalld.commands.filter((line) => line.includes(" -A ")), [
    "--direct --passthrough ipv4 -t filter -A FWKNOP_INPUT -p 6 -s 192.0.2.10 -d 0.0.0.0/0" +
    ` --dport 22 -m comment --comment _exp_${START + 20} -j ACCEPT`,
  ]);
  assert.match(firewalld.iptables.save().join("\n"), /-A FWKNOP_INPUT -s 192\.0\.2\.10\/32 -p tcp/);
  await advance(20_000);
  assert.match(lines.join("\n"), /Removed rule 1 from FWKNOP_INPUT with expire time of \d+/);
  await firewall.stop();
  assert.deepEqual(firewalld.iptables.save(), []);
  assert.deepEqual(firewalld.iptables.save("nat"), []);
});

Deno.test("firewalld: direct rules are for IPv6, too, and a listing shows both", async () => {
  const firewalld = fakeFirewalld();
  const planner = directPlanner(CONFIG, "iptables");
  const { firewall, grant, advance, lines } = firewallScene(planner, firewalld.run);
  await firewall.start();
  await firewall.open(grant("2001:db8::10", 20, "tcp/22"));
  assert.match(firewalld.ip6tables.save().join("\n"), /-A FWKNOP_INPUT .*2001:db8::10.*--dport 22/);
  assert.doesNotMatch(firewalld.iptables.save().join("\n"), /2001:db8/);
  const listing = planner.listing("ours").map(({ call, optional }) => [call.args[2], optional]);
  assert.deepEqual(listing, [["ipv4", undefined], ["ipv6", "ip6tables"]]);
  await advance(20_000);
  assert.match(lines.join("\n"), /Removed rule 1 from FWKNOP_INPUT/);
  assert.doesNotMatch(firewalld.ip6tables.save().join("\n"), /2001:db8/);
  await firewall.stop();
});

Deno.test("firewalld: direct rules say when they cannot open, or when firewalld is not there", async () => {
  const firewalld = fakeFirewalld();
  const { firewall, lines } = firewallScene(directPlanner(CONFIG, "nftables"), firewalld.run);
  await firewall.start();
  assert.match(
    lines.at(-1) ?? "",
    /direct rules open nothing .* while FirewallBackend is nftables/,
  );
  await firewall.stop();
  firewalld.running = false;
  const silent = firewallScene(directPlanner(CONFIG, "iptables"), firewalld.run);
  await assert.rejects(silent.firewall.start(), /firewalld is not running; start it first/);
});
