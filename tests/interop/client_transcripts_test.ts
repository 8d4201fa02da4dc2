// What programs that watch fwknop look for in its output. Each row is tried on the real fwknop,
// which proves the row, and on `spa knock`: a line of the same stream, and the same exit status.

import assert from "node:assert/strict";
import { because, type ClientRun, fwknopMissing, inClientHome } from "./client_home.ts";

/** One run of both programs. */
interface Transcript extends ClientRun {
  /** Split at blanks; HOME and URL stand for the home directory and a web service. */
  readonly args: string;
  readonly status: 0 | 1;
  /** What each program prints there has a line for each of these. */
  readonly stdout?: readonly RegExp[];
  readonly stderr?: readonly RegExp[];
  /** Texts of files in the home directory, mode 0600, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** What the named file in the home directory is afterwards. */
  readonly leaves?: Readonly<Record<string, RegExp>>;
}

const KEYS = "--key-rijndael fwknoptest --key-hmac hmactest";
const GW = "-D 127.0.0.1";
const ASK = `-A tcp/22 -a 1.2.3.4 ${GW}`;
const BARE = "--no-rc-file --no-save-args";
const ALL = `${ASK} ${BARE} ${KEYS}`;
/** Without destination and address, which a test does not need. */
const RC = "--rc-file HOME/rc --no-save-args -T";
const TESTED = /^test mode enabled, SPA packet not actually sent\.$/;

/** The command line in itself. */
const USAGE: readonly Transcript[] = [
  { args: `-A tcp/22 -a 1.2.3.4 ${BARE} ${KEYS}`, status: 1, stderr: [/Must use.*destination/] },
  { args: `-A tcp/22 ${GW} ${BARE} ${KEYS}`, status: 1, stderr: [/must use one of/i] },
  { args: `-a 1.2.3.4 ${GW} ${BARE} ${KEYS}`, status: 1, stderr: [/Invalid SPA access message/] },
  { args: `${ALL} -A http/80`, status: 1, stderr: [/Invalid SPA access message/] },
  { args: `${ALL} -A icmp/8`, status: 1, stderr: [/Invalid SPA access message/] },
  { args: `${ALL} -A tcp -N 10.0.0.2 --nat-port 3`, status: 1, stderr: [/Expecting.*A arg\./] },
  { args: `${ALL} -A tcp/99999 -N 10.0.0.2 --nat-port 3`, status: 1, stderr: [/Invalid port/] },
  { args: `${ALL} -a myhost`, status: 1, stderr: [/Invalid allow IP/] },
  { args: `${ALL} -p 99999`, status: 1, stderr: [/Value 99999 out of range \[\(0\)-\(65535\)\]/] },
  { args: `${ALL} --fd -1`, status: 1, stderr: [/Value -1 out of range/] },
  { args: `${ALL} -f 200000`, status: 1, stderr: [/timeout must be within/] },
  { args: `${ALL} -m sha999`, status: 1, stderr: [/Invalid digest type: sha999/] },
  { args: `${ALL} --hmac-digest-type md4`, status: 1, stderr: [/Invalid hmac digest type: md4/] },
  { args: `${ALL} -M PCBC`, status: 1, stderr: [/Invalid encryption mode: PCBC/] },
  { args: `${ALL} -P quic`, status: 1, stderr: [/Unrecognized protocol: quic/] },
  { args: `${ALL} --time-offset-plus soon`, status: 1, stderr: [/Invalid time offset: 'soon'/] },
  { args: `${ALL} --time-offset-plus 99999999999999999`, status: 1, stderr: [/Invalid time offs/] },
  { args: `${ALL} -Q 9.9.9.9`, status: 1, stderr: [/Must set -P <udpraw\|tcpraw\|icmp>/] },
  { args: `${ALL} -P udpraw -Q .168.10.1`, status: 1, stderr: [/Invalid spoof IP/] },
  {
    args: `${ALL} -H proxy:8080 -P udp`,
    status: 1,
    stderr: [/Cannot set --http-proxy with a non-/],
  },
  { args: `${ALL} -H proxy:99999`, status: 1, stderr: [/port.*invalid/, /packet not sent/] },
  {
    args: `${ALL} -P icmp --icmp-type 41`,
    status: 1,
    stderr: [/Invalid icmp type '41', must be in/],
  },
  {
    args: `${ALL} -P icmp --icmp-code 16`,
    status: 1,
    stderr: [/Invalid icmp code '16', must be in/],
  },
  { args: `${ALL} -U DOM\\bob`, status: 1, stderr: [/Error 91 - Args contain invalid data: /] },
  { args: `${ALL} -C ${"x".repeat(256)}`, status: 1, stderr: [/Error 94 - Value or Size of/] },
  { args: `-C id -R ${GW} ${BARE} ${KEYS}`, status: 1, stderr: [/Invalid SPA command message fo/] },
  { args: `-n b ${BARE}`, status: 1, stderr: [/Cannot set stanza name in --no-rc-file mode\./] },
  { args: `--save-rc-stanza ${BARE}`, status: 1, stderr: [/Cannot save an rc stanza in --no-rc/] },
  {
    args: `--stanza-list ${BARE}`,
    status: 1,
    stderr: [/Cannot list stanzas in --no-rc-file mode/],
  },
  { args: `${ALL} --bogus`, status: 1, stderr: [/unrecognized option '--bogus'/] },
  {
    args: `${ALL} --time-offset 5`,
    status: 1,
    stderr: [/option '--time-offset' is ambiguous; poss/],
  },
  { args: `${ALL} -Z`, status: 1, stderr: [/invalid option -- 'Z'/] },
  { args: `${ALL} -D`, status: 1, stderr: [/option requires an argument -- 'D'/] },
];

