// What is wrong with a stanza, contradicts itself or has no effect, and how that is told.

import assert from "node:assert/strict";
import { formatAccessDump } from "../lib/conf_access_dump.ts";
import { bytes, finding, readFiles, stanzaOf, stanzaText, told } from "./access_files.ts";

Deno.test("errors name line, column, what is wrong and what would be right", () => {
  const cases: [lines: string, expected: RegExp][] = [
    [
      "DESTINATION 192.0.2.1, 10.1",
      /^spa: a\.conf:4:24: cannot read "10\.1": Fatal invalid DESTINATION in access stanza: Fatal error parsing IP to int for: 10\.1\nhint: write ANY/,
    ],
    ["DESTINATION 192.0.2.0/0", /a\.conf:4:23: .*Invalid IP mask str '0'/],
    [
      "OPEN_PORTS tcp/22, icmp/22",
      /a\.conf:4:20: .*Fatal invalid OPEN_PORTS in access stanza: Invalid protocol in access port/,
    ],
    ["RESTRICT_PORTS tcp", /Fatal invalid RESTRICT_PORTS .*Parse error on access port entry: tcp/],
    ["OPEN_PORTS tcp/22-23", /hint: write tcp\/22,tcp\/23/],
    ["OPEN_PORTS tcp/22 # ssh", /hint: .*a comment behind a value starts with ;/],
    [
      "KEY __changeme__",
      /a\.conf:4:1: KEY value is not properly set in stanza source 'ANY' in acc/,
    ],
    ["KEY_BASE64 __CHANGEME__", /KEY_BASE64 value is not properly set in stanza source 'ANY'/],
    ["HMAC_KEY __CHANGEME__", /HMAC_KEY value is not properly set/],
    ["HMAC_KEY_BASE64 __CHANGEME__", /HMAC_KEY_BASE64 value is not properly set/],
    ["KEY_BASE64 %%%%", /a\.conf:4:1: KEY_BASE64 argument doesn't look like base64-encoded data/],
    ["HMAC_KEY_BASE64 ====", /HMAC_KEY_BASE64 stands for no bytes/],
    ["KEY a\ufffdb", /KEY is not UTF-8 text\nhint: write it as KEY_BASE64/],
    [`KEY ${"k".repeat(33)}`, /KEY is longer than 32 bytes/],
    [`HMAC_KEY ${"k".repeat(129)}`, /HMAC_KEY is longer than 128 bytes/],
    ["HMAC_KEY secret", /passphrase and HMAC key should not be identical for access .*'ANY'/],
    ["HMAC_DIGEST_TYPE invalid\nHMAC_KEY x", /a\.conf:4:18: .*'invalid' must be one of \{md5,/],
    ["ENCRYPTION_MODE PCBC", /Unrecognized ENCRYPTION_MODE 'PCBC'/],
    ["FW_ACCESS_TIMEOUT -1", /a\.conf:4:19: cannot read "-1": FW_ACCESS_TIMEOUT value not in ran/],
    ["FW_ACCESS_TIMEOUT 4294967306", /FW_ACCESS_TIMEOUT value not in range\nhint: .*8388608/],
    ["MAX_FW_TIMEOUT abc", /cannot read "abc": not a whole number/],
    ["REQUIRE_SOURCE_ADDRESS maybe", /REQUIRE_SOURCE_ADDRESS is neither yes nor no/],
    ["ACCESS_EXPIRE 3-10-01", /invalid date value '3-10-01' \(need MM\/DD\/YYYY\) for access/],
    ["ACCESS_EXPIRE 13/40/2030", /invalid date value/],
    ["ACCESS_EXPIRE 2/29/2031", /invalid date value/],
    ["ACCESS_EXPIRE 1/2/2030x", /invalid date value/],
    ["ACCESS_EXPIRE 1/2/500", /invalid date value/],
    ["ACCESS_EXPIRE_EPOCH abc", /cannot read "abc": not a whole number/],
    ["ACCESS_EXPIRE_EPOCH 99999999999999999999999", /invalid epoch seconds value '9+' for access/],
    ["CMD_EXEC_USER nobody2", /Unable to determine UID for CMD_EXEC_USER: Not a user on this sys/],
    ["CMD_EXEC_GROUP nogroup2", /Unable to determine GID for CMD_EXEC_GROUP: Not a group on th/],
    ["CMD_CYCLE_OPEN a", /Cannot set CMD_CYCLE_OPEN without also setting CMD_CYCLE_CLOSE: 'ANY'/],
    ["CMD_CYCLE_CLOSE a", /Cannot set CMD_CYCLE_CLOSE without also setting CMD_CYCLE_OPEN: 'ANY'/],
    ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b", /Must set the CMD_CYCLE_TIMER for command cycle/],
    [
      "CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 0",
      /CMD_CYCLE_TIMER value not in range \[1,8388608\]/,
    ],
    [`CMD_CYCLE_OPEN ${"ä".repeat(128)}\nCMD_CYCLE_CLOSE NONE`, /CMD_CYCLE_OPEN command is too lo/],
    [
      `CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE ${"a".repeat(256)}\nCMD_CYCLE_TIMER 1`,
      /CMD_CYCLE_CLOSE command is too long: 'ANY'/,
    ],
    ["FORCE_NAT 192.0.2.1 80", /FORCE_NAT requires either ENABLE_IPT_FORWARDING or ENABLE_IPT_LOC/],
    ["FORCE_MASQUERADE Y", /FORCE_SNAT\/FORCE_MASQUERADE requires either FORCE_NAT or FORWARD_ALL/],
    ["GPG_DECRYPT_PW __CHANGEME__\nGPG_REMOTE_ID A", /GPG_DECRYPT_PW value is not properly set/],
    [
      "GPG_ALLOW_NO_PW Y",
      /Must have either sig ID's or fingerprints .*GPG_FINGERPRINT_ID \(stanza/,
    ],
    [
      "GPG_DECRYPT_PW p\nHMAC_KEY p\nGPG_REMOTE_ID A",
      /passphrase and HMAC key should not be ident/,
    ],
    ["GPG_HOME_DIR /nowhere", /GPG_HOME_DIR directory '\/nowhere' stat\(\)\/existence problem/],
  ];
  for (const [lines, expected] of cases) assert.match(finding(lines, "error"), expected, lines);
});

Deno.test("with FIREWALL_TYPE command each stanza has commands, else it is refused where it starts", () => {
  const server = "FIREWALL_TYPE command\n";
  const cycle = "CMD_CYCLE_OPEN /bin/open $SRC\nCMD_CYCLE_CLOSE NONE";
  for (const lines of [cycle, "ENABLE_CMD_EXEC Y"]) stanzaOf(lines, server);
  for (const lines of ["OPEN_PORTS tcp/22", "ENABLE_CMD_EXEC N"]) {
    assert.match(
      finding(lines, "error", server),
      /a\.conf:1:1: FIREWALL_TYPE command opens no ports, .*\(stanza source: 'ANY' #1\)\nhint: give it CMD_CYCLE_OPEN/,
    );
  }
});

Deno.test("what is odd or has no effect is a warning", () => {
  const cases: [lines: string, expected: RegExp][] = [
    ["FOO bar", /^spa: a\.conf:4:1: warning: Ignoring unknown access parameter: 'FOO' in a\.conf$/],
    ["OPEN_PORT tcp/22", /'OPEN_PORT' in a\.conf\nhint: did you mean OPEN_PORTS\?/],
    ["DIGEST_TYPE SHA256", /'DIGEST_TYPE' in a\.conf\nhint: the client chooses/],
    ["PCAP_INTF eth0", /hint: PCAP_INTF belongs in fwknopd\.conf/],
    ["%includ x", /hint: did you mean %include\?/],
    ["HMAC_KEY blanks  ;", /a\.conf:4:1: warning: blanks behind HMAC_KEY are not part of it/],
    ["HMAC_KEY a\nHMAC_KEY_BASE64 YWI=", /:5:1: warning: HMAC_KEY_BASE64 replaces HMAC_KEY in st/],
    ["HMAC_DIGEST_TYPE md5", /HMAC_DIGEST_TYPE has no effect without HMAC_KEY/],
    [
      "OPEN_PORTS tcp/22\nOPEN_PORTS tcp/23",
      /:5:1: .*OPEN_PORTS replaces the one in a\.conf line 4/,
    ],
    [
      "FW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 10",
      /:5:1: warning: MAX_FW_TIMEOUT < FW_ACCESS_TIMEOUT, honoring MAX_FW_TIMEOUT for stanza source: 'ANY' \(#1\)/,
    ],
    [
      "MAX_FW_TIMEOUT 60\nCMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE b\nCMD_CYCLE_TIMER 61",
      /:4:1: warning: MAX_FW_TIMEOUT < CMD_CYCLE_TIMER, honoring MAX_FW_TIMEOUT for .*\(#1\)\nhint: access lasts 60 s/,
    ],
    [
      "CMD_CYCLE_OPEN ipset add a $SRC timeout $CLIENT_TIMEOUT\nCMD_CYCLE_CLOSE NONE",
      /:4:1: warning: CMD_CYCLE_OPEN uses \$CLIENT_TIMEOUT, .*\nhint: set CMD_CYCLE_TIMER/,
    ],
    [
      "ENABLE_CMD_EXEC Y\nCMD_EXEC_USER bob",
      /:5:1: warning: Setting gid to group associated with CMD_EXEC_USER 'bob' for setgid\(\) execution in stanza source: 'ANY'/,
    ],
  ];
  for (const [lines, expected] of cases) assert.match(finding(lines, "warning"), expected, lines);
});

Deno.test("a MAX_FW_TIMEOUT that is set limits FW_ACCESS_TIMEOUT, its default does not", () => {
  const times = (lines: string): number[] => {
    const { FW_ACCESS_TIMEOUT, MAX_FW_TIMEOUT } = stanzaOf(lines);
    return [FW_ACCESS_TIMEOUT, MAX_FW_TIMEOUT];
  };
  assert.deepEqual(times("FW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 10"), [10, 10]);
  assert.deepEqual(times("MAX_FW_TIMEOUT 10"), [10, 10]);
  assert.deepEqual(times("FW_ACCESS_TIMEOUT 3600"), [3600, 300]);
});

Deno.test("with ENABLE_FW_TIMEOUT_LIMIT N only what clients ask for is limited, as in fwknopd", () => {
  const stanza = stanzaOf(
    "FW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 10\n" +
      "CMD_CYCLE_OPEN /bin/open\nCMD_CYCLE_CLOSE /bin/close\nCMD_CYCLE_TIMER 30",
    "ENABLE_FW_TIMEOUT_LIMIT N\n",
  );
  assert.deepEqual(
    [stanza.FW_ACCESS_TIMEOUT, stanza.MAX_FW_TIMEOUT, stanza.CMD_CYCLE_TIMER],
    [60, 10, 30],
  );
  const told = finding(
    "FW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 10",
    "warning",
    "ENABLE_FW_TIMEOUT_LIMIT N\n",
  );
  assert.match(told, /honoring MAX_FW_TIMEOUT[^]*hint: access lasts 60 seconds all the same/);
});

Deno.test("with ENABLE_STRICT_NUMBERS N numbers are what fwknopd reads, with a warning", () => {
  const loose = "ENABLE_STRICT_NUMBERS N\n";
  assert.equal(stanzaOf("FW_ACCESS_TIMEOUT 45s", loose).FW_ACCESS_TIMEOUT, 45);
  assert.equal(stanzaOf("FW_ACCESS_TIMEOUT abc", loose).FW_ACCESS_TIMEOUT, 30);
  assert.equal(stanzaOf("ACCESS_EXPIRE_EPOCH abc", loose).ACCESS_EXPIRE, null);
  assert.match(
    finding("MAX_FW_TIMEOUT 90 seconds", "warning", loose),
    /^spa: a\.conf:4:16: warning: MAX_FW_TIMEOUT "90 seconds" is read as 90\nhint: write MAX_FW_/,
  );
  // Only numbers are read so: these are as dangerous as ever.
  finding("OPEN_PORTS tcp/22-25", "error", loose);
  finding("FW_ACCESS_TIMEOUT 8388609", "error", loose);
});

Deno.test("a legacy key is cut to 16 bytes with a warning", () => {
  const text = "SOURCE ANY\nREQUIRE_SOURCE Y\nENCRYPTION_MODE legacy\nKEY 0123456789abcdefg\n";
  const reading = readFiles({ "a.conf": text });
  assert.deepEqual(reading.stanzas[0]?.KEY, bytes("0123456789abcdef"));
  assert.deepEqual(told(reading), [
    "spa: a.conf:4:1: warning: truncating encryption key in legacy mode to 16 bytes for access " +
    "stanza source: 'ANY'",
  ]);
});

Deno.test("GPG stanzas need no KEY, and what weakens or contradicts them is a warning", () => {
  const gpg = "SOURCE ANY\nREQUIRE_SOURCE Y\nGPG_DECRYPT_PW p\nGPG_REMOTE_ID A\n";
  const reading = readFiles({ "a.conf": gpg });
  assert.equal(reading.stanzas[0]?.KEY, null);
  assert.deepEqual(told(reading), []);
  const cases: [lines: string, required: boolean, expected: RegExp][] = [
    [
      "GPG_REQUIRE_SIG Y\nGPG_DISABLE_SIG Y",
      true,
      /a\.conf:1:1: .*GPG_REQUIRE_SIG and GPG_DISABLE_SIG are both set, will check/,
    ],
    [
      "GPG_DISABLE_SIG Y",
      false,
      /GPG_REQUIRE_SIG should really be enabled for stanza source: 'ANY'/,
    ],
    [
      "GPG_REQUIRE_SIG N",
      true,
      /a\.conf:5:1: .*GPG_REQUIRE_SIG N has no effect without GPG_DISABLE/,
    ],
    [
      "GPG_IGNORE_SIG_VERIFY_ERROR Y",
      true,
      /a\.conf:5:1: .*GPG_IGNORE_SIG_VERIFY_ERROR lets forged signatures pass/,
    ],
  ];
  for (const [lines, required, expected] of cases) {
    const odd = readFiles({ "a.conf": `${gpg}${lines}\n` });
    assert.match(told(odd).join("\n"), expected);
    assert.equal(odd.problems.length, 1, lines);
    assert.equal(odd.stanzas[0]?.GPG_REQUIRE_SIG, required, lines);
  }
});

Deno.test("a gpg or a home directory that is missing is an error where it is named, else a warning", () => {
  const gpg = "SOURCE ANY\nREQUIRE_SOURCE Y\nGPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID A\n";
  const server = "GPG_HOME_DIR /none\nGPG_EXE /usr/bin/none\n";
  const [home, program] = told(readFiles({ "a.conf": gpg }, server));
  assert.match(
    home ?? "",
    /^spa: a\.conf:1:1: warning: GPG_HOME_DIR directory '\/none' .*\nhint: set/,
  );
  assert.match(
    program ?? "",
    /^spa: a\.conf:1:1: warning: GPG_EXE '\/usr\/bin\/none' is not an exec/,
  );
  const own = readFiles({ "a.conf": `${gpg}GPG_HOME_DIR /gnupg\nGPG_EXE /bin/gpg\n` }, server);
  assert.deepEqual(told(own), []);
  assert.equal(own.stanzas[0]?.GPG_EXE, "/bin/gpg");
  const wrong = readFiles({ "a.conf": `${gpg}GPG_HOME_DIR /x\nGPG_EXE gpg\n` });
  assert.deepEqual(wrong.problems.map(({ severity, line }) => [severity, line]), [
    ["error", 5],
    ["error", 6],
  ]);
});

Deno.test("all errors of all stanzas are told, and only sound stanzas are given", () => {
  const text = "SOURCE 10.1\nFW_ACCESS_TIMEOUT x\nSOURCE ANY\nKEY k\nSOURCE ANY\nKEY_BASE64 %\n";
  const reading = readFiles({ "a.conf": text });
  const errors = reading.problems.filter((problem) => problem.severity === "error");
  assert.deepEqual(errors.map((problem) => problem.line), [1, 1, 2, 6]);
  assert.match(errors[0]?.message ?? "", /No keys found for access stanza source: '10\.1'/);
  assert.deepEqual(reading.stanzas.map((stanza) => [stanza.number, stanza.line]), [[2, 3]]);
});

Deno.test("no message and no dump holds a key or a passphrase", () => {
  const secret = "Tr0ub4dor";
  const texts = [
    `KEY ${secret.repeat(9)}`,
    `KEY_BASE64 ${secret}!`,
    `HMAC_KEY ${secret.repeat(99)}`,
    `KEY ${secret}\nKEY ${secret}2  `,
    `KEY ${secret}\nHMAC_KEY ${secret}`,
    `GPG_DECRYPT_PW ${secret}\nGPG_REMOTE_ID A`,
    `KEY=${secret}`,
    `KEY=${secret} x`,
    `KEY\n ${secret}`,
    `%include_keys k`,
  ];
  for (const text of texts) {
    const reading = readFiles({ "a.conf": stanzaText(text), k: `KEY ${secret}\n${secret}\nFOO x` });
    const shown = told(reading).join() + formatAccessDump(reading.stanzas) +
      JSON.stringify(reading.stanzas.map(({ written }) => [...written]));
    assert.ok(!shown.includes(secret), `${text}: ${shown}`);
  }
});
