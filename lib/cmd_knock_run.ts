// The program of `spa knock ... -- PROGRAM`: run in this process's place, as far as that goes.

import { done, type Outcome } from "./cmd_ui.ts";
import { type ForegroundProgram, type Host, reasonOf, type SignalName } from "./host.ts";

/** What a shell gives for a program that is not there, and for one that may not be run. */
const NOT_FOUND = 127;
const NOT_RUNNABLE = 126;

/** Signals that mean the program, whoever they are sent to. */
const FORWARDED: readonly SignalName[] = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"];

/** Signals that a terminal sends to all of its foreground programs at a key. */
const FROM_KEYS: readonly SignalName[] = ["SIGINT", "SIGQUIT"];

/**
 * Runs a program on this process's own streams and gives its exit status: 128 + the signal's
 * number when a signal ended it. Signals to this process go on to the program; those of Ctrl-C and
 * Ctrl-\ only without a terminal, since a terminal sends them to the program itself.
 *
 * @param command the program and its arguments
 */
export async function runInForeground(
  [program = "", ...args]: readonly string[],
  host: Host,
): Promise<Outcome<number>> {
  let running: ForegroundProgram | null = null;
  const fromTerminal = (["stdin", "stdout", "stderr"] as const).some(host.isTerminal);
  const release = [
    ...FORWARDED.map((name) => host.onSignal(name, () => running?.signal(name))),
    ...FROM_KEYS.map((name) =>
      host.onSignal(name, () => {
        if (!fromTerminal) running?.signal(name);
      })
    ),
  ];
  try {
    running = host.startInForeground(program, args);
    return done(await running.ended);
  } catch (error) {
    return cannotRun(program, reasonOf(error));
  } finally {
    for (const stop of release) stop();
  }
}

function cannotRun(program: string, reason: string): Outcome<never> {
  const missing = /not found|no such file/i.test(reason);
  const why = missing ? "there is no such program" : reason;
  return {
    ok: false,
    complaint: {
      text: `cannot run "${program}": ${why}`,
      status: missing ? NOT_FOUND : NOT_RUNNABLE,
    },
  };
}
