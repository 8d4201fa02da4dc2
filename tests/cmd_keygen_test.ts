import assert from "node:assert/strict";
import { run } from "../lib/cmd_keygen.ts";
import { run as knock } from "../lib/cmd_knock.ts";
import { readFwknoprc } from "../lib/conf_fwknoprc.ts";
import { decodeKeyBase64 } from "../lib/spa_base64.ts";
import { memoryHost, type MemorySetup } from "./memory_host.ts";

async function keygen(args: readonly string[], setup: MemorySetup = {}) {
  const memory = memoryHost(setup);
  const status = await run([...args], memory.host);
  return { ...memory, status };
}

const KEY_LINES = /^KEY_BASE64: (\S+)\nHMAC_KEY_BASE64: (\S+)\n$/;

function lengths(text: string): number[] {
  const [, key = "", hmacKey = ""] = KEY_LINES.exec(text) ?? [];
  return [decodeKeyBase64(key)?.length ?? -1, decodeKeyBase64(hmacKey)?.length ?? -1];
}

Deno.test("keygen prints two keys as fwknop does, of the length the options ask for", async (t) => {
  const cases: ReadonlyArray<readonly [options: string, key: number, hmacKey: number]> = [
    ["", 32, 64],
    ["--key-len 16", 16, 64],
    ["--hmac-key-len 10", 32, 10],
    ["--hmac-digest-type md5", 32, 16],
    ["--hmac-digest-type SHA512", 32, 128],
    ["--hmac-digest-type sha3_256", 32, 64],
    ["--hmac-digest-type md5 --hmac-key-len 128 --key-len 1", 1, 128],
  ];
  for (const [options, key, hmacKey] of cases) {
    await t.step(options || "(none)", async () => {
      const args = options.split(" ").filter((word) => word !== "");
      const ran = await keygen(args);
      assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
      assert.deepEqual(lengths(ran.stdout()), [key, hmacKey]);
      const asKnock = memoryHost();
      assert.equal(await knock(["-k", "--no-rc-file", ...args], asKnock.host), 0);
      assert.equal(asKnock.stdout(), ran.stdout());
    });
  }
});

Deno.test("keygen --json prints the keys and their digest", async () => {
  const ran = await keygen(["--json", "--hmac-digest-type", "sha384"]);
  const { KEY_BASE64, HMAC_KEY_BASE64, HMAC_DIGEST_TYPE } = JSON.parse(ran.stdout());
  assert.equal(decodeKeyBase64(KEY_BASE64)?.length, 32);
  assert.equal(decodeKeyBase64(HMAC_KEY_BASE64)?.length, 128);
  assert.equal(HMAC_DIGEST_TYPE, "sha384");
});

