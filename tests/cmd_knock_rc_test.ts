import assert from "node:assert/strict";
import { run } from "../lib/cmd_knock.ts";
import { decodePacket } from "../lib/spa_packet.ts";
import { memoryHost, type MemorySetup } from "./memory_host.ts";

const ENV = { HOME: "/home/alice", LOGNAME: "alice" };
const RC = "/home/alice/.fwknoprc";
const GATEWAY = "[gw]\nSPA_SERVER 192.0.2.1\nACCESS tcp/22\nALLOW_IP 1.2.3.4\nKEY k\n";

async function knock(args: readonly string[], setup: MemorySetup = {}) {
  const memory = memoryHost({ env: ENV, ...setup });
  const status = await run([...args], memory.host);
  const wire = memory.packets[0]?.payload ?? "";
  const open = (key: string) => {
    const decoded = decodePacket(wire, { key: new TextEncoder().encode(key), mode: "CBC" });
    return decoded.ok ? decoded.value : null;
  };
  return { ...memory, status, open };
}

function withRc(rc: string, more: MemorySetup = {}): MemorySetup {
  return { ...more, files: { ...more.files, [RC]: rc } };
}

Deno.test("knock -n takes everything from the stanza", async () => {
  const ran = await knock(["-n", "GW"], withRc(`[default]\nFW_TIMEOUT 60\n${GATEWAY}`));
  assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
  assert.equal(ran.open("k")?.message, "1.2.3.4,tcp/22");
  assert.equal(ran.open("k")?.clientTimeout, 60);
});

Deno.test("knock lets the command line override the stanza, and the stanza [default]", async () => {
  const rc = `[default]\nFW_TIMEOUT 60\nNAT_PORT 1\n${GATEWAY}FW_TIMEOUT 50\n`;
  const ran = await knock(["-n", "gw", "-A", "udp/53", "--nat-port", "2", "-f", "40"], withRc(rc));
  assert.equal(ran.open("k")?.message, "1.2.3.4,udp/2");
  assert.equal(ran.open("k")?.clientTimeout, 40);
});

Deno.test("knock ranks what the file says as fwknop does, and warns of it", async (t) => {
  const cases: ReadonlyArray<
    readonly [name: string, rc: string, args: string[], key: string, message: string, hint: RegExp]
  > = [
    ["KEY over a base64 key", "", ["--key-base64-rijndael", "eA=="], "k", "1.2.3.4,tcp/22", /KEY/],
    ["KEY over --stdin", "", ["--stdin"], "k", "1.2.3.4,tcp/22", /sets KEY$/m],
    ["ALLOW_IP over -R", "", ["-R"], "k", "1.2.3.4,tcp/22", /-R is not used/],
    ["[default] KEY over KEY_BASE64", "[gw]\nKEY_BASE64 eA==\n", [], "k", "1.2.3.4,tcp/22", /^$/],
  ];
  for (const [name, rc, args, key, message, warning] of cases) {
    await t.step(name, async () => {
      const ran = await knock(["-n", "gw", ...args], withRc(GATEWAY + rc));
      assert.equal(ran.open(key)?.message, message);
      assert.match(ran.stderr(), warning);
    });
  }
  await t.step("a negative TIME_OFFSET over --time-offset-plus", async () => {
    const rc = `${GATEWAY}TIME_OFFSET -1m\n`;
    const ran = await knock(["-n", "gw", "--time-offset-plus", "5m"], withRc(rc));
    assert.equal(ran.open("k")?.timestamp, 1_795_000_000 - 60);
    assert.match(ran.stderr(), /--time-offset-plus is not used/);
  });
  await t.step("VERBOSE over -v", async () => {
    const ran = await knock(["-n", "gw", "-v"], withRc(`${GATEWAY}VERBOSE N\n`));
    assert.equal(ran.stdout(), "");
  });
});

