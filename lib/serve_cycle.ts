// Command cycles: CMD_CYCLE_OPEN now, CMD_CYCLE_CLOSE when its time comes, whatever happens to the
// daemon in between.

import { type CommandLine, cycleCommands } from "./auth_command.ts";
import type { CycleGrant } from "./auth_grant.ts";
import type { Stanza } from "./conf_access.ts";
import { type Host, reasonOf } from "./host.ts";
import type { CommandOutcome, CommandRunner } from "./serve_command.ts";
import type { CycleFile, PendingClose } from "./serve_cycle_file.ts";
import type { Log } from "./serve_log.ts";
import { LONGEST_WAIT, systemTimer, type Timer } from "./serve_timer.ts";

/** What cycles work with. */
export interface CycleParts {
  readonly host: Pick<Host, "now" | "monotonic">;
  readonly log: Log;
  /** Runs what opens. */
  readonly opener: Pick<CommandRunner, "run">;
  /** Runs what closes: a runner of its own, so that no opening command can delay it. */
  readonly closer: Pick<CommandRunner, "run">;
  readonly file: CycleFile;
  /** Waits; `setTimeout` unless a test plays the clock. */
  readonly timer?: Timer;
}

/** Command cycles at work. */
export interface Cycles {
  /** Takes up what an earlier run left: what is overdue runs at once. */
  start(): void;
  /** Resolves when the opening commands have ended; never rejects. */
  open(stanza: Stanza, grant: CycleGrant, prefix: string): Promise<void>;
  /**
   * Ends the waiting; nothing may be opened any more.
   *
   * @param closeAll runs all closing commands now; otherwise the next run does, at their time
   */
  stop(closeAll: boolean): Promise<void>;
}

/** Seconds to the next try of a closing command that did not run to its end, doubled each time. */
const RETRY_FIRST = 10;
const RETRY_LIMIT = 3600;
/** The exit status of a program that could not be started, and of ssh(1) without a connection. */
const NOT_RUN = 255;

/** Other failures may mean that what was to be closed is closed already. */
function ranToItsEnd({ returned, status }: CommandOutcome): boolean {
  return returned <= 0 && status !== NOT_RUN;
}

/** Cycles of which none is open. */
export function createCycles(parts: CycleParts): Cycles {
  const { host, log, opener, closer, file } = parts;
  const timer = parts.timer ?? systemTimer;
  /** What is open, with the function that ends the wait for its end. */
  const pending = new Map<PendingClose, () => void>();
  const closing = new Set<Promise<void>>();
  /** How often a closing command has not run to its end. */
  const failures = new Map<PendingClose, number>();
  let stopping = false;

  async function open(stanza: Stanza, grant: CycleGrant, prefix: string): Promise<void> {
    const commands = cycleCommands(stanza, grant);
    const deadline = host.monotonic() + grant.seconds * 1000;
    const due = Math.ceil(host.now() / 1000) + grant.seconds;
    const closes = commands.close.map((line): PendingClose => ({
      stanza: stanza.number,
      source: grant.source,
      due,
      seconds: grant.seconds,
      line,
    }));
    try {
      // Before anything opens: it must be closed even if this process dies.
      for (const close of closes) await file.add(close);
    } catch (error) {
      log.error(`${prefix} Cannot note CMD_CYCLE_CLOSE, so nothing is opened: ${reasonOf(error)}`);
      for (const close of closes) await file.remove(close);
      return;
    }
    for (const close of closes) pending.set(close, () => {});
    for (const line of commands.open) {
      log.info(`${prefix} Running CMD_CYCLE_OPEN command: ${line.text}`);
      await run(opener, prefix, "CMD_CYCLE_OPEN", line);
    }
    for (const close of closes) {
      log.info(
        `${prefix} Running CMD_CYCLE_CLOSE command in ${grant.seconds} seconds: ${close.line.text}`,
      );
      if (pending.has(close)) wait(close, deadline);
    }
  }

  /** Closes at a time of the monotonic clock, in milliseconds. */
  function wait(close: PendingClose, deadline: number, why = "Timer expired"): void {
    const left = Math.ceil(deadline - host.monotonic());
    if (left > 0) {
      const cancel = timer(Math.min(left, LONGEST_WAIT), () => wait(close, deadline, why));
      pending.set(close, cancel);
    } else {
      beginClosing(close, why);
    }
  }

  function beginClosing(close: PendingClose, why: string): void {
    pending.delete(close);
    const task = runClose(close, why).finally(() => closing.delete(task));
    closing.add(task);
  }

  async function runClose(close: PendingClose, why: string): Promise<void> {
    const prefix = `[${close.source}] (stanza #${close.stanza})`;
    log.info(`${prefix} ${why}, running CMD_CYCLE_CLOSE command: ${close.line.text}`);
    const outcome = await run(closer, prefix, "CMD_CYCLE_CLOSE", close.line);
    if (outcome === null) return;
    if (ranToItsEnd(outcome)) {
      failures.delete(close);
      return await file.remove(close);
    }
    // What it was to close is still open. It stays in the file, so that a later run closes it, too.
    if (stopping) return;
    const failed = (failures.get(close) ?? 0) + 1;
    failures.set(close, failed);
    const seconds = Math.min(RETRY_LIMIT, RETRY_FIRST * 2 ** (failed - 1));
    log.error(`${prefix} CMD_CYCLE_CLOSE has not closed anything, trying again in ${seconds} s`);
    wait(close, host.monotonic() + seconds * 1000, "Trying again");
  }

  /** Null when the runner was stopped before the command had run to its end. */
  async function run(
    runner: CycleParts["closer"],
    prefix: string,
    name: string,
    line: CommandLine,
  ): Promise<CommandOutcome | null> {
    const outcome = await runner.run(prefix, line, null);
    if (outcome === null) return null;
    const { returned, status } = outcome;
    if (returned !== 0 || status !== 0) {
      log.warning(`${prefix} ${name}: command returned ${returned}, pid_status: ${status}`);
    }
    return outcome;
  }

  return {
    start() {
      for (const close of file.left) {
        const left = Math.min(close.due * 1000 - host.now(), close.seconds * 1000);
        wait(close, host.monotonic() + left);
      }
    },
    open,
    async stop(closeAll) {
      stopping = true;
      for (const [close, cancel] of [...pending]) {
        cancel();
        if (closeAll) beginClosing(close, "Shutting down");
      }
      pending.clear();
      await Promise.all(closing);
      file.close();
    },
  };
}
