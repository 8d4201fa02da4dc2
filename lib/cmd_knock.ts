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
import { translatePerl } from "./cmd_knock_perl.ts";
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
import { checkFollowUp, checkWait, type Knocked, waitUntilOpen } from "./cmd_knock_wait.ts";
import { createUi, done, EXIT, type Outcome, type Ui, withoutStdout } from "./cmd_ui.ts";
import type { RcReading } from "./conf_fwknoprc.ts";
import type { Host } from "./host.ts";
import type { GeneratedKeys } from "./spa_key.ts";
import { PROTOCOL_VERSION } from "./spa_message.ts";

/** Runs `spa knock`; gives the exit status. */
export async function run(args: string[], host: Host): Promise<number> {
  return await knock(args, host, null);
}

/** What the command line that asks for the last one again wants done after the knock. */
interface Replay {
  readonly wait: boolean;
  readonly command: readonly string[];
}

/** @param replay null unless the arguments come from the file of the last command */
async function knock(
  args: readonly string[],
  host: Host,
  replay: Replay | null,
): Promise<number> {
  const parsed = parseOptions(KNOCK_OPTIONS, args, {
    posixlyCorrect: host.env("POSIXLY_CORRECT") !== undefined,
  });
  if (parsed.found.some(({ name }) => name === "help")) return await printHelp(host);
  const unused = parsed.operands.slice(0, parsed.operands.length - parsed.behindDashes.length);
  const translated = translatePerl(args, parsed.found, unused);
  const found = replay === null ? translated.found : withoutMaskedSecrets(translated.found);
  const command = replay?.command ?? parsed.behindDashes;
  const quiet = found.some(({ name }) => name === "quiet");
  // The program that runs after the knock has the standard output for itself.
  const ui = createUi(command.length === 0 ? host : withoutStdout(host), {
    command: "knock",
    quiet,
    // Scripts that call fwknop test for 1.
    usageStatus: EXIT.failed,
  });
  if (parsed.errors.length > 0) return ui.usage(parsed.errors);
  const line = readKnockOptions(found);
  if (!line.ok) return ui.complain(line.complaint);
  if (line.value.version) return printVersion(ui);
  if (translated.gateway !== null) {
    ui.warn(`-k ${translated.gateway} is taken as -D: the gateway, as it was in fwknop 1.9`);
  }
  for (const operand of translated.operands) {
    ui.warn(`"${operand}" is not used`, "-n STANZA names a stanza, -D HOST a gateway");
  }
  const misuse = checkNoRcFile(line.value) ?? checkFollowUp(line.value, command);
  if (misuse !== null) return ui.complain(misuse);
  if (line.value.listStanzas) return conclude(describeStanzas(line.value, host), ui);

  const rc = line.value.noRcFile ? done(NO_RC_FILE) : loadRcFile(line.value, host, ui);
  if (!rc.ok) return ui.complain(rc.complaint);
  const merged = mergeSettings(rc.value.settings, line.value);
  const settings = replay?.wait ? { ...merged, wait: true } : merged;
  if ((line.value.verbose ?? 0) > 1 && !settings.json) traceRcFile(rc.value, ui);
  for (const override of describeOverrides(rc.value.settings, line.value)) ui.warn(override);
  const contradiction = checkSettings(settings) ?? checkWait(settings);
  if (contradiction !== null) return ui.complain(contradiction);

  if (settings.generateKeys || settings.saveStanza) {
    const kept = await keepSettings(found, settings, host, ui);
    if (!kept.ok) return ui.complain(kept.complaint);
    if (settings.generateKeys) return EXIT.done;
  }
  if (settings.lastCommand && replay === null) {
    return await repeatLast(settings, command, host, ui);
  }
  if (settings.showLast) {
    const last = readLastLine(settings, host, ui);
    return conclude(last.ok ? done(`Last fwknop client command line: ${last.value}`) : last, ui);
  }
  if (replay === null) {
    const saved = saveCommandLine(found, settings, host, ui);
    if (!saved.ok) return ui.complain(saved.complaint);
  }
  const sent = await sendPacket(settings, host, ui);
  if (!sent.ok) return ui.complain(sent.complaint);
  const followed = sent.value === null
    ? done(EXIT.done)
    : await followUp(sent.value, settings, command, host, ui);
  return followed.ok ? followed.value : ui.complain(followed.complaint);
}

/** Waits for the ports and runs the program, as asked; gives the exit status. */
async function followUp(
  knocked: Knocked,
  settings: KnockSettings,
  command: readonly string[],
  host: Host,
  ui: Ui,
): Promise<Outcome<number>> {
  if (settings.wait || command.length > 0) {
    const open = await waitUntilOpen(knocked, settings, host);
    if (!open.ok) return open;
    if (open.value !== "") ui.confirm(`${open.value} is open`);
  }
  if (command.length === 0) return done(EXIT.done);
  const { runInForeground } = await import("./cmd_knock_run.ts");
  return await runInForeground(command, host);
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
      usage: "-A PORTS (-a ADDRESS | -R | -s) -D HOST [options] [-- PROGRAM...]",
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
  spa knock -n gateway -- ssh gateway.example.org   knock, wait until the port is open, run ssh
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

async function repeatLast(
  settings: KnockSettings,
  command: readonly string[],
  host: Host,
  ui: Ui,
): Promise<number> {
  const line = readLastLine(settings, host, ui);
  if (!line.ok) return ui.complain(line.complaint);
  const args = splitCommandLine(line.value);
  if (!args.ok) return ui.complain(args.complaint);
  if ((settings.verbose ?? 0) > 0) ui.print(`Executing: ${line.value}`);
  return await knock(args.value, host, { wait: settings.wait ?? false, command });
}
