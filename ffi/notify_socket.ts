// The socket on which a service manager hears how a service is; see sd_notify(3). Deno's own
// datagrams know no addresses without a file.

import { loadErrors } from "./libc_error.ts";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC_NONBLOCK = 2 | 0o2000000 | 0o4000;
const CLOCK_MONOTONIC = 1;
const MSG_NOSIGNAL = 0x4000;
/** Bytes of `sun_path` in struct sockaddr_un. */
const LONGEST_ADDRESS = 108;

/** A way to the service manager. */
export interface NotifySocket {
  /** Sends one message; throws {@linkcode SystemError}. Never waits. */
  send(text: string): void;
  /** The clock that service managers go by: CLOCK_MONOTONIC in microseconds. */
  clock(): bigint;
  close(): void;
}

/**
 * Opens a socket for messages to an address.
 *
 * @param address a path, or `@` and a name in the abstract namespace of unix(7)
 */
export function openNotifySocket(address: string): NotifySocket {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const { checked } = loadErrors();
  const encoder = new TextEncoder();

  const name = encoder.encode(address.replace(/^@/, "\0"));
  if (name.length >= LONGEST_ADDRESS) {
    throw new RangeError(`Cannot use address "${address}": longer than ${LONGEST_ADDRESS} bytes`);
  }
  // struct sockaddr_un { family u16, path }; what is sent of an abstract name has no zero behind it.
  const target = new Uint8Array(2 + name.length + (name[0] === 0 ? 0 : 1));
  new DataView(target.buffer).setUint16(0, AF_UNIX, true);
  target.set(name, 2);
  const socket = checked(c.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC_NONBLOCK, 0));
  return {
    send(text) {
      const bytes = encoder.encode(text);
      const { length } = target;
      checked(Number(c.sendto(socket, bytes, BigInt(bytes.length), MSG_NOSIGNAL, target, length)));
    },
    clock() {
      // struct timespec { seconds i64, nanoseconds i64 }
      const time = new BigInt64Array(2);
      checked(c.clock_gettime(CLOCK_MONOTONIC, new Uint8Array(time.buffer)));
      const [seconds = 0n, nanoseconds = 0n] = time;
      return seconds * 1_000_000n + nanoseconds / 1000n;
    },
    close: () => void c.close(socket),
  };
}
