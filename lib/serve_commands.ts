// The gateway's commands together: what requests run, what opens and closes in place of the
// firewall, and the order in which all of it ends.

import { messageAccount, messageCommand } from "./auth_command.ts";
import type { CommandGrant, CycleGrant } from "./auth_grant.ts";
import type { Stanza } from "./conf_access.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import type { Host } from "./host.ts";
import { createCommandRunner, DEFAULT_COMMAND_LIMIT } from "./serve_command.ts";
import { createCycles } from "./serve_cycle.ts";
import { openCycleFile } from "./serve_cycle_file.ts";
import type { Log } from "./serve_log.ts";
import type { Timer } from "./serve_timer.ts";

/** What fwknopd.conf says about commands. */
export type CommandConfig = Pick<
  ServerConfig,
  "CMD_EXEC_TIMEOUT" | "SUDO_EXE" | "FWKNOP_RUN_DIR" | "FLUSH_IPT_AT_EXIT"
>;

/** What the gateway's commands work with. */
export interface CommandsParts {
  readonly host: Host;
  readonly log: Log;
  /** The configuration in force. */
  readonly config: () => CommandConfig;
  /** Waits; `setTimeout` unless a test plays the clock. */
  readonly timer?: Timer;
}

/** The gateway's commands. */
export interface Commands {
  /** Takes up what an earlier run has left open. */
  start(): void;
  /** Runs what a grant allows; resolves at its end, and never rejects. */
  carryOut(stanza: Stanza, grant: CommandGrant | CycleGrant, prefix: string): Promise<void>;
  /** Starts nothing any more, and soon ends what runs. */
  stopRunning(): Promise<void>;
  /** Runs all closing commands now, unless FLUSH_IPT_AT_EXIT is off; after {@linkcode stopRunning}. */
  stop(): Promise<void>;
}

/** Milliseconds that running commands have when the daemon ends, and then those that close. */
const RUNNING_PATIENCE = 1000;
const CLOSING_PATIENCE = 10_000;

/** @throws when the file of closing commands in FWKNOP_RUN_DIR cannot be used */
export function createCommands(parts: CommandsParts): Commands {
  const { host, log, config } = parts;
  const limit = (): number => config().CMD_EXEC_TIMEOUT ?? DEFAULT_COMMAND_LIMIT;
  const timing = parts.timer === undefined ? {} : { timer: parts.timer };
  const runner = createCommandRunner({ host, log, limit, ...timing });
  const closer = createCommandRunner({ host, log, limit, ...timing });
  const path = `${config().FWKNOP_RUN_DIR}/cmd_cycle.pending`;
  const file = openCycleFile(host, path, log);
  const cycles = createCycles({ host, log, opener: runner, closer, file, ...timing });

  async function runMessage(stanza: Stanza, grant: CommandGrant, prefix: string): Promise<void> {
    const line = messageCommand(stanza, grant.command, config().SUDO_EXE);
    const account = messageAccount(stanza);
    const as = account === null
      ? ""
      : ` setuid/setgid user/group to ${account.user}/${account.group}` +
        ` (UID=${account.uid},GID=${account.gid})`;
    log.info(`${prefix} Processing SPA Command message: command='${grant.command}'.`);
    log.info(`${prefix} Running command '${line.text}'${as}`);
    const outcome = await runner.run(prefix, line, account);
    if (outcome === null) return;
    const { returned, status } = outcome;
    log.info(`${prefix} CMD_EXEC: command returned ${returned}, pid_status: ${status}`);
  }

  return {
    start: cycles.start,
    carryOut: (stanza, grant, prefix) =>
      grant.kind === "command"
        ? runMessage(stanza, grant, prefix)
        : cycles.open(stanza, grant, prefix),
    stopRunning: () => runner.stop(RUNNING_PATIENCE),
    async stop() {
      const closing = cycles.stop(config().FLUSH_IPT_AT_EXIT);
      await Promise.all([closing, closer.stop(CLOSING_PATIENCE)]);
    },
  };
}
