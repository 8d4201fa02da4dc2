// What `spa knock` prints on stdout, next to the real fwknop with the same arguments: the same, but
// for what is drawn at random. And wherever one of them fails, the other does.

import assert from "node:assert/strict";
import type { Finished } from "../lab/process.ts";
import { because, fwknopMissing, inClientHome } from "./client_home.ts";

const KEYS = ["--key-rijndael", "fwknoptest", "--key-hmac", "hmactest"];
const BASE = ["-A", "tcp/22", "-a", "1.2.3.4", "-D", "127.0.0.1", "--no-save-args"];
const BARE = [...BASE, "--no-rc-file"];

const RC = `# comment
[default]
KEY fwknoptest
ALLOW_IP 1.2.3.4
SPA_SERVER_PORT 1234
[one]
SPA_SERVER 127.0.0.1
ACCESS tcp/22,udp/53
HMAC_KEY_BASE64 aG1hY3Rlc3Q=
HMAC_DIGEST_TYPE sha512
FW_TIMEOUT 60
[two]
SPA_SERVER 192.0.2.1
ACCESS tcp/22
NAT_ACCESS 10.0.0.2,55000
TIME_OFFSET -5m
ENCRYPTION_MODE CTR
DIGEST_TYPE md5
SPOOF_USER bob
[raw]
SPA_SERVER 127.0.0.1
SPA_SERVER_PROTO udpraw
SPA_SOURCE_PORT 4321
SPOOF_SOURCE_IP 9.9.9.9
ACCESS tcp/22
RAND_PORT Y
VERBOSE Y
[local]
SPA_SERVER 192.0.2.1
ACCESS tcp/22
NAT_LOCAL Y
NAT_PORT 2222
USE_HMAC Y
HMAC_KEY hmactest
[random]
SPA_SERVER 192.0.2.1
ACCESS tcp/22
NAT_LOCAL Y
NAT_RAND_PORT Y
[web]
SPA_SERVER 192.0.2.1
ACCESS tcp/22
SPA_SERVER_PROTO tcp
SPA_SERVER_PORT 80
SERVER_RESOLVE_IPV4 Y
USE_WGET_USER_AGENT Y
NO_SAVE_ARGS Y
HTTP_USER_AGENT Fwknop/Test
WGET_CMD /opt/wget
[source]
SPA_SERVER 192.0.2.1
ACCESS tcp/22
VERBOSE 2
[agent]
SPA_SERVER 192.0.2.1
ACCESS tcp/22
USE_GPG_AGENT Y
GPG_NO_SIGNING_PW Y
GPG_RECIPIENT nobody@example.org
`;

/** Arguments that both understand; `RC` stands for the file above. */
const SAME: readonly (readonly string[])[] = [
  [...BARE, ...KEYS, "-T"],
  [...BARE, ...KEYS, "-T", "-v"],
  [...BARE, ...KEYS, "-v"],
  [...BARE, ...KEYS, "-Tvf", "0"],
  [...BARE, ...KEYS, "-Tvf90", "-U", "a b", "-m", "sha3_512", "--hmac-dig", "SHA384"],
  [...BARE, ...KEYS, "-T", "-v", "-N", "192.168.10.2:55000", "--fw-time", "60"],
  [...BARE, ...KEYS, "-T", "-v", "--nat-loc"],
  [...BARE, ...KEYS, "-T", "-v", "--nat-local", "--nat-port", "2222"],
  [...BARE, ...KEYS, "-T", "-v", "--nat-local", "--nat-rand-port"],
  [...BARE, ...KEYS, "-T", "-v", "-C", "uptime -p; ls"],
  [...BARE, ...KEYS, "-T", "-v", "-r", "-S", "4321"],
  [...BARE, ...KEYS, "-T", "-v", "-P", "TCP", "-p", "80"],
  [...BARE, ...KEYS, "-T", "-v", "-P", "udpraw", "-Q", "9.9.9.9", "-S", "5"],
  [...BARE, ...KEYS, "-T", "-v", "-P", "icmp"],
  [...BARE, "--key-rijndael", "k", "-T", "-v", "-M", "legacy"],
  [...BARE, "--key-base64-rijndael", "AAECAw==", "-T", "-v", "-M", "ecb", "-s"],
  [...BARE, ...KEYS, "-T", "-v", "--time-offset-plus", "1h", "--time-offset-minus", "2d"],
  ["--rc-file", "RC", "--no-save-args", "-T", "-v", "-n", "one"],
  ["--rc-file", "RC", "--no-save-args", "-T", "-vv", "-n", "TWO"],
  ["--rc-file", "RC", "--no-save-args", "-T", "-n", "one", "-A", "tcp/1", "-a", "5.6.7.8"],
  ...["raw", "local", "random", "web", "source", "agent"].map((name) => [
    ...["--rc-file", "RC", "--no-save-args", "-T", "-v", "-n", name],
  ]),
  ["--rc-file", "RC", "--no-save-args", "-T", "-v", "-n", "agent", "-s"],
  ["--rc-file", "RC", "--stanza-list"],
  ["--key-gen", "--no-rc-file"],
  ["--key-gen", "--no-rc-file", "--key-len", "7", "--hmac-digest-type", "md5"],
];

