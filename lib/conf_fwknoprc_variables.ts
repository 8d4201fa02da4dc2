// The variables of .fwknoprc: their names, what each accepts and which setting it gives.

import {
  looksLikeBase64,
  parseAllowedAddress,
  parseDecimal,
  parseDuration,
  parseYOrN,
} from "./conf_fwknoprc_values.ts";
import { DIGEST_NAMES, type DigestName, parseDigestName } from "./spa_digest.ts";
import { type EncryptionMode, parseEncryptionMode } from "./spa_cipher.ts";

/** How a packet can travel. */
const TRANSPORT_NAMES = ["udp", "tcp", "http", "udpraw", "tcpraw", "icmp"] as const;

/** How a packet travels; `-P`. */
export type TransportName = typeof TRANSPORT_NAMES[number];

/** A transport by its name in any case. */
export function parseTransportName(text: string): TransportName | null {
  return TRANSPORT_NAMES.find((name) => name === text.toLowerCase()) ?? null;
}

/** What a client can be told by .fwknoprc; a setting that is absent was not given. */
export interface RcSettings {
  readonly digestType?: DigestName;
  readonly transport?: TransportName;
  readonly port?: number;
  readonly sourcePort?: number;
  /** Seconds of access asked for; 0 leaves it to the server. */
  readonly accessTimeout?: number;
  /** As `parseAllowedAddress` gives it; `0.0.0.0` is the source address that the server sees. */
  readonly allowIp?: string;
  /** Ask a web service for the address to allow; an `allowIp` from anywhere beats it. */
  readonly resolveIp?: boolean;
  /** Seconds. */
  readonly timeOffsetPlus?: number;
  /** Seconds; beats `timeOffsetPlus`. */
  readonly timeOffsetMinus?: number;
  readonly encryptionMode?: EncryptionMode;
  readonly useGpg?: boolean;
  readonly useGpgAgent?: boolean;
  readonly gpgNoSigningPassword?: boolean;
  readonly gpgRecipient?: string;
  readonly gpgSigner?: string;
  readonly gpgHomeDirectory?: string;
  readonly gpgProgram?: string;
  readonly spoofUser?: string;
  readonly spoofSource?: string;
  readonly access?: string;
  readonly server?: string;
  readonly randomPort?: boolean;
  /** Passphrase; beats `keyBase64`, which beats `keyFile`, which beats `keyCommand`. */
  readonly key?: string;
  readonly keyBase64?: string;
  readonly keyFile?: string;
  readonly keyCommand?: string;
  readonly hmacDigestType?: DigestName;
  readonly useHmac?: boolean;
  /** Passphrase; beats the others as `key` does. */
  readonly hmacKey?: string;
  readonly hmacKeyBase64?: string;
  readonly hmacKeyFile?: string;
  readonly hmacKeyCommand?: string;
  readonly useWgetUserAgent?: boolean;
  readonly natAccess?: string;
  readonly natLocal?: boolean;
  readonly natRandomPort?: boolean;
  /** 0 is unset. */
  readonly natPort?: number;
  readonly userAgent?: string;
  readonly resolveUrl?: string;
  readonly resolveHttpOnly?: boolean;
  readonly serverResolveIpv4?: boolean;
  readonly wgetCommand?: string;
  readonly verbose?: number;
  readonly noSaveArgs?: boolean;
}

/** What a value turned out to mean, or why it means nothing. */
export type Reading =
  | { readonly settings: RcSettings; readonly oddity?: string }
  | { readonly refusal: string };

/** One variable. */
export interface RcVariable {
  readonly name: string;
  /** Its value is a key or a passphrase and is never shown. */
  readonly secret?: true;
  /** Its value reaches to the end of the line, blanks included. */
  readonly wholeLine?: true;
  readonly read: (value: string) => Reading;
}

/** The digests as messages list them. */
export const DIGEST_LIST = `{${DIGEST_NAMES.join(",").toLowerCase()}}`;

