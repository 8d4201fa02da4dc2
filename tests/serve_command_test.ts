import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { CommandAccount, CommandLine } from "../lib/auth_command.ts";
import { denoHost } from "../lib/host_deno.ts";
import { type CommandRunner, createCommandRunner } from "../lib/serve_command.ts";
import { createLog } from "../lib/serve_log.ts";
import { type CommandScene, makeScene, type SceneSettings } from "./fake_commands.ts";

const PREFIX = "[192.0.2.10] (stanza #1)";
const NOBODY: CommandAccount = { uid: 65534, gid: 1, user: "nobody", group: "daemon" };

interface Bench extends CommandScene {
  readonly runner: CommandRunner;
}

function makeBench(settings: SceneSettings & { readonly limit?: number } = {}): Bench {
  const scene = makeScene(settings);
  const { host, log, timer } = scene;
  const runner = createCommandRunner({ host, log, timer, limit: () => settings.limit ?? 60 });
  return Object.assign(scene, { runner });
}

function line(text: string): CommandLine {
  return { text, words: text.split(" ") };
}

Deno.test("a command runs in /, with a search path and nothing else, and a mask of 077", async () => {
  const { runner, commands } = makeBench();
  deepStrictEqual(await runner.run(PREFIX, line("touch a"), null), { returned: 0, status: 0 });
  const [command] = commands;
  ok(command !== undefined);
  const { onOutput: _, ...call } = command.call;
  deepStrictEqual(call, {
    program: "/usr/bin/touch",
    args: ["a"],
    environment: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
    directory: "/",
    fileMask: 0o077,
    account: null,
  });
});

Deno.test("setpriv gives another user's groups; without it there are none but the one", async () => {
  const one = makeBench();
  await one.runner.run(PREFIX, line("/bin/id -u"), NOBODY);
  const [privileged] = one.commands;
  strictEqual(
    privileged?.text,
    "/usr/bin/setpriv --reuid=65534 --regid=1 --init-groups -- /bin/id -u",
  );
  strictEqual(privileged.call.account, null);

  const other = makeBench({ without: ["setpriv"] });
  await other.runner.run(PREFIX, line("/bin/id -u"), NOBODY);
  strictEqual(other.commands[0]?.text, "/bin/id -u");
  deepStrictEqual(other.commands[0].call.account, { uid: 65534, gid: 1 });
});

/** How a command ends, and what the log's numbers are; fwknopd's are the same. */
const ENDS = [
  [{ status: 0 }, { returned: 0, status: 0 }],
  [{ status: 3 }, { returned: 0, status: 3 }],
  [{ signal: 9 }, { returned: 16, status: 9 }],
] as const;

for (const [end, outcome] of ENDS) {
  Deno.test(`an end with ${JSON.stringify(end)} is told as ${JSON.stringify(outcome)}`, async () => {
    const bench = makeBench();
    bench.onStart = (command) => command.end(end);
    deepStrictEqual(await bench.runner.run(PREFIX, line("/bin/a"), null), outcome);
    deepStrictEqual(bench.lines, []);
  });
}

Deno.test("what is no command or no program is not started, and told as by fwknopd", async () => {
  const bench = makeBench({ without: ["a"] });
  const run = (words: readonly string[]) =>
    bench.runner.run(PREFIX, { text: words.join(" "), words }, null);
  deepStrictEqual(await run([]), { returned: -6, status: 0 });
  deepStrictEqual(await run(new Array(29).fill("/bin/b")), { returned: -6, status: 0 });
  deepStrictEqual(await run(new Array(28).fill("/bin/b")), { returned: 0, status: 0 });
  deepStrictEqual(await run(["a"]), { returned: 0, status: 255 });
  deepStrictEqual(await run(["/etc/passwd"]), { returned: 0, status: 255 });
  deepStrictEqual(bench.lines, [
    "error run_extcmd(): Error converting cmd str to argv via strtoargv()",
    "error run_extcmd(): Error converting cmd str to argv via strtoargv()",
    "error run_extcmd(): execvpe() failed: No such file or directory",
    "error run_extcmd(): execvpe() failed: No such file or directory",
  ]);
  strictEqual(bench.commands.length, 1);
});

Deno.test("a command that cannot be started is an error in the log, and no more", async () => {
  const bench = makeBench();
  bench.onStart = () => {
    throw new Error("Resource temporarily unavailable (os error 11)");
  };
  const outcome = await bench.runner.run(PREFIX, line("/bin/a b"), null);
  deepStrictEqual(outcome, { returned: 0, status: 255 });
  deepStrictEqual(bench.lines, [
    `error ${PREFIX} Cannot run command '/bin/a b': Resource temporarily unavailable`,
  ]);
});

