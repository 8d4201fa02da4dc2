// README.md and the pages of docs: where their links lead, and the files that they name.

import assert from "node:assert/strict";

const ROOT = new URL("..", import.meta.url).pathname;

/** Pages by their paths in the repository. */
const PAGES = new Map(
  ["README.md", "SECURITY.md", ...filesIn("docs")].filter((path) => path.endsWith(".md"))
    .map((path) => [path, Deno.readTextFileSync(`${ROOT}${path}`)]),
);

/** Directories whose files pages name. */
const NAMED = ["docs", "ffi", "lib", "packaging", "scripts", "tests"];

function filesIn(directory: string): string[] {
  return [...Deno.readDirSync(`${ROOT}${directory}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(`${directory}/${name}`) : [`${directory}/${name}`]
  );
}

function withoutCode(text: string): string {
  return text.replace(/^```.*?^```/gms, "");
}

/** The anchors of a page's headings, as hosts of repositories name them. */
function anchorsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")
  );
}

Deno.test("links between pages lead to files and headings that are there", () => {
  const broken: string[] = [];
  let links = 0;
  for (const [path, text] of PAGES) {
    for (const [, link = ""] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^\w+:/.test(link)) continue;
      links++;
      const { pathname, hash } = new URL(link, `file:///${path}`);
      const target = pathname.slice(1);
      const page = PAGES.get(target);
      const isThere = page === undefined
        ? NAMED.some((directory) => filesIn(directory).includes(target))
        : hash === "" || anchorsOf(page).includes(hash.slice(1));
      if (!isThere) broken.push(`${path}: ${link}`);
    }
  }
  assert.ok(links > 50);
  assert.deepEqual(broken, []);
});

Deno.test("a way leads from README.md to every page of docs", () => {
  const reached = new Set(["README.md"]);
  for (const path of reached) {
    for (const [, link = ""] of (PAGES.get(path) ?? "").matchAll(/\]\(([^)\s#]+)/g)) {
      const target = new URL(link, `file:///${path}`).pathname.slice(1);
      if (PAGES.has(target)) reached.add(target);
    }
  }
  assert.deepEqual([...PAGES.keys()].filter((path) => !reached.has(path)), []);
});

Deno.test("files of the sources that pages name are there", () => {
  const files = NAMED.flatMap(filesIn);
  const missing = [...PAGES].flatMap(([path, text]) =>
    [...text.matchAll(/`((?:docs|ffi|lib|packaging|scripts|tests)\/[\w./-]*\w)`/g)]
      .filter(([, name = ""]) => !files.some((file) => `${file}/`.startsWith(`${name}/`)))
      .map(([, name]) => `${path}: ${name}`)
  );
  assert.deepEqual(missing, []);
});
