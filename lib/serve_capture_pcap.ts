// Knocks seen by libpcap on an interface.

import { type Native, reasonOf } from "./host.ts";
import { type Datagram, parsePacket } from "./net_datagram.ts";
import { isKnownLinkType, packetOfFrame } from "./net_frame.ts";
import { CaptureError, type CaptureSource } from "./serve_capture.ts";

/** What fwknopd's configuration says of libpcap. */
export interface PcapSettings {
  readonly interface: string;
  readonly filter: string;
  readonly promiscuous: boolean;
  /** Bytes kept of each frame. */
  readonly snapshotLength: number;
  /** Also see what this host sends. */
  readonly anyDirection: boolean;
}

/** A burst of some ten thousand knocks fits until the next turn of the loop. */
const KERNEL_BUFFER_BYTES = 4 << 20;
const NO_LIBRARY_HINT =
  "install the package libpcap0.8, or receive knocks on a UDP socket with -U (ENABLE_UDP_SERVER Y)";

/**
 * Starts capturing.
 *
 * @throws {CaptureError} when libpcap, the interface or the filter cannot be used
 */
export function openPcapSource(native: Native, settings: PcapSettings): CaptureSource {
  const capture = open(native, settings);
  if (!isKnownLinkType(capture.linkType)) {
    capture.close();
    throw new CaptureError(
      `cannot capture on "${settings.interface}": link type ${capture.linkType} is not known`,
      "capture on another interface, or receive knocks on a UDP socket with -U",
    );
  }
  const waiter = native.libc.waiterFor(capture.fd);

  function drain(limit: number, take: (datagram: Datagram) => void): number {
    for (let count = 0; count < limit; count++) {
      const frame = next();
      if (frame === null) return count;
      const packet = packetOfFrame(capture.linkType, frame);
      const datagram = packet === null ? "not-ip" : parsePacket(packet);
      if (typeof datagram === "object") take(datagram);
    }
    return limit;
  }

  function next(): Uint8Array | null {
    try {
      return capture.next();
    } catch (error) {
      throw new CaptureError(
        `Fatal error from pcap on "${settings.interface}": ${reasonOf(error)}`,
      );
    }
  }

  return {
    announcement: [
      `Sniffing interface: ${settings.interface}`,
      `PCAP filter is: '${settings.filter}'`,
      "Starting fwknopd main event loop.",
    ],
    wait: waiter.wait,
    drain,
    stop: waiter.wake,
    close() {
      waiter.close();
      capture.close();
    },
  };
}

function open(native: Native, settings: PcapSettings): ReturnType<Native["openPcap"]> {
  try {
    return native.openPcap({
      interface: settings.interface,
      snapshotLength: settings.snapshotLength,
      promiscuous: settings.promiscuous,
      filter: settings.filter,
      incomingOnly: !settings.anyDirection,
      bufferBytes: KERNEL_BUFFER_BYTES,
    });
  } catch (error) {
    const missing = error instanceof Error && error.name === "PcapMissingError";
    throw new CaptureError(
      `cannot capture on "${settings.interface}": ${reasonOf(error)}`,
      missing ? NO_LIBRARY_HINT : "see PCAP_INTF and PCAP_FILTER, or the options -i and -P",
    );
  }
}
