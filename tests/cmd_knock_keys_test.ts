// The keys of `spa knock`: where they come from, and which cannot be used.

import assert from "node:assert/strict";
import { decodePacket } from "../lib/spa_packet.ts";
import type { MemorySetup } from "./memory_host.ts";
import { knock, open, REQUEST } from "./knock_run.ts";

Deno.test("knock refuses keys that cannot be used, without showing them", async (t) => {
  const cases: ReadonlyArray<readonly [keys: string[], text: RegExp]> = [
    [["--key-rijndael", "same", "--key-hmac", "same"], /should not be identical, no SPA packet/],
    [["--key-rijndael", "a".repeat(33)], /Invalid key length: .* 33 bytes, at most 32/],
    [["--key-base64-rijndael", "w^KMB"], /Base64 encoded Rijndael.*look like base64-encoded data/],
    [["--key-base64-hmac", "w^KMB"], /Base64 encoded HMAC.*look like base64-encoded data/],
    [
      ["--key-rijndael", "k", "--key-base64-hmac", "A".repeat(174)],
      /Invalid decoded key length: '130'/,
    ],
    [["--key-rijndael", ""], /the encryption key is empty/],
    [["--key-rijndael", "k", "--key-hmac", ""], /the HMAC key is empty/],
    [["-G", "/keys"], /Could not open config file: \/keys/],
    [["-G", "/other-keys"], /Could not get key for IP: 192.0.2.1 from: \/other-keys/],
    [["--fd", "7"], /Bad file descriptor/],
    [[], /no encryption key, and no terminal to ask on/],
    [["--use-hmac"], /no encryption key and no HMAC key, and no terminal/],
  ];
  for (const [keys, text] of cases) {
    await t.step(keys.join(" ") || "none", async () => {
      const ran = await knock(["--no-rc-file", "--no-save-args", ...REQUEST, ...keys], {
        files: { "/other-keys": "192.0.2.10: key\n#192.0.2.1: key\n192.0.2.1:\n" },
      });
      assert.match(ran.stderr(), text);
      assert.notEqual(ran.status, 0);
      assert.deepEqual(ran.packets, []);
      for (const secret of keys.filter((word) => !word.startsWith("-") && word !== "same")) {
        if (secret.length > 4 && !secret.startsWith("/")) assert.ok(!ran.stderr().includes(secret));
      }
    });
  }
});

Deno.test("knock finds its keys", async (t) => {
  const files = {
    "/keys": "192.0.2.1: first\n other: x\n = 192.0.2.1: = fwknoptest",
    "/hmac-keys": "192.0.2.1:hmactest\r",
  };
  const run = () => ({ status: 0, stdout: "fwknoptest\nmore\n", stderr: "" });
  const rc = "[default]\nKEY_COMMAND pass show spa\nHMAC_KEY hmactest\n";
  const cases: ReadonlyArray<
    readonly [name: string, args: string[], setup: MemorySetup, hmac?: string]
  > = [
    [
      "in base64",
      ["--key-base64-rijndael", "Zndrbm9wdGVzdA", "--key-base64-hmac", "aG1hY3Rlc3Q="],
      {},
    ],
    ["in files", ["-G", "/keys", "--get-hmac-key", "/hmac-keys"], { files }, "hmactest\r"],
    ["on stdin", ["--stdin", "--use-hmac"], { descriptors: { 0: "fwknoptest\nhmactest\n" } }],
    ["on a descriptor", ["--fd", "3", "--use-hmac"], {
      descriptors: { 3: "fwknoptest\nhmactest" },
    }],
    ["typed, with mistakes", ["--use-hmac"], { typed: "oops\x15fwknopx\x7ftest\nhmac\x08ctest\r" }],
    ["one of them typed", ["--key-hmac", "hmactest"], { typed: "fwknoptest\n" }],
    ["from a command", ["--rc-file", "/rc"], { files: { "/rc": rc }, run }],
  ];
  for (const [name, args, setup, hmacKey] of cases) {
    await t.step(name, async () => {
      const bare = args.includes("--rc-file") ? [] : ["--no-rc-file"];
      const ran = await knock([...bare, "--no-save-args", ...REQUEST, ...args], setup);
      assert.deepEqual([ran.stderr(), ran.status], ["", 0]);
      assert.equal(open(ran.packets[0]?.payload ?? "", "fwknoptest", hmacKey).username, "alice");
    });
  }
});

Deno.test("knock sends nothing after Ctrl-C at the prompt, and ends with 130", async () => {
  const ran = await knock(["--no-rc-file", "--no-save-args", ...REQUEST], { typed: "abc\x03" });
  assert.equal(ran.status, 130);
  assert.deepEqual(ran.packets, []);
  assert.equal(ran.prompts(), "Enter encryption key: \n(closed)");
});

Deno.test("knock -M legacy cuts a long key, and says so", async () => {
  const key = "12345678901234567890";
  const args = [
    "--no-rc-file",
    "--no-save-args",
    ...REQUEST,
    "-M",
    "legacy",
    "--key-rijndael",
    key,
  ];
  const ran = await knock(args);
  assert.match(ran.stderr(), /WARNING: Encryption key in '-M legacy' mode must be <= 16 bytes/);
  const decoded = decodePacket(ran.packets[0]?.payload ?? "", {
    key: new TextEncoder().encode(key.slice(0, 16)),
    mode: "CBC",
  });
  assert.ok(decoded.ok);
});
