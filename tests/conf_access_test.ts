// The variables of access.conf: their values and types, and the dump of them.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Stanza } from "../lib/conf_access.ts";
import { formatAccessDump } from "../lib/conf_access_dump.ts";
import { accessVariableNames } from "../lib/conf_access_variables.ts";
import { formatProblem } from "../lib/conf_problem.ts";
import { bytes, readFiles, stanzaOf, told } from "./access_files.ts";

Deno.test("a stanza with only a key has fwknopd's defaults", () => {
  const reading = readFiles({ "a.conf": "\nSOURCE ANY\nKEY secret\n" });
  assert.deepEqual(told(reading), [
    "spa: a.conf:2:1: warning: REQUIRE_SOURCE_ADDRESS not enabled for access stanza source: 'ANY'",
  ]);
  const [stanza] = reading.stanzas;
  assert.ok(stanza !== undefined);
  assert.deepEqual({ ...stanza, written: null }, {
    number: 1,
    file: "a.conf",
    line: 2,
    written: null,
    SOURCE: { any: true, ranges: [], text: "ANY" },
    DESTINATION: null,
    OPEN_PORTS: null,
    RESTRICT_PORTS: null,
    KEY: bytes("secret"),
    HMAC_KEY: null,
    HMAC_DIGEST_TYPE: null,
    ENCRYPTION_MODE: "CBC",
    FW_ACCESS_TIMEOUT: 30,
    MAX_FW_TIMEOUT: 300,
    REQUIRE_USERNAME: null,
    REQUIRE_SOURCE_ADDRESS: false,
    ACCESS_EXPIRE: null,
    ENABLE_CMD_EXEC: false,
    ENABLE_CMD_SUDO_EXEC: false,
    CMD_EXEC_USER: null,
    CMD_EXEC_GROUP: null,
    CMD_SUDO_EXEC_USER: null,
    CMD_SUDO_EXEC_GROUP: null,
    CMD_CYCLE_OPEN: null,
    CMD_CYCLE_CLOSE: null,
    CMD_CYCLE_TIMER: null,
    FORCE_NAT: null,
    FORCE_SNAT: null,
    FORCE_MASQUERADE: false,
    FORWARD_ALL: false,
    DISABLE_DNAT: false,
    GPG_HOME_DIR: null,
    GPG_EXE: null,
    GPG_DECRYPT_ID: null,
    GPG_DECRYPT_PW: null,
    GPG_REQUIRE_SIG: false,
    GPG_IGNORE_SIG_VERIFY_ERROR: false,
    GPG_REMOTE_ID: null,
    GPG_FINGERPRINT_ID: null,
  });
});

Deno.test("all 41 variables of fwknopd are known", () => {
  assert.equal(accessVariableNames().length, 41);
});

