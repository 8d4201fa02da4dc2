// The last command line: kept in ~/.fwknop.run without its secrets, shown, and run again.

import type { FoundOption } from "./cmd_getopt.ts";
import { done, failure, misuse, type Outcome, type Ui } from "./cmd_ui.ts";
import { KNOCK_OPTIONS } from "./cmd_knock_options.ts";
import { warnOfLooseFile } from "./cmd_knock_rc.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { type Host, reasonOf } from "./host.ts";

const SECRET_OPTIONS: readonly string[] = [
  "key-rijndael",
  "key-base64-rijndael",
  "key-hmac",
  "key-base64-hmac",
];
const MASK = "***";

/** fwknop's limits, which programs test for: characters saved and words run again. */
const MAXIMUM_LENGTH = 1023;
const MAXIMUM_WORDS = 28;

/** The file that holds the last command line. */
function argsFilePath(settings: KnockSettings, host: Host): Outcome<string> {
  if (settings.argsFile !== undefined) return done(settings.argsFile);
  if (settings.noHomeDirectory) {
    return misuse("In --no-home-dir mode must set the args save file path with -E");
  }
  const home = host.env("HOME");
  if (home !== undefined && home !== "") return done(`${home}/.fwknop.run`);
  return failure(
    "Unable to determine args save file: HOME is not set",
    "set it, name a file with -E, or use --no-save-args",
  );
}

/**
 * Keeps the command line; a file that cannot be written is no reason not to knock.
 *
 * @param found the options as they were given
 */
export function saveCommandLine(
  found: readonly FoundOption[],
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Outcome<void> {
  if (settings.noSaveArgs) return done(undefined);
  const path = argsFilePath(settings, host);
  if (!path.ok) return path;
  const words = ["fwknop", ...found.flatMap(wordsOf)];
  if (words.reduce((length, word) => length + word.length, 0) > MAXIMUM_LENGTH) {
    return failure("argument string too long, exiting.", "--no-save-args does without the limit");
  }
  try {
    const text = `${words.map(quote).join(" ")} \n`;
    host.writeTextFile(path.value, text, { mode: 0o600, how: "truncate" });
  } catch (error) {
    ui.warn(`Could not open args file: ${path.value}: ${reasonOf(error)}`);
  }
  return done(undefined);
}

function wordsOf({ name, value }: FoundOption): string[] {
  const short = KNOCK_OPTIONS.find((option) => option.long === name)?.short;
  const flag = short === undefined ? `--${name}` : `-${short}`;
  if (value === null) return [flag];
  return [flag, SECRET_OPTIONS.includes(name) ? MASK : value];
}

/** Quotes a word for a shell if it needs that. */
function quote(word: string): string {
  if (/^[\w./:,@%+=*-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The line that was kept. */
export function readLastLine(settings: KnockSettings, host: Host, ui: Ui): Outcome<string> {
  const path = argsFilePath(settings, host);
  if (!path.ok) return path;
  try {
    const line = host.readTextFile(path.value).split("\n")[0] ?? "";
    warnOfLooseFile(path.value, host, ui);
    if (line === "") return failure(`Could not read line from file: ${path.value}`);
    return done(line);
  } catch (error) {
    return failure(`Could not open args file: ${path.value}: ${reasonOf(error)}`);
  }
}

/** The arguments in a kept line, without the program's name. Reads fwknop's lines as well. */
export function splitCommandLine(line: string): Outcome<string[]> {
  const words = [...line.matchAll(/(?:\\.|'[^']*'|[^\s'\\]|['\\])+/g)].map(([word]) =>
    word.replace(/\\(.)|'([^']*)'/g, (_, escaped, quoted) => escaped ?? quoted)
  );
  if (words.length > MAXIMUM_WORDS) {
    return failure(`cannot run the last command again: it has more than ${MAXIMUM_WORDS} words`);
  }
  return done(words.slice(1));
}

/** Leaves out keys of which only the mask was kept; a packet that had an HMAC still gets one. */
export function withoutMaskedSecrets(found: readonly FoundOption[]): FoundOption[] {
  return found.flatMap((option) => {
    const { name, value } = option;
    if (!SECRET_OPTIONS.includes(name) || value !== MASK) return [option];
    return name.endsWith("hmac") ? [{ name: "use-hmac", value: null }] : [];
  });
}
