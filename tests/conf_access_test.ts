import assert from "node:assert/strict";
import fc from "fast-check";
import { type AccessConfigReading, parseAccessConfig, type Stanza } from "../lib/conf_access.ts";
import { formatAccessDump } from "../lib/conf_access_dump.ts";
import { ACCESS_VARIABLES, accessVariableNames } from "../lib/conf_access_variables.ts";
import { parseServerConfig } from "../lib/conf_fwknopd.ts";
import { formatProblem } from "../lib/conf_problem.ts";

type Files = Readonly<Record<string, string>>;

/** Reads `a.conf` of some files; the server's own configuration is `serverText`. */
function readFiles(files: Files, serverText = ""): AccessConfigReading {
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

function told(reading: AccessConfigReading): string[] {
  return reading.problems.map(formatProblem);
}

/** A stanza of these lines on top of SOURCE, a key and REQUIRE_SOURCE_ADDRESS. */
function stanzaText(lines: string): string {
  return `SOURCE ANY\nKEY secret\nREQUIRE_SOURCE_ADDRESS Y\n${lines}\n`;
}

function stanzaOf(lines: string, serverText = ""): Stanza {
  const reading = readFiles({ "a.conf": stanzaText(lines) }, serverText);
  const [stanza] = reading.stanzas;
  assert.ok(stanza !== undefined, told(reading).join("; "));
  return stanza;
}

/** The one finding of a stanza of these lines. */
function finding(lines: string, severity: "error" | "warning", serverText = ""): string {
  const reading = readFiles({ "a.conf": stanzaText(lines) }, serverText);
  const found = reading.problems.filter((problem) => problem.severity === severity);
  assert.equal(found.length, 1, `${lines}: ${told(reading).join("; ")}`);
  assert.equal(reading.stanzas.length, severity === "error" ? 0 : 1, lines);
  return found.map(formatProblem)[0] ?? "";
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

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

Deno.test("FORCE_NAT and FORCE_SNAT are IPv6 addresses only where nftables translates them", () => {
  const lines = "FORCE_NAT 2001:db8::20 80\nFORCE_SNAT 2001:db8::1";
  const nat = "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y";
  for (const firewall of ["nftables\nENABLE_IP6TABLES N", "iptables", "auto"]) {
    const stanza = stanzaOf(lines, `FIREWALL_TYPE ${firewall}\n${nat}`);
    assert.equal(stanza.FORCE_NAT?.address.text, "2001:db8::20");
    assert.equal(stanza.FORCE_SNAT?.text, "2001:db8::1");
  }
  const without = `${nat}\nENABLE_IP6TABLES N`;
  const [target = "", source = ""] = lines.split("\n");
  assert.match(finding(target, "error", without), /invalid FORCE_NAT IP '2001:db8::20'/);
  assert.match(
    finding(`${source}\nFORCE_NAT 192.0.2.1 80`, "error", without),
    /invalid FORCE_SNAT IP '2001:db8::1'.*\nhint: .*IPv6 takes ENABLE_IP6TABLES Y/,
  );
});

Deno.test("a FORCE_NAT that nftables would not forward for is a warning", () => {
  const server = "FIREWALL_TYPE nftables\nENABLE_IPT_LOCAL_NAT Y";
  const told = finding("FORCE_NAT 192.0.2.1 80", "warning", server);
  assert.match(
    told,
    /FORCE_NAT answers only requests for local NAT.*\nhint: set ENABLE_IPT_FORWARDING/,
  );
  const forwards = `${server}\nENABLE_IPT_FORWARDING Y`;
  assert.deepEqual(stanzaOf("FORCE_NAT 192.0.2.1 80", forwards).FORCE_NAT?.port, 80);
});

Deno.test("errors of NAT settings name what is wrong", () => {
  const cases: [lines: string, expected: RegExp][] = [
    ["FORCE_NAT a a", /a\.conf:4:11: .*invalid FORCE_NAT arg 'a a', need <IP> <PORT>/],
    ["FORCE_NAT 192.0.2.1", /invalid FORCE_NAT arg '192\.0\.2\.1', need <IP> <PORT>/],
    ["FORCE_NAT 192.0.2.1 80 81", /invalid FORCE_NAT arg/],
    ["FORCE_NAT 192.0.2.1 99999", /a\.conf:4:21: .*invalid FORCE_NAT port '99999'/],
    ["FORCE_NAT 192.0.2.1 123456", /invalid FORCE_NAT port '123456'/],
    ["FORCE_NAT 192.0.2.1 -1", /invalid FORCE_NAT port '-1'/],
    ["FORCE_NAT 1.2.3.4.9 80", /invalid FORCE_NAT IP '1\.2\.3\.4\.9'/],
    ["FORWARD_ALL Y\nFORCE_SNAT 1.2.3.4.9", /invalid FORCE_SNAT IP '1\.2\.3\.4\.9'/],
  ];
  for (const [lines, expected] of cases) {
    assert.match(finding(lines, "error", "ENABLE_IPT_FORWARDING Y"), expected, lines);
  }
});

/** fwknopd.conf, lines of the stanza, and the error that says what to set. */
const SOURCE_TRANSLATION: readonly [server: string, lines: string, expected: RegExp][] = [
  [
    "ENABLE_IPT_FORWARDING Y",
    "FORCE_NAT 192.0.2.1 80\nFORCE_SNAT 192.0.2.9",
    /a\.conf:5:1: .*FORCE_SNAT requires ENABLE_IPT_SNAT in fwknopd\.conf.*\nhint: set ENABLE_IPT_SNAT Y in /,
  ],
  [
    "ENABLE_IPT_FORWARDING Y",
    "FORCE_NAT 192.0.2.1 80\nFORCE_MASQUERADE Y",
    /FORCE_MASQUERADE requires ENABLE_IPT_SNAT in fwknopd\.conf.*\nhint: set ENABLE_IPT_SNAT Y/,
  ],
  [
    "ENABLE_IPT_SNAT Y",
    "FORWARD_ALL Y\nFORCE_MASQUERADE Y\nDISABLE_DNAT Y",
    /FORCE_MASQUERADE requires either ENABLE_IPT_FORWARDING .*\nhint: set ENABLE_IPT_FORWARDING Y/,
  ],
  [
    "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y",
    "FORWARD_ALL Y\nFORCE_MASQUERADE Y",
    /FORWARD_ALL and FORCE_MASQUERADE without FORCE_NAT require DISABLE_DNAT.*\nhint: set DISABLE_DNAT Y/,
  ],
  [
    "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y",
    "FORWARD_ALL Y\nFORCE_SNAT 192.0.2.9",
    /FORWARD_ALL and FORCE_SNAT without FORCE_NAT require DISABLE_DNAT.*\nhint: set DISABLE_DNAT Y/,
  ],
];

for (const [server, lines, expected] of SOURCE_TRANSLATION) {
  Deno.test(`"${lines}" with "${server}" is refused, and accepted with ENABLE_STRICT_SNAT N`, () => {
    assert.match(finding(lines, "error", server), expected);
    assert.match(finding(lines, "warning", `${server}\nENABLE_STRICT_SNAT N`), /^spa: .*warning/);
  });
}

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
