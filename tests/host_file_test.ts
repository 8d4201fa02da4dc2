// Files that the host on Deno writes.

import assert from "node:assert/strict";
import { denoHost } from "../lib/host_deno.ts";

Deno.test("a file that is made gets the mode asked for, and one that is there keeps its own", () => {
  const { writeTextFile, stat, readTextFile } = denoHost();
  const directory = Deno.makeTempDirSync();
  try {
    const path = `${directory}/file`;
    writeTextFile(path, "one\n", { mode: 0o600, how: "create" });
    assert.equal(stat(path)?.mode, 0o600);
    Deno.chmodSync(path, 0o640);
    writeTextFile(path, "two\n", { mode: 0o600, how: "append" });
    assert.deepEqual([readTextFile(path), stat(path)?.mode], ["one\ntwo\n", 0o640]);
    writeTextFile(path, "3\n", { mode: 0o600, how: "truncate" });
    assert.deepEqual([readTextFile(path), stat(path)?.mode], ["3\n", 0o640]);
    assert.throws(() => writeTextFile(path, "", { mode: 0o600, how: "create" }), /exists/);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("nothing is where no file is, nor below a file that is no directory", () => {
  const { writeTextFile, stat, lstat } = denoHost();
  const directory = Deno.makeTempDirSync();
  try {
    writeTextFile(`${directory}/file`, "", { mode: 0o600, how: "create" });
    for (
      const path of [`${directory}/none`, `${directory}/none/below`, `${directory}/file/below`]
    ) {
      assert.deepEqual([stat(path), lstat(path)], [null, null], path);
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
