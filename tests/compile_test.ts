// The executable that scripts/compile makes, built from a small program and run.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const isLinux = Deno.build.os === "linux";
const isRoot = Deno.uid() === 0;

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

function run(program: string, options: Deno.CommandOptions = {}): Ran {
  const { code, stdout, stderr } = new Deno.Command(program, { stdin: "null", ...options })
    .outputSync();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

interface Sight {
  args: string[];
  commandLine: string[];
  environment: Record<string, string>;
  executable: string;
  isMain: boolean;
  mainModule: string;
  canSendDatagrams: boolean;
}

function look(program: string, options: Deno.CommandOptions = {}): Sight {
  const { code, stdout, stderr } = run(program, options);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

function compile(output: string, cwd: string): void {
  const { code, stderr } = run(`${root}/scripts/compile`, {
    args: ["--way", "segment", "--entry", `${root}/tests/compile_probe.ts`, "--output", output],
    cwd,
  });
  assert.equal(code, 0, stderr);
}

Deno.test({
  name: "scripts/compile makes an executable that",
  ignore: !isLinux,
  async fn(t) {
    const directory = Deno.makeTempDirSync({ prefix: "spa-compile-" });
    const probe = `${directory}/probe`;
    const bare = { clearEnv: true, cwd: directory } as const;
    try {
      Deno.chmodSync(directory, 0o755);
      compile(probe, "/");

      await t.step("gives the program its arguments as they were typed", () => {
        const many = Array.from({ length: 3000 }, (_, index) => `argument ${index}`);
        const cases = [
          [],
          ["a"],
          ["two words", ""],
          ["", "", ""],
          ["--version", "--", "-A", "--help"],
          ["ünïcödé \n\t'\"\\"],
          many,
        ];
        for (const args of cases) assert.deepEqual(look(probe, { args }).args, args);
      });

      await t.step("keeps the environment and adds what keeps Deno quiet", () => {
        const added = {
          DENO_NO_UPDATE_CHECK: "1",
          DENO_NO_PACKAGE_JSON: "1",
          DENO_DIR: "/dev/null",
          DENO_LOG: "off",
        };
        for (let count = 0; count < 4; count++) {
          const env = Object.fromEntries(
            Array.from(
              { length: count },
              (_, index) => [`NAME${index}`, index ? `a=${index}` : ""],
            ),
          );
          assert.deepEqual(look(probe, { ...bare, env }).environment, { ...env, ...added });
        }
      });

      await t.step("says nothing of its own on a terminal", () => {
        const { stdout } = new Deno.Command("script", {
          args: ["--quiet", "--return", "--command", probe, "/dev/null"],
          stdin: "null",
          stderr: "inherit",
        }).outputSync();
        assert.match(new TextDecoder().decode(stdout), /^\{[^\n]*\}\r\n$/);
      });

      await t.step("shows in the process list what was typed", () => {
        assert.deepEqual(look(probe, { args: ["x", "y z"] }).commandLine, [probe, "x", "y z"]);
      });

      await t.step("is the main module, with datagrams at hand", () => {
        const { isMain, mainModule, canSendDatagrams } = look(probe);
        assert.deepEqual({ isMain, canSendDatagrams }, { isMain: true, canSendDatagrams: true });
        assert.match(mainModule, /^file:\/\/\/proc\/self\/fd\/\d+$/);
      });

      await t.step("knows itself by its path, through a link and through PATH too", () => {
        Deno.symlinkSync("probe", `${directory}/fwknop`);
        const linked = look(`${directory}/fwknop`);
        assert.equal(linked.executable, probe);
        assert.deepEqual(linked.commandLine, [`${directory}/fwknop`]);
        const found = look("/bin/sh", {
          args: ["-c", "exec probe typed"],
          env: { PATH: `${directory}:/usr/bin:/bin` },
        });
        assert.equal(found.executable, probe);
        assert.deepEqual(found.commandLine, ["probe", "typed"]);
      });

      await t.step("starts itself again with other arguments", () => {
        const again = look(probe, { args: ["child", probe, "again", "and again"] });
        assert.deepEqual(again.args, ["again", "and again"]);
      });

      await t.step("ends with the program's exit status", () => {
        for (const status of [0, 1, 2, 77]) {
          assert.equal(run(probe, { args: ["exit", `${status}`] }).code, status);
        }
      });

      await t.step("hands no descriptor of the program to children", () => {
        const { code, stdout } = run(probe, { args: ["child", "/bin/ls", "-l", "/proc/self/fd"] });
        assert.equal(code, 0);
        assert.match(stdout, /\/proc\/\d+\/fd/);
        assert.doesNotMatch(stdout, /memfd|spa\.js/);
      });

      await t.step("cannot be changed while it runs", () => {
        const { code, stderr } = run(probe, { args: ["write"] });
        assert.notEqual(code, 0);
        assert.match(stderr, /Operation not permitted/);
      });

      await t.step("names the line of an uncaught error", () => {
        const { code, stderr } = run(probe, { args: ["throw"], env: { NO_COLOR: "1" } });
        assert.equal(code, 1);
        assert.match(stderr, /TypeError: as asked for\n[^]*spa\.js.*:\d+:\d+/);
      });

      await t.step("has commander, and loads Node.js modules only when asked", () => {
        assert.match(
          run(probe, { args: ["help"] }).stdout,
          /^Usage: probe .*\n[^]*--colour <name>/,
        );
        assert.equal(run(probe, { args: ["lazy"] }).stdout, "b\n");
      });

      await t.step("leaves no file behind", () => {
        const home = `${directory}/home`;
        Deno.mkdirSync(home);
        look(probe, { clearEnv: true, env: { HOME: home, XDG_CACHE_HOME: home }, cwd: home });
        assert.deepEqual([...Deno.readDirSync(home)], []);
      });

      await t.step("runs with all standard streams closed", () => {
        const { code } = run("/bin/sh", {
          args: ["-c", 'exec "$0" exit 5 <&- >&- 2>&-', probe],
          clearEnv: true,
        });
        assert.equal(code, 5);
      });

      await t.step("says in words that it cannot load itself", () => {
        const { code, stderr } = run("/bin/sh", { args: ["-c", 'ulimit -n 200; "$0"', probe] });
        assert.equal(code, 1);
        assert.match(stderr, /^spa: cannot load the program into memory .*\nhint: .*ulimit.*\n$/);
      });

      await t.step({
        name: "runs as nobody with an unreadable home (needs root to become nobody)",
        ignore: !isRoot,
        fn() {
          const { environment } = look(probe, {
            ...bare,
            env: { HOME: "/root" },
            uid: 65534,
            gid: 65534,
          });
          assert.equal(environment["HOME"], "/root");
        },
      });

      await t.step("is the same, byte for byte, when it is built again elsewhere", () => {
        compile(`${directory}/second`, directory);
        const first = Deno.readFileSync(probe);
        assert.ok(first.length > 0);
        assert.equal(Buffer.compare(first, Deno.readFileSync(`${directory}/second`)), 0);
      });
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
});
