// `--save-rc-stanza`: what the command line said, written to a stanza of .fwknoprc.

import type { FoundOption } from "./cmd_getopt.ts";
import { done, failure, misuse, type Outcome, type Ui } from "./cmd_ui.ts";
import { rcFilePath } from "./cmd_knock_rc.ts";
import { type Destination, type KnockSettings, parseDestination } from "./cmd_knock_values.ts";
import {
  changeStanza,
  isWritableValue,
  type RcValue,
  readStanzaValues,
} from "./conf_fwknoprc_save.ts";
import { RC_VARIABLES } from "./conf_fwknoprc_variables.ts";
import { type Host, reasonOf } from "./host.ts";
import { encodePaddedBase64 } from "./spa_base64.ts";
import type { GeneratedKeys } from "./spa_key.ts";

type ValueOf = (settings: KnockSettings) => string | number | boolean | undefined;

/** A variable, the options that make it worth writing, and its value. */
type Saved = readonly [variable: string, options: readonly string[], value: ValueOf];

const SAVED: readonly Saved[] = [
  ["DIGEST_TYPE", ["digest-type"], ({ digestType }) => digestType],
  ["SPA_SERVER_PROTO", ["server-proto", "TCP-sock"], ({ transport }) => transport],
  ["SPA_SERVER_PORT", ["destination"], (settings) => destinationOf(settings)?.port ?? undefined],
  [
    "SPA_SERVER_PORT",
    ["server-port"],
    (settings) => destinationOf(settings)?.port == null ? settings.port : undefined,
  ],
  ["SPA_SOURCE_PORT", ["source-port"], ({ sourcePort }) => sourcePort],
  ["FW_TIMEOUT", ["fw-timeout"], ({ accessTimeout }) => accessTimeout],
  ["ALLOW_IP", ["allow-ip", "source-ip"], ({ allowIp }) => allowIp],
  ["TIME_OFFSET", ["time-offset-plus", "time-offset-minus"], timeOffsetOf],
  ["ENCRYPTION_MODE", ["encryption-mode"], ({ encryptionMode }) => encryptionMode],
  ["USE_GPG", ["gpg-encryption", "gpg-recipient-key", "gpg-signer-key"], ({ useGpg }) => useGpg],
  ["USE_GPG_AGENT", ["gpg-agent"], ({ useGpgAgent }) => useGpgAgent],
  ["GPG_NO_SIGNING_PW", ["gpg-no-signing-pw"], (settings) => settings.gpgNoSigningPassword],
  ["GPG_RECIPIENT", ["gpg-recipient-key"], ({ gpgRecipient }) => gpgRecipient],
  ["GPG_SIGNER", ["gpg-signer-key"], ({ gpgSigner }) => gpgSigner],
  ["GPG_HOMEDIR", ["gpg-home-dir"], ({ gpgHomeDirectory }) => gpgHomeDirectory],
  ["GPG_EXE", ["gpg-exe"], ({ gpgProgram }) => gpgProgram],
  ["SPOOF_USER", ["spoof-user"], ({ spoofUser }) => spoofUser],
  ["SPOOF_SOURCE_IP", ["spoof-source"], ({ spoofSource }) => spoofSource],
  ["ACCESS", ["access"], ({ access }) => access],
  ["SPA_SERVER", ["destination"], (settings) => destinationOf(settings)?.server],
  ["RAND_PORT", ["rand-port"], ({ randomPort }) => randomPort],
  ["KEY", ["key-rijndael"], ({ key }) => key],
  ["KEY_BASE64", ["key-base64-rijndael"], ({ keyBase64 }) => keyBase64],
  ["HMAC_DIGEST_TYPE", ["hmac-digest-type"], ({ hmacDigestType }) => hmacDigestType],
  ["HMAC_KEY_BASE64", ["key-base64-hmac"], ({ hmacKeyBase64 }) => hmacKeyBase64],
  ["HMAC_KEY", ["key-hmac"], ({ hmacKey }) => hmacKey],
  [
    "USE_HMAC",
    ["use-hmac", "key-hmac", "key-base64-hmac", "hmac-digest-type", "hmac-key-len"],
    ({ useHmac }) => useHmac,
  ],
  ["USE_WGET_USER_AGENT", ["use-wget-user-agent"], (settings) => settings.useWgetUserAgent],
  ["KEY_FILE", ["get-key"], ({ keyFile }) => keyFile],
  ["HMAC_KEY_FILE", ["get-hmac-key"], ({ hmacKeyFile }) => hmacKeyFile],
  ["NAT_ACCESS", ["nat-access"], ({ natAccess }) => natAccess],
  ["HTTP_USER_AGENT", ["user-agent"], ({ userAgent }) => userAgent],
  ["RESOLVE_URL", ["resolve-url"], ({ resolveUrl }) => resolveUrl],
  ["SERVER_RESOLVE_IPV4", ["server-resolve-ipv4"], (settings) => settings.serverResolveIpv4],
  ["NAT_LOCAL", ["nat-local"], ({ natLocal }) => natLocal],
  ["NAT_RAND_PORT", ["nat-rand-port"], ({ natRandomPort }) => natRandomPort],
  ["NAT_PORT", ["nat-port"], ({ natPort }) => natPort],
  ["VERBOSE", ["verbose"], ({ verbose }) => verbose === 1 ? "Y" : verbose],
  [
    "RESOLVE_IP_HTTPS",
    ["resolve-ip-https", "resolve-http-only"],
    ({ allowIp }) => allowIp === undefined,
  ],
  ["RESOLVE_HTTP_ONLY", ["resolve-http-only"], ({ resolveHttpOnly }) => resolveHttpOnly],
  ["WGET_CMD", ["wget-cmd"], ({ wgetCommand }) => wgetCommand],
  ["NO_SAVE_ARGS", ["no-save-args"], ({ noSaveArgs }) => noSaveArgs],
];

