// Copies of this program on Deno: how it starts itself, and a part of it that is joined by pipes.

import type { CopyOfProgram, PartOfProgram } from "./host.ts";
import { endByForce } from "./host_deno_program.ts";

/** The runtime's arguments that run this program with some arguments. */
function copyArguments(args: readonly string[]): string[] {
  return fromSource()
    ? ["run", "--quiet", "--allow-all", new URL(Deno.mainModule).pathname, ...args]
    : [...args];
}

function fromSource(): boolean {
  const main = new URL(Deno.mainModule);
  return main.protocol === "file:" && main.pathname.endsWith(".ts");
}

/**
 * Settings of the runtime for processes that run for long: one heap of the C library for all
 * threads, and a way to ask for a collection of garbage. A flood leaves nothing but short-lived
 * garbage behind, for which V8 would else set aside tens of MiB and keep them.
 */
export const LEAN_RUNTIME: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: "1",
  DENO_V8_FLAGS: "--expose-gc,--max-semi-space-size=2",
};

/** Collects garbage; see `Host`. */
export function collectGarbage(): void {
  const { gc } = globalThis as { gc?: (options: Readonly<Record<string, string>>) => void };
  gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
}

/** Starts this program again; see `Host`. */
export function startCopy(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): CopyOfProgram {
  const child = new Deno.Command(Deno.execPath(), {
    args: copyArguments(args),
    env: { ...LEAN_RUNTIME, ...environment },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  return {
    pid: child.pid,
    stderr: child.stderr.pipeThrough(new TextDecoderStream()),
    status: child.status.then(({ code }) => code),
  };
}

/** Where the runtime finds the modules of the sources. */
const SOURCE_VARIABLES = ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];

/** Starts a part of this program; see `Host`. */
export function startPart(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): PartOfProgram {
  const known = fromSource() ? SOURCE_VARIABLES : [];
  const inherited = known.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: copyArguments(args),
    clearEnv: true,
    env: {
      ...LEAN_RUNTIME,
      DENO_NO_UPDATE_CHECK: "1",
      ...Object.fromEntries(inherited),
      ...environment,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    // Ctrl-C is for the process that was started from the terminal.
    detached: true,
  }).spawn();
  const reader = child.stdout.getReader();
  const writer = child.stdin.getWriter();
  const encoder = new TextEncoder();
  return {
    pid: child.pid,
    async read() {
      try {
        return (await reader.read()).value ?? null;
      } catch {
        return null;
      }
    },
    write: (text) => writer.write(encoder.encode(text)).catch(() => {}),
    kill: () => endByForce(child),
    status: child.status.then(({ code }) => code),
  };
}
