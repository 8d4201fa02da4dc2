// The rule of a netfilter queue, planned. The real kernel judges it in tests/lab/nfqueue_test.ts.

import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import type { Plan } from "../lib/fw_firewall.ts";
import {
  iptablesQueueRule,
  nftablesQueueRule,
  type QueueRuleConfig,
  queueRuleOfBothFamilies,
  type QueueRulePlanner,
} from "../lib/fw_nfqueue.ts";
import type { ProgramCall, ProgramResult } from "../lib/host.ts";
import type { Firewall } from "../lib/serve_firewall.ts";
import { NO_LEGACY } from "../lib/serve_firewall_legacy.ts";
import { createLog } from "../lib/serve_log.ts";
import { withQueueRule } from "../lib/serve_nfqueue_rule.ts";
import { fakeIptables } from "./fake_iptables.ts";

const CONFIG: QueueRuleConfig = {
  NFQ_INTERFACE: null,
  NFQ_PORT: 62201,
  NFQ_TABLE: "filter",
  NFQ_CHAIN: "FWKNOP_NFQ",
  NFQ_QUEUE_NUMBER: 1,
  NFT_EXE: "/usr/sbin/nft",
};
const RESTORE = "/usr/sbin/iptables-restore";
const PROGRAMS = { family: "ipv4", iptables: "/usr/sbin/iptables" } as const;

function carryOut<T>(plan: Plan<T>, run: (call: ProgramCall) => ProgramResult): T {
  let step = plan.next();
  while (!step.done) step = plan.next(step.value.map(({ call }) => run(call)));
  return step.value;
}

for (const restore of [RESTORE, null]) {
  const how = restore === null ? "call by call" : "in transactions";

  Deno.test(`the iptables rule of a queue comes first, and goes without a trace, ${how}`, () => {
    const { run, save } = fakeIptables("-t filter -A INPUT -j DROP");
    const rule = iptablesQueueRule({ ...CONFIG, NFQ_INTERFACE: "eth0" }, { ...PROGRAMS, restore });
    deepStrictEqual(carryOut(rule.setUp(), run), {
      ok: true,
      lines: ["Added jump rule from chain: INPUT to chain: FWKNOP_NFQ"],
    });
    deepStrictEqual(save(), [
      ":FWKNOP_NFQ",
      "-A INPUT -j FWKNOP_NFQ",
      "-A INPUT -j DROP",
      "-A FWKNOP_NFQ -i eth0 -p udp -m udp --dport 62201 -j NFQUEUE --queue-num 1",
    ]);
    deepStrictEqual(carryOut(rule.tearDown(), run), { ok: true });
    deepStrictEqual(save(), ["-A INPUT -j DROP"]);
    deepStrictEqual(carryOut(rule.tearDown(), run), { ok: true });
  });

  Deno.test(`what an earlier run has left of a queue's rule is replaced, ${how}`, () => {
    const { run, save } = fakeIptables(
      "-t filter -N FWKNOP_NFQ",
      "-t filter -A INPUT -j FWKNOP_NFQ",
      "-t filter -A INPUT -j DROP",
      "-t filter -A INPUT -j FWKNOP_NFQ",
      "-t filter -A FWKNOP_NFQ -p udp -m udp --dport 9 -j NFQUEUE --queue-num 9",
    );
    strictEqual(
      carryOut(iptablesQueueRule(CONFIG, { ...PROGRAMS, restore }).setUp(), run).ok,
      true,
    );
    deepStrictEqual(save(), [
      ":FWKNOP_NFQ",
      "-A INPUT -j FWKNOP_NFQ",
      "-A INPUT -j DROP",
      "-A FWKNOP_NFQ -p udp -m udp --dport 62201 -j NFQUEUE --queue-num 1",
    ]);
  });

  Deno.test(`a rule that the kernel refuses leaves no chain and no jump, ${how}`, () => {
    const fake = fakeIptables("-t filter -A INPUT -j DROP");
    fake.refuse = /NFQUEUE/;
    const outcome = carryOut(iptablesQueueRule(CONFIG, { ...PROGRAMS, restore }).setUp(), fake.run);
    ok(!outcome.ok);
    match(outcome.reason, restore === null ? /Invalid argument/ : /--queue-num 1/);
    deepStrictEqual(fake.save(), ["-A INPUT -j DROP"]);
  });
}

