// Runs fuzz targets for some time, one after the other, and keeps what they find. Run by
// scripts/fuzz; tests/fuzz has the targets.

import { tryInput } from "../tests/fuzz/run.ts";
import type { FuzzTarget } from "../tests/fuzz/target.ts";
import { fuzzTargets } from "../tests/fuzz/targets.ts";
import type { FuzzOrder, FuzzOutcome } from "./fuzz_worker.ts";

const USAGE = `usage: scripts/fuzz [options] [TARGET...]

  --seconds N       for all targets together (default: 60)
  --seed N          the same number gives the same inputs (default: a new one each time)
  --reproduce FILE  run one target on this input only
  --list            the targets and their rules

Findings go to dist/fuzz, and make the exit status 1.
`;

/** Longer than any target's inputs. */
const SHARED_BYTES = 1 << 16;
/** See the worker. */
const SHARED_HEADER = 8;
/** Milliseconds after which an input is taken not to end. */
const HANGS = 10_000;

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly reproduce: string | null;
  readonly targets: readonly FuzzTarget[];
}

function parseOptions(args: readonly string[]): Options | null {
  const all = fuzzTargets();
  let options = {
    seconds: 60,
    seed: crypto.getRandomValues(new Uint32Array(1))[0] ?? 1,
    reproduce: null as string | null,
  };
  const named: FuzzTarget[] = [];
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? "";
    if (!word.startsWith("--")) {
      const target = all.find(({ name }) => name === word);
      if (target === undefined) return null;
      named.push(target);
      continue;
    }
    const value = args[++index] ?? "";
    if (word === "--reproduce" && value !== "") options = { ...options, reproduce: value };
    else if (!/^[0-9]{1,9}$/.test(value)) return null;
    else if (word === "--seconds") options = { ...options, seconds: Number(value) };
    else if (word === "--seed") options = { ...options, seed: Number(value) };
    else return null;
  }
  if (options.reproduce !== null && named.length !== 1) return null;
  return { ...options, targets: named.length > 0 ? named : all };
}

/** Runs a target in a worker, and stops it when an input does not end. */
function runInWorker(target: string, milliseconds: number, seed: number): Promise<FuzzOutcome> {
  const shared = new SharedArrayBuffer(SHARED_BYTES);
  const state = new Int32Array(shared, 0, 2);
  const worker = new Worker(new URL("fuzz_worker.ts", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    let seen = -1;
    let since = performance.now();
    const watch = setInterval(() => {
      const count = Atomics.load(state, 0);
      if (count !== seen) {
        [seen, since] = [count, performance.now()];
      } else if (count > 0 && performance.now() - since > HANGS) {
        const input = new Uint8Array(shared, SHARED_HEADER).slice(0, state[1]);
        const finding = { target, input, what: "the input does not end" };
        finish(() => resolve({ inputs: count, milliseconds, slowest: HANGS, finding }));
      }
    }, 500);
    const finish = (then: () => void): void => {
      clearInterval(watch);
      worker.terminate();
      then();
    };
    worker.onmessage = ({ data }: MessageEvent<FuzzOutcome>) => finish(() => resolve(data));
    worker.onerror = (event) => finish(() => reject(new Error(event.message)));
    worker.postMessage({ target, milliseconds, seed, shared } satisfies FuzzOrder);
  });
}

async function fuzz({ targets, seconds, seed }: Options): Promise<number> {
  console.log(`seed ${seed}, ${seconds} s\n`);
  console.log(`${"target".padEnd(26)}${"inputs".padStart(12)}${"a second".padStart(11)}  slowest`);
  let inputs = 0;
  let findings = 0;
  for (const { name, rule } of targets) {
    const outcome = await runInWorker(name, seconds * 1000 / targets.length, seed);
    inputs += outcome.inputs;
    const rate = Math.round(outcome.inputs / outcome.milliseconds * 1000);
    console.log(
      name.padEnd(26) + String(outcome.inputs).padStart(12) + String(rate).padStart(11) +
        `  ${outcome.slowest.toFixed(1)} ms`,
    );
    if (outcome.finding === null) continue;
    findings++;
    const { input, what } = outcome.finding;
    const path = await keep(name, input);
    console.log(`  FINDING against "${rule}"\n  ${what}`);
    console.log(`  again: scripts/fuzz --reproduce ${path} ${name}`);
  }
  console.log(`\n${inputs} inputs, ${findings} findings`);
  return findings > 0 ? 1 : 0;
}

/** Writes an input to a file that is named for its content. */
async function keep(target: string, input: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", input.slice()));
  const name = [...hash.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const directory = new URL("../dist/fuzz/", import.meta.url).pathname;
  Deno.mkdirSync(directory, { recursive: true });
  const path = `${directory}${target.replace(/^\./, "")}-${name}`;
  Deno.writeFileSync(path, input);
  return path;
}

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "--help" || args[0] === "-h") {
    console.log(USAGE.trimEnd());
    return 0;
  }
  if (args[0] === "--list") {
    for (const { name, rule } of fuzzTargets()) console.log(`${name.padEnd(26)}${rule}`);
    return 0;
  }
  const options = parseOptions(args);
  if (options === null) {
    console.error(USAGE.trimEnd());
    return 2;
  }
  const { reproduce, targets: [target] } = options;
  if (reproduce === null || target === undefined) return await fuzz(options);
  const input = Deno.readFileSync(reproduce);
  const start = performance.now();
  const what = tryInput(target, input);
  console.log(`${what ?? "nothing found"} (in ${(performance.now() - start).toFixed()} ms)`);
  return what === null ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
