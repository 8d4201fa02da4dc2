// Runs commands beside the daemon's other work: as whom, in which surroundings, for how long, and
// what the log gets of their output. Which commands there are is decided elsewhere.

import type { CommandAccount, CommandLine } from "./auth_command.ts";
import {
  type CommandCall,
  type CommandEnd,
  type Host,
  reasonOf,
  type RunningCommand,
} from "./host.ts";
import type { Log } from "./serve_log.ts";
import { systemTimer, type Timer } from "./serve_timer.ts";

/** Seconds that a command may take where CMD_EXEC_TIMEOUT is not set. */
export const DEFAULT_COMMAND_LIMIT = 60;

/** What a runner works with. */
export interface CommandRunnerParts {
  readonly host: Pick<Host, "startCommand" | "stat">;
  readonly log: Log;
  /** Seconds that a command may take, asked for each; 0 means any time. */
  readonly limit: () => number;
  /** Waits; `setTimeout` unless a test plays the clock. */
  readonly timer?: Timer;
}

/** How a command went, in the numbers of fwknopd's log. */
export interface CommandOutcome {
  /** 0 when it ended by itself or could not be started, 16 when a signal ended it, -6 when it was refused. */
  readonly returned: number;
  /** The exit status, or the signal's number; 255 when it could not be started. */
  readonly status: number;
}

/** Runs commands. */
export interface CommandRunner {
  /**
   * Runs a command to its end; what goes wrong is logged, and never thrown.
   *
   * @param prefix how its lines in the log begin
   * @param account whom it runs as; null for the daemon's own user
   * @returns how it went; null when the runner was stopped before it ran to its end
   */
  run(
    prefix: string,
    line: CommandLine,
    account: CommandAccount | null,
  ): Promise<CommandOutcome | null>;
  /**
   * Waits for what runs and what waits; after that time ends the first and drops the second.
   *
   * @param patience milliseconds
   */
  stop(patience: number): Promise<void>;
}

/** Commands that run at the same time; more of them wait. */
const MOST_RUNNING = 16;
/** Words that fwknopd runs at most. */
const MOST_WORDS = 28;
/** Characters of a command's output that are logged. */
const MOST_OUTPUT = 4096;
/** Milliseconds from the polite signal to the other. */
const KILL_PATIENCE = 2000;
/** Milliseconds that output may lag behind the command's end. */
const OUTPUT_PATIENCE = 100;
const SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const REFUSED: CommandOutcome = { returned: -6, status: 0 };
const NOT_STARTED: CommandOutcome = { returned: 0, status: 255 };
const ENDED_BY_SIGNAL = 16;

