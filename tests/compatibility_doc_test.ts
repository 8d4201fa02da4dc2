// docs/fwknop-compatibility.md, held to the program: every option and variable of the client and of
// the server has a row, and every row names tests that are there.

import assert from "node:assert/strict";
import { KNOCK_OPTIONS } from "../lib/cmd_knock_options.ts";
import { SERVE_OPTIONS } from "../lib/cmd_serve_options.ts";
import { accessVariableNames } from "../lib/conf_access_variables.ts";
import { serverVariableNames } from "../lib/conf_fwknopd_variables.ts";
import { RC_VARIABLES } from "../lib/conf_fwknoprc_variables.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const MARKS: readonly string[] = ["same", "better", "differs"];
const LATER = "later";

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

/** What stands below a heading, such as `## Client`, up to the next one of its rank. */
function section(markdown: string, heading: string): string {
  const [, text = ""] = markdown.split(`\n${heading}\n`);
  return text.split(`\n${heading.replace(/[^#].*/, "")} `)[0] ?? "";
}

const page = Deno.readTextFileSync(`${ROOT}docs/fwknop-compatibility.md`);
const client = readTables(section(page, "## Client"));
const server = readTables(section(page, "## Server"));

/** Options as the page writes them. */
function titles(
  options: readonly {
    readonly short?: string;
    readonly long: string;
    readonly aliases?: readonly string[];
  }[],
): string[] {
  return options.flatMap(({ short, long, aliases = [] }) => [
    `${short === undefined ? "" : `\`-${short}\` `}\`--${long}\``,
    ...aliases.map((alias) => `\`--${alias}\``),
  ]).sort();
}

/** The long names in the rows without a mark, which are those of options that fwknop lacks. */
function ownNames(rows: readonly Row[]): (string | undefined)[] {
  const own = rows.flatMap(({ option, mark }) => mark === undefined ? option ?? [] : []);
  return own.map((option) => /--([^`]+)/.exec(option)?.[1]);
}

function valuesOf(rows: readonly Row[], heading: string): string[] {
  return rows.flatMap((row) => row[heading] ?? []).sort();
}

const quoted = (name: string): string => `\`${name}\``;

Deno.test("the compatibility page has one row for every option of spa knock", () => {
  assert.deepEqual(valuesOf(client, "option"), titles(KNOCK_OPTIONS));
  const own = KNOCK_OPTIONS.filter((option) => option.own).map(({ long }) => long);
  assert.deepEqual(ownNames(client), own);
});

Deno.test("the compatibility page has one row for every variable of .fwknoprc", () => {
  const names = RC_VARIABLES.map(({ name }) => quoted(name)).sort();
  assert.deepEqual(valuesOf(client, "variable"), names);
});

Deno.test("the compatibility page has one row for every option of spa serve", () => {
  assert.deepEqual(valuesOf(server, "option"), titles(SERVE_OPTIONS));
  const own = SERVE_OPTIONS.filter((option) => option.own).map(({ long }) => long);
  assert.deepEqual(ownNames(server), own);
});

Deno.test("the compatibility page has one row for every variable of the server's files", () => {
  const config = readTables(section(page, "### Variables of fwknopd.conf"));
  assert.deepEqual(valuesOf(config, "variable"), serverVariableNames().map(quoted).sort());
  const access = readTables(section(page, "### Variables of access.conf"));
  assert.deepEqual(valuesOf(access, "variable"), accessVariableNames().map(quoted).sort());
});

Deno.test("what the compatibility page calls later is what the server calls so", () => {
  const later = server.filter(({ mark }) => mark === LATER);
  assert.deepEqual(
    valuesOf(later, "option"),
    titles(SERVE_OPTIONS.filter((option) => option.later)),
  );
  assert.deepEqual(valuesOf(later, "variable"), []);
});

for (
  const [half, rows, marks] of [
    ["client", client, MARKS],
    ["server", server, [...MARKS, LATER]],
  ] as const
) {
  const named = rows.filter((row) => row.name !== undefined);
  const subjects = rows.filter((row) => row.tests !== undefined);

  Deno.test(`the compatibility page says how well each part of the ${half} works, and by which tests that shows`, () => {
    const names = new Set(named.map(({ name }) => name));
    for (const row of subjects) {
      const title = Object.values(row)[0];
      if (row.mark !== undefined) assert.ok(marks.includes(row.mark), title);
      const tests = row.tests?.split(", ") ?? [];
      assert.deepEqual(tests.filter((name) => !names.has(name)), [], title);
    }
    const used = new Set(subjects.flatMap(({ tests = "" }) => tests.split(", ")));
    assert.deepEqual([...names].filter((name) => !used.has(name ?? "")), [], "named, but not used");
  });

  Deno.test(`the tests that the compatibility page names for the ${half} are there`, () => {
    assert.ok(named.length > 0);
    for (const { name, file = "", test = "" } of named) {
      const text = Deno.readTextFileSync(ROOT + file.replaceAll("`", ""));
      assert.ok(text.includes(test), `${name}: ${file} has no test "${test}"`);
    }
  });
}
