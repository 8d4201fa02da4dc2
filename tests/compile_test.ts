import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  bundle,
  checkPaths,
  hideFromAnalysis,
  makeScript,
  nameModules,
  replaceNodeImports,
} from "../scripts/bundle.ts";
import { standIns } from "../scripts/bundle_stand_ins.ts";
import type { Piece, StubPlan } from "../scripts/compile_asm.ts";
import { label } from "../scripts/compile_asm.ts";
import { attachProgram, readRuntime } from "../scripts/compile_elf.ts";
import { aarch64Code, aarch64Stub } from "../scripts/compile_stub_aarch64.ts";
import { x86Code, x86Stub } from "../scripts/compile_stub_x86_64.ts";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const decoder = new TextDecoder();
const isLinux = Deno.build.os === "linux";
const isRoot = Deno.uid() === 0;

interface Sight {
  args: string[];
  commandLine: string[];
  environment: Record<string, string>;
  executable: string;
  isMain: boolean;
  mainModule: string;
  canSendDatagrams: boolean;
}

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

function run(program: string, options: Deno.CommandOptions = {}): Ran {
  const { code, stdout, stderr } = new Deno.Command(program, { stdin: "null", ...options })
    .outputSync();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
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

// --- the executable -------------------------------------------------------------------------

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

// --- ELF surgery ----------------------------------------------------------------------------

const launch = {
  program: new TextEncoder().encode("console.log(1);"),
  args: ["run", "/proc/self/fd/250"],
  env: ["A=1", "B=2"],
  descriptor: 250,
};

/** The program headers as [type, flags, offset, address, file size]. */
function programHeaders(file: Uint8Array): number[][] {
  const view = new DataView(file.buffer);
  return Array.from({ length: view.getUint16(56, true) }, (_, index) => {
    const at = 64 + 56 * index;
    return [
      view.getUint32(at, true),
      view.getUint32(at + 4, true),
      ...[8, 16, 32].map((field) => Number(view.getBigUint64(at + field, true))),
    ];
  });
}

Deno.test({
  name: "attachProgram() adds one segment and changes nothing else but the headers",
  ignore: !isLinux,
  fn() {
    const runtime = Deno.readFileSync(Deno.execPath());
    const attached = attachProgram(runtime, launch);
    assert.ok(attached.ok, "this Deno's layout is unknown");
    const image = attached.value;
    assert.deepEqual(
      image.subarray(64 + 56 * programHeaders(runtime).length, runtime.length),
      runtime.subarray(64 + 56 * programHeaders(runtime).length),
    );

    const before = programHeaders(runtime).filter(([type]) => type !== 4);
    const after = programHeaders(image);
    const added = after.filter((header) => !before.some((old) => `${old}` === `${header}`));
    assert.equal(after.length, before.length + 1);
    assert.equal(added.length, 1);
    const [type, flags, offset = 0, address = 0, size] = added[0] ?? [];
    assert.deepEqual([type, flags, offset + (size ?? 0)], [1, 5, image.length]);
    assert.equal(offset % 0x10000, address % 0x10000);

    const loads = after.filter(([kind]) => kind === 1).map(([, , , start]) => start ?? 0);
    assert.deepEqual(loads, loads.toSorted((a, b) => a - b));
    assert.equal(new DataView(image.buffer).getBigUint64(24, true), BigInt(address));

    const again = attachProgram(image, launch);
    assert.deepEqual(again, { ok: false, reason: "it has 0 PT_NOTE headers, not one" });
  },
});

Deno.test({
  name: "attachProgram() puts the segment in its place wherever the note was",
  ignore: !isLinux,
  fn() {
    const runtime = Deno.readFileSync(Deno.execPath());
    const usual = attachProgram(runtime, launch);
    assert.ok(usual.ok);
    const place = (index: number): number => 64 + 56 * index;
    const note = programHeaders(runtime).findIndex(([type]) => type === 4);
    const header = runtime.slice(place(note), place(note + 1));
    runtime.copyWithin(place(2), place(1), place(note));
    runtime.set(header, place(1));
    const moved = attachProgram(runtime, launch);
    assert.ok(moved.ok);
    assert.deepEqual(programHeaders(moved.value), programHeaders(usual.value));
  },
});

Deno.test({
  name: "readRuntime() refuses a layout it does not know",
  ignore: !isLinux,
  fn() {
    const file = Deno.readFileSync(Deno.execPath());
    const found = readRuntime(file);
    assert.ok(found.ok);
    const headerOf = (type: number): number =>
      64 + 56 * programHeaders(file).findIndex(([kind]) => kind === type);
    const cases: [string, number, number, RegExp][] = [
      ["no ELF file", 0, 0, /not an ELF/],
      ["32-bit", 4, 1, /64-bit/],
      ["big-endian", 5, 2, /little-endian/],
      ["a fixed address", 16, 2, /position-independent/],
      ["another processor", 18, 243, /processor/],
      ["program headers elsewhere", 32, 65, /not at the start/],
      ["another size of headers", 54, 32, /unknown size/],
      ["no loader", headerOf(3), 0, /dynamic loader/],
      ["no note", headerOf(4), 0, /0 PT_NOTE/],
      ["a second note", headerOf(3) - 56, 4, /2 PT_NOTE/],
      ["no dynamic section", headerOf(2), 0, /environ/],
      ["a dynamic section outside", headerOf(2) + 14, 1, /points outside/],
      ["no place left", headerOf(1) + 46, 1, /order/],
    ];
    for (const [name, at, value, reason] of cases) {
      const old = file[at] ?? 0;
      file[at] = value;
      const answer = readRuntime(file);
      file[at] = old;
      assert.ok(!answer.ok, name);
      assert.match(answer.reason, reason, name);
    }
    assert.deepEqual(readRuntime(file), found);
    for (const length of [0, 3, 63, 200, 4096]) {
      assert.equal(readRuntime(file.subarray(0, length)).ok, false, `${length} bytes`);
    }
    assert.equal(readRuntime(new TextEncoder().encode("#!/bin/sh\nexec deno\n")).ok, false);
  },
});

// --- the stubs against a disassembler -------------------------------------------------------

const plan: StubPlan = {
  ...launch,
  address: 0x5000000,
  entry: 0x1e04000,
  environSlot: 0x4d68c88,
  program: new Uint8Array(0x12345),
};

const stubs = [
  {
    machine: "x86-64",
    objdump: "objdump",
    options: ["-b", "binary", "-m", "i386:x86-64", "-M", "intel"],
    code: x86Code(plan),
    stub: x86Stub(plan),
  },
  {
    machine: "aarch64",
    objdump: "aarch64-linux-gnu-objdump",
    options: ["-b", "binary", "-m", "aarch64"],
    code: aarch64Code(plan),
    stub: aarch64Stub(plan),
  },
];

function isInstalled(program: string): boolean {
  try {
    return run(program, { args: ["--version"] }).code === 0;
  } catch {
    return false;
  }
}

/** One spelling for what the disassembler and the table write differently. */
function normal(text: string): string {
  return text
    .replace(/\s*(#|\/\/)\s.*$/, "")
    .replace(/#(\d+)\b(?!x)/g, (_, number) => `#0x${Number(number).toString(16)}`)
    .replace(/\s+/g, " ")
    .trim();
}

/** Gives the addresses of the pieces' labels in the stub. */
function labelAddresses(pieces: readonly Piece[]): Map<string, number> {
  const found = new Map<string, number>();
  let at = plan.address;
  for (const piece of pieces) {
    if (piece.label !== undefined) found.set(piece.label, at);
    at += piece.size;
  }
  return found;
}

for (const { machine, objdump, options, code, stub } of stubs) {
  Deno.test({
    name: `the stub for ${machine} disassembles to its table (needs ${objdump})`,
    ignore: !isInstalled(objdump),
    fn() {
      const directory = Deno.makeTempDirSync();
      try {
        const size = code.reduce((sum, piece) => sum + piece.size, 0);
        Deno.writeFileSync(`${directory}/stub`, stub.subarray(0, size));
        const { stdout } = run(objdump, {
          args: ["-D", "-z", `--adjust-vma=${plan.address}`, ...options, `${directory}/stub`],
        });
        const lines = [...stdout.matchAll(/^ *[0-9a-f]+:\t(?:[0-9a-f]{2,8} ?)+\s*\t(.*)$/gm)];
        const known = labelAddresses([...code, label("end")]);
        const shown = lines.map((line) => normal(line[1] ?? ""));
        const expected = code.filter((piece) => piece.size > 0).map(({ text }) => normal(text));
        assert.equal(shown.length, expected.length);
        shown.forEach((line, index) => {
          // A label in the table is an address or a distance in the listing.
          const text = expected[index] ?? "";
          const named = [
            ...known.keys(),
            "entry",
            "environ",
            "name",
            "message",
            "offsets",
            "program",
          ]
            .find((name) => new RegExp(`(?<![\\w])${name}(?![\\w])`).test(text));
          if (named === undefined) {
            assert.equal(line, text);
            return;
          }
          const pattern = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(named, "\0");
          const address = known.get(named);
          const goal = address === undefined || /rip|adr|\[x16|x16, x16/.test(text)
            ? "#?(0x[0-9a-f]+|\\d+)"
            : `0x${address.toString(16)}`;
          assert.match(line, new RegExp(`^${pattern.replace("\0", goal)}$`));
        });
      } finally {
        Deno.removeSync(directory, { recursive: true });
      }
    },
  });

  Deno.test(`the stub for ${machine} refuses an odd number of inserted words`, () => {
    const make = machine === "aarch64" ? aarch64Stub : x86Stub;
    assert.throws(() => make({ ...plan, env: ["A=1"] }), /even/);
  });
}

// --- the bundle -----------------------------------------------------------------------------

Deno.test("nameModules() names npm modules by package and version, wherever the cache is", () => {
  for (const place of ["../../root/.cache/deno", ".tools/cache", "../../../../home/a b/x"]) {
    assert.equal(
      nameModules(
        `// ${place}/npm/registry.example/commander/15.1.0/lib/error.js\n` +
          `  "${place}/npm/registry.example/@noble/hashes/2.4.0/sha2.js"() {\n` +
          "// lib/npm.ts\n",
      ),
      '// npm:commander@15.1.0/lib/error.js\n  "npm:@noble/hashes@2.4.0/sha2.js"() {\n// lib/npm.ts\n',
    );
  }
});

Deno.test("replaceNodeImports() puts stand-ins where commander imports Node.js modules", () => {
  const cases: [string, RegExp][] = [
    ['import fs from "node:fs";', /^const \{ default: fs \} = standIns\["node:fs"\];$/m],
    [
      'import { EventEmitter } from "node:events";',
      /^const \{ EventEmitter: EventEmitter \} = standIns\["node:events"\];$/m,
    ],
    [
      'import {\n  stripVTControlCharacters as strip2\n} from "node:util";',
      /^const \{ stripVTControlCharacters: strip2 \} = standIns\["node:util"\];$/m,
    ],
  ];
  for (const [statement, expected] of cases) {
    const answer = replaceNodeImports(`// npm:commander@15.1.0/lib/command.js\n${statement}\n`);
    assert.ok(answer.ok, statement);
    assert.match(answer.text, expected);
    assert.match(answer.text, /^const standIns = /);
  }
});

Deno.test("replaceNodeImports() leaves a text without static imports as it is", () => {
  const text = 'const a = await import("node:dns/promises");\nconst b = import.meta.url;\n' +
    "importAll();\n";
  assert.deepEqual(replaceNodeImports(text), { ok: true, text });
});

Deno.test("replaceNodeImports() refuses every static import it does not know", () => {
  const commander = "// npm:commander@15.1.0/lib/command.js\n";
  const cases = [
    `${commander}import { inspect } from "node:util";\n`,
    `${commander}import * as fs from "node:fs";\n`,
    `${commander}import fs, { existsSync } from "node:fs";\n`,
    `${commander}import "node:fs";\n`,
    `${commander}import net from "node:net";\n`,
    `${commander}import fs from 'node:fs';\n`,
    `${commander}// npm:other@1.0.0/index.js\nimport fs from "node:fs";\n`,
    '// lib/host_deno.ts\nimport fs from "node:fs";\n',
    'import fs from "node:fs";\n',
    '// main.ts\nimport { a } from "https://example.org/a.js";\n',
    '// main.ts\nimport a from "./a.json" with { type: "json" };\n',
  ];
  for (const text of cases) assert.equal(replaceNodeImports(text).ok, false, text);
});

Deno.test("checkPaths() refuses a bundle that names places of the build machine", () => {
  const places = ["/home/me/spa", "/home/me/.cache/deno"];
  const refused = [
    'const a = "/home/me/spa/lib/a.ts";\n',
    "// see /home/me/.cache/deno/npm/a.js\n",
    "// ../elsewhere/a.ts\n",
    '  "../elsewhere/a.ts"() {\n',
    "// /elsewhere/a.ts\n",
  ];
  for (const text of refused) assert.equal(checkPaths(text, places).ok, false, text);
  const text = '// lib/a.ts\n  "lib/b.ts"() {\n  "/root/.gnupg",\nconst a = "../x /home/me";\n';
  assert.deepEqual(checkPaths(text, places), { ok: true, text });
});

Deno.test("makeScript() and hideFromAnalysis() make a strict script that does what the module did", () => {
  const seen: unknown[] = [];
  const answer = makeScript(
    "const list = globalThis.__seen;\nvar x = 7;\nlist.push(import.meta.main, x);\n" +
      'list.push("\\u2028`${1}\\\\");\nexport {\n  x\n};\n/*! notice */\n',
  );
  assert.ok(answer.ok);
  Object.assign(globalThis, { __seen: seen });
  try {
    new Function(hideFromAnalysis(answer.text, null))();
  } finally {
    Reflect.deleteProperty(globalThis, "__seen");
  }
  assert.deepEqual(seen, [true, 7, "\u2028`${1}\\"]);
  assert.equal("x" in globalThis || "list" in globalThis, false);
});

Deno.test("makeScript() refuses what only a module may hold", () => {
  const cases = [
    "await f();",
    "await (f());",
    "for await (const a of b) c(a);",
    "const a = import.meta.url;",
    'import a from "a";',
    "export const a = 1;",
    "export default 1;",
    "with (a) b();",
  ];
  for (const text of cases) assert.equal(makeScript(text).ok, false, text);
  const allowed = 'async function f() { await (g()); }\nimport("node:path").then(f);\n';
  assert.equal(makeScript(allowed).ok, true);
});

Deno.test("bundle() gives the same text in checkouts at different places", async () => {
  const directory = Deno.makeTempDirSync();
  try {
    const texts: string[] = [];
    for (const place of [`${directory}/a`, `${directory}/b/deeper/still`]) {
      Deno.mkdirSync(place, { recursive: true });
      for (const name of ["deno.json", "deno.lock"]) {
        Deno.copyFileSync(`${root}/${name}`, `${place}/${name}`);
      }
      Deno.copyFileSync(`${root}/tests/compile_probe.ts`, `${place}/probe.ts`);
      const bundled = await bundle(place, `${place}/probe.ts`);
      assert.ok(bundled.ok, bundled.ok ? "" : bundled.reason);
      texts.push(bundled.text);
    }
    assert.equal(texts[0], texts[1]);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("a stand-in says what is missing when it is used for more than commander needs", () => {
  const modules = standIns() as Record<string, Record<string, Record<string, () => void>>>;
  assert.throws(() => modules["node:fs"]?.["default"]?.["existsSync"]?.(), /without node:fs/);
  assert.throws(() => modules["node:process"]?.["default"]?.["argv"], /without node:process/);
  const Emitter = standIns()["node:events"]?.["EventEmitter"] as unknown as new () => {
    on(event: string, listener: (value: unknown) => void): unknown;
    once(event: string): unknown;
    emit(event: string, value: unknown): boolean;
    listenerCount(event: string): number;
  };
  const emitter = new Emitter();
  const heard: unknown[] = [];
  emitter.on("a", (value) => heard.push(value));
  assert.deepEqual([emitter.emit("a", 1), emitter.emit("b", 2)], [true, false]);
  assert.deepEqual([heard, emitter.listenerCount("a")], [[1], 1]);
  assert.throws(() => emitter.once("a"), /without node:events \(once\)/);
});

Deno.test("the stand-in for stripVTControlCharacters() removes escape sequences only", () => {
  const strip = standIns()["node:util"]?.["stripVTControlCharacters"] as (text: string) => string;
  assert.equal(
    strip("\x1b[1;31mred\x1b[0m [31m \x1b]8;;http://x\x07link\x1b]8;;\x07"),
    "red [31m link",
  );
});
