// Knocks seen by libpcap on an interface.

import type { PcapCapture } from "../ffi/libpcap.ts";
import { type Native, reasonOf } from "./host.ts";
import { parsePacket } from "./net_datagram.ts";
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
  return {
    wait: waiter.wait,
    drain: drainOf(capture, settings.interface),
    counters: capture.counters,
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
  const drain = drainOf(capture, path);
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
function drainOf(capture: PcapCapture, name: string): CaptureSource["drain"] {
  function next(): Uint8Array | null {
    try {
      return capture.next();
    } catch (error) {
      throw new CaptureError(`Fatal error from pcap_dispatch() on "${name}": ${reasonOf(error)}`);
    }
  }
  return (limit, take) => {
    for (let count = 0; count < limit; count++) {
      const frame = next();
      if (frame === null) return count;
      const packet = packetOfFrame(capture.linkType, frame);
      const datagram = packet === null ? "not-ip" : parsePacket(packet);
      if (typeof datagram === "object") take(datagram);
    }
    return limit;
  };
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
