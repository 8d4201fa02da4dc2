// The keys of a stanza: encryption, HMAC, GPG, and that they differ.

import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import type { Stanza } from "./conf_stanza.ts";
import type { AccessLookups, StanzaReader } from "./conf_stanza_reader.ts";
import { isPlaceholder, parseKey } from "./conf_stanza_values.ts";
import type { Setting } from "./conf_text.ts";
import { failed, type Parsed, splitList } from "./net_list.ts";
import { type EncryptionMode, MAX_RIJNDAEL_KEY_LENGTH, parseEncryptionMode } from "./spa_cipher.ts";
import { type DigestName, equalConstantTime, parseDigestName } from "./spa_digest.ts";
import { fieldBytes } from "./spa_text.ts";

/** Bytes; what fwknop's library accepts is 136, what its programs make is at most 128. */
const LONGEST_HMAC_KEY = 128;
const LEGACY_KEY_LENGTH = 16;
const DIGESTS = "{md5,sha1,sha256,sha384,sha512,sha3_256,sha3_512}";
const NEW_KEYS = "make new keys with --key-gen";

interface Key {
  readonly bytes: Uint8Array;
  readonly setting: Setting;
}

/** The encryption and HMAC keys with what goes with them. */
export function readKeys(
  reader: StanzaReader,
): Pick<Stanza, "KEY" | "HMAC_KEY" | "HMAC_DIGEST_TYPE" | "ENCRYPTION_MODE"> {
  const ENCRYPTION_MODE = reader.read("ENCRYPTION_MODE", readMode) ?? "CBC";
  const key = readKey(reader, "KEY", "KEY_BASE64");
  const hmacKey = readKey(reader, "HMAC_KEY", "HMAC_KEY_BASE64");
  if (hmacKey !== null && hmacKey.bytes.length > LONGEST_HMAC_KEY) {
    const message = `${hmacKey.setting.name} is longer than ${LONGEST_HMAC_KEY} bytes`;
    reader.fail(hmacKey.setting, message, NEW_KEYS);
  }
  const digest = reader.read("HMAC_DIGEST_TYPE", readDigest);
  const digestSetting = reader.settings.get("HMAC_DIGEST_TYPE");
  const keyed = reader.settings.has("HMAC_KEY") || reader.settings.has("HMAC_KEY_BASE64");
  if (digestSetting !== undefined && !keyed) {
    const message = `HMAC_DIGEST_TYPE has no effect without HMAC_KEY in ${reader.tag}`;
    reader.warn(digestSetting, message);
  }
  if (key !== null && hmacKey !== null && equalConstantTime(key.bytes, hmacKey.bytes)) {
    failEqual(reader, hmacKey.setting);
  }
  return {
    KEY: key === null ? null : limitedKey(reader, key, ENCRYPTION_MODE),
    HMAC_KEY: hmacKey?.bytes ?? null,
    HMAC_DIGEST_TYPE: hmacKey === null ? null : digest ?? "SHA256",
    ENCRYPTION_MODE,
  };
}

/** What a stanza says about GPG; a GPG_HOME_DIR that is not set comes from fwknopd.conf. */
export function readGpg(
  reader: StanzaReader,
  config: ServerConfig,
  lookups: AccessLookups,
): Pick<
  Stanza,
  | "GPG_HOME_DIR"
  | "GPG_EXE"
  | "GPG_DECRYPT_ID"
  | "GPG_DECRYPT_PW"
  | "GPG_REQUIRE_SIG"
  | "GPG_IGNORE_SIG_VERIFY_ERROR"
  | "GPG_REMOTE_ID"
  | "GPG_FINGERPRINT_ID"
