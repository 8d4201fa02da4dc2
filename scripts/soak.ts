// A gateway under a flood for minutes: knocks all the time, its configuration read again and again,
// its interface down and up. Fails on a knock that is missed, memory that grows, a rule or a process
// that stays.

import { parseArgs } from "node:util";
import { savedRules } from "../tests/lab/gateway.ts";
import { ADDRESSES, GATEWAY_INTERFACE, type Lab, labMissing, openLab } from "../tests/lab/lab.ts";
import { must, type Watched } from "../tests/lab/process.ts";
import {
  prepareLab,
  SERVICE_PORTS,
  startProbe,
  startService,
  withDaemon,
} from "./bench_gateway.ts";
import { startJunk } from "./bench_hostile.ts";
import { sleep } from "./bench_measure.ts";
import { makeKeys, makePacket } from "./bench_packets.ts";
import { memoryOf } from "./bench_process.ts";
import { quantile } from "./bench_result.ts";

const USAGE = `usage: scripts/soak [--minutes N] [--rate N] [--nftables]

  --minutes N  how long (default: 10)
  --rate N     junk packets a second (default: 5000)
  --nftables   with FIREWALL_TYPE nftables

Prints what happened, and ends with status 1 when a knock was missed while the interface
was up, when memory has grown by more than 10 MiB, or when a rule or a process is left.
`;

/** Seconds between two of a kind. */
const RELOAD_EVERY = 5;
const FLAP_EVERY = 20;
const SAMPLE_EVERY = 2;
const KNOCK_PAUSE = 200;
/** Milliseconds that the interface is down, and that it has to come up. */
const DOWN = 500;
const COMING_UP = 1000;
/** Milliseconds after which a knock counts as missed. */
const KNOCK_LIMIT = 4000;
const TIMEOUT = 5;
/** KiB. */
const MOST_GROWTH = 10 * 1024;

/** What a soak is made of. */
interface Plan {
  readonly minutes: number;
  readonly rate: number;
  readonly firewall: "iptables" | "nftables";
}

/** What it came to. */
interface Result {
  readonly latencies: readonly number[];
  readonly problems: readonly string[];
  readonly facts: readonly string[];
}

/** A thing that is done every so many seconds. */
function every(seconds: number): () => boolean {
  let next = performance.now() + seconds * 1000;
  return () => {
    if (performance.now() < next) return false;
    next += seconds * 1000;
    return true;
  };
}

async function soak(plan: Plan, lab: Lab, signal: AbortSignal): Promise<Result> {
  const keys = makeKeys();
  await prepareLab(lab, keys, plan);
  const accessFile = `${lab.directory}/access.conf`;
  const access = (await Deno.readTextFile(accessFile)).replace(/TIMEOUT \d+/, `TIMEOUT ${TIMEOUT}`);
  const other = makeKeys();
  const variants = [
    access,
    `${access}\nSOURCE 203.0.113.0/24\nKEY_BASE64 ${other.keyBase64}\n`,
    "SOURCE ANY\nKEY_BASE64 ?\n",
    `SOURCE ANY\nKEY_BASE64 ${other.keyBase64}\nHMAC_KEY_BASE64 ${other.hmacKeyBase64}\n${access}`,
  ];
  await Deno.writeTextFile(accessFile, access);
  await startService(lab);
  const probe = startProbe(lab, signal);
  const rulesBefore = await rulesOf(lab, plan.firewall);
  const processesBefore = await processesOf(lab);

  const problems: string[] = [];
  const latencies: number[] = [];
  const memory: number[] = [];
  let facts: string[] = [];
  let reloads = 0;
  let flaps = 0;
  let round = 0;
  await withDaemon("spa", lab, [], async (daemon) => {
    const begin = performance.now();
    const elapsed = (): number => (performance.now() - begin) / 1000;
    const knock = async (): Promise<void> => {
      const { first, last } = SERVICE_PORTS;
      const port = first + round++ % (last - first + 1);
      const packet = makePacket(keys, { address: ADDRESSES.client, port, clientTimeout: 0 });
      const milliseconds = await probe({ what: "packet", packet, port, limit: KNOCK_LIMIT });
      if (milliseconds !== null) latencies.push(milliseconds);
      else problems.push(`a knock was missed after ${elapsed().toFixed(1)} s`);
    };
    await knock();
    const junk = await startJunk(lab, plan.rate, firstPacket(keys));
    const [reloadIsDue, flapIsDue, sampleIsDue] = [RELOAD_EVERY, FLAP_EVERY, SAMPLE_EVERY].map(
      every,
    );
    while (elapsed() < plan.minutes * 60 && !signal.aborted) {
      if (reloadIsDue?.()) {
        await Deno.writeTextFile(accessFile, variants[++reloads % variants.length] ?? access);
        daemon.signal("SIGHUP");
      }
      if (flapIsDue?.()) {
        flaps++;
        await flap(lab);
      }
      await knock();
      if (sampleIsDue?.()) memory.push(memoryOf(daemon.pid).proportional);
      await sleep(Math.random() * KNOCK_PAUSE);
    }
    const sent = await junk.stop();
    problems.push(...judgeMemory(memory));
    facts = [
      `${elapsed().toFixed(0)} s, ${sent.packets} junk packets`,
      `${latencies.length} of ${round} knocks opened`,
      `${reloads} reloads, ${flaps} times down and up`,
      ...await endingFacts(daemon),
    ];
    await sleep((TIMEOUT + 2) * 1000);
    const rules = await rulesOf(lab, plan.firewall);
    const open = rules.split("\n").filter((line) => /_exp_|--dport 5\d\d\d|expires/.test(line));
    if (open.length > 0) problems.push(`grants that have not ended: ${open.join("; ")}`);
  });
  if (await rulesOf(lab, plan.firewall) !== rulesBefore) {
    problems.push("rules are left after the end");
  }
  const left = (await processesOf(lab)).filter((pid) => !processesBefore.includes(pid));
  if (left.length > 0) problems.push(`processes are left after the end: ${left.join(", ")}`);
  if (memory.length > 0) {
    const [least, most] = [Math.min(...memory), Math.max(...memory)].map(mebibytes);
    facts.push(`memory between ${least} and ${most} MiB`);
  }
  return { latencies, problems, facts };
}