/** NAT, and where packets go. */
const SENDING: readonly Transcript[] = [
  { args: `${ALL} -N 10.0.0.2:99999`, status: 1, stderr: [/Invalid port value in -N arg\./] },
  {
    args: `${ALL} -N .168.10.1`,
    status: 1,
    stderr: [/Invalid NAT destination '\.168\.10\.1' for/],
  },
  {
    args: `${ALL} -A tcp/1,udp/2 -N 10.0.0.2 --nat-port 3`,
    status: 1,
    stderr: [/NAT for multiple ports\/protocols not yet supported\./],
  },
  { args: `${ALL} -T -v`, status: 0, stdout: [/^ {12}protocol: udp$/, TESTED] },
  { args: `${ALL} -T -v -P tcp -p 22`, status: 0, stdout: [/protocol: tcp$/, /tion port: 22$/] },
  {
    args: `${ALL} -T -v -P tcpraw -S 22`,
    status: 0,
    stdout: [/protocol: tcpraw$/, /rce port: 22$/],
  },
  {
    args: `${ALL} -T -v -P http -p 65421 -u Fwknop/Test`,
    status: 0,
    stdout: [
      ...[/protocol: http$/, /destination port: 65421$/, /^GET \/[\w-]{204} HTTP\/1\.[01]$/],
      ...[/^User-Agent: Fwknop\/Test$/, /^Accept: \*\/\*$/, /^Host: 127\.0\.0\.1$/],
      ...[/^Connection: close$/, /^Test mode enabled, SPA packet not actually sent\.$/],
    ],
  },
  {
    args: `${ALL} -T -v -D spa.example -H http://proxy.example:3128/`,
    status: 0,
    stdout: [
      /^ +IP\/host: spa\.example$/,
      /^GET http:\/\/spa\.example\/\S/,
      /^Host: proxy\.example$/,
    ],
  },
  { args: `${ALL} -v`, status: 0, stdout: [/^send_spa_packet: bytes sent: 204$/] },
  {
    args: `${ALL} -v -s`,
    status: 0,
    stderr: [/^\S*.*\[-\] WARNING: Should use -a or -R to harden/],
  },
  {
    args: `${ALL} -D no.such.host.invalid`,
    status: 1,
    stderr: [/in getaddrinfo/, /packet not sent/],
  },
  { args: `${ALL} -P tcp -p 1`, status: 1, stderr: [/Connection refused/i, /packet not sent/] },
  { args: `${ALL} -B HOME/packet -T`, status: 0, leaves: { packet: /^[\w+/]{204}\n$/ } },
];

