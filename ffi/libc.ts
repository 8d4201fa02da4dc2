// The C library: what the server needs of Linux that Deno does not offer. Here are files with locks,
// clock, session and system log; libc_udp.ts, libc_link.ts and libc_wait.ts have the rest.
// Struct layouts are those of 64-bit Linux (x86-64 and aarch64 share them).

import { EACCES, EAGAIN, loadErrors } from "./libc_error.ts";
import { type LinkCalls, loadLinkCalls } from "./libc_link.ts";
import { loadUdpCalls, type UdpCalls } from "./libc_udp.ts";
import { loadWaiters, type Waiter } from "./libc_wait.ts";

const SYMBOLS = {
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  setsid: { parameters: [], result: "i32" },
  newlocale: { parameters: ["i32", "buffer", "pointer"], result: "pointer" },
  freelocale: { parameters: ["pointer"], result: "void" },
  malloc_trim: { parameters: ["usize"], result: "i32" },
  openlog: { parameters: ["buffer", "i32", "i32"], result: "void" },
  syslog: { parameters: ["i32", "buffer", "buffer"], result: "void" },
} as const;

/** One lock of a file, as `fcntl(2)` tells it. */
export interface FileLock {
  /** The process that holds a conflicting lock, or null when there is none. */
  readonly holder: number | null;
}

/** The functions the server uses. Each throws {@linkcode SystemError} when the system refuses. */
export interface Libc extends UdpCalls, LinkCalls {
  waiterFor(fd: number): Waiter;
  /** Opens or creates a file for reading and writing, close-on-exec; existing content and mode stay. */
  openFile(path: string, mode: number): number;
  /** Opens an existing file read-only, close-on-exec. */
  openFileReadOnly(path: string): number;
  /** Takes a whole-file write lock; false when another process has one. */
  lockFile(fd: number): boolean;
  /** Who holds a write lock on the file. */
  queryLock(fd: number): FileLock;
  /** Replaces the file's content. */
  rewriteFile(fd: number, text: string): void;
  closeFile(fd: number): void;
  /** Milliseconds since the boot, those asleep included; see clock_gettime(2) on CLOCK_BOOTTIME. */
  sinceBoot(): number;
  /** Makes this process the leader of a new session, without a terminal. */
  newSession(): void;
  /** Points standard input, output and error at /dev/null. */
  silenceStandardStreams(): void;
  /** Whether the system has this locale, for all of locale(7)'s categories. */
  hasLocale(name: string): boolean;
  /** Opens the connection to the system logger; see syslog(3). */
  openSystemLog(identity: string, facility: number): void;
  /** Sends one line to the system logger. */
  writeSystemLog(priority: number, text: string): void;
  /** Gives memory that was freed back to the system; see malloc_trim(3). */
  trimMemory(): void;
}

const O_RDWR_CREAT_CLOEXEC = 0o2 | 0o100 | 0o2000000;
const O_RDONLY_CLOEXEC = 0o2000000;
const F_GETLK = 5;
const F_SETLK = 6;
const F_WRLCK = 1;
const F_UNLCK = 2;
const CLOCK_BOOTTIME = 7;
const LC_ALL_MASK = 0x1fbf;
const LOG_PID = 1;
const LOG_NDELAY = 8;

/** Loads the C library. */
export function loadLibc(): Libc {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const errors = loadErrors();
  const { checked } = errors;
  const encoder = new TextEncoder();

  function cString(text: string): Uint8Array<ArrayBuffer> {
    return encoder.encode(`${text}\0`);
  }

  function lockRequest(type: number): Uint8Array<ArrayBuffer> {
    const lock = new Uint8Array(32); // struct flock: type i16, whence i16, start i64, len i64, pid i32
    new DataView(lock.buffer).setInt16(0, type, true);
    return lock;
  }

  // openlog(3) keeps the pointer it is given, so the text must outlive the call.
  let identityText: Uint8Array<ArrayBuffer> = new Uint8Array(1);
  const textFormat = cString("%s");

  return {
    ...loadUdpCalls(errors),
    ...loadLinkCalls(errors),
    waiterFor: loadWaiters(errors),
    openFile: (path, mode) => checked(c.open(cString(path), O_RDWR_CREAT_CLOEXEC, mode)),
    openFileReadOnly: (path) => checked(c.open(cString(path), O_RDONLY_CLOEXEC, 0)),
    lockFile(fd) {
      if (c.fcntl(fd, F_SETLK, lockRequest(F_WRLCK)) === 0) return true;
      const error = errors.last();
      if (error.errno === EAGAIN || error.errno === EACCES) return false;
      throw error;
    },
    queryLock(fd) {
      const lock = lockRequest(F_WRLCK);
      checked(c.fcntl(fd, F_GETLK, lock));
      const view = new DataView(lock.buffer);
      return { holder: view.getInt16(0, true) === F_UNLCK ? null : view.getInt32(24, true) };
    },
    rewriteFile(fd, text) {
      checked(c.ftruncate(fd, 0n));
      const bytes = encoder.encode(text);
      checked(Number(c.write(fd, bytes, BigInt(bytes.length))));
    },
    closeFile: (fd) => void c.close(fd),
    sinceBoot() {
      const time = new BigInt64Array(2); // struct timespec
      checked(c.clock_gettime(CLOCK_BOOTTIME, new Uint8Array(time.buffer)));
      return Number(time[0]) * 1000 + Number(time[1]) / 1_000_000;
    },
    newSession: () => void checked(c.setsid()),
    silenceStandardStreams() {
      const fd = checked(c.open(cString("/dev/null"), O_RDWR_CREAT_CLOEXEC, 0));
      for (const stream of [0, 1, 2]) checked(c.dup2(fd, stream));
      c.close(fd);
    },
    hasLocale(name) {
      const locale = c.newlocale(LC_ALL_MASK, cString(name), null);
      if (locale !== null) c.freelocale(locale);
      return locale !== null;
    },
    openSystemLog(identity, facility) {
      identityText = cString(identity);
      c.openlog(identityText, LOG_PID | LOG_NDELAY, facility);
    },
    trimMemory: () => void c.malloc_trim(0n),
    writeSystemLog: (priority, text) => c.syslog(priority, textFormat, cString(text)),
  };
}
