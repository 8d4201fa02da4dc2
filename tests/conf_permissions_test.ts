import assert from "node:assert/strict";
import { checkFilePermissions } from "../lib/conf_permissions.ts";
import { formatProblem } from "../lib/conf_problem.ts";

Deno.test("checkFilePermissions() warns of wide permissions and of another owner", () => {
  const wide = "spa: f: warning: [-] file: f permissions should only be user read/write " +
    "(0600, -rw-------)\nhint: chmod 600 f";
  const foreign = "spa: f: warning: [-] file: f not owned by current effective user id\n" +
    "hint: chown 0 f";
  const none = "spa: f: file: f is not a regular file or symbolic link";
  const cases: [isFile: boolean, mode: number, uid: number, expected: string[]][] = [
    [true, 0o600, 0, []],
    [true, 0o400, 0, []],
    [true, 0o644, 0, [wide]],
    [true, 0o620, 0, [wide]],
    [true, 0o700, 0, [wide]],
    [true, 0o4600, 0, [wide]],
    [true, 0o600, 1000, [foreign]],
    [true, 0o666, 1000, [wide, foreign]],
    [false, 0o600, 0, [none]],
  ];
  for (const [isFile, mode, uid, expected] of cases) {
    const problems = checkFilePermissions("f", { isFile, mode, uid }, 0);
    assert.deepEqual(problems.map(formatProblem), expected, mode.toString(8));
  }
});