/** In the stanza of a rc file the first of these that is there wins; only one may be left. */
const RIVALS: readonly (readonly string[])[] = [
  ["KEY", "KEY_BASE64", "GPG_SIGNING_PW", "GPG_SIGNING_PW_BASE64", "KEY_FILE", "KEY_COMMAND"],
  ["HMAC_KEY", "HMAC_KEY_BASE64", "HMAC_KEY_FILE", "HMAC_KEY_COMMAND"],
  ["ALLOW_IP", "RESOLVE_IP_HTTPS", "RESOLVE_IP_HTTP"],
];

/** Variables that are not overwritten without being asked for: losing one locks the user out. */
const CRITICAL: readonly string[] = [
  "KEY",
  "KEY_BASE64",
  "HMAC_KEY",
  "HMAC_KEY_BASE64",
  "GPG_RECIPIENT",
  "GPG_SIGNER",
  "GPG_SIGNING_PW",
  "GPG_SIGNING_PW_BASE64",
];

/** In parts, since fwknop takes no port where the server stands. */
function destinationOf({ server }: KnockSettings): Destination | null {
  const parsed = server === undefined ? null : parseDestination(server);
  return parsed?.ok ? parsed.value : null;
}

function timeOffsetOf(settings: KnockSettings): number | undefined {
  const { timeOffsetMinus, timeOffsetPlus } = settings;
  return timeOffsetMinus === undefined ? timeOffsetPlus : -timeOffsetMinus;
}

/** What was written, and where. */
export interface SavedStanza {
  readonly stanza: string;
  readonly path: string;
}

/**
 * Writes the stanza.
 *
 * @param found the options as they were given; nothing else is written
 * @param keys new keys, which are written as well
 */
export function saveStanza(
  found: readonly FoundOption[],
  settings: KnockSettings,
  keys: GeneratedKeys | null,
  host: Host,
  ui: Ui,
): Outcome<SavedStanza> {
  const path = rcFilePath(settings, host);
  if (!path.ok) return path;
  const stanza = settings.stanza ?? destinationOf(settings)?.server ?? "";
  if (!/^[^\]\p{Cc}]+$/u.test(stanza)) return misuse(`cannot name a stanza "${stanza}"`);
  const values = collectValues(found, settings, keys);
  if (!values.ok) return values;
  try {
    const text = host.stat(path.value) === null ? "" : host.readTextFile(path.value);
    const old = readStanzaValues(text, stanza);
    const set = settings.forceStanza || old === null
      ? values.value
      : values.value.filter((value) => mayWrite(value, old, stanza, host, ui));
    const remove = settings.forceStanza ? "all" : set.flatMap(({ name }) => rivalsOf(name));
    writeBack(path.value, changeStanza(text, { stanza, set, remove }), host);
    if ((settings.verbose ?? 0) > 1) trace(stanza, old !== null, set, ui);
  } catch (error) {
    return failure(`cannot save stanza [${stanza}] in ${path.value}: ${reasonOf(error)}`);
  }
  return done({ stanza, path: path.value });
}

