// Measures fwknopd and spa side by side, prints a table and writes all figures as JSON. It judges
// nothing: a slow machine makes slow figures, not failures.

import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { hasProgram, labMissing } from "../tests/lab/lab.ts";
import { must } from "../tests/lab/process.ts";
import { versionOf } from "./bench_gateway.ts";
import { measureHostile } from "./bench_hostile.ts";
import { measureProgram } from "./bench_measure.ts";
import {
  formatOutcome,
  formatReport,
  type Measurement,
  MEASUREMENTS,
  type Outcome,
  type Plan,
  PROGRAM_NAMES,
  type ProgramName,
  type ProgramResult,
  type Report,
} from "./bench_result.ts";

const USAGE =
  `usage: scripts/bench [--hostile] [--quick] [--only fwknopd|spa] [--nftables] [--together]
                     [--json FILE]

  --quick      fewer rounds and a burst of 100: half a minute instead of two and a half
  --hostile    measure under attack: floods, 5,000 stanzas, a long digest cache; four minutes
  --only NAME  measure one program
  --nftables   measure spa with FIREWALL_TYPE nftables
  --together   measure spa with PRIVSEP N, in one process
  --json FILE  where the figures go (default: dist/bench.json)

Needs root, network namespaces, iptables, fwknop and fwknopd. SPA_EXECUTABLE names
the spa to measure; without it dist/spa is measured, or the sources.
`;

const FULL: Plan = { rounds: 40, burst: 1000, idleSeconds: 10 };
const QUICK: Plan = { rounds: 8, burst: 100, idleSeconds: 3 };

/** What the command line asks for. */
interface Request {
  readonly plan: Plan;
  readonly programs: readonly ProgramName[];
  readonly json: string;
}

/** Reads the command line; null when it makes no sense. */
function readRequest(args: string[]): Request | "help" | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        hostile: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        nftables: { type: "boolean", default: false },
        together: { type: "boolean", default: false },
        json: { type: "string", default: new URL("../dist/bench.json", import.meta.url).pathname },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return "help";
    const { hostile, nftables, together } = values;
    const ours = nftables || together;
    const { only = ours ? "spa" : undefined } = values;
    const programs = PROGRAM_NAMES.filter((name) => name === (only ?? name));
    if (programs.length === 0 || (ours && programs.includes("fwknopd"))) return null;
    const plan: Plan = {
      ...values.quick ? QUICK : FULL,
      hostile,
      firewall: nftables ? "nftables" : "iptables",
      together,
    };
    return { plan, programs, json: values.json };
  } catch {
    return null;
  }
}

async function measure(
  program: ProgramName,
  plan: Plan,
  signal: AbortSignal,
): Promise<ProgramResult> {
  let version: string = program;
  const outcomes: Partial<Record<Measurement, Outcome>> = {};
  const record = (measurement: Measurement, outcome: Outcome): void => {
    outcomes[measurement] = outcome;
    console.error(`${version}: ${MEASUREMENTS[measurement]}: ${formatOutcome(outcome)}`);
  };
  try {
    version = await versionOf(program);
    await (plan.hostile ? measureHostile : measureProgram)(program, plan, record, signal);
    return { version, outcomes, failure: null };
  } catch (error) {
    const failure = error instanceof Error ? error.message : String(error);
    return { version, outcomes, failure: signal.aborted ? "interrupted" : failure };
  }
}

async function machineFacts(): Promise<Record<string, string>> {
  const cpu = /^model name\s*: (.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1];
  return {
    kernel: `Linux ${Deno.osRelease().replace(/-.*/, "")} ${Deno.build.arch}`,
    processors: `${navigator.hardwareConcurrency}${cpu === undefined ? "" : ` × ${cpu}`}`,
    iptables: (await must(["iptables", "--version"])).trim().replace(/^iptables /, ""),
  };
}

async function main(): Promise<number> {
  const request = readRequest(Deno.args);
  if (request === "help") {
    console.log(USAGE.trimEnd());
    return 0;
  }
  if (request === null) {
    console.error(USAGE.trimEnd());
    return 2;
  }
  const { plan, json } = request;
  const missing = labMissing() ??
    ["fwknop", "fwknopd"].filter((name) => !hasProgram(name))
      .map((name) => `needs the program ${name}`)[0];
  if (missing !== undefined) {
    console.error(`bench: cannot measure: ${missing}`);
    return 1;
  }
  const programs: Partial<Record<ProgramName, ProgramResult>> = {};
  const date = new Date().toISOString();
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => stop.abort());
  }
  for (const program of request.programs) {
    programs[program] = await measure(program, plan, stop.signal);
  }
  const report: Report = { date, machine: await machineFacts(), plan, programs };
  await Deno.mkdir(dirname(json), { recursive: true });
  await Deno.writeTextFile(json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(formatReport(report));
  return Object.values(programs).every(({ failure }) => failure === null) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
