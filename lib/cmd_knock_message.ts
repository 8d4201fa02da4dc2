// What a knock asks for: settings to the fields of a packet. Pure: clock, random values and the
// user's name are arguments.

import { done, failure, misuse, type Outcome } from "./cmd_ui.ts";
import { type KnockSettings, parseDestination } from "./cmd_knock_values.ts";
import { parseIp, parseIpv4 } from "./net_address.ts";
import {
  type Extensions,
  type MessageType,
  parseNatAccess,
  PROTOCOL_VERSION,
  type SpaFields,
} from "./spa_message.ts";

/** What the settings do not say. */
export interface MessageInput {
  /** Address to allow; null when there is none. */
  readonly allowIp: string | null;
  readonly username: string;
  /** Seconds since 1970 UTC. */
  readonly now: number;
  /** 16 decimal digits. */
  readonly randomValue: string;
  /** Port for `--nat-rand-port`, drawn from another random value. */
  readonly randomNatPort: number;
}

/** The content of a packet. */
export interface KnockMessage {
  readonly fields: SpaFields;
  /** What the user has to be told: the NAT port that was drawn. */
  readonly notice: string | null;
}

/** Seconds since 1970 UTC that a time stamp may have: what servers read. */
const MAXIMUM_TIMESTAMP = 2 ** 31 - 1;

/** Bytes of a user name that receivers take. */
const MAXIMUM_USERNAME = 48;
/** Characters of `-U` that fwknop keeps. */
const MAXIMUM_SPOOF_USER = 29;

/** Puts the fields together, or says in fwknop's words why they make no packet. */
export function buildMessage(settings: KnockSettings, input: MessageInput): Outcome<KnockMessage> {
  const timestamp = timestampOf(settings, input.now);
  if (timestamp < 0 || timestamp > MAXIMUM_TIMESTAMP) {
    return failure("cannot set the time stamp: the time offset leads beyond 1970 or 2038");
  }
  const request = settings.serverCommand === undefined
    ? buildAccess(settings, input)
    : buildCommand(settings, settings.serverCommand, input);
  if (!request.ok) return request;
  const { notice, ...rest } = request.value;
  return done({
    notice,
    fields: {
      randomValue: input.randomValue,
      username: input.username,
      timestamp,
      version: PROTOCOL_VERSION,
      serverAuth: null,
      clientTimeout: settings.accessTimeout ?? 0,
      ...rest,
    },
  });
}

type Request = Pick<SpaFields, "messageType" | "message" | "natAccess"> & {
  readonly notice: string | null;
};

/** Minus beats plus; they are not added. */
function timestampOf({ timeOffsetMinus, timeOffsetPlus }: KnockSettings, now: number): number {
  return timeOffsetMinus === undefined ? now + (timeOffsetPlus ?? 0) : now - timeOffsetMinus;
}

function buildCommand(
  settings: KnockSettings,
  command: string,
  { allowIp }: MessageInput,
): Outcome<Request> {
  if (settings.natAccess !== undefined || settings.natLocal) {
    return misuse("cannot combine --server-cmd with NAT: no gateway accepts such a packet");
  }
  if (allowIp === null) {
    return misuse(
      "Invalid SPA command message format: it needs an address",
      "add -a ADDRESS, or -s for the address that the gateway sees",
    );
  }
  if (command === "") return misuse("Invalid SPA command message format: the command is empty");
  return done({ messageType: 0, message: `${allowIp},${command}`, natAccess: null, notice: null });
}

function buildAccess(settings: KnockSettings, input: MessageInput): Outcome<Request> {
  const { allowIp } = input;
  if (allowIp === null) {
    return misuse(
      "Invalid allow IP address in the SPA message data: there is none",
      "-a ADDRESS names it, -R asks a web service, -s leaves it to the gateway",
    );
  }
  const access = checkAccess(settings.access);
  if (!access.ok) return access;
  const natAccess = natAccessOf(settings, access.value);
  if (!natAccess.ok) return natAccess;
  if (settings.natAccess !== undefined && !sameFamily(allowIp, natAccess.value)) {
    return misuse(
      `Invalid NAT destination '${natAccess.value}': ${allowIp} cannot get there`,
      "both must be IPv4 addresses or both IPv6",
    );
  }

  const port = settings.natRandomPort ? input.randomNatPort : settings.natPort ?? 0;
  let ports = access.value;
  if (port !== 0) {
    if (ports.includes(",")) {
      return misuse("NAT for multiple ports/protocols not yet supported.");
    }
    ports = ports.replace(/\d+$/, String(port));
  }
  const message = `${allowIp},${ports}`;
  const notice = settings.natRandomPort ? randomPortNotice(port, message, natAccess.value) : null;
  return done({
    messageType: messageTypeOf(settings),
    message,
    natAccess: natAccess.value,
    notice,
  });
}

