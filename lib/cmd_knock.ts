// `spa knock`: sends one SPA packet, as `fwknop` does. The order of the steps is fwknop's, since it
// decides which error is seen and which files are touched.

import settingsOfSpa from "../deno.json" with { type: "json" };
import { type FoundOption, parseOptions } from "./cmd_getopt.ts";
import {
  readLastLine,
  saveCommandLine,
  splitCommandLine,
  withoutMaskedSecrets,
} from "./cmd_knock_history.ts";
import { KNOCK_OPTIONS, readKnockOptions } from "./cmd_knock_options.ts";
import { sendPacket } from "./cmd_knock_packet.ts";
import {
  checkNoRcFile,
  checkSettings,
  describeOverrides,
  mergeSettings,
} from "./cmd_knock_settings.ts";
import { describeStanzas, loadRcFile } from "./cmd_knock_rc.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { createUi, done, EXIT, type Outcome, type Ui } from "./cmd_ui.ts";
import type { RcReading } from "./conf_fwknoprc.ts";
import type { Host } from "./host.ts";
import type { GeneratedKeys } from "./spa_key.ts";
import { PROTOCOL_VERSION } from "./spa_message.ts";

/** Runs `spa knock`; gives the exit status. */
export async function run(args: string[], host: Host): Promise<number> {
  return await knock(args, host, false);
}

/** @param replayed whether the arguments come from the file of the last command */
async function knock(args: readonly string[], host: Host, replayed: boolean): Promise<number> {
  const parsed = parseOptions(KNOCK_OPTIONS, args, {
    posixlyCorrect: host.env("POSIXLY_CORRECT") !== undefined,
  });
  if (parsed.found.some(({ name }) => name === "help")) return await printHelp(host);
  const found = replayed ? withoutMaskedSecrets(parsed.found) : parsed.found;
  const quiet = found.some(({ name }) => name === "quiet");
  const ui = createUi(host, { command: "knock", quiet });
  if (parsed.errors.length > 0) return ui.usage(parsed.errors);
  const line = readKnockOptions(found);
  if (!line.ok) return ui.complain(line.complaint);
  if (line.value.version) return printVersion(ui);
  for (const operand of parsed.operands) {
    ui.warn(`"${operand}" is not used`, "-n STANZA names a stanza, -D HOST a gateway");
  }
  const misuse = checkNoRcFile(line.value);
  if (misuse !== null) return ui.complain(misuse);
  if (line.value.listStanzas) return conclude(describeStanzas(line.value, host), ui);

  const rc = line.value.noRcFile ? done(NO_RC_FILE) : loadRcFile(line.value, host, ui);
  if (!rc.ok) return ui.complain(rc.complaint);
  const settings = mergeSettings(rc.value.settings, line.value);
  if ((settings.verbose ?? 0) > 1 && !settings.json) traceRcFile(rc.value, ui);
  for (const override of describeOverrides(rc.value.settings, line.value)) ui.warn(override);
  const contradiction = checkSettings(settings);
  if (contradiction !== null) return ui.complain(contradiction);

  if (settings.generateKeys || settings.saveStanza) {
    const kept = await keepSettings(found, settings, host, ui);
    if (!kept.ok) return ui.complain(kept.complaint);
    if (settings.generateKeys) return EXIT.done;
  }
  if (settings.lastCommand && !replayed) return await repeatLast(settings, host, ui);
  if (settings.showLast) {
    const last = readLastLine(settings, host, ui);
    return conclude(last.ok ? done(`Last fwknop client command line: ${last.value}`) : last, ui);
  }
  if (!replayed) {
    const saved = saveCommandLine(found, settings, host, ui);
    if (!saved.ok) return ui.complain(saved.complaint);
  }
  const sent = await sendPacket(settings, host, ui);
  return sent.ok ? EXIT.done : ui.complain(sent.complaint);
}

/** Makes keys, and writes them and what the command line says to the stanza, as asked. */
async function keepSettings(
  found: readonly FoundOption[],
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Promise<Outcome<void>> {
  let keys: GeneratedKeys | null = null;
  if (settings.generateKeys) {
    const { generateForKnock } = await import("./cmd_keygen.ts");
    const generated = generateForKnock(settings, host, ui);
    if (!generated.ok) return generated;
    keys = generated.value;
  }
  if (!settings.saveStanza) return done(undefined);
  const { saveStanza } = await import("./cmd_knock_save.ts");
  const saved = saveStanza(found, settings, keys, host, ui);
  if (!saved.ok) return saved;
  const { stanza, path } = saved.value;
  if (keys !== null && settings.keyGenFile === undefined) {
    ui.print(`[+] Wrote Rijndael and HMAC keys to rc file: ${path}`);
  } else {
    ui.confirm(`saved stanza [${stanza}] in ${path}`);
  }
  return done(undefined);
}

const NO_RC_FILE: RcReading = { settings: {}, found: true, problems: [], trace: [] };

function conclude(outcome: Outcome<string>, ui: Ui): number {
  if (!outcome.ok) return ui.complain(outcome.complaint);
  ui.print(outcome.value);
  return EXIT.done;
}

async function printHelp(host: Host): Promise<number> {
  const { formatHelp } = await import("./cmd_help.ts");
  host.stdout(
    await formatHelp(KNOCK_OPTIONS, {
      name: "spa knock",
      usage: "-A PORTS (-a ADDRESS | -R | -s) -D HOST [options]",
      description: "Asks a gateway with one encrypted packet to open a port. Options, files and " +
        "packets are those of fwknop.",
      footer: HELP_FOOTER,
    }),
  );
  return EXIT.done;
}

const HELP_FOOTER = `Examples:
  spa knock -A tcp/22 -R -D gateway.example.org     open ssh for this machine
  spa knock -n gateway                              as the stanza [gateway] says
  spa keygen --stanza gateway --server gateway.example.org
                                                    make that stanza, with new keys
`;

function printVersion(ui: Ui): number {
  ui.print(
    `spa knock ${settingsOfSpa.version}, compatible with ` +
      `fwknop client 2.6.11, FKO protocol version ${PROTOCOL_VERSION}`,
  );
  return EXIT.done;
}

function traceRcFile(reading: RcReading, ui: Ui): void {
  for (const { section, variables } of reading.trace) {
    ui.print(`process_rc_section() : Parsing section '${section}' ...`);
    for (const name of variables) ui.print(`parse_rc_param() : Parsing variable ${name}...`);
  }
}

async function repeatLast(settings: KnockSettings, host: Host, ui: Ui): Promise<number> {
  const line = readLastLine(settings, host, ui);
  if (!line.ok) return ui.complain(line.complaint);
  const args = splitCommandLine(line.value);
  if (!args.ok) return ui.complain(args.complaint);
  if ((settings.verbose ?? 0) > 0) ui.print(`Executing: ${line.value}`);
  return await knock(args.value, host, true);
}
