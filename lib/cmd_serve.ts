// `spa serve`: the command line of fwknopd. Reads the configuration, answers what needs no daemon,
// and starts the gateway in the foreground or as a daemon.

import { flushFirewall } from "./cmd_fw_flush.ts";
import { listFirewall } from "./cmd_fw_list.ts";
import { parseOptions } from "./cmd_getopt.ts";
import { readServeOptions, SERVE_OPTIONS, type ServeArguments } from "./cmd_serve_options.ts";
import { createUi, EXIT, type Ui } from "./cmd_ui.ts";
import { formatAccessDump } from "./conf_access_dump.ts";
import { formatConfigDump } from "./conf_fwknopd_dump.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { formatProblem } from "./conf_problem.ts";
import { parseWholeNumber } from "./conf_values.ts";
import { type Host, reasonOf } from "./host.ts";
import { settleAuto } from "./serve_auto.ts";
import { CaptureError } from "./serve_capture.ts";
import {
  type ConfigReader,
  type Configuration,
  createConfigReader,
  type ServerReading,
} from "./serve_config.ts";
import { detachFromTerminal, isDaemonCopy, startDaemon } from "./serve_daemon.ts";
import { serveGateway } from "./serve_gateway.ts";
import { createJsonLog, createLog, type Log, type WriteLine } from "./serve_log.ts";
import { openServiceManager, type ServiceManager } from "./serve_notify.ts";
import {
  killDaemon,
  type PidFile,
  type ProcessAnswer,
  reportStatus,
  restartDaemon,
  takePidFile,
} from "./serve_process.ts";
import { checkConfiguredFirewall, type GatewayOptions } from "./serve_settings.ts";
import { openSyslog } from "./serve_syslog.ts";
import { systemTimer } from "./serve_timer.ts";
import { listSpaErrors } from "./spa_error.ts";

/** What `-V` tells: the fwknop whose interface this is, then which program it is. */
const VERSION = "fwknopd server 2.6.10, compiled for firewall bin: /usr/sbin/iptables";
const PACKET_LIMIT_MAXIMUM = 0x7fffffff;
const QUESTIONS = ["dump-config", "kill", "restart", "status"] as const;

/** Runs `spa serve`; fwknopd knows the exit statuses 0 and 1 only. */
export async function run(args: string[], host: Host): Promise<number> {
  const ui = createUi(host, { command: "serve" });
  const posixlyCorrect = host.env("POSIXLY_CORRECT") !== undefined;
  const parsed = parseOptions(SERVE_OPTIONS, args, { posixlyCorrect });
  const options = readServeOptions(parsed.found);
  if (options.has("version")) return print(ui, VERSION);
  if (options.has("help")) return await printHelp(host);
  if (parsed.errors.length > 0) {
    ui.usage(parsed.errors);
    return EXIT.failed;
  }
  const later = SERVE_OPTIONS.find((option) => option.later && options.has(option.long));
  if (later !== undefined) {
    return refuse(ui, `cannot use "--${later.long}": it is not part of this release`);
  }
  if (options.has("key-gen") || options.has("key-gen-file")) {
    return await generateKeys(options, host);
  }
  if (QUESTIONS.filter((name) => options.has(name)).length > 1) {
    return refuse(ui, "only one of -D, -K, -R and -S can be used at a time");
  }
  const limit = options.value("packet-limit") ?? "0";
  const packetLimit = parseWholeNumber(limit, 0, PACKET_LIMIT_MAXIMUM, "out of range");
  if (!packetLimit.ok) {
    const { why, hint } = packetLimit.fault;
    return refuse(ui, `cannot use packet limit "${limit}": ${why}`, hint);
  }
  try {
    return await runConfigured(args, options, packetLimit.value, host, ui);
  } catch (error) {
    const hint = error instanceof CaptureError ? error.hint : null;
    return refuse(ui, reasonOf(error), hint);
  }
}

