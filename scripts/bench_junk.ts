// Floods a gateway with what is no knock, from a packet socket, so that sources can be forged.
// bench_junk INTERFACE GATEWAY_MAC FROM TO RATE COUNT REPLAY: sends COUNT packets, RATE a second, to
// UDP port 62201 of TO, in equal parts random bytes, packets with a wrong HMAC, and the packet
// REPLAY; half of each from FROM, half from anywhere. Prints when it begins and what it has sent.

import { readUint16 } from "../lib/net_bytes.ts";
import { parseIpv4 } from "../lib/net_address.ts";

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  if_nametoindex: { parameters: ["buffer"], result: "u32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  sendmmsg: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
} as const;

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_IP = 0x0800;
const SPA_PORT = 62201;
const PAYLOAD = 225;
const HEADERS = 14 + 20 + 8;
const SOURCE_OFFSET = 14 + 12;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const KINDS = 3;
const FRAMES = 1536;
const MOST_AT_ONCE = 256;
/** A sender that was kept waiting makes up for no more than this part of a second. */
const LONGEST_DELAY = 1 / 50;
const MESSAGE_BYTES = 64;
const VECTOR_BYTES = 16;

/** A frame that is sent again and again, a little different each time. */
interface Frame {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly kind: number;
  readonly forged: boolean;
}

function checksum(header: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += readUint16(header, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function makeFrame(
  addresses: { readonly macs: Uint8Array; readonly from: Uint8Array; readonly to: Uint8Array },
  number: number,
  replay: Uint8Array,
): Frame {
  const kind = number % KINDS;
  const payload = kind === 0
    ? crypto.getRandomValues(new Uint8Array(PAYLOAD))
    : kind === 1
    ? new TextEncoder().encode("8".padEnd(PAYLOAD, ALPHABET))
    : replay;
  const bytes = new Uint8Array(HEADERS + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set(addresses.macs);
  view.setUint16(12, ETH_P_IP);
  view.setUint16(14, 0x4500);
  view.setUint16(16, bytes.length - 14);
  view.setUint16(22, 0x4011); // time to live 64, UDP
  bytes.set(addresses.from, SOURCE_OFFSET);
  bytes.set(addresses.to, SOURCE_OFFSET + 4);
  view.setUint16(34, 40_000 + number % 1000);
  view.setUint16(36, SPA_PORT);
  view.setUint16(38, bytes.length - 34); // UDP over IPv4 needs no checksum
  bytes.set(payload, HEADERS);
  return { bytes, kind, forged: Math.floor(number / KINDS) % 2 === 1 };
}

/** Makes another packet of a frame: nothing that is sent is like what was sent before. */
function alter({ bytes, kind, forged }: Frame): void {
  const view = new DataView(bytes.buffer);
  const random = Math.random() * 0x1_0000_0000 >>> 0;
  // Neither 0.x nor multicast, of which a gateway would see nothing.
  if (forged) view.setUint32(SOURCE_OFFSET, random % 0xdf00_0000 + 0x0100_0000);
  if (kind === 0) view.setUint32(HEADERS + random % (PAYLOAD - 4), random);
  if (kind === 1) {
    for (let digit = 0; digit < 5; digit++) {
      const at = HEADERS + 20 + digit * 8 + random % 8;
      bytes[at] = ALPHABET.charCodeAt(random >>> digit * 6 & 63);
    }
  }
  view.setUint16(24, 0);
  view.setUint16(24, checksum(bytes.subarray(14, 34)));
}

/** struct mmsghdr for each frame, and behind them the struct iovec that each points to. */
function messagesFor(frames: readonly Frame[]): Uint8Array<ArrayBuffer> {
  const messages = new Uint8Array(frames.length * (MESSAGE_BYTES + VECTOR_BYTES));
  const view = new DataView(messages.buffer);
  const address = (bytes: Uint8Array<ArrayBuffer>): bigint =>
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
  for (const [number, { bytes }] of frames.entries()) {
    const message = number * MESSAGE_BYTES;
    const vector = frames.length * MESSAGE_BYTES + number * VECTOR_BYTES;
    view.setBigUint64(message + 16, address(messages) + BigInt(vector), true);
    view.setBigUint64(message + 24, 1n, true);
    view.setBigUint64(vector, address(bytes), true);
    view.setBigUint64(vector + 8, BigInt(bytes.length), true);
  }
  return messages;
}

function openPacketSocket(
  c: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"],
  interfaceName: string,
): number {
  const fd = c.socket(AF_PACKET, SOCK_RAW, 0);
  const address = new Uint8Array(20); // struct sockaddr_ll { family, protocol, ifindex, ... }
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setInt32(4, c.if_nametoindex(new TextEncoder().encode(`${interfaceName}\0`)), true);
  if (fd < 0 || c.bind(fd, address, address.length) < 0) {
    throw new Error(`cannot send on ${interfaceName}`);
  }
  return fd;
}

function addressBytes(text: string): Uint8Array {
  const { value } = parseIpv4(text) ?? { value: 0n };
  return Uint8Array.of(...[24n, 16n, 8n, 0n].map((shift) => Number(value >> shift & 255n)));
}

if (import.meta.main) {
  const [name = "", mac = "", from = "", to = "", rate = "1", count = "0", replay = ""] = Deno.args;
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const fd = openPacketSocket(c, name);
  const own = Deno.readTextFileSync(`/sys/class/net/${name}/address`).trim();
  const macs = Uint8Array.from(`${mac}:${own}`.split(":"), (byte) => parseInt(byte, 16));
  const addresses = { macs, from: addressBytes(from), to: addressBytes(to) };
  const wire = new TextEncoder().encode(replay);
  const frames = Array.from({ length: FRAMES }, (_, number) => makeFrame(addresses, number, wire));
  const messages = messagesFor(frames);
  let ending = false;
  Deno.addSignalListener("SIGTERM", () => void (ending = true));

  console.log("begins");
  const start = performance.now();
  let sent = 0;
  let missed = 0;
  for (let turn = 0; sent < Number(count) && !ending;) {
    const late = (performance.now() - start) / 1000 * Number(rate) - missed - sent;
    missed += Math.max(0, late - Number(rate) * LONGEST_DELAY);
    const due = Math.min(Number(count), sent + Math.min(late, Number(rate) * LONGEST_DELAY));
    while (sent < due) {
      const first = turn % FRAMES;
      const most = Math.min(FRAMES - first, MOST_AT_ONCE, Math.ceil(due - sent));
      for (const frame of frames.slice(first, first + most)) alter(frame);
      // An interface that is down takes none; what was due is then lost, as with a real flood.
      c.sendmmsg(fd, messages.subarray(first * MESSAGE_BYTES), most, 0);
      sent += most;
      turn += most;
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  console.log(`sent ${sent} in ${Math.round(performance.now() - start)} ms`);
  Deno.exit(0);
}
