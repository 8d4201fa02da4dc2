// The files of access.conf: syntax, includes, folders and key files.

import assert from "node:assert/strict";
import type { AccessConfigReading } from "../lib/conf_access.ts";
import { ACCESS_VARIABLES, accessVariableNames } from "../lib/conf_access_variables.ts";
import { bytes, readFiles, stanzaText, told } from "./access_files.ts";

Deno.test("a colon behind the name, indents, comments and blank lines are fwknopd's syntax", () => {
  const text = "# c\n; c\n\n   \n  # c\nSOURCE: ANY;\n\tKEY: secret; comment\r\nREQUIRE_SOURCE: Y;";
  const reading = readFiles({ "a.conf": text });
  assert.deepEqual(told(reading), []);
  assert.deepEqual(reading.stanzas[0]?.KEY, bytes("secret"));
});

Deno.test("a line that is not a name and a value is an error", () => {
  for (const line of ["KEY", "KEY ;value", "nonsense", "KEY=value", "%include", "SOURCE"]) {
    const reading = readFiles({ "a.conf": stanzaText(line) });
    const expected =
      /^spa: a\.conf:4:1: Invalid access file entry in a\.conf at line 4: .*\nhint: /;
    assert.match(told(reading).join("\n"), expected, line);
  }
});

Deno.test("without a stanza there is an error", () => {
  assert.match(
    told(readFiles({ "a.conf": "# nothing\n" })).join(),
    /^spa: a\.conf: Could not find valid SOURCE stanza in access file: 'a\.conf'/,
  );
  const early = told(readFiles({ "a.conf": "source ANY\nKEY x\n" })).join("\n");
  assert.match(
    early,
    /a\.conf:1:1: warning: 'source' stands before the first SOURCE and is ignored/,
  );
  assert.match(early, /Could not find valid SOURCE stanza/);
  assert.match(
    told(readFiles({})).join(),
    /^spa: a\.conf: Could not open access file: a\.conf: No/,
  );
});

const KEYED = "\nKEY secret\nREQUIRE_SOURCE Y\n";

/** The SOURCE texts of all stanzas, in order. */
function sources(reading: AccessConfigReading): string[] {
  return reading.stanzas.map((stanza) => stanza.SOURCE.text);
}

Deno.test("included stanzas stand where they are met, and the current stanza goes on", () => {
  const reading = readFiles({
    "a.conf": `SOURCE 10.0.0.1\n%include b.conf\n${KEYED}FW_ACCESS_TIMEOUT 7\n`,
    "b.conf": `%include c.conf\nSOURCE 10.0.0.2${KEYED}`,
    "c.conf": `SOURCE 10.0.0.3${KEYED}`,
  });
  assert.deepEqual(told(reading), []);
  assert.deepEqual(sources(reading), ["10.0.0.1", "10.0.0.3", "10.0.0.2"]);
  assert.equal(reading.stanzas[0]?.FW_ACCESS_TIMEOUT, 7);
  assert.deepEqual(reading.files, ["a.conf", "b.conf", "c.conf"]);
});

Deno.test("includes deeper than three files and circular ones are refused", () => {
  const chain = readFiles({
    "a.conf": "%include b.conf",
    "b.conf": "%include c.conf",
    "c.conf": "\n%include d.conf",
    "d.conf": `SOURCE ANY${KEYED}`,
  });
  assert.deepEqual(told(chain), [
    "spa: c.conf:2:10: Refusing to go deeper than 3 levels. Lost in Limbo: 'd.conf'\n" +
    "hint: include the file from one that stands higher",
  ]);
  const circle = readFiles({ "a.conf": `%include a.conf\nSOURCE ANY${KEYED}` });
  assert.match(told(circle).join(), /Lost in Limbo: 'a\.conf'\nhint: the file includes itself/);
  const missing = readFiles({ "a.conf": `SOURCE ANY${KEYED}%include gone` });
  assert.match(
    told(missing).join(),
    /^spa: a\.conf:4:10: Could not open access file: gone: No such/,
  );
});

