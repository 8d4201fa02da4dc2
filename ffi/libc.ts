// The C library: what the server needs of Linux that Deno does not offer.
// Struct layouts are those of 64-bit Linux (x86-64 and aarch64 share them).

import { loadMemory } from "./libc_memory.ts";

const SYMBOLS = {
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  setsid: { parameters: [], result: "i32" },
  newlocale: { parameters: ["i32", "buffer", "pointer"], result: "pointer" },
  freelocale: { parameters: ["pointer"], result: "void" },
  malloc_trim: { parameters: ["usize"], result: "i32" },
  openlog: { parameters: ["buffer", "i32", "i32"], result: "void" },
  syslog: { parameters: ["i32", "buffer", "buffer"], result: "void" },
} as const;

/** A function of the C library failed; the message is the system's own: "Address already in use". */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** The number that errno held. */
  readonly errno: number;

  constructor(message: string, errno: number) {
    super(message);
    this.errno = errno;
  }
}

/** One lock of a file, as `fcntl(2)` tells it. */
export interface FileLock {
  /** The process that holds a conflicting lock, or null when there is none. */
  readonly holder: number | null;
}

/** A datagram as the kernel delivered it to a bound socket. */
export interface ReceivedDatagram {
  /** Source and destination, 4 bytes each for IPv4 and 16 for IPv6, network order. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly payload: Uint8Array;
}

/** Called when something is to be read, or when the wait was woken. */
export interface Waiter {
  /** Resolves true when `fd` is readable or has an error, false once `wake` was called. Idle, it uses no CPU. */
  wait(): Promise<boolean>;
  /** Ends the present and every later wait. */
  wake(): void;
  close(): void;
}

/** The functions the server uses. Each throws {@linkcode SystemError} when the system refuses. */
export interface Libc {
  waiterFor(fd: number): Waiter;
  /** A UDP socket bound to all addresses that tells each datagram's destination. */
  openUdpSocket(port: number, receiveBufferBytes: number): number;
  /** Datagrams that a socket lost since its buffer was full; null where the kernel does not tell. */
  droppedDatagrams(fd: number): number | null;
  /** One waiting datagram, or null when none waits. Longer payloads than `limit` bytes are cut to it plus one. */
  receiveDatagram(fd: number, limit: number): ReceivedDatagram | null;
  /** The number of a network interface, new each time one is made; null when there is none of the name. */
  interfaceIndex(name: string): number | null;
  /** A socket that is readable whenever an interface comes, goes or changes; see rtnetlink(7). */
  openLinkMonitor(): number;
  /** Throws away what waits on a socket. */
  discardMessages(fd: number): void;
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

const POLLIN = 0x0001;
const EFD_CLOEXEC_NONBLOCK = 0o2004000;
const O_RDWR_CREAT_CLOEXEC = 0o2 | 0o100 | 0o2000000;
const O_RDONLY_CLOEXEC = 0o2000000;
const F_GETLK = 5;
const F_SETLK = 6;
const F_WRLCK = 1;
const F_UNLCK = 2;
const AF_INET = 2;
const AF_INET6 = 10;
const SIOCGIFINDEX = 0x8933n;
/** Longer datagrams than UDP can have are not asked for. */
const LONGEST_PAYLOAD = 0xffff;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const RTMGRP_LINK = 1;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const IPPROTO_IP = 0;
const IP_PKTINFO = 8;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const SO_MEMINFO = 55;
const MSG_DONTWAIT = 0x40;
const EINTR = 4;
const EAGAIN = 11;
const EACCES = 13;
const ENOBUFS = 105;
const CLOCK_BOOTTIME = 7;
const LC_ALL_MASK = 0x1fbf;
const LOG_PID = 1;
const LOG_NDELAY = 8;

/** Loads the C library. */
export function loadLibc(): Libc {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const memory = loadMemory();
  const encoder = new TextEncoder();

  // errno is per thread and stays until the next failing call: read it first thing.
  function lastError(): SystemError {
    const errno = memory.errno();
    return new SystemError(memory.errorText(errno), errno);
  }

  function checked(result: number): number {
    if (result < 0) throw lastError();
    return result;
  }

  function cString(text: string): Uint8Array<ArrayBuffer> {
    return encoder.encode(`${text}\0`);
  }

  function waiterFor(fd: number): Waiter {
    const wakeFd = checked(c.eventfd(0, EFD_CLOEXEC_NONBLOCK));
    // struct pollfd[2]: fd i32, events i16, revents i16
    const pollFds = new Uint8Array(16);
    const view = new DataView(pollFds.buffer);
    let woken = false;
    let closed = false;
    return {
      async wait(): Promise<boolean> {
        while (!woken) {
          view.setInt32(0, fd, true);
          view.setInt32(4, POLLIN, true);
          view.setInt32(8, wakeFd, true);
          view.setInt32(12, POLLIN, true);
          // A negative result is EINTR (a signal); errno belongs to another thread here.
          if (await c.poll(pollFds, 2n, -1) > 0 && view.getInt16(6, true) !== 0) break;
        }
        return !woken;
      },
      wake(): void {
        if (woken) return;
        woken = true;
        c.write(wakeFd, new Uint8Array(new BigUint64Array([1n]).buffer), 8n);
      },
      close(): void {
        if (!closed) c.close(wakeFd);
        closed = true;
      },
    };
  }

  function setIntegerOption(fd: number, level: number, option: number, value: number): boolean {
    return c.setsockopt(fd, level, option, new Int32Array([value]), 4) === 0;
  }

  function openUdpSocket(port: number, receiveBufferBytes: number): number {
    const both = c.socket(AF_INET6, SOCK_DGRAM_CLOEXEC, 0);
    const hasIpv6 = both >= 0;
    // A kernel may be without IPv6.
    const fd = hasIpv6 ? both : checked(c.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
    setIntegerOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes) ||
      setIntegerOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes);
    if (hasIpv6) {
      setIntegerOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
      setIntegerOption(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else setIntegerOption(fd, IPPROTO_IP, IP_PKTINFO, 1);
    // struct sockaddr_in6 or struct sockaddr_in, whose addresses are zero for all of them
    const address = new Uint8Array(hasIpv6 ? 28 : 16);
    const view = new DataView(address.buffer);
    view.setUint16(0, hasIpv6 ? AF_INET6 : AF_INET, true);
    view.setUint16(2, port, false);
    if (c.bind(fd, address, address.length) < 0) {
      const error = lastError();
      c.close(fd);
      throw error;
    }
    prepareHeader();
    return fd;
  }

  function droppedDatagrams(fd: number): number | null {
    // SK_MEMINFO_DROPS is the last of SK_MEMINFO_VARS numbers.
    const numbers = new Uint32Array(9);
    const length = new Uint32Array([numbers.byteLength]);
    if (c.getsockopt(fd, SOL_SOCKET, SO_MEMINFO, numbers, length) < 0) return null;
    return numbers[8] ?? null;
  }

  function openLinkMonitor(): number {
    const fd = checked(c.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE));
    const address = new Uint8Array(12); // struct sockaddr_nl { family u16, pad u16, pid u32, groups u32 }
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_NETLINK, true);
    view.setUint32(8, RTMGRP_LINK, true);
    if (c.bind(fd, address, address.length) < 0) {
      const error = lastError();
      c.close(fd);
      throw error;
    }
    return fd;
  }

