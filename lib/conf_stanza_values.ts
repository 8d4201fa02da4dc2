// Values that only access.conf has: keys, days, commands, NAT targets.

import type { NatTarget } from "./conf_stanza.ts";
import { parseWholeNumber } from "./conf_values.ts";
import { type IpAddress, parseIp, parseIpv4 } from "./net_address.ts";
import { failed, type Parsed } from "./net_list.ts";
import { decodeKeyBase64 } from "./spa_base64.ts";
import { fieldBytes } from "./spa_text.ts";

/** fwknop's largest number of seconds. */
const LONGEST_SECONDS = 8388608;
/** Bytes; fwknopd refuses commands from 256 on. */
const LONGEST_COMMAND = 255;
const HIGHEST_PORT = 65535;

/** Whether a key or passphrase is still what the shipped file holds. */
export function isPlaceholder(text: string): boolean {
  return text.toUpperCase() === "__CHANGEME__";
}

/**
 * The bytes of a key. Faults carry no part of the key.
 *
 * @param name the variable; the value of `…_BASE64` is decoded
 */
export function parseKey(name: string, text: string): Parsed<Uint8Array> {
  if (name.endsWith("_BASE64")) {
    const bytes = decodeKeyBase64(text);
    if (bytes === null) {
      const why = `${name} argument doesn't look like base64-encoded data`;
      return failed(0, "", why, "write it as --key-gen prints it");
    }
    if (bytes.length > 0) return { ok: true, value: bytes };
    return failed(0, "", `${name} stands for no bytes at all`, "write it as --key-gen prints it");
  }
  if (text.includes("\ufffd")) {
    return failed(0, "", `${name} is not UTF-8 text`, `write it as ${name}_BASE64`);
  }
  return { ok: true, value: fieldBytes(text) };
}

/**
 * Reads a number of seconds up to fwknop's limit of 8388608.
 *
 * @param outside what to say of a number outside the range
 */
export function parseSeconds(text: string, low: number, outside: string): Parsed<number> {
  return parseWholeNumber(text, low, LONGEST_SECONDS, outside);
}

/** Reads `MM/DD/YYYY` as the local midnight at which that day begins, in seconds since 1970 UTC. */
export function parseDay(text: string): Parsed<number> {
  const why = `invalid date value '${text}' (need MM/DD/YYYY) for access stanza expiration time`;
  const parts = /^(\d{1,2})\/(\d{1,2})\/(\d{1,4})$/.exec(text);
  const [month, day, written] = (parts ?? []).slice(1).map(Number);
  if (month !== undefined && day !== undefined && written !== undefined) {
    const year = written < 100 ? 2000 + written : written;
    const date = new Date(year, month - 1, day);
    const exists = date.getMonth() === month - 1 && date.getDate() === day && year > 1900;
    if (exists) return { ok: true, value: date.getTime() / 1000 };
  }
  return failed(0, text, why, "write a day that exists, such as 12/31/2030");
}

/** Reads seconds since 1970 UTC; fwknopd takes 0 as "never", and so does the caller. */
export function parseEpoch(text: string): Parsed<number> {
  const why = `invalid epoch seconds value '${text}' for access stanza expiration time`;
  return parseWholeNumber(text, 0, Infinity, why);
}

/** Reads a command up to fwknopd's limit. */
export function parseCommand(text: string, tooLong: string): Parsed<string> {
  if (fieldBytes(text).length <= LONGEST_COMMAND) return { ok: true, value: text };
  const hint = `write at most ${LONGEST_COMMAND} bytes, such as the name of a script`;
  return failed(0, text, tooLong, hint);
}

/** Reads the address of FORCE_SNAT. */
export function parseNatAddress(text: string, ipv6: boolean): Parsed<IpAddress> {
  const address = ipv6 ? parseIp(text) : parseIpv4(text);
  if (address !== null) return { ok: true, value: address };
  return failed(0, text, `invalid FORCE_SNAT IP '${text}'`, `write an ${kindOf(ipv6)}`);
}

function kindOf(ipv6: boolean): string {
  return ipv6 ? "IPv4 or IPv6 address" : "IPv4 address; IPv6 takes ENABLE_IP6TABLES Y";
}

/**
 * Reads the `ADDRESS PORT` of FORCE_NAT.
 *
 * @param ipv6 whether the firewall translates IPv6 addresses
 */
export function parseNatTarget(text: string, ipv6: boolean): Parsed<NatTarget> {
  const kind = ipv6 ? "an address" : "an IPv4 address";
  const hint = `write ${kind} and a port, such as 192.0.2.10 22`;
  const [host = "", number, ...rest] = text.split(/\s+/);
  if (number === undefined || rest.length > 0 || !/^-?\d+$/.test(number)) {
    return failed(0, text, `invalid FORCE_NAT arg '${text}', need <IP> <PORT>`, hint);
  }
  const port = Number(number);
  if (port < 0 || port > HIGHEST_PORT) {
    return failed(text.lastIndexOf(number), number, `invalid FORCE_NAT port '${number}'`, hint);
  }
  const address = ipv6 ? parseIp(host) : parseIpv4(host);
  if (address === null) return failed(0, host, `invalid FORCE_NAT IP '${host}'`, hint);
  return { ok: true, value: { address, port } };
}