function collectValues(
  found: readonly FoundOption[],
  settings: KnockSettings,
  keys: GeneratedKeys | null,
): Outcome<RcValue[]> {
  const given = new Set(found.map(({ name }) => name));
  const values: RcValue[] = [];
  for (const [variable, options, valueOf] of SAVED) {
    const generated = generatedValue(variable, keys);
    const value = options.some((option) => given.has(option)) ? valueOf(settings) : undefined;
    if (generated !== undefined) values.push({ name: variable, value: generated });
    else if (value !== undefined && !(keys !== null && isKey(variable))) {
      values.push(writable(variable, format(value)));
    }
  }
  const odd = values.find(({ value }) => !isWritableValue(value));
  if (odd === undefined) return done(values);
  return failure(
    `cannot save ${odd.name}: its value is empty or has blanks, ";" or "#"`,
    ".fwknoprc has no way to write such values",
  );
}

function isKey(variable: string): boolean {
  return RIVALS.slice(0, 2).some((rivals) => rivals.includes(variable));
}

function generatedValue(variable: string, keys: GeneratedKeys | null): string | undefined {
  if (variable === "KEY_BASE64") return keys?.keyBase64;
  return variable === "HMAC_KEY_BASE64" ? keys?.hmacKeyBase64 : undefined;
}

function format(value: string | number | boolean): string {
  return typeof value === "boolean" ? (value ? "Y" : "N") : String(value);
}

/** A passphrase that the file could not hold is written as the same bytes in base64. */
function writable(name: string, value: string): RcValue {
  if ((name === "KEY" || name === "HMAC_KEY") && !isWritableValue(value)) {
    return {
      name: `${name}_BASE64`,
      value: encodePaddedBase64(new TextEncoder().encode(value)),
    };
  }
  return { name, value };
}

function rivalsOf(name: string): string[] {
  return RIVALS.filter((rivals) => rivals.includes(name)).flat().filter((rival) => rival !== name);
}

/** Asks where a key would be lost; without an answer the old one stays. */
function mayWrite(
  { name, value }: RcValue,
  old: ReadonlyMap<string, string>,
  stanza: string,
  host: Host,
  ui: Ui,
): boolean {
  const lost = [name, ...rivalsOf(name)].filter((variable) =>
    CRITICAL.includes(variable) && old.has(variable) &&
    !(variable === name && old.get(variable) === value)
  );
  return lost.every((variable) => {
    ui.print(`Variable '${variable}' found in stanza '${stanza}'. Overwrite [N/y] ? `);
    const [answer] = host.readLines(0, 1);
    return answer?.[0] === "y".charCodeAt(0);
  });
}

/** Replaces the file at once, so that no half of it is ever there; a link stays a link. */
function writeBack(path: string, text: string, host: Host): void {
  if (host.lstat(path)?.isSymlink) {
    host.writeTextFile(path, text, { mode: 0o600, how: "truncate" });
    return;
  }
  const updated = `${path}.updated-${host.pid}`;
  try {
    host.writeTextFile(updated, text, { mode: 0o600, how: "create" });
    host.rename(updated, path);
  } catch (error) {
    if (host.lstat(updated) !== null) host.remove(updated);
    throw error;
  }
}

/** The lines that fwknop prints at -vv; numbers are places in its list of variables. */
function trace(stanza: string, existed: boolean, set: readonly RcValue[], ui: Ui): void {
  ui.print(`update_rc() : ${existed ? `Updating ${stanza}` : `Inserting new ${stanza}`} stanza`);
  const names = RC_VARIABLES.map(({ name }) => name).filter((name) => !name.endsWith("_COMMAND"));
  for (const { name, value } of set) {
    const secret = RC_VARIABLES.some((variable) => variable.name === name && variable.secret);
    ui.print(
      `add_single_var_to_rc() : Updating param (${names.indexOf(name)}) ${name} ` +
        `to ${secret ? "***" : value}`,
    );
  }
}
