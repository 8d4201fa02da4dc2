// What the values of `spa knock` options mean: each reader gives the settings, or a complaint in
// fwknop's words.

import { done, misuse, type Outcome } from "./cmd_ui.ts";
import {
  DIGEST_LIST,
  MAXIMUM_ACCESS_TIMEOUT,
  MODE_LIST,
  parseTransportName,
  type RcSettings,
} from "./conf_fwknoprc_variables.ts";
import {
  looksLikeBase64,
  parseAllowedAddress,
  parseDecimal,
  parseDuration,
} from "./conf_fwknoprc_values.ts";
import type { AddressFamily } from "./host.ts";
import { parseIp, parseIpv4 } from "./net_address.ts";
import { parseEncryptionMode } from "./spa_cipher.ts";
import { type DigestName, parseDigestName } from "./spa_digest.ts";

/** All that a knock can be told: what .fwknoprc can say, and what only the command line can. */
export interface KnockSettings extends RcSettings {
  readonly help?: boolean;
  readonly version?: boolean;
  readonly stanza?: string;
  readonly rcFile?: string;
  readonly noRcFile?: boolean;
  readonly noHomeDirectory?: boolean;
  readonly saveStanza?: boolean;
  readonly forceStanza?: boolean;
  readonly listStanzas?: boolean;
  readonly lastCommand?: boolean;
  readonly showLast?: boolean;
  readonly argsFile?: string;
  readonly savePacket?: string;
  readonly appendPacket?: boolean;
  readonly test?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly serverCommand?: string;
  readonly httpProxy?: string;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly family?: AddressFamily;
  /** Wait until the ports asked for are open. */
  readonly wait?: boolean;
  /** Milliseconds until a connection is given up. */
  readonly networkTimeout?: number;
  /** File descriptor that holds the secrets, one a line. */
  readonly keyDescriptor?: number;
  readonly generateKeys?: boolean;
  readonly keyGenFile?: string;
  /** Bytes. */
  readonly keyLength?: number;
  /** Bytes. */
  readonly hmacKeyLength?: number;
}

/** Gives what an option's argument sets; the argument is empty for an option that takes none. */
export type ReadValue = (value: string) => Outcome<KnockSettings>;

/** An option that always sets the same. */
export function raise(settings: KnockSettings): ReadValue {
  return () => done(settings);
}

/** Any text. */
export function text(give: (value: string) => KnockSettings): ReadValue {
  return (value) => done(give(value));
}

/** A whole number within limits. */
export function number(
  minimum: number,
  maximum: number,
  give: (value: number) => KnockSettings,
  refuse: (value: string) => string = (value) =>
    `Value ${value} out of range [(${minimum})-(${maximum})]`,
): ReadValue {
  return (value) => {
    const parsed = parseDecimal(value, minimum, maximum);
    return parsed === null ? misuse(refuse(value)) : done(give(parsed));
  };
}

/** The name of a digest. */
export function digest(what: string, give: (name: DigestName) => KnockSettings): ReadValue {
  return (value) => {
    const name = parseDigestName(value);
    return name === null
      ? misuse(`Invalid ${what} type: ${value}, use ${DIGEST_LIST}`)
      : done(give(name));
  };
}

/** A key in base64; a secret, so the complaint does not repeat it. */
export function base64(what: string, give: (value: string) => KnockSettings): ReadValue {
  return (value) =>
    looksLikeBase64(value)
      ? done(give(value))
      : misuse(`Base64 encoded ${what} argument doesn't look like base64-encoded data.`);
}

/** A length of time that moves the time stamp. */
export function timeOffset(give: (seconds: number) => KnockSettings): ReadValue {
  return (value) => {
    const seconds = parseDuration(value);
    return seconds === null
      ? misuse(`Invalid time offset: '${value}'`, "give seconds, or 90s, 10m, 2h, 1h30m, 1d")
      : done(give(seconds));
  };
}

/** What `-D` and SPA_SERVER name. */
export interface Destination {
  /** Name or address, without brackets. */
  readonly server: string;
  /** Beats `-p`; null when none is given. */
  readonly port: number | null;
}

/** Takes a destination apart: HOST, HOST:PORT, an address, `[IPv6]` or `[IPv6]:PORT`. */
export function parseDestination(text: string): Outcome<Destination> {
  if (parseIp(text)?.version === 6) return done({ server: text, port: null });
  const [, bracketed, name, portText] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(text) ?? [];
  const port = portText === undefined ? null : parseDecimal(portText, 1, 65535);
  const named = bracketed === undefined ? name : parseIp(bracketed)?.version === 6 && bracketed;
  if (!named || portText !== undefined && port === null) {
    return misuse(
      `cannot use "${text}" as destination`,
      "write HOST, HOST:PORT, 2001:db8::1 or [2001:db8::1]:62201",
    );
  }
  return done({ server: named, port });
}

/** `-a` */
export function allowIp(value: string): Outcome<KnockSettings> {
  const address = parseAllowedAddress(value);
  if (address !== null) return done({ allowIp: address });
  return misuse(
    `Invalid allow IP specified for SPA access: "${value}" is not an IP address`,
    "give it in numbers, or use -R to ask a web service",
  );
}

/** `-Q` */
export function spoofSource(value: string): Outcome<KnockSettings> {
  // A word without a dot is a mistake rather than a host.
  const isName = /^[\w.-]+\.[a-z][\w-]*\.?$/i.test(value);
  if (isName || parseIpv4(value) !== null) return done({ spoofSource: value });
  return misuse(`Invalid spoof IP: "${value}" is neither an IPv4 address nor a full host name`);
}

/** `-f` */
export function accessTimeout(value: string): Outcome<KnockSettings> {
  const seconds = parseDuration(value);
  if (seconds !== null && seconds <= MAXIMUM_ACCESS_TIMEOUT) {
    return done({ accessTimeout: seconds });
  }
  return misuse(
    `--fw-timeout must be within [0-${MAXIMUM_ACCESS_TIMEOUT}]`,
    "give seconds, or 90s, 10m, 1h30m; no server accepts more",
  );
}

/** `--timeout` */
export function networkTimeout(value: string): Outcome<KnockSettings> {
  const seconds = parseDuration(value);
  if (seconds !== null && seconds > 0) return done({ networkTimeout: seconds * 1000 });
  return misuse(`cannot use "${value}" as --timeout`, "give seconds, or 90s, 2m");
}

/** `-P` */
export function transport(value: string): Outcome<KnockSettings> {
  const name = parseTransportName(value);
  if (name !== null) return done({ transport: name });
  return misuse(`Unrecognized protocol: ${value}`, "use udp, tcp, http, udpraw, tcpraw or icmp");
}

/** `-M` */
export function encryptionMode(value: string): Outcome<KnockSettings> {
  const mode = parseEncryptionMode(value);
  if (mode !== null) return done({ encryptionMode: mode });
  return misuse(`Invalid encryption mode: ${value}, use ${MODE_LIST}`);
}