/** Everything that needs the configuration. */
async function runConfigured(
  args: string[],
  options: ServeArguments,
  packetLimit: number,
  host: Host,
  ui: Ui,
): Promise<number> {
  const reader = createConfigReader(host, {
    file: options.value("config-file"),
    variables: commandLineVariables(options),
    verbosity: options.count("verbose"),
  });
  const server = reader.readServer();
  if (options.has("dump-serv-err-codes") && !server.hasErrors) return printErrorCodes(ui);
  if (server.hasErrors) return complainOf(server, host);
  const { config } = server;

  if (options.has("kill")) return answer(host, await killDaemon(host, config.FWKNOP_PID_FILE));
  if (options.has("status")) return answer(host, await reportStatus(host, config.FWKNOP_PID_FILE));
  if (options.has("restart")) {
    return answer(host, await restartDaemon(host, config.FWKNOP_PID_FILE));
  }
  if (options.has("fw-list") || options.has("fw-list-all")) {
    const log = await openLog(host, server, false, false);
    const settled = await settleAuto(host, log, config);
    return await listFirewall(host, settled.config, log, { all: options.has("fw-list-all") });
  }
  if (options.has("fw-flush")) {
    const log = await openLog(host, server, false, false);
    return await flushFirewall(host, (await settleAuto(host, log, config)).config, log);
  }

  const whole = reader.readAccess(server);
  if (whole.hasErrors) return complainOf(whole, host);
  if (options.has("dump-config")) {
    host.stdout(formatConfigDump(whole.reading) + formatAccessDump(whole.stanzas));
    return EXIT.done;
  }

  const checkOnly = options.has("exit-parse-config");
  const foreground = options.has("foreground") || options.has("afl-fuzzing") || checkOnly ||
    options.has("exit-parse-digest-cache");
  const inDaemon = isDaemonCopy(host);
  if (!foreground && !inDaemon) {
    for (const problem of whole.problems) host.stderr(`${formatProblem(problem)}\n`);
    return await startDaemon(host, ["serve", ...args]);
  }

  const log = await openLog(host, whole, inDaemon, options.has("syslog-enable"));
  for (const problem of whole.problems) log.warning(formatProblem(problem));
  await warnOfLocale(host, config, log);
  if (checkOnly) {
    reader.makeRunDirectory(config, log, true);
    const settled = await settleFirewall(host, log, whole);
    for (const line of await checkConfiguredFirewall(host, log, settled)) log.info(line);
    log.info("Configs parsed, exiting.");
    return EXIT.done;
  }
  const gatewayOptions: GatewayOptions = {
    testMode: options.has("test"),
    anyDirection: options.has("pcap-any-direction"),
    fromStdin: options.has("afl-fuzzing"),
    packetLimit,
    rotateDigestCache: options.has("rotate-digest-cache"),
    exitAfterDigestCache: options.has("exit-parse-digest-cache"),
  };
  if (inDaemon) host.setFileMask(0o077);
  let pidFile: PidFile | null = null;
  let manager: ServiceManager | null = null;
  try {
    reader.makeRunDirectory(config, log, false);
    if (!gatewayOptions.exitAfterDigestCache) {
      pidFile = await takePidFile(host, config.FWKNOP_PID_FILE);
    }
    manager = await openServiceManager(host, log, systemTimer);
    const { tell } = manager;
    log.info("Starting fwknopd");
    return await serveGateway({
      host,
      log,
      settings: await settleFirewall(host, log, whole),
      options: gatewayOptions,
      reload: async () => {
        const again = readAgain(reader, log);
        return again === null ? null : await settleFirewall(host, log, again);
      },
      ready: async () => {
        if (inDaemon) await detachFromTerminal(host);
        tell("ready");
      },
      tell,
    });
  } catch (error) {
    const asObjects = config.LOG_FORMAT === "json";
    if (inDaemon || asObjects) log.error(reasonOf(error));
    // Who reads objects from standard error shall find nothing else there.
    if (asObjects && !inDaemon) return EXIT.failed;
    throw error;
  } finally {
    manager?.close();
    pidFile?.release();
  }
}