/** The encryption modes as messages list them. */
export const MODE_LIST = "{CBC,ECB,CFB,OFB,CTR,legacy,Asymmetric}";

/**
 * Every variable, in the order in which `--save-rc-stanza` writes them. All but KEY_COMMAND and
 * HMAC_KEY_COMMAND are fwknop's.
 */
export const RC_VARIABLES: readonly RcVariable[] = [
  choice("DIGEST_TYPE", parseDigestName, DIGEST_LIST, (digestType) => ({ digestType })),
  choice(
    "SPA_SERVER_PROTO",
    parseTransportName,
    `{${TRANSPORT_NAMES.join(",")}}`,
    (transport) => ({ transport }),
  ),
  number("SPA_SERVER_PORT", 65535, (port) => ({ port })),
  number("SPA_SOURCE_PORT", 65535, (sourcePort) => ({ sourcePort })),
  { name: "FW_TIMEOUT", read: readAccessTimeout },
  { name: "ALLOW_IP", read: readAllowIp },
  { name: "TIME_OFFSET", read: readTimeOffset },
  choice(
    "ENCRYPTION_MODE",
    parseEncryptionMode,
    MODE_LIST,
    (encryptionMode) => ({ encryptionMode }),
  ),
  flag("USE_GPG", { useGpg: true }),
  flag("USE_GPG_AGENT", { useGpgAgent: true }),
  flag("GPG_NO_SIGNING_PW", { gpgNoSigningPassword: true }),
  text("GPG_RECIPIENT", (gpgRecipient) => ({ gpgRecipient })),
  text("GPG_SIGNER", (gpgSigner) => ({ gpgSigner })),
  text("GPG_HOMEDIR", (gpgHomeDirectory) => ({ gpgHomeDirectory })),
  text("GPG_EXE", (gpgProgram) => ({ gpgProgram })),
  text("SPOOF_USER", (spoofUser) => ({ spoofUser })),
  text("SPOOF_SOURCE_IP", (spoofSource) => ({ spoofSource })),
  text("ACCESS", (access) => ({ access })),
  text("SPA_SERVER", (server) => ({ server })),
  flag("RAND_PORT", { randomPort: true }),
  { ...text("KEY", (key) => ({ key })), secret: true },
  base64("KEY_BASE64", (keyBase64) => ({ keyBase64 })),
  { ...text("GPG_SIGNING_PW", (key) => ({ key })), secret: true },
  base64("GPG_SIGNING_PW_BASE64", (keyBase64) => ({ keyBase64 })),
  choice(
    "HMAC_DIGEST_TYPE",
    parseDigestName,
    DIGEST_LIST,
    (hmacDigestType) => ({ hmacDigestType }),
  ),
  base64("HMAC_KEY_BASE64", (hmacKeyBase64) => ({ hmacKeyBase64, useHmac: true })),
  { ...text("HMAC_KEY", (hmacKey) => ({ hmacKey, useHmac: true })), secret: true },
  flag("USE_HMAC", { useHmac: true }),
  flag("USE_WGET_USER_AGENT", { useWgetUserAgent: true }),
  text("KEY_FILE", (keyFile) => ({ keyFile })),
  text("HMAC_KEY_FILE", (hmacKeyFile) => ({ hmacKeyFile, useHmac: true })),
  { ...text("KEY_COMMAND", (keyCommand) => ({ keyCommand })), wholeLine: true },
  {
    ...text("HMAC_KEY_COMMAND", (hmacKeyCommand) => ({ hmacKeyCommand, useHmac: true })),
    wholeLine: true,
  },
  text("NAT_ACCESS", (natAccess) => ({ natAccess })),
  text("HTTP_USER_AGENT", (userAgent) => ({ userAgent })),
  text("RESOLVE_URL", (resolveUrl) => ({ resolveUrl })),
  flag("SERVER_RESOLVE_IPV4", { serverResolveIpv4: true }),
  flag("NAT_LOCAL", { natLocal: true }),
  flag("NAT_RAND_PORT", { natRandomPort: true }),
  number("NAT_PORT", 65535, (natPort) => ({ natPort })),
  { name: "VERBOSE", read: readVerbose },
  flag("RESOLVE_IP_HTTP", { resolveIp: true }),
  flag("RESOLVE_IP_HTTPS", { resolveIp: true }),
  flag("RESOLVE_HTTP_ONLY", { resolveHttpOnly: true }),
  text("WGET_CMD", (wgetCommand) => ({ wgetCommand })),
  flag("NO_SAVE_ARGS", { noSaveArgs: true }),
];

