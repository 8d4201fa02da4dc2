import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { RefusalReason } from "../lib/auth_event.ts";
import type { ReplayRecord } from "../lib/auth_replay.ts";
import { createJsonLog, createLog, type DecisionEntry, type Log } from "../lib/serve_log.ts";
import { createMonitor, type MonitorParts } from "../lib/serve_monitor.ts";
import type { SentryRequest } from "../lib/serve_sentry.ts";
import { serverConfigOf, stanzasOf } from "./gateway_fixture.ts";

const NOON = Date.UTC(2026, 10, 22, 12);
const REFUSED: DecisionEntry = {
  level: "warning",
  id: "S33gjRjwAbCdEfGh",
  source: "192.0.2.10",
  stanza: 2,
  outcome: "port-denied",
  asked: { user: "alice", request: "tcp/22,udp/53", nat: null },
  address: null,
  seconds: null,
};
const GRANTED: DecisionEntry = {
  ...REFUSED,
  level: "info",
  outcome: "granted",
  address: "192.0.2.99",
  seconds: 30,
};

/** What a log writes for what it is told. */
function written(
  create: (write: (level: string, text: string) => void) => Log,
  tell: (log: Log) => void,
): [string, string][] {
  const lines: [string, string][] = [];
  tell(create((level, text) => lines.push([level, text])));
  return lines;
}

const objects = (verbosity: number, tell: (log: Log) => void): unknown[] =>
  written((write) => createJsonLog(verbosity, () => NOON, write), tell)
    .map(([, text]) => JSON.parse(text));

Deno.test("the text log leaves decisions to fwknopd's lines, and at -v adds id and reason", () => {
  for (
    const [verbosity, expected] of [[0, []], [1, [
      ["debug", "[192.0.2.10] (stanza #2) Packet S33gjRjwAbCdEfGh refused: port-denied"],
      ["debug", "[192.0.2.10] (stanza #2) Packet S33gjRjwAbCdEfGh granted"],
      ["debug", "[192.0.2.10] Packet S33gjRjwAbCdEfGh refused: no-stanza-for-source"],
    ]]] as const
  ) {
    const lines = written((write) => createLog(verbosity, write), (log) => {
      log.decision?.(REFUSED);
      log.decision?.(GRANTED);
      log.decision?.({ ...REFUSED, stanza: null, outcome: "no-stanza-for-source" });
      // The line that names the fault is there already.
      log.decision?.({ ...REFUSED, id: null, outcome: "not-a-packet" });
    });
    deepStrictEqual(lines, expected);
  }
});

Deno.test("the JSON log has one object a decision, with reason or grant", () => {
  const packet = {
    time: "2026-11-22T12:00:00.000Z",
    id: "S33gjRjwAbCdEfGh",
    source: "192.0.2.10",
    stanza: 2,
    user: "alice",
    request: "tcp/22,udp/53",
    nat: null,
  };
  deepStrictEqual(
    objects(0, (log) => {
      log.decision?.(REFUSED);
      log.decision?.(GRANTED);
    }),
    [
      { ...packet, level: "warning", event: "refused", reason: "port-denied" },
      { ...packet, level: "info", event: "granted", grant: "192.0.2.99", seconds: 30 },
    ],
  );
});

Deno.test("the JSON log wraps every other line, whatever is in it, and drops debug below -v", () => {
  const text = 'one\ntwo "three" \u2028 \u0007';
  const tell = (log: Log): void => {
    log.warning(text);
    log.debug(text);
    log.decision?.({ ...REFUSED, level: "debug", id: null, outcome: "not-a-packet" });
  };
  const lines = written((write) => createJsonLog(1, () => NOON, write), tell);
  deepStrictEqual(lines.map(([level]) => level), ["warning", "debug", "debug"]);
  ok(lines.every(([, line]) => !/\p{Cc}/u.test(line)));
  deepStrictEqual(objects(0, tell), [
    { time: "2026-11-22T12:00:00.000Z", level: "warning", event: "message", text },
  ]);
});

const RECORD: ReplayRecord = {
  digest: "S33gjRjwAbCdEfGhIjKl",
  protocol: 17,
  source: "192.0.2.10",
  sourcePort: 40000,
  destination: "192.0.2.1",
  destinationPort: 62201,
  time: 1,
};
const REQUEST: SentryRequest = {
  packetSource: "192.0.2.10",
  stanza: 1,
  record: RECORD,
  asked: { user: "alice", request: "tcp/22", nat: null },
  grant: {
    kind: "access",
    stanza: 1,
    source: "192.0.2.99",
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }],
    seconds: 30,
    expires: 31,
  },
};

/** What is broken, and the reason the packet is refused for. */
const FAILURES: readonly [string, Partial<MonitorParts>, string][] = [
  [
    "a full disk",
    { replayFile: { append: () => Promise.reject(new Error("disk full")), close: () => {} } },
    "digest-cache-failed",
  ],
  ["a stanza that is gone", {
    rules: { stanzas: [], nat: serverConfigOf(""), maxPacketAge: 120 },
  }, "monitor-refused"],
  ["no firewall", { firewall: null }, "firewall-failed"],
];

