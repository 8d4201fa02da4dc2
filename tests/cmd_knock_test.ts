import assert from "node:assert/strict";
import { parseOptions } from "../lib/cmd_getopt.ts";
import { run } from "../lib/cmd_knock.ts";
import { KNOCK_OPTIONS } from "../lib/cmd_knock_options.ts";
import { type DecodedPacket, decodePacket } from "../lib/spa_packet.ts";
import { type MemoryHost, memoryHost, type MemorySetup } from "./memory_host.ts";

const KEYS = ["--key-rijndael", "fwknoptest", "--key-hmac", "hmactest"];
const REQUEST = ["-A", "tcp/22", "-a", "1.2.3.4", "-D", "192.0.2.1"];
const ENV = { HOME: "/home/alice", LOGNAME: "alice" };

interface Ran extends MemoryHost {
  readonly status: number;
}

async function knock(args: readonly string[], setup: MemorySetup = {}): Promise<Ran> {
  const memory = memoryHost({ env: ENV, ...setup });
  const status = await run([...args], memory.host);
  return { ...memory, status };
}

/** Runs with keys on the command line and no files. */
function knockBare(args: readonly string[], setup: MemorySetup = {}): Promise<Ran> {
  return knock([...KEYS, "--no-rc-file", "--no-save-args", ...args], setup);
}

function open(wire: string, key = "fwknoptest", hmacKey = "hmactest"): DecodedPacket {
  const encoder = new TextEncoder();
  const decoded = decodePacket(wire, {
    key: encoder.encode(key),
    hmacKey: encoder.encode(hmacKey),
    mode: "CBC",
  });
  assert.ok(decoded.ok, "the packet can be decoded");
  return decoded.value;
}

Deno.test("knock sends one packet that says what was asked for, and prints nothing", async () => {
  const ran = await knockBare(REQUEST);
  assert.deepEqual([ran.status, ran.stdout(), ran.stderr()], [0, "", ""]);
  const [packet, ...others] = ran.packets;
  assert.deepEqual(others, []);
  assert.equal(packet?.over, "udp");
  assert.deepEqual(packet?.to, { address: "192.0.2.1", port: 62201 });
  const fields = open(packet?.payload ?? "");
  assert.equal(fields.message, "1.2.3.4,tcp/22");
  assert.equal(fields.username, "alice");
  assert.equal(fields.timestamp, 1_795_000_000);
  assert.equal(fields.messageType, 1);
});

Deno.test("knock's options shape the packet", async (t) => {
  const cases: ReadonlyArray<readonly [options: string[], fields: Partial<DecodedPacket>]> = [
    [["-s"], { message: "0.0.0.0,tcp/22" }],
    [["-f", "60"], { clientTimeout: 60, messageType: 3 }],
    [["-f", "1m30s"], { clientTimeout: 90, messageType: 3 }],
    [["-f", "0"], { clientTimeout: 0, messageType: 1 }],
    [["-U", "bob"], { username: "bob" }],
    [["-U", ""], { username: "alice" }],
    [["-m", "sha512"], { digestType: "SHA512" }],
    [["--time-offset-plus", "1h"], { timestamp: 1_795_003_600 }],
    [["--time-offset-minus", "1h"], { timestamp: 1_794_996_400 }],
    [["--time-offset-plus", "1h", "--time-offset-minus", "1s"], { timestamp: 1_794_999_999 }],
    [["-C", "uptime; ls"], { message: "1.2.3.4,uptime; ls", messageType: 0 }],
    [["-C", "uptime", "-f", "60"], { messageType: 0, clientTimeout: 0 }],
    [["-N", "10.0.0.2"], { natAccess: "10.0.0.2,22", messageType: 2 }],
    [["-N", "10.0.0.2:443"], { natAccess: "10.0.0.2,443" }],
    [["-N", "host.example,443", "-f", "9"], { natAccess: "host.example,443", messageType: 4 }],
    [["--Forward-access", "10.0.0.2,443"], { natAccess: "10.0.0.2,443" }],
    [["--nat-local"], { natAccess: "192.0.2.1,22", messageType: 5 }],
    [["--nat-local", "-f", "9"], { messageType: 6 }],
    [["--nat-local", "-N", "10.0.0.2:1"], { natAccess: "10.0.0.2,1", messageType: 5 }],
    [["--nat-local", "--nat-port", "2222"], {
      natAccess: "192.0.2.1,22",
      message: "1.2.3.4,tcp/2222",
    }],
    [["--nat-port", "2222"], { message: "1.2.3.4,tcp/2222", natAccess: null }],
    [["-A", "tcp/80,udp/53"], { message: "1.2.3.4,tcp/80,udp/53" }],
  ];
  for (const [options, fields] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knockBare([...REQUEST, ...options]);
      assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
      const opened = open(ran.packets[0]?.payload ?? "");
      for (const [name, value] of Object.entries(fields)) {
        assert.equal(opened[name as keyof DecodedPacket], value, name);
      }
    });
  }
});