Deno.test("a kernel without xt_NFQUEUE is told with the module's name", () => {
  const { run } = fakeIptables();
  const stderr = "iptables: No chain/target/match by that name.\n";
  const outcome = carryOut(
    iptablesQueueRule(CONFIG, { ...PROGRAMS, restore: null }).setUp(),
    (call) => call.args.includes("NFQUEUE") ? { status: 1, stdout: "", stderr } : run(call),
  );
  ok(!outcome.ok);
  match(outcome.reason, /by that name\.; has the kernel the module xt_NFQUEUE\?$/);
});

/** iptables and ip6tables, and the rule for both. */
function twoFamilies() {
  const [ipv4, ipv6] = [fakeIptables(), fakeIptables()];
  return {
    ipv4,
    ipv6,
    run: (call: ProgramCall) => (call.program.includes("ip6tables") ? ipv6 : ipv4).run(call),
    rule: queueRuleOfBothFamilies(
      iptablesQueueRule(CONFIG, { ...PROGRAMS, restore: RESTORE }),
      iptablesQueueRule(CONFIG, {
        family: "ipv6",
        iptables: "/usr/sbin/ip6tables",
        restore: "/usr/sbin/ip6tables-restore",
      }),
    ),
  };
}

const JUMP = "Added jump rule from chain: INPUT to chain: FWKNOP_NFQ";

Deno.test("ip6tables gets the same rule, and both go", () => {
  const { ipv4, ipv6, run, rule } = twoFamilies();
  deepStrictEqual(carryOut(rule.setUp(), run), { ok: true, lines: [JUMP, `IPv6: ${JUMP}`] });
  deepStrictEqual(ipv6.save(), ipv4.save());
  strictEqual(ipv6.save().length, 3);
  deepStrictEqual(carryOut(rule.tearDown(), run), { ok: true });
  deepStrictEqual([ipv4.save(), ipv6.save()], [[], []]);
});

