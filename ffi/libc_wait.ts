// Waiting for a descriptor with poll(2), on a thread that has nothing else to do.

import type { SystemErrors } from "./libc_error.ts";

const SYMBOLS = {
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const POLLIN = 0x0001;
const EFD_CLOEXEC_NONBLOCK = 0o2004000;

/** Called when something is to be read, or when the wait was woken. */
export interface Waiter {
  /** Resolves true when `fd` is readable or has an error, false once `wake` was called. Idle, it uses no CPU. */
  wait(): Promise<boolean>;
  /** Ends the present and every later wait. */
  wake(): void;
  close(): void;
}

/** Loads the function that makes a waiter for a descriptor. */
export function loadWaiters({ checked }: SystemErrors): (fd: number) => Waiter {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  return (fd) => {
    const wakeFd = checked(c.eventfd(0, EFD_CLOEXEC_NONBLOCK));
    // struct pollfd[2]: fd i32, events i16, revents i16
    const pollFds = new Uint8Array(16);
    const view = new DataView(pollFds.buffer);
    let woken = false;
    let closed = false;
    return {
      async wait(): Promise<boolean> {
        while (!woken) {
          view.setInt32(0, fd, true);
          view.setInt32(4, POLLIN, true);
          view.setInt32(8, wakeFd, true);
          view.setInt32(12, POLLIN, true);
          // A negative result is EINTR (a signal); errno belongs to another thread here.
          if (await c.poll(pollFds, 2n, -1) > 0 && view.getInt16(6, true) !== 0) break;
        }
        return !woken;
      },
      wake(): void {
        if (woken) return;
        woken = true;
        c.write(wakeFd, new Uint8Array(new BigUint64Array([1n]).buffer), 8n);
      },
      close(): void {
        if (!closed) c.close(wakeFd);
        closed = true;
      },
    };
  };
}