for (const [name, broken, reason] of FAILURES) {
  Deno.test(`a grant that comes to nothing for ${name} is told and counted as refused`, async () => {
    const lines: string[] = [];
    const monitor = createMonitor({ ...soundParts(lines), ...broken });
    await monitor.carryOut(REQUEST);
    const decisions = lines.map((line) => JSON.parse(line)).filter(({ event }) =>
      event !== "message"
    );
    deepStrictEqual(decisions.map(({ event, id, reason }) => [event, id, reason]), [
      ["refused", "S33gjRjwAbCdEfGh", reason],
    ]);
    deepStrictEqual([...monitor.failures], [[reason, 1]]);
  });
}

Deno.test("a grant is told once the firewall has opened, not before", async () => {
  const lines: string[] = [];
  const opened = Promise.withResolvers<{ ok: true }>();
  const monitor = createMonitor(soundParts(lines, opened.promise));
  const done = monitor.carryOut(REQUEST);
  await new Promise((resolve) => setTimeout(resolve, 0));
  deepStrictEqual(lines, []);
  opened.resolve({ ok: true });
  await done;
  const [granted] = lines.map((line) => JSON.parse(line));
  strictEqual(lines.length, 1);
  deepStrictEqual([granted.event, granted.grant, granted.seconds, granted.request], [
    "granted",
    "192.0.2.99",
    30,
    "tcp/22",
  ]);
  strictEqual(monitor.failures.size, 0);
});

function soundParts(
  lines: string[],
  open: Promise<{ readonly ok: true }> = Promise.resolve({ ok: true }),
): MonitorParts {
  return {
    host: {
      resolve: () => Promise.reject(new Error("no name is looked up here")),
      now: () => NOON,
    },
    rules: {
      stanzas: stanzasOf("SOURCE ANY\nKEY a\n"),
      nat: serverConfigOf(""),
      maxPacketAge: 120,
    },
    replayFile: { append: () => Promise.resolve(), close: () => {} },
    firewall: {
      open: () => open,
    },
    commands: null,
    log: createJsonLog(0, () => NOON, (_, text) => lines.push(text)),
  };
}

/** All reasons; the compiler sees to it that none is missing. */
const REASONS: Readonly<Record<RefusalReason, true>> = {
  "not-a-packet": true,
  "no-stanza-for-source": true,
  "stanza-expired": true,
  "no-encryption-mode-match": true,
  "hmac-mismatch": true,
  replay: true,
  undecodable: true,
  "rate-limited": true,
  "gpg-busy": true,
  "signer-not-listed": true,
  "too-old-or-new": true,
  "invalid-allow-address": true,
  "source-address-required": true,
  "user-name-mismatch": true,
  "nat-not-enabled": true,
  "nat-target-refused": true,
  "command-not-allowed": true,
  "port-denied": true,
  "test-mode": true,
  "digest-cache-failed": true,
  "firewall-failed": true,
  "monitor-refused": true,
};

Deno.test("docs/log.md says what each reason means", () => {
  const page = Deno.readTextFileSync(new URL("../docs/log.md", import.meta.url));
  const told = [...page.matchAll(/^\| `([a-z-]+-[a-z-]+|replay|undecodable)` /gm)]
    .map(([, reason]) => reason);
  deepStrictEqual(told.sort(), Object.keys(REASONS).sort());
});

Deno.test("the objects that docs/log.md shows have the fields that the log writes", () => {
  const page = Deno.readTextFileSync(new URL("../docs/log.md", import.meta.url));
  const [, block = ""] = /^```json\n([^]*?)^```$/m.exec(page) ?? [];
  const shown = block.trimEnd().split("\n").map((line) => Object.keys(JSON.parse(line)));
  const written = objects(0, (log) => {
    log.decision?.(REFUSED);
    log.decision?.(GRANTED);
  });
  deepStrictEqual(shown, written.map((object) => Object.keys(object as object)));
});

Deno.test("numbers of packets are a line in the text log and an object in the other", () => {
  const packets = new Map<"granted" | RefusalReason, number>([["granted", 2], ["replay", 1]]);
  const capture = { received: 9, dropped: 1, droppedByInterface: 0, fragments: 0 };
  const tell = (log: Log): void => {
    log.counts("info", { packets, capture });
    log.counts("info", { packets: new Map(), capture: { ...capture, fragments: 3 } });
    log.counts("debug", { packets: new Map(), capture: null });
  };
  const counted = "captured 9, dropped 1 by the kernel and 0 by the interface";
  const lines = [
    ["info", `Packets: granted 2, replay 1; ${counted}`],
    ["info", `Packets: none; ${counted}; passed over 3 fragments`],
  ];
  deepStrictEqual(written((write) => createLog(0, write), tell), lines);
  const all = [...lines, ["debug", "Packets: none"]];
  deepStrictEqual(written((write) => createLog(1, write), tell), all);
  const [first, , ...rest] = objects(0, tell);
  deepStrictEqual(first, {
    time: new Date(NOON).toISOString(),
    level: "info",
    event: "counts",
    packets: { granted: 2, replay: 1 },
    capture,
  });
  deepStrictEqual(rest, []);
});
