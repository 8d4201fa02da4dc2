// The firewall on the real iptables, both variants, in a network namespace of its own.

import assert from "node:assert/strict";
import type { FirewallGrant } from "../../lib/auth_grant.ts";
import { closeGrants } from "../../lib/cmd_fw_close.ts";
import { flushFirewall } from "../../lib/cmd_fw_flush.ts";
import { listFirewall } from "../../lib/cmd_fw_list.ts";
import type { IptablesConfig } from "../../lib/fw_iptables.ts";
import { denoHost } from "../../lib/host_deno.ts";
import type { Host } from "../../lib/host.ts";
import { createFirewall, type Firewall } from "../../lib/serve_firewall.ts";
import { createLog } from "../../lib/serve_log.ts";
import { choosePlanner } from "../../lib/serve_plan.ts";
import { DEFAULT_CONFIG } from "../fake_iptables.ts";
import { hasProgram, labMissing } from "./lab.ts";
import { must, PATIENCE, run, start } from "./process.ts";

const LEGACY = "/usr/sbin/iptables-legacy";
const VARIANTS = ["/usr/sbin/iptables-nft", LEGACY] as const;

interface Gateway {
  readonly host: Host;
  readonly iptables: string;
  readonly directory: string;
  /** Runs iptables with blank-separated arguments. */
  edit(args: string): Promise<void>;
  /** All tables, without counters, comments and tables that were never used. */
  save(): Promise<string>;
  inside(...words: string[]): string[];
  /** What commands printed. */
  readonly printed: { stdout: string; stderr: string };
}

/** Runs `test` for both variants in a namespace with some rules of somebody else. */
function onBoth(name: string, test: (gateway: Gateway) => Promise<void>): void {
  for (const iptables of VARIANTS) onGateway(name, iptables, test);
}

function onGateway(
  name: string,
  iptables: string,
  test: (gateway: Gateway) => Promise<void>,
  needs: readonly string[] = [],
): void {
  const lacking = [iptables.replace("/usr/sbin/", ""), ...needs].find((one) => !hasProgram(one));
  const missing = labMissing() ?? (lacking === undefined ? null : `needs the program ${lacking}`);
  Deno.test({
    name: `${name} (${iptables.replace(/.*-/, "")})${missing === null ? "" : `: ${missing}`}`,
    ignore: missing !== null,
    fn: async () => {
      const namespace = `spa-${crypto.randomUUID().slice(0, 8)}`;
      const directory = await Deno.makeTempDir({ prefix: "spa-firewall-" });
      await must(["ip", "netns", "add", namespace]);
      try {
        const gateway = makeGateway(namespace, iptables, directory);
        await gateway.edit("-A INPUT -s 203.0.113.1 -j DROP");
        await gateway.edit("-N OTHER");
        await gateway.edit("-A INPUT -p tcp --dport 80 -j OTHER");
        await gateway.edit("-t nat -A POSTROUTING -s 198.51.100.0/24 -j MASQUERADE");
        await test(gateway);
      } finally {
        await run(["ip", "netns", "delete", namespace]);
        await Deno.remove(directory, { recursive: true });
      }
    },
  });
}

function makeGateway(namespace: string, iptables: string, directory: string): Gateway {
  const real = denoHost();
  const inside = (...words: string[]): string[] => ["ip", "netns", "exec", namespace, ...words];
  const printed = { stdout: "", stderr: "" };
  const host: Host = {
    ...real,
    run: (call) =>
      real.run({ ...call, program: "ip", args: inside(call.program, ...call.args).slice(1) }),
    stdout: (text) => void (printed.stdout += text),
    stderr: (text) => void (printed.stderr += text),
  };
  return {
    host,
    iptables,
    directory,
    inside,
    printed,
    edit: async (args) => void await must(inside(iptables, "-w", ...args.split(" "))),
    save: async () => {
      const text = await must(inside(`${iptables}-save`));
      return text.split("\n").filter((line) => !line.startsWith("#")).join("\n").replace(
        /\[\d+:\d+\]/g,
        "[0:0]",
      );
    },
  };
}

