// The .fwknoprc file of a run: where it is, whether others can read it, a first one, its settings.

import { done, failure, misuse, type Outcome, type Ui } from "./cmd_ui.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { listStanzas, type RcReading, readFwknoprc } from "./conf_fwknoprc.ts";
import { formatProblem, hasErrors } from "./conf_problem.ts";
import { type Host, reasonOf } from "./host.ts";

/** Path of the rc file that a command line means. */
export function rcFilePath(line: KnockSettings, host: Host): Outcome<string> {
  if (line.rcFile !== undefined) return done(line.rcFile);
  if (line.noHomeDirectory) {
    return misuse("Warning: in --no-home-dir mode, must set --rc-file path.");
  }
  const home = host.env("HOME");
  if (home === undefined || home === "") {
    return failure(
      "Warning: Unable to determine HOME directory.\n No .fwknoprc file processed.",
      "set HOME, or use --rc-file or --no-rc-file",
    );
  }
  return done(`${home}/.fwknoprc`);
}

/**
 * Reads the settings for a run, creating a first file with nothing but comments if there is none.
 * The named stanza is left out when it is about to be written anew.
 */
export function loadRcFile(line: KnockSettings, host: Host, ui: Ui): Outcome<RcReading> {
  const path = rcFilePath(line, host);
  if (!path.ok) return path;
  const text = readOrCreate(path.value, host, ui);
  const stanza = line.saveStanza ? null : line.stanza ?? null;
  const reading = readFwknoprc(text, path.value, stanza);
  for (const problem of reading.problems) {
    if (problem.severity === "warning" && line.quiet) continue;
    host.stderr(`${formatProblem(problem)}\n`);
  }
  if (hasErrors(reading.problems)) return failure(`cannot use ${path.value}`);
  if (!reading.found) {
    const names = listStanzas(text);
    return misuse(
      `Named configuration stanza: [${stanza ?? ""}] was not found.`,
      names.length === 0 ? undefined : `stanzas: ${names.join(", ")}`,
    );
  }
  return done(reading);
}

function readOrCreate(path: string, host: Host, ui: Ui): string {
  try {
    if (host.stat(path) === null) {
      create(path, host, ui);
      return "";
    }
    warnOfLooseFile(path, host, ui);
    return host.readTextFile(path);
  } catch (error) {
    ui.warn(`Unable to open rc file: ${path}: ${reasonOf(error)}`);
    return "";
  }
}

function create(path: string, host: Host, ui: Ui): void {
  try {
    host.writeTextFile(path, RC_TEMPLATE, { mode: 0o600, how: "create" });
    ui.warn(`[*] Creating initial rc file: ${path}.`);
  } catch (error) {
    ui.warn(`Unable to create initial rc file: ${path}: ${reasonOf(error)}`);
  }
}

/** Warns when a file that may hold keys is open to others. 0600 and 0400 are fine. */
export function warnOfLooseFile(path: string, host: Host, ui: Ui): void {
  const info = host.stat(path);
  if (info === null) return;
  if (!info.isFile) ui.warn(`[-] file: ${path} is not a regular file or symbolic link.`);
  if (info.mode !== 0o600 && info.mode !== 0o400) {
    ui.warn(
      `[-] file: ${path} permissions should only be user read/write (0600, -rw-------)`,
      `chmod 600 ${path}`,
    );
  }
  if (info.uid !== host.uid) {
    ui.warn(`[-] file: ${path} not owned by current effective user id`);
  }
}

/** The text of `--stanza-list`, or its JSON form. */
export function describeStanzas(line: KnockSettings, host: Host): Outcome<string> {
  const path = rcFilePath(line, host);
  if (!path.ok) return path;
  try {
    const names = listStanzas(host.readTextFile(path.value));
    if (line.json) return done(JSON.stringify({ file: path.value, stanzas: names }));
    const list = names.map((name) => `\n - ${name}`).join("");
    return done(`The following stanzas are configured in ${path.value} :${list}`);
  } catch (error) {
    return failure(`Unable to open rc file: ${path.value}: ${reasonOf(error)}`);
  }
}

const RC_TEMPLATE = `# .fwknoprc
#
# This file contains the settings of "spa knock" (or fwknop), one section for each gateway:
#
#   [NAME]
#   VARIABLE   VALUE
#
# "spa knock -n NAME" uses the section called NAME. What stands in [default] holds for all of
# them, a section overrides it, and the command line overrides both. A value ends at the first
# blank, ";" or "#". Keys are secrets: keep this file readable for nobody but you (chmod 600).
#
# "spa keygen --stanza NAME --server HOST" prints a section with new keys, and the stanza that
# belongs into the gateway's access.conf.

[default]
#DIGEST_TYPE         sha256
#FW_TIMEOUT          30
#SPA_SERVER_PORT     62201
#SPA_SERVER_PROTO    udp
#ALLOW_IP            resolve
#SPOOF_USER          alice
#TIME_OFFSET         0
#NO_SAVE_ARGS        N

#[gateway]
#SPA_SERVER          192.0.2.1
#ACCESS              tcp/22
#ALLOW_IP            resolve
#KEY_BASE64          ...
#HMAC_KEY_BASE64     ...

#[behind-the-gateway]
#SPA_SERVER          192.0.2.1
#ACCESS              tcp/8088
#ALLOW_IP            198.51.100.7
#NAT_ACCESS          10.0.0.55,80
#FW_TIMEOUT          60
`;
