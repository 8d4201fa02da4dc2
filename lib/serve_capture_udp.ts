// Knocks received on a UDP socket: for hosts without libpcap, and where the port may be seen.

import { type Native, reasonOf } from "./host.ts";
import type { Datagram } from "./net_datagram.ts";
import { CaptureError, type CaptureSource } from "./serve_capture.ts";

const UDP = 17;
/** Longer payloads are no SPA packets; one byte more is read to tell. */
const PAYLOAD_LIMIT = 1500;
const RECEIVE_BUFFER_BYTES = 4 << 20;

/**
 * Binds the port on all addresses, of IPv4 and IPv6.
 *
 * @throws {CaptureError} when it cannot be bound
 */
export function openUdpSource(native: Native, port: number): CaptureSource {
  const { libc } = native;
  let fd: number;
  try {
    fd = libc.openUdpSocket(port, RECEIVE_BUFFER_BYTES);
  } catch (error) {
    throw new CaptureError(
      `run_udp_server: bind() failed: cannot bind UDP port ${port}: ${reasonOf(error)}`,
      "another program may use it: choose a port with UDPSERV_PORT",
    );
  }
  const waiter = libc.waiterFor(fd);
  let taken = 0;

  function drain(limit: number, take: (datagram: Datagram) => void): number {
    for (let count = 0; count < limit; count++) {
      const received = libc.receiveDatagram(fd, PAYLOAD_LIMIT);
      if (received === null) return count;
      taken++;
      take({ protocol: UDP, destinationPort: port, ...received });
    }
    return limit;
  }

  return {
    announcement: [`Kicking off UDP server to listen on port ${port}.`],
    wait: waiter.wait,
    drain,
    counters() {
      const dropped = libc.droppedDatagrams(fd);
      if (dropped === null) return null;
      // The kernel has put fragments together.
      return { received: taken + dropped, dropped, droppedByInterface: 0, fragments: 0 };
    },
    stop: waiter.wake,
    close() {
      waiter.close();
      libc.closeFile(fd);
    },
  };
}
