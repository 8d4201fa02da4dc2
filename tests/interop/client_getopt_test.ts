// Bad command lines, as getopt complains of them in the real fwknop.

import assert from "node:assert/strict";
import { parseOptions } from "../../lib/cmd_getopt.ts";
import { KNOCK_OPTIONS } from "../../lib/cmd_knock_options.ts";
import { hasProgram } from "../lab/lab.ts";
import { run } from "../lab/process.ts";

const missing = hasProgram("fwknop") ? null : "needs the program fwknop";

const BAD: readonly string[] = [
  "--bogus",
  "--bogus=1",
  "-Z",
  "-vZ",
  "-vZA",
  "-D",
  "-TD",
  "--destination",
  "--dest",
  "--nat-loc=3",
  "--key-gen=x",
  "--spoof=3",
  "--nat x",
  "--time-offset 5",
  "--ti 5",
  "--w",
  "--wa x",
  "--qui",
  "-v --save x",
];

Deno.test({
  name: `parseOptions() complains as getopt does${missing === null ? "" : ` (${missing})`}`,
  ignore: missing !== null,
  async fn(t) {
    for (const line of BAD) {
      await t.step(line, async () => {
        const args = line.split(" ");
        const fwknop = await run(["fwknop", "--no-rc-file", ...args], {
          env: { LC_ALL: "C", POSIXLY_CORRECT: "" },
        });
        const complaints = fwknop.stderr.split("\n").flatMap((text) =>
          /^\S*fwknop: (.*)/.exec(text)?.[1] ?? []
        );
        // It reads the line twice, and the second time stops at the first mistake.
        const ours = parseOptions(KNOCK_OPTIONS, args, { posixlyCorrect: true });
        assert.deepEqual(
          ours.errors.map(({ text }) => sorted(text)),
          complaints.slice(0, Math.ceil(complaints.length / 2)).map(sorted),
        );
      });
    }
  },
});

/** The names that an abbreviation may mean come in each program's own order. */
function sorted(text: string): string {
  const [before = "", names] = text.split("possibilities: ");
  return names === undefined ? text : `${before}${names.split(" ").sort().join(" ")}`;
}
