// Who may read and change the server's files.

import { errorAt, type Problem, warningAt } from "./conf_problem.ts";

/** What is known of a file. */
export interface FilePermissions {
  readonly isFile: boolean;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
}

/**
 * fwknopd's checks of its configuration, digest and process id files: anything but a regular file
 * is an error; more permissions than 0600 and another owner give warnings.
 *
 * @param info what stat(2) says, symbolic links followed
 * @param uid the effective user
 */
export function checkFilePermissions(path: string, info: FilePermissions, uid: number): Problem[] {
  const place = { file: path, line: 0, column: 0 };
  if (!info.isFile) {
    return [errorAt(place, `file: ${path} is not a regular file or symbolic link`)];
  }
  const problems: Problem[] = [];
  if ((info.mode & ~0o600) !== 0) {
    const why = "permissions should only be user read/write (0600, -rw-------)";
    problems.push(warningAt(place, `[-] file: ${path} ${why}`, `chmod 600 ${path}`));
  }
  if (info.uid !== uid) {
    const why = "not owned by current effective user id";
    problems.push(warningAt(place, `[-] file: ${path} ${why}`, `chown ${uid} ${path}`));
  }
  return problems;
}