Deno.test("a folder's files are read in the order of their names, .conf only", () => {
  const files = {
    "a.conf": "%include_folder d/",
    "d/b.conf": `SOURCE 10.0.0.2${KEYED}`,
    "d/a.conf": `SOURCE 10.0.0.1${KEYED}`,
    "d/c.confx": "SOURCE bad",
    "d/a.conf.bak": "SOURCE bad",
    "d/a.conf~": "SOURCE bad",
    "d/.#a.conf": "SOURCE bad",
  };
  for (const reading of [readFiles(files), readFiles(files, "ACCESS_FOLDER d/")]) {
    assert.deepEqual(told(reading), []);
    assert.deepEqual(sources(reading), ["10.0.0.1", "10.0.0.2"]);
    assert.deepEqual(reading.stanzas.map((stanza) => stanza.number), [1, 2]);
  }
  assert.match(
    told(readFiles({ "a.conf": "%include_folder gone" })).join(),
    /a\.conf:1:17: Invalid access folder directory 'gone': Not a directory/,
  );
  assert.match(
    told(readFiles({ "d/x": "" }, "ACCESS_FOLDER d")).join(),
    /could not find any valid access\.conf stanzas in 'd'/,
  );
});

Deno.test("each stanza of a folder is expanded once, so that ports are not doubled", () => {
  const text = `SOURCE ANY\nOPEN_PORTS tcp/22${KEYED}`;
  const reading = readFiles({ "d/a.conf": text, "d/b.conf": text }, "ACCESS_FOLDER d");
  assert.deepEqual(reading.stanzas.map((stanza) => stanza.OPEN_PORTS), [
    [{ protocol: "tcp", port: 22 }],
    [{ protocol: "tcp", port: 22 }],
  ]);
});

Deno.test("a key file gives keys and nothing else", () => {
  const reading = readFiles({
    "a.conf": "SOURCE ANY\nREQUIRE_SOURCE Y\n%include_keys k\nFW_ACCESS_TIMEOUT 9",
    k: "KEY one\nHMAC_KEY two\nSOURCE ANY\nFW_ACCESS_TIMEOUT 5\nFOO x",
  });
  const [stanza] = reading.stanzas;
  assert.deepEqual([stanza?.KEY, stanza?.HMAC_KEY], [bytes("one"), bytes("two")]);
  assert.equal(stanza?.FW_ACCESS_TIMEOUT, 9);
  assert.deepEqual(told(reading), [
    "spa: k:3:1: warning: Ignoring invalid entry: 'SOURCE' in key file k\nhint: write SOURCE in a.conf",
    "spa: k:4:1: warning: Ignoring invalid entry: 'FW_ACCESS_TIMEOUT' in key file k\n" +
    "hint: write FW_ACCESS_TIMEOUT in a.conf",
    "spa: k:5:1: warning: Ignoring invalid entry: 'FOO' in key file k",
  ]);
});

Deno.test("the variables of key files are those that fwknopd takes there", () => {
  const allowed = accessVariableNames().filter((name) => ACCESS_VARIABLES[name].inKeyFile);
  assert.deepEqual(allowed, [
    "KEY",
    "KEY_BASE64",
    "HMAC_KEY",
    "HMAC_KEY_BASE64",
    "GPG_DECRYPT_ID",
    "GPG_DECRYPT_PW",
    "GPG_ALLOW_NO_PW",
    "GPG_REQUIRE_SIG",
    "GPG_DISABLE_SIG",
    "GPG_IGNORE_SIG_VERIFY_ERROR",
    "GPG_REMOTE_ID",
    "GPG_FINGERPRINT_ID",
  ]);
});

Deno.test("a bad key file is an error, never a stanza lost in silence", () => {
  const text = "SOURCE ANY\nREQUIRE_SOURCE Y\n%include_keys k\nSOURCE 10.0.0.1\nKEY x\n";
  const cases: [keys: string | undefined, expected: RegExp][] = [
    [undefined, /a\.conf:3:15: Data error in included keyfile: 'k', skipping stanza: No such file/],
    ["", /Data error in included keyfile: 'k', skipping stanza: it holds no key/],
    ["KEY __CHANGEME__", /^spa: k:1:1: KEY value is not properly set in stanza source 'ANY'/m],
    ["KEY_BASE64 %%", /^spa: k:1:1: KEY_BASE64 argument doesn't look like base64/m],
    ["KEY", /^spa: k:1:1: Invalid access file entry in k at line 1/m],
  ];
  for (const [keys, expected] of cases) {
    const reading = readFiles(
      keys === undefined ? { "a.conf": text } : { "a.conf": text, k: keys },
    );
    assert.match(told(reading).join("\n"), expected, keys);
    assert.deepEqual(sources(reading), ["10.0.0.1"]);
  }
});
