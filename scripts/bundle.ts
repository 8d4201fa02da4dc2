// Makes one JavaScript text of a program and all it imports, the same bytes on every machine.
// The steps after `deno bundle` are pure; docs/executable.md says why each is there.

import { standIns, standInsText } from "./bundle_stand_ins.ts";

/** The bundle, or why it is refused. */
export type Outcome = { readonly ok: true; readonly text: string } | {
  readonly ok: false;
  readonly reason: string;
};

/**
 * Bundles a program.
 *
 * @param root directory of `deno.json` and `deno.lock`
 * @param entry path of the program's first module
 */
export async function bundle(root: string, entry: string): Promise<Outcome> {
  const whole = await scriptOf(root, entry, []);
  if (!whole.ok) return whole;
  const client = await scriptOf(root, entry, SERVER_MODULES);
  if (!client.ok) return client;
  const isPart = client.text.length < whole.text.length;
  return { ok: true, text: hideFromAnalysis(whole.text, isPart ? client.text : null) };
}

/** Modules that clients never need, with what only they import. */
const SERVER_MODULES = [
  "./lib/cmd_serve.ts",
  "./lib/cmd_fw_list.ts",
  "./lib/cmd_fw_close.ts",
  "./lib/cmd_fw_flush.ts",
  "./lib/serve_sentry_process.ts",
];
/** An import of one of them that was left out. */
const SERVER_IMPORT = new RegExp(
  String.raw`\bimport\("(?:${SERVER_MODULES.join("|").replaceAll(".", String.raw`\.`)})"\)`,
  "g",
);
/** A module of the server's floors, but for two small ones that clients need, too. */
const SERVER_FLOOR = /^lib\/(?:fw_|serve_(?!(?:sentry_start|timer)\.ts$))/;

/** The strict script that does what the program does, without the modules that are left out. */
async function scriptOf(
  root: string,
  entry: string,
  leftOut: readonly string[],
): Promise<Outcome> {
  const externals = leftOut.map((module) => `--external=${module}`);
  const config = ["--frozen", "--config", `${root}/deno.json`];
  const bundled = await runBundler(root, [...config, ...externals, entry]);
  if (!bundled.ok) return bundled;
  const replaced = replaceNodeImports(nameModules(bundled.text));
  if (!replaced.ok) return replaced;
  const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME") ?? ""}/.cache/deno`;
  const checked = checkPaths(replaced.text, [root, cache]);
  if (!checked.ok) return checked;
  const strays = [...checked.text.matchAll(MODULE)].map(([, name]) => name ?? "")
    .filter((name) => leftOut.length > 0 && SERVER_FLOOR.test(name));
  if (strays.length > 0) return refused(`clients would read ${strays.join(", ")}`);
  const script = makeScript(checked.text.replaceAll(SERVER_IMPORT, "globalThis.wholeProgram()"));
  return script.ok ? await minify(root, script.text) : script;
}

/** What V8 has to read before the program starts counts: half as much text takes half as long. */
async function minify(root: string, script: string): Promise<Outcome> {
  const path = await Deno.makeTempFile({ suffix: ".js" });
  try {
    await Deno.writeTextFile(path, script);
    return await runBundler(root, ["--no-config", "--minify", path]);
  } finally {
    await Deno.remove(path);
  }
}

async function runBundler(root: string, args: readonly string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", ...args],
    cwd: root,
    env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  if (code !== 0) return refused(`deno bundle failed:\n${decoder.decode(stderr).trimEnd()}`);
  return { ok: true, text: decoder.decode(stdout) };
}

/** How `deno bundle` names a module that lies in Deno's npm cache, relative to the checkout. */
const CACHED = /^(\/\/ | *")[^"\n]*?\/npm\/[^/"\n]+\/((?:@[^/"\n]+\/)?[^/"\n]+)\/([^/"\n]+)\//gm;

/**
 * Names npm modules by package and version instead of their place in the cache, which differs
 * from machine to machine.
 */
export function nameModules(text: string): string {
  return text.replaceAll(CACHED, "$1npm:$2@$3/");
}

