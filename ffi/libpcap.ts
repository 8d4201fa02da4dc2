// libpcap: live capture that wakes on the packet. One frame at a time, copied out of the ring.

import { loadSetInherited } from "./libc_descriptor.ts";
import { loadMemory, type Memory } from "./libc_memory.ts";

const SYMBOLS = {
  pcap_create: { parameters: ["buffer", "buffer"], result: "pointer" },
  pcap_open_offline: { parameters: ["buffer", "buffer"], result: "pointer" },
  pcap_set_snaplen: { parameters: ["pointer", "i32"], result: "i32" },
  pcap_set_promisc: { parameters: ["pointer", "i32"], result: "i32" },
  pcap_set_immediate_mode: { parameters: ["pointer", "i32"], result: "i32" },
  pcap_set_buffer_size: { parameters: ["pointer", "i32"], result: "i32" },
  pcap_activate: { parameters: ["pointer"], result: "i32" },
  pcap_statustostr: { parameters: ["i32"], result: "usize" },
  pcap_geterr: { parameters: ["pointer"], result: "usize" },
  pcap_setdirection: { parameters: ["pointer", "i32"], result: "i32" },
  pcap_setnonblock: { parameters: ["pointer", "i32", "buffer"], result: "i32" },
  pcap_get_selectable_fd: { parameters: ["pointer"], result: "i32" },
  pcap_datalink: { parameters: ["pointer"], result: "i32" },
  pcap_compile: { parameters: ["pointer", "buffer", "buffer", "i32", "u32"], result: "i32" },
  pcap_setfilter: { parameters: ["pointer", "buffer"], result: "i32" },
  pcap_freecode: { parameters: ["buffer"], result: "void" },
  pcap_next_ex: { parameters: ["pointer", "buffer", "buffer"], result: "i32" },
  pcap_stats: { parameters: ["pointer", "buffer"], result: "i32" },
  pcap_close: { parameters: ["pointer"], result: "void" },
} as const;

/** libpcap refused; the message is its own. */
export class PcapError extends Error {
  override readonly name = "PcapError";
}

/** libpcap could not be loaded at all. */
export class PcapMissingError extends Error {
  override readonly name = "PcapMissingError";
}

/** What to capture; see pcap(3PCAP). */
export interface PcapOptions {
  readonly interface: string;
  /** Bytes kept of each frame. */
  readonly snapshotLength: number;
  readonly promiscuous: boolean;
  /** A pcap-filter(7) expression; empty takes everything. */
  readonly filter: string;
  /** True leaves out frames that this host sends. */
  readonly incomingOnly: boolean;
  /** Bytes of kernel buffer. */
  readonly bufferBytes: number;
}

/** An open capture. */
export interface PcapCapture {
  /** Readable when frames wait: for poll(2); -1 for a file. */
  readonly fd: number;
  /** DLT_ value: how frames begin; see pcap-linktype(7). */
  readonly linkType: number;
  /**
   * The next waiting frame as captured; null when none waits, or at a file's end. It stays as it is
   * until {@linkcode FRAMES_KEPT} more were taken. Throws {@linkcode PcapError} when the capture is
   * dead.
   */
  next(): Uint8Array | null;
  /** What came since the start, also of a capture that has died; null for a file. */
  counters(): PcapCounters | null;
  close(): void;
}

/** Frames counted by the kernel; see pcap_stats(3PCAP). */
export interface PcapCounters {
  /** Frames that matched the filter, the lost ones too. */
  readonly received: number;
  /** Frames lost because the buffer was full. */
  readonly dropped: number;
  /** Frames that the interface or its driver lost. */
  readonly droppedByInterface: number;
}

/** Frames whose memory is kept; new memory for each costs a flooded server much of its time. */
export const FRAMES_KEPT = 256;
const ERROR_BUFFER_BYTES = 256;
const PCAP_D_IN = 1;
/** What reading a file gives at its end. */
const PCAP_ERROR_BREAK = -2;
const PCAP_WARNING_PROMISC_NOTSUP = 2;
const PCAP_NETMASK_UNKNOWN = 0xffffffff;
/** struct bpf_program { unsigned len; struct bpf_insn *insns } */
const BPF_PROGRAM_BYTES = 16;
/** struct pcap_pkthdr { struct timeval ts; u32 caplen; u32 len }, and the offset of caplen. */
const PACKET_HEADER_BYTES = 24;
const CAPTURED_LENGTH_OFFSET = 16;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** libpcap, and the memory that it points to. */
type Library = Symbols & { readonly memory: Memory };

/**
 * Opens a live capture in immediate, non-blocking mode.
 *
 * @throws {PcapMissingError} when the library is not installed
 * @throws {PcapError} when the interface or the filter is refused
 */
