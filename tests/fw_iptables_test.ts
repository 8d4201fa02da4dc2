// The iptables planner: its rules, its transactions and how it reads listings.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { FirewallRule, Plan } from "../lib/fw_firewall.ts";
import {
  chainsInUse,
  type IptablesConfig,
  iptablesPlanner,
  restoreProgram,
} from "../lib/fw_iptables.ts";
import { explainFailure } from "../lib/fw_iptables_edit.ts";
import { canonicalRule, countJumps, parseRules } from "../lib/fw_iptables_listing.ts";
import type { ProtocolPort } from "../lib/net_port.ts";
import { DEFAULT_CONFIG, type FakeIptables, fakeIptables } from "./fake_iptables.ts";

const END = 1795323564;
const SSH: ProtocolPort = { protocol: "tcp", port: 22 };
const VPN: ProtocolPort = { protocol: "udp", port: 1194 };

function grant(...ports: ProtocolPort[]): FirewallGrant {
  return {
    kind: "access",
    stanza: 1,
    source: "192.0.2.10",
    destination: "192.0.2.1",
    ports,
    seconds: 30,
    expires: END,
  };
}

function config(changes: Partial<IptablesConfig> = {}): IptablesConfig {
  return { ...DEFAULT_CONFIG, ...changes };
}

function carryOut<T>(plan: Plan<T>, fake: FakeIptables): T {
  let step = plan.next();
  while (!step.done) step = plan.next(step.value.map(({ call }) => fake.run(call)));
  return step.value;
}

function rulesOf(changes: Partial<IptablesConfig>, ...ports: ProtocolPort[]): FirewallRule[] {
  const choice = iptablesPlanner(config(changes)).rulesFor(grant(...ports));
  assert(choice.ok);
  return [...choice.rules];
}

const ACCESS = `-m comment --comment _exp_${END} -j ACCEPT`;

const RULES: readonly {
  readonly title: string;
  readonly changes: Partial<IptablesConfig>;
  readonly ports: ProtocolPort[];
  readonly saved: string[];
  readonly logged: string[];
}[] = [
  {
    title: "one TCP port",
    changes: {},
    ports: [SSH],
    saved: [`-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${ACCESS}`],
    logged: ["access FWKNOP_INPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22"],
  },
  {
    title: "several ports",
    changes: {},
    ports: [SSH, VPN],
    saved: [
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p udp -m udp --dport 1194 ${ACCESS}`,
    ],
    logged: [
      "access FWKNOP_INPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22,udp/1194",
      "access FWKNOP_INPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22,udp/1194",
    ],
  },
  {
    title: "several ports with ENABLE_RULE_PREPEND",
    changes: { ENABLE_RULE_PREPEND: true },
    ports: [SSH, VPN],
    saved: [
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p udp -m udp --dport 1194 ${ACCESS}`,
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
    ],
    logged: [
      "access FWKNOP_INPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22,udp/1194",
      "access FWKNOP_INPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22,udp/1194",
    ],
  },
  {
    title: "ENABLE_DESTINATION_RULE",
    changes: { ENABLE_DESTINATION_RULE: true },
    ports: [SSH],
    saved: [
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -d 192.0.2.1/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
    ],
    logged: ["access FWKNOP_INPUT 192.0.2.10 -> 192.0.2.1 tcp/22"],
  },
  {
    title: "ENABLE_IPT_OUTPUT",
    changes: { ENABLE_IPT_OUTPUT: true },
    ports: [SSH],
    saved: [
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
      `-A FWKNOP_OUTPUT -d 192.0.2.10/32 -p tcp -m tcp --sport 22 ${ACCESS}`,
    ],
    logged: [
      "access FWKNOP_INPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22",
      "OUTPUT FWKNOP_OUTPUT 192.0.2.10 -> 0.0.0.0/0 tcp/22",
    ],
  },
  {
    title: "ENABLE_IPT_OUTPUT with ENABLE_DESTINATION_RULE",
    changes: { ENABLE_IPT_OUTPUT: true, ENABLE_DESTINATION_RULE: true },
    ports: [SSH],
    saved: [
      `-A FWKNOP_INPUT -s 192.0.2.10/32 -d 192.0.2.1/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
      `-A FWKNOP_OUTPUT -s 192.0.2.1/32 -d 192.0.2.10/32 -p tcp -m tcp --sport 22 ${ACCESS}`,
    ],
    logged: [
      "access FWKNOP_INPUT 192.0.2.10 -> 192.0.2.1 tcp/22",
      "OUTPUT FWKNOP_OUTPUT 192.0.2.10 -> 192.0.2.1 tcp/22",
    ],
  },
  {
    title: "another target and chain",
    changes: {
      IPT_INPUT_ACCESS: { ...DEFAULT_CONFIG.IPT_INPUT_ACCESS, target: "DROP", to: "FWKNOP_X" },
    },
    ports: [SSH],
    saved: [
      "-A FWKNOP_X -s 192.0.2.10/32 -p tcp -m tcp --dport 22" +
      ` -m comment --comment _exp_${END} -j DROP`,
    ],
    logged: ["access FWKNOP_X 192.0.2.10 -> 0.0.0.0/0 tcp/22"],
  },
];

for (const { title, changes, ports, saved, logged } of RULES) {
  Deno.test(`iptablesPlanner() makes fwknopd's rules and log words for ${title}`, () => {
    const planner = iptablesPlanner(config(changes));
    const fake = fakeIptables();
    assert(carryOut(planner.setUp(true), fake).ok);
    const rules = rulesOf(changes, ...ports);
    assert(carryOut(planner.add(rules), fake).ok);
    assert.deepEqual(fake.save().filter((line) => /^-A FWKNOP/.test(line)), saved);
    assert.deepEqual(
      rules.map(({ kind, chain, summary }) => `${kind} ${chain} ${summary}`),
      logged,
    );
    assert.deepEqual(carryOut(planner.remove(rules), fake).failed, []);
    assert.deepEqual(fake.save().filter((line) => /^-A FWKNOP/.test(line)), []);
  });
}

