import assert from "node:assert/strict";
import { splitCommandLine } from "../lib/cmd_knock_history.ts";
import { decodePacket } from "../lib/spa_packet.ts";
import { knock } from "./knock_run.ts";

const FILE = "/home/alice/.fwknop.run";
const REQUEST = ["--no-rc-file", "-A", "tcp/22", "-a", "1.2.3.4", "-D", "192.0.2.1"];
const KEYS = ["--key-rijndael", "secret1", "--key-base64-hmac", "c2VjcmV0Mg=="];

Deno.test("knock keeps its command line, for its owner only, without the keys", async () => {
  const ran = await knock([...REQUEST, ...KEYS, "-C", "echo it's done"]);
  assert.equal(ran.status, 0);
  assert.deepEqual(ran.files.get(FILE), {
    mode: 0o600,
    text: "fwknop --no-rc-file -A tcp/22 -a 1.2.3.4 -D 192.0.2.1 --key-rijndael *** " +
      "--key-base64-hmac *** -C 'echo it'\\''s done' \n",
  });
});

Deno.test("knock keeps nothing when told so, and -E says where", async () => {
  assert.equal((await knock([...REQUEST, ...KEYS, "--no-save-args"])).files.size, 0);
  assert.deepEqual([...(await knock([...REQUEST, ...KEYS, "-E", "/args"])).files.keys()], [
    "/args",
  ]);
});

Deno.test("knock refuses what fwknop refuses of the file's path and length", async () => {
  const lost = await knock([...REQUEST, ...KEYS], { env: {} });
  assert.match(lost.stderr(), /Unable to determine args save file/);
  const strict = await knock([...REQUEST, ...KEYS, "--no-home-dir"]);
  assert.match(strict.stderr(), /In --no-home-dir mode must set the args save file path with -E/);
  const long = await knock([...REQUEST, ...KEYS, "-u", "x".repeat(1000)]);
  assert.match(long.stderr(), /argument string too long, exiting\./);
  for (const ran of [lost, strict, long]) {
    assert.notEqual(ran.status, 0);
    assert.deepEqual(ran.packets, []);
  }
});

Deno.test("knock --show-last shows the line", async () => {
  const ran = await knock(["--show-last", "--no-rc-file"], { files: { [FILE]: "fwknop -V \n" } });
  assert.equal(ran.stdout(), "Last fwknop client command line: fwknop -V \n");
  assert.equal(ran.status, 0);
  const none = await knock(["--show-last", "--no-rc-file"]);
  assert.match(none.stderr(), /Could not open args file: \/home\/alice\/\.fwknop\.run/);
  assert.equal(none.status, 1);
});

Deno.test("knock -l does the same again, asking for the keys that were not kept", async () => {
  const first = await knock([...REQUEST, ...KEYS, "-C", "echo it's  done"]);
  const text = first.files.get(FILE)?.text ?? "";
  const again = await knock(["-l", "--no-rc-file"], { files: { [FILE]: text }, typed: "k1\nk2\n" });
  assert.deepEqual([again.status, again.stderr()], [0, ""]);
  assert.equal(again.prompts(), "Enter encryption key: \nEnter HMAC key: \n(closed)");
  const decoded = decodePacket(again.packets[0]?.payload ?? "", {
    key: new TextEncoder().encode("k1"),
    hmacKey: new TextEncoder().encode("k2"),
    mode: "CBC",
  });
  assert.equal(decoded.ok && decoded.value.message, "1.2.3.4,echo it's  done");
  assert.equal(again.files.get(FILE)?.text, text);
});

Deno.test("knock -l reads fwknop's file, which has no quotes", async () => {
  const line = "fwknop -A tcp/22 -a 1.2.3.4 -D 192.0.2.1 --key-rijndael k -T --no-rc-file \n";
  const ran = await knock(["-l", "-v", "--no-rc-file"], { files: { [FILE]: line } });
  assert.match(ran.stdout(), /^Executing: fwknop -A tcp\/22/);
  assert.match(ran.stdout(), /Message String: 1\.2\.3\.4,tcp\/22/);
});

Deno.test("splitCommandLine() takes 28 words at most, as fwknop does", () => {
  assert.ok(splitCommandLine("fwknop " + "-v ".repeat(27)).ok);
  assert.ok(!splitCommandLine("fwknop " + "-v ".repeat(28)).ok);
});