/** Keys and GnuPG. */
const SECRETS: readonly Transcript[] = [
  {
    args: `--key-gen ${BARE}`,
    status: 0,
    stdout: [/^KEY_BASE64:? \S{10}/, /^HMAC_KEY_BASE64:? \S/],
  },
  {
    args: `-K HOME/keys ${BARE}`,
    status: 0,
    stdout: [/Wrote.*HMAC.*keys to: /],
    leaves: { keys: /^KEY_BASE64: \S{44}\nHMAC_KEY_BASE64: \S{88}\n$/ },
  },
  {
    args: `--key-gen --key-len 0 ${BARE}`,
    status: 1,
    stderr: [/Invalid key length '0', must be i/],
  },
  {
    args: `--key-gen --hmac-key-len 0 ${BARE}`,
    status: 1,
    stderr: [/Invalid hmac key length '0'/],
  },
  {
    args: `${ASK} ${BARE} -T --key-rijndael ${"a".repeat(33)}`,
    status: 1,
    stderr: [/Invalid key len/],
  },
  {
    args: `${ASK} ${BARE} -T --key-rijndael same --key-hmac same`,
    status: 1,
    stderr: [/The encryption passphrase and HMAC key should not be identical, no SPA packet sent/],
  },
  {
    args: `${ASK} ${BARE} -T --key-base64-rijndael w^K`,
    status: 1,
    stderr: [/look like base64-enco/],
  },
  {
    args: `${ASK} ${BARE} -T --key-base64-hmac w^K`,
    status: 1,
    stderr: [/look like base64-encoded/],
  },
  {
    args: `${ASK} ${BARE} -T --key-rijndael k --key-base64-hmac ${"A".repeat(174)}`,
    status: 1,
    stderr: [/Invalid decoded key length: '130'/],
  },
  { args: `${ASK} ${BARE} -T -G HOME/none`, status: 1, stderr: [/Could not open config file: /] },
  {
    args: `${ASK} ${BARE} -T -G HOME/keys`,
    status: 1,
    stderr: [/Could not get key for IP: 127\.0\.0\.1 from: /],
    files: { keys: "127.0.0.2: key\n" },
  },
  {
    args: `${ASK} ${BARE} -T -G HOME/keys --get-hmac-key HOME/hmac -v`,
    status: 0,
    stdout: [/^ {6}HMAC Type: 3 \(SHA256\)$/, TESTED],
    files: { keys: "# mine\n127.0.0.1: one\n127.0.0.1: two\n", hmac: "127.0.0.1:three" },
  },
  { args: `${ASK} ${BARE} -T`, status: 1, stderr: [/getpasswd\(\) key error/] },
  { args: `${ASK} ${BARE} -T --fd 99`, status: 1, stderr: [/Bad file descriptor/] },
  // Programs test for a dump here; only when really sending does spa knock refuse an empty key.
  { args: `${ASK} ${BARE} -T --stdin`, status: 0, stdout: [/Final SPA Data: \S/], input: "" },
  { args: `${ASK} ${BARE} -T --fd 0`, status: 0, stdout: [/Final SPA Data: \S/], input: "k\x03" },
  {
    args: `${ALL} -M legacy`,
    status: 1,
    stderr: [/Legacy encryption mode is incompatible with HM/],
  },
  {
    args: `${ASK} ${BARE} -M legacy --key-rijndael 12345678901234567890`,
    status: 0,
    stderr: [
      /WARNING: Encryption key in '-M legacy' mode must be <= 16/,
      /^fwknopd is recommended\.$/,
    ],
  },
  { args: `${ALL} -g`, status: 1, stderr: [/Must specify --gpg-recipient-key when GPG is used\./] },
  { args: `${ALL} -M Asymmetric`, status: 1, stderr: [/Must specify GPG recipient\/signing keys/] },
  {
    args: `${ALL} --gpg-recipient-key x --gpg-exe HOME/none`,
    status: 1,
    stderr: [/Error 134 - Unable to stat the given GPG executable/],
  },
  {
    args: `${ALL} --gpg-recipient-key x --gpg-home-dir HOME/none`,
    status: 1,
    stderr: [/Error 135 - Unable to stat the given GPG home directory/],
  },
  {
    args: `${ALL} --gpg-recipient-key nobody@example.org`,
    status: 1,
    stderr: [/Error 130 - The key for the given recipient was not found/],
  },
];

