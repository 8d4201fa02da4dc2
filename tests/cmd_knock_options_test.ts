// Words on the command line of `spa knock`: which are refused, unused, abbreviated or of old.

import assert from "node:assert/strict";
import { parseOptions } from "../lib/cmd_getopt.ts";
import { KNOCK_OPTIONS } from "../lib/cmd_knock_options.ts";
import { KEYS, knock, knockBare, type Ran, REQUEST } from "./knock_run.ts";

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
