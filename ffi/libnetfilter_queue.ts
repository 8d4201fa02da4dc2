// libnetfilter_queue: packets that a firewall rule hands over instead of judging them itself.
// What the queue delivers is left as it is; see net_nfqueue.ts.

import { loadSetInherited } from "./libc_descriptor.ts";
import { EAGAIN, EINTR, ENOBUFS, loadErrors, type SystemErrors } from "./libc_error.ts";

const SYMBOLS = {
  nfq_open: { parameters: [], result: "pointer" },
  nfq_close: { parameters: ["pointer"], result: "i32" },
  nfq_fd: { parameters: ["pointer"], result: "i32" },
  nfq_nfnlh: { parameters: ["pointer"], result: "pointer" },
  nfq_create_queue: { parameters: ["pointer", "u16", "pointer", "pointer"], result: "pointer" },
  nfq_destroy_queue: { parameters: ["pointer"], result: "i32" },
  nfq_set_mode: { parameters: ["pointer", "u8", "u32"], result: "i32" },
  nfq_set_queue_maxlen: { parameters: ["pointer", "u32"], result: "i32" },
  nfq_set_verdict_batch: { parameters: ["pointer", "u32", "u32"], result: "i32" },
  // Of libnfnetlink, which comes with it.
  nfnl_rcvbufsiz: { parameters: ["pointer", "u32"], result: "u32" },
} as const;

