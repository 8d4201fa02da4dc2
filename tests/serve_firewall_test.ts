// The firewall's driver against an iptables in memory and a clock that the test moves.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { FirewallPlanner } from "../lib/fw_firewall.ts";
import { type IptablesConfig, type IptablesPlanner, iptablesPlanner } from "../lib/fw_iptables.ts";
import { createFirewall, type Firewall } from "../lib/serve_firewall.ts";
import type { FirewallOutcome } from "../lib/serve_firewall_opening.ts";
import { createLog } from "../lib/serve_log.ts";
import { DEFAULT_CONFIG, type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const START = 1_795_323_500;

interface Scene {
  readonly iptables: FakeIptables;
  readonly firewall: Firewall;
  readonly lines: string[];
  /** While true, programs do not end. */
  hold: boolean;
  /** Lets held programs end. */
  release(): void;
  /** Moves both clocks, calling what is due on the way. */
  advance(milliseconds: number): Promise<void>;
  /** The machine sleeps: clocks go on, timers and a kernel's ends of rules do not. */
  sleep(milliseconds: number): void;
  /** Steps the wall clock alone. */
  stepWallClock(milliseconds: number): void;
  /** Seconds since 1970 by the wall clock. */
  now(): number;
  grant(source: string, seconds: number, ...ports: number[]): FirewallGrant;
}

interface SceneSettings {
  readonly config?: Partial<IptablesConfig>;
  readonly iptables?: FakeIptables;
  readonly verbosity?: number;
  readonly sweepInterval?: number;
  /** Changes the planner. */
  readonly alter?: (planner: IptablesPlanner) => FirewallPlanner;
}

function makeScene(settings: SceneSettings = {}): Scene {
  const iptables = settings.iptables ?? fakeIptables();
  const lines: string[] = [];
  const timers = new Map<symbol, { readonly at: number; readonly action: () => void }>();
  let monotonic = 5000;
  let wall = START * 1000;
  let held: (() => void)[] = [];

  const firewall = createFirewall({
    host: {
      now: () => wall,
      monotonic: () => monotonic,
      run: async (call) => {
        if (scene.hold) await new Promise<void>((resolve) => held.push(resolve));
        return iptables.run(call);
      },
    },
    planner: (settings.alter ?? ((planner) => planner))(
      iptablesPlanner({ ...DEFAULT_CONFIG, ...settings.config }),
    ),
    log: createLog(settings.verbosity ?? 0, (level, text) => lines.push(`${level} ${text}`)),
    timer: (milliseconds, action) => {
      const key = Symbol();
      timers.set(key, { at: monotonic + milliseconds, action });
      return () => timers.delete(key);
    },
    sweepInterval: settings.sweepInterval ?? 0,
  });

  const scene: Scene = {
    iptables,
    firewall,
    lines,
    hold: false,
    release() {
      scene.hold = false;
      for (const resolve of held) resolve();
      held = [];
    },
    async advance(milliseconds) {
      const end = monotonic + milliseconds;
      for (;;) {
        await settle();
        const [next] = [...timers].sort(([, a], [, b]) => a.at - b.at);
        if (next === undefined || next[1].at > end) break;
        timers.delete(next[0]);
        wall += Math.max(0, next[1].at - monotonic);
        monotonic = Math.max(monotonic, next[1].at);
        next[1].action();
      }
      wall += end - monotonic;
      monotonic = end;
      await settle();
    },
    sleep(milliseconds) {
      monotonic += milliseconds;
      wall += milliseconds;
      for (const [key, { at, action }] of timers) {
        timers.set(key, { at: at + milliseconds, action });
      }
    },
    stepWallClock: (milliseconds) => void (wall += milliseconds),
    now: () => Math.floor(wall / 1000),
    grant: (source, seconds, ...ports) => ({
      kind: "access",
      stanza: 1,
      source,
      destination: "192.0.2.1",
      ports: ports.map((port) => ({ protocol: "tcp", port })),
      seconds,
      expires: Math.floor(wall / 1000) + seconds,
    }),
  };
  return scene;
}

/** A kernel ends rules itself, counting the time that it is awake. */
function leavingEndsToKernel(planner: FirewallPlanner): FirewallPlanner {
  return {
    ...planner,
    // deno-lint-ignore require-yield -- nothing is asked
    *remove(removed) {
      return { removed, missing: [], failed: [], reason: "" };
    },
    close: planner.remove,
  };
}

/** Lets everything run that waits for nothing but other promises. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** The rules in our chain, as `source port`. */
function openIn({ iptables }: Scene, chain = "FWKNOP_INPUT"): string[] {
  return iptables.save().filter((line) => line.startsWith(`-A ${chain} `)).map((line) =>
    line.replace(/^.*-s (\S+)\/32 .*--dport (\d+) .*$/, "$1 $2")
  );
}

/** Standard inputs of restore programs that add rules. */
function additions({ iptables }: Scene): string[] {
  return iptables.calls.flatMap(({ stdin }) => stdin?.includes("-A FWKNOP_INPUT") ? [stdin] : []);
}

async function started(settings: SceneSettings = {}): Promise<Scene> {
  const scene = makeScene(settings);
  await scene.firewall.start();
  scene.lines.length = 0;
  scene.iptables.calls.length = 0;
  return scene;
}

Deno.test("start() sets up and logs fwknopd's lines", async () => {
  const scene = makeScene();
  await scene.firewall.start();
  assert.deepEqual(scene.lines, [
    "info Added jump rule from chain: INPUT to chain: FWKNOP_INPUT",
    "info iptables 'comment' match is available",
  ]);
  await scene.firewall.stop();
});

Deno.test("start() throws one line when the comment match is missing, and warns as fwknopd", async () => {
  const scene = makeScene();
  scene.iptables.refuse = /__TMPCOMMENT__/;
  await assert.rejects(scene.firewall.start(), /^Error: cannot set up iptables: [^\n]+$/);
  assert.deepEqual(scene.lines, ["warning Warning: Could not use the 'comment' match"]);
  assert.deepEqual(scene.iptables.save(), []);
});

Deno.test("open() resolves and logs when the rules are in the firewall, not before", async () => {
  const scene = await started();
  scene.hold = true;
  let outcome: FirewallOutcome | null = null;
  const opening = scene.firewall.open(scene.grant("192.0.2.10", 30, 22, 443)).then((result) =>
    outcome = result
  );
  await settle();
  assert.equal(outcome, null);
  assert.deepEqual(scene.lines, []);
  scene.release();
  await opening;
  assert.deepEqual(outcome, { ok: true });
  assert.deepEqual(openIn(scene), ["192.0.2.10 22", "192.0.2.10 443"]);
  const line = "info Added access rule to FWKNOP_INPUT for 192.0.2.10 -> 0.0.0.0/0" +
    ` tcp/22,tcp/443, expires at ${START + 30}`;
  assert.deepEqual(scene.lines, [line, line]);
  assert.equal(scene.firewall.grants, 1);
  await scene.firewall.stop();
});

Deno.test("a burst of grants is opened by few processes", async () => {
  const scene = await started();
  scene.hold = true;
  const openings = Array.from(
    { length: 1000 },
    (_, index) => scene.firewall.open(scene.grant(`10.0.${index >> 8}.${index & 255}`, 30, 22)),
  );
  scene.release();
  const outcomes = await Promise.all(openings);
  assert(outcomes.every((outcome) => outcome.ok));
  assert.equal(openIn(scene).length, 1000);
  assert.equal(additions(scene).length, 5);
  assert.equal(scene.firewall.grants, 1000);
  await scene.firewall.stop();
});

Deno.test("a refused rule fails its own grant alone, with the program's reason", async () => {
  const scene = await started();
  scene.iptables.refuse = /--dport 13 /;
  scene.hold = true;
  const openings = [22, 80, 13, 443, 993].map((port, index) =>
    scene.firewall.open(scene.grant(`192.0.2.${index}`, 30, port))
  );
  scene.release();
  const outcomes = await Promise.all(openings);
  assert.deepEqual(outcomes.map(({ ok }) => ok), [true, true, false, true, true]);
  const refused = outcomes[2];
  assert(refused && !refused.ok);
  assert.match(refused.reason, /Invalid argument/);
  assert.equal(openIn(scene).length, 4);
  assert.equal(scene.lines.length, 4);
  await scene.firewall.stop();
});

Deno.test("a grant of which one rule is refused leaves none of its rules", async () => {
  const scene = await started();
  scene.iptables.refuse = /--dport 13 /;
  const outcome = await scene.firewall.open(scene.grant("192.0.2.10", 30, 22, 13));
  assert.equal(outcome.ok, false);
  assert.deepEqual(openIn(scene), []);
  assert.deepEqual(scene.lines, []);
  assert.equal(scene.firewall.grants, 0);
  await scene.firewall.stop();
});

Deno.test("a firewall program that is gone costs no process for each waiting grant", async () => {
  const scene = await started();
  scene.iptables.broken = { status: 127, stdout: "", stderr: "iptables: not found" };
  scene.hold = true;
  const openings = Array.from(
    { length: 100 },
    (_, index) => scene.firewall.open(scene.grant(`192.0.2.${index}`, 30, 22)),
  );
  scene.release();
  const outcomes = await Promise.all(openings);
  assert(outcomes.every((outcome) => !outcome.ok && outcome.reason === "iptables: not found"));
  assert(scene.iptables.calls.length < 20, `${scene.iptables.calls.length} calls`);

  scene.iptables.broken = null;
  const later = await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
  assert.equal(later.ok, true);
  await scene.firewall.stop();
});

for (
  const { title, damage, left } of [
    { title: "jump", damage: ["-D INPUT -j FWKNOP_INPUT"], left: 2 },
    {
      title: "chain",
      damage: ["-D INPUT -j FWKNOP_INPUT", "-F FWKNOP_INPUT", "-X FWKNOP_INPUT"],
      left: 1,
    },
  ]
) {
  Deno.test(`open() sets up again when somebody removed the ${title}`, async () => {
    const scene = await started();
    await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
    for (const line of damage) {
      scene.iptables.run({ program: "x", args: ["-t", "filter", ...line.split(" ")] });
    }
    scene.lines.length = 0;
    const outcome = await scene.firewall.open(scene.grant("192.0.2.11", 30, 22));
    assert.equal(outcome.ok, true);
    assert(scene.iptables.save().includes("-A INPUT -j FWKNOP_INPUT"));
    assert.equal(openIn(scene).length, left);
    assert.equal(scene.firewall.grants, left);
    assert.match(scene.lines[0] ?? "", /Added jump rule from chain: INPUT to chain: FWKNOP_INPUT/);
    await scene.firewall.stop();
  });
}

Deno.test("a rule that went with its chain is opened again when asked for again", async () => {
  const scene = await started();
  const grant = scene.grant("192.0.2.10", 30, 22);
  await scene.firewall.open(grant);
  for (const line of ["-D INPUT -j FWKNOP_INPUT", "-F FWKNOP_INPUT", "-X FWKNOP_INPUT"]) {
    scene.iptables.run({ program: "x", args: ["-t", "filter", ...line.split(" ")] });
  }
  const outcome = await scene.firewall.open({
    ...grant,
    ports: [
      { protocol: "tcp", port: 22 },
      { protocol: "tcp", port: 80 },
    ],
  });
  assert.equal(outcome.ok, true);
  assert.deepEqual(openIn(scene).sort(), ["192.0.2.10 22", "192.0.2.10 80"]);
  await scene.firewall.stop();
});

Deno.test("an identical rule is not added twice, neither at once nor later", async () => {
  const scene = await started({ verbosity: 1 });
  const grant = scene.grant("192.0.2.10", 30, 22);
  scene.hold = true;
  const openings = [grant, grant, grant].map((one) => scene.firewall.open(one));
  scene.release();
  const outcomes = await Promise.all(openings);
  outcomes.push(await scene.firewall.open(grant));
  assert(outcomes.every(({ ok }) => ok));
  assert.deepEqual(openIn(scene), ["192.0.2.10 22"]);
  assert.equal(scene.lines.filter((line) => line.startsWith("info Added")).length, 1);
  assert.equal(
    scene.lines.filter((line) => /rule_exists.*FWKNOP_INPUT already exists/.test(line)).length,
    3,
  );
  await scene.firewall.stop();
});

Deno.test("rules end in order of their time, each numbered by its place in the chain", async () => {
  const scene = await started();
  await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
  await scene.firewall.open(scene.grant("192.0.2.11", 10, 22));
  await scene.firewall.open(scene.grant("192.0.2.12", 20, 22));
  scene.lines.length = 0;
  await scene.advance(9_999);
  assert.equal(openIn(scene).length, 3);
  await scene.advance(1);
  assert.deepEqual(openIn(scene), ["192.0.2.10 22", "192.0.2.12 22"]);
  await scene.advance(10_000);
  assert.deepEqual(openIn(scene), ["192.0.2.10 22"]);
  await scene.advance(10_000);
  assert.deepEqual(openIn(scene), []);
  assert.deepEqual(scene.lines, [
    `info Removed rule 2 from FWKNOP_INPUT with expire time of ${START + 10}`,
    `info Removed rule 2 from FWKNOP_INPUT with expire time of ${START + 20}`,
    `info Removed rule 1 from FWKNOP_INPUT with expire time of ${START + 30}`,
  ]);
  assert.equal(scene.firewall.grants, 0);
  await scene.firewall.stop();
});

Deno.test("with ENABLE_RULE_PREPEND the newest rule has number 1", async () => {
  const scene = await started({ config: { ENABLE_RULE_PREPEND: true } });
  await scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
  await scene.firewall.open(scene.grant("192.0.2.11", 30, 22));
  scene.lines.length = 0;
  await scene.advance(10_000);
  assert.deepEqual(scene.lines, [
    `info Removed rule 2 from FWKNOP_INPUT with expire time of ${START + 10}`,
  ]);
  await scene.firewall.stop();
});

Deno.test("a step of the wall clock neither stretches nor shortens a grant", async () => {
  for (const step of [-3_600_000, 3_600_000, 366 * 86_400_000, -366 * 86_400_000]) {
    const scene = await started();
    await scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
    scene.stepWallClock(step);
    await scene.advance(9_000);
    assert.equal(openIn(scene).length, 1);
    await scene.advance(1_000);
    assert.equal(openIn(scene).length, 0);
    await scene.firewall.stop();
  }
});

Deno.test("rules that end together are removed by one process", async () => {
  const scene = await started();
  for (let index = 0; index < 50; index++) {
    await scene.firewall.open(scene.grant(`192.0.2.${index}`, 10, 22));
  }
  scene.iptables.calls.length = 0;
  await scene.advance(10_000);
  assert.deepEqual(openIn(scene), []);
  assert.equal(scene.iptables.calls.length, 1);
  await scene.firewall.stop();
});

Deno.test("a rule that somebody deleted does not keep the others open", async () => {
  const scene = await started();
  for (const address of ["192.0.2.10", "192.0.2.11", "192.0.2.12"]) {
    await scene.firewall.open(scene.grant(address, 10, 22));
  }
  const rule = scene.iptables.save().find((line) => line.includes("192.0.2.11")) ?? "";
  scene.iptables.run({
    program: "x",
    args: ["-t", "filter", ...rule.replace("-A", "-D").split(" ")],
  });
  assert.equal(openIn(scene).length, 2);
  scene.lines.length = 0;
  await scene.advance(10_000);
  assert.deepEqual(openIn(scene), []);
  assert.equal(scene.firewall.grants, 0);
  assert.deepEqual(scene.lines.map((line) => line.split(" ", 2).join(" ")), [
    "info Removed",
    "info Removed",
  ]);
  await scene.firewall.stop();
});

Deno.test("a removal that fails is logged and tried again", async () => {
  const scene = await started();
  await scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
  scene.lines.length = 0;
  scene.iptables.broken = { status: 4, stdout: "", stderr: "Another app holds the lock" };
  await scene.advance(10_000);
  assert.equal(openIn(scene).length, 1);
  assert.equal(scene.firewall.grants, 1);
  assert.deepEqual(scene.lines, [
    "error Cannot remove 1 rule(s) that ended, trying again: Another app holds the lock",
  ]);
  await scene.advance(1_000);
  scene.iptables.broken = null;
  await scene.advance(1_999);
  assert.equal(openIn(scene).length, 1);
  await scene.advance(1);
  assert.equal(openIn(scene).length, 0);
  assert.equal(scene.firewall.grants, 0);
  await scene.firewall.stop();
});

Deno.test("stop() refuses what waits, opens what is under way, and removes everything", async () => {
  const foreign = fakeIptables("-t filter -A INPUT -s 203.0.113.1/32 -j DROP");
  const before = foreign.save();
  const scene = await started({ iptables: foreign });
  scene.hold = true;
  const underWay = scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
  const waiting = scene.firewall.open(scene.grant("192.0.2.11", 30, 22));
  await settle();
  const stopping = scene.firewall.stop();
  assert.equal((await waiting).ok, false);
  scene.release();
  assert.equal((await underWay).ok, true);
  await stopping;
  assert.deepEqual(foreign.save(), before);
  assert.equal((await scene.firewall.open(scene.grant("192.0.2.12", 30, 22))).ok, false);
});

Deno.test("with FLUSH_IPT_AT_EXIT N the rules stay, and the next run ends them on time", async () => {
  const config = { FLUSH_IPT_AT_EXIT: false, FLUSH_IPT_AT_INIT: false };
  const first = await started({ config });
  await first.firewall.open(first.grant("192.0.2.10", 10, 22));
  await first.firewall.open(first.grant("192.0.2.11", 20, 22));
  await first.firewall.stop();
  assert.equal(openIn(first).length, 2);

  const second = await started({ config, iptables: first.iptables });
  assert.equal(second.firewall.grants, 2);
  await second.advance(10_000);
  assert.deepEqual(openIn(second), ["192.0.2.11 22"]);
  await second.advance(10_000);
  assert.deepEqual(openIn(second), []);
  assert.deepEqual(second.lines, [
    `info Removed rule 1 from FWKNOP_INPUT with expire time of ${START + 10}`,
    `info Removed rule 1 from FWKNOP_INPUT with expire time of ${START + 20}`,
  ]);
  await second.firewall.stop();
});

Deno.test("rules of an earlier run end in a chain of any name", async () => {
  const IPT_INPUT_ACCESS = { ...DEFAULT_CONFIG.IPT_INPUT_ACCESS, to: "F" };
  const config = { FLUSH_IPT_AT_EXIT: false, FLUSH_IPT_AT_INIT: false, IPT_INPUT_ACCESS };
  const first = await started({ config });
  await first.firewall.open(first.grant("192.0.2.10", 10, 22));
  await first.firewall.stop();
  const second = await started({ config, iptables: first.iptables });
  assert.deepEqual(openIn(second, "F"), ["192.0.2.10 22"]);
  await second.advance(10_000);
  assert.deepEqual(openIn(second, "F"), []);
  await second.firewall.stop();
});

for (
  const [ENABLE_KERNEL_EXPIRY, what] of [[true, "wait for"], [false, "do not wait for"]] as const
) {
  Deno.test(`after a removal that took long the next ones ${what} a rest, as the kernel ends them or not`, async () => {
    const scene = await started({ config: { ENABLE_KERNEL_EXPIRY } });
    await scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
    await scene.firewall.open(scene.grant("192.0.2.11", 11, 22));
    scene.hold = true;
    await scene.advance(10_500);
    scene.release();
    await settle();
    assert.equal(openIn(scene).length, 1);
    await scene.advance(500);
    assert.equal(openIn(scene).length, ENABLE_KERNEL_EXPIRY ? 1 : 0);
    await scene.firewall.open(scene.grant("192.0.2.12", 100, 22));
    assert.equal(openIn(scene).length, ENABLE_KERNEL_EXPIRY ? 2 : 1);
    await scene.advance(2000);
    assert.equal(openIn(scene).length, 1);
    await scene.firewall.stop();
  });
}

Deno.test("a sweep removes overdue rules of other programs and nothing else", async () => {
  const scene = await started({ sweepInterval: 2_000 });
  for (const comment of ["_exp_1234", `_exp_${START + 100}`, "mine"]) {
    const line = `-A FWKNOP_INPUT -s 203.0.113.1/32 -m comment --comment ${comment} -j ACCEPT`;
    scene.iptables.run({ program: "x", args: ["-t", "filter", ...line.split(" ")] });
  }
  await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
  scene.lines.length = 0;
  await scene.advance(2_000);
  assert.deepEqual(scene.lines, [
    "info Removed rule 1 from FWKNOP_INPUT with expire time of 1234",
  ]);
  assert.equal(openIn(scene).length, 3);
  await scene.firewall.stop();
});

Deno.test("without a sweep an idle firewall runs no program", async () => {
  const scene = await started();
  await scene.firewall.open(scene.grant("192.0.2.10", 3600, 22));
  scene.iptables.calls.length = 0;
  await scene.advance(3_000_000);
  assert.deepEqual(scene.iptables.calls, []);
  await scene.firewall.stop();
});

Deno.test("at verbosity 2 the log has each command and the chain's listing, at 0 neither", async () => {
  const command =
    /running CMD: \/usr\/sbin\/iptables -A FWKNOP_INPUT -t filter -p 6 -s 192.0.2.10 .*--dport 22 .*-j ACCEPT/;
  const listing = /^-A FWKNOP_INPUT -s 192.0.2.10\/32 .*_exp_\d+/m;
  for (const verbosity of [0, 2]) {
    const scene = await started({ verbosity });
    await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
    await settle();
    const text = scene.lines.join("\n");
    assert.equal(command.test(text), verbosity === 2);
    assert.equal(listing.test(text), verbosity === 2);
    await scene.firewall.stop();
  }
});

Deno.test("a second knock for what is open moves its end, and a shorter one leaves it", async () => {
  const scene = await started();
  const grant = (seconds: number): FirewallGrant => scene.grant("192.0.2.10", seconds, 22);
  await scene.firewall.open(grant(10));
  await scene.advance(5_000);
  await scene.firewall.open(grant(10));
  await settle();
  assert.equal(openIn(scene).length, 1);
  assert.equal(scene.firewall.grants, 1);
  await scene.firewall.open(grant(3));
  await settle();
  assert.equal(openIn(scene).length, 1);
  await scene.advance(9_999);
  assert.equal(openIn(scene).length, 1);
  await scene.advance(1);
  assert.equal(openIn(scene).length, 0);
  assert.equal(scene.lines.filter((line) => line.startsWith("info Removed rule 1 ")).length, 1);
  await scene.firewall.stop();
});

for (
  const [how, alter] of [
    ["by their texts", undefined],
    ["by their ends", ({ missing: _, ...planner }: IptablesPlanner): FirewallPlanner => planner],
  ] as const
) {
  Deno.test(`a knock opens what somebody closed, no longer than it asks, known ${how}`, async () => {
    const scene = await started(alter === undefined ? {} : { alter });
    await scene.firewall.open(scene.grant("192.0.2.10", 3600, 22, 443));
    await scene.firewall.open(scene.grant("192.0.2.11", 1800, 22));
    for (const port of [22, 443]) {
      const text = `-p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport ${port}` +
        ` -m comment --comment _exp_${START + 3600} -j ACCEPT`;
      const args = `-t filter -D FWKNOP_INPUT ${text}`.split(" ");
      assert.equal(scene.iptables.run({ program: "x", args }).status, 0);
    }
    scene.lines.length = 0;
    await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
    await scene.firewall.open(scene.grant("192.0.2.11", 60, 22));
    assert.deepEqual(openIn(scene), ["192.0.2.11 22", "192.0.2.10 22"]);
    assert.equal(scene.lines.length, 1);
    await scene.advance(30_000);
    assert.deepEqual(openIn(scene), ["192.0.2.11 22"]);
    await scene.firewall.stop();
  });
}

Deno.test("a rule that could not make way for a later one is closed at its time all the same", async () => {
  const scene = await started();
  await scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
  await scene.advance(5_000);
  scene.iptables.keep = true;
  await scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
  await settle();
  assert.equal(openIn(scene).length, 2);
  scene.iptables.keep = false;
  await scene.advance(10_000);
  assert.equal(openIn(scene).length, 0);
  await scene.firewall.stop();
});

Deno.test("at any time exactly the grants that have not ended are open", async () => {
  const step = fc.oneof(
    fc.record({
      open: fc.nat(5),
      port: fc.integer({ min: 1, max: 4 }),
      seconds: fc.integer({ min: 1, max: 20 }),
    }),
    fc.record({ advance: fc.integer({ min: 1, max: 9_000 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const scene = await started();
      let time = 0;
      const model = new Map<string, { end: number; expires: number }>();
      for (const one of steps) {
        if ("open" in one) {
          const grant = scene.grant(`192.0.2.${one.open}`, one.seconds, one.port);
          const opening = scene.firewall.open(grant);
          const key = `192.0.2.${one.open} ${one.port}`;
          const end = time + one.seconds * 1000;
          const known = model.get(key);
          if (known === undefined || (known.end < end && known.expires !== grant.expires)) {
            model.set(key, { end, expires: grant.expires });
          }
          assert.equal((await opening).ok, true);
          await settle();
        } else {
          time += one.advance;
          await scene.advance(one.advance);
        }
        for (const [key, { end }] of model) if (end <= time) model.delete(key);
        assert.equal(openIn(scene).length, model.size);
      }
      await scene.firewall.stop();
      assert.deepEqual(scene.iptables.save(), []);
    }),
    { numRuns: 50 },
  );
});

for (const kernelEnds of [false, true]) {
  const whose = kernelEnds ? "the kernel would have ended" : "are ours to end";
  Deno.test(`grants that ${whose} end soon after the machine wakes when it sleeps beyond their time`, async () => {
    const scene = await started(kernelEnds ? { alter: leavingEndsToKernel } : {});
    await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
    await scene.firewall.open(scene.grant("192.0.2.11", 3600, 22));
    await scene.firewall.open(scene.grant("192.0.2.12", 8000, 22));
    await scene.advance(5_000);
    scene.sleep(3_595_000);
    await scene.advance(10_000);
    assert.deepEqual(openIn(scene), ["192.0.2.12 22"]);
    // The kernel still counts an hour too much for this one.
    await scene.advance(4_390_000 - 1);
    assert.deepEqual(openIn(scene), ["192.0.2.12 22"]);
    await scene.advance(1);
    assert.deepEqual(openIn(scene), []);
    await scene.firewall.stop();
  });
}

for (const kernelEnds of [false, true]) {
  const whose = kernelEnds ? "the kernel ends" : "we end";
  Deno.test(`a slow program shortens the grants that ${whose}, and fails those that it outlasts`, async () => {
    const scene = await started(kernelEnds ? { alter: leavingEndsToKernel } : {});
    scene.hold = true;
    const short = scene.firewall.open(scene.grant("192.0.2.10", 10, 22));
    const long = scene.firewall.open(scene.grant("192.0.2.11", 60, 22));
    await scene.advance(30_000);
    scene.release();
    assert.deepEqual(await short, {
      ok: false,
      reason: "the firewall took longer than the grant lasts",
    });
    assert.deepEqual(await long, { ok: true });
    await settle();
    assert.equal(scene.lines.filter((line) => line.includes("Added")).length, 1);
    assert.deepEqual(openIn(scene), ["192.0.2.11 22"]);
    await scene.advance(30_000);
    assert.deepEqual(openIn(scene), []);
    await scene.firewall.stop();
  });
}

Deno.test("a knock for another NAT target takes the place of the first, even for a shorter time", async () => {
  const scene = await started({ config: { ENABLE_IPT_FORWARDING: true } });
  const to = (host: string, seconds: number): FirewallGrant => ({
    ...scene.grant("192.0.2.10", seconds, 8022),
    kind: "nat",
    nat: {
      local: false,
      all: false,
      host,
      port: 22,
      translatesDestination: true,
      masquerade: false,
      forcedSource: null,
    },
  });
  const targets = (): string[] =>
    scene.iptables.save("nat").flatMap((line) => /--to-destination (\S+)/.exec(line)?.[1] ?? []);
  await scene.firewall.open(to("198.51.100.20", 60));
  await scene.firewall.open(to("198.51.100.99", 30));
  assert.deepEqual(targets(), ["198.51.100.99:22"]);
  assert.equal(scene.lines.filter((line) => line.includes("Added DNAT rule")).length, 2);
  await Promise.all([
    scene.firewall.open(to("198.51.100.98", 60)),
    scene.firewall.open(to("198.51.100.97", 50)),
  ]);
  assert.deepEqual(targets(), ["198.51.100.97:22"]);
  await scene.advance(50_000);
  assert.deepEqual(targets(), []);
  await scene.advance(10_000);
  assert.deepEqual(openIn(scene, "FWKNOP_FORWARD"), []);
  await scene.firewall.stop();
});

Deno.test("what the kernel ends in time is left to it", async () => {
  const scene = await started({ alter: leavingEndsToKernel });
  await scene.firewall.open(scene.grant("192.0.2.10", 30, 22));
  const { length } = scene.iptables.calls;
  await scene.advance(60_000);
  assert.equal(scene.firewall.grants, 0);
  assert.equal(scene.iptables.calls.length, length);
});

/** Steps of the wall clock in a row, in seconds: leap seconds, years, and back. */
const STEPS = [1, -1, 1, -3600, 366 * 86_400, -3 * 365 * 86_400, 30 * 365 * 86_400, -1, 0];

Deno.test("however the wall clock steps while it is open, a grant lasts as long as was granted", async () => {
  const scene = await started();
  await scene.firewall.open(scene.grant("192.0.2.10", STEPS.length, 22));
  for (const step of STEPS) {
    assert.equal(openIn(scene).length, 1);
    scene.stepWallClock(step * 1000);
    await scene.advance(1000);
  }
  assert.equal(openIn(scene).length, 0);
  await scene.firewall.stop();
});