Deno.test("knock asks for IPv6 addresses, and says who understands that", async (t) => {
  const cases: ReadonlyArray<
    readonly [options: readonly string[], message: string, type: number, natAccess?: string]
  > = [
    [["-a", "2001:DB8:0::1"], "2001:db8::1,tcp/22", 1],
    ...([
      ["2001:DB8:0::20", "2001:db8::20,22"],
      ["2001:db8::20,80", "2001:db8::20,80"],
      ["[2001:db8::20]", "2001:db8::20,22"],
      ["[2001:db8::20]:80", "2001:db8::20,80"],
      ["inner.example:80", "inner.example,80"],
    ] as const).map(([target, natAccess]) =>
      [["-a", "2001:db8::1", "-N", target], "2001:db8::1,tcp/22", 2, natAccess] as const
    ),
    [["-a", "2001:db8::1", "-A", "tcp/22,udp/53", "-f", "9"], "2001:db8::1,tcp/22,udp/53", 3],
    [["-a", "2001:db8::1", "-C", "uptime"], "2001:db8::1,uptime", 0],
    [["-a", "2001:db8::1", "--nat-local"], "2001:db8::1,tcp/22", 5],
  ];
  for (const [options, message, type, natAccess] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knockBare([...REQUEST, ...options]);
      assert.equal(
        ran.stderr(),
        'spa: only "spa serve" understands a request for an IPv6 address; fwknopd refuses it\n',
      );
      const secrets = {
        key: new TextEncoder().encode("fwknoptest"),
        hmacKey: new TextEncoder().encode("hmactest"),
        mode: "CBC",
      } as const;
      const wire = ran.packets[0]?.payload ?? "";
      assert.equal(decodePacket(wire, secrets).ok, false);
      const decoded = decodePacket(wire, { ...secrets, ipv6: true });
      assert.ok(decoded.ok);
      assert.deepEqual([decoded.value.message, decoded.value.messageType], [message, type]);
      if (natAccess !== undefined) assert.equal(decoded.value.natAccess, natAccess);
      const tested = await knockBare([...REQUEST, ...options, "-T", "-q"]);
      assert.deepEqual([tested.status, tested.stderr()], [0, ""]);
    });
  }
});

Deno.test("knock writes IPv4 as such, however it was given", async () => {
  for (const [given, sent] of [["::ffff:1.2.3.4", "1.2.3.4"], ["::", "0.0.0.0"]] as const) {
    const ran = await knockBare([...REQUEST, "-a", given]);
    assert.equal(ran.stderr(), "");
    assert.equal(open(ran.packets[0]?.payload ?? "").message, `${sent},tcp/22`);
  }
});

