// Raw IPv4 sockets of the C library: sending packets with a header of one's own.
// Needs CAP_NET_RAW; only the raw transports of `spa knock` load this.

import { loadErrors } from "./libc_error.ts";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const IPPROTO_RAW = 255;
const ANY_PORT = 9;

/** A socket for whole IPv4 packets. Its functions throw {@linkcode SystemError}. */
export interface RawSocket {
  /** The address, 4 bytes, that packets to a destination would have as source. */
  sourceFor(destination: Uint8Array): Uint8Array;
  /** Sends a packet and gives the number of bytes sent. */
  send(packet: Uint8Array, destination: Uint8Array): number;
  close(): void;
}

/** Opens a raw socket. */
export function openRawSocket(): RawSocket {
  const library = Deno.dlopen("libc.so.6", SYMBOLS);
  const { symbols: c } = library;
  const { checked } = loadErrors();
  const socket = checked(c.socket(AF_INET, SOCK_RAW_CLOEXEC, IPPROTO_RAW));
  return {
    sourceFor(destination) {
      // Connecting a datagram socket sends nothing, but makes the kernel choose a route.
      const probe = checked(c.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
      try {
        checked(c.connect(probe, socketAddress(destination, ANY_PORT), 16));
        const chosen = new Uint8Array(16);
        checked(c.getsockname(probe, chosen, new Uint32Array([16])));
        return chosen.slice(4, 8);
      } finally {
        c.close(probe);
      }
    },
    send(packet, destination) {
      const bytes = new Uint8Array(packet);
      const to = socketAddress(destination, 0);
      return checked(Number(c.sendto(socket, bytes, BigInt(bytes.length), 0, to, 16)));
    },
    close() {
      c.close(socket);
      library.close();
    },
  };
}

/** struct sockaddr_in */
function socketAddress(address: Uint8Array, port: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port, false);
  bytes.set(address, 4);
  return bytes;
}