/** The address that the outside sees. */
const RESOLVING: readonly Transcript[] = [
  {
    args: `-A tcp/22 ${GW} ${BARE} ${KEYS} -v -T --resolve-http-only --resolve-url URL/ip`,
    status: 0,
    stdout: [
      /^\[\+\] Resolved external IP \(via .*\) as: 203\.0\.113\.7$/,
      /203\.0\.113\.7,tcp\/22$/,
    ],
  },
  {
    args: `-A tcp/22 ${GW} ${BARE} ${KEYS} -T -R -w false`,
    status: 1,
    stderr: [/Could not resolve IP via: 'false -U .*--secure-protocol=auto --quiet -O - https:/],
  },
  {
    args: `-A tcp/22 ${GW} ${BARE} ${KEYS} -T -R -w false --resolve-url http://127.0.0.1`,
    status: 1,
    stderr: [/Warning.*IP resolution URL 'http:\/\/127\.0\.0\.1' should begin with/],
  },
  {
    args: `-A tcp/22 ${GW} ${BARE} ${KEYS} -T --resolve-http-only --resolve-url https://127.0.0.1/`,
    status: 1,
    stderr: [/https is not supported for --resolve-http-only\./],
  },
  {
    args: `-A tcp/22 ${GW} ${BARE} ${KEYS} -T -R --resolve-url https://127.0.0.1:99999/`,
    status: 1,
    stderr: [
      /resolve-url port value is invalid, must be in \[1-65535\]/,
      /Error parsing resolve-url/,
    ],
  },
];

const ONE = "[default]\nKEY k\nALLOW_IP 1.2.3.4\nACCESS tcp/22\n[one]\nFW_TIMEOUT 60\n";

/** The rc file. */
const FILES: readonly Transcript[] = [
  {
    args: `--no-save-args ${GW} -A tcp/22 -s -T ${KEYS}`,
    status: 0,
    leaves: { ".fwknoprc": /This file contains[^]*^\[default\]$/m },
  },
  { args: `--no-home-dir -T ${ASK}`, status: 1, stderr: [/must set --rc-file path/] },
  { args: `-T ${ASK}`, status: 1, stderr: [/Unable to determine HOME/], env: { HOME: undefined } },
  { args: `${RC} -n one -v`, status: 0, stdout: [/^ Client Timeout: 60$/], files: { rc: ONE } },
  { args: `${RC} -n ONE`, status: 0, stdout: [/^ Client Timeout: 60$/], files: { rc: ONE } },
  {
    args: `${RC} -n two`,
    status: 1,
    stderr: [/Named configuration stanza: \[two\] was not found\./],
    files: { rc: ONE },
  },
  {
    args: "--rc-file HOME/rc --stanza-list",
    status: 0,
    stdout: [/^The following stanzas are configured in .*rc :$/, /^ - one$/, /^ - stanza_2$/],
    files: { rc: `${ONE}[stanza_2]\nKEY x\n` },
  },
  {
    args: "--rc-file HOME/none --stanza-list",
    status: 1,
    stderr: [/Unable to open rc file: .*none: No such file or directory/],
  },
  {
    args: RC,
    status: 1,
    stderr: [/Invalid entry in 'DIGEST_TYPE/],
    files: { rc: `${ONE.split("[one]")[0]}DIGEST_TYPE  # none\n` },
  },
  {
    args: RC,
    status: 1,
    stderr: [
      /Parameter error in .*rc, line 2: var=BADVAR, val=/,
      /Parameter error in .*rc, line 3: var=DIGEST_TYPE, val=sha999/,
    ],
    files: { rc: "[default]\nBADVAR testtest\nDIGEST_TYPE sha999\n" },
  },
  {
    args: RC,
    status: 1,
    stderr: [
      /HMAC_DIGEST_TYPE argument 'invalid' must be one of \{md5,.*sha3_512\}/,
      /Parameter er/,
    ],
    files: { rc: "[default]\nHMAC_DIGEST_TYPE invalid\n" },
  },
  {
    args: RC,
    status: 1,
    stderr: [/HMAC_KEY_BASE64 argument .*doesn't look like base64-encoded data/, /Parameter error/],
    files: { rc: "[default]\nHMAC_KEY_BASE64 aaa%aaaa\n" },
  },
  { args: "--rc-file /dev/null --no-save-args -T", status: 1, stderr: [/\/dev\/null/] },
  {
    args: `--rc-file HOME/rc --no-save-args -T ${ASK} -n new -m sha1 --save-rc-stanza -vv ` +
      "--key-rijndael k",
    status: 0,
    stdout: [
      ...[
        /Inserting new new stanza/,
        /Updating param \(0\) DIGEST_TYPE to SHA1/,
        /\(5\) ALLOW_IP to/,
      ],
    ],
    leaves: { rc: /\[new\]\nDIGEST_TYPE {17}SHA1\nALLOW_IP {20}1\.2\.3\.4\nACCESS {22}tcp\/22\n/ },
  },
  {
    args: `--rc-file HOME/rc --no-save-args ${ASK} --key-gen --save-rc-stanza`,
    status: 0,
    stdout: [/Wrote.*HMAC.*keys to rc file: /],
    leaves: { rc: /^KEY_BASE64 {18}\S{44}\nHMAC_KEY_BASE64 {13}\S{88}$/m },
  },
];

/** The last command line. */
const HISTORY: readonly Transcript[] = [
  {
    args: "--show-last --no-rc-file",
    status: 1,
    stderr: [/Could not open args file: .*fwknop\.run/],
  },
  {
    args: "--show-last --no-rc-file",
    status: 0,
    stdout: [/^Last fwknop client command line: fwknop -T -D 127\.0\.0\.1 ?$/],
    files: { ".fwknop.run": "fwknop -T -D 127.0.0.1 \n" },
  },
  {
    args: "-l -v --no-rc-file -E HOME/run",
    status: 0,
    stdout: [/^Executing: fwknop -T /, TESTED],
    files: { run: `fwknop -T ${ASK} --no-rc-file -E /dev/null --key-rijndael k \n` },
  },
  {
    args: "-l --no-rc-file -E HOME/run",
    status: 1,
    files: { run: `fwknop ${"-T ".repeat(29)}\n` },
  },
  {
    args: `-T ${ASK} --no-rc-file --key-rijndael k -E HOME/run -B ${"x".repeat(1023)}`,
    status: 1,
    stderr: [/argument string too long, exiting\./],
  },
  {
    args: `-T ${ASK} --no-rc-file -E HOME/run --stdin`,
    status: 0,
    input: "k\n",
    leaves: { run: /^fwknop -T -A tcp\/22 -a 1\.2\.3\.4 -D 127\.0\.0\.1 .* --stdin \n$/ },
  },
  {
    args: `-T ${ASK} --no-rc-file --key-rijndael k`,
    status: 1,
    stderr: [/Unable to determine args save file/],
    env: { HOME: undefined },
  },
  {
    args: `-T ${ASK} --no-rc-file --no-home-dir --key-rijndael k`,
    status: 1,
    stderr: [/In --no-home-dir mode must set the args save file path with -E/],
  },
];

const TABLES = { USAGE, SENDING, SECRETS, RESOLVING, FILES, HISTORY };

for (const [name, rows] of Object.entries(TABLES)) {
  Deno.test({
    name: `fwknop and spa knock say alike: ${name.toLowerCase()}${because(fwknopMissing)}`,
    ignore: fwknopMissing !== null,
    async fn(t) {
      const service = name === "RESOLVING" ? serveAddress() : null;
      try {
        for (const row of rows) {
          await t.step(row.args.slice(0, 120), async () => {
            for (const client of ["fwknop", "spa"] as const) await tryOn(client, row, service?.url);
          });
        }
      } finally {
        await service?.server.shutdown();
      }
    },
  });
}

async function tryOn(client: "fwknop" | "spa", row: Transcript, url = ""): Promise<void> {
  await inClientHome(async ({ path, run }) => {
    for (const [name, text] of Object.entries(row.files ?? {})) {
      await Deno.writeTextFile(`${path}/${name}`, text, { mode: 0o600 });
    }
    const args = row.args.replaceAll("HOME", path).replaceAll("URL", url).split(" ");
    const ran = await run(client, args, row);
    for (const stream of ["stdout", "stderr"] as const) {
      const lines = ran[stream].split(/\r?\n/);
      for (const pattern of row[stream] ?? []) {
        const found = lines.some((line) => pattern.test(line));
        assert.ok(found, `${client} has no ${pattern} on ${stream}:\n${ran.stdout}${ran.stderr}`);
      }
    }
    assert.equal(ran.status, row.status, `${client}: ${ran.stdout}${ran.stderr}`);
    for (const [name, pattern] of Object.entries(row.leaves ?? {})) {
      assert.match(await Deno.readTextFile(`${path}/${name}`), pattern, client);
    }
  });
}

/** A web service on a port of four digits, since fwknop cuts longer ones. */
function serveAddress(): { readonly server: Deno.HttpServer; readonly url: string } {
  for (let port = 8100; port < 9000; port++) {
    try {
      const answer = (): Response => new Response("203.0.113.7\n");
      const server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, answer);
      return { server, url: `http://127.0.0.1:${port}` };
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("no port from 8100 to 8999 is free");
}