/** The configuration at a reload; null when it has errors. */
function readAgain(reader: ConfigReader, log: Log): Configuration | null {
  const whole = reader.readAccess(reader.readServer());
  for (const problem of whole.problems) log[problem.severity](formatProblem(problem));
  return whole.hasErrors ? null : whole;
}

/** The configuration with the firewall that `auto` stands for, of which the log is told. */
async function settleFirewall(host: Host, log: Log, whole: Configuration): Promise<Configuration> {
  const { config, line } = await settleAuto(host, log, whole.config);
  if (line !== null) log.info(line);
  return { ...whole, config };
}

function commandLineVariables(options: ServeArguments): ServeArguments["variables"] {
  const overrides = options.value("override-config");
  return overrides === null
    ? options.variables
    : { ...options.variables, OVERRIDE_CONFIG: overrides };
}

async function openLog(
  host: Host,
  { config, verbosity }: ServerReading,
  daemon: boolean,
  alsoSyslog: boolean,
): Promise<Log> {
  const create = (write: WriteLine): Log =>
    config.LOG_FORMAT === "json"
      ? createJsonLog(verbosity, host.now, write)
      : createLog(verbosity, write);
  const toTerminal: WriteLine = (_level, text) => host.stderr(`${text}\n`);
  if (!daemon && !alsoSyslog) return create(toTerminal);
  const native = await host.native();
  const toSyslog = openSyslog(native, config.SYSLOG_IDENTITY, config.SYSLOG_FACILITY);
  if (daemon) return create(toSyslog);
  return create((level, text) => {
    toTerminal(level, text);
    toSyslog(level, text);
  });
}

/** Messages are the same in every locale, but one that is not there is a mistake. */
async function warnOfLocale(host: Host, { LOCALE: name }: ServerConfig, log: Log): Promise<void> {
  if (name === null || /^NONE/i.test(name)) return;
  const { libc } = await host.native();
  if (!libc.hasLocale(name)) log.warning(`WARNING: Unable to set locale to '${name}'.`);
}

const KEY_OPTIONS = ["key-gen-file", "key-len", "hmac-key-len", "hmac-digest-type"] as const;

/** `spa keygen` with the options that concern it. */
async function generateKeys(options: ServeArguments, host: Host): Promise<number> {
  const { run: keygen } = await import("./cmd_keygen.ts");
  const args = KEY_OPTIONS.flatMap((name) => {
    const value = options.value(name);
    return value === null ? [] : [`--${name}=${value}`];
  });
  return await keygen(args, host) === EXIT.done ? EXIT.done : EXIT.failed;
}

async function printHelp(host: Host): Promise<number> {
  const { formatHelp } = await import("./cmd_help.ts");
  host.stdout(
    await formatHelp(SERVE_OPTIONS, {
      name: "spa serve",
      usage: "[options]",
      description: "Watch for SPA packets and open the firewall for who sent a valid one.",
    }),
  );
  return EXIT.done;
}

function printErrorCodes(ui: Ui): number {
  for (const { code, text } of listSpaErrors().filter((error) => error.code >= 4096)) {
    ui.print(`err code: ${code}, err string: '${text}'`);
  }
  return EXIT.done;
}

function complainOf(configuration: Pick<ServerReading, "problems">, host: Host): number {
  for (const problem of configuration.problems) host.stderr(`${formatProblem(problem)}\n`);
  return EXIT.failed;
}

function refuse(ui: Ui, text: string, hint: string | null = null): number {
  return ui.complain({ text, status: EXIT.failed, ...(hint === null ? {} : { hint }) });
}

function answer(host: Host, { status, stdout, stderr }: ProcessAnswer): number {
  host.stdout(stdout);
  host.stderr(stderr);
  return status;
}

function print(ui: Ui, text: string): number {
  ui.print(text);
  return EXIT.done;
}
