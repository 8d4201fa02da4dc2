// The server's files: read, checked, and joined to one configuration, at start and at every reload.

import { parseAccessConfig, type Stanza } from "./conf_access.ts";
import { parseServerConfig, type ServerConfigReading } from "./conf_fwknopd.ts";
import type { ServerConfig, ServerVariableName } from "./conf_fwknopd_variables.ts";
import type { DirectoryNames } from "./conf_access_files.ts";
import { checkFilePermissions } from "./conf_permissions.ts";
import { errorAt, hasErrors, type Problem } from "./conf_problem.ts";
import type { FileText } from "./conf_text.ts";
import { type Host, reasonOf } from "./host.ts";
import { readAccounts } from "./serve_accounts.ts";
import type { Log } from "./serve_log.ts";

/** Where the command line says that the configuration is. */
export interface ConfigRequest {
  /** The main file; null for the default. */
  readonly file: string | null;
  readonly variables: Readonly<Partial<Record<ServerVariableName, string>>>;
  /** Number of `-v` options. */
  readonly verbosity: number;
}

/** fwknopd.conf and what was found in it. */
export interface ServerReading {
  readonly reading: ServerConfigReading;
  readonly config: ServerConfig;
  readonly problems: readonly Problem[];
  readonly hasErrors: boolean;
  /** Number of `-v` options plus VERBOSE. */
  readonly verbosity: number;
}

/** Both files and what was found in them. */
export interface Configuration extends ServerReading {
  readonly stanzas: readonly Stanza[];
}

/** Reads the same files each time, wherever the process has gone since. */
export interface ConfigReader {
  readServer(): ServerReading;
  readAccess(server: ServerReading): Configuration;
  /** Makes FWKNOP_RUN_DIR if it is missing. Throws when it cannot be made or is no directory. */
  makeRunDirectory(config: ServerConfig, log: Log): void;
}

const DEFAULT_CONFIG_FILE = "/etc/fwknop/fwknopd.conf";
/** Variables that hold one path. */
const PATH_VARIABLES = [
  "ACCESS_FILE",
  "ACCESS_FOLDER",
  "DIGEST_FILE",
  "FWKNOP_PID_FILE",
  "GPG_EXE",
  "GPG_HOME_DIR",
  "PCAP_FILE",
] as const satisfies readonly ServerVariableName[];

/** A reader whose relative paths mean what they mean now. */
export function createConfigReader(host: Host, request: ConfigRequest): ConfigReader {
  const base = host.absolutePath("");
  const absolute = (path: string): string => path.startsWith("/") ? path : `${base}${path}`;
  const file = request.file ?? DEFAULT_CONFIG_FILE;

  function readText(path: string): FileText {
    try {
      return { ok: true, text: host.readTextFile(absolute(path)) };
    } catch (error) {
      return { ok: false, reason: reasonOf(error) };
    }
  }

  function listDirectory(path: string): DirectoryNames {
    try {
      return { ok: true, names: host.listDirectory(absolute(path)) };
    } catch (error) {
      return { ok: false, reason: reasonOf(error) };
    }
  }

  function permissionProblems(paths: readonly string[]): Problem[] {
    return paths.flatMap((path) => {
      const info = host.stat(absolute(path));
      return info === null ? [] : checkFilePermissions(path, info, host.uid);
    });
  }

  function isDirectory(path: string): boolean {
    return host.lstat(absolute(path))?.isDirectory ?? false;
  }

  function isProgram(path: string): boolean {
    const info = host.stat(absolute(path));
    return info !== null && info.isFile && (info.mode & 0o111) !== 0;
  }

  /** What the command line names has to be there, whether a stanza uses it or not. */
  function commandLineProblems(): Problem[] {
    const { GPG_EXE: program, GPG_HOME_DIR: directory } = request.variables;
    const at = { file: "command line", line: 0, column: 0 };
    const problems: Problem[] = [];
    if (program !== undefined && !isProgram(program)) {
      problems.push(errorAt(at, `gpg path '${program}' could not lstat()/not executable?`));
    }
    if (directory !== undefined && !isDirectory(directory)) {
      const why = "could not lstat(), does not exist, or too large?";
      problems.push(errorAt(at, `gpg home directory '${directory}' ${why}`));
    }
    return problems;
  }

  function readServer(): ServerReading {
    const reading = parseServerConfig({
      path: file,
      readText,
      commandLine: request.variables,
      verbose: request.verbosity > 0,
    });
    const paths = PATH_VARIABLES.map((name) => [name, reading.config[name]] as const)
      .filter((entry): entry is readonly [typeof entry[0], string] => entry[1] !== null)
      .map(([name, path]) => [name, absolute(path)]);
    const problems = [
      ...permissionProblems([file]),
      ...reading.problems,
      ...commandLineProblems(),
    ];
    return {
      reading,
      config: { ...reading.config, ...Object.fromEntries(paths) },
      problems,
      hasErrors: hasErrors(problems),
      verbosity: request.verbosity + (reading.config.VERBOSE ?? 0),
    };
  }

  function readAccess(server: ServerReading): Configuration {
    const accounts = readAccounts(host);
    const access = parseAccessConfig({
      path: server.config.ACCESS_FILE,
      config: server.config,
      readText,
      listDirectory,
      lookups: {
        user: accounts.user,
        group: accounts.group,
        isDirectory,
        isProgram,
      },
    });
    const problems = [
      ...server.problems,
      ...permissionProblems(access.files),
      ...access.problems,
    ];
    // gpg runs long after this process may have gone to another directory.
    const stanzas = access.stanzas.map(({ GPG_HOME_DIR, GPG_EXE, ...stanza }) => ({
      ...stanza,
      GPG_HOME_DIR: GPG_HOME_DIR === null ? null : absolute(GPG_HOME_DIR),
      GPG_EXE: GPG_EXE === null ? null : absolute(GPG_EXE),
    }));
    return { ...server, stanzas, problems, hasErrors: hasErrors(problems) };
  }

  function makeRunDirectory({ FWKNOP_RUN_DIR: path }: ServerConfig, log: Log): void {
    const info = host.stat(path);
    if (info?.isDirectory) return;
    if (info !== null) throw new Error(`cannot use run directory "${path}": not a directory`);
    log.warning(`Run directory: ${path} does not exist. Attempting to create it.`);
    try {
      host.makeDirectory(path, 0o700);
    } catch (error) {
      throw new Error(`cannot create run directory "${path}": ${reasonOf(error)}`);
    }
    log.error(`Successfully created Run directory: ${path}`);
  }

  return { readServer, readAccess, makeRunDirectory };
}
