// The controlling terminal with echo off, on Deno. Loaded only when a secret has to be asked for.

import type { Terminal } from "./host.ts";

const DEVICE = "/dev/tty";

/** The terminal without echo, line editing and signals, or null when there is none or no stty(1). */
export function openTerminal(): Terminal | null {
  const saved = stty("-g");
  if (saved === null || stty("-icanon", "-echo", "-isig", "min", "1", "time", "0") === null) {
    return null;
  }
  const device = Deno.openSync(DEVICE, { read: true, write: true });
  return {
    write: (text) => void device.writeSync(new TextEncoder().encode(text)),
    // One byte at a time: what is typed ahead belongs to the next question.
    read: () => {
      const bytes = new Uint8Array(1);
      const count = device.readSync(bytes);
      return count === null ? null : bytes;
    },
    close: () => {
      stty(saved.trim());
      device.close();
    },
  };
}

/** What stty(1) printed; null when it failed, as it does without a controlling terminal. */
function stty(...args: string[]): string | null {
  try {
    const { success, stdout } = new Deno.Command("stty", {
      args: ["-F", DEVICE, ...args],
      stdin: "null",
      stderr: "null",
    }).outputSync();
    return success ? new TextDecoder().decode(stdout) : null;
  } catch {
    return null;
  }
}