Deno.test("a rule is added by one restore call with the arguments that fwknopd gives", () => {
  const planner = iptablesPlanner(config());
  const [step] = [
    ...planner.add(rulesOf({}, SSH)).next().value as Iterable<
      { call: unknown; echo: readonly string[] }
    >,
  ];
  assert.deepEqual(step?.call, {
    program: "/usr/sbin/iptables-restore",
    args: ["-w", "10", "--noflush"],
    timeout: 60_000,
    stdin: "*filter\n" +
      `-A FWKNOP_INPUT -p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 22 ${ACCESS}\n` +
      "COMMIT\n",
  });
  assert.deepEqual(step?.echo, [
    "/usr/sbin/iptables -A FWKNOP_INPUT -t filter" +
    ` -p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 22 ${ACCESS}`,
  ]);
});

for (const address of ["2001:db8::1", "192.0.2.1\n-A INPUT -j ACCEPT", "", "192.0.2.0/24", "any"]) {
  Deno.test(`rulesFor() refuses ${JSON.stringify(address)} as an address`, () => {
    const planner = iptablesPlanner(config({ ENABLE_DESTINATION_RULE: true }));
    assert.equal(planner.rulesFor({ ...grant(SSH), source: address }).ok, false);
    assert.equal(planner.rulesFor({ ...grant(SSH), destination: address }).ok, false);
  });
}

for (
  const [program, restore] of [
    ["/usr/sbin/iptables", "/usr/sbin/iptables-restore"],
    ["iptables", "iptables-restore"],
    ["/sbin/iptables-nft", "/sbin/iptables-nft-restore"],
    ["/sbin/iptables-legacy", "/sbin/iptables-legacy-restore"],
    ["/opt/iptables.sh", null],
    ["/opt/my-iptables", null],
    ["/opt/iptables/run", null],
  ] as const
) {
  Deno.test(`restoreProgram() of ${program} is ${restore}`, () => {
    assert.equal(restoreProgram(program), restore);
  });
}

for (
  const [changes, names] of [
    [{}, "FWKNOP_INPUT"],
    [{ ENABLE_IPT_OUTPUT: true }, "FWKNOP_INPUT FWKNOP_OUTPUT"],
    [{ ENABLE_IPT_FORWARDING: true }, "FWKNOP_INPUT FWKNOP_FORWARD FWKNOP_PREROUTING"],
    [{ ENABLE_IPT_LOCAL_NAT: true }, "FWKNOP_INPUT FWKNOP_FORWARD FWKNOP_PREROUTING"],
    [{ ENABLE_IPT_SNAT: true }, "FWKNOP_INPUT"],
    [
      { ENABLE_IPT_FORWARDING: true, ENABLE_IPT_SNAT: true, ENABLE_IPT_OUTPUT: true },
      "FWKNOP_INPUT FWKNOP_OUTPUT FWKNOP_FORWARD FWKNOP_PREROUTING" +
      " FWKNOP_POSTROUTING FWKNOP_MASQUERADE",
    ],
  ] as const
) {
  Deno.test(`chainsInUse() with ${JSON.stringify(changes)} gives ${names}`, () => {
    assert.equal(chainsInUse(config(changes)).map(({ to }) => to).join(" "), names);
  });
}