/** What a packet needs beyond fwknop's protocol: to name an IPv6 address. */
export function extensionsOf({ message }: Pick<SpaFields, "message">): Extensions {
  return { ipv6: message.slice(0, message.indexOf(",")).includes(":") };
}

/** The type without client timeout; the encoder turns it into the one with. */
function messageTypeOf(settings: KnockSettings): MessageType {
  if (settings.natLocal) return 5;
  return settings.natAccess === undefined ? 1 : 2;
}

function randomPortNotice(port: number, message: string, natAccess: string | null): string {
  const leads = natAccess === null ? "" : ` will grant access to: '${natAccess}'`;
  return `[+] Randomly assigned port '${port}' on: '${message}'${leads}`;
}

function checkAccess(access: string | undefined): Outcome<string> {
  const invalid = "Invalid SPA access message format:";
  const example = "say what to open, such as -A tcp/22 or -A tcp/80,udp/53";
  if (access === undefined) return misuse(`${invalid} no --access given`, example);
  for (const item of access.split(",")) {
    const [protocol = "", port, ...more] = item.split("/");
    if (port === undefined || more.length > 0) {
      return misuse(`${invalid} "${item}": Expecting <proto>/<port> for -A arg.`, example);
    }
    if (protocol !== "tcp" && protocol !== "udp") {
      return misuse(`${invalid} "${item}": the protocol must be tcp or udp`, example);
    }
    if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535) {
      return misuse(`${invalid} "${item}": Invalid port value '${port}' for -A arg.`, example);
    }
  }
  return done(access);
}

/** `HOST,PORT` of the service behind the gateway; null without NAT. */
function natAccessOf(settings: KnockSettings, access: string): Outcome<string | null> {
  const servicePort = /\/(\d+)/.exec(access)?.[1] ?? "";
  if (settings.natAccess === undefined) {
    if (!settings.natLocal) return done(null);
    if (settings.server === undefined) {
      return misuse("Must use --destination with --nat-local: it tells where the service is");
    }
    const destination = parseDestination(settings.server);
    return destination.ok ? checkNat(destination.value.server, servicePort) : destination;
  }
  const [host = "", port = servicePort, ...more] = splitTarget(settings.natAccess);
  if (more.length > 0 || !/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535) {
    return misuse("Invalid port value in -N arg.", "give HOST, HOST:PORT or HOST,PORT");
  }
  return checkNat(host, port);
}

/** An IPv6 address has colons of its own, so that a port behind it takes brackets or a comma. */
function splitTarget(text: string): string[] {
  const [, six, port] = /^\[(.*)\](?:[:,](.*))?$/.exec(text) ??
    /^([^,]*:[^,]*:[^,]*)(?:,(.*))?$/.exec(text) ?? [];
  if (six === undefined) return text.split(/[:,]/);
  const host = parseIp(six)?.text ?? six;
  return port === undefined ? [host] : [host, port];
}

function checkNat(host: string, port: string): Outcome<string> {
  const text = `${host},${port}`;
  if (parseNatAccess(text, { ipv6: true }) !== null) return done(text);
  return misuse(`Invalid NAT destination '${host}' for -N arg.`, "give an address or a name");
}

/** Whether a packet's address can get to the host behind the gateway; a name may lead anywhere. */
function sameFamily(allowIp: string, natAccess: string | null): boolean {
  const target = parseIp(natAccess?.split(",")[0] ?? "");
  const client = parseIp(allowIp);
  return target === null || client?.value === 0n || client?.version === target.version;
}

/** Where {@linkcode chooseUsername} looks. */
export interface UsernameSources {
  readonly env: (name: string) => string | undefined;
  /** The system's name of the effective user, or null when it is not known. */
  readonly login: () => string | null;
}

/** The user name a packet carries: `-U`, else what the environment and the system say. */
export function chooseUsername(
  settings: KnockSettings,
  { env, login }: UsernameSources,
): string {
  if (settings.spoofUser !== undefined) return settings.spoofUser.slice(0, MAXIMUM_SPOOF_USER);
  const named = [() => env("SPOOF_USER"), () => env("LOGNAME"), login, () => env("USER")];
  for (const find of named) {
    const name = find();
    if (name !== undefined && name !== null && name !== "") return name.slice(0, MAXIMUM_USERNAME);
  }
  return "NO_USER";
}

/** Whether an address to allow stands for the one that the gateway sees. */
export function isSourceAddress(allowIp: string): boolean {
  return parseIpv4(allowIp)?.value === 0n;
}
