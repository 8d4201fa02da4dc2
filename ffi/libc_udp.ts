// A UDP socket bound to all addresses, which tells where each datagram was sent to.

import { EAGAIN, EINTR, type SystemErrors } from "./libc_error.ts";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
const IPPROTO_IP = 0;
const IP_PKTINFO = 8;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const MSG_DONTWAIT = 0x40;
/** Longer datagrams than UDP can have are not asked for. */
const LONGEST_PAYLOAD = 0xffff;

/** A datagram as the kernel delivered it to a bound socket. */
export interface ReceivedDatagram {
  /** Source and destination, 4 bytes each for IPv4 and 16 for IPv6, network order. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sourcePort: number;
  readonly payload: Uint8Array;
}

/** What a UDP server needs. Each throws {@linkcode SystemError} when the system refuses. */
export interface UdpCalls {
  /** A UDP socket bound to all addresses that tells each datagram's destination. */
  openUdpSocket(port: number, receiveBufferBytes: number): number;
  /** Datagrams that a socket lost since its buffer was full; null where the kernel does not tell. */
  droppedDatagrams(fd: number): number | null;
  /** One waiting datagram, or null when none waits. Longer payloads than `limit` bytes are cut to it plus one. */
  receiveDatagram(fd: number, limit: number): ReceivedDatagram | null;
}

/** Loads the functions. */
export function loadUdpCalls({ checked, last }: SystemErrors): UdpCalls {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);

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
      const error = last();
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
      const error = last();
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

  return { openUdpSocket, droppedDatagrams, receiveDatagram };
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
