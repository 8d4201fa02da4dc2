import assert from "node:assert/strict";
import fc from "fast-check";
import { startProbe, startService } from "../scripts/bench_gateway.ts";
import { memoryOf, processTree, usageOf, workBetween } from "../scripts/bench_process.ts";
import { startJunk } from "../scripts/bench_hostile.ts";
import { formatOutcome, formatReport, type Outcome, quantile } from "../scripts/bench_result.ts";
import { type Datagram, parsePacket } from "../lib/net_datagram.ts";
import { checkPacketShape } from "../lib/spa_shape.ts";
import { ADDRESSES, GATEWAY_INTERFACE, labMissing, labTool, openLab } from "./lab/lab.ts";
import { start } from "./lab/process.ts";

Deno.test("quantile() gives a sample that the wanted part of all samples does not exceed", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true }), { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (samples, fraction) => {
        const value = quantile(samples, fraction);
        assert.ok(samples.includes(value));
        const below = samples.filter((sample) => sample <= value).length;
        assert.ok(below >= fraction * samples.length);
        const strictlyBelow = samples.filter((sample) => sample < value).length;
        assert.ok(strictlyBelow < Math.max(1, fraction * samples.length));
      },
    ),
  );
});

Deno.test("quantile() of no samples is NaN", () => {
  assert.ok(Number.isNaN(quantile([], 0.5)));
});

const CELLS: readonly (readonly [Outcome | undefined, string])[] = [
  [undefined, "not measured"],
  [{ kind: "latency", samples: [3, 1, 20], lost: 0 }, "3.00 ms (95 %: 20.0, max: 20.0)"],
  [
    { kind: "latency", samples: [104.6], lost: 1 },
    "105 ms (95 %: 105, max: 105), 1 of 2 rounds lost",
  ],
  [{ kind: "latency", samples: [], lost: 2 }, "none of 2 rounds ended in time"],
  [
    { kind: "flood", samples: [9, 7, 30], lost: 1, rate: 4999.6, load: 0.256 },
    "3 of 4 opened, 9.00 ms (sent: 5000/s; 26 % of a core)",
  ],
  [
    { kind: "flood", samples: [], lost: 10, rate: 1000, load: 0 },
    "0 of 10 opened (sent: 1000/s; 0 % of a core)",
  ],
  [{ kind: "duration", milliseconds: 812.4 }, "812 ms"],
  [{ kind: "ports", before: 100, after: 3 }, "3 of 100 still open"],
  [
    { kind: "stall", samples: [0.5, 2, 11] },
    "11.0 ms of a core (99 %: 11.0, median: 2.00)",
  ],
  [
    { kind: "burst", sent: 100, opened: 90, seconds: 4 },
    "22.5 grants/s (90 of 100 opened in 4.00 s)",
  ],
  [
    { kind: "memory", proportional: 2048, anonymous: 512, processes: 1 },
    "2.00 MiB (0.50 anonymous; 1 process)",
  ],
  [
    { kind: "memory", proportional: 51200, anonymous: 20480, processes: 2 },
    "50.0 MiB (20.0 anonymous; 2 processes)",
  ],
  [
    { kind: "idle", seconds: 10, cpuMilliseconds: 50, wakings: 110 },
    "0.50 % of a core, 11.0 wakings/s",
  ],
];

Deno.test("formatOutcome() sums up each kind of result", () => {
  for (const [outcome, cell] of CELLS) assert.equal(formatOutcome(outcome), cell);
});

Deno.test("formatReport() prints a column for each program and says what was not measured", () => {
  const burst: Outcome = { kind: "burst", sent: 10, opened: 10, seconds: 1 };
  const report = formatReport({
    date: "2026-01-02T03:04:05.678Z",
    machine: { kernel: "Linux 6.1", processors: "2" },
    plan: { rounds: 1, burst: 10, idleSeconds: 1 },
    programs: {
      fwknopd: { version: "fwknopd 2.6.10", outcomes: { burst }, failure: null },
      spa: { version: "spa 0.1.0", outcomes: {}, failure: "it did not start" },
    },
  });
  const lines = report.split("\n");
  assert.match(lines[0] ?? "", /2026-01-02.*Linux 6\.1.*processors: 2/);
  assert.match(report, /^\| +\| fwknopd 2\.6\.10 +\| spa 0\.1\.0 +\|$/m);
  assert.match(report, /burst of valid knocks +\| 10\.0 grants\/s .* \| not measured +\|$/m);
  assert.match(report, /^spa was not measured to the end: it did not start$/m);
  const widths = new Set(lines.filter((line) => line.startsWith("|")).map((line) => line.length));
  assert.equal(widths.size, 1, "all lines of the table are equally long");
});

