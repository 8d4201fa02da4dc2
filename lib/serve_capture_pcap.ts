// Knocks seen by libpcap on an interface.

import type { PcapCapture } from "../ffi/libpcap.ts";
import { type Native, reasonOf } from "./host.ts";
import { type Datagram, parsePacket } from "./net_datagram.ts";
import { isKnownLinkType, packetOfFrame } from "./net_frame.ts";
import { type CaptureCounters, CaptureError, type CaptureSource } from "./serve_capture.ts";

/** What fwknopd's configuration says of libpcap. */
export interface PcapSettings {
  readonly interface: string;
  readonly filter: string;
  readonly promiscuous: boolean;
  /** Bytes kept of each frame. */
  readonly snapshotLength: number;
  /** Also see what this host sends. */
  readonly anyDirection: boolean;
  /** Bytes of kernel memory for packets that wait for their turn. */
  readonly bufferBytes: number;
}

const NO_LIBRARY_HINT =
  "install the package libpcap0.8, or receive knocks on a UDP socket with -U (ENABLE_UDP_SERVER Y)";

/** A source for one interface; what is to be announced depends on how many there are. */
export type InterfaceSource = Omit<CaptureSource, "announcement">;

/**
 * Starts capturing.
 *
 * @throws {CaptureError} when libpcap, the interface or the filter cannot be used
 */
export function openPcapSource(native: Native, settings: PcapSettings): InterfaceSource {
  const capture = open(native, settings);
  const waiter = native.libc.waiterFor(capture.fd);
  const reader = readerOf(capture, settings.interface);
  return {
    wait: waiter.wait,
    ...reader,
    stop: waiter.wake,
    close() {
      waiter.close();
      capture.close();
    },
  };
}

/**
 * Reads a capture file. At its end the source waits until it is stopped, as fwknopd does, so that
 * what was granted runs its time.
 *
 * @throws {CaptureError} when libpcap, the file or the filter cannot be used
 */
export function openPcapFileSource(native: Native, path: string, filter: string): CaptureSource {
  const capture = checked(path, () => native.openPcapFile(path, filter), "see PCAP_FILE");
  // poll(2) passes over this descriptor: only `wake` ends the wait, which keeps the process alive.
  const waiter = native.libc.waiterFor(-1);
  let atEnd = false;
  const { drain, counters } = readerOf(capture, path);
  return {
    announcement: [
      `Reading pcap file: ${path}`,
      `PCAP filter is: '${filter}'`,
      "Starting fwknopd main event loop.",
    ],
    wait: () => atEnd ? waiter.wait() : Promise.resolve(true),
    drain(limit, take) {
      const count = drain(limit, take);
      if (count < limit) atEnd = true;
      return count;
    },
    counters,
    stop() {
      atEnd = true;
      waiter.wake();
    },
    close() {
      waiter.close();
      capture.close();
    },
  };
}

/** @param name of the interface or file, for messages */
function readerOf(
  capture: PcapCapture,
  name: string,
): Required<Pick<CaptureSource, "drain" | "counters">> {
  let read = 0;
  let fragments = 0;

  function next(): Uint8Array | null {
    try {
      return capture.next();
    } catch (error) {
      throw new CaptureError(`Fatal error from pcap_dispatch() on "${name}": ${reasonOf(error)}`);
    }
  }

  function drain(limit: number, take: (datagram: Datagram) => void): number {
    for (let count = 0; count < limit; count++) {
      const frame = next();
      if (frame === null) return count;
      read++;
      const packet = packetOfFrame(capture.linkType, frame);
      const datagram = packet === null ? "not-ip" : parsePacket(packet);
      if (typeof datagram === "object") take(datagram);
      else if (datagram === "fragment") fragments++;
    }
    return limit;
  }

  function counters(): CaptureCounters {
    // The system counts no frames of a file.
    const counted = capture.counters() ?? { received: read, dropped: 0, droppedByInterface: 0 };
    return { ...counted, fragments };
  }

  return { drain, counters };
}

function open(native: Native, settings: PcapSettings): PcapCapture {
  const options = {
    interface: settings.interface,
    snapshotLength: settings.snapshotLength,
    promiscuous: settings.promiscuous,
    filter: settings.filter,
    incomingOnly: !settings.anyDirection,
    bufferBytes: settings.bufferBytes,
  };
  const hint = "see PCAP_INTF and PCAP_FILTER, or the options -i and -P";
  const { interface: name } = settings;
  return checked(name, () => native.openPcap(options), hint, "pcap_open_live() error: ");
}

/** Opens a capture, or says why it is none that can be used. */
function checked(
  name: string,
  openCapture: () => PcapCapture,
  hint: string,
  prefix = "",
): PcapCapture {
  let capture: PcapCapture;
  try {
    capture = openCapture();
  } catch (error) {
    const missing = error instanceof Error && error.name === "PcapMissingError";
    const why = `${prefix}cannot capture on "${name}": ${reasonOf(error)}`;
    throw new CaptureError(why, missing ? NO_LIBRARY_HINT : hint);
  }
  if (isKnownLinkType(capture.linkType)) return capture;
  capture.close();
  throw new CaptureError(
    `cannot capture on "${name}": link type ${capture.linkType} is not known`,
    "capture on another interface, or receive knocks on a UDP socket with -U",
  );
}
