// Programs that the real host runs to their ends: what they leave behind, and what becomes of those
// that do not come to one.

import assert from "node:assert/strict";
import { run } from "../lib/host_deno_program.ts";

const SHELL = "/bin/sh";

Deno.test("a program that ends by itself leaves its status and what it wrote", async () => {
  const call = { program: SHELL, args: ["-c", "cat; echo no >&2; exit 3"], stdin: "yes" };
  const expected = { status: 3, stdout: "yes", stderr: "no\n" };
  assert.deepEqual(await run(call), expected);
  assert.deepEqual(await run({ ...call, timeout: 60_000 }), expected);
});

Deno.test("a program that does not end in time is killed, and its result says so", async () => {
  const cases: [script: string, stdin: string | undefined, stdout: string][] = [
    ["echo begun; exec sleep 300", undefined, "begun\n"],
    // It reads nothing of what it is given.
    ["exec sleep 300", "x".repeat(1 << 20), ""],
    // What it has started keeps its output open.
    ["sleep 20 & echo begun; wait", undefined, "begun\n"],
  ];
  await Promise.all(cases.map(async ([script, stdin, stdout]) => {
    const input = stdin === undefined ? {} : { stdin };
    const result = await run({ program: SHELL, args: ["-c", script], timeout: 500, ...input });
    const { timedOut = 0, ...rest } = result;
    assert.deepEqual(rest, { status: 137, stdout, stderr: "" }, script);
    assert.ok(timedOut >= 450, `${timedOut} ms`);
  }));
});

Deno.test("a program that cannot be started was not given up waiting for", async () => {
  const { status, timedOut } = await run({ program: "/nonexistent", args: [], timeout: 500 });
  assert.deepEqual([status, timedOut], [127, undefined]);
});
