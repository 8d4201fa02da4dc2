// The command line that `spa fw-list` and `spa fw-flush` share: where the server's configuration
// is, and what is read from it.

import { type OptionSpec, parseOptions } from "./cmd_getopt.ts";
import { formatHelp } from "./cmd_help.ts";
import { createUi, EXIT } from "./cmd_ui.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { formatProblem } from "./conf_problem.ts";
import type { Host } from "./host.ts";
import { settleAuto } from "./serve_auto.ts";
import { createConfigReader } from "./serve_config.ts";
import { createLog, type Log } from "./serve_log.ts";

/** A command on the firewall of the server's configuration. */
export interface FirewallCommand {
  readonly name: string;
  readonly description: string;
  /** What stands after the name in the help; only options by default. */
  readonly usage?: string;
  /** How many words may stand beside options; none by default. */
  readonly operands?: number;
  /** Options beyond those that both commands take. */
  readonly options: readonly OptionSpec[];
  /** Does the work and gives the exit status. */
  act(
    config: ServerConfig,
    log: Log,
    has: (option: string) => boolean,
    operands: readonly string[],
  ): Promise<number>;
}

const SHARED: readonly OptionSpec[] = [
  {
    long: "config-file",
    short: "c",
    argument: "FILE",
    help: "server configuration (default /etc/fwknop/fwknopd.conf)",
    group: "Configuration",
  },
  {
    long: "override-config",
    short: "O",
    argument: "FILE,...",
    help: "further configuration files whose values win",
    group: "Configuration",
  },
  {
    long: "run-dir",
    short: "r",
    argument: "DIRECTORY",
    help: "the server's run directory, for values that begin with $FWKNOP_RUN_DIR",
    group: "Configuration",
  },
  { long: "json", help: "print for programs to read", group: "Output" },
  { long: "verbose", short: "v", help: "show the firewall's commands", group: "Output" },
  { long: "help", short: "h", help: "print this text", group: "Output" },
];

/**
 * Reads the command line and the configuration, complains or acts.
 *
 * @param args the words after the subcommand's name
 */
export async function runFirewallCommand(
  args: readonly string[],
  host: Host,
  command: FirewallCommand,
): Promise<number> {
  const ui = createUi(host, { command: command.name });
  const table = [...command.options, ...SHARED];
  const posixlyCorrect = host.env("POSIXLY_CORRECT") !== undefined;
  const { found, operands, errors } = parseOptions(table, args, { posixlyCorrect });
  const has = (name: string): boolean => found.some((option) => option.name === name);
  const value = (name: string): string | null =>
    found.findLast((option) => option.name === name)?.value ?? null;
  if (has("help")) {
    host.stdout(
      await formatHelp(table, {
        name: `spa ${command.name}`,
        usage: command.usage ?? "[options]",
        description: command.description,
      }),
    );
    return EXIT.done;
  }
  const stray = operands.slice(command.operands ?? 0).map((word) => ({
    text: `unexpected argument '${word}'`,
  }));
  if (errors.length + stray.length > 0) return ui.usage([...errors, ...stray]);

  const overrides = value("override-config");
  const directory = value("run-dir");
  const server = createConfigReader(host, {
    file: value("config-file"),
    variables: {
      ...(overrides === null ? {} : { OVERRIDE_CONFIG: overrides }),
      ...(directory === null ? {} : { FWKNOP_RUN_DIR: directory }),
    },
    verbosity: found.filter(({ name }) => name === "verbose").length,
  }).readServer();
  for (const problem of server.problems) host.stderr(`${formatProblem(problem)}\n`);
  if (server.hasErrors) return EXIT.failed;
  const log = createLog(server.verbosity, (_, text) => host.stderr(`${text}\n`));
  const { config } = await settleAuto(host, log, server.config);
  return await command.act(config, log, has, operands);
}