Deno.test("values are read to their types", () => {
  const nat = "ENABLE_IPT_FORWARDING Y";
  const snat = `${nat}\nENABLE_IPT_SNAT Y`;
  const cases: [lines: string, name: keyof Stanza, value: unknown, serverText?: string][] = [
    ["DESTINATION 192.0.2.1", "DESTINATION", {
      any: false,
      ranges: [{ version: 4, first: 0xc0000201n, last: 0xc0000201n }],
      text: "192.0.2.1",
    }],
    ["OPEN_PORTS tcp/22, tcp/22", "OPEN_PORTS", [{ protocol: "tcp", port: 22 }]],
    ["RESTRICT_PORTS UDP/53;", "RESTRICT_PORTS", [{ protocol: "udp", port: 53 }]],
    ["KEY two words", "KEY", bytes("two words")],
    ["KEY a;bc", "KEY", bytes("a")],
    ["KEY a # b", "KEY", bytes("a # b")],
    ["KEY schlüssel", "KEY", bytes("schlüssel")],
    ["KEY_BASE64 YWI=", "KEY", bytes("ab")],
    ["KEY_BASE64 YWI", "KEY", bytes("ab")],
    ["KEY_BASE64 YWI=\nKEY last", "KEY", bytes("last")],
    ["KEY x\nKEY_BASE64 YWI=\nKEY y\nKEY_BASE64 YWI=", "KEY", bytes("ab")],
    ["HMAC_KEY_BASE64 YWI=", "HMAC_KEY", bytes("ab")],
    ["HMAC_KEY x", "HMAC_DIGEST_TYPE", "SHA256"],
    ["HMAC_KEY x\nHMAC_DIGEST_TYPE sha3_512", "HMAC_DIGEST_TYPE", "SHA3_512"],
    ["ENCRYPTION_MODE cbc", "ENCRYPTION_MODE", "CBC"],
    ["ENCRYPTION_MODE LEGACY", "ENCRYPTION_MODE", "legacy"],
    ["ENCRYPTION_MODE asymmetric", "ENCRYPTION_MODE", "Asymmetric"],
    ["FW_ACCESS_TIMEOUT 0", "FW_ACCESS_TIMEOUT", 30],
    ["FW_ACCESS_TIMEOUT 8388608", "FW_ACCESS_TIMEOUT", 8388608],
    ["MAX_FW_TIMEOUT 0", "MAX_FW_TIMEOUT", 300],
    ["MAX_FW_TIMEOUT 60", "MAX_FW_TIMEOUT", 60],
    ["REQUIRE_USERNAME bob", "REQUIRE_USERNAME", "bob"],
    ["REQUIRE_SOURCE n", "REQUIRE_SOURCE_ADDRESS", false],
    ["REQUIRE_SOURCE n\nREQUIRE_SOURCE_ADDRESS y", "REQUIRE_SOURCE_ADDRESS", true],
    ["ACCESS_EXPIRE 2/29/2032", "ACCESS_EXPIRE", new Date(2032, 1, 29).getTime() / 1000],
    ["ACCESS_EXPIRE 1/2/30", "ACCESS_EXPIRE", new Date(2030, 0, 2).getTime() / 1000],
    ["ACCESS_EXPIRE_EPOCH 12345", "ACCESS_EXPIRE", 12345],
    ["ACCESS_EXPIRE_EPOCH 0", "ACCESS_EXPIRE", null],
    ["ACCESS_EXPIRE 1/2/2030\nACCESS_EXPIRE_EPOCH 5", "ACCESS_EXPIRE", 5],
    ["ENABLE_CMD_EXEC yes", "ENABLE_CMD_EXEC", true],
    ["CMD_EXEC_USER bob", "CMD_EXEC_USER", { name: "bob", uid: 1001, gid: 1002 }],
    ["CMD_SUDO_EXEC_GROUP adm", "CMD_SUDO_EXEC_GROUP", { name: "adm", gid: 4 }],
    ["CMD_EXEC_GROUP bob", "CMD_EXEC_GROUP", { name: "bob", gid: 1002 }],
    ["CMD_SUDO_EXEC_GROUP bob", "CMD_SUDO_EXEC_GROUP", { name: "#1002", gid: 1002 }],
    [
      "CMD_CYCLE_OPEN /bin/a $IP\nCMD_CYCLE_CLOSE NONE",
      "CMD_CYCLE_OPEN",
      "/bin/a $IP",
    ],
    ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE NONE", "CMD_CYCLE_CLOSE", null],
    ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE NONEX\nCMD_CYCLE_TIMER 1", "CMD_CYCLE_CLOSE", "NONEX"],
    ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 9", "CMD_CYCLE_TIMER", 9],
    ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 900", "CMD_CYCLE_TIMER", 900],
    [
      "CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 9\nMAX_FW_TIMEOUT 8",
      "CMD_CYCLE_TIMER",
      8,
    ],
    [`CMD_CYCLE_OPEN ${"a".repeat(255)}\nCMD_CYCLE_CLOSE NONE`, "CMD_CYCLE_CLOSE", null],
    [
      "FORCE_NAT 192.0.2.1  80",
      "FORCE_NAT",
      { address: { version: 4, value: 0xc0000201n, text: "192.0.2.1" }, port: 80 },
      nat,
    ],
    [
      "FORWARD_ALL Y\nFORCE_MASQUERADE Y\nDISABLE_DNAT Y",
      "FORCE_NAT",
      { address: { version: 4, value: 0n, text: "0.0.0.0" }, port: 0 },
      snat,
    ],
    ["GPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID A, B", "GPG_REMOTE_ID", ["A", "B"]],
    ["GPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID A", "GPG_DECRYPT_PW", ""],
    ["GPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID A", "GPG_REQUIRE_SIG", true],
    ["GPG_ALLOW_NO_PW Y\nGPG_DISABLE_SIG Y", "GPG_REQUIRE_SIG", false],
    ["GPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID A", "GPG_HOME_DIR", "/root/.gnupg"],
    ["GPG_HOME_DIR /gnupg", "GPG_HOME_DIR", "/gnupg"],
  ];
  for (const [lines, name, value, serverText] of cases) {
    assert.deepEqual(stanzaOf(lines, serverText)[name], value, `${lines} ${name}`);
  }
});

