// What the service manager hears of the daemon: the messages of sd_notify(3), where there is one
// that listens.

import { type Host, reasonOf } from "./host.ts";
import type { Log } from "./serve_log.ts";
import type { Timer } from "./serve_timer.ts";

/** What the daemon is about. */
export type ServicePhase = "ready" | "reloading" | "stopping";

/** Tells the service manager. Nothing here throws: a daemon serves whether or not anybody listens. */
export interface ServiceManager {
  tell(phase: ServicePhase): void;
  /** Ends the signs of life, too. */
  close(): void;
}

const NOBODY: ServiceManager = { tell: () => {}, close: () => {} };

/**
 * Finds the service manager by its variables: NOTIFY_SOCKET, and WATCHDOG_USEC with WATCHDOG_PID,
 * which ask for a sign of life; it comes twice in the time given, from the first `ready` on.
 *
 * @param timer waits between two signs
 */
export async function openServiceManager(
  host: Pick<Host, "pid" | "env" | "openNotifySocket">,
  log: Pick<Log, "warning">,
  timer: Timer,
): Promise<ServiceManager> {
  const address = host.env("NOTIFY_SOCKET");
  if (address === undefined || !/^[/@]./.test(address)) return NOBODY;
  try {
    return speakTo(await host.openNotifySocket(address), watchdogInterval(host), log, timer);
  } catch (error) {
    log.warning(`cannot tell the service manager at "${address}": ${reasonOf(error)}`);
    return NOBODY;
  }
}

/** Milliseconds between two signs of life; null when nobody waits for them. */
function watchdogInterval({ pid, env }: Pick<Host, "pid" | "env">): number | null {
  const microseconds = env("WATCHDOG_USEC") ?? "";
  const whose = env("WATCHDOG_PID");
  if (!/^[1-9][0-9]{0,12}$/.test(microseconds)) return null;
  return whose === undefined || whose === String(pid) ? Number(microseconds) / 2000 : null;
}

function speakTo(
  socket: Awaited<ReturnType<Host["openNotifySocket"]>>,
  interval: number | null,
  log: Pick<Log, "warning">,
  timer: Timer,
): ServiceManager {
  let stopTimer: (() => void) | null = null;
  let isHeard = true;

  function send(text: string): void {
    try {
      socket.send(text);
      isHeard = true;
    } catch (error) {
      if (isHeard) log.warning(`cannot tell the service manager: ${reasonOf(error)}`);
      isHeard = false;
    }
  }

  function giveSigns(milliseconds: number): void {
    send("WATCHDOG=1");
    stopTimer = timer(milliseconds, () => giveSigns(milliseconds));
  }

  return {
    tell(phase) {
      switch (phase) {
        case "ready":
          send("READY=1");
          if (interval !== null && stopTimer === null) giveSigns(interval);
          return;
        case "reloading":
          return send(`RELOADING=1\nMONOTONIC_USEC=${socket.clock()}`);
        case "stopping":
          return send("STOPPING=1");
      }
    },
    close() {
      stopTimer?.();
      socket.close();
    },
  };
}
