// The executable `spa`: finds the subcommand, hands it the real host, ends with its status.
// A subcommand's module is loaded only when it is asked for; it parses its own arguments.

import settings from "./deno.json" with { type: "json" };
import { createUi, EXIT } from "./lib/cmd_ui.ts";
import { nearest } from "./lib/conf_suggest.ts";
import type { Host } from "./lib/host.ts";
import { reasonOf } from "./lib/host.ts";
import { isSentryProcess } from "./lib/serve_sentry_start.ts";
import { denoHost } from "./lib/host_deno.ts";
import { LEAN_RUNTIME } from "./lib/host_deno_part.ts";

/** What a module `lib/cmd_*.ts` exports. */
export interface CommandModule {
  /** Takes the arguments after the subcommand's name and gives the exit status. */
  run(args: string[], host: Host): Promise<number>;
}

/** One line of the subcommand table. */
export interface Command {
  readonly summary: string;
  /** Loads the module; a static path, so that the bundler sees it. */
  readonly load: () => Promise<CommandModule>;
}

/** The subcommands in the order of `spa --help`. */
export const commands: Readonly<Record<string, Command>> = {
  "knock": {
    summary: "send an SPA packet to a gateway (what fwknop does)",
    load: () => import("./lib/cmd_knock.ts"),
  },
  "connect": {
    summary: "knock and carry a connection, for ssh's ProxyCommand",
    load: () => import("./lib/cmd_connect.ts"),
  },
  "serve": {
    summary: "watch for SPA packets and open the firewall (what fwknopd does)",
    load: () => import("./lib/cmd_serve.ts"),
  },
  "keygen": {
    summary: "make a key pair for a client and its gateway",
    load: () => import("./lib/cmd_keygen.ts"),
  },
  "fw-list": {
    summary: "list the firewall rules that are open now",
    load: () => import("./lib/cmd_fw_list.ts"),
  },
  "fw-close": {
    summary: "end grants before their time",
    load: () => import("./lib/cmd_fw_close.ts"),
  },
  "fw-flush": {
    summary: "remove all firewall rules that serve has made",
    load: () => import("./lib/cmd_fw_flush.ts"),
  },
};

/** Base names under which the executable behaves as one subcommand: links that replace fwknop. */
const aliases: ReadonlyMap<string, string> = new Map([["fwknop", "knock"], ["fwknopd", "serve"]]);

/**
 * Runs the subcommand that the arguments name.
 *
 * @param program the path or name the executable was started by
 * @param args all arguments
 * @param host the machine
 * @param table the subcommands
 * @returns the exit status: 2 when there is no such subcommand, else what the subcommand gives
 */
export async function dispatch(
  program: string,
  args: readonly string[],
  host: Host,
  table: Readonly<Record<string, Command>> = commands,
): Promise<number> {
  const alias = aliases.get(program.slice(program.lastIndexOf("/") + 1));
  const [name, ...rest] = alias === undefined ? args : [alias, ...args];
  if (name === undefined) {
    host.stderr(helpText(table));
    return EXIT.usage;
  }
  if (name === "--help" || name === "-h") return print(host, helpText(table));
  if (name === "--version" || name === "-V") return print(host, `spa ${settings.version}\n`);
  if (name === "help") {
    return rest[0] === undefined
      ? print(host, helpText(table))
      : await runCommand(rest[0], ["--help"], host, table);
  }
  return await runCommand(name, rest, host, table);
}

async function runCommand(
  name: string,
  args: string[],
  host: Host,
  table: Readonly<Record<string, Command>>,
): Promise<number> {
  const command = Object.hasOwn(table, name) ? table[name] : undefined;
  if (command !== undefined) {
    const { run } = await command.load();
    return await run(args, host);
  }
  const what = name.startsWith("-") ? "option" : "command";
  const guess = nearest([...Object.keys(table), "help"], name);
  return createUi(host, { command: "" }).complain({
    text: `unknown ${what} ${JSON.stringify(name)}`,
    hint: `${guess === null ? "" : `did you mean "${guess}"? `}"spa --help" lists the commands`,
    status: EXIT.usage,
  });
}

function print(host: Host, text: string): number {
  host.stdout(text);
  return EXIT.done;
}

function helpText(table: Readonly<Record<string, Command>>): string {
  const names = Object.keys(table);
  const width = Math.max(...names.map((name) => name.length));
  const lines = names.map((name) => `  ${name.padEnd(width)}  ${table[name]?.summary ?? ""}\n`);
  return [
    "usage: spa <command> [options]\n",
    "\n",
    ...lines,
    "\n",
    '"spa help <command>" describes a command, "spa --version" tells the version.\n',
    'Started through a link named fwknop or fwknopd, it is "spa knock" or "spa serve".\n',
  ].join("");
}

/** How this process was started: Deno hides `argv[0]`, the kernel does not. */
function startedAs(host: Host): string {
  try {
    return host.readTextFile("/proc/self/cmdline").split("\0")[0] ?? "";
  } catch {
    return "";
  }
}

/** Set by the executable, see scripts/compile.ts. */
const RUNTIME_ENVIRONMENT = {
  DENO_NO_UPDATE_CHECK: "1",
  DENO_NO_PACKAGE_JSON: "1",
  DENO_DIR: "/dev/null",
  DENO_LOG: "off",
  // And what a copy of the program gets, see LEAN_RUNTIME.
  ...LEAN_RUNTIME,
};

function fail(error: unknown, host: Host): never {
  if (!(error instanceof Deno.errors.BrokenPipe)) {
    const debug = host.env("SPA_DEBUG") !== undefined && error instanceof Error;
    host.stderr(`spa: internal error: ${debug ? error.stack : reasonOf(error).split("\n")[0]}\n`);
  }
  Deno.exit(EXIT.failed);
}

/** The part of `spa serve` that gives up all privileges is a process of its own. */
async function runSentry(host: Host): Promise<number> {
  const { runSentryProcess } = await import("./lib/serve_sentry_process.ts");
  return await runSentryProcess(host);
}

if (import.meta.main) {
  const host = denoHost();
  // What the executable tells Deno, programs that spa starts shall not see.
  for (const [name, value] of Object.entries(RUNTIME_ENVIRONMENT)) {
    if (Deno.env.get(name) === value) Deno.env.delete(name);
  }
  globalThis.addEventListener("unhandledrejection", (event) => fail(event.reason, host));
  globalThis.addEventListener("error", (event) => fail(event.error, host));
  // No await here: the executable's text is a script, see docs/executable.md.
  const running = isSentryProcess(host)
    ? runSentry(host)
    : dispatch(startedAs(host), Deno.args, host);
  running.then((status) => Deno.exit(status), (error) => fail(error, host));
}
