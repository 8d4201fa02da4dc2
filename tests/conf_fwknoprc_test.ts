import assert from "node:assert/strict";
import fc from "fast-check";
import { formatProblem } from "../lib/conf_problem.ts";
import { listStanzas, readFwknoprc } from "../lib/conf_fwknoprc.ts";
import { RC_VARIABLES, type RcSettings } from "../lib/conf_fwknoprc_variables.ts";

const read = (text: string, stanza: string | null = null) => readFwknoprc(text, "rc", stanza);

Deno.test("readFwknoprc() gives the setting of each variable", async (t) => {
  const cases: ReadonlyArray<readonly [line: string, settings: RcSettings]> = [
    ["DIGEST_TYPE sha3_256", { digestType: "SHA3_256" }],
    ["SPA_SERVER_PROTO UDPRAW", { transport: "udpraw" }],
    ["SPA_SERVER_PORT 65535", { port: 65535 }],
    ["SPA_SOURCE_PORT 0", { sourcePort: 0 }],
    ["FW_TIMEOUT 65536", { accessTimeout: 65536 }],
    ["FW_TIMEOUT 10m", { accessTimeout: 600 }],
    ["ALLOW_IP 1.2.3.4", { allowIp: "1.2.3.4", resolveIp: false }],
    ["ALLOW_IP 2001:db8::1", { allowIp: "2001:db8::1", resolveIp: false }],
    ["ALLOW_IP Source", { allowIp: "0.0.0.0", resolveIp: false }],
    ["ALLOW_IP RESOLVE", { resolveIp: true }],
    ["TIME_OFFSET 90", { timeOffsetPlus: 90 }],
    ["TIME_OFFSET -1M", { timeOffsetMinus: 60 }],
    ["TIME_OFFSET 1h30m", { timeOffsetPlus: 5400 }],
    ["ENCRYPTION_MODE cbc", { encryptionMode: "CBC" }],
    ["USE_GPG Y", { useGpg: true }],
    ["USE_GPG N", {}],
    ["USE_GPG_AGENT Y", { useGpgAgent: true }],
    ["GPG_NO_SIGNING_PW Y", { gpgNoSigningPassword: true }],
    ["GPG_RECIPIENT 1234ABCD", { gpgRecipient: "1234ABCD" }],
    ["GPG_SIGNER me@example.org", { gpgSigner: "me@example.org" }],
    ["GPG_HOMEDIR /home/alice/.gnupg/", { gpgHomeDirectory: "/home/alice/.gnupg/" }],
    ["GPG_EXE /opt/gpg", { gpgProgram: "/opt/gpg" }],
    ["SPOOF_USER bob", { spoofUser: "bob" }],
    ["SPOOF_SOURCE_IP 9.9.9.9", { spoofSource: "9.9.9.9" }],
    ["SPA_SERVER gw.example", { server: "gw.example" }],
    ["RAND_PORT Y", { randomPort: true }],
    ["KEY secret", { key: "secret" }],
    ["KEY_BASE64 c2VjcmV0", { keyBase64: "c2VjcmV0" }],
    ["GPG_SIGNING_PW pw", { key: "pw" }],
    ["GPG_SIGNING_PW_BASE64 cHc=", { keyBase64: "cHc=" }],
    ["KEY_FILE /keys", { keyFile: "/keys" }],
    ["USE_HMAC Y", { useHmac: true }],
    ["HMAC_DIGEST_TYPE SHA512", { hmacDigestType: "SHA512" }],
    ["HMAC_KEY h", { hmacKey: "h", useHmac: true }],
    ["HMAC_KEY_BASE64 aGg=", { hmacKeyBase64: "aGg=", useHmac: true }],
    ["HMAC_KEY_FILE /keys", { hmacKeyFile: "/keys", useHmac: true }],
    ["KEY_COMMAND pass show spa # x", { keyCommand: "pass show spa # x" }],
    ["HMAC_KEY_COMMAND pass show h", { hmacKeyCommand: "pass show h", useHmac: true }],
    ["NAT_ACCESS 10.0.0.2,22", { natAccess: "10.0.0.2,22" }],
    ["NAT_LOCAL Y", { natLocal: true }],
    ["NAT_RAND_PORT Y", { natRandomPort: true }],
    ["HTTP_USER_AGENT Fwknop/1", { userAgent: "Fwknop/1" }],
    ["USE_WGET_USER_AGENT Y", { useWgetUserAgent: true }],
    ["WGET_CMD /opt/wget", { wgetCommand: "/opt/wget" }],
    ["RESOLVE_URL https://ip.example/", { resolveUrl: "https://ip.example/" }],
    ["RESOLVE_IP_HTTPS Y", { resolveIp: true }],
    ["RESOLVE_HTTP_ONLY Y", { resolveHttpOnly: true }],
    ["SERVER_RESOLVE_IPV4 Y", { serverResolveIpv4: true }],
    ["NO_SAVE_ARGS Y", { noSaveArgs: true }],
    ["VERBOSE y", { verbose: 1 }],
    ["VERBOSE 3", { verbose: 3 }],
    ["VERBOSE N", { verbose: 0 }],
    ["RESOLVE_IP_HTTP y", { resolveIp: true }],
    ["NAT_PORT 22", { natPort: 22 }],
    ["  ACCESS\t tcp/22\r", { access: "tcp/22" }],
    ["ACCESS: tcp/22", { access: "tcp/22" }],
    ["ACCESS tcp/22 # ssh", { access: "tcp/22" }],
    ["ACCESS tcp/22;ssh", { access: "tcp/22" }],
    ["# ACCESS tcp/22", {}],
    ["  ; indented comment", {}],
    ["   ", {}],
  ];
  for (const [line, settings] of cases) {
    await t.step(line, () => {
      const reading = read(`[default]\n${line}\n`);
      assert.deepEqual(reading.settings, settings);
      assert.deepEqual(reading.problems, []);
    });
  }
  const tried = new Set(cases.map(([line]) => /\w+/.exec(line)?.[0]));
  assert.deepEqual(RC_VARIABLES.filter(({ name }) => !tried.has(name)), []);
});