  function discardMessages(fd: number): void {
    const rest = new Uint8Array(1);
    for (;;) {
      if (c.recv(fd, rest, 1n, MSG_DONTWAIT) >= 0n) continue;
      // An overrun (ENOBUFS) is told once and says what a message says: something changed.
      const { errno } = lastError();
      if (errno !== ENOBUFS && errno !== EINTR) return;
    }
  }

  // struct msghdr { name, namelen, iov, iovlen, control, controllen, flags }, reused by every call
  const name = new Uint8Array(28);
  const control = new Uint8Array(64);
  const data = new Uint8Array(LONGEST_PAYLOAD + 1);
  const iovec = new BigUint64Array(2);
  const header = new Uint8Array(56);
  const headerView = new DataView(header.buffer);

  function addressOf(buffer: Uint8Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): bigint {
    return Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
  }

  /** Whoever receives may have given up the permission to ask for addresses. */
  function prepareHeader(): void {
    iovec[0] = addressOf(data);
    headerView.setBigUint64(0, addressOf(name), true);
    headerView.setBigUint64(16, addressOf(iovec), true);
    headerView.setBigUint64(24, 1n, true);
    headerView.setBigUint64(32, addressOf(control), true);
  }

  function receiveDatagram(fd: number, limit: number): ReceivedDatagram | null {
    iovec[1] = BigInt(Math.min(limit, LONGEST_PAYLOAD) + 1);
    headerView.setUint32(8, name.length, true);
    headerView.setBigUint64(40, BigInt(control.length), true);
    const length = Number(c.recvmsg(fd, header, MSG_DONTWAIT));
    if (length < 0) {
      const error = lastError();
      if (error.errno === EAGAIN || error.errno === EINTR) return null;
      throw error;
    }
    return {
      source: socketAddress(name),
      sourcePort: name[2]! << 8 | name[3]!,
      destination: packetInfoDestination(control, Number(headerView.getBigUint64(40, true))),
      payload: data.slice(0, length),
    };
  }

