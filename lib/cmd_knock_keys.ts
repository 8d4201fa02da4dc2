// The two secrets of a knock: where each comes from, and whether they can be used.

import { done, EXIT, failure, type Outcome, type Ui } from "./cmd_ui.ts";
import { askSecret } from "./cmd_secret.ts";
import { type KnockSettings, parseDestination } from "./cmd_knock_values.ts";
import { type Host, reasonOf } from "./host.ts";
import { decodeKeyBase64 } from "./spa_base64.ts";
import { MAX_RIJNDAEL_KEY_LENGTH } from "./spa_cipher.ts";
import { areKeysIdentical, MAX_GENERATED_HMAC_KEY_LENGTH } from "./spa_key.ts";

/** The secrets of a packet. */
export interface KnockKeys {
  /** With GnuPG the passphrase of the signing key; empty when gpg needs none from here. */
  readonly key: Uint8Array;
  /** Null when the packet is not to be authenticated. */
  readonly hmacKey: Uint8Array | null;
}

/** Where one of the two secrets may come from, in the order in which fwknop ranks them. */
interface KeySources {
  readonly what: "encryption key" | "passphrase for signing" | "HMAC key";
  readonly passphrase: string | undefined;
  readonly base64: string | undefined;
  readonly file: string | undefined;
  readonly command: string | undefined;
}

const EMPTY = new Uint8Array(0);

