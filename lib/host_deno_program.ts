// Programs on Deno that are run to their ends, with all that they are told and print.

import {
  type BytesCall,
  type BytesResult,
  type ProgramCall,
  type ProgramResult,
  reasonOf,
} from "./host.ts";

/** Runs a program to its end; see `Host`. */
export async function run(call: ProgramCall): Promise<ProgramResult> {
  const { stdin, ...rest } = call;
  const input = stdin === undefined ? undefined : new TextEncoder().encode(stdin);
  const result = await runOnBytes(input === undefined ? rest : { ...rest, stdin: input });
  return { ...result, stdout: new TextDecoder().decode(result.stdout) };
}

/** Most programs print next to nothing. */
const READ_BYTES = 8192;

/** As {@linkcode run}, with bytes for texts. */
export async function runOnBytes(
  { program, args, stdin, timeout, signal }:
    & Omit<BytesCall, "stdin">
    & Partial<Pick<BytesCall, "stdin">>,
): Promise<BytesResult> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args: [...args],
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    return { status: 127, stdout: new Uint8Array(), stderr: `${program}: ${reasonOf(error)}` };
  }
  // What it has started may hold its output open for longer, so that is no more waited for either.
  const patience = new AbortController();
  let ended = false;
  let timedOut: number | null = null;
  const start = performance.now();
  const giveUp = (): void => {
    if (!ended) timedOut = Math.round(performance.now() - start);
    endByForce(child);
    patience.abort();
  };
  const timer = timeout === undefined ? undefined : setTimeout(giveUp, timeout);
  signal?.addEventListener("abort", giveUp);
  if (signal?.aborted) giveUp();
  // Not `child.output()`: its buffers stay, a hundred kilobytes for each program that was run.
  const outputs = [child.stdout, child.stderr].map((stream) => readAll(stream, patience.signal));
  if (stdin !== undefined) await feed(child.stdin, stdin, patience.signal);
  const { code } = await child.status;
  ended = true;
  const [stdout = new Uint8Array(), stderr] = await Promise.all(outputs);
  clearTimeout(timer);
  signal?.removeEventListener("abort", giveUp);
  return {
    status: code,
    stdout,
    stderr: new TextDecoder().decode(stderr),
    ...(timedOut === null ? {} : { timedOut }),
  };
}

/** Ends a program with SIGKILL, unless it has ended already. */
export function endByForce(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/**
 * Into one small buffer, and not into one of 64 KiB for each read, as iterating would.
 *
 * @param signal ends it with what has come by then
 */
async function readAll(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const reader = stream.getReader({ mode: "byob" });
  signal.addEventListener("abort", () => void reader.cancel());
  const pieces: Uint8Array[] = [];
  for (let buffer = new ArrayBuffer(READ_BYTES);;) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done) return joined(pieces);
    pieces.push(value.slice());
    buffer = value.buffer;
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** A program may end before it has read its input; its exit status then tells the story. */
async function feed(
  stdin: WritableStream<Uint8Array>,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const writer = stdin.getWriter();
  signal.addEventListener("abort", () => void writer.abort().catch(() => {}));
  try {
    await writer.write(bytes);
    await writer.close();
  } catch {
    await writer.abort().catch(() => {});
  }
}
