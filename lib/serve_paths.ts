// What the command line names has to be there when it is read, whether anything uses it or not.

import type { ServerVariableName } from "./conf_fwknopd_variables.ts";
import { COMMAND_LINE, errorAt, type Problem } from "./conf_problem.ts";

/** What is asked about paths; the functions do not throw. */
export interface PathLookups {
  isFile(path: string): boolean;
  isDirectory(path: string): boolean;
  isProgram(path: string): boolean;
  exists(path: string): boolean;
}

/** The variables, what their paths must be, and fwknopd's words for a path that is not. */
const NEEDED: readonly [ServerVariableName, keyof PathLookups, (path: string) => string][] = [
  ["PCAP_FILE", "isFile", (path) => `Invalid pcap file path '${path}'`],
  ["GPG_EXE", "isProgram", (path) => `gpg path '${path}' could not lstat()/not executable?`],
  ["SUDO_EXE", "isProgram", (path) => `sudo path '${path}' could not stat()/not executable?`],
  [
    "GPG_HOME_DIR",
    "isDirectory",
    (path) => `gpg home directory '${path}' could not lstat(), does not exist, or too large?`,
  ],
];

/**
 * The paths among a command line's variables that are not what they must be. The files and folders
 * of configurations are not among them: reading those tells more.
 */
export function checkCommandLinePaths(
  variables: Readonly<Partial<Record<ServerVariableName, string>>>,
  lookups: PathLookups,
): Problem[] {
  return NEEDED.flatMap(([name, is, words]) => {
    const path = variables[name];
    if (path === undefined || lookups[is](path)) return [];
    const why = lookups.exists(path) ? "" : `: unable to lstat() path: ${path}`;
    return [errorAt(COMMAND_LINE, words(path) + why)];
  });
}