> {
  const passphrase = reader.settings.get("GPG_DECRYPT_PW");
  if (passphrase !== undefined && isPlaceholder(passphrase.value)) {
    failPlaceholder(reader, passphrase);
  }
  const withoutPassphrase = reader.flag("GPG_ALLOW_NO_PW");
  const used = passphrase !== undefined || withoutPassphrase;
  const lenient = reader.flag("GPG_IGNORE_SIG_VERIFY_ERROR");
  return {
    GPG_HOME_DIR: readHomeDirectory(reader, used ? config.GPG_HOME_DIR : null, lookups),
    GPG_EXE: readProgram(reader, used ? config.GPG_EXE : null, lookups),
    GPG_DECRYPT_ID: reader.text("GPG_DECRYPT_ID"),
    GPG_DECRYPT_PW: passphrase?.value ?? (withoutPassphrase ? "" : null),
    GPG_REQUIRE_SIG: readSignatureRule(reader, used, lenient),
    GPG_IGNORE_SIG_VERIFY_ERROR: lenient,
    GPG_REMOTE_ID: reader.read("GPG_REMOTE_ID", readList),
    GPG_FINGERPRINT_ID: reader.read("GPG_FINGERPRINT_ID", readList),
  };
}

/** That there is a key to decrypt with, and that GPG's passphrase is not the HMAC key. */
export function checkKeys(
  reader: StanzaReader,
  keys: Pick<Stanza, "HMAC_KEY" | "GPG_DECRYPT_PW">,
): void {
  const usable = keys.GPG_DECRYPT_PW !== null || reader.latest("KEY", "KEY_BASE64") !== null;
  if (!usable) {
    const message = `No keys found for access stanza source: '${reader.title}'`;
    const hint = "write KEY_BASE64 and HMAC_KEY_BASE64 as --key-gen prints them";
    reader.fail(reader.source, message, hint);
  }
  const hmacSetting = reader.latest("HMAC_KEY", "HMAC_KEY_BASE64");
  if (keys.HMAC_KEY === null || keys.GPG_DECRYPT_PW === null || hmacSetting === null) return;
  if (equalConstantTime(fieldBytes(keys.GPG_DECRYPT_PW), keys.HMAC_KEY)) {
    failEqual(reader, hmacSetting);
  }
}

function readKey(
  reader: StanzaReader,
  plain: "KEY" | "HMAC_KEY",
  base64: "KEY_BASE64" | "HMAC_KEY_BASE64",
): Key | null {
  const setting = reader.latest(plain, base64);
  if (setting === null) return null;
  if (reader.settings.has(plain) && reader.settings.has(base64)) {
    const other = setting.name === plain ? base64 : plain;
    reader.warn(setting, `${setting.name} replaces ${other} in ${reader.tag}`);
  }
  if (isPlaceholder(setting.value)) {
    failPlaceholder(reader, setting);
    return null;
  }
  const bytes = parseKey(setting.name, setting.value);
  if (!bytes.ok) {
    reader.fail(setting, bytes.fault.why, bytes.fault.hint);
    return null;
  }
  if (setting.name === plain && setting.trailingBlanks) {
    const message = `blanks behind ${plain} are not part of it; fwknopd 2.6.10 takes them as part`;
    reader.warn(setting, message, `write the key as ${base64}`);
  }
  return { bytes: bytes.value, setting };
}

function limitedKey(reader: StanzaReader, key: Key, mode: EncryptionMode): Uint8Array {
  const { bytes, setting } = key;
  if (mode === "legacy" && bytes.length > LEGACY_KEY_LENGTH) {
    const message = `truncating encryption key in legacy mode to ${LEGACY_KEY_LENGTH} bytes for ` +
      `access stanza source: '${reader.title}'`;
    reader.warn(setting, message);
    return bytes.slice(0, LEGACY_KEY_LENGTH);
  }
  if (bytes.length > MAX_RIJNDAEL_KEY_LENGTH) {
    const message = `${setting.name} is longer than ${MAX_RIJNDAEL_KEY_LENGTH} bytes`;
    reader.fail(setting, `${message}: no packet could ever match it`, NEW_KEYS);
  }
  return bytes;
}

/** What is missing by default only disables the stanza: fwknopd starts then, and others may work. */
function readHomeDirectory(
  reader: StanzaReader,
  byDefault: string | null,
  { isDirectory }: AccessLookups,
): string | null {
  const problem = (path: string): string =>
    `GPG_HOME_DIR directory '${path}' stat()/existence problem in stanza source '${reader.title}'`;
  const own = reader.read(
    "GPG_HOME_DIR",
    (path) =>
      isDirectory(path)
        ? { ok: true, value: path }
        : failed(0, path, problem(path), "name a directory that exists"),
  );
  if (byDefault !== null && !reader.settings.has("GPG_HOME_DIR") && !isDirectory(byDefault)) {
    const hint = "set GPG_HOME_DIR to gpg's directory; until then this stanza grants nothing";
    reader.warn(reader.source, problem(byDefault), hint);
  }
  return own ?? byDefault;
}