Deno.test("knock's options choose where the packet goes", async (t) => {
  const names = { "gw.example": ["192.0.2.7"], "proxy.example": ["192.0.2.8"] };
  const cases: ReadonlyArray<
    readonly [options: string[], over: "udp" | "tcp", address: string, port: number]
  > = [
    [["-p", "5000"], "udp", "192.0.2.1", 5000],
    [["-D", "gw.example"], "udp", "192.0.2.7", 62201],
    [["-D", "2001:db8::5"], "udp", "2001:db8::5", 62201],
    [["-D", "[2001:db8::5]"], "udp", "2001:db8::5", 62201],
    [["-D", "[2001:db8::5]:7000"], "udp", "2001:db8::5", 7000],
    [["-D", "gw.example:7000", "-p", "1"], "udp", "192.0.2.7", 7000],
    [["-P", "tcp"], "tcp", "192.0.2.1", 62201],
    [["--TCP-sock", "--Server-port", "80"], "tcp", "192.0.2.1", 80],
    [["-P", "http"], "tcp", "192.0.2.1", 62201],
    [["-H", "http://proxy.example:3128/"], "tcp", "192.0.2.8", 3128],
    [["-H", "proxy.example"], "tcp", "192.0.2.8", 62201],
  ];
  for (const [options, over, address, port] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knockBare([...REQUEST, ...options], { names });
      assert.equal(ran.stderr(), "");
      assert.deepEqual([ran.packets[0]?.over, ran.packets[0]?.to], [over, { address, port }]);
    });
  }
});

Deno.test("knock -S sends from that port", async () => {
  const ran = await knockBare([...REQUEST, "-S", "4000"]);
  assert.equal(ran.packets[0]?.sourcePort, 4000);
});

Deno.test("knock -r chooses a port that the packet's random value does not give away", async () => {
  const ran = await knockBare([...REQUEST, "-r"]);
  const { to, payload } = ran.packets[0] ?? { to: { port: 0 }, payload: "" };
  assert.ok(to.port >= 10000 && to.port <= 65534);
  const digits = Number(open(payload).randomValue.slice(0, 5));
  assert.notEqual(to.port, 10000 + digits % 55535);
});

Deno.test("knock --nat-rand-port tells which port it chose", async () => {
  const ran = await knockBare([...REQUEST, "--nat-local", "--nat-rand-port"]);
  const { message, natAccess } = open(ran.packets[0]?.payload ?? "");
  const port = /tcp\/(\d+)$/.exec(message)?.[1];
  assert.equal(natAccess, "192.0.2.1,22");
  assert.equal(
    ran.stdout(),
    `[+] Randomly assigned port '${port}' on: '1.2.3.4,tcp/${port}' ` +
      "will grant access to: '192.0.2.1,22'\n",
  );
});

Deno.test("knock -P http puts the packet into a request", async () => {
  const direct = await knockBare([...REQUEST, "-P", "http", "-u", "Fwknop/1.0"]);
  const [, path = ""] = /^GET \/(\S+) HTTP\/1.1\r\n/.exec(direct.packets[0]?.payload ?? "") ?? [];
  assert.equal(open(path.replaceAll("-", "+").replaceAll("_", "/")).message, "1.2.3.4,tcp/22");
  assert.match(
    direct.packets[0]?.payload ?? "",
    /\r\nUser-Agent: Fwknop\/1.0\r\nAccept: \*\/\*\r\nHost: 192.0.2.1\r\nConnection: close\r\n\r\n$/,
  );
  const proxied = await knockBare([...REQUEST, "-H", "192.0.2.8:3128"]);
  assert.match(
    proxied.packets[0]?.payload ?? "",
    /^GET http:\/\/192.0.2.1\/\S+ HTTP\/1.1\r\n[^]*\r\nHost: 192.0.2.8\r\n/,
  );
});

