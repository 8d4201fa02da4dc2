// docs/dependencies.md, held to deno.json and deno.lock: every package has a row that says what is
// true, and the lock file pins nothing that the page does not name.

import assert from "node:assert/strict";
import settings from "../deno.json" with { type: "json" };

const ROOT = new URL("..", import.meta.url).pathname;

/** What deno.lock says of a package. */
interface Locked {
  readonly integrity: string;
  readonly dependencies?: readonly string[];
}

const page = Deno.readTextFileSync(`${ROOT}docs/dependencies.md`);
const lock: { readonly npm: Readonly<Record<string, Locked>> } = JSON.parse(
  Deno.readTextFileSync(`${ROOT}deno.lock`),
);

/** `name@version` of a specifier such as `npm:/@noble/hashes@2.4.0/`. */
function packageOf(specifier: string): string {
  return /^npm:\/?((?:@[^/@]+\/)?[^/@]+@[0-9]+\.[0-9]+\.[0-9]+)\/?$/.exec(specifier)?.[1] ?? "";
}

/** The packages of the page's first table: name, version, what they pull in. */
function rows(): { name: string; version: string; pullsIn: readonly string[] }[] {
  const [, section = ""] = page.split("\n## Packages\n");
  return [...section.matchAll(/^\| `([^`]+)` +\| (\S+) +\| \S+ +\| ([^|]+?) +\|/gm)].map(
    ([, name = "", version = "", pullsIn = ""]) => ({
      name,
      version,
      pullsIn: pullsIn === "nothing" ? [] : pullsIn.split(", "),
    }),
  );
}

Deno.test("docs/dependencies.md has a row for each import of deno.json, with its one version", () => {
  const imports = Object.values(settings.imports);
  for (const specifier of imports) {
    assert.notEqual(packageOf(specifier), "", `${specifier} does not name one version`);
  }
  assert.deepEqual(
    rows().map(({ name, version }) => `${name}@${version}`).sort(),
    imports.map(packageOf).sort(),
  );
});

Deno.test("docs/dependencies.md names what each package pulls in, as deno.lock has it", () => {
  for (const { name, version, pullsIn } of rows()) {
    const key = Object.keys(lock.npm).find((one) =>
      one === `${name}@${version}` || one.startsWith(`${name}@${version}_`)
    );
    assert.deepEqual(lock.npm[key ?? ""]?.dependencies ?? [], pullsIn, name);
  }
});

Deno.test("deno.lock pins nothing that docs/dependencies.md does not name, and all by content", () => {
  for (const [key, { integrity }] of Object.entries(lock.npm)) {
    const [, name = "", version = ""] = /^(.+?)@([0-9.]+)/.exec(key) ?? [];
    assert.match(integrity, /^sha512-/, key);
    assert.match(page, new RegExp("`" + name + "` +\\|? ?" + version.replaceAll(".", "\\.")), key);
  }
});

Deno.test("each package is imported where docs/dependencies.md says, and in no other place", () => {
  const users = new Map<string, Set<string>>(
    Object.keys(settings.imports).map((key) => [
      key,
      new Set(),
    ]),
  );
  for (const directory of ["lib", "ffi", "tests", "scripts"]) {
    for (const { name, isFile } of Deno.readDirSync(`${ROOT}${directory}`)) {
      if (!isFile || !name.endsWith(".ts")) continue;
      const text = Deno.readTextFileSync(`${ROOT}${directory}/${name}`);
      for (const [, from = ""] of text.matchAll(/(?:\bfrom |\bimport\()"([^"\n]+)"/g)) {
        const key = [...users.keys()].find((one) =>
          from === one || one.endsWith("/") && from.startsWith(one)
        );
        if (key !== undefined) users.get(key)?.add(directory);
      }
    }
  }
  for (const [key, places] of users) {
    const name = key.replace(/\/$/, "");
    const row = page.split("\n").find((line) => line.startsWith(`| \`${name}\``)) ?? "";
    const place = row.split("|")[5]?.trim() ?? "";
    // What lib uses, tests may use too.
    const [used] = places.has("lib") ? ["lib"] : places;
    const expected = place.startsWith("through ") ? undefined : place;
    assert.equal(used, expected, `${name} is used in: ${[...places].join(", ")}`);
    assert.ok(!places.has("ffi"), `${name} is used in ffi`);
  }
});
