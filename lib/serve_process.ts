// One gateway, one process: the locked pid file, and what -S, -K and -R do with it.

import { type Host, type Native, reasonOf, type SignalName } from "./host.ts";

/** The pid file held by a running daemon; its lock, not its text, says that the daemon lives. */
export interface PidFile {
  /** Removes the file and gives up the lock. */
  release(): void;
}

/** What a pid-file command answers: lines for standard output and error, and the exit status. */
export interface ProcessAnswer {
  readonly status: 0 | 1;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * How long a daemon may take to end before it is killed, in milliseconds, and how often to look. It
 * may have to run closing commands, which take up to eleven seconds, and gives up on its firewall
 * after twenty.
 */
const KILL_PATIENCE = 25_000;
const KILL_INTERVAL = 20;

const NOT_RUNNING = "No running fwknopd detected.";

/**
 * Takes the lock and writes this process's id.
 *
 * @throws when another daemon holds the lock or the file cannot be made
 */
export async function takePidFile(host: Host, path: string): Promise<PidFile> {
  const { libc } = await host.native();
  const fd = openLocked(host, libc, path);
  try {
    libc.rewriteFile(fd, `${host.pid}\n`);
  } catch (error) {
    libc.closeFile(fd);
    throw new Error(`cannot write PID file "${path}": ${reasonOf(error)}`);
  }
  return {
    release() {
      try {
        host.remove(path);
      } catch {
        // somebody removed it before: then it misleads nobody
      }
      libc.closeFile(fd);
    },
  };
}

function openLocked(host: Host, libc: Native["libc"], path: string): number {
  for (;;) {
    let fd: number;
    try {
      fd = libc.openFile(path, 0o600);
    } catch (error) {
      throw new Error(`cannot open PID file "${path}": ${reasonOf(error)}`);
    }
    if (!libc.lockFile(fd)) {
      const { holder } = libc.queryLock(fd);
      libc.closeFile(fd);
      const who = holder ?? "unknown";
      throw new Error(`[*] An instance of fwknopd is already running: (PID=${who}).`);
    }
    // A daemon that has just ended may have removed the file after it was opened here.
    if (host.stat(path) !== null) return fd;
    libc.closeFile(fd);
  }
}

/**
 * The process that holds the lock, or null when no daemon runs.
 *
 * @throws when there is a file that cannot be opened
 */
export async function runningDaemon(host: Host, path: string): Promise<number | null> {
  const { libc } = await host.native();
  let fd: number;
  try {
    fd = libc.openFileReadOnly(path);
  } catch (error) {
    // A daemon that ends may remove the file at any moment.
    if (host.stat(path) === null) return null;
    throw new Error(`cannot open PID file "${path}": ${reasonOf(error)}`);
  }
  try {
    return libc.queryLock(fd).holder;
  } finally {
    libc.closeFile(fd);
  }
}

/** `-S`: whether a daemon runs. */
export async function reportStatus(host: Host, path: string): Promise<ProcessAnswer> {
  const pid = await runningDaemon(host, path);
  return pid === null
    ? { status: 1, stdout: `${NOT_RUNNING}\n`, stderr: "" }
    : { status: 0, stdout: `Detected fwknopd is running (pid=${pid}).\n`, stderr: "" };
}

/** `-R`: has the running daemon read its files again. */
export async function restartDaemon(host: Host, path: string): Promise<ProcessAnswer> {
  const pid = await runningDaemon(host, path);
  if (pid === null || !host.signal(pid, "SIGHUP")) {
    return { status: 1, stdout: `${NOT_RUNNING}\n`, stderr: "" };
  }
  return { status: 0, stdout: `Sent restart signal to fwknopd (pid=${pid})\n`, stderr: "" };
}

/** `-K`: ends the running daemon, in the end by force. */
export async function killDaemon(host: Host, path: string): Promise<ProcessAnswer> {
  const pid = await runningDaemon(host, path);
  if (pid === null) return { status: 1, stdout: "", stderr: `${NOT_RUNNING}\n` };
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    if (await endsAfter(host, path, pid, signal)) {
      return { status: 0, stdout: `Killed fwknopd (pid=${pid}) via ${signal}\n`, stderr: "" };
    }
  }
  return {
    status: 1,
    stdout: "",
    stderr: `cannot end fwknopd (pid=${pid}): it is still running\n`,
  };
}

/** Another process's end raises no event here, so its lock is looked at until it is gone. */
async function endsAfter(
  host: Host,
  path: string,
  pid: number,
  signal: SignalName | "SIGKILL",
): Promise<boolean> {
  host.signal(pid, signal);
  for (let waited = 0; waited < KILL_PATIENCE; waited += KILL_INTERVAL) {
    if (await runningDaemon(host, path) !== pid) return true;
    await new Promise((resolve) => setTimeout(resolve, KILL_INTERVAL));
  }
  return false;
}