Deno.test("output is logged line by line, harmless and up to a limit", async () => {
  const bench = makeBench();
  bench.onStart = (command) => {
    command.call.onOutput("one\r\ntwo ");
    command.call.onOutput(`\x1b[2J\u202e\n\n${"x".repeat(5000)}`);
    command.call.onOutput("more");
    command.end();
  };
  await bench.runner.run(PREFIX, line("/bin/a"), null);
  strictEqual(bench.lines.length, 4);
  strictEqual(bench.lines[0], `info ${PREFIX} Command output: one`);
  strictEqual(bench.lines[1], `info ${PREFIX} Command output: two \\u{1b}[2J\\u{202e}`);
  match(bench.lines[2] ?? "", /Command output: x{4080}$/);
  match(bench.lines[3] ?? "", /Command output: \(cut after 4096 characters\)$/);
});

Deno.test("a program that a command leaves running delays nothing", async () => {
  const bench = makeBench();
  bench.onStart = (command) => {
    command.call.onOutput("started\n");
    command.end({}, true);
  };
  const task = bench.runner.run(PREFIX, line("/bin/a"), null);
  await bench.advance(100);
  deepStrictEqual(await task, { returned: 0, status: 0 });
  deepStrictEqual(bench.lines, [`info ${PREFIX} Command output: started`]);
  deepStrictEqual(bench.commands[0]?.signals, []);
});

Deno.test("a command that takes too long is asked to end, with all that it started", async () => {
  const bench = makeBench({ limit: 5 });
  bench.onStart = () => {};
  const task = bench.runner.run(PREFIX, line("/bin/sleep 9"), null);
  await bench.advance(4999);
  deepStrictEqual(bench.commands[0]?.signals, []);
  await bench.advance(1);
  deepStrictEqual(bench.commands[0].signals, ["SIGTERM"]);
  bench.commands[0].end({ signal: 15 });
  deepStrictEqual(await task, { returned: 16, status: 15 });
  deepStrictEqual(bench.commands[0].signals, ["SIGTERM", "SIGKILL"]);
  deepStrictEqual(bench.lines, [
    `warning ${PREFIX} Command runs longer than 5 seconds and is ended: '/bin/sleep 9'`,
  ]);
});

Deno.test("a command that does not listen is killed two seconds later", async () => {
  const bench = makeBench({ limit: 5 });
  bench.onStart = () => {};
  const task = bench.runner.run(PREFIX, line("/bin/sleep 9"), null);
  await bench.advance(6999);
  deepStrictEqual(bench.commands[0]?.signals, ["SIGTERM"]);
  await bench.advance(1);
  deepStrictEqual(bench.commands[0].signals, ["SIGTERM", "SIGKILL"]);
  bench.commands[0].end({ signal: 9 });
  deepStrictEqual(await task, { returned: 16, status: 9 });
});

Deno.test("a limit of 0 lets a command run for ever", async () => {
  const bench = makeBench({ limit: 0 });
  bench.onStart = () => {};
  const task = bench.runner.run(PREFIX, line("/bin/sleep 9"), null);
  await bench.advance(1_000_000_000);
  deepStrictEqual(bench.commands[0]?.signals, []);
  bench.commands[0].end();
  await task;
});

Deno.test("sixteen commands run at a time, and the others in their turn", async () => {
  const bench = makeBench();
  bench.onStart = () => {};
  const tasks = Array.from(
    { length: 40 },
    (_, index) => bench.runner.run(PREFIX, line(`/bin/a ${index}`), null),
  );
  await bench.advance(0);
  strictEqual(bench.commands.length, 16);
  bench.commands[3]?.end();
  await bench.advance(0);
  strictEqual(bench.commands.at(-1)?.text, "/bin/a 16");
  bench.onStart = (command) => command.end();
  for (const command of bench.commands) command.end();
  await Promise.all(tasks);
  deepStrictEqual(
    bench.commands.map(({ text }) => text),
    tasks.map((_, index) => `/bin/a ${index}`),
  );
});