interface Running {
  readonly firewall: Firewall;
  readonly lines: string[];
  /** Resolves once the log has so many lines that match. */
  logged(pattern: RegExp, count?: number): Promise<void>;
}

async function startFirewall(
  { host, iptables }: Gateway,
  changes: Partial<IptablesConfig> = {},
): Promise<Running> {
  const lines: string[] = [];
  const looks = new Set<() => void>();
  const log = createLog(0, (_, text) => {
    lines.push(text);
    for (const look of looks) look();
  });
  const config = { ...DEFAULT_CONFIG, FIREWALL_EXE: iptables, ...changes };
  const firewall = createFirewall({ host, planner: choosePlanner(host, config), log });
  await firewall.start();
  return {
    firewall,
    lines,
    logged: (pattern, count = 1) =>
      new Promise((resolve, reject) => {
        const limit = setTimeout(() => {
          reject(new Error(`${pattern} does not come in time; the log has\n${lines.join("\n")}`));
        }, PATIENCE);
        const look = (): void => {
          if (lines.filter((line) => pattern.test(line)).length < count) return;
          looks.delete(look);
          clearTimeout(limit);
          resolve();
        };
        looks.add(look);
        look();
      }),
  };
}

function grant(source: string, seconds: number, ...ports: number[]): FirewallGrant {
  return {
    kind: "access",
    stanza: 1,
    source,
    destination: "192.0.2.1",
    ports: ports.map((port) => ({ protocol: "tcp", port })),
    seconds,
    expires: Math.floor(Date.now() / 1000) + seconds,
  };
}

