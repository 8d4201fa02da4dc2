// Network interfaces: their numbers, and the socket that tells when they come and go.

import { EINTR, ENOBUFS, type SystemErrors } from "./libc_error.ts";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const AF_INET = 2;
const AF_NETLINK = 16;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const SIOCGIFINDEX = 0x8933n;
const MSG_DONTWAIT = 0x40;
/** Bytes of a name in struct ifreq, with the zero behind it. */
const NAME_BYTES = 16;

/** What is asked about interfaces. Each throws {@linkcode SystemError} when the system refuses. */
export interface LinkCalls {
  /** The number of a network interface, new each time one is made; null when there is none of the name. */
  interfaceIndex(name: string): number | null;
  /** A socket that is readable whenever an interface comes, goes or changes; see rtnetlink(7). */
  openLinkMonitor(): number;
  /** Throws away what waits on a socket. */
  discardMessages(fd: number): void;
}

/** Loads the functions. */
export function loadLinkCalls(errors: SystemErrors): LinkCalls {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const encoder = new TextEncoder();
  let requestSocket: number | null = null;
  return {
    interfaceIndex(name) {
      // struct ifreq { char name[16]; int index; ... }
      const request = new Uint8Array(40);
      const bytes = encoder.encode(name);
      if (bytes.length >= NAME_BYTES) return null;
      request.set(bytes);
      // Kept open: the sentry may not open another.
      requestSocket ??= errors.checked(c.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
      if (c.ioctl(requestSocket, SIOCGIFINDEX, request) !== 0) return null;
      return new DataView(request.buffer).getInt32(NAME_BYTES, true);
    },
    openLinkMonitor() {
      const fd = errors.checked(c.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE));
      const address = new Uint8Array(12); // struct sockaddr_nl { family u16, pad u16, pid u32, groups u32 }
      const view = new DataView(address.buffer);
      view.setUint16(0, AF_NETLINK, true);
      view.setUint32(8, RTMGRP_LINK, true);
      if (c.bind(fd, address, address.length) < 0) {
        const error = errors.last();
        c.close(fd);
        throw error;
      }
      return fd;
    },
    discardMessages(fd) {
      const rest = new Uint8Array(1);
      for (;;) {
        if (c.recv(fd, rest, 1n, MSG_DONTWAIT) >= 0n) continue;
        // An overrun (ENOBUFS) is told once and says what a message says: something changed.
        const { errno } = errors.last();
        if (errno !== ENOBUFS && errno !== EINTR) return;
      }
    },
  };
}
