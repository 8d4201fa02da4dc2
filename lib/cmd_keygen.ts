// `spa keygen`: a new pair of keys, alone as `fwknop --key-gen` prints them, or as a ready pair of
// stanzas for a client's .fwknoprc and its gateway's access.conf.

import { type OptionSpec, parseOptions } from "./cmd_getopt.ts";
import {
  clientStanza,
  gatewayStanza,
  keyRecord,
  readStanzaOptions,
  type Stanzas,
} from "./cmd_keygen_stanza.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { createUi, done, EXIT, failure, misuse, type Outcome, type Ui } from "./cmd_ui.ts";
import { listStanzas, sameStanza } from "./conf_fwknoprc.ts";
import { parseDecimal } from "./conf_fwknoprc_values.ts";
import { DIGEST_LIST } from "./conf_fwknoprc_variables.ts";
import { type Host, reasonOf } from "./host.ts";
import { parseDigestName } from "./spa_digest.ts";
import { type GeneratedKeys, generateKeys, type KeyOptions } from "./spa_key.ts";

const KEYS = "Keys";
const STANZAS = "Stanzas";
const OUTPUT = "Output";

const KEYGEN_OPTIONS: readonly OptionSpec[] = [
  { long: "key-len", argument: "BYTES", group: KEYS, help: "length of the encryption key (32)" },
  {
    long: "hmac-key-len",
    argument: "BYTES",
    group: KEYS,
    help: "length of the HMAC key (default: by its digest, 64 for sha256)",
  },
  {
    long: "hmac-digest-type",
    argument: "DIGEST",
    group: KEYS,
    help: "digest of the HMAC: md5, sha1, sha256 (default), sha384, sha512, sha3_256 or sha3_512",
  },
  {
    long: "stanza",
    short: "n",
    aliases: ["named-config"],
    argument: "NAME",
    group: STANZAS,
    help: "print the stanzas for client and gateway; needs --server",
  },
  {
    long: "server",
    short: "D",
    aliases: ["destination"],
    argument: "HOST",
    group: STANZAS,
    help: "the gateway's name or address",
  },
  {
    long: "access",
    short: "A",
    argument: "PORTS",
    group: STANZAS,
    help: "what the client asks for, and all that the gateway opens (default tcp/22)",
  },
  { long: "rc-file", argument: "FILE", group: STANZAS, help: "append the client's stanza to FILE" },
  {
    long: "access-file",
    argument: "FILE",
    group: STANZAS,
    help: "append the gateway's stanza to FILE",
  },
  {
    long: "key-gen-file",
    short: "K",
    argument: "FILE",
    group: OUTPUT,
    help: "write to FILE, which must not exist yet, instead of printing",
  },
  { long: "force", group: OUTPUT, help: "let --key-gen-file replace FILE" },
  { long: "json", group: OUTPUT, help: "print JSON" },
  { long: "help", short: "h", group: OUTPUT, help: "print this help" },
];

/** Runs `spa keygen`; gives the exit status. */
export async function run(args: string[], host: Host): Promise<number> {
  const ui = createUi(host, { command: "keygen" });
  const { found, operands, errors } = parseOptions(KEYGEN_OPTIONS, args);
  const given = new Map(found.map(({ name, value }) => [name, value ?? ""]));
  if (given.has("help")) return await printHelp(host);
  if (errors.length > 0) return ui.usage(errors);
  if (operands[0] !== undefined) return ui.usage([{ text: `unexpected "${operands[0]}"` }]);

  const options = readKeyOptions(given);
  if (!options.ok) return ui.complain(options.complaint);
  const stanzas = readStanzaOptions(given);
  if (!stanzas.ok) return ui.complain(stanzas.complaint);
  const keys = generateKeys(host.randomBytes, options.value);
  if (!keys.ok) return ui.complain(failure(`cannot make keys: ${keys.error.text}`).complaint);
  const output = { keys: keys.value, options: options.value, stanzas: stanzas.value, given };
  const written = stanzas.value === null
    ? deliverKeys(output, host, ui)
    : deliverStanzas(output, stanzas.value, host, ui);
  return written.ok ? EXIT.done : ui.complain(written.complaint);
}

async function printHelp(host: Host): Promise<number> {
  const { formatHelp } = await import("./cmd_help.ts");
  host.stdout(
    await formatHelp(KEYGEN_OPTIONS, {
      name: "spa keygen",
      usage: "[options]",
      description: "Makes an encryption key and an HMAC key.",
      footer:
        "Example:\n  spa keygen --stanza gateway --server gateway.example.org --access tcp/22 \\\n" +
        "    --rc-file ~/.fwknoprc --access-file access.conf\n",
    }),
  );
  return EXIT.done;
}

type Given = ReadonlyMap<string, string>;

function readKeyOptions(given: Given): Outcome<KeyOptions> {
  const keyLength = readLength(given.get("key-len"), 32, "key");
  if (!keyLength.ok) return keyLength;
  const hmacKeyLength = readLength(given.get("hmac-key-len"), 128, "hmac key");
  if (!hmacKeyLength.ok) return hmacKeyLength;
  const word = given.get("hmac-digest-type");
  const hmacType = word === undefined ? undefined : parseDigestName(word);
  if (hmacType === null) {
    return misuse(`Invalid hmac digest type: ${word}, use ${DIGEST_LIST}`);
  }
  return done({
    ...(keyLength.value === null ? {} : { keyLength: keyLength.value }),
    ...(hmacKeyLength.value === null ? {} : { hmacKeyLength: hmacKeyLength.value }),
    ...(hmacType === undefined ? {} : { hmacType }),
  });
}

