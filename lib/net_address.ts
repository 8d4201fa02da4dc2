// IP addresses and the address lists of SOURCE and DESTINATION: text to values and back.
// Names are not resolved here.

import { failed, type Parsed, splitList } from "./net_list.ts";

/** IP version. */
export type IpVersion = 4 | 6;

/** An IPv4 or IPv6 address. */
export interface IpAddress {
  readonly version: IpVersion;
  /** The 32 or 128 bits as an unsigned number. */
  readonly value: bigint;
  /** Dotted decimal, or the form of RFC 5952. */
  readonly text: string;
}

/** Neighbouring addresses, both ends included. */
export interface AddressRange {
  readonly version: IpVersion;
  readonly first: bigint;
  readonly last: bigint;
}

/** The addresses a stanza is for. */
export interface AddressList {
  /** True when `ANY` is an item: every address of both versions. */
  readonly any: boolean;
  readonly ranges: readonly AddressRange[];
  /** The list as it was written. */
  readonly text: string;
}

const BITS: Readonly<Record<IpVersion, number>> = { 4: 32, 6: 128 };

/**
 * Reads four decimal parts of 0 to 255 without leading zeros; null for any other text.
 * The octal, hexadecimal and shortened forms of inet_aton(3) are not addresses here.
 */
export function parseIpv4(text: string): IpAddress | null {
  if (!/^(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){3}$/.test(text)) return null;
  let value = 0;
  for (const part of text.split(".")) {
    const number = Number(part);
    if (number > 255) return null;
    value = value * 256 + number;
  }
  return { version: 4, value: BigInt(value), text };
}

/** Reads the text forms of RFC 4291 section 2.2, without a zone; null for any other text. */
export function parseIpv6(text: string): IpAddress | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const front = parseGroups(halves[0] ?? "", halves.length === 1);
  const back = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (front === null || back === null) return null;
  const missing = 8 - front.length - back.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const groups = [...front, ...new Array<number>(missing).fill(0), ...back];
  return ipFromValue(6, groups.reduce((sum, group) => sum << 16n | BigInt(group), 0n));
}

/** Reads an address of either version; null for any other text. */
export function parseIp(text: string): IpAddress | null {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/**
 * The address with these bits.
 *
 * @param value below 2^32 or 2^128
 */
export function ipFromValue(version: IpVersion, value: bigint): IpAddress {
  return { version, value, text: version === 4 ? formatIpv4(value) : formatIpv6(value) };
}

/** The address in 4 or 16 bytes of network order; null for any other number of bytes. */
export function ipFromBytes(bytes: Uint8Array): IpAddress | null {
  if (bytes.length === 4) {
    const [a = 0, b = 0, c = 0, d = 0] = bytes;
    const value = BigInt(((a << 24) | (b << 16) | (c << 8) | d) >>> 0);
    return { version: 4, value, text: `${a}.${b}.${c}.${d}` };
  }
  if (bytes.length !== 16) return null;
  return ipFromValue(6, bytes.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n));
}

/**
 * Reads a list such as `192.0.2.1, 198.51.100.0/24, 203.0.113.0/255.255.255.0, 2001:db8::/32`
 * or `ANY` (any case). Bits behind the mask are ignored; a mask of no bits is refused, since
 * `ANY` says that.
 */
export function parseAddressList(text: string): Parsed<AddressList> {
  const ranges: AddressRange[] = [];
  let any = false;
  for (const { text: item, offset } of splitList(text)) {
    if (item.toUpperCase() === "ANY") {
      any = true;
      continue;
    }
    const range = parseRange(item, offset);
    if (!range.ok) return range;
    ranges.push(range.value);
  }
  return { ok: true, value: { any, ranges, text } };
}

/** Whether the address is in the list. */
export function addressListHas(list: AddressList, address: IpAddress): boolean {
  if (list.any) return true;
  const { version, value } = address;
  return list.ranges.some((range) =>
    range.version === version && range.first <= value && value <= range.last
  );
}