/** Finds both secrets; asks on the terminal for what nothing else gives. */
export async function findKeys(
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Promise<Outcome<KnockKeys>> {
  const sources: KeySources[] = [{
    what: settings.useGpg ? "passphrase for signing" : "encryption key",
    passphrase: settings.key,
    base64: settings.keyBase64,
    file: settings.keyFile,
    command: settings.keyCommand,
  }];
  if (settings.useHmac) {
    sources.push({
      what: "HMAC key",
      passphrase: settings.hmacKey,
      base64: settings.hmacKeyBase64,
      file: settings.hmacKeyFile,
      command: settings.hmacKeyCommand,
    });
  }
  const keys: (Uint8Array | null)[] = [];
  for (const source of sources) {
    const found = await findConfigured(source, settings, host);
    if (found !== null && !found.ok) return found;
    keys.push(found?.value ?? null);
  }
  if (settings.useGpg && keys[0] === null && !asksForPassphrase(settings, ui)) keys[0] = EMPTY;
  const missing = sources.filter((_, index) => keys[index] === null);
  if (missing.length > 0) {
    const typed = await readSecrets(missing.map(({ what }) => what), settings, host);
    if (!typed.ok) return typed;
    const rest = [...typed.value];
    for (const [index, key] of keys.entries()) keys[index] = key ?? rest.shift() ?? EMPTY;
  }
  return checkKeys(keys[0] ?? EMPTY, keys[1] ?? null, settings, ui);
}

/** Whether GnuPG needs a passphrase from here; where that is for a reason, it is told. */
function asksForPassphrase(settings: KnockSettings, ui: Ui): boolean {
  const { useGpgAgent, gpgNoSigningPassword, gpgSigner } = settings;
  const reason = useGpgAgent
    ? "acquired via gpg-agent"
    : gpgNoSigningPassword
    ? "not required"
    : null;
  if (reason === null) return gpgSigner !== undefined;
  if (!settings.json) ui.print(`[+] GPG mode set, signing passphrase ${reason}`);
  return false;
}

/** Null when the settings name no source. */
async function findConfigured(
  { what, passphrase, base64, file, command }: KeySources,
  settings: KnockSettings,
  host: Host,
): Promise<Outcome<Uint8Array> | null> {
  if (passphrase !== undefined) return done(encode(passphrase));
  if (base64 !== undefined) {
    const key = decodeKeyBase64(base64);
    return key === null ? failure(`cannot decode the ${what}: it is not base64`) : done(key);
  }
  if (file !== undefined) {
    const destination = parseDestination(settings.server ?? "");
    return readKeyFile(file, destination.ok ? destination.value.server : "", host);
  }
  return command === undefined ? null : await runKeyCommand(what, command, host);
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function readKeyFile(path: string, server: string, host: Host): Outcome<Uint8Array> {
  let text: string;
  try {
    text = host.readTextFile(path);
  } catch (error) {
    return failure(`Could not open config file: ${path}: ${reasonOf(error)}`);
  }
  const key = findKeyLine(text, server);
  if (key !== null) return done(encode(key));
  return failure(
    `Could not get key for IP: ${server} from: ${path}`,
    `a line of it has to read "${server}: KEY"`,
  );
}

/**
 * The key of a server in a key file: the last line `SERVER: KEY`, all of the line that follows the
 * blanks after the colon. Lines beginning with `#` or `;` are comments.
 *
 * @returns null when there is no such line or nothing after the colon
 */
function findKeyLine(text: string, server: string): string | null {
  const lines = text.split("\n").map((line) => line.replace(/^[ \t=]+/, ""));
  const found = lines.findLast((line) => !/^[#;]/.test(line) && line.startsWith(`${server}:`));
  const key = found?.slice(server.length + 1).replace(/^[ \t=]+/, "") ?? "";
  return key === "" ? null : key;
}

/** The first line that a command prints, run by sh(1) as the user wrote it. */
async function runKeyCommand(
  what: string,
  command: string,
  host: Host,
): Promise<Outcome<Uint8Array>> {
  const { status, stdout, stderr } = await host.run({
    program: "/bin/sh",
    args: ["-c", command],
    timeout: COMMAND_TIMEOUT,
  });
  if (status !== 0) {
    const reason = stderr.trim().split("\n")[0] ?? "";
    return failure(
      `cannot get the ${what}: '${command}' ended with status ${status}`,
      reason === "" ? undefined : reason,
    );
  }
  return done(encode(stdout.split("\n")[0] ?? ""));
}

/** Milliseconds; long enough for somebody to touch a token or to type into a pinentry. */
const COMMAND_TIMEOUT = 120_000;

/** Reads the secrets that are missing from the descriptor, one a line, or from the terminal. */
async function readSecrets(
  names: readonly string[],
  settings: KnockSettings,
  host: Host,
): Promise<Outcome<Uint8Array[]>> {
  const descriptor = settings.keyDescriptor;
  if (descriptor !== undefined) {
    try {
      return done(host.readLines(descriptor, names.length).map(editLine));
    } catch (error) {
      return failure(
        `cannot read keys from file descriptor ${descriptor}: Bad file descriptor`,
        reasonOf(error),
      );
    }
  }
  const terminal = await host.openTerminal();
  if (terminal === null) {
    return failure(
      `getpasswd() key error: no ${names.join(" and no ")}, and no terminal to ask on`,
      "give --stdin, --fd, -G or a stanza with KEY_BASE64 and HMAC_KEY_BASE64",
    );
  }
  try {
    const secrets: Uint8Array[] = [];
    for (const name of names) {
      const secret = askSecret(terminal, `Enter ${name}: `);
      if (secret === null) {
        return { ok: false, complaint: { text: "interrupted", status: EXIT.interrupted } };
      }
      secrets.push(secret);
    }
    return done(secrets);
  } finally {
    terminal.close();
  }
}

const BACKSPACE = 0x08;
const CANCEL = 0x03;
const KILL_LINE = 0x15;
/** Bytes of a line that fwknop keeps. */
const MAXIMUM_LINE = 127;

/** fwknop edits lines from a descriptor as if they were typed: erase, start again, give up. */
function editLine(line: Uint8Array): Uint8Array {
  let kept: number[] = [];
  for (const byte of line) {
    if (byte === CANCEL) return EMPTY;
    if (byte === BACKSPACE) kept.pop();
    else if (byte === KILL_LINE) kept = [];
    else kept.push(byte);
  }
  return Uint8Array.from(kept.slice(0, MAXIMUM_LINE));
}

function checkKeys(
  key: Uint8Array,
  hmacKey: Uint8Array | null,
  settings: KnockSettings,
  ui: Ui,
): Outcome<KnockKeys> {
  // fwknop's -T works with empty secrets, and programs use that; a server accepts none.
  if (!settings.test && !settings.useGpg && key.length === 0) {
    return failure("cannot send: the encryption key is empty");
  }
  if (!settings.test && hmacKey?.length === 0) return failure("cannot send: the HMAC key is empty");
  if (hmacKey !== null && hmacKey.length > MAX_GENERATED_HMAC_KEY_LENGTH) {
    return failure(
      `Invalid decoded key length: '${hmacKey.length}', must be in [1,128]: the HMAC key`,
    );
  }
  if (hmacKey !== null && areKeysIdentical(key, hmacKey)) {
    return failure(
      "[*] The encryption passphrase and HMAC key should not be identical, " +
        "no SPA packet sent. Exiting.",
    );
  }
  if (settings.useGpg) return done({ key, hmacKey });
  if (settings.encryptionMode === "legacy" && key.length > LEGACY_KEY_LENGTH) {
    ui.warn(
      "WARNING: Encryption key in '-M legacy' mode must be <= 16 bytes\n" +
        "long - truncating before sending SPA packet. Upgrading remote\nfwknopd is recommended.",
    );
  } else if (key.length > MAX_RIJNDAEL_KEY_LENGTH) {
    return failure(
      `Invalid key length: the encryption key has ${key.length} bytes, ` +
        `at most ${MAX_RIJNDAEL_KEY_LENGTH} are possible`,
    );
  }
  return done({ key, hmacKey });
}

/** Bytes of a key that legacy mode uses. */
const LEGACY_KEY_LENGTH = 16;
