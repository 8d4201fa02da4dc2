// access.conf: files to checked stanzas, with everything that is wrong or without effect.

import { type AccessFiles, readAccessFiles } from "./conf_access_files.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { type Problem, sortProblems } from "./conf_problem.ts";
import type { Stanza } from "./conf_stanza.ts";
import { buildStanza } from "./conf_stanza_build.ts";
import type { AccessLookups } from "./conf_stanza_reader.ts";

export type { Stanza } from "./conf_stanza.ts";

/** Where the stanzas come from. */
export interface AccessConfigSource extends AccessFiles {
  /** Read unless ACCESS_FOLDER is set in the configuration. */
  readonly path: string;
  /** The server's configuration: ACCESS_FOLDER, and what some variables require. */
  readonly config: ServerConfig;
  /** What the system knows of users, groups and directories. */
  readonly lookups: AccessLookups;
}

/** The stanzas and how they came about. */
export interface AccessConfigReading {
  /** Usable only when no problem is an error: stanzas in error are left out. */
  readonly stanzas: readonly Stanza[];
  /** Every file that was to be read, key files included, in reading order. */
  readonly files: readonly string[];
  /** In the order of the files. */
  readonly problems: readonly Problem[];
}

/** Reads and checks all stanzas. Every stanza is checked, whatever is wrong before. Never throws. */
export function parseAccessConfig(source: AccessConfigSource): AccessConfigReading {
  const reading = readAccessFiles(source.path, source.config.ACCESS_FOLDER, source);
  const problems = [...reading.problems];
  const stanzas: Stanza[] = [];
  for (const [index, raw] of reading.stanzas.entries()) {
    const built = buildStanza(raw, index + 1, source.config, source.lookups);
    problems.push(...built.problems);
    if (built.stanza !== null) stanzas.push(built.stanza);
  }
  return { stanzas, files: reading.files, problems: sortProblems(problems, reading.files) };
}
