// What an SPA packet says: its fields, message types, and the rules and meaning of their contents.

import { parseIpv6 } from "./net_address.ts";
import type { Protocol, ProtocolPort } from "./net_port.ts";
import { type InvalidDataName, type SpaError, spaError } from "./spa_error.ts";
import { fieldBytes } from "./spa_text.ts";

/** 0 command, 1 access, 2 NAT, 5 local NAT; 3, 4 and 6 are 1, 2 and 5 with a client timeout. */
export type MessageType = 0 | 1 | 2 | 3 | 4 | 5 | 6;

/** The content of a packet, before encoding and after decoding. */
export interface SpaFields {
  /** 16 decimal digits. */
  readonly randomValue: string;
  /** 1 to 63 bytes; receivers take at most 48. */
  readonly username: string;
  /** Seconds since 1970 UTC; receivers take at most 2^31 - 1. */
  readonly timestamp: number;
  /** The protocol's version, 1 to 8 characters; see {@linkcode PROTOCOL_VERSION}. */
  readonly version: string;
  readonly messageType: MessageType;
  /** `IP,COMMAND` or `IP,proto/port[,proto/port...]`; odd bytes as `fieldText` writes them. */
  readonly message: string;
  /** `HOST,PORT`; null when there is none. */
  readonly natAccess: string | null;
  /** Nothing that fwknop uses; null when there is none. */
  readonly serverAuth: string | null;
  /** Seconds of access that the client asks for, at most 65536; 0 leaves it to the server. */
  readonly clientTimeout: number;
}

/** What goes beyond fwknop's protocol. Nothing does unless it is asked for. */
export interface Extensions {
  /**
   * IPv6 addresses in messages, in the one form that RFC 5952 recommends; those that stand for
   * IPv4 (`::ffff:192.0.2.1`) are not among them. fwknop refuses such packets.
   */
  readonly ipv6?: boolean;
  /** Symmetric packets whose text has 400 characters and more, which fwknop takes for GnuPG's. */
  readonly long?: boolean;
}

/** The version that packets carry; receivers do not compare it. */
export const PROTOCOL_VERSION = "3.0.0";

/** The longest client timeout that receivers take, in seconds. */
export const MAX_CLIENT_TIMEOUT = 65536;

const MAX_USERNAME_BYTES = 63;
const MAX_MESSAGE_BYTES = 255;
const MAX_NAT_ACCESS_BYTES = 127;
const MAX_NAT_HOST_BYTES = 70;
const MAX_SERVER_AUTH_BYTES = 63;

const TYPE_NAMES: Readonly<Record<MessageType, string>> = {
  0: "Command msg",
  1: "Access msg",
  2: "NAT access msg",
  3: "Client timeout access msg",
  4: "Client timeout NAT access msg",
  5: "Local NAT access msg",
  6: "Client timeout local NAT access msg",
};

/** The name of a message type, as field dumps print it. */
export function messageTypeName(type: MessageType): string {
  return TYPE_NAMES[type];
}

/** Whether a message type carries NAT access. */
export function hasNatAccess(type: MessageType): boolean {
  return type === 2 || type === 4 || type === 5 || type === 6;
}

/** Whether a message type carries a client timeout. */
export function hasClientTimeout(type: MessageType): boolean {
  return type === 3 || type === 4 || type === 6;
}

/** The type that is sent: the one of the pair with or without timeout that the timeout asks for. */
export function messageTypeFor(type: MessageType, clientTimeout: number): MessageType {
  const pairs: readonly (readonly [MessageType, MessageType])[] = [[1, 3], [2, 4], [5, 6]];
  const pair = pairs.find((types) => types.includes(type));
  if (pair === undefined) return type;
  return clientTimeout > 0 ? pair[1] : pair[0];
}

/** An access request, taken apart. */
export interface AccessRequest {
  /**
   * IPv4 address that wants access, or IPv6 with that extension; `0.0.0.0` stands for the packet's
   * own source.
   */
  readonly address: string;
  /** At least one. */
  readonly ports: readonly ProtocolPort[];
}

/** A command request, taken apart. */
export interface CommandRequest {
  /** As in an access request. */
  readonly address: string;
  /** At least one character. */
  readonly command: string;
}