Deno.test("a process tree counts the memory and the work of children", async () => {
  const parent = start(["sh", "-c", "sleep 60 & echo started; wait"]);
  try {
    await parent.waitFor(/started/);
    const tree = processTree(parent.pid);
    assert.equal(tree.length, 2);
    const [shell = 0, child = 0] = tree;
    assert.ok(memoryOf(child).proportional > 0);
    assert.ok(memoryOf(shell).proportional > memoryOf(child).proportional);
    assert.ok(memoryOf(shell).anonymous > memoryOf(child).anonymous);
    const nothing = { childMilliseconds: 0, threads: new Map() };
    const ofChild = workBetween(nothing, usageOf(child));
    const ofAll = workBetween(nothing, usageOf(shell));
    assert.ok(ofChild.wakings > 0 && ofAll.wakings > ofChild.wakings);
    assert.ok(ofChild.cpuMilliseconds > 0 && ofAll.cpuMilliseconds > ofChild.cpuMilliseconds);
    Deno.kill(child, "SIGTERM");
  } finally {
    await parent.stop();
  }
});

const work = (cpuMilliseconds: number, wakings: number) => ({ cpuMilliseconds, wakings });

Deno.test("workBetween() counts new threads in full and is not misled by threads that ended", () => {
  const before = {
    childMilliseconds: 10,
    threads: new Map([["stays", work(5, 50)], ["ends", work(900, 9000)]]),
  };
  const after = {
    childMilliseconds: 30,
    threads: new Map([["stays", work(6, 53)], ["is new", work(2, 4)]]),
  };
  assert.deepEqual(workBetween(before, after), work(23, 7));
});

Deno.test({
  name:
    "the probe measures from a client's start to the moment a port opens, and tells what went wrong",
  ignore: labMissing() !== null,
  async fn() {
    const lab = await openLab();
    try {
      await startService(lab);
      const probe = startProbe(lab, new AbortController().signal);
      const openPort = ["iptables", "-I", "INPUT", "-p", "udp", "--dport", "5001", "-j", "ACCEPT"];
      const round = { what: "knock", command: lab.gateway.command(openPort), port: 5001 } as const;
      const begin = performance.now();
      const milliseconds = await probe(round);
      assert.ok(milliseconds !== null);
      assert.ok(milliseconds > 0 && milliseconds <= performance.now() - begin);
      await assert.rejects(probe(round), /port 5001 was open before the knock/);
      await assert.rejects(
        probe({ what: "wire", command: ["sh", "-c", "echo no key >&2; exit 3"] }),
        /sh ended with status 3: no key/,
      );
    } finally {
      await lab.close();
    }
  },
});

const JUNK = 60;

Deno.test({
  name:
    "the flood is of three kinds, half of it from anywhere, and nothing but replays comes twice",
  ignore: labMissing() !== null,
  async fn() {
    const lab = await openLab();
    try {
      const capture = lab.gateway.start(labTool("capture", GATEWAY_INTERFACE, "udp port 62201"));
      await capture.waitFor(/capturing/);
      const replayed = `9${"R".repeat(199)}`;
      const junk = await startJunk(lab, 200, replayed, JUNK);
      assert.equal((await junk.end()).packets, JUNK);
      await capture.waitFor(new RegExp(`(^[0-9a-f]+$\\s){${JUNK}}`, "m"));
      const datagrams = capture.output().split("\n").filter((line) => /^[0-9a-f]+$/.test(line))
        .map((line) => parsePacket(Uint8Array.fromHex(line)))
        .filter((packet): packet is Datagram => typeof packet === "object");
      assert.equal(datagrams.length, JUNK);
      const texts = datagrams.map(({ payload }) => String.fromCharCode(...payload));
      const replays = texts.filter((text) => text === replayed);
      const others = texts.filter((text) => text !== replayed);
      const shaped = others.filter((text) => checkPacketShape(text).ok);
      assert.deepEqual([replays.length, shaped.length], [JUNK / 3, JUNK / 3]);
      assert.equal(new Set(others).size, others.length);
      const own = datagrams.filter(({ source }) => source.join(".") === ADDRESSES.client);
      assert.equal(own.length, JUNK / 2);
    } finally {
      await lab.close();
    }
  },
});
