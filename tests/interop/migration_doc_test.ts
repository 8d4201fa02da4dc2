// The commands of docs/migrating-from-fwknop.md, run on copies of the files that Debian's package
// installs: they print what the page says.

import assert from "node:assert/strict";
import { GATEWAY_INTERFACE, hasProgram, labMissing, openLab, spaCommand } from "../lab/lab.ts";

const PACKAGED = "/etc/fwknop";

/** Why the walk-through cannot be run here, or null. */
function missing(): string | null {
  const lab = labMissing();
  if (lab !== null) return lab;
  if (!hasProgram("unshare")) return "needs the program unshare";
  try {
    const untouched = Deno.readTextFileSync(`${PACKAGED}/access.conf`).includes("__CHANGEME__");
    if (hasProgram("fwknopd") && untouched) return null;
  } catch {
    // not installed
  }
  return "needs fwknop-server with its files as installed";
}

/** The commands in the page's console blocks with the output that follows each. */
function consoleSteps(markdown: string): { command: string; output: string }[] {
  const blocks = [...markdown.matchAll(/^```console\n([^]*?)^```$/gm)].map(([, text = ""]) => text);
  return blocks.flatMap((text) => text.split(/^# /m).slice(1)).map((step) => {
    const end = step.indexOf("\n");
    return { command: step.slice(0, end), output: comparable(step.slice(end + 1)) };
  });
}

function comparable(text: string): string {
  return text.replace(/\(pid=\d+\)/g, "(pid=N)").replace(/ +$/gm, "").trim();
}

const reason = missing();

Deno.test({
  name: "the migration page's commands print what it says" +
    (reason === null ? "" : ` (${reason})`),
  ignore: reason !== null,
  fn: async () => {
    const page = new URL("../../docs/migrating-from-fwknop.md", import.meta.url);
    const steps = consoleSteps(await Deno.readTextFile(page));
    assert.ok(steps.length > 8);
    const lab = await openLab();
    try {
      // The package's files sniff eth0.
      await lab.gateway.must(["ip", "link", "set", GATEWAY_INTERFACE, "name", "eth0"]);
      await lab.gateway.must(["ip", "link", "set", "eth0", "up"]);
      const copy = `${lab.directory}/etc`;
      await Deno.mkdir(copy);
      for (const name of ["access.conf", "fwknopd.conf"]) {
        const text = await Deno.readTextFile(`${PACKAGED}/${name}`);
        await Deno.writeTextFile(`${copy}/${name}`, text, { mode: 0o600 });
      }
      const spa = spaCommand().map((word) => `'${word}'`).join(" ");
      const script = [
        `mount --bind ${copy} ${PACKAGED}`,
        "mount -t tmpfs none /run",
        "mkdir -m 700 /run/fwknop",
        `spa() { ${spa} "$@"; }`,
        ...steps.map(({ command }) => `printf '\\001'\n${command}`),
      ];
      const command = ["unshare", "--mount", "sh", "-c", `exec 2>&1\n${script.join("\n")}`];
      const { stdout } = await lab.gateway.run(command);
      const outputs = stdout.split("\u0001").slice(1).map(comparable);
      assert.deepEqual(
        steps.map(({ command }, index) => ({ command, output: outputs[index] })),
        steps,
      );
    } finally {
      await lab.close();
    }
  },
});