/** A runner with nothing running. */
export function createCommandRunner(parts: CommandRunnerParts): CommandRunner {
  const { host, log } = parts;
  const timer = parts.timer ?? systemTimer;
  const underway = new Set<Promise<unknown>>();
  const running = new Set<RunningCommand>();
  /** Commands that were asked to end, with the function that spares them the stronger signal. */
  const told = new Map<RunningCommand, () => void>();
  const waiting: (() => void)[] = [];
  let busy = 0;
  let stopped = false;

  function run(
    prefix: string,
    line: CommandLine,
    account: CommandAccount | null,
  ): Promise<CommandOutcome | null> {
    const task = runInTurn(prefix, line, account).finally(() => underway.delete(task));
    underway.add(task);
    return task;
  }

  async function runInTurn(
    prefix: string,
    line: CommandLine,
    account: CommandAccount | null,
  ): Promise<CommandOutcome | null> {
    const [name, ...args] = line.words;
    if (name === undefined || line.words.length > MOST_WORDS) {
      log.error("run_extcmd(): Error converting cmd str to argv via strtoargv()");
      return REFUSED;
    }
    if (busy === MOST_RUNNING) await new Promise<void>((resolve) => waiting.push(resolve));
    else busy++;
    try {
      return stopped ? null : await runNow(prefix, line.text, name, args, account);
    } finally {
      // Whoever waits takes over the place.
      const next = waiting.shift();
      if (next === undefined) busy--;
      else next();
    }
  }

  async function runNow(
    prefix: string,
    text: string,
    name: string,
    args: readonly string[],
    account: CommandAccount | null,
  ): Promise<CommandOutcome | null> {
    const program = findProgram(host, name);
    if (program === null) {
      log.error("run_extcmd(): execvpe() failed: No such file or directory");
      return NOT_STARTED;
    }
    const output = createOutput();
    let command: RunningCommand;
    try {
      command = host.startCommand({
        ...asAccount(host, program, args, account),
        environment: { PATH: SEARCH_PATH },
        directory: "/",
        fileMask: 0o077,
        onOutput: output.add,
      });
    } catch (error) {
      log.error(`${prefix} Cannot run command '${text}': ${reasonOf(error)}`);
      return NOT_STARTED;
    }
    running.add(command);
    try {
      const { end, interrupted } = await endInTime(command, (limit) => {
        log.warning(`${prefix} Command runs longer than ${limit} seconds and is ended: '${text}'`);
      });
      await closedOrLate(command);
      for (const line of output.lines()) log.info(`${prefix} Command output: ${line}`);
      if (interrupted) return null;
      return end.signal === null
        ? { returned: 0, status: end.status }
        : { returned: ENDED_BY_SIGNAL, status: end.signal };
    } finally {
      running.delete(command);
    }
  }

  /** Waits for a command's end, and sees to it; interrupted means by the stop of the runner. */
  async function endInTime(
    command: RunningCommand,
    onLate: (limit: number) => void,
  ): Promise<{ readonly end: CommandEnd; readonly interrupted: boolean }> {
    const limit = parts.limit();
    let late = false;
    const cancel = limit === 0 ? (): void => {} : timer(limit * 1000, () => {
      late = true;
      onLate(limit);
      terminate(command);
    });
    const end = await command.ended;
    cancel();
    const cancelKill = told.get(command);
    if (cancelKill !== undefined) {
      cancelKill();
      told.delete(command);
      // What it started may not have listened to the polite signal.
      command.signal("SIGKILL");
    }
    return { end, interrupted: !late && cancelKill !== undefined };
  }

  /** Asks a command to end, and soon makes it end. */
  function terminate(command: RunningCommand): void {
    if (told.has(command)) return;
    told.set(command, timer(KILL_PATIENCE, () => command.signal("SIGKILL")));
    command.signal("SIGTERM");
  }

  /** What a command leaves running may keep its output open as long as it likes. */
  async function closedOrLate(command: RunningCommand): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const cancel = timer(OUTPUT_PATIENCE, resolve);
    await Promise.race([command.outputClosed, late]);
    cancel();
  }

  async function stop(patience: number): Promise<void> {
    const cancel = timer(patience, () => {
      stopped = true;
      for (const command of running) terminate(command);
    });
    await Promise.all(underway);
    cancel();
    stopped = true;
  }

  return { run, stop };
}

/** The file that a command's first word means, or null; relative paths start at the root. */
function findProgram(host: Pick<Host, "stat">, name: string): string | null {
  const paths = name.includes("/")
    ? [name.startsWith("/") ? name : `/${name}`]
    : SEARCH_PATH.split(":").map((directory) => `${directory}/${name}`);
  return paths.find((path) => isProgram(host, path)) ?? null;
}

function isProgram(host: Pick<Host, "stat">, path: string): boolean {
  try {
    const info = host.stat(path);
    return info !== null && info.isFile && (info.mode & 0o111) !== 0;
  } catch {
    return false;
  }
}

/** By itself the host drops supplementary groups; setpriv(1) also gives those of the account. */
function asAccount(
  host: Pick<Host, "stat">,
  program: string,
  args: readonly string[],
  account: CommandAccount | null,
): Pick<CommandCall, "program" | "args" | "account"> {
  const setpriv = account === null ? null : findProgram(host, "setpriv");
  if (account === null) return { program, args, account };
  const { uid, gid } = account;
  if (setpriv === null) return { program, args, account: { uid, gid } };
  const options = [`--reuid=${uid}`, `--regid=${gid}`, "--init-groups", "--"];
  return { program: setpriv, args: [...options, program, ...args], account: null };
}

/** Keeps the beginning of what a command writes, as lines that cannot be taken for others. */
function createOutput(): { add(text: string): void; lines(): string[] } {
  let kept = "";
  let more = false;
  return {
    add(text) {
      const room = MOST_OUTPUT - kept.length;
      more ||= text.length > room;
      kept += text.slice(0, room);
    },
    lines() {
      const lines = kept.split("\n").map(printable).filter((line) => line !== "");
      return more ? [...lines, `(cut after ${MOST_OUTPUT} characters)`] : lines;
    },
  };
}

function printable(line: string): string {
  return line.trimEnd().replaceAll(/\p{C}/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return character === "\t" ? character : `\\u{${code.toString(16)}}`;
  });
}
