// Builds the executable: bundles the program, then lets `deno compile` or the ELF surgery make one
// file of it. Run by scripts/compile; docs/executable.md describes both ways.

import { bundle } from "./bundle.ts";
import { attachProgram } from "./compile_elf.ts";

const USAGE = `usage: scripts/compile [options]

  --output FILE    the executable (default: dist/spa)
  --entry FILE     the program's first module (default: main.ts)
  --way WAY        deno: deno compile; segment: a copy of the runtime with the program attached;
                   auto: deno if its base binary can be had, else segment (default)
  --runtime FILE   the Deno runtime to copy (default: the one that runs this); implies --way segment
`;

/** Descriptor of the memory file with the program: above what shells and service managers pass on. */
const DESCRIPTOR = 250;

/** Without configuration, network or caches: nothing but the program decides what it does. */
const RUNTIME_ARGS = [
  "--quiet",
  "--allow-all",
  "--no-config",
  "--no-lock",
  "--no-prompt",
  "--no-remote",
  "--no-npm",
  "--no-code-cache",
  "--unstable-net",
];

/**
 * Deno looks for a newer release, reads a package.json and keeps caches in $HOME unless it is told
 * not to, and tells terminals of caches that it cannot keep. `main.ts` takes these away again.
 */
const RUNTIME_ENVIRONMENT = [
  "DENO_NO_UPDATE_CHECK=1",
  "DENO_NO_PACKAGE_JSON=1",
  "DENO_DIR=/dev/null",
  "DENO_LOG=off",
];

/** Milliseconds for `deno compile` to fetch its base binary. */
const COMPILE_TIMEOUT = 120_000;

interface Options {
  readonly output: string;
  readonly entry: string;
  readonly way: "auto" | "deno" | "segment";
  readonly runtime: string;
}

function parseOptions(args: readonly string[], root: string): Options | undefined {
  let options: Options = {
    output: `${root}/dist/spa`,
    entry: `${root}/main.ts`,
    way: "auto",
    runtime: Deno.execPath(),
  };
  for (let index = 0; index < args.length; index += 2) {
    const value = args[index + 1];
    if (value === undefined) return undefined;
    switch (args[index]) {
      case "--output":
        options = { ...options, output: absolute(value) };
        break;
      case "--entry":
        options = { ...options, entry: absolute(value) };
        break;
      case "--runtime":
        options = { ...options, runtime: absolute(value), way: "segment" };
        break;
      case "--way":
        if (value !== "auto" && value !== "deno" && value !== "segment") return undefined;
        options = { ...options, way: value };
        break;
      default:
        return undefined;
    }
  }
  return options;
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

/** Gives undefined when the file was made, else why not. */
async function compileByDeno(program: string, output: string): Promise<string | undefined> {
  const directory = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${directory}/spa.js`, program);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "compile",
        ...RUNTIME_ARGS.filter((arg) => arg !== "--no-remote" && arg !== "--no-npm"),
        "--no-check",
        "--output",
        output,
        `${directory}/spa.js`,
      ],
      env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
      stdin: "null",
      signal: AbortSignal.timeout(COMPILE_TIMEOUT),
    }).output();
    if (success) return undefined;
    const lines = new TextDecoder().decode(stderr).split("\n").map((line) => line.trim());
    return lines.find((line) => line.startsWith("1: "))?.slice(3) ??
      lines.find((line) => line !== "") ?? "no reason given";
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Gives undefined when the file was made, else why not. */
function compileBySegment(
  program: string,
  runtime: string,
  output: string,
): string | undefined {
  const attached = attachProgram(Deno.readFileSync(runtime), {
    program: new TextEncoder().encode(program),
    args: ["run", ...RUNTIME_ARGS, "--ext=js", `/proc/self/fd/${DESCRIPTOR}`],
    env: RUNTIME_ENVIRONMENT,
    descriptor: DESCRIPTOR,
  });
  if (!attached.ok) return `${runtime}: cannot attach a program: ${attached.reason}`;
  Deno.writeFileSync(output, attached.value);
  return undefined;
}

/** Tells which way the executable at `output` was made, or why it was not. */
async function build(
  program: string,
  options: Options,
  output: string,
): Promise<{ readonly way: string } | { readonly problem: string }> {
  if (options.way !== "segment") {
    const problem = await compileByDeno(program, output);
    if (problem === undefined) return { way: "deno compile" };
    if (options.way === "deno") return { problem };
    console.error(`compile: deno compile cannot be used: ${problem}`);
  }
  const problem = compileBySegment(program, options.runtime, output);
  return problem === undefined
    ? { way: "a copy of the runtime with the program attached" }
    : { problem };
}

async function main(args: readonly string[]): Promise<number> {
  const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  if (args[0] === "--help" || args[0] === "-h") {
    console.log(USAGE.trimEnd());
    return 0;
  }
  const options = parseOptions(args, root);
  if (options === undefined) {
    console.error(USAGE.trimEnd());
    return 2;
  }
  const bundled = await bundle(root, options.entry);
  if (!bundled.ok) return fail(bundled.reason);
  const directory = options.output.slice(0, options.output.lastIndexOf("/") + 1);
  Deno.mkdirSync(directory, { recursive: true });

  // Somewhere else first: the old executable may be in use, and no half one shall take its place.
  const workshop = Deno.makeTempDirSync({ dir: directory, prefix: ".compile-" });
  try {
    const built = await build(bundled.text, options, `${workshop}/spa`);
    if ("problem" in built) return fail(built.problem);
    Deno.chmodSync(`${workshop}/spa`, 0o755);
    Deno.renameSync(`${workshop}/spa`, options.output);
    const size = (Deno.statSync(options.output).size / 1e6).toFixed(1);
    console.error(`compile: ${options.output}: ${size} MB, by ${built.way}`);
    return 0;
  } finally {
    Deno.removeSync(workshop, { recursive: true });
  }
}

function fail(reason: string): number {
  console.error(`compile: ${reason}`);
  return 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