Deno.test("readFwknoprc() says where a line is wrong, in fwknop's words", async (t) => {
  const cases: ReadonlyArray<readonly [line: string, shown: string]> = [
    [
      "DIGEST_TYPE sha999",
      "spa: rc:2:13: Parameter error in rc, line 2: var=DIGEST_TYPE, val=sha999\n" +
      "hint: DIGEST_TYPE argument 'sha999' must be one of " +
      "{md5,sha1,sha256,sha384,sha512,sha3_256,sha3_512}",
    ],
    [
      "ACESS tcp/22",
      "spa: rc:2:1: Parameter error in rc, line 2: var=ACESS, val=***\nhint: did you mean ACCESS?",
    ],
    [
      "CLIENT_TIMEOUT 60",
      "spa: rc:2:1: Parameter error in rc, line 2: var=CLIENT_TIMEOUT, val=***\n" +
      "hint: the time of access is called FW_TIMEOUT",
    ],
    [
      "SPA_SERVER_PORT 62x",
      "spa: rc:2:17: Parameter error in rc, line 2: var=SPA_SERVER_PORT, val=62x\n" +
      "hint: SPA_SERVER_PORT must be a whole number within [0-65535]",
    ],
    [
      "KEY_BASE64 w^KMB",
      "spa: rc:2:12: Parameter error in rc, line 2: var=KEY_BASE64, val=***\n" +
      "hint: KEY_BASE64 argument doesn't look like base64-encoded data",
    ],
    [
      "USE_HMAC",
      "spa: rc:2:1: Invalid entry in 'USE_HMAC': it has no value\n" +
      "hint: a line is a variable's name, blanks and a value",
    ],
    [
      "hunter2",
      "spa: rc:2:1: Invalid entry in the stanza\n" +
      "hint: a line is a variable's name, blanks and a value",
    ],
    [
      "FW_TIMEOUT 65537",
      "spa: rc:2:12: Parameter error in rc, line 2: var=FW_TIMEOUT, val=65537\n" +
      "hint: FW_TIMEOUT must be seconds within [0-65536], or a duration such as 10m",
    ],
  ];
  for (const [line, shown] of cases) {
    await t.step(line, () => {
      assert.deepEqual(read(`[default]\n${line}`).problems.map(formatProblem), [shown]);
    });
  }
});

