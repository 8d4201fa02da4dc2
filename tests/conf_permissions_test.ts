import assert from "node:assert/strict";
import { checkFilePermissions } from "../lib/conf_permissions.ts";
import { formatProblem } from "../lib/conf_problem.ts";

const WORDS = "[-] file: f permissions should only be user read/write (0600, -rw-------)";
const WIDE = `spa: f: warning: ${WORDS}\nhint: chmod 600 f`;
const FOREIGN = "spa: f: warning: [-] file: f not owned by current effective user id\n" +
  "hint: chown 1000 f";
const NO_FILE = "spa: f: file: f is not a regular file or symbolic link";
const REOPEN = "or set ENABLE_STRICT_PERMISSIONS N in fwknopd.conf";

function refusedMode(mode: string): string {
  return `spa: f: ${WORDS}, not ${mode}: others get at its keys\nhint: chmod 600 f, ${REOPEN}`;
}

function refusedOwner(uid: number): string {
  return `spa: f: [-] file: f not owned by current effective user id but by user ${uid}\n` +
    `hint: chown 1000 f, ${REOPEN}`;
}

/** Whether it is a file, its mode and owner; what is said of it, and of one that holds keys. */
const FILES: readonly [boolean, number, number, string[], string[]][] = [
  [true, 0o600, 1000, [], []],
  [true, 0o400, 1000, [], []],
  [true, 0o644, 1000, [WIDE], [refusedMode("0644")]],
  [true, 0o640, 1000, [WIDE], [refusedMode("0640")]],
  [true, 0o604, 1000, [WIDE], [refusedMode("0604")]],
  [true, 0o620, 1000, [WIDE], [refusedMode("0620")]],
  [true, 0o700, 1000, [WIDE], [WIDE]],
  [true, 0o4600, 1000, [WIDE], [WIDE]],
  [true, 0o4604, 1000, [WIDE], [refusedMode("4604")]],
  [true, 0o600, 0, [FOREIGN], [FOREIGN]],
  [true, 0o600, 1001, [FOREIGN], [refusedOwner(1001)]],
  [true, 0o666, 1001, [WIDE, FOREIGN], [refusedMode("0666"), refusedOwner(1001)]],
  [false, 0o600, 1000, [NO_FILE], [NO_FILE]],
];

for (const strict of [false, true]) {
  const what = strict ? "refuses what lets others get at keys" : "warns of wide permissions";
  Deno.test(`checkFilePermissions() ${what}, and of another owner`, () => {
    for (const [isFile, mode, uid, loosely, strictly] of FILES) {
      const problems = checkFilePermissions("f", { isFile, mode, uid }, 1000, strict);
      const expected = strict ? strictly : loosely;
      assert.deepEqual(problems.map(formatProblem), expected, `${mode.toString(8)} of ${uid}`);
    }
  });
}
