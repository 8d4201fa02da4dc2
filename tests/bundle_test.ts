// The program and all it imports as one text.

import assert from "node:assert/strict";
import {
  bundle,
  checkPaths,
  hideFromAnalysis,
  makeScript,
  nameModules,
  replaceNodeImports,
} from "../scripts/bundle.ts";
import { standIns } from "../scripts/bundle_stand_ins.ts";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

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