Deno.test("the stop waits, then ends what runs and drops what waits", async () => {
  const bench = makeBench();
  bench.onStart = (command) => {
    if (command.text === "/bin/a 0") command.end();
  };
  const tasks = Array.from(
    { length: 18 },
    (_, index) => bench.runner.run(PREFIX, line(`/bin/a ${index}`), null),
  );
  const stopped = bench.runner.stop(1000);
  await bench.advance(999);
  ok(bench.commands.every(({ signals }) => signals.length === 0));
  await bench.advance(1);
  deepStrictEqual(bench.commands.map(({ signals }) => signals.join()), [
    "",
    ...new Array(16).fill("SIGTERM"),
  ]);
  for (const command of bench.commands) command.end({ signal: 15 });
  await stopped;
  deepStrictEqual(await Promise.all(tasks), [
    { returned: 0, status: 0 },
    ...new Array(17).fill(null),
  ]);
  strictEqual(await bench.runner.run(PREFIX, line("/bin/a"), null), null);
  strictEqual(bench.commands.length, 17);
});

Deno.test("a command that the stop had to end counts as interrupted, however it took that", async () => {
  const bench = makeBench();
  bench.onStart = () => {};
  const task = bench.runner.run(PREFIX, line("/bin/ssh router"), null);
  const stopped = bench.runner.stop(0);
  await bench.advance(0);
  bench.commands[0]?.end({ status: 255 });
  await stopped;
  strictEqual(await task, null);
});

const root = Deno.uid() === 0;

/** Runs a script with the real host and gives its output. */
async function runScript(
  script: string,
  account: CommandAccount | null,
  limit = 10,
): Promise<{ readonly outcome: unknown; readonly lines: string[] }> {
  const lines: string[] = [];
  const log = createLog(0, (_, text) => lines.push(text.replace(`${PREFIX} `, "")));
  const runner = createCommandRunner({ host: denoHost(), log, limit: () => limit });
  const words = ["sh", "-c", script];
  const outcome = await runner.run(PREFIX, { text: "sh", words }, account);
  return { outcome, lines };
}

Deno.test("the real host gives a command a clean world of its own", async () => {
  Deno.env.set("SPA_TEST_SECRET", "x");
  const umask = Deno.umask();
  try {
    const { outcome, lines } = await runScript(
      'umask; pwd; env | grep -v PWD; cat; test "$(ps -o sid= -p $$)" -eq $$ && echo leader >&2',
      null,
    );
    deepStrictEqual(outcome, { returned: 0, status: 0 });
    deepStrictEqual(lines.toSorted(), [
      "Command output: /",
      "Command output: 0077",
      "Command output: PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "Command output: leader",
    ]);
    strictEqual(Deno.umask(), umask);
  } finally {
    Deno.env.delete("SPA_TEST_SECRET");
  }
});

Deno.test({
  name: "the real host runs a command as another user with its groups, and no way back" +
    (root ? "" : ": needs root"),
  ignore: !root,
  fn: async () => {
    const { lines } = await runScript(
      "id -u; id -g; id -G; grep -E '^Cap(Prm|Eff)' /proc/self/status",
      NOBODY,
    );
    const [uid, gid, groups = "", ...capabilities] = lines.map((line) =>
      line.replace("Command output: ", "")
    );
    deepStrictEqual([uid, gid], ["65534", "1"]);
    ok(!groups.split(" ").includes("0"), groups);
    deepStrictEqual(capabilities.map((line) => line.replace(/\s+/, " ")), [
      "CapPrm: 0000000000000000",
      "CapEff: 0000000000000000",
    ]);
  },
});

Deno.test("the real host ends a whole process group when its time is over", async () => {
  const { outcome, lines } = await runScript(
    "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; exec sleep 300' & wait",
    null,
    1,
  );
  deepStrictEqual(outcome, { returned: 16, status: 9 });
  const told = lines.find((line) => line.startsWith("Command output: ")) ?? "";
  const child = told.replace("Command output: ", "");
  match(child, /^\d+$/);
  // It may still be there for whoever inherits it, but only dead.
  const status = await Deno.readTextFile(`/proc/${child}/status`).catch(() => "State:\tZ");
  match(status, /^State:\tZ/m);
});

Deno.test("the real host refuses to start what the system refuses", () => {
  const call = {
    program: "/",
    args: [],
    environment: {},
    directory: "/",
    fileMask: 0o022,
    account: null,
    onOutput: () => {},
  };
  const umask = Deno.umask();
  let refused = "";
  try {
    denoHost().startCommand(call);
  } catch (error) {
    refused = String(error);
  }
  match(refused, /Permission denied|PermissionDenied/);
  strictEqual(Deno.umask(), umask);
});