function readLength(
  text: string | undefined,
  maximum: number,
  what: string,
): Outcome<number | null> {
  if (text === undefined) return done(null);
  const length = parseDecimal(text, 1, maximum);
  if (length !== null) return done(length);
  return misuse(`Invalid ${what} length '${text}', must be in [1-${maximum}]`);
}

/** Everything the output is made of. */
interface Output {
  readonly keys: GeneratedKeys;
  readonly options: KeyOptions;
  readonly stanzas: Stanzas | null;
  readonly given: Given;
}

/** The two lines that `fwknop --key-gen` prints. */
function formatKeyLines({ keyBase64, hmacKeyBase64 }: GeneratedKeys): string {
  return `KEY_BASE64: ${keyBase64}\nHMAC_KEY_BASE64: ${hmacKeyBase64}\n`;
}

function deliverKeys({ keys, options, given }: Output, host: Host, ui: Ui): Outcome<void> {
  const text = given.has("json")
    ? `${JSON.stringify(keyRecord(keys, options))}\n`
    : formatKeyLines(keys);
  const file = given.get("key-gen-file");
  if (file === undefined) {
    host.stdout(text);
    return done(undefined);
  }
  return writeKeyFile(file, text, given.has("force"), host, ui);
}

function writeKeyFile(
  file: string,
  text: string,
  replace: boolean,
  host: Host,
  ui: Ui,
): Outcome<void> {
  try {
    // Removed first: a file that exists would keep its own mode.
    if (replace && host.lstat(file) !== null) host.remove(file);
    host.writeTextFile(file, text, { mode: 0o600, how: "create" });
  } catch (error) {
    const hint = host.lstat(file) === null ? undefined : "--force replaces it";
    return failure(`Unable to create key gen file: ${file}: ${reasonOf(error)}`, hint);
  }
  ui.print(`[+] Wrote Rijndael and HMAC keys to: ${file}`);
  return done(undefined);
}

function deliverStanzas(
  { keys, options, given }: Output,
  stanzas: Stanzas,
  host: Host,
  ui: Ui,
): Outcome<void> {
  const record = keyRecord(keys, options);
  const client = clientStanza(stanzas, record);
  const gateway = gatewayStanza(stanzas, record);
  const files = ["rc-file", "access-file", "key-gen-file"].filter((long) => given.has(long));
  if (given.has("json") && files.length > 0) {
    return misuse(`cannot combine --json with --${files[0]} for stanzas`);
  }
  if (given.has("json")) {
    ui.print(JSON.stringify({ ...stanzas, ...record, fwknoprc: client, "access.conf": gateway }));
    return done(undefined);
  }
  const rcFile = given.get("rc-file");
  const accessFile = given.get("access-file");
  if (rcFile !== undefined) {
    const names = existingStanzas(rcFile, host);
    if (names.some((name) => sameStanza(name, stanzas.name))) {
      return failure(`cannot add stanza [${stanzas.name}] to ${rcFile}: there is one already`);
    }
    const added = append(rcFile, client, host);
    if (!added.ok) return added;
    ui.print(`[+] Wrote stanza [${stanzas.name}] to: ${rcFile}`);
  }
  if (accessFile !== undefined) {
    const added = append(accessFile, `# ${stanzas.name}\n${gateway}`, host);
    if (!added.ok) return added;
    ui.print(`[+] Wrote the gateway's stanza to: ${accessFile}`);
  }
  const pages = [
    ...(rcFile === undefined ? [`# ~/.fwknoprc of the client\n${client}`] : []),
    ...(accessFile === undefined ? [`# access.conf of the gateway\n${gateway}`] : []),
  ];
  const text = pages.join("\n");
  const file = given.get("key-gen-file");
  if (file !== undefined) return writeKeyFile(file, text, given.has("force"), host, ui);
  host.stdout(text);
  return done(undefined);
}

function existingStanzas(file: string, host: Host): string[] {
  try {
    return listStanzas(host.readTextFile(file));
  } catch {
    return [];
  }
}

/** Adds a stanza below what a file holds; creates the file for its owner only. */
function append(file: string, stanza: string, host: Host): Outcome<void> {
  try {
    const text = host.stat(file) === null ? "" : host.readTextFile(file);
    const gap = text === "" ? "" : text.endsWith("\n") ? "\n" : "\n\n";
    host.writeTextFile(file, `${gap}${stanza}`, { mode: 0o600, how: "append" });
    return done(undefined);
  } catch (error) {
    return failure(`cannot write "${file}": ${reasonOf(error)}`);
  }
}

/** `fwknop -k` and `-K`; the keys that `--save-rc-stanza` shall write are not shown. */
export function generateForKnock(
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Outcome<GeneratedKeys> {
  const { keyLength, hmacKeyLength, hmacDigestType } = settings;
  const options: KeyOptions = {
    ...(keyLength === undefined ? {} : { keyLength }),
    ...(hmacKeyLength === undefined ? {} : { hmacKeyLength }),
    ...(hmacDigestType === undefined ? {} : { hmacType: hmacDigestType }),
  };
  const keys = generateKeys(host.randomBytes, options);
  if (!keys.ok) return failure(`cannot make keys: ${keys.error.text}`);
  const given = new Map<string, string>(settings.json ? [["json", ""]] : []);
  const output = { keys: keys.value, options, stanzas: null, given };
  if (settings.keyGenFile !== undefined) {
    // fwknop replaces the file, and its users rely on that.
    const written = writeKeyFile(settings.keyGenFile, formatKeyLines(keys.value), true, host, ui);
    if (!written.ok) return written;
  } else if (!settings.saveStanza) {
    const written = deliverKeys(output, host, ui);
    if (!written.ok) return written;
  }
  return done(keys.value);
}