Deno.test("readFwknoprc() warns when a value was probably meant to be longer", () => {
  const warned = (line: string): boolean =>
    read(`[default]\n${line}`).problems.some(({ severity }) => severity === "warning");
  assert.ok(warned("KEY correct horse"));
  assert.ok(warned("KEY pass#word"));
  assert.ok(warned("KEY pass;word"));
  assert.ok(!warned("KEY password # of the lab"));
  assert.ok(!warned("ACCESS tcp/22;x"));
  assert.ok(warned("RAND_PORT yes"));
});

Deno.test("readFwknoprc() stops at a line without a value and reports bad values all at once", () => {
  assert.equal(read("[default]\nBOGUS 1\nBOGUS 2\n").problems.length, 2);
  assert.equal(read("[default]\nUSE_HMAC\nBOGUS 2\n").problems.length, 1);
});

Deno.test("readFwknoprc() lays the named stanza over [default]", () => {
  const text = "KEY before\n[default]\nKEY d\nACCESS tcp/1\n[a b] ; note\nKEY a\n" +
    "[other]\nBOGUS\n[A B]\nSPA_SERVER host\n[default]\nNAT_PORT 5\n";
  assert.deepEqual(read(text).settings, { key: "d", access: "tcp/1", natPort: 5 });
  const named = read(text, "A b");
  assert.deepEqual(named.settings, { key: "a", access: "tcp/1", natPort: 5, server: "host" });
  assert.equal(named.found, true);
  assert.deepEqual(named.problems, []);
  assert.equal(read(text, "missing").found, false);
});

Deno.test("readFwknoprc() keeps what [default] raised: a later N lowers no flag", () => {
  assert.deepEqual(read("[default]\nUSE_HMAC Y\n[a]\nUSE_HMAC N\n", "a").settings, {
    useHmac: true,
  });
});

Deno.test("readFwknoprc() never shows the value of a secret", () => {
  const secrets = RC_VARIABLES.filter(({ secret }) => secret).map(({ name }) => name);
  assert.ok(secrets.includes("HMAC_KEY") && secrets.includes("GPG_SIGNING_PW_BASE64"));
  for (const name of [...secrets, "KEYY", "Key"]) {
    for (const line of [`${name} hun^ter2 x`, `${name}#hun^ter2`, `hun^ter2`]) {
      const shown = read(`[default]\n${line}`).problems.map(formatProblem).join("\n");
      assert.ok(!shown.includes("hun^ter2"), `${line}: ${shown}`);
    }
  }
});

Deno.test("readFwknoprc() never throws", () => {
  const line = fc.oneof(
    fc.string(),
    fc.tuple(fc.constantFrom(...RC_VARIABLES.map(({ name }) => name)), fc.string()).map((parts) =>
      parts.join(" ")
    ),
  );
  fc.assert(fc.property(fc.array(line), (lines) => {
    readFwknoprc(["[default]", ...lines].join("\n"), "rc", "x");
  }));
});

Deno.test("listStanzas() names the sections in file order, without default", () => {
  assert.deepEqual(listStanzas("[default]\r\n[b]\r\nX\r\n [a] y\r\n#[c]\r\n[b]\r\n[DEFAULT]\r\n"), [
    "b",
    "a",
    "b",
  ]);
});
