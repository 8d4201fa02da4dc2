// Programs that a test watches: started, waited for by what they print, ended for sure.

/** A running program. */
export interface Watched {
  readonly pid: number;
  /** Everything it has printed so far, both streams in the order of arrival. */
  output(): string;
  /** Resolves with the match once the output has it; rejects after `limit` milliseconds or at the program's end. */
  waitFor(pattern: RegExp, limit?: number): Promise<RegExpMatchArray>;
  /** Writes to its standard input. */
  write(text: string): Promise<void>;
  signal(name: Deno.Signal): void;
  /** Resolves with its exit status, once it has ended and all output is read. */
  readonly ended: Promise<number>;
  /** Ends it, at last by force, and waits for that. */
  stop(): Promise<number>;
}

/** How to start a program. */
export interface StartOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** How long anything in a test may take before it counts as failed, in milliseconds. */
export const PATIENCE = 20_000;

/** Starts a program. */
export function start(command: readonly string[], options: StartOptions = {}): Watched {
  const [program = "", ...args] = command;
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const input = child.stdin.getWriter();
  let text = "";
  let running = true;
  let over = false;
  const watchers = new Set<() => void>();
  const notify = (): void => {
    for (const look of watchers) look();
  };

  async function read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      notify();
    }
  }

  // What it has printed is read on after its end.
  const status = child.status.finally(() => void (running = false));
  const ended = Promise.all([status, read(child.stdout), read(child.stderr)])
    .then(async ([{ code }]) => {
      over = true;
      notify();
      await input.close().catch(() => {});
      return code;
    });

  function waitFor(pattern: RegExp, limit: number = PATIENCE): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => finish("does not come in time"), limit);
      const look = (): void => {
        const match = text.match(pattern);
        if (match !== null) finish(match);
        else if (over) finish("can no longer come: the program has ended");
      };
      const finish = (result: RegExpMatchArray | string): void => {
        clearTimeout(timer);
        watchers.delete(look);
        if (typeof result !== "string") resolve(result);
        else reject(new Error(`${pattern} ${result}\n${command.join(" ")} printed:\n${text}`));
      };
      watchers.add(look);
      look();
    });
  }

  function signal(name: Deno.Signal): void {
    if (!running) return;
    try {
      child.kill(name);
    } catch (error) {
      // It has just ended, and nobody was told yet.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  async function stop(): Promise<number> {
    signal("SIGTERM");
    const timer = setTimeout(() => signal("SIGKILL"), 10_000);
    try {
      return await ended;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    pid: child.pid,
    output: () => text,
    waitFor,
    write: (line) => input.write(new TextEncoder().encode(line)),
    signal,
    ended,
    stop,
  };
}

/** What a program that has ended left. */
export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, with some text as its input. */
export async function run(
  command: readonly string[],
  options: StartOptions & { readonly input?: string } = {},
): Promise<Finished> {
  const [program = "", ...args] = command;
  const { input, ...rest } = options;
  const child = new Deno.Command(program, {
    args,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...rest,
  }).spawn();
  const output = child.output();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await output;
  const decoder = new TextDecoder();
  return { status: code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Runs a program that must succeed, and gives its standard output. */
export async function must(command: readonly string[], input?: string): Promise<string> {
  const done = await run(command, input === undefined ? {} : { input });
  if (done.status !== 0) {
    throw new Error(`${command.join(" ")}: status ${done.status}\n${done.stdout}${done.stderr}`);
  }
  return done.stdout;
}