const LIBC_SYMBOLS = {
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

/** libnetfilter_queue could not be loaded at all. */
export class QueueMissingError extends Error {
  override readonly name = "QueueMissingError";
}

/** Which queue to take packets from. */
export interface QueueOptions {
  /** 0 to 65535, as the rule names it. */
  readonly number: number;
  /** Packets that the kernel holds at most until they have their verdict. */
  readonly length: number;
  /** Bytes of kernel memory for messages that wait to be read. */
  readonly bufferBytes: number;
}

/** The end of a queue where packets come out; using it takes no privileges. */
export interface QueueReader {
  /** Readable when messages wait: for poll(2). */
  readonly fd: number;
  /**
   * What waits next, copied; null when nothing does. `overrun` says that packets were dropped
   * because messages were not read in time. Throws {@linkcode SystemError} when the queue is dead.
   */
  next(): Uint8Array | "overrun" | null;
  close(): void;
}

/** A queue that this program is the only listener of. */
export interface PacketQueue extends QueueReader {
  /** Settles all packets that wait for their verdict up to this id; takes CAP_NET_ADMIN. */
  settle(lastId: number, verdict: "drop" | "accept"): void;
  /** What came since the start; null where the system does not tell. */
  counters(): QueueCounters | null;
  /** Has programs that `start` starts inherit `fd`. */
  lendTo<Started>(start: () => Started): Started;
}

/** Packets counted by the kernel. */
export interface QueueCounters {
  /** Those that a rule handed over, the lost ones too. */
  readonly received: number;
  /** Those lost because the queue or the memory for its messages was full. */
  readonly dropped: number;
}

const NFQNL_COPY_PACKET = 2;
/** All of each packet. */
const COPY_RANGE = 0xffff;
const NF_DROP = 0;
const NF_ACCEPT = 1;
const MSG_DONTWAIT = 0x40;
const O_RDONLY_CLOEXEC = 0o2000000;
/** A packet of the longest kind with what the kernel says of it. */
const MESSAGE_BYTES = 0x10000 + 4096;
/** A line for each queue of this network namespace. */
const COUNTERS_FILE = "/proc/self/net/netfilter/nfnetlink_queue";
const COUNTERS_BYTES = 65_536;

/**
 * Starts listening to a queue; takes CAP_NET_ADMIN.
 *
 * @throws {QueueMissingError} when the library is not installed
 * @throws {SystemError} when the kernel refuses: EPERM also when another program has that queue
 */
export function openPacketQueue({ number, length, bufferBytes }: QueueOptions): PacketQueue {
  const nfq = load();
  const libc = loadLibc();
  const handle = nfq.nfq_open();
  if (handle === null) throw libc.errors.last();
  const giveUp = (error: unknown = libc.errors.last()): never => {
    nfq.nfq_close(handle);
    throw error;
  };
  const fd = nfq.nfq_fd(handle);
  // Others than whom it is lent to could read what clients send.
  const setInherited = loadSetInherited();
  try {
    setInherited(fd, false);
  } catch (error) {
    giveUp(error);
  }
  // No callback: messages are read from the socket.
  const queue = nfq.nfq_create_queue(handle, number, null, null) ?? giveUp();
  nfq.nfnl_rcvbufsiz(nfq.nfq_nfnlh(handle), bufferBytes);
  if (nfq.nfq_set_queue_maxlen(queue, length) < 0) giveUp();
  // Last, since packets are delivered from here on.
  if (nfq.nfq_set_mode(queue, NFQNL_COPY_PACKET, COPY_RANGE) < 0) giveUp();

  const counters = countersOf(libc, number);
  let open = true;
  return {
    fd,
    next: readerOf(libc, fd),
    settle(lastId, verdict) {
      const code = verdict === "drop" ? NF_DROP : NF_ACCEPT;
      if (nfq.nfq_set_verdict_batch(queue, lastId, code) < 0) throw libc.errors.last();
    },
    counters: counters.read,
    lendTo(start) {
      setInherited(fd, true);
      try {
        return start();
      } finally {
        setInherited(fd, false);
      }
    },
    close() {
      if (!open) return;
      open = false;
      counters.close();
      nfq.nfq_destroy_queue(queue);
      nfq.nfq_close(handle);
    },
  };
}

/** The reading end of a queue that another process has opened, by the descriptor it was lent. */
export function readPacketQueue(fd: number): QueueReader {
  const libc = loadLibc();
  loadSetInherited()(fd, false);
  return { fd, next: readerOf(libc, fd), close: () => void libc.close(fd) };
}

function readerOf(libc: Libc, fd: number): QueueReader["next"] {
  const message = new Uint8Array(MESSAGE_BYTES);
  return () => {
    const count = Number(libc.recv(fd, message, BigInt(message.length), MSG_DONTWAIT));
    if (count >= 0) return message.slice(0, count);
    const error = libc.errors.last();
    if (error.errno === EAGAIN || error.errno === EINTR) return null;
    if (error.errno === ENOBUFS) return "overrun";
    throw error;
  };
}

/** The counters of a queue; when they are closed, those of the last time. */
function countersOf(
  libc: Libc,
  number: number,
): { read(): QueueCounters | null; close(): void } {
  const path = new TextEncoder().encode(`${COUNTERS_FILE}\0`);
  const fd = libc.open(path, O_RDONLY_CLOEXEC, 0);
  let open = fd >= 0;
  let last: QueueCounters | null = null;

  function read(): QueueCounters | null {
    if (!open) return last;
    const text = new Uint8Array(COUNTERS_BYTES);
    const count = Number(libc.pread(fd, text, BigInt(text.length), 0n));
    if (count > 0) {
      last = parseCounters(new TextDecoder().decode(text.subarray(0, count)), number) ?? last;
    }
    return last;
  }

  return {
    read,
    close() {
      read();
      if (open) libc.close(fd);
      open = false;
    },
  };
}

/**
 * Reads a queue's line: number, port, waiting, mode, range, dropped for a full queue, dropped for
 * full memory, last id.
 */
function parseCounters(text: string, queue: number): QueueCounters | null {
  for (const line of text.split("\n")) {
    const fields = line.trim().split(/ +/).map(Number);
    const [number, , , , , queueDropped, userDropped, lastId] = fields;
    if (number !== queue || lastId === undefined) continue;
    const dropped = (queueDropped ?? 0) + (userDropped ?? 0);
    return { received: lastId + (queueDropped ?? 0), dropped };
  }
  return null;
}

function load(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  try {
    return Deno.dlopen("libnetfilter_queue.so.1", SYMBOLS).symbols;
  } catch {
    throw new QueueMissingError("libnetfilter_queue is not installed");
  }
}

type Libc = Deno.DynamicLibrary<typeof LIBC_SYMBOLS>["symbols"] & {
  readonly errors: SystemErrors;
};

function loadLibc(): Libc {
  return { ...Deno.dlopen("libc.so.6", LIBC_SYMBOLS).symbols, errors: loadErrors() };
}
