// Who may read and change the server's files.

import { errorAt, type Problem, warningAt } from "./conf_problem.ts";

/** What is known of a file. */
export interface FilePermissions {
  readonly isFile: boolean;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
}

/** Any permission for somebody else than the owner. */
const OTHERS = 0o077;
const ROOT = 0;
const REOPEN = "or set ENABLE_STRICT_PERMISSIONS N in fwknopd.conf";

/**
 * fwknopd's checks of its configuration files: anything but a regular file is an error; more
 * permissions than 0600 and another owner give warnings. Where keys are in the file, what lets
 * others get at them is an error.
 *
 * @param info what stat(2) says, symbolic links followed
 * @param uid the effective user
 * @param strict whether others must not get at the file; root is no other
 */
export function checkFilePermissions(
  path: string,
  info: FilePermissions,
  uid: number,
  strict: boolean,
): Problem[] {
  const place = { file: path, line: 0, column: 0 };
  if (!info.isFile) {
    return [errorAt(place, `file: ${path} is not a regular file or symbolic link`)];
  }
  const problems: Problem[] = [];
  if ((info.mode & ~0o600) !== 0) {
    const text = `[-] file: ${path} permissions should only be user read/write (0600, -rw-------)`;
    const hint = `chmod 600 ${path}`;
    const refused = strict && (info.mode & OTHERS) !== 0;
    const mode = info.mode.toString(8).padStart(4, "0");
    problems.push(
      refused
        ? errorAt(place, `${text}, not ${mode}: others get at its keys`, `${hint}, ${REOPEN}`)
        : warningAt(place, text, hint),
    );
  }
  if (info.uid !== uid) {
    const text = `[-] file: ${path} not owned by current effective user id`;
    const hint = `chown ${uid} ${path}`;
    const refused = strict && info.uid !== ROOT;
    problems.push(
      refused
        ? errorAt(place, `${text} but by user ${info.uid}`, `${hint}, ${REOPEN}`)
        : warningAt(place, text, hint),
    );
  }
  return problems;
}
