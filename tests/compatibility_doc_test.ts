// docs/fwknop-compatibility.md, held to the program: every option and variable of the client has a
// row, and every row names tests that are there.

import assert from "node:assert/strict";
import { KNOCK_OPTIONS } from "../lib/cmd_knock_options.ts";
import { RC_VARIABLES } from "../lib/conf_fwknoprc_variables.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const MARKS: readonly string[] = ["same", "better", "differs"];

/** A row of a table, by the headings of its columns. */
type Row = Readonly<Record<string, string>>;

function readTables(markdown: string): Row[] {
  const rows: Row[] = [];
  let headings: readonly string[] = [];
  for (const line of markdown.split("\n")) {
    const cells = line.startsWith("|")
      ? line.split("|").slice(1, -1).map((cell) => cell.trim())
      : [];
    if (cells.length === 0) headings = [];
    else if (headings.length === 0) headings = cells;
    else if (!/^:?-+:?$/.test(cells[0] ?? "")) {
      rows.push(Object.fromEntries(headings.map((name, index) => [name, cells[index] ?? ""])));
    }
  }
  return rows;
}

function section(markdown: string, heading: string): string {
  const [, text = ""] = markdown.split(`\n## ${heading}\n`);
  return text.split("\n## ")[0] ?? "";
}

const client = readTables(
  section(Deno.readTextFileSync(`${ROOT}docs/fwknop-compatibility.md`), "Client"),
);
const named = client.filter((row) => row.name !== undefined);
const subjects = client.filter((row) => row.tests !== undefined);

Deno.test("the compatibility page has one row for every option of spa knock", () => {
  const rows = client.flatMap(({ option }) => option ?? []).sort();
  const expected = KNOCK_OPTIONS.flatMap(({ short, long, aliases = [] }) => [
    `${short === undefined ? "" : `\`-${short}\` `}\`--${long}\``,
    ...aliases.map((alias) => `\`--${alias}\``),
  ]);
  assert.deepEqual(rows, expected.sort());
  const own = client.flatMap(({ option, mark }) => mark === undefined ? option ?? [] : []);
  const names = own.map((option) => /--([^`]+)/.exec(option)?.[1]);
  assert.deepEqual(names, KNOCK_OPTIONS.filter((option) => option.own).map(({ long }) => long));
});

Deno.test("the compatibility page has one row for every variable of .fwknoprc", () => {
  const rows = client.flatMap(({ variable }) => variable ?? []).sort();
  assert.deepEqual(rows, RC_VARIABLES.map(({ name }) => `\`${name}\``).sort());
});

Deno.test("the compatibility page says how well each works, and by which tests that shows", () => {
  const names = new Set(named.map(({ name }) => name));
  for (const row of subjects) {
    const title = Object.values(row)[0];
    if (row.mark !== undefined) assert.ok(MARKS.includes(row.mark), title);
    const tests = row.tests?.split(", ") ?? [];
    assert.deepEqual(tests.filter((name) => !names.has(name)), [], title);
  }
  const used = new Set(subjects.flatMap(({ tests = "" }) => tests.split(", ")));
  assert.deepEqual([...names].filter((name) => !used.has(name ?? "")), [], "named, but not used");
});

Deno.test("the tests that the compatibility page names are there", () => {
  assert.ok(named.length > 0);
  for (const { name, file = "", test = "" } of named) {
    const text = Deno.readTextFileSync(ROOT + file.replaceAll("`", ""));
    assert.ok(text.includes(test), `${name}: ${file} has no test "${test}"`);
  }
});