  let requestSocket: number | null = null;

  function interfaceIndex(name: string): number | null {
    // struct ifreq { char name[16]; int index; ... }
    const request = new Uint8Array(40);
    const bytes = encoder.encode(name);
    if (bytes.length >= 16) return null;
    request.set(bytes);
    // Kept open: the sentry may not open another.
    requestSocket ??= checked(c.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
    if (c.ioctl(requestSocket, SIOCGIFINDEX, request) !== 0) return null;
    return new DataView(request.buffer).getInt32(16, true);
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
    waiterFor,
    openUdpSocket,
    droppedDatagrams,
    receiveDatagram,
    interfaceIndex,
    openLinkMonitor,
    discardMessages,
    openFile: (path, mode) => checked(c.open(cString(path), O_RDWR_CREAT_CLOEXEC, mode)),
    openFileReadOnly: (path) => checked(c.open(cString(path), O_RDONLY_CLOEXEC, 0)),
    lockFile(fd) {
      if (c.fcntl(fd, F_SETLK, lockRequest(F_WRLCK)) === 0) return true;
      const error = lastError();
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

/** The address in a struct sockaddr_in { family, port, addr } or sockaddr_in6 { ..., flow, addr }. */
function socketAddress(name: Uint8Array<ArrayBuffer>): Uint8Array {
  const isIpv6 = new DataView(name.buffer).getUint16(0, true) === AF_INET6;
  return isIpv6 ? unmapped(name.slice(8, 24)) : name.slice(4, 8);
}

/**
 * The destination in the IP_PKTINFO or IPV6_PKTINFO control message: struct in_pktinfo { ifindex,
 * spec_dst, addr } or in6_pktinfo { addr, ifindex }.
 */
function packetInfoDestination(control: Uint8Array, length: number): Uint8Array {
  const view = new DataView(control.buffer);
  const is = (level: number, type: number): boolean =>
    view.getInt32(8, true) === level && view.getInt32(12, true) === type;
  if (length >= 28 && is(IPPROTO_IP, IP_PKTINFO)) return control.slice(24, 28);
  if (length >= 36 && is(IPPROTO_IPV6, IPV6_PKTINFO)) return unmapped(control.slice(16, 32));
  return new Uint8Array(4);
}

/** An IPv6 socket gives IPv4 addresses as ::ffff:0:0/96 (RFC 4291, section 2.5.5.2). */
function unmapped(address: Uint8Array): Uint8Array {
  const isMapped = address.every((byte, index) => index >= 12 || byte === (index < 10 ? 0 : 0xff));
  return isMapped ? address.slice(12) : address;
}