/** Where NAT leads, taken apart. */
export interface NatTarget {
  /** IPv4 address or host name. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/**
 * Reads the message of types 1 to 6.
 *
 * @returns null for anything that is no access request, and for an address with a leading zero in
 * a part: it may stand in a packet, but some programs read it as octal and others as decimal
 */
export function parseAccessMessage(
  message: string,
  extensions: Extensions = {},
): AccessRequest | null {
  const [address, list] = splitOnce(message);
  const ports = list === null ? null : parsePortList(list);
  return isPlainAddress(address, extensions) && ports !== null ? { address, ports } : null;
}

/** Reads the message of type 0; null as {@linkcode parseAccessMessage} does. */
export function parseCommandMessage(
  message: string,
  extensions: Extensions = {},
): CommandRequest | null {
  const [address, command] = splitOnce(message);
  return isPlainAddress(address, extensions) && command ? { address, command } : null;
}

/**
 * Reads a NAT access text.
 *
 * @returns null when the host is neither an IPv4 address, or IPv6 with that extension, nor a host
 * name (RFC 1123 section 2.1), or the port is none
 */
export function parseNatAccess(text: string, extensions: Extensions = {}): NatTarget | null {
  const [host, portText] = splitOnce(text);
  const port = portText === null ? null : parsePort(portText);
  const isHost = isPlainAddress(host, extensions) || isHostName(host);
  return port !== null && isHost ? { host, port } : null;
}

/** What is wrong with a user name that is to be sent, or null. */
export function checkUsername(username: string): SpaError | null {
  if (username === "") return invalidData("USER_MISSING");
  if (fieldBytes(username).length > MAX_USERNAME_BYTES) {
    return spaError("FKO_ERROR_DATA_TOO_LARGE");
  }
  if (!isUsernameText(username.charAt(0))) return invalidData("USER_FIRSTCHAR_VALIDFAIL");
  return isUsernameText(username) ? null : invalidData("USER_REMCHAR_VALIDFAIL");
}

/** What is wrong with a message that is to be sent, or null: at most 255 bytes. */
export function checkMessage(
  type: MessageType,
  message: string,
  extensions: Extensions = {},
): SpaError | null {
  if (message === "") return invalidData("MESSAGE_EMPTY");
  if (fieldBytes(message).length > MAX_MESSAGE_BYTES) {
    return spaError("FKO_ERROR_DATA_TOO_LARGE");
  }
  if (isMessageText(type, message, extensions)) return null;
  if (type === 0) return spaError("FKO_ERROR_INVALID_SPA_COMMAND_MSG");
  const [address] = splitOnce(message);
  return spaError(
    isWireAddress(address, extensions)
      ? "FKO_ERROR_INVALID_SPA_ACCESS_MSG"
      : "FKO_ERROR_INVALID_ALLOW_IP",
  );
}

/** What is wrong with a NAT access text that is to be sent, or null. */
export function checkNatAccess(text: string): SpaError | null {
  if (text === "") return invalidData("NAT_EMPTY");
  if (fieldBytes(text).length > MAX_NAT_ACCESS_BYTES) return spaError("FKO_ERROR_DATA_TOO_LARGE");
  return isNatAccessText(text) ? null : spaError("FKO_ERROR_INVALID_SPA_NAT_ACCESS_MSG");
}

/** What is wrong with a server auth text that is to be sent, or null. */
export function checkServerAuth(text: string): SpaError | null {
  if (text === "") return invalidData("SRVAUTH_MISSING");
  const bytes = fieldBytes(text);
  if (bytes.length > MAX_SERVER_AUTH_BYTES) return spaError("FKO_ERROR_DATA_TOO_LARGE");
  return bytes.includes(0) ? spaError("FKO_ERROR_INVALID_DATA") : null;
}

/** Whether a user name has only the characters that packets may carry. */
export function isUsernameText(text: string): boolean {
  return /^[ -~]+$/.test(text) && !/["/\\[\]:;|=,+*?<>]/.test(text);
}

/** Whether a message follows the rule of its type, as receivers check it. */
export function isMessageText(
  type: MessageType,
  message: string,
  extensions: Extensions = {},
): boolean {
  const [address, rest] = splitOnce(message);
  if (!isWireAddress(address, extensions) || !rest) return false;
  return type === 0 ? !rest.includes("\0") : parsePortList(rest) !== null;
}

/** Whether a NAT access text has the right form; its host may still be no possible one. */
export function isNatAccessText(text: string): boolean {
  const [host, port] = splitOnce(text);
  if (host.length > MAX_NAT_HOST_BYTES || port === null || parsePort(port) === null) return false;
  return /^[!-~]+$/.test(host) && !/[/?"'\\]/.test(host);
}

function invalidData(name: InvalidDataName): SpaError {
  return spaError(`FKO_ERROR_INVALID_DATA_${name}`);
}

/** Splits at the first comma; null instead of the rest when there is no comma. */
function splitOnce(text: string): [string, string | null] {
  const comma = text.indexOf(",");
  return comma < 0 ? [text, null] : [text.slice(0, comma), text.slice(comma + 1)];
}

function parsePortList(list: string): ProtocolPort[] | null {
  const ports: ProtocolPort[] = [];
  for (const item of list.split(",")) {
    const [, protocol, digits] = /^(tcp|udp)\/([0-9]+)$/.exec(item) ?? [];
    const port = parsePort(digits ?? "");
    if (port === null) return null;
    ports.push({ protocol: protocol as Protocol, port });
  }
  return ports;
}

/** 1 to 5 digits with a value from 1 to 65535. */
function parsePort(text: string): number | null {
  if (!/^[0-9]{1,5}$/.test(text)) return null;
  const port = Number(text);
  return port >= 1 && port <= 65535 ? port : null;
}

/** The forms that packets may carry: some of the four parts may be octal as inet_aton(3) has it. */
function isWireAddress(text: string, { ipv6 = false }: Extensions): boolean {
  if (text.includes(":")) return ipv6 && isCanonicalIpv6(text);
  if (!/^[0-9]+(\.[0-9]+){3}$/.test(text) || text.length > 15) return false;
  return text.split(".").every((part) => {
    if (!part.startsWith("0")) return Number(part) <= 255;
    return /^[0-7]+$/.test(part) && parseInt(part, 8) <= 255;
  });
}

/** Four decimal parts without leading zeros, or IPv6: what all programs read alike. */
function isPlainAddress(text: string, extensions: Extensions = {}): boolean {
  return isWireAddress(text, extensions) && !/(^|\.)0[0-9]/.test(text);
}

/** One form only, so that no packet can be written in two ways. */
function isCanonicalIpv6(text: string): boolean {
  return !text.includes(".") && parseIpv6(text)?.text === text;
}

function isHostName(text: string): boolean {
  const labels = text.split(".");
  const valid = labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label));
  return valid && !/^[0-9]+$/.test(labels.at(-1) ?? "");
}
