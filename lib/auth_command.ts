// What requests may run: whether a stanza allows it, and the words of the commands. No shell is
// ever involved, and what a packet says becomes part of a word only after it was checked.

import type { RefusalReason } from "./auth_event.ts";
import type { CommandGrant, CycleGrant } from "./auth_grant.ts";
import { portsAllowed } from "./auth_policy.ts";
import type { Stanza } from "./conf_access.ts";
import { parseIp } from "./net_address.ts";
import { PROTOCOL_NUMBERS, type ProtocolPort } from "./net_port.ts";
import { parseAccessMessage, parseCommandMessage } from "./spa_message.ts";
import type { DecodedPacket } from "./spa_packet.ts";

/** A command as the log tells it and as it is run: program first, then its arguments. */
export interface CommandLine {
  readonly text: string;
  readonly words: readonly string[];
}

/** The user and the group that a command runs as, and their names for the log. */
export interface CommandAccount {
  readonly uid: number;
  readonly gid: number;
  readonly user: string;
  readonly group: string;
}

/** The commands of one request to a stanza with CMD_CYCLE_OPEN. */
export interface CycleCommands {
  readonly open: readonly CommandLine[];
  /** None when CMD_CYCLE_CLOSE is NONE. */
  readonly close: readonly CommandLine[];
}

/** Why nothing is run, with the log's line in fwknopd's wording. */
export interface CommandRefusal {
  readonly reason: RefusalReason;
  readonly text: string;
}

/** What is known of a request before its message is looked at. */
export interface RequestOrigin {
  /** The address that is let in, in its usual text form. */
  readonly source: string;
  /** The addresses of the packet itself, in the same form. */
  readonly packetSource: string;
  readonly destination: string;
}

const MESSAGE_COMMAND = 0;
/** Bytes of a message. */
const LONGEST_COMMAND = 255;
const TEST_MODE: CommandRefusal = {
  reason: "test-mode",
  text: "--test mode enabled, skipping command execution.",
};

/** Whether the packet is to be answered by commands, and not by the firewall. */
export function leadsToCommands(
  stanza: Pick<Stanza, "CMD_CYCLE_OPEN">,
  packet: Pick<DecodedPacket, "messageType">,
): boolean {
  return packet.messageType === MESSAGE_COMMAND || stanza.CMD_CYCLE_OPEN !== null;
}

/** Judges a packet for which {@linkcode leadsToCommands} is true. */
export function judgeCommands(
  stanza: Stanza,
  packet: DecodedPacket,
  origin: RequestOrigin,
  testMode: boolean,
): CommandGrant | CycleGrant | CommandRefusal {
  return stanza.CMD_CYCLE_OPEN === null
    ? judgeCommandMessage(stanza, packet, origin, testMode)
    : judgeCycle(stanza, packet, origin, testMode);
}

function judgeCommandMessage(
  stanza: Stanza,
  packet: DecodedPacket,
  { source }: RequestOrigin,
  testMode: boolean,
): CommandGrant | CommandRefusal {
  const request = parseCommandMessage(packet.message, { ipv6: true });
  if (request === null || !stanza.ENABLE_CMD_EXEC) {
    const text = "SPA Command messages are not allowed in the current configuration.";
    return { reason: "command-not-allowed", text };
  }
  if (testMode) return TEST_MODE;
  return { kind: "command", stanza: stanza.number, source, command: request.command };
}

function judgeCycle(
  stanza: Stanza,
  packet: DecodedPacket,
  origin: RequestOrigin,
  testMode: boolean,
): CycleGrant | CommandRefusal {
  const isCommand = packet.messageType === MESSAGE_COMMAND;
  const request = isCommand ? null : parseAccessMessage(packet.message, { ipv6: true });
  if (request === null) {
    return { reason: "command-not-allowed", text: "Could not build CMD_CYCLE_OPEN command." };
  }
  if (!portsAllowed(stanza, request.ports)) {
    const text = "One or more requested protocol/ports was denied per access.conf.";
    return { reason: "port-denied", text };
  }
  if (testMode) return TEST_MODE;
  const seconds = packet.clientTimeout > 0
    ? Math.min(packet.clientTimeout, stanza.MAX_FW_TIMEOUT)
    : stanza.CMD_CYCLE_TIMER ?? 0;
  const expires = packet.timestamp + seconds;
  const { ports } = request;
  return { kind: "cycle", stanza: stanza.number, ...origin, ports, seconds, expires };
}