/** Arguments that both refuse. */
const REFUSED: readonly (readonly string[])[] = [
  ["--no-rc-file"],
  [...BARE, ...KEYS, "--bogus"],
  [...BARE, ...KEYS, "--time-offset", "5"],
  [...BARE, ...KEYS, "-Z"],
  [...BARE, ...KEYS, "-D"],
  [...BARE, ...KEYS, "--nat-local=1"],
  [...BARE, ...KEYS, "-A", "icmp/8", "-T"],
  [...BARE, ...KEYS, "-A", "tcp/0", "-T"],
  [...BARE, ...KEYS, "-A", "tcp/123456", "-T"],
  [...BARE, ...KEYS, "-A", "tcp/22 ", "-T"],
  [...BARE, ...KEYS, "-a", "myhost"],
  [...BARE, ...KEYS, "-p", "65536"],
  [...BARE, ...KEYS, "-U", "a:b", "-T"],
  [...BARE, ...KEYS, "-N", "bad_host:22", "-T"],
  [...BARE, ...KEYS, "-C", "x".repeat(140), "-T"],
  [...BARE, ...KEYS, "-P", "tcp", "-p", "1"],
  [...BARE, ...KEYS, "-M", "legacy"],
  [...BARE, "--key-rijndael", "a".repeat(33), "-T"],
  [...BARE, "--key-rijndael", "a", "--key-hmac", "a", "-T"],
  [...BARE, "--key-rijndael", "a", "--key-hmac", "", "-T"],
  [...BARE, "-G", "/nonexistent"],
  ["--rc-file", "RC", "--no-save-args", "-n", "three", "-T"],
  ["-n", "one", "--no-rc-file"],
  ["--key-gen", "--no-rc-file", "--key-len", "129"],
];

Deno.test({
  name: `spa knock prints what fwknop prints${because(fwknopMissing)}`,
  ignore: fwknopMissing !== null,
  async fn(t) {
    await inHome(async (both) => {
      for (const args of SAME) {
        await t.step(args.join(" "), async () => {
          const [fwknop, spa] = await both(args);
          assert.equal(spa.status, fwknop.status, spa.stderr);
          assert.equal(normalized(spa.stdout), normalized(fwknop.stdout));
        });
      }
    });
  },
});

Deno.test({
  name: `spa knock fails where fwknop fails${because(fwknopMissing)}`,
  ignore: fwknopMissing !== null,
  async fn(t) {
    await inHome(async (both) => {
      for (const args of REFUSED) {
        await t.step(args.join(" "), async () => {
          const [fwknop, spa] = await both(args);
          assert.notEqual(fwknop.status, 0);
          assert.notEqual(spa.status, 0);
          assert.match(spa.stderr, /^spa: \S/);
        });
      }
    });
  },
});

type RunBoth = (args: readonly string[]) => Promise<[fwknop: Finished, spa: Finished]>;

/** Gives the programs a home directory of their own, with the rc file in it. */
function inHome(test: (both: RunBoth) => Promise<void>): Promise<void> {
  return inClientHome(async ({ path, run }) => {
    const rcFile = `${path}/rc`;
    await Deno.writeTextFile(rcFile, RC, { mode: 0o600 });
    await test(async (args) => {
      const words = args.map((word) => word === "RC" ? rcFile : word);
      return [await run("fwknop", words), await run("spa", words)];
    });
  });
}

/** Replaces what is drawn at random, and takes out the hexadecimal dump that only spa has. */
function normalized(text: string): string {
  return text
    .replace(/^[0-9a-f]{4} {2}([0-9a-f]{2} )+.*\n/gm, "")
    .replace(/(?<=Message String: 1.2.3.4,tcp\/)[1-6]\d{4}/g, "<port>")
    .replace(/(?<=:5:)MS4yLjMuNCx0Y3Av[MNO]\w{6}(?=:)/g, "<message>")
    .replace(/(source port: )(?!4321)[1-6]\d{4}/g, "$1<port>")
    .replace(/(Random Value: )\d{16}/g, "$1<random>")
    .replace(/(Timestamp: )\d{10}/g, "$1<time>")
    .replace(/(Encoded Data: )\d{16}:([^:]*):\d{10}/g, "$1<random>:$2:<time>")
    .replace(
      /((?:Digest|HMAC|Data): )([A-Za-z0-9+/]{22,})(?=\n)/g,
      (_, label, data) => `${label}<${data.length}>`,
    )
    .replace(/(KEY_BASE64: )(\S+)/g, (_, label, data) => `${label}<${data.length}>`)
    .replace(/(Randomly assigned port )'\d+'/, "$1<port>")
    .replace(/(tcp\/)\d+(?=' will grant)/, "$1<port>")
    .replace(/(destination port: )(?!62201|80\b|1234)\d+/, "$1<port>");
}
