// access.conf as tests write it: files that are texts, and stanzas of a few lines.

import assert from "node:assert/strict";
import { type AccessConfigReading, parseAccessConfig, type Stanza } from "../lib/conf_access.ts";
import { parseServerConfig } from "../lib/conf_fwknopd.ts";
import { formatProblem } from "../lib/conf_problem.ts";

/** Texts by their paths. */
export type Files = Readonly<Record<string, string>>;

/** Reads `a.conf` of some files; the server's own configuration is `serverText`. */
export function readFiles(files: Files, serverText = ""): AccessConfigReading {
  const { config } = parseServerConfig({
    path: "f.conf",
    readText: () => ({ ok: true, text: serverText }),
  });
  return parseAccessConfig({
    path: "a.conf",
    config,
    readText: (path) => {
      const text = files[path];
      return text === undefined ? { ok: false, reason: "No such file" } : { ok: true, text };
    },
    listDirectory: (path) => {
      const names = Object.keys(files)
        .filter((name) => name.startsWith(`${path}/`))
        .map((name) => name.slice(path.length + 1));
      return names.length === 0 ? { ok: false, reason: "Not a directory" } : { ok: true, names };
    },
    lookups: {
      user: (name) => name === "bob" ? { uid: 1001, gid: 1002 } : null,
      group: (name) => name === "adm" ? { gid: 4 } : null,
      isDirectory: (path) => path === "/gnupg" || path === "/root/.gnupg",
      isProgram: (path) => path === "/usr/bin/gpg" || path === "/bin/gpg",
    },
  });
}

/** The findings as the operator reads them. */
export function told(reading: AccessConfigReading): string[] {
  return reading.problems.map(formatProblem);
}

/** A stanza of these lines on top of SOURCE, a key and REQUIRE_SOURCE_ADDRESS. */
export function stanzaText(lines: string): string {
  return `SOURCE ANY\nKEY secret\nREQUIRE_SOURCE_ADDRESS Y\n${lines}\n`;
}

/** That stanza as it is read. */
export function stanzaOf(lines: string, serverText = ""): Stanza {
  const reading = readFiles({ "a.conf": stanzaText(lines) }, serverText);
  const [stanza] = reading.stanzas;
  assert.ok(stanza !== undefined, told(reading).join("; "));
  return stanza;
}

/** The one finding of a stanza of these lines. */
export function finding(lines: string, severity: "error" | "warning", serverText = ""): string {
  const reading = readFiles({ "a.conf": stanzaText(lines) }, serverText);
  const found = reading.problems.filter((problem) => problem.severity === severity);
  assert.equal(found.length, 1, `${lines}: ${told(reading).join("; ")}`);
  assert.equal(reading.stanzas.length, severity === "error" ? 0 : 1, lines);
  return found.map(formatProblem)[0] ?? "";
}

/** A text in UTF-8. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