/** A static import as `deno bundle` prints it: clause and specifier, or the specifier alone. */
const IMPORT = /^import\s*(?:([^"'();]*?)\s*from\s*)?"([^"\n]*)"[^;\n]*;$/gm;

/** Anything else at the start of a line that may be a static import. */
const ODD_IMPORT = /^import\b(?!\s*[.(])[^\n]*/m;

/** The comment in front of each module's text. */
const MODULE = /^\/\/ (\S+)$/gm;

/**
 * Replaces commander's static imports of Node.js modules by stand-ins; refuses every other static
 * import, since it would cost start-up time whether or not it is used.
 */
export function replaceNodeImports(text: string): Outcome {
  const available = standIns();
  const modules = [...text.matchAll(MODULE)].map((match) => ({
    at: match.index,
    name: match[1] ?? "",
  }));
  const problems: string[] = [];
  let count = 0;
  const replaced = text.replaceAll(IMPORT, (whole, clause: string | undefined, from, at) => {
    const importer = modules.findLast((module) => module.at < at)?.name ?? "unknown module";
    const members = Object.hasOwn(available, from) ? available[from] : undefined;
    if (members === undefined || !importer.startsWith("npm:commander@")) {
      problems.push(`${importer} imports ${from} statically`);
      return whole;
    }
    const bindings = bindingsOf(clause ?? "", Object.keys(members));
    if (bindings === undefined) {
      problems.push(`${importer} imports ${from} in an unknown way: ${whole}`);
      return whole;
    }
    count++;
    return `const ${bindings} = standIns["${from}"];`;
  });
  if (problems.length > 0) return refused(problems.join("\n"));
  const odd = ODD_IMPORT.exec(replaced);
  if (odd !== null) return refused(`unknown import: ${odd[0]}`);
  if (count === 0) return { ok: true, text: replaced };
  return { ok: true, text: `const standIns = ${standInsText()};\n${replaced}` };
}

/** The pattern that takes an import clause's names from a stand-in; undefined if it lacks one. */
function bindingsOf(clause: string, members: readonly string[]): string | undefined {
  const byDefault = /^[\w$]+$/.exec(clause);
  const names = byDefault !== null
    ? [["default", clause]]
    : /^\{([^{}]*)\}$/.exec(clause)?.[1]?.split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "")
      .map((part) => part.split(/\s+as\s+/));
  if (names === undefined) return undefined;
  const pairs = names.map(([name = "", local = name]) => ({ name, local }));
  if (!pairs.every(({ name, local }) => members.includes(name) && /^[\w$]+$/.test(local))) {
    return undefined;
  }
  return `{ ${pairs.map(({ name, local }) => `${name}: ${local}`).join(", ")} }`;
}

/**
 * Refuses a text that names places of the machine it was made on.
 *
 * @param directories absolute paths of the checkout and of Deno's cache; the home directory is none
 *   of them, since `/root` is in texts that are meant to be there
 */
export function checkPaths(text: string, directories: readonly string[]): Outcome {
  const lines = text.split("\n");
  for (const directory of directories) {
    const line = lines.findIndex((content) => content.includes(`${directory}/`));
    if (line >= 0) return refused(`line ${line + 1} of the bundle names ${directory}`);
  }
  const outside = /^\/\/ (?:\.\.)?\/.*$|^ *"(?:\.\.)?\/.*"\(\) \{$/m.exec(text);
  if (outside !== null) return refused(`a module lies outside the checkout: ${outside[0].trim()}`);
  return { ok: true, text };
}

/**
 * Makes a module a script.
 *
 * @param text a module without static imports that awaits nothing outside functions
 */
export function makeScript(text: string): Outcome {
  const script = text
    .replaceAll(/\bimport\.meta\.main\b/g, "true")
    .replace(/^export \{[^{}]*\};$/m, "");
  try {
    // Outside modules `await` is a name like any other, but not in a class's static block.
    new Function(`"use strict"; class Program { static {\n${script}\n} }`);
  } catch (error) {
    return refused(`the bundle cannot be a script: ${error}`);
  }
  return { ok: true, text: script };
}

/**
 * Makes the program one string that is evaluated as a strict script: before V8 compiles a module,
 * Deno reads all of it to find its imports, which takes longer than the rest of the start.
 *
 * @param whole the script of the program
 * @param client the script of a part of it, evaluated first; it evaluates the whole with
 *   `globalThis.wholeProgram()` where that is needed
 */
export function hideFromAnalysis(whole: string, client: string | null): string {
  const literal = (script: string): string =>
    JSON.stringify(`"use strict"; ${script}\n//# sourceURL=spa.js\n`);
  const start = client === null ? "wholeProgram();" : `(0, eval)(${literal(client)});`;
  // The executable keeps Deno's own messages from the user; this one must not get lost with them.
  return `const wholeProgram = () => {
  (0, eval)(${literal(whole)});
  return new Promise(() => {});
};
globalThis.wholeProgram = wholeProgram;
try {
  ${start}
} catch (error) {
  console.error(error);
  Deno.exit(1);
}
`;
}

function refused(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason };
}
