// The server's files: read, checked, and joined to one configuration, at start and at every reload.

import { parseAccessConfig, type Stanza } from "./conf_access.ts";
import { parseServerConfig, type ServerConfigReading } from "./conf_fwknopd.ts";
import type { ServerConfig, ServerVariableName } from "./conf_fwknopd_variables.ts";
import type { DirectoryNames } from "./conf_access_files.ts";
import { checkFilePermissions } from "./conf_permissions.ts";
import { hasErrors, type Problem } from "./conf_problem.ts";
import type { FileText } from "./conf_text.ts";
import { type FileInfo, type Host, reasonOf } from "./host.ts";
import { readAccounts } from "./serve_accounts.ts";
import type { Log } from "./serve_log.ts";
import { checkCommandLinePaths, type PathLookups } from "./serve_paths.ts";

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
  /**
   * Makes FWKNOP_RUN_DIR if it is missing.
   *
   * @param checkOnly only says what a start would do
   * @throws when it cannot be made or is no directory
   */
  makeRunDirectory(config: ServerConfig, log: Log, checkOnly: boolean): void;
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

  /** Null also for what cannot be looked at: reading it, or using it, tells why. */
  function look(path: string, how: "stat" | "lstat"): FileInfo | null {
    try {
      return host[how](absolute(path));
    } catch {
      return null;
    }
  }

  function permissionProblems(paths: readonly string[], strict: boolean): Problem[] {
    return [...new Set(paths)].flatMap((path) => {
      const info = look(path, "stat");
      return info === null ? [] : checkFilePermissions(path, info, host.uid, strict);
    });
  }

  const lookups: PathLookups = {
    exists: (path) => look(path, "lstat") !== null,
    isFile: (path) => look(path, "stat")?.isFile ?? false,
    isDirectory: (path) => look(path, "lstat")?.isDirectory ?? false,
    isProgram: (path) => {
      const info = look(path, "stat");
      return info !== null && info.isFile && (info.mode & 0o111) !== 0;
    },
  };

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
      ...permissionProblems([file], false),
      ...reading.problems,
      ...checkCommandLinePaths(request.variables, lookups),
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
      lookups: { ...accounts, ...lookups },
    });
    const problems = [
      ...server.problems,
      ...permissionProblems(access.files, server.config.ENABLE_STRICT_PERMISSIONS),
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

  function makeRunDirectory(config: ServerConfig, log: Log, checkOnly: boolean): void {
    const { FWKNOP_RUN_DIR: path } = config;
    const info = host.stat(path);
    if (info?.isDirectory) return;
    if (info !== null) throw new Error(`Specified Run directory: ${path} is NOT a directory`);
    if (checkOnly) {
      log.warning(`Run directory: ${path} does not exist. The server will attempt to create it.`);
      return;
    }
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