onBoth("rules and jumps are saved as fwknopd's are, and nothing is left", async (gateway) => {
  const before = await gateway.save();
  const { firewall } = await startFirewall(gateway, {
    ENABLE_IPT_OUTPUT: true,
    ENABLE_IPT_FORWARDING: true,
    ENABLE_IPT_SNAT: true,
  });
  const one = grant("192.0.2.10", 300, 22, 443);
  const vpn = { ...one, ports: [{ protocol: "udp", port: 1194 } as const] };
  assert.deepEqual(await firewall.open(one), { ok: true });
  assert.deepEqual(await firewall.open(vpn), { ok: true });
  const end = `-m comment --comment _exp_${one.expires} -j ACCEPT`;
  const rules = (await gateway.save()).split("\n").filter((line) => /^-A.*FWKNOP/.test(line));
  assert.deepEqual(
    rules.sort(),
    [
      "-A FORWARD -j FWKNOP_FORWARD",
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${end}`,
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 443 ${end}`,
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p udp -m udp --dport 1194 ${end}`,
      `-A FWKNOP_OUTPUT -d 192.0.2.10/32 -p tcp -m tcp --sport 22 ${end}`,
      `-A FWKNOP_OUTPUT -d 192.0.2.10/32 -p tcp -m tcp --sport 443 ${end}`,
      `-A FWKNOP_OUTPUT -d 192.0.2.10/32 -p udp -m udp --sport 1194 ${end}`,
      "-A INPUT -j FWKNOP_INPUT",
      "-A OUTPUT -j FWKNOP_OUTPUT",
      "-A POSTROUTING -j FWKNOP_MASQUERADE",
      "-A POSTROUTING -j FWKNOP_POSTROUTING",
      "-A PREROUTING -j FWKNOP_PREROUTING",
    ].sort(),
  );
  await firewall.stop();
  assert.equal(await gateway.save(), before);
});

onBoth("1,000 grants at once are all opened, and closed again", async (gateway) => {
  const { firewall, lines, logged } = await startFirewall(gateway);
  const before = await gateway.save();
  const outcomes = await Promise.all(
    Array.from(
      { length: 1000 },
      (_, index) => firewall.open(grant(`10.1.${index >> 8}.${index & 255}`, 1, 22)),
    ),
  );
  assert(outcomes.every(({ ok }) => ok));
  assert.equal(lines.filter((line) => line.startsWith("Added access rule")).length, 1000);
  await logged(/^Removed rule \d+ from FWKNOP_INPUT/, 1000);
  assert.equal(await gateway.save(), before);
  await firewall.stop();
});

onBoth("a rule ends on time", async (gateway) => {
  const { firewall, logged } = await startFirewall(gateway);
  const begin = performance.now();
  const one = grant("192.0.2.10", 1, 22);
  assert((await firewall.open(one)).ok);
  await logged(new RegExp(`Removed rule 1 from FWKNOP_INPUT with expire time of ${one.expires}`));
  const lived = performance.now() - begin;
  assert(lived >= 1000 && lived < 2000, `${lived} ms`);
  assert.doesNotMatch(await gateway.save(), /_exp_/);
  await firewall.stop();
});

onBoth("chains and jumps that somebody removed come back with the next grant", async (gateway) => {
  const { firewall } = await startFirewall(gateway);
  const damages = [
    ["-D INPUT -j FWKNOP_INPUT"],
    ["-F INPUT"],
    ["-D INPUT -j FWKNOP_INPUT", "-F FWKNOP_INPUT", "-X FWKNOP_INPUT"],
  ];
  for (const [index, damage] of damages.entries()) {
    for (const args of damage) await gateway.edit(args);
    assert.deepEqual(await firewall.open(grant(`192.0.2.${index}`, 300, 22)), { ok: true });
    const saved = await gateway.save();
    assert.equal(saved.split("-A INPUT -j FWKNOP_INPUT").length, 2);
    assert(saved.includes(`-A FWKNOP_INPUT -s 192.0.2.${index}/32 -p tcp -m tcp --dport 22 `));
  }
  await firewall.stop();
});

onBoth("rules that somebody deleted keep no others from ending", async (gateway) => {
  const { firewall, lines, logged } = await startFirewall(gateway);
  const grants = [22, 80, 443].map((port) => grant("192.0.2.10", 1, port));
  for (const one of grants) assert((await firewall.open(one)).ok);
  const end = grants[1]?.expires;
  await gateway.edit(
    `-D FWKNOP_INPUT -p tcp -s 192.0.2.10 --dport 80 -m comment --comment _exp_${end} -j ACCEPT`,
  );
  await logged(/^Removed rule \d from FWKNOP_INPUT/, 2);
  assert.equal(firewall.grants, 0);
  assert.doesNotMatch(await gateway.save(), /_exp_/);
  assert.deepEqual(lines.filter((line) => line.startsWith("Cannot")), []);
  await firewall.stop();
});

onBoth("start() clears an earlier run's chains without a trace", async (gateway) => {
  const first = await startFirewall(gateway, { FLUSH_IPT_AT_EXIT: false });
  assert((await first.firewall.open(grant("192.0.2.10", 300, 22))).ok);
  await first.firewall.stop();
  await gateway.edit("-A INPUT -j FWKNOP_INPUT");
  const second = await startFirewall(gateway);
  const saved = await gateway.save();
  assert.doesNotMatch(saved, /_exp_/);
  assert.equal(saved.split("-j FWKNOP_INPUT").length, 2);
  await second.firewall.stop();
});

onBoth("a chain that iptables does not take stops the start with one line", async (gateway) => {
  const before = await gateway.save();
  for (
    const change of [
      { target: "NOTARGET" },
      { table: "nowhere" },
      { jumpPosition: 9 },
      { from: "NOCHAIN" },
    ]
  ) {
    const IPT_INPUT_ACCESS = { ...DEFAULT_CONFIG.IPT_INPUT_ACCESS, ...change };
    await assert.rejects(
      startFirewall(gateway, { IPT_INPUT_ACCESS }),
      /^Error: cannot set up iptables: [^\n]+$/,
      JSON.stringify(change),
    );
    assert.equal(await gateway.save(), before, JSON.stringify(change));
  }
});

onBoth("a firewall command that fails refuses the grant, with what it wrote", async (gateway) => {
  const script = `${gateway.directory}/wrapper`;
  const broken = `${gateway.directory}/broken`;
  await Deno.writeTextFile(
    script,
    `#!/bin/sh\nif [ -e ${broken} ]; then echo "Permission denied" >&2; exit 4; fi\n` +
      `exec ${gateway.iptables} "$@"\n`,
    { mode: 0o755 },
  );
  const { firewall } = await startFirewall(gateway, { FIREWALL_EXE: script });
  await Deno.writeTextFile(broken, "");
  assert.deepEqual(await firewall.open(grant("192.0.2.10", 300, 22)), {
    ok: false,
    reason: "Permission denied",
  });
  await Deno.remove(broken);
  assert.deepEqual(await firewall.open(grant("192.0.2.10", 300, 22)), { ok: true });
  assert.match(await gateway.save(), /-A FWKNOP_INPUT -s 192.0.2.10\/32/);
  await firewall.stop();
  assert.doesNotMatch(await gateway.save(), /FWKNOP/);
});

onBoth("the listing is fwknopd's, and JSON tells the same", async (gateway) => {
  const { firewall } = await startFirewall(gateway);
  const one = grant("192.0.2.10", 300, 22);
  assert((await firewall.open(one)).ok);
  const config = { ...DEFAULT_CONFIG, FIREWALL_EXE: gateway.iptables };
  const log = createLog(0, () => {});
  assert.equal(await listFirewall(gateway.host, config, log), 0);
  assert.match(
    gateway.printed.stdout,
    new RegExp(
      "^Listing rules in fwknopd iptables chains\\.\\.\\.\\n\\n" +
        "Chain FWKNOP_INPUT \\(1 references\\)\\n" +
        "num  target     prot opt source               destination         \\n" +
        "1    ACCEPT     (tcp|6  )  --  192\\.0\\.2\\.10           0\\.0\\.0\\.0/0            " +
        `tcp dpt:22 /\\* _exp_${one.expires} \\*/\\s*\\n$`,
    ),
  );

  gateway.printed.stdout = "";
  assert.equal(await listFirewall(gateway.host, config, log, { json: true }), 0);
  const { firewall: name, chains } = JSON.parse(gateway.printed.stdout);
  const { secondsLeft, ...rule } = chains[0].rules[0];
  assert(secondsLeft > 290 && secondsLeft <= 300, `${secondsLeft}`);
  assert.deepEqual([name, chains[0].table, chains[0].chain, chains[0].exists, rule], [
    "iptables",
    "filter",
    "FWKNOP_INPUT",
    true,
    {
      number: 1,
      target: "ACCEPT",
      protocol: "tcp",
      source: "192.0.2.10",
      destination: null,
      sourcePort: null,
      destinationPort: 22,
      expires: one.expires,
      endsByItself: false,
    },
  ]);

  gateway.printed.stdout = "";
  assert.equal(await listFirewall(gateway.host, config, log, { all: true }), 0);
  assert.match(gateway.printed.stdout, /^Listing all iptables rules in applicable tables\.\.\./);
  assert.match(gateway.printed.stdout, /^Chain OTHER /m);
  await firewall.stop();

  assert.equal(await listFirewall(gateway.host, config, log), 0);
});

onBoth("flushing takes our chains away and nothing else", async (gateway) => {
  const before = await gateway.save();
  const { firewall } = await startFirewall(gateway, { FLUSH_IPT_AT_EXIT: false });
  assert((await firewall.open(grant("192.0.2.10", 300, 22))).ok);
  await firewall.stop();
  const config = { ...DEFAULT_CONFIG, FIREWALL_EXE: gateway.iptables };
  const log = createLog(0, () => {});
  assert.equal(await flushFirewall(gateway.host, config, log), 0);
  assert.equal(gateway.printed.stdout, "Deleting any existing firewall rules...\n");
  assert.equal(await gateway.save(), before);
  assert.equal(await flushFirewall(gateway.host, config, log), 0);
});

onBoth("the rules of others never change, whatever is done", async (gateway) => {
  const { host, iptables, inside } = gateway;
  const ip6tables = iptables.replace("iptables", "ip6tables");
  // Much like ours, with ends long past, and yet somebody else's.
  for (
    const [program, args] of [
      [iptables, "-N FWKNOP_INPUT2"],
      [iptables, "-A FWKNOP_INPUT2 -s 192.0.2.10 -m comment --comment _exp_1 -j ACCEPT"],
      [iptables, "-A INPUT -p tcp --dport 22 -m comment --comment _exp_1 -j DROP"],
      [iptables, "-A FORWARD -j FWKNOP_INPUT2"],
      [iptables, "-N DOCKER-USER"],
      [iptables, "-A DOCKER-USER -s 192.0.2.10 -j DROP"],
      [iptables, "-A FORWARD -j DOCKER-USER"],
      [iptables, "-t nat -A PREROUTING -p tcp --dport 22 -j REDIRECT --to-ports 2222"],
      [iptables, "-t mangle -A PREROUTING -s 192.0.2.10 -j MARK --set-mark 7"],
      [iptables, "-P FORWARD DROP"],
      [ip6tables, "-A INPUT -s 2001:db8::10 -m comment --comment _exp_1 -j DROP"],
      [ip6tables, "-P INPUT DROP"],
    ] as const
  ) await must(inside(program, "-w", ...args.split(" ")));
  const save = async (): Promise<string> => {
    const saved = await gateway.save() + await must(inside(`${ip6tables}-save`));
    return saved.split("\n").filter((line) =>
      !/^[#*]|^COMMIT|^:\S+ ACCEPT|FWKNOP_(?!INPUT2)|^$/.test(line)
    ).map((line) => line.replace(/ \[\d+:\d+\]/, "")).join("\n");
  };
  const before = await save();
  const same = async (what: string): Promise<void> => assert.equal(await save(), before, what);

  const changes = {
    ENABLE_KERNEL_EXPIRY: true,
    ENABLE_DOCKER: true,
    ENABLE_IPT_OUTPUT: true,
    ENABLE_IPT_FORWARDING: true,
    ENABLE_IPT_SNAT: true,
  };
  const { firewall, logged } = await startFirewall(gateway, changes);
  await same("start");
  assert.deepEqual(await firewall.open(grant("192.0.2.10", 1, 22)), { ok: true });
  assert.deepEqual(
    await firewall.open({ ...grant("2001:db8::10", 1, 22), destination: "2001:db8::1" }),
    { ok: true },
  );
  await same("grants");
  await logged(/^Removed rule \d from FWKNOP_INPUT/, 2);
  await logged(/^Removed rule \d from FWKNOP_DOCKER/, 2);
  await same("their ends");
  await gateway.edit("-D INPUT -j FWKNOP_INPUT");
  assert.deepEqual(await firewall.open(grant("192.0.2.10", 300, 22)), { ok: true });
  await same("a repair");
  const config = { ...DEFAULT_CONFIG, ...changes, FIREWALL_EXE: iptables };
  const log = createLog(0, () => {});
  assert.equal(await closeGrants(host, config, log, { address: "192.0.2.10" }), 0);
  await same("fw-close");
  const second = await startFirewall(gateway, { ...changes, FLUSH_IPT_AT_EXIT: false });
  await same("a second start");
  await second.firewall.stop();
  await firewall.stop();
  await same("the end");
  assert.equal(await flushFirewall(host, config, log), 0);
  await same("fw-flush");
  assert.doesNotMatch(await gateway.save(), /FWKNOP_(?!INPUT2)/);
});

onGateway("a grant waits for a lock that another program holds", LEGACY, async (gateway) => {
  // The lock is one file for the whole machine; the test gives its programs one of their own.
  const lock = `${gateway.directory}/xtables.lock`;
  const { firewall } = await startFirewall({
    ...gateway,
    host: {
      ...gateway.host,
      run: ({ program, args, ...call }) =>
        gateway.host.run({
          ...call,
          program: "env",
          args: [`XTABLES_LOCKFILE=${lock}`, program, ...args],
        }),
    },
  });
  const holder = start(["flock", "--no-fork", lock, "sh", "-c", "echo held; read answer"]);
  try {
    await holder.waitFor(/held/);
    let outcome: unknown = null;
    const opening = firewall.open(grant("192.0.2.10", 300, 22)).then((result) => outcome = result);
    // Programs with the usual lock come and go meanwhile.
    for (const args of ["-N X", "-A X -j DROP", "-F X", "-X X"]) await gateway.edit(args);
    assert.equal(outcome, null);
    await holder.write("go\n");
    await opening;
    assert.deepEqual(outcome, { ok: true });
  } finally {
    await holder.stop();
  }
  await firewall.stop();
}, ["flock"]);