Deno.test("knock stops at a file with errors, and names file, line and column", async () => {
  const ran = await knock(["-n", "gw"], withRc(`${GATEWAY}BADVAR testtest\n`));
  assert.equal(ran.status, 1);
  assert.match(ran.stderr(), /^spa: \/home\/alice\/\.fwknoprc:6:1: Parameter error in .*, line 6:/);
  assert.deepEqual(ran.packets, []);
});

Deno.test("knock -n says which stanzas there are when it is none of them", async () => {
  const ran = await knock(["-n", "nope"], withRc(`${GATEWAY}[other]\n`));
  assert.equal(ran.status, 1);
  assert.equal(
    ran.stderr(),
    "spa: Named configuration stanza: [nope] was not found.\nhint: stanzas: gw, other\n",
  );
});

Deno.test("knock creates a first file for its owner only, once its options make sense", async () => {
  const ran = await knock(["-T", "-A", "tcp/1", "-s", "--key-rijndael", "k"]);
  assert.equal(ran.status, 0);
  assert.equal(ran.stderr(), `spa: [*] Creating initial rc file: ${RC}.\n`);
  assert.equal(ran.files.get(RC)?.mode, 0o600);
  assert.match(ran.files.get(RC)?.text ?? "", /This file contains/);
  const again = await knock(["-T", "-A", "tcp/1", "-s", "--key-rijndael", "k"], {
    files: { [RC]: ran.files.get(RC)?.text ?? "" },
  });
  assert.equal(again.stderr(), "");
  assert.equal((await knock(["-p", "x"])).files.has(RC), false);
});

Deno.test("knock warns once of a file that others can read", async (t) => {
  for (const [mode, warns] of [[0o644, true], [0o600, false], [0o400, false]] as const) {
    await t.step(mode.toString(8), async () => {
      const memory = memoryHost({ env: ENV });
      memory.files.set(RC, { text: GATEWAY, mode });
      assert.equal(await run(["-n", "gw"], memory.host), 0);
      const warnings = memory.stderr().match(/permissions should only be user read\/write/g) ?? [];
      assert.equal(warnings.length, warns ? 1 : 0);
    });
  }
});

Deno.test("knock needs to know where the file is", async () => {
  const lost = await knock(["-T"], { env: {} });
  assert.match(lost.stderr(), /Unable to determine HOME directory/);
  assert.equal(lost.status, 1);
  const strict = await knock(["-T", "--no-home-dir"]);
  assert.match(strict.stderr(), /in --no-home-dir mode, must set --rc-file path/);
});

Deno.test("knock --stanza-list lists the stanzas, also as JSON", async () => {
  const rc = `[default]\n${GATEWAY}[b c]\n`;
  const ran = await knock(["--stanza-list"], withRc(rc));
  assert.equal(
    ran.stdout(),
    `The following stanzas are configured in ${RC} :\n - gw\n - b c\n`,
  );
  const json = await knock(["--stanza-list", "--json"], withRc(rc));
  assert.deepEqual(JSON.parse(json.stdout()), { file: RC, stanzas: ["gw", "b c"] });
  const none = await knock(["--stanza-list"]);
  assert.match(none.stderr(), /Unable to open rc file: \/home\/alice\/.fwknoprc: No such file/);
  assert.equal(none.status, 1);
});

Deno.test("knock -vv tells which variables it read, and no values", async () => {
  const ran = await knock(["-n", "gw", "-vv"], withRc(GATEWAY));
  assert.match(
    ran.stdout(),
    /^process_rc_section\(\) : Parsing section 'gw' \.\.\.\nparse_rc_param\(\) : Parsing variable SPA_SERVER\.\.\.\n/,
  );
  assert.ok(!/KEY k/.test(ran.stdout()));
});