Deno.test("FORCE_SNAT stays when FORCE_MASQUERADE N follows it", () => {
  const lines = "FORWARD_ALL Y\nDISABLE_DNAT Y\nFORCE_SNAT 192.0.2.9\nFORCE_MASQUERADE N";
  const server = "ENABLE_IPT_LOCAL_NAT Y\nENABLE_IPT_SNAT Y";
  assert.equal(stanzaOf(lines, server).FORCE_SNAT?.text, "192.0.2.9");
});

Deno.test("formatAccessDump() has fwknopd's layout", () => {
  const reading = readFiles({
    "a.conf": "SOURCE ANY\nKEY_BASE64 YWI=\nOPEN_PORTS tcp/22, udp/53\nHMAC_KEY xyz\n" +
      "ACCESS_EXPIRE 1/2/2030\nSOURCE 10.0.0.0/8\nKEY x\n",
  });
  const lines = formatAccessDump(reading.stanzas).split("\n");
  assert.equal(lines.length, 1 + 2 * (2 + 39 + 1) + 2);
  for (
    const line of [
      "Current fwknopd access settings:",
      "SOURCE (1):  ANY",
      "==============================================================",
      "                 OPEN_PORTS:  tcp/22, udp/53",
      "                        KEY:  <see the access.conf file>",
      "                    KEY_LEN:  2",
      "                   HMAC_KEY:  <see the access.conf file>",
      "            HMAC_KEY_BASE64:  <not set>",
      "           HMAC_DIGEST_TYPE:  3",
      "              ACCESS_EXPIRE:  Wed Jan  2 00:00:00 2030",
      "SOURCE (2):  10.0.0.0/8",
      "GPG_IGNORE_SIG_VERIFY_ERROR:  No",
    ]
  ) assert.ok(lines.includes(line), line);
});

Deno.test("thousands of stanzas load, numbered as they stand in the file", () => {
  const one =
    "SOURCE 10.1.2.3, 192.0.2.0/24\nKEY_BASE64 MDEyMzQ1Njc4OTAxMjM0NTY=\nHMAC_KEY hmac\n" +
    "OPEN_PORTS tcp/22, tcp/443\nREQUIRE_SOURCE_ADDRESS Y\nFW_ACCESS_TIMEOUT 60\n";
  const reading = readFiles({ "a.conf": one.repeat(5000) });
  assert.deepEqual(reading.stanzas.map(({ number }) => number), [...Array(5001).keys()].slice(1));
});

Deno.test("no text makes parseAccessConfig() throw", () => {
  const word = fc.constantFrom(
    ...accessVariableNames(),
    "%include",
    "%include_folder",
    "%include_keys",
    "a.conf",
    "k",
    "d",
    ";",
    "#",
    "1/2/2030",
    "10.0.0.1 22",
    "99999999999999999999",
  );
  const separator = fc.constantFrom(" ", "\n", ": ", "\t", "\u0000", "\r\n", " Y\n", ",", " 9\n");
  const texts = fc.array(fc.tuple(word, separator), { maxLength: 30 })
    .map((parts) => `SOURCE ANY\n${parts.flat().join("")}`);
  fc.assert(fc.property(fc.oneof(fc.string(), texts), texts, (text, keys) => {
    const reading = readFiles({ "a.conf": text, k: keys, "d/a.conf": keys });
    for (const problem of reading.problems) assert.ok(formatProblem(problem).startsWith("spa: "));
    formatAccessDump(reading.stanzas);
  }));
});
