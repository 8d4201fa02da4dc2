// Programs on Deno that run beside this one: commands as another user in a process group of their
// own, with output while they run; and a program in the foreground, on our own streams.

import type { CommandCall, ForegroundProgram, RunningCommand } from "./host.ts";

/** Starts a command; see `Host`. */
export function startCommand(call: CommandCall): RunningCommand {
  const command = new Deno.Command(call.program, {
    args: [...call.args],
    clearEnv: true,
    env: { ...call.environment },
    cwd: call.directory,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    // A session of its own, so that its process id names its group.
    detached: true,
    ...(call.account ?? {}),
  });
  const child = withFileMask(call.fileMask, () => command.spawn());
  const outputs = [child.stdout, child.stderr].map((stream) => read(stream, call.onOutput));
  return {
    ended: child.status.then(({ code, signal }) => ({
      status: code,
      signal: signal === null ? null : code - 128,
    })),
    outputClosed: Promise.all(outputs).then(() => {}),
    signal(name) {
      try {
        Deno.kill(-child.pid, name);
      } catch (error) {
        // It may also have become another user: then it is not ours to end.
        const beyondReach = error instanceof Deno.errors.NotFound ||
          error instanceof Deno.errors.PermissionDenied;
        if (!beyondReach) throw error;
      }
    },
  };
}

/** Starts a program on this process's own streams; see `Host`. */
export function startInForeground(program: string, args: readonly string[]): ForegroundProgram {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  let running = true;
  return {
    ended: child.status.then(({ code }) => {
      running = false;
      return code;
    }),
    signal: (name) => {
      if (!running) return;
      try {
        child.kill(name);
      } catch (error) {
        // It has just ended, and nobody was told yet.
        if (!(error instanceof TypeError)) throw error;
      }
    },
  };
}

/** The mask belongs to the whole process; between the two calls nothing else runs. */
function withFileMask<T>(mask: number, action: () => T): T {
  const before = Deno.umask(mask);
  try {
    return action();
  } finally {
    Deno.umask(before);
  }
}

async function read(
  stream: ReadableStream<Uint8Array>,
  onOutput: (text: string) => void,
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) onOutput(text);
}