function readProgram(
  reader: StanzaReader,
  byDefault: string | null,
  { isProgram }: AccessLookups,
): string | null {
  const problem = (path: string): string =>
    `GPG_EXE '${path}' is not an executable file in stanza source '${reader.title}'`;
  const own = reader.read(
    "GPG_EXE",
    (path) =>
      isProgram(path)
        ? { ok: true, value: path }
        : failed(0, path, problem(path), "write the full path of gpg"),
  );
  if (byDefault !== null && !reader.settings.has("GPG_EXE") && !isProgram(byDefault)) {
    const hint = "install gnupg, or set GPG_EXE; until then this stanza grants nothing";
    reader.warn(reader.source, problem(byDefault), hint);
  }
  return own ?? byDefault;
}

/** Only GPG_DISABLE_SIG switches signatures off: fwknopd checks them with GPG_REQUIRE_SIG N, too. */
function readSignatureRule(reader: StanzaReader, used: boolean, lenient: boolean): boolean {
  const unsigned = reader.flag("GPG_DISABLE_SIG");
  const asked = reader.flag("GPG_REQUIRE_SIG");
  const required = asked || used && !unsigned;
  const rule = reader.settings.get("GPG_REQUIRE_SIG");
  if (used && required && !asked && rule !== undefined) {
    const message = `GPG_REQUIRE_SIG N has no effect without GPG_DISABLE_SIG Y ${reader.endTag}`;
    reader.warn(rule, message);
  }
  const leniency = reader.settings.get("GPG_IGNORE_SIG_VERIFY_ERROR");
  if (required && lenient && leniency !== undefined) {
    const message = "GPG_IGNORE_SIG_VERIFY_ERROR lets forged signatures pass";
    reader.warn(leniency, `${message} ${reader.endTag}`);
  }
  if (used && unsigned && required) {
    const message = "GPG_REQUIRE_SIG and GPG_DISABLE_SIG are both set, will check sigs";
    reader.warn(reader.source, `${message} ${reader.endTag}`);
  } else if (used && !required) {
    reader.warn(reader.source, `GPG_REQUIRE_SIG should really be enabled for ${reader.tag}`);
  }
  const signers = reader.latest("GPG_REMOTE_ID", "GPG_FINGERPRINT_ID");
  if (used && !unsigned && signers === null) {
    const message = "Must have either sig ID's or fingerprints to check via GPG_REMOTE_ID or " +
      `GPG_FINGERPRINT_ID ${reader.endTag}`;
    reader.fail(reader.source, message, "write GPG_FINGERPRINT_ID with the client's fingerprint");
  }
  return required;
}

function failPlaceholder(reader: StanzaReader, setting: Setting): void {
  const message = `${setting.name} value is not properly set in stanza source '${reader.title}' ` +
    `in access file: '${setting.place.file}'`;
  reader.fail(setting, message, "replace __CHANGEME__");
}

function failEqual(reader: StanzaReader, setting: Setting): void {
  const message = "The encryption passphrase and HMAC key should not be identical for access " +
    `stanza source: '${reader.title}'`;
  reader.fail(setting, message, NEW_KEYS);
}

function readMode(text: string): Parsed<EncryptionMode> {
  const mode = parseEncryptionMode(text);
  if (mode !== null) return { ok: true, value: mode };
  const hint = "write one of {CBC,ECB,CFB,OFB,CTR,legacy,Asymmetric}";
  return failed(0, text, `Unrecognized ENCRYPTION_MODE '${text}'`, hint);
}

function readDigest(text: string): Parsed<DigestName> {
  const name = parseDigestName(text);
  if (name !== null) return { ok: true, value: name };
  const why = `HMAC_DIGEST_TYPE argument '${text}' must be one of ${DIGESTS}`;
  return failed(0, text, why, `write one of ${DIGESTS}`);
}

function readList(text: string): Parsed<readonly string[]> {
  const items = splitList(text).map((item) => item.text).filter((item) => item !== "");
  return { ok: true, value: items };
}