Deno.test("knock refuses what makes no sense, in fwknop's words and with its status, and sends nothing", async (t) => {
  const cases: ReadonlyArray<readonly [args: string[], text: RegExp]> = [
    [[], /Must use --destination unless --test mode is used\nhint: /],
    [["-D", "x"], /Must use one of \[-s\|-R\|-a\] to specify IP for SPA access\./],
    [["-D", "x", "-s"], /Invalid SPA access message format: no --access given\nhint: .*tcp\/22/],
    [[...REQUEST, "-A", "http/80"], /Invalid SPA access message.*"http\/80": the protocol/],
    [[...REQUEST, "-A", "tcp"], /Expecting <proto>\/<port> for -A arg\./],
    [[...REQUEST, "-A", "tcp/99999"], /Invalid port value '99999' for -A arg\./],
    [[...REQUEST, "-A", "tcp/22,"], /Invalid SPA access message/],
    [[...REQUEST, "-a", "myhost"], /Invalid allow IP specified for SPA access.*"myhost"/],
    [[...REQUEST, "-a", "192.168.100.1009"], /Invalid allow IP/],
    [[...REQUEST, "-p", "99999"], /Value 99999 out of range \[\(0\)-\(65535\)\]/],
    [[...REQUEST, "-p", "62x"], /Value 62x out of range/],
    [[...REQUEST, "--fd", "-1"], /Value -1 out of range/],
    [[...REQUEST, "-f", "200000"], /--fw-timeout must be within \[0-65536\]/],
    [[...REQUEST, "-m", "sha999"], /Invalid digest type: sha999, use \{md5,sha1,.*sha3_512\}/],
    [[...REQUEST, "--hmac-digest-type", "md4"], /Invalid hmac digest type: md4, use \{md5/],
    [[...REQUEST, "-M", "PCBC"], /Invalid encryption mode: PCBC, use \{CBC,ECB/],
    [[...REQUEST, "-P", "quic"], /Unrecognized protocol: quic/],
    [[...REQUEST, "--time-offset-plus", "soon"], /Invalid time offset: 'soon'/],
    [[...REQUEST, "--time-offset-minus", "30000d"], /time stamp/],
    [[...REQUEST, "-Q", "x"], /Invalid spoof IP/],
    [[...REQUEST, "-Q", "9.9.9.999"], /Invalid spoof IP/],
    [[...REQUEST, "-P", "udpraw", "-Q", "2001:db8::1"], /Invalid spoof IP/],
    [[...REQUEST, "-P", "udpraw", "-6"], /-P udpraw makes IPv4 packets only/],
    [[...REQUEST, "-Q", "9.9.9.9"], /Must set -P <udpraw\|tcpraw\|icmp> with a spoofed/],
    [[...REQUEST, "-H", "p:1", "-P", "udp"], /Cannot set --http-proxy with a non-HTTP protocol/],
    [[...REQUEST, "-H", "p:99999"], /packet not sent: proxy port value is invalid/],
    [[...REQUEST, "-g"], /Must specify --gpg-recipient-key when GPG is used\./],
    [[...REQUEST, "-M", "Asymmetric"], /Must specify GPG recipient\/signing keys when Asymm/],
    [[...REQUEST, "-M", "legacy"], /Legacy encryption mode is incompatible with HMAC usage\./],
    [[...REQUEST, "--icmp-type", "9999"], /Invalid icmp type '9999', must be in \[0-40\]/],
    [[...REQUEST, "-U", "DOM\\bob"], /Error 91 - Args contain invalid data: .*USER_REMCHAR/],
    [[...REQUEST, "-N", "10.0.0.2:99999"], /Invalid port value in -N arg\./],
    [[...REQUEST, "-N", ".168.10.1"], /Invalid NAT destination '.168.10.1' for -N arg\./],
    [[...REQUEST, "-A", "tcp/1,tcp/2", "-N", "h", "--nat-port", "3"], /NAT for multiple/],
    [[...REQUEST, "-C", "ls", "-N", "10.0.0.2"], /cannot combine --server-cmd with NAT/],
    [["-D", "x", "-R", "-C", "ls"], /Invalid SPA command message format/],
    [[...REQUEST, "-C", "x".repeat(250)], /94 - Value or Size/],
    [[...REQUEST, "-C", "x".repeat(200)], /packet not sent: it has \d+ characters/],
    ...["[::1", "[gw]", "[::1]:0", "gw:http", "gw:", ":80", "gw:1:2", "gw:65536", ""].map((
      name,
    ): [string[], RegExp] => [
      [...REQUEST, "-D", name],
      /cannot use ".*" as destination\nhint: write HOST/,
    ]),
    [
      [...REQUEST, "-N", "2001:db8::5g"],
      /Invalid NAT destination '2001:db8::5g' for -N arg\..*\nh/,
    ],
    [
      [...REQUEST, "-N", "[2001:db8::5]:22"],
      /'2001:db8::5,22': .* cannot get there\nhint: both must/,
    ],
    [[...REQUEST, "-D", "nowhere.example"], /packet not sent: error in getaddrinfo.*nowhere/],
    [[...REQUEST, "-4", "-D", "::1"], /packet not sent: ::1 is no IPv4 address/],
    [["-n", "x"], /Cannot set stanza name in --no-rc-file mode\./],
    [["--save-rc-stanza"], /Cannot save an rc stanza in --no-rc-file mode\./],
    [["--stanza-list"], /Cannot list stanzas in --no-rc-file mode\./],
    [[...REQUEST, "--destinaton", "x"], /unrecognized .*\nhint: did you mean '--destination'/],
  ];
  for (const [args, text] of cases) {
    await t.step(args.join(" "), async () => {
      const ran = await knockBare(args);
      assert.match(ran.stderr(), text);
      assert.match(ran.stderr(), /^spa: /);
      assert.equal(ran.status, 1);
      assert.deepEqual([ran.packets, ran.stdout()], [[], ""]);
    });
  }
});

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

Deno.test("knock -T shows the packet and sends nothing", async () => {
  const ran = await knockBare(["-A", "tcp/22", "-a", "1.2.3.4", "-T"]);
  assert.equal(ran.status, 0);
  assert.deepEqual(ran.packets, []);
  assert.match(ran.stdout(), /^SPA Field Values:\n=+\n {3}Random Value: \d{16}\n/);
  assert.match(ran.stdout(), /\n\ntest mode enabled, SPA packet not actually sent\.\n$/);
});

Deno.test("knock -T works with an empty key from a descriptor, as fwknop does", async () => {
  const ran = await knock(["--no-rc-file", "--no-save-args", ...REQUEST, "-T", "--fd", "0"], {
    descriptors: { 0: "abc\x03" },
  });
  assert.equal(ran.status, 0);
  assert.match(ran.stdout(), /Final SPA Data/);
});

Deno.test("knock -v shows the dump, the way and the bytes; -vv the payload too", async () => {
  const ran = await knockBare([...REQUEST, "-v"]);
  const { payload } = ran.packets[0] ?? { payload: "" };
  assert.ok(ran.stdout().includes(` Final SPA Data: ${payload}\n\n`));
  assert.ok(
    ran.stdout().endsWith(
      "Generating SPA packet:\n            protocol: udp\n         source port: <OS assigned>\n" +
        "    destination port: 62201\n             IP/host: 192.0.2.1\n" +
        `send_spa_packet: bytes sent: ${payload.length}\n`,
    ),
  );
  const more = await knockBare([...REQUEST, "-vv"]);
  assert.match(more.stdout(), /\n0000 {2}([0-9a-f]{2} ){15}[0-9a-f]{2} {2}\S{16}\n/);
});

Deno.test("knock confirms on a terminal only, unless told to be quiet", async () => {
  const line = "sent 204 bytes to 192.0.2.1:62201/udp, opens tcp/22 for 1.2.3.4\n";
  assert.equal((await knockBare(REQUEST, { terminals: ["stdout"] })).stdout(), line);
  assert.equal((await knockBare([...REQUEST, "-q"], { terminals: ["stdout"] })).stdout(), "");
});

Deno.test("knock --json prints one object, sent or not", async () => {
  const sent = await knockBare([...REQUEST, "--json", "-v"]);
  const result = JSON.parse(sent.stdout());
  assert.equal(result.sent, true);
  assert.equal(result.packet.message, "1.2.3.4,tcp/22");
  assert.equal(result.packet.data, sent.packets[0]?.payload);
  const tested = JSON.parse((await knockBare([...REQUEST, "--json", "-T"])).stdout());
  assert.deepEqual([tested.sent, tested.decoded], [false, true]);
});

Deno.test("knock -B keeps the packet for its owner only, -b adds to the file", async () => {
  const first = await knockBare([...REQUEST, "-B", "/packet"]);
  const kept = first.files.get("/packet");
  assert.deepEqual(kept, { text: `${first.packets[0]?.payload}\n`, mode: 0o600 });
  const files = { "/packet": "old\n" };
  const replaced = await knockBare([...REQUEST, "-B", "/packet"], { files });
  assert.equal(replaced.files.get("/packet")?.text, `${replaced.packets[0]?.payload}\n`);
  const appended = await knockBare([...REQUEST, "-B", "/packet", "-b"], { files });
  assert.equal(appended.files.get("/packet")?.text, `old\n${appended.packets[0]?.payload}\n`);
});

Deno.test("knock -V and -h do nothing but print", async () => {
  const version = await knock(["-V"]);
  assert.match(version.stdout(), /fwknop client 2\.6\.11, FKO protocol version 3\.0\.0/);
  const help = await knock(["--bogus", "-h"]);
  assert.match(help.stdout(), /^Usage: spa knock /);
  for (const ran of [version, help]) {
    assert.deepEqual([ran.status, ran.stderr(), [...ran.files], ran.packets], [0, "", [], []]);
  }
});

Deno.test("knock takes every abbreviation for what fwknop takes it for", () => {
  const fwknop = KNOCK_OPTIONS.filter(({ own }) => !own);
  for (const name of fwknop.flatMap(({ long, aliases = [] }) => [long, ...aliases])) {
    for (let length = 1; length <= name.length; length++) {
      const args = [`--${name.slice(0, length)}`, "x"];
      assert.deepEqual(parseOptions(KNOCK_OPTIONS, args), parseOptions(fwknop, args), args[0]);
    }
  }
});

Deno.test("knock --help lists every option that is not hidden", async () => {
  const help = (await knock(["--help"])).stdout();
  for (const long of ["destination", "get-hmac-key", "save-args-file", "json", "key-hmac"]) {
    assert.ok(help.includes(`--${long} `), long);
  }
  assert.ok(!help.includes("fault-injection"));
});

Deno.test("knock takes the user's name from the environment, then from the system", async (t) => {
  const files = { "/etc/passwd": "root:x:0:0::/:\ncarol:x:1000:1000::/:\n" };
  const cases: ReadonlyArray<readonly [env: Record<string, string>, name: string]> = [
    [{ SPOOF_USER: "eve", LOGNAME: "alice", USER: "bob" }, "eve"],
    [{ LOGNAME: "alice", USER: "bob" }, "alice"],
    [{ USER: "bob" }, "carol"],
  ];
  for (const [env, name] of cases) {
    await t.step(name, async () => {
      const ran = await knockBare(REQUEST, { env, files });
      assert.equal(open(ran.packets[0]?.payload ?? "").username, name);
    });
  }
  const nobody = await knockBare(REQUEST, { env: {} });
  assert.equal(open(nobody.packets[0]?.payload ?? "").username, "NO_USER");
});

Deno.test("knock is not stopped by a login name that it does not send", async () => {
  const ran = await knockBare([...REQUEST, "-U", "alice"], { env: { LOGNAME: "DOM\\alice" } });
  assert.equal(ran.status, 0);
});

Deno.test("knock warns of -s where somebody can see it", async () => {
  const warning = /WARNING: Should use -a or -R to harden SPA against potential MITM attacks/;
  assert.match((await knockBare([...REQUEST, "-s", "-v"])).stderr(), warning);
  assert.match((await knockBare([...REQUEST, "-s"], { terminals: ["stderr"] })).stderr(), warning);
  assert.equal((await knockBare([...REQUEST, "-s"])).stderr(), "");
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

Deno.test("knock says which words it does not use, and knocks", async () => {
  const ran = await knockBare([...REQUEST, "extra"]);
  assert.equal(ran.status, 0);
  assert.match(ran.stderr(), /^spa: "extra" is not used\nhint: /);
  assert.equal(ran.packets.length, 1);
});

Deno.test("knock takes the spellings of fwknop 1.9 for what they are called today", async (t) => {
  const cases: ReadonlyArray<readonly [old: string, today: string]> = [
    ["--Access tcp/1 --allow-IP 5.6.7.8", "--access tcp/1 --allow-ip 5.6.7.8"],
    ["--Destination 192.0.2.7", "-D 192.0.2.7"],
    ["-D gw.example:7000", "-D gw.example -p 7000"],
    ["-D 192.0.2.7:7000 -p 80", "-D 192.0.2.7 -p 7000"],
    ["--NAT-access 10.0.0.2,443", "-N 10.0.0.2:443"],
    ["--Forward-access 10.0.0.2,443", "-N 10.0.0.2:443"],
    ["--NAT-local", "--nat-local"],
    ["-D gw.example:7000 --NAT-local", "-D gw.example -p 7000 --nat-local"],
    ["--NAT-local --NAT-rand-port", "--nat-local --nat-rand-port"],
    ["--NAT-local --NAT-port 2222", "--nat-local --nat-port 2222"],
    ["--Server-port 80", "-p 80"],
    ["--Server-port 80 --Server-proto tcp", "-p 80 -P tcp"],
    ["--TCP-sock", "-P tcp"],
    ["--rand-port", "-r"],
    ["--time-offset-plus 60sec", "--time-offset-plus 60"],
    ["--time-offset-minus 2min", "--time-offset-minus 120"],
    ["--Spoof-user bob", "-U bob"],
    ["--Spoof-source 9.9.9.9 -P udpraw", "-Q 9.9.9.9 -P udpraw"],
    ["--Source-port 4000", "-S 4000"],
    ["--digest-alg sha1", "-m sha1"],
    ["--Server-cmd id", "-C id"],
    ["--Save-packet-file /p --Save-packet-append", "-B /p -b"],
    ["--Test-mode", "-T"],
    ["--quiet --User-rc /rc", "-q --rc-file /rc"],
    ["--gpg-path /gpg --gpg-recipient x", "--gpg-exe /gpg --gpg-recipient-key x"],
  ];
  const names = { "gw.example": ["192.0.2.7"] };
  const files = { "/rc": "" };
  for (const [old, today] of cases) {
    await t.step(old, async () => {
      const bare = [...KEYS, "--no-save-args", ...REQUEST];
      const [ours, theirs] = [old, today].map((line) => [...bare, ...line.split(" ")]);
      const first = await knock(ours ?? [], { names, files });
      const second = await knock(theirs ?? [], { names, files });
      assert.ok(second.packets.length + second.rawPackets.length === 1 || today.match(/-T|gpg/));
      const seen = ({ status, stderr, stdout, packets, rawPackets, files }: Ran) => ({
        ...{ status, packets, rawPackets, files, stderr: stderr(), stdout: stdout() },
      });
      assert.deepEqual(seen(first), seen(second));
    });
  }
});

Deno.test("knock -k HOST knocks there, as in fwknop 1.9, where it cannot mean keys", async (t) => {
  const request = ["-A", "tcp/22", "-a", "1.2.3.4"];
  const ran = await knockBare([...request, "-k", "192.0.2.7"]);
  assert.equal(ran.status, 0);
  assert.equal(
    ran.stderr(),
    "spa: -k 192.0.2.7 is taken as -D: the gateway, as it was in fwknop 1.9\n",
  );
  assert.equal(ran.packets[0]?.to.address, "192.0.2.7");
  const keys: readonly (readonly string[])[] = [
    ["-k"],
    ["-k", "192.0.2.7"],
    [...request, "-k"],
    [...request, "192.0.2.7", "-k"],
    [...request, "-D", "192.0.2.1", "-k", "192.0.2.7"],
    [...request, "--key-gen", "192.0.2.7"],
    [...request, "-k", "192.0.2.7", "other"],
  ];
  for (const args of keys) {
    await t.step(`but not ${args.join(" ")}`, async () => {
      const ran = await knockBare(args);
      assert.match(ran.stdout(), /^KEY_BASE64: \S+\nHMAC_KEY_BASE64: \S+\n$/);
      assert.deepEqual(ran.packets, []);
    });
  }
});

Deno.test("knock makes raw packets with their own IP header", async (t) => {
  const cases: ReadonlyArray<
    readonly [options: string, protocol: number, headers: number, first: number, second: number]
  > = [
    ["-P udpraw -S 5000 -p 6000", 17, 28, 5000, 6000],
    ["-P tcpraw -S 5000 -p 6000", 6, 40, 5000, 6000],
    ["-P icmp", 1, 28, 0, -1],
    ["-P icmp --icmp-type 8 --icmp-code 0", 1, 28, 0x0800, -1],
    ["-P icmp --icmp-type 3 --icmp-code 7", 1, 28, 0x0307, -1],
  ];
  for (const [options, protocol, headers, first, second] of cases) {
    for (const spoof of [[], ["-Q", "9.8.7.6"]]) {
      await t.step(`${options} ${spoof.join(" ")}`, async () => {
        const ran = await knockBare([...REQUEST, ...options.split(" "), ...spoof, "-v"]);
        assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
        const { packet, destination } = ran.rawPackets[0] ?? { packet: new Uint8Array(0) };
        const view = new DataView(packet.buffer, packet.byteOffset);
        assert.equal(destination, "192.0.2.1");
        assert.equal(packet[9], protocol);
        assert.equal(packet.slice(12, 16).join("."), spoof[1] ?? "192.0.2.99");
        assert.equal(view.getUint16(20), first);
        if (second >= 0) assert.equal(view.getUint16(22), second);
        const payload = new TextDecoder().decode(packet.subarray(headers));
        assert.equal(open(payload).message, "1.2.3.4,tcp/22");
        assert.match(ran.stdout(), new RegExp(`bytes sent: ${packet.length}\\n$`));
      });
    }
  }
});

Deno.test("knock -Q takes a name, and says when it has no address", async () => {
  const names = { "elsewhere.example": ["9.8.7.6"] };
  const spoofed = [...REQUEST, "-P", "udpraw", "-Q"];
  const ran = await knockBare([...spoofed, "elsewhere.example"], { names });
  assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
  assert.equal(ran.rawPackets[0]?.packet.slice(12, 16).join("."), "9.8.7.6");
  const failed = await knockBare([...spoofed, "nowhere.example"], { names });
  assert.deepEqual([failed.status, failed.rawPackets], [1, []]);
  assert.match(failed.stderr(), /cannot find the address of "nowhere\.example"/);
});

Deno.test("knock stamps the packet when the keys are there, not when they are asked for", async () => {
  const memory = memoryHost({ env: ENV, typed: "fwknoptest\nhmactest\n" });
  let now = 1_795_000_000_000;
  const host = new Proxy(memory.host, {
    get: (target, name) => {
      if (name === "now") return () => now;
      if (name !== "openTerminal") return Reflect.get(target, name);
      return () => {
        now += 600_000;
        return target.openTerminal();
      };
    },
  });
  assert.equal(await run(["--no-rc-file", "--no-save-args", ...REQUEST, "--use-hmac"], host), 0);
  assert.equal(open(memory.packets[0]?.payload ?? "").timestamp, 1_795_000_600);
});