/** Whether the stanza covers a command grant, whoever made it. */
export function commandGrantAllowed(stanza: Stanza, { source, command }: CommandGrant): boolean {
  return stanza.ENABLE_CMD_EXEC && stanza.CMD_CYCLE_OPEN === null && parseIp(source) !== null &&
    /^[ -~]+$/.test(command) && command.length <= LONGEST_COMMAND;
}

/** Whether the stanza covers a cycle grant, whoever made it: its values will stand in commands. */
export function cycleGrantAllowed(stanza: Stanza, grant: CycleGrant): boolean {
  const { source, packetSource, destination, ports, seconds, expires } = grant;
  const longest = Math.max(stanza.CMD_CYCLE_TIMER ?? 0, stanza.MAX_FW_TIMEOUT);
  return stanza.CMD_CYCLE_OPEN !== null &&
    [source, packetSource, destination].every((address) => parseIp(address)?.text === address) &&
    ports.length > 0 && ports.every(isPort) && portsAllowed(stanza, ports) &&
    isCount(seconds) && seconds <= longest && isCount(expires);
}

function isPort({ protocol, port }: ProtocolPort): boolean {
  return Object.hasOwn(PROTOCOL_NUMBERS, protocol) && isCount(port) && port <= 0xffff;
}

function isCount(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}

/**
 * The commands that open and close for a request: one pair for each port, as far as the pairs
 * differ. (fwknopd has the first port only.)
 *
 * `$IP` and `$SRC` stand for the address that is let in, `$PKT_SRC` and `$DST` for the packet's,
 * `$PORT` and `$PROTO` for numbers, `$CLIENT_TIMEOUT` for the seconds of access and `$TIMEOUT` for
 * their end in seconds since 1970 UTC. As in fwknopd, a name counts whatever follows it, and where
 * no name follows a `$`, only the `$` goes.
 */
export function cycleCommands(stanza: Stanza, grant: CycleGrant): CycleCommands {
  const fill = (template: string | null): CommandLine[] => {
    if (template === null) return [];
    const lines = grant.ports.map((port) => fillIn(template, grant, port));
    return [...new Map(lines.map((line) => [line.text, line])).values()];
  };
  return { open: fill(stanza.CMD_CYCLE_OPEN), close: fill(stanza.CMD_CYCLE_CLOSE) };
}

function fillIn(
  template: string,
  grant: CycleGrant,
  { protocol, port }: ProtocolPort,
): CommandLine {
  const values: Readonly<Record<string, string | number>> = {
    IP: grant.source,
    SRC: grant.source,
    PKT_SRC: grant.packetSource,
    DST: grant.destination,
    PORT: port,
    PROTO: PROTOCOL_NUMBERS[protocol],
    TIMEOUT: grant.expires,
    CLIENT_TIMEOUT: grant.seconds,
  };
  const substituted = (word: string): string =>
    word.replace(
      /\$(IP|SRC|PKT_SRC|DST|PORT|PROTO|TIMEOUT|CLIENT_TIMEOUT)?/g,
      (_, name: string | undefined) => name === undefined ? "" : String(values[name]),
    );
  const words = splitWords(template).map(substituted).filter((word) => word !== "");
  return { text: words.join(" "), words };
}

/** The words of a command text; nothing but white space separates them, and nothing quotes it. */
export function splitWords(text: string): string[] {
  return text.split(/[ \t\n\v\f\r]+/).filter((word) => word !== "");
}

/**
 * What a command message runs: its own words, behind those of sudo where the stanza says so.
 *
 * @param sudo path of the program sudo(8)
 */
export function messageCommand(stanza: Stanza, command: string, sudo: string): CommandLine {
  if (!stanza.ENABLE_CMD_SUDO_EXEC) return { text: command, words: splitWords(command) };
  const { CMD_SUDO_EXEC_USER: user, CMD_SUDO_EXEC_GROUP: group } = stanza;
  const prefix = [
    sudo,
    ...(user === null || user.uid === 0 ? [] : ["-u", user.name]),
    ...(group === null ? [] : ["-g", group.name]),
  ];
  return { text: [...prefix, command].join(" "), words: [...prefix, ...splitWords(command)] };
}

/**
 * Whom a command message runs as; null means the daemon's own user. A group without a user leaves
 * the user as it is: root.
 */
export function messageAccount(
  stanza: Pick<Stanza, "CMD_EXEC_USER" | "CMD_EXEC_GROUP">,
): CommandAccount | null {
  const { CMD_EXEC_USER: user, CMD_EXEC_GROUP: group } = stanza;
  if (group === null && (user === null || user.uid === 0)) return null;
  const { uid, name } = user ?? { uid: 0, name: "root" };
  return { uid, gid: group?.gid ?? user?.gid ?? 0, user: name, group: group?.name ?? name };
}