const ALL: Partial<IptablesConfig> = {
  ENABLE_IPT_OUTPUT: true,
  ENABLE_IPT_FORWARDING: true,
  ENABLE_IPT_SNAT: true,
};

const FOREIGN = [
  "-t filter -A INPUT -s 203.0.113.1/32 -j DROP",
  "-t filter -N OTHER",
  "-t filter -A INPUT -j OTHER",
  "-t nat -A POSTROUTING -o eth0 -j MASQUERADE",
];

for (const restore of ["/usr/sbin/iptables-restore", null]) {
  const how = restore === null ? "one by one" : "in transactions";

  Deno.test(`setUp() ${how} makes chains and jumps, tearDown() leaves only foreign rules`, () => {
    const planner = iptablesPlanner(config(ALL), restore);
    const fake = fakeIptables(...FOREIGN);
    const before = [fake.save(), fake.save("nat")];
    const outcome = carryOut(planner.setUp(true), fake);
    assert(outcome.ok);
    assert.deepEqual(outcome.lines, [
      "Added jump rule from chain: INPUT to chain: FWKNOP_INPUT",
      "Added jump rule from chain: OUTPUT to chain: FWKNOP_OUTPUT",
      "Added jump rule from chain: FORWARD to chain: FWKNOP_FORWARD",
      "Added jump rule from chain: PREROUTING to chain: FWKNOP_PREROUTING",
      "Added jump rule from chain: POSTROUTING to chain: FWKNOP_POSTROUTING",
      "Added jump rule from chain: POSTROUTING to chain: FWKNOP_MASQUERADE",
      "iptables 'comment' match is available",
    ]);
    assert.deepEqual(fake.save("nat").filter((line) => line.startsWith("-A POSTROUTING")), [
      "-A POSTROUTING -j FWKNOP_MASQUERADE",
      "-A POSTROUTING -j FWKNOP_POSTROUTING",
      "-A POSTROUTING -o eth0 -j MASQUERADE",
    ]);
    assert(carryOut(planner.tearDown(), fake).ok);
    assert.deepEqual([fake.save(), fake.save("nat")], before);
  });

  Deno.test(`setUp() ${how} replaces an earlier run's rules and its many jumps`, () => {
    const fake = fakeIptables(
      "-t filter -N FWKNOP_INPUT",
      "-t filter -A FWKNOP_INPUT -s 192.0.2.77/32 -j ACCEPT",
      "-t filter -A INPUT -j FWKNOP_INPUT",
      "-t filter -A INPUT -j FWKNOP_INPUT",
    );
    assert(carryOut(iptablesPlanner(config(), restore).setUp(true), fake).ok);
    assert.deepEqual(fake.save(), [":FWKNOP_INPUT", "-A INPUT -j FWKNOP_INPUT"]);
  });

  Deno.test(`add() ${how} leaves nothing behind when one of its rules is refused`, () => {
    const planner = iptablesPlanner(config(ALL), restore);
    const fake = fakeIptables();
    assert(carryOut(planner.setUp(true), fake).ok);
    const before = fake.save();
    fake.refuse = /--sport 1194/;
    const outcome = carryOut(planner.add(rulesOf(ALL, SSH, VPN)), fake);
    assert(!outcome.ok);
    assert.equal(outcome.blames, "rules");
    assert.match(outcome.reason, /Invalid argument/);
    assert.deepEqual(fake.save(), before);
  });

  Deno.test(`add() ${how} sets up again what somebody removed`, () => {
    for (
      const [damage, repaired, lost] of [
        [["-D INPUT -j FWKNOP_INPUT"], 1, []],
        [["-D INPUT -j FWKNOP_INPUT", "-F FWKNOP_INPUT", "-X FWKNOP_INPUT"], 1, [
          "filter FWKNOP_INPUT",
        ]],
      ] as const
    ) {
      const planner = iptablesPlanner(config(), restore);
      const fake = fakeIptables();
      assert(carryOut(planner.setUp(true), fake).ok);
      for (const line of damage) {
        fake.run({ program: "iptables", args: ["-t", "filter", ...line.split(" ")] });
      }
      const outcome = carryOut(planner.add(rulesOf({}, SSH)), fake);
      assert(outcome.ok);
      assert.equal(outcome.repaired.length, repaired);
      assert.deepEqual(outcome.lost, lost);
      assert.deepEqual(fake.save(), [
        ":FWKNOP_INPUT",
        "-A INPUT -j FWKNOP_INPUT",
        `-A FWKNOP_INPUT -s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
      ]);
    }
  });

  Deno.test(`remove() ${how} tells removed rules from those that were gone already`, () => {
    const planner = iptablesPlanner(config(), restore);
    const fake = fakeIptables();
    assert(carryOut(planner.setUp(true), fake).ok);
    const rules = rulesOf({}, SSH, VPN, { protocol: "tcp", port: 443 });
    assert(carryOut(planner.add(rules), fake).ok);
    const gone = rules[1];
    assert(gone);
    assert.deepEqual(carryOut(planner.remove([gone]), fake).removed, [gone]);
    const outcome = carryOut(planner.remove(rules), fake);
    assert.deepEqual(outcome.removed, [rules[0], rules[2]]);
    assert.deepEqual(outcome.missing, [gone]);
    assert.deepEqual(outcome.failed, []);
    assert.deepEqual(fake.save(), [":FWKNOP_INPUT", "-A INPUT -j FWKNOP_INPUT"]);
  });

  Deno.test(`setUp() ${how} fails in fwknopd's words when comments cannot be used`, () => {
    const fake = fakeIptables();
    if (restore !== null) fake.refuse = /__TMPCOMMENT__/;
    const planner = iptablesPlanner(config(), restore);
    const plan = planner.setUp(true);
    let step = plan.next();
    while (!step.done) {
      step = plan.next(
        step.value.map(({ call }) =>
          call.args.includes("-C")
            ? { status: 2, stdout: "", stderr: "Couldn't load match `comment'" }
            : fake.run(call)
        ),
      );
    }
    const outcome = step.value;
    assert(!outcome.ok);
    assert.equal(outcome.warning, "Warning: Could not use the 'comment' match");
    assert.deepEqual(fake.save(), []);
  });
}

Deno.test("setUp() without flush keeps rules of an earlier run and reports those that end", () => {
  const planner = iptablesPlanner(config());
  const fake = fakeIptables();
  assert(carryOut(planner.setUp(true), fake).ok);
  assert(carryOut(planner.add(rulesOf({}, SSH)), fake).ok);
  fake.run({ program: "x", args: "-t filter -A FWKNOP_INPUT -s 192.0.2.7/32 -j DROP".split(" ") });
  const before = fake.save();
  const outcome = carryOut(planner.setUp(false), fake);
  assert(outcome.ok);
  assert.deepEqual(fake.save(), before);
  assert.deepEqual(outcome.kept.map(({ chain, expires }) => [chain, expires]), [
    ["FWKNOP_INPUT", END],
  ]);
  assert.deepEqual(carryOut(planner.remove(outcome.kept), fake).removed, outcome.kept);
});

Deno.test("setUp() never touches a live chain but for the jump", () => {
  const fake = fakeIptables();
  assert(carryOut(iptablesPlanner(config()).setUp(true), fake).ok);
  const edits = fake.calls.flatMap(({ stdin }) => stdin?.split("\n") ?? []);
  assert.deepEqual(edits.filter((line) => / INPUT /.test(line)), ["-I INPUT 1 -j FWKNOP_INPUT"]);
});

Deno.test("setUp() fails when the jump's position is beyond the chain's end", () => {
  const fake = fakeIptables();
  const input = { ...DEFAULT_CONFIG.IPT_INPUT_ACCESS, jumpPosition: 9 };
  const outcome = carryOut(iptablesPlanner(config({ IPT_INPUT_ACCESS: input })).setUp(true), fake);
  assert(!outcome.ok);
  assert.match(outcome.reason, /jump to FWKNOP_INPUT cannot be number 9 of INPUT, which has 0/);
  assert.deepEqual(fake.save(), []);
});

Deno.test("setUp() says why when iptables cannot be asked", () => {
  const fake = fakeIptables();
  fake.broken = { status: 4, stdout: "", stderr: "Fatal: Permission denied (must be root)\n" };
  const outcome = carryOut(iptablesPlanner(config()).setUp(true), fake);
  assert.deepEqual(outcome, { ok: false, reason: "Fatal: Permission denied (must be root)" });
});

Deno.test("add() blames the firewall when no program runs", () => {
  const fake = fakeIptables();
  fake.broken = { status: 127, stdout: "", stderr: "/usr/sbin/iptables: No such file" };
  const outcome = carryOut(iptablesPlanner(config()).add(rulesOf({}, SSH)), fake);
  assert(!outcome.ok);
  assert.equal(outcome.blames, "firewall");
});

Deno.test("tearDown() closes a chain that a foreign rule refers to, and says that it stays", () => {
  const planner = iptablesPlanner(config());
  const fake = fakeIptables();
  assert(carryOut(planner.setUp(true), fake).ok);
  assert(carryOut(planner.add(rulesOf({}, SSH)), fake).ok);
  fake.run({ program: "x", args: "-t filter -A FORWARD -j FWKNOP_INPUT".split(" ") });
  const outcome = carryOut(planner.tearDown(), fake);
  assert(!outcome.ok);
  assert.match(outcome.reason, /busy/);
  assert.deepEqual(fake.save(), [":FWKNOP_INPUT", "-A FORWARD -j FWKNOP_INPUT"]);
});

Deno.test("a chain to jump from must be there to set up, and need not to tear down", () => {
  const IPT_INPUT_ACCESS = { ...DEFAULT_CONFIG.IPT_INPUT_ACCESS, from: "MINE" };
  const planner = iptablesPlanner(config({ IPT_INPUT_ACCESS }));
  const fake = fakeIptables(...FOREIGN);
  assert.equal(carryOut(planner.setUp(true), fake).ok, false);
  assert.equal(carryOut(planner.tearDown(), fake).ok, true);
  assert.deepEqual(fake.save(), fakeIptables(...FOREIGN).save());
});

Deno.test("tearDown() of nothing edits nothing", () => {
  const fake = fakeIptables(...FOREIGN);
  assert(carryOut(iptablesPlanner(config()).tearDown(), fake).ok);
  assert.deepEqual(fake.calls.filter((call) => call.stdin !== undefined), []);
});

Deno.test("listing() gives fwknopd's commands", () => {
  const planner = iptablesPlanner(config({ ENABLE_IPT_LOCAL_NAT: true }));
  assert.deepEqual(planner.listing("ours").flatMap(({ echo }) => echo), [
    "/usr/sbin/iptables -t filter -L FWKNOP_INPUT --line-numbers -n",
    "/usr/sbin/iptables -t filter -L FWKNOP_FORWARD --line-numbers -n",
    "/usr/sbin/iptables -t nat -L FWKNOP_PREROUTING --line-numbers -n",
  ]);
  assert.deepEqual(planner.listing("all").flatMap(({ echo }) => echo).slice(1), [
    "/usr/sbin/iptables -t filter -v -n -L --line-numbers",
    "/usr/sbin/iptables -t nat -v -n -L --line-numbers",
  ]);
});

Deno.test("list() reads rules with their fields, and tells a missing chain from a failure", () => {
  const planner = iptablesPlanner(config({ ENABLE_IPT_OUTPUT: true }));
  const fake = fakeIptables("-t filter -N FWKNOP_INPUT");
  fake.run({
    program: "x",
    args: `-t filter -A FWKNOP_INPUT ${rulesOf({}, SSH)[0]?.text}`.split(" "),
  });
  const [input, output] = carryOut(planner.list(), fake);
  assert.deepEqual(input?.rules, [{
    table: "filter",
    chain: "FWKNOP_INPUT",
    number: 1,
    target: "ACCEPT",
    protocol: "tcp",
    source: "192.0.2.10",
    destination: null,
    sourcePort: null,
    destinationPort: 22,
    expires: END,
    text: `-s 192.0.2.10/32 -p tcp -m tcp --dport 22 ${ACCESS}`,
    endsByItself: false,
  }]);
  assert.equal(output?.exists, false);
  assert.equal(output?.problem, null);
  fake.broken = { status: 4, stdout: "", stderr: "no permission" };
  assert.equal(carryOut(planner.list(), fake)[0]?.problem, "no permission");
});

Deno.test("parseRules() counts only rules of the chain, and finds ends in any comment", () => {
  const text = [
    "-P INPUT ACCEPT",
    "-N FWKNOP_INPUT",
    "-A INPUT -j FWKNOP_INPUT",
    "-A FWKNOP_INPUT_2 -j DROP",
    '-A FWKNOP_INPUT ! -s 192.0.2.1/32 -m comment --comment "by \\"hand\\" _exp_1234" -j DROP',
    "-A FWKNOP_INPUT -m comment --comment _exp_123456789012 -j DROP",
    "-A FWKNOP_INPUT -j DROP",
  ].join("\n");
  assert.deepEqual(
    parseRules(text, "filter", "FWKNOP_INPUT").map(({ number, source, expires }) => [
      number,
      source,
      expires,
    ]),
    [[1, "!192.0.2.1", 1234], [2, null, null], [3, null, null]],
  );
});

Deno.test("countJumps() counts jumps without a condition", () => {
  const text = [
    "-A INPUT -j FWKNOP_INPUT",
    "-A INPUT -s 192.0.2.1/32 -j FWKNOP_INPUT",
    "-A INPUT -j FWKNOP_INPUT_2",
    "-A INPUT -j FWKNOP_INPUT",
  ].join("\n");
  assert.equal(countJumps(text, "INPUT", "FWKNOP_INPUT"), 2);
});

for (
  const [given, printed] of [
    [
      "-p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 22 -m comment --comment _exp_1 -j ACCEPT",
      "-s 192.0.2.10/32 -p tcp -m tcp --dport 22 -m comment --comment _exp_1 -j ACCEPT",
    ],
    [
      "-p 17 -d 192.0.2.10 -s 192.0.2.1 --sport 53 -m comment --comment _exp_1 -j ACCEPT",
      "-s 192.0.2.1/32 -d 192.0.2.10/32 -p udp -m udp --sport 53" +
      " -m comment --comment _exp_1 -j ACCEPT",
    ],
    [
      "-p 6 -s 192.0.2.10 -d 0.0.0.0/0 --dport 80 -m comment --comment _exp_1" +
      " -j DNAT --to-destination 198.51.100.20:22",
      "-s 192.0.2.10/32 -p tcp -m tcp --dport 80 -m comment --comment _exp_1" +
      " -j DNAT --to-destination 198.51.100.20:22",
    ],
  ] as const
) {
  Deno.test(`canonicalRule() sees that iptables printed ${given}`, () => {
    assert.equal(canonicalRule(given), canonicalRule(printed));
  });
}

Deno.test("canonicalRule() keeps rules apart that differ in any part", () => {
  const part = fc.record({
    protocol: fc.constantFrom("6", "17"),
    source: fc.ipV4(),
    destination: fc.constantFrom("0.0.0.0/0", "192.0.2.1", "192.0.2.2"),
    port: fc.nat(65535),
    expires: fc.nat(),
  });
  const text = (rule: { [name in keyof RuleParts]: RuleParts[name] }): string =>
    `-p ${rule.protocol} -s ${rule.source} -d ${rule.destination} --dport ${rule.port}` +
    ` -m comment --comment _exp_${rule.expires} -j ACCEPT`;
  fc.assert(fc.property(part, part, (one, other) => {
    assert.equal(
      canonicalRule(text(one)) === canonicalRule(text(other)),
      text(one) === text(other),
    );
  }));
});

interface RuleParts {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly expires: number;
}

for (
  const [stderr, reason] of [
    ["iptables-restore: line 2 failed\n", "iptables-restore: line 2 failed (-A X -j Y)"],
    [
      "# Warning: iptables-legacy tables present, use iptables-legacy to see them\n" +
      "iptables-nft-restore v1.8.9 (nf_tables): Chain 'NOPE' does not exist\n" +
      "Error occurred at line: 4\nTry `iptables-nft-restore -h' for more information.\n",
      "iptables-nft-restore v1.8.9 (nf_tables): Chain 'NOPE' does not exist",
    ],
    ["", "/sbin/iptables-restore: exit status 3"],
  ] as const
) {
  Deno.test(`explainFailure() makes one line of ${JSON.stringify(stderr)}`, () => {
    const call = { program: "/sbin/iptables-restore", args: [], stdin: "*filter\n-A X -j Y\n" };
    assert.equal(explainFailure(call, { status: 3, stdout: "", stderr }), reason);
  });
}