Deno.test("keygen refuses lengths and names that are none", async (t) => {
  const cases: ReadonlyArray<readonly [options: string, text: RegExp]> = [
    ["--key-len 0", /Invalid key length '0', must be in \[1-32\]/],
    ["--key-len 33", /Invalid key length '33', must be in \[1-32\]/],
    ["--hmac-key-len 129", /Invalid hmac key length '129', must be in \[1-128\]/],
    ["--hmac-digest-type md4", /Invalid hmac digest type: md4, use \{md5,/],
    ["--stanza a", /--stanza needs --server HOST/],
    ["--server a", /--server needs --stanza NAME/],
    ["--stanza a] --server b", /cannot use "a\]" as the name/],
    ["--stanza a --server b;c", /cannot use "b;c" as the gateway/],
    ["--stanza a --server b --access ssh", /cannot use "ssh" as --access/],
    ["extra", /unexpected "extra"/],
    ["--jsn", /did you mean '--json'/],
  ];
  for (const [options, text] of cases) {
    await t.step(options, async () => {
      const ran = await keygen(options.split(" "));
      assert.match(ran.stderr(), text);
      assert.deepEqual([ran.status, ran.stdout()], [2, ""]);
    });
  }
});

Deno.test("keygen -K writes for the owner only and replaces nothing unless forced", async () => {
  const fresh = await keygen(["-K", "/keys"]);
  assert.equal(fresh.stdout(), "[+] Wrote Rijndael and HMAC keys to: /keys\n");
  assert.equal(fresh.files.get("/keys")?.mode, 0o600);
  assert.match(fresh.files.get("/keys")?.text ?? "", KEY_LINES);

  const files = { "/keys": "precious\n" };
  const refused = await keygen(["-K", "/keys"], { files });
  assert.equal(refused.status, 1);
  assert.match(
    refused.stderr(),
    /Unable to create key gen file: \/keys: File exists\nhint: --force/,
  );
  assert.equal(refused.files.get("/keys")?.text, "precious\n");

  const forced = await keygen(["-K", "/keys", "--force"], { files });
  assert.match(forced.files.get("/keys")?.text ?? "", KEY_LINES);
});

Deno.test("knock -K replaces the file, as fwknop does", async () => {
  const memory = memoryHost({ files: { "/keys": "old\n" } });
  assert.equal(await knock(["-K", "/keys", "--no-rc-file"], memory.host), 0);
  assert.equal(memory.stdout(), "[+] Wrote Rijndael and HMAC keys to: /keys\n");
  assert.match(memory.files.get("/keys")?.text ?? "", KEY_LINES);
  assert.equal(memory.files.get("/keys")?.mode, 0o600);
});

Deno.test("keygen --stanza prints a pair of stanzas with the same keys", async () => {
  const ran = await keygen([
    ...["--stanza", "my gw", "--server", "gw.example", "--access", "tcp/22,udp/53"],
    ...["--hmac-digest-type", "sha512"],
  ]);
  const [client = "", gateway = ""] = ran.stdout().split("# access.conf of the gateway\n");
  const reading = readFwknoprc(client, "rc", "my gw");
  assert.deepEqual(reading.problems, []);
  const { keyBase64, hmacKeyBase64, ...rest } = reading.settings;
  assert.deepEqual(rest, {
    server: "gw.example",
    access: "tcp/22,udp/53",
    resolveIp: true,
    hmacDigestType: "SHA512",
    useHmac: true,
  });
  const lines = gateway.trim().split("\n").map((line) => line.split(/ +/));
  assert.deepEqual(lines, [
    ["SOURCE", "ANY"],
    ["OPEN_PORTS", "tcp/22,udp/53"],
    ["REQUIRE_SOURCE_ADDRESS", "Y"],
    ["KEY_BASE64", keyBase64],
    ["HMAC_KEY_BASE64", hmacKeyBase64],
    ["HMAC_DIGEST_TYPE", "sha512"],
  ]);
});

Deno.test("keygen appends stanzas to files and keeps what is there", async () => {
  const files = { "/rc": "[default]\n# mine", "/access": "SOURCE 10.0.0.0/8\nKEY a\n" };
  const ran = await keygen(
    ["--stanza", "gw", "--server", "h", "--rc-file", "/rc", "--access-file", "/access"],
    { files },
  );
  assert.equal(
    ran.stdout(),
    "[+] Wrote stanza [gw] to: /rc\n[+] Wrote the gateway's stanza to: /access\n",
  );
  assert.match(ran.files.get("/rc")?.text ?? "", /^\[default\]\n# mine\n\n\[gw\]\nSPA_SERVER +h\n/);
  assert.match(
    ran.files.get("/access")?.text ?? "",
    /^SOURCE 10\.0\.0\.0\/8\nKEY a\n\n# gw\nSOURCE +ANY\n/,
  );
  const fresh = await keygen(["--stanza", "gw", "--server", "h", "--rc-file", "/new"]);
  assert.equal(fresh.files.get("/new")?.mode, 0o600);
  assert.match(fresh.stdout(), /# access.conf of the gateway\nSOURCE/);
});

Deno.test("keygen adds no second stanza of a name", async () => {
  const files = { "/rc": "[GW]\nKEY precious\n" };
  const args = ["--stanza", "gw", "--server", "h", "--rc-file", "/rc", "--access-file", "/access"];
  const ran = await keygen(args, { files });
  assert.match(ran.stderr(), /cannot add stanza \[gw\] to \/rc: there is one already/);
  assert.equal(ran.status, 1);
  assert.equal(ran.files.get("/rc")?.text, files["/rc"]);
  assert.equal(ran.files.has("/access"), false);
});

Deno.test("keygen tells which file it cannot write, and shows no key then", async (t) => {
  const cases: ReadonlyArray<readonly [options: string, text: RegExp]> = [
    ["--stanza gw --server h --rc-file /rc", /cannot write "\/rc": Read-only file system/],
    ["--stanza gw --server h --access-file /a", /cannot write "\/a": Read-only file system/],
    ["--key-gen-file /k", /Unable to create key gen file: \/k: Read-only file system/],
  ];
  for (const [options, text] of cases) {
    await t.step(options, async () => {
      const ran = await keygen(options.split(" "), { readOnly: true });
      assert.match(ran.stderr(), text);
      assert.deepEqual([ran.status, ran.stdout()], [1, ""]);
      assert.ok(!/[A-Za-z0-9+/]{40}/.test(ran.stderr()));
    });
  }
});

Deno.test("keygen prints its options, and combines no JSON with files", async () => {
  const help = await keygen(["--help"]);
  assert.equal(help.status, 0);
  for (const option of ["--stanza", "--key-len", "--hmac-digest-type", "--access-file"]) {
    assert.ok(help.stdout().includes(option), option);
  }
  const ran = await keygen(["--json", "--stanza", "gw", "--server", "h", "--rc-file", "/rc"]);
  assert.deepEqual([ran.status, ran.stdout(), ran.files.size], [2, "", 0]);
  assert.match(ran.stderr(), /cannot combine --json with --rc-file/);
});