function text(name: string, give: (value: string) => RcSettings): RcVariable {
  return { name, read: (value) => ({ settings: give(value) }) };
}

/** A flag is raised by `Y` and left as it is by anything else: no later `N` lowers it. */
function flag(name: string, raised: RcSettings): RcVariable {
  return {
    name,
    read: (value) => {
      const yes = parseYOrN(value);
      if (yes === null) return { settings: {}, oddity: `"${value}" is neither Y nor N` };
      return { settings: yes ? raised : {} };
    },
  };
}

function number(
  name: string,
  maximum: number,
  give: (value: number) => RcSettings,
): RcVariable {
  return {
    name,
    read: (value) => {
      const parsed = parseDecimal(value, 0, maximum);
      if (parsed !== null) return { settings: give(parsed) };
      return { refusal: `${name} must be a whole number within [0-${maximum}]` };
    },
  };
}

function choice<T>(
  name: string,
  parse: (value: string) => T | null,
  list: string,
  give: (value: T) => RcSettings,
): RcVariable {
  return {
    name,
    read: (value) => {
      const parsed = parse(value);
      if (parsed !== null) return { settings: give(parsed) };
      return { refusal: `${name} argument '${value}' must be one of ${list}` };
    },
  };
}

function base64(name: string, give: (value: string) => RcSettings): RcVariable {
  return {
    name,
    secret: true,
    read: (value) => {
      if (looksLikeBase64(value)) return { settings: give(value) };
      return { refusal: `${name} argument doesn't look like base64-encoded data` };
    },
  };
}

function readAccessTimeout(value: string): Reading {
  const seconds = parseDuration(value);
  if (seconds !== null && seconds <= MAXIMUM_ACCESS_TIMEOUT) {
    return { settings: { accessTimeout: seconds } };
  }
  return {
    refusal: `FW_TIMEOUT must be seconds within [0-${MAXIMUM_ACCESS_TIMEOUT}], or a duration ` +
      "such as 10m",
  };
}

/** Seconds; a packet that asks for more is refused by every server. */
export const MAXIMUM_ACCESS_TIMEOUT = 65536;

function readAllowIp(value: string): Reading {
  switch (value.toLowerCase()) {
    case "source":
      return { settings: { allowIp: "0.0.0.0", resolveIp: false } };
    case "resolve":
      return { settings: { resolveIp: true } };
  }
  const allowIp = parseAllowedAddress(value);
  if (allowIp !== null) return { settings: { allowIp, resolveIp: false } };
  return { refusal: "ALLOW_IP must be a numeric address, source or resolve" };
}

function readTimeOffset(value: string): Reading {
  const minus = value.startsWith("-");
  const seconds = parseDuration(minus ? value.slice(1) : value);
  if (seconds === null) {
    return { refusal: `TIME_OFFSET argument '${value}' invalid; give seconds, or 10m, 2h, -1d` };
  }
  return { settings: minus ? { timeOffsetMinus: seconds } : { timeOffsetPlus: seconds } };
}

function readVerbose(value: string): Reading {
  const yes = parseYOrN(value);
  const level = yes === null ? parseDecimal(value, 0, 4) : Number(yes);
  if (level !== null) return { settings: { verbose: level } };
  return { refusal: "VERBOSE must be Y, N or a number within [0-4]" };
}