Deno.test("knock --save-rc-stanza writes what the command line says, then knocks", async () => {
  const ran = await knock([
    ...["-n", "new", "--save-rc-stanza", "-A", "tcp/22", "-a", "1.2.3.4", "-D", "192.0.2.9"],
    ...["--key-rijndael", "two words", "--time-offset-minus", "2h", "-m", "sha1", "-P", "UDP"],
    "-vv",
  ], withRc("# mine\n[default]\nFW_TIMEOUT 5\n"));
  assert.equal(ran.stderr(), "");
  assert.equal(
    ran.files.get(RC)?.text,
    `# mine
[default]
FW_TIMEOUT 5

[new]
DIGEST_TYPE                 SHA1
SPA_SERVER_PROTO            udp
ALLOW_IP                    1.2.3.4
TIME_OFFSET                 -7200
ACCESS                      tcp/22
SPA_SERVER                  192.0.2.9
KEY_BASE64                  dHdvIHdvcmRz
VERBOSE                     2
`,
  );
  assert.match(
    ran.stdout(),
    /^add_single_var_to_rc\(\) : Updating param \(0\) DIGEST_TYPE to SHA1$/m,
  );
  assert.ok(!ran.stdout().includes("dHdvIHdvcmRz"));
  assert.equal(ran.packets.length, 1);
  assert.equal(ran.files.size, 2, "no temporary file is left");
});

Deno.test("knock --save-rc-stanza takes the destination as name, and keeps other variables", async () => {
  const ran = await knock(
    ["--save-rc-stanza", "-D", "GW", "-T", "-f", "70", "-R", "-s", "-A", "tcp/1", "-q"],
    withRc(`${GATEWAY}[x]\nKEY y\n[default]\nKEY d\n`),
  );
  assert.equal(
    ran.files.get(RC)?.text,
    "[gw]\nSPA_SERVER GW\nACCESS tcp/1\nALLOW_IP 0.0.0.0\nKEY k\n" +
      "FW_TIMEOUT                  70\nRESOLVE_IP_HTTPS            N\n" +
      "[x]\nKEY y\n[default]\nKEY d\n",
  );
});

Deno.test("knock --save-rc-stanza asks before a key is lost; no answer keeps it", async (t) => {
  const args = ["-n", "gw", "--save-rc-stanza", "-T", "--key-base64-rijndael", "eA==", "-s"];
  const question = "Variable 'KEY' found in stanza 'gw'. Overwrite [N/y] ? \n";
  for (
    const [answer, line] of [["y\n", "KEY_BASE64                  eA=="], ["n\n", "KEY k"], [
      "",
      "KEY k",
    ]] as const
  ) {
    await t.step(JSON.stringify(answer), async () => {
      const ran = await knock(
        [...args, "-A", "tcp/22"],
        withRc(GATEWAY, { descriptors: { 0: answer } }),
      );
      assert.ok(ran.stdout().startsWith(question));
      const lines = ran.files.get(RC)?.text.split("\n") ?? [];
      assert.deepEqual(lines.filter((text) => text.startsWith("KEY")), [line]);
    });
  }
  await t.step("not with --force-stanza, which also drops what is not given", async () => {
    const ran = await knock([...args, "--force-stanza", "-A", "udp/1"], withRc(GATEWAY));
    assert.ok(!ran.stdout().includes("Overwrite"));
    assert.deepEqual(
      ran.files.get(RC)?.text,
      "[gw]\nACCESS udp/1\nALLOW_IP 0.0.0.0\nKEY_BASE64                  eA==\n",
    );
  });
  await t.step("not for other variables", async () => {
    const ran = await knock(
      ["-n", "gw", "--save-rc-stanza", "-k", "-f", "9"],
      withRc(GATEWAY, {
        descriptors: { 0: "y\n" },
      }),
    );
    assert.equal(ran.stdout().match(/Overwrite/g)?.length, 1);
  });
});

