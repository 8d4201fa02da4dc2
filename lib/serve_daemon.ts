// Becoming a daemon without fork(2): the program starts a copy of itself, waits until that copy
// receives packets, and only then reports success.

import type { Host } from "./host.ts";

/** Set in the environment of the copy. */
const COPY_VARIABLE = "SPA_DAEMON_COPY";
/** What the copy writes to its standard error once it is ready; no message contains it. */
const READY = "\0";

/** Whether this process is the copy that becomes the daemon. */
export function isDaemonCopy(host: Host): boolean {
  return host.env(COPY_VARIABLE) === "1";
}

/**
 * Starts the copy and passes on what it says until it is ready.
 *
 * @returns 0 once it is ready, else the exit status it failed with
 */
export async function startDaemon(host: Host, args: readonly string[]): Promise<number> {
  const copy = host.startCopy(args, { [COPY_VARIABLE]: "1" });
  for await (const text of copy.stderr) {
    const end = text.indexOf(READY);
    host.stderr(end < 0 ? text : text.slice(0, end));
    if (end >= 0) return 0;
  }
  return await copy.status;
}

/** In the copy: tells the parent that all is well and lets go of its terminal and directory. */
export async function detachFromTerminal(host: Host): Promise<void> {
  const { libc } = await host.native();
  host.stderr(READY);
  libc.newSession();
  libc.silenceStandardStreams();
  host.changeDirectory("/");
}