Deno.test("where ip6tables has no such rule IPv4 goes on alone, and says so", () => {
  const { ipv4, ipv6, run, rule } = twoFamilies();
  ipv6.broken = { status: 3, stdout: "", stderr: "can't initialize ip6tables table `filter'" };
  const outcome = carryOut(rule.setUp(), run);
  ok(outcome.ok);
  match(outcome.lines.join("\n"), /\nNo packets over IPv6 .*: can't initialize ip6tables table/);
  strictEqual(ipv4.save().length, 3);
  deepStrictEqual(carryOut(rule.tearDown(), run), { ok: true });
  deepStrictEqual(ipv4.save(), []);
});

Deno.test("where iptables has no such rule none is left in ip6tables", () => {
  const { ipv4, ipv6, run, rule } = twoFamilies();
  ipv4.refuse = /NFQUEUE/;
  ok(!carryOut(rule.setUp(), run).ok);
  deepStrictEqual([ipv4.save(), ipv6.save()], [[], []]);
});

/** An nft that gives one answer, and what it was told. */
function nft(result: ProgramResult): {
  readonly scripts: string[];
  run(call: ProgramCall): ProgramResult;
} {
  const scripts: string[] = [];
  return {
    scripts,
    run: ({ program, args, stdin }) => {
      deepStrictEqual([program, args], ["/usr/sbin/nft", ["-f", "-"]]);
      scripts.push(stdin ?? "");
      return result;
    },
  };
}

const DONE: ProgramResult = { status: 0, stdout: "", stderr: "" };

Deno.test("the nftables rule of a queue is one transaction that replaces an earlier one", () => {
  const { run, scripts } = nft(DONE);
  const rule = nftablesQueueRule({ ...CONFIG, NFQ_INTERFACE: "eth+", NFQ_QUEUE_NUMBER: 7 });
  deepStrictEqual(carryOut(rule.setUp(), run), {
    ok: true,
    lines: ["Added the table inet spa_nfqueue."],
  });
  deepStrictEqual(carryOut(rule.tearDown(), run), { ok: true });
  const removal = "add table inet spa_nfqueue\ndelete table inet spa_nfqueue\n";
  deepStrictEqual(scripts, [
    removal + "add table inet spa_nfqueue\n" +
    "add chain inet spa_nfqueue input { type filter hook input priority mangle; policy accept; }\n" +
    'add rule inet spa_nfqueue input iifname "eth*" udp dport 62201 queue num 7\n',
    removal,
  ]);
});

Deno.test("a kernel without nft_queue is told with the module's name", () => {
  const stderr = "/dev/stdin:5:1-60: Error: Could not process rule: No such file or directory\n";
  const { run } = nft({ status: 1, stdout: "", stderr });
  deepStrictEqual(carryOut(nftablesQueueRule(CONFIG).setUp(), run), {
    ok: false,
    reason: "/usr/sbin/nft: Could not process rule: No such file or directory; " +
      "has the kernel the module nft_queue?",
  });
});

/** A firewall and a rule that tell the order in which they are used. */
function bench(refuses: boolean) {
  const steps: string[] = [];
  const step = (name: string): Promise<void> => Promise.resolve(void steps.push(name));
  const firewall: Firewall = {
    kind: "nftables",
    grants: 3,
    start: () => step("firewall starts"),
    retire: async () => {
      await step("firewall retires");
      return NO_LEGACY;
    },
    clear: () => step("firewall is cleared"),
    open: () => Promise.resolve({ ok: true }),
    stop: () => step("firewall stops"),
  };
  const rule: QueueRulePlanner = {
    // deno-lint-ignore require-yield -- needs no program
    *setUp() {
      steps.push("rule comes");
      return refuses ? { ok: false, reason: "no such table" } : { ok: true, lines: ["a line"] };
    },
    // deno-lint-ignore require-yield -- needs no program
    *tearDown() {
      steps.push("rule goes");
      return { ok: true };
    },
  };
  const host = { run: () => Promise.reject(new Error("nothing to run")) };
  const lines: string[] = [];
  const log = createLog(0, (_, text) => lines.push(text));
  return {
    steps,
    lines,
    both: (inner: Firewall | null) => withQueueRule(inner, rule, host, log),
    firewall,
  };
}

Deno.test("a queue's rule comes after the firewall and goes before it", async () => {
  const { steps, lines, both, firewall } = bench(false);
  const joined = both(firewall);
  await joined.start();
  strictEqual(joined.grants, 3);
  await joined.stop();
  deepStrictEqual(steps, ["firewall starts", "rule comes", "rule goes", "firewall stops"]);
  deepStrictEqual(lines, ["a line"]);
});

Deno.test("a queue's rule that cannot come stops the start and leaves no firewall", async () => {
  const { steps, both, firewall } = bench(true);
  await rejects(both(firewall).start(), /cannot hand packets to .*: no such table/);
  deepStrictEqual(steps, ["firewall starts", "rule comes", "firewall stops"]);
});

Deno.test("a queue's rule goes with a firewall that retires, and leaves that its rules", async () => {
  const { steps, both, firewall } = bench(false);
  deepStrictEqual(await both(firewall).retire(), NO_LEGACY);
  deepStrictEqual(steps, ["rule goes", "firewall retires"]);
  const failing = bench(true);
  await rejects(failing.both(failing.firewall).start(NO_LEGACY), /cannot hand packets to/);
  deepStrictEqual(failing.steps, ["firewall starts", "rule comes", "firewall retires"]);
});

Deno.test("a queue's rule comes and goes without a firewall too, which opens nothing", async () => {
  const { steps, both } = bench(false);
  const alone = both(null);
  await alone.start();
  await alone.stop();
  strictEqual(alone.grants, 0);
  deepStrictEqual(steps, ["rule comes", "rule goes"]);
});