Deno.test("knock -k --save-rc-stanza writes new keys to the stanza and sends nothing", async () => {
  const ran = await knock(["-k", "--save-rc-stanza", "-D", "h", "--use-hmac"], withRc(""));
  assert.equal(ran.stdout(), `[+] Wrote Rijndael and HMAC keys to rc file: ${RC}\n`);
  assert.match(
    ran.files.get(RC)?.text ?? "",
    /^\[h\]\nSPA_SERVER {18}h\nKEY_BASE64 {18}\S{44}\nHMAC_KEY_BASE64 {13}\S{88}\nUSE_HMAC {20}Y\n$/,
  );
  assert.deepEqual(ran.packets, []);
});

Deno.test("knock --save-rc-stanza refuses what the file cannot hold", async () => {
  const ran = await knock(
    ["-n", "gw", "--save-rc-stanza", "-u", "my agent", "-s", "-A", "tcp/1", "-D", "h"],
    withRc(GATEWAY),
  );
  assert.match(ran.stderr(), /cannot save HTTP_USER_AGENT: its value is empty or has blanks/);
  assert.equal(ran.status, 1);
  assert.equal(ran.files.get(RC)?.text, GATEWAY);
});

Deno.test("knock --save-rc-stanza writes gateway and port apart, as fwknop reads them", async () => {
  const cases: ReadonlyArray<readonly [options: string[], server: string, port: string | null]> = [
    [["-D", "gw.example"], "gw.example", null],
    [["-D", "gw.example", "-p", "80"], "gw.example", "80"],
    [["-D", "gw.example:7000", "-p", "80"], "gw.example", "7000"],
    [["-D", "[2001:db8::5]:7000"], "2001:db8::5", "7000"],
    [["-D", "2001:db8::5"], "2001:db8::5", null],
  ];
  for (const [options, server, port] of cases) {
    const ran = await knock([...options, "-k", "--save-rc-stanza"], withRc("[default]\n"));
    const text = ran.files.get(RC)?.text ?? "";
    const section = text.slice(text.indexOf(`[${server}]`)).split("\n");
    const value = (name: string) =>
      section.find((line) => line.startsWith(`${name} `))?.split(/ +/)[1] ?? null;
    assert.deepEqual([value("SPA_SERVER"), value("SPA_SERVER_PORT")], [server, port], text);
  }
});

Deno.test("knock goes on without a .fwknoprc that cannot be made or found", async (t) => {
  const line = ["-D", "192.0.2.1", "-A", "tcp/22", "-a", "1.2.3.4", "--key-rijndael", "k"];
  await t.step("no file can be made", async () => {
    const ran = await knock(line, { readOnly: true });
    assert.match(ran.stderr(), /Unable to create initial rc file: .*: Read-only file system/);
    assert.deepEqual([ran.status, ran.packets.length], [0, 1]);
  });
  await t.step("a first file is for its owner only", async () => {
    const ran = await knock(line);
    assert.equal(ran.files.get(RC)?.mode, 0o600);
    assert.match(ran.stderr(), /Creating initial rc file: /);
    const again = await knock(line, withRc(ran.files.get(RC)?.text ?? ""));
    assert.deepEqual([again.status, again.stderr()], [0, ""]);
  });
});

Deno.test("knock says where it looks for a .fwknoprc when it knows no place", async () => {
  const line = ["-D", "192.0.2.1", "-A", "tcp/22", "-a", "1.2.3.4", "--key-rijndael", "k"];
  const homeless = await knock(line, { env: { LOGNAME: "alice" } });
  assert.match(homeless.stderr(), /Unable to determine HOME directory/);
  const told = await knock([...line, "--no-home-dir"]);
  assert.match(told.stderr(), /in --no-home-dir mode, must set --rc-file path/);
  assert.deepEqual([homeless.packets.length, told.packets.length], [0, 0]);
  const list = await knock(["--stanza-list", "--rc-file", "/nowhere"]);
  assert.match(list.stderr(), /Unable to open rc file: \/nowhere: No such file or directory/);
  assert.equal(list.status, 1);
});