/** Groups of up to four hexadecimal digits; the last two may be an IPv4 address if allowed. */
function parseGroups(text: string, ipv4Last: boolean): number[] | null {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (/^[0-9A-Fa-f]{1,4}$/.test(part)) {
      groups.push(parseInt(part, 16));
      continue;
    }
    const ipv4 = ipv4Last && index === parts.length - 1 ? parseIpv4(part) : null;
    if (ipv4 === null) return null;
    groups.push(Number(ipv4.value >> 16n), Number(ipv4.value & 0xffffn));
  }
  return groups;
}

function formatIpv4(value: bigint): string {
  const number = Number(value);
  return [number >>> 24, number >>> 16 & 255, number >>> 8 & 255, number & 255].join(".");
}

/** RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) cut. */
function formatIpv6(value: bigint): string {
  if (value >> 32n === 0xffffn) return `::ffff:${formatIpv4(value & 0xffffffffn)}`;
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) {
    groups.push((value >> shift & 0xffffn).toString(16));
  }
  let start = 0;
  let length = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (groups[to] === "0") to++;
    if (to - from > length) [start, length] = [from, to - from];
  }
  if (length === 1) return groups.join(":");
  return `${groups.slice(0, start).join(":")}::${groups.slice(start + length).join(":")}`;
}

function parseRange(item: string, offset: number): Parsed<AddressRange> {
  const slash = item.indexOf("/");
  const name = (slash < 0 ? item : item.slice(0, slash)).trim();
  if (name === "") {
    return failed(
      offset,
      item,
      "Error parsing string to IP: an address is missing",
      "write ANY, an address or address/prefix, with one comma between two items",
    );
  }
  const address = parseIp(name);
  if (address === null) {
    const why = `Fatal error parsing IP to int for: ${name}`;
    return failed(offset, name, why, addressHint(name));
  }
  const { version, value } = address;
  if (slash < 0) return { ok: true, value: { version, first: value, last: value } };
  const rest = item.slice(slash + 1);
  const mask = rest.trim();
  const maskOffset = offset + slash + 1 + rest.length - rest.trimStart().length;
  const length = parseMask(mask, version, maskOffset);
  if (!length.ok) return length;
  const hostBits = BigInt(BITS[version] - length.value);
  const first = value >> hostBits << hostBits;
  const last = first + (1n << hostBits) - 1n;
  return { ok: true, value: { version, first, last } };
}

function addressHint(name: string): string {
  if (name.startsWith("!")) return "exclusion with ! is not supported: list what is allowed";
  if (/[g-z]/i.test(name)) return "host names are not supported here: write ANY or an IP address";
  return "write ANY, an IPv4 address of four decimal parts without leading zeros, " +
    "or an IPv6 address";
}

/** The prefix length that a mask of digits or of dotted form stands for. */
function parseMask(mask: string, version: IpVersion, offset: number): Parsed<number> {
  const bits = BITS[version];
  if (mask === "") return failed(offset, mask, "Missing mask value", `write /1 to /${bits}`);
  if (version === 4 && mask.includes(".")) return parseDottedMask(mask, offset);
  const length = /^\d{1,3}$/.test(mask) ? Number(mask) : 0;
  if (length >= 1 && length <= bits) return { ok: true, value: length };
  const hint = /^0+$/.test(mask) ? "write ANY to mean every address" : `write /1 to /${bits}`;
  return failed(offset, mask, `Invalid IP mask str '${mask}'`, hint);
}

function parseDottedMask(mask: string, offset: number): Parsed<number> {
  const address = parseIpv4(mask);
  const why = `Fatal error parsing IP mask to int for: ${mask}`;
  if (address === null) {
    return failed(offset, mask, why, "write /1 to /32 or a mask such as 255.255.255.0");
  }
  const zeros = ~address.value & 0xffffffffn;
  if ((zeros & (zeros + 1n)) !== 0n) {
    return failed(offset, mask, `${why}: its bits are not contiguous`, "write /1 to /32");
  }
  if (address.value === 0n) {
    return failed(offset, mask, `Invalid IP mask str '${mask}'`, "write ANY to mean every address");
  }
  return { ok: true, value: 32 - zeros.toString(2).replace(/^0$/, "").length };
}