/** A packet that nobody knows: as junk, it is one more with a wrong HMAC. */
function firstPacket(keys: ReturnType<typeof makeKeys>): string {
  return makePacket(keys, { address: ADDRESSES.secondClient, port: 22, clientTimeout: 1 });
}

async function endingFacts(daemon: Watched): Promise<string[]> {
  daemon.signal("SIGUSR1");
  const [counts] = await daemon.waitFor(/Packets: .*/);
  return [counts, `${daemon.output().split("\n").length} lines in the log`];
}

async function flap(lab: Lab): Promise<void> {
  await lab.gateway.must(["ip", "link", "set", GATEWAY_INTERFACE, "down"]);
  await sleep(DOWN);
  await lab.gateway.must(["ip", "link", "set", GATEWAY_INTERFACE, "up"]);
  await sleep(COMING_UP);
}

/** All rules, without what packets change in them. */
async function rulesOf(lab: Lab, firewall: Plan["firewall"]): Promise<string> {
  if (firewall === "iptables") return await savedRules(lab.gateway);
  const text = await lab.gateway.must(["nft", "list", "ruleset"]);
  return text.replace(/counter packets \d+ bytes \d+/g, "counter");
}

async function processesOf(lab: Lab): Promise<string[]> {
  const text = await must(["ip", "netns", "pids", lab.gateway.namespace]);
  return text.split("\n").filter((line) => line !== "");
}

/** The median of the last quarter against that of the second: in the first, heaps find their size. */
function judgeMemory(samples: readonly number[]): string[] {
  const quarter = Math.floor(samples.length / 4);
  const early = quantile(samples.slice(quarter, 2 * quarter), 0.5);
  const late = quantile(samples.slice(3 * quarter), 0.5);
  // Too few samples give no figure, and a figure that is none is no growth.
  return late - early > MOST_GROWTH
    ? [`memory has grown from ${mebibytes(early)} to ${mebibytes(late)} MiB`]
    : [];
}

function mebibytes(kibibytes: number): string {
  return (kibibytes / 1024).toFixed(1);
}

function readPlan(args: string[]): Plan | "help" | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        minutes: { type: "string", default: "10" },
        rate: { type: "string", default: "5000" },
        nftables: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return "help";
    const [minutes, rate] = [Number(values.minutes), Number(values.rate)];
    if (!(minutes > 0 && rate > 0)) return null;
    return { minutes, rate, firewall: values.nftables ? "nftables" : "iptables" };
  } catch {
    return null;
  }
}

async function main(): Promise<number> {
  const plan = readPlan(Deno.args);
  if (plan === "help") {
    console.log(USAGE.trimEnd());
    return 0;
  }
  if (plan === null) {
    console.error(USAGE.trimEnd());
    return 2;
  }
  const missing = labMissing();
  if (missing !== null) {
    console.error(`soak: cannot run: ${missing}`);
    return 1;
  }
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => stop.abort());
  }
  const lab = await openLab();
  try {
    const { latencies, problems, facts } = await soak(plan, lab, stop.signal);
    for (const fact of facts) console.log(fact);
    const [median, p99, most] = [0.5, 0.99, 1].map((part) => quantile(latencies, part).toFixed(1));
    console.log(`packet → open: ${median} ms (99 %: ${p99}, max: ${most})`);
    for (const problem of problems) console.log(`FAILED: ${problem}`);
    if (problems.length === 0) console.log("passed");
    return problems.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
  }
}

if (import.meta.main) Deno.exit(await main());