export function openPcap(options: PcapOptions): PcapCapture {
  const pcap = load();
  const errorBuffer = new Uint8Array(ERROR_BUFFER_BYTES);
  const handle = pcap.pcap_create(cString(options.interface), errorBuffer);
  if (handle === null) throw new PcapError(textOf(errorBuffer));

  pcap.pcap_set_snaplen(handle, options.snapshotLength);
  pcap.pcap_set_promisc(handle, options.promiscuous ? 1 : 0);
  pcap.pcap_set_immediate_mode(handle, 1);
  pcap.pcap_set_buffer_size(handle, options.bufferBytes);
  const status = pcap.pcap_activate(handle);
  if (status < 0) {
    const detail = pcap.memory.text(pcap.pcap_geterr(handle));
    pcap.pcap_close(handle);
    throw new PcapError(detail === "" ? pcap.memory.text(pcap.pcap_statustostr(status)) : detail);
  }
  if (status === PCAP_WARNING_PROMISC_NOTSUP && options.promiscuous) giveUp(pcap, handle);

  setFilter(pcap, handle, options.filter);
  if (options.incomingOnly && pcap.pcap_setdirection(handle, PCAP_D_IN) !== 0) {
    giveUp(pcap, handle);
  }
  if (pcap.pcap_setnonblock(handle, 1, errorBuffer) !== 0) giveUp(pcap, handle);
  const fd = pcap.pcap_get_selectable_fd(handle);
  if (fd < 0) giveUp(pcap, handle, `${options.interface} cannot be waited for with poll(2)`);
  // Programs that are started could read all that comes.
  loadSetInherited()(fd, false);
  return captureOf(pcap, handle, fd);
}

/**
 * Opens a file that a capture was written to, classic or pcapng.
 *
 * @throws {PcapMissingError} when the library is not installed
 * @throws {PcapError} when the file cannot be read or the filter is refused
 */
export function openPcapFile(path: string, filter: string): PcapCapture {
  const pcap = load();
  const errorBuffer = new Uint8Array(ERROR_BUFFER_BYTES);
  const handle = pcap.pcap_open_offline(cString(path), errorBuffer);
  if (handle === null) throw new PcapError(textOf(errorBuffer));
  setFilter(pcap, handle, filter);
  return captureOf(pcap, handle, -1);
}

/** Throws libpcap's own words for what went wrong last. */
function giveUp(
  pcap: Library,
  handle: Deno.PointerObject,
  text: string = pcap.memory.text(pcap.pcap_geterr(handle)),
): never {
  pcap.pcap_close(handle);
  throw new PcapError(text);
}

function setFilter(pcap: Library, handle: Deno.PointerObject, filter: string): void {
  const program = new Uint8Array(BPF_PROGRAM_BYTES);
  if (pcap.pcap_compile(handle, program, cString(filter), 1, PCAP_NETMASK_UNKNOWN) !== 0) {
    giveUp(pcap, handle);
  }
  const installed = pcap.pcap_setfilter(handle, program);
  pcap.pcap_freecode(program);
  if (installed !== 0) giveUp(pcap, handle);
}

function captureOf(pcap: Library, handle: Deno.PointerObject, fd: number): PcapCapture {
  const headerPointer = new BigUint64Array(1);
  const dataPointer = new BigUint64Array(1);
  const header = new Uint8Array(PACKET_HEADER_BYTES);
  const headerView = new DataView(header.buffer);
  const frames: Uint8Array<ArrayBuffer>[] = [];
  let taken = 0;
  let open = true;
  let last: PcapCounters | null = null;

  function counters(): PcapCounters | null {
    const statistics = new Uint32Array(3); // struct pcap_stat { recv, drop, ifdrop }
    if (!open || pcap.pcap_stats(handle, statistics) !== 0) return last;
    const [received = 0, dropped = 0, droppedByInterface = 0] = statistics;
    return { received, dropped, droppedByInterface };
  }

  /** Memory for one more frame: that of the oldest, where it fits. */
  function memoryFor(length: number): Uint8Array<ArrayBuffer> {
    const slot = taken++ % FRAMES_KEPT;
    const present = frames[slot];
    if (present !== undefined && present.length >= length) return present.subarray(0, length);
    return frames[slot] = new Uint8Array(length);
  }

  return {
    fd,
    linkType: pcap.pcap_datalink(handle),
    next(): Uint8Array | null {
      const result = pcap.pcap_next_ex(handle, headerPointer, dataPointer);
      if (result === 0 || result === PCAP_ERROR_BREAK) return null;
      if (result < 0) {
        const error = pcap.memory.text(pcap.pcap_geterr(handle));
        last = counters();
        open = false;
        giveUp(pcap, handle, error);
      }
      pcap.memory.copy(headerPointer[0]!, header);
      const frame = memoryFor(headerView.getUint32(CAPTURED_LENGTH_OFFSET, true));
      pcap.memory.copy(dataPointer[0]!, frame);
      return frame;
    },
    counters,
    close(): void {
      if (open) pcap.pcap_close(handle);
      open = false;
    },
  };
}

function load(): Library {
  // The versioned names are Debian's and everyone else's; the bare one comes with -dev packages.
  for (const name of ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so"]) {
    try {
      return { ...Deno.dlopen(name, SYMBOLS).symbols, memory: loadMemory() };
    } catch {
      // try the next name
    }
  }
  throw new PcapMissingError("libpcap is not installed");
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

function textOf(buffer: Uint8Array): string {
  const end = buffer.indexOf(0);
  return new TextDecoder().decode(buffer.subarray(0, end < 0 ? buffer.length : end));
}
