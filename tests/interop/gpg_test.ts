// GnuPG between the real fwknop and fwknopd and ours: signed and unsigned, with and without
// passphrases; who is let in by one server is let in by the other.

import { doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { GPG_KEYS, type GpgHome, gpgMissing, openGpgHome } from "../gpg_home.ts";
import { savedRules, writeGatewayFiles } from "../lab/gateway.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  openLab,
  spaCommand,
} from "../lab/lab.ts";
import { run } from "../lab/process.ts";

const fwknopMissing = hasProgram("fwknop") && hasProgram("fwknopd")
  ? null
  : "needs fwknop-client and fwknop-server";
const missing = labMissing() ?? gpgMissing ?? fwknopMissing;
const note = missing === null ? "" : ` (${missing})`;

const HMAC_KEY = "tag-of-gpg-packets";
const SIGNED = [`GPG_FINGERPRINT_ID ${GPG_KEYS.clientOne}`, "GPG_REMOTE_ID F05BB368"];

/** How a packet is made, the stanza for it, and whether it opens. */
interface Case {
  readonly name: string;
  /** Lines of .fwknoprc. */
  readonly client: readonly string[];
  /** Lines of access.conf. */
  readonly server: readonly string[];
  /** What the gateway's log says at last; null where it opens. */
  readonly refusal: RegExp | null;
}

const CASES: readonly Case[] = [
  {
    name: "signed, no passphrases",
    client: ["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER client1@spa.test"],
    server: ["GPG_ALLOW_NO_PW Y", ...SIGNED],
    refusal: null,
  },
  {
    name: "signed, with HMAC",
    client: [
      ...["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER client1@spa.test"],
      ...[`HMAC_KEY ${HMAC_KEY}`, "HMAC_DIGEST_TYPE sha512"],
    ],
    server: ["GPG_ALLOW_NO_PW Y", ...SIGNED, `HMAC_KEY ${HMAC_KEY}`, "HMAC_DIGEST_TYPE sha512"],
    refusal: null,
  },
  {
    name: "the server's key has a passphrase",
    client: ["GPG_RECIPIENT server2@spa.test", "GPG_SIGNER client1@spa.test"],
    server: ["GPG_DECRYPT_PW server-two-pass", ...SIGNED],
    refusal: null,
  },
  {
    name: "both keys have passphrases",
    client: [
      ...["GPG_RECIPIENT server2@spa.test", "GPG_SIGNER client2@spa.test"],
      ...[`GPG_SIGNING_PW_BASE64 ${btoa("client two passphrase")}`, `HMAC_KEY ${HMAC_KEY}`],
    ],
    server: [
      ...["GPG_DECRYPT_PW server-two-pass", `GPG_FINGERPRINT_ID ${GPG_KEYS.clientTwo}`],
      `HMAC_KEY ${HMAC_KEY}`,
    ],
    refusal: null,
  },
  {
    name: "signed with Ed25519",
    client: ["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER curve1@spa.test"],
    server: ["GPG_ALLOW_NO_PW Y", `GPG_FINGERPRINT_ID ${GPG_KEYS.curve}`],
    refusal: null,
  },
  {
    name: "unsigned, where that is allowed",
    client: ["GPG_RECIPIENT server1@spa.test", `HMAC_KEY ${HMAC_KEY}`],
    server: ["GPG_ALLOW_NO_PW Y", "GPG_DISABLE_SIG Y", `HMAC_KEY ${HMAC_KEY}`],
    refusal: null,
  },
  {
    name: "unsigned, where a signature is required",
    client: ["GPG_RECIPIENT server1@spa.test"],
    server: ["GPG_ALLOW_NO_PW Y", ...SIGNED],
    refusal: /Error creating fko context: Missing GPG signature/,
  },
  {
    name: "a signer who is not listed",
    client: ["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER curve1@spa.test"],
    server: ["GPG_ALLOW_NO_PW Y", ...SIGNED],
    refusal: /but that fingerprint is not in the GPG_FINGERPRINT_ID list\./,
  },
  {
    name: "another HMAC key",
    client: [
      ...["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER client1@spa.test"],
      "HMAC_KEY another-hmac-key",
    ],
    server: ["GPG_ALLOW_NO_PW Y", ...SIGNED, `HMAC_KEY ${HMAC_KEY}`],
    refusal: /Error creating fko context \(before decryption\): .*HMAC_COMPAREFAIL/,
  },
];

const PAIRS = [
  { name: "fwknop knocks at spa serve", client: ["fwknop"], server: spaCommand("serve") },
  { name: "spa knock knocks at fwknopd", client: spaCommand("knock"), server: ["fwknopd"] },
  {
    name: "spa knock knocks at spa serve",
    client: spaCommand("knock"),
    server: spaCommand("serve"),
  },
] as const;

async function withLab(use: (lab: Lab, home: GpgHome) => Promise<void>): Promise<void> {
  const trusted = [GPG_KEYS.clientOne, GPG_KEYS.clientTwo, GPG_KEYS.curve];
  const home = await openGpgHome("all keys", trusted);
  try {
    const lab = await openLab();
    try {
      await use(lab, home);
    } finally {
      await lab.close();
    }
  } finally {
    await home.close();
  }
}

async function writeRcFile(lab: Lab, home: GpgHome, lines: readonly string[]): Promise<string> {
  const path = await Deno.makeTempFile({ dir: lab.directory });
  const text = [
    ...["[default]", "[gpg]", "USE_GPG Y", `GPG_HOMEDIR ${home.path}`],
    ...[`SPA_SERVER ${ADDRESSES.gateway}`, `ALLOW_IP ${ADDRESSES.client}`],
    ...lines,
    ...(lines.some((line) => line.startsWith("GPG_SIGNING_PW")) ? [] : ["GPG_NO_SIGNING_PW Y"]),
    "",
  ];
  await Deno.writeTextFile(path, text.join("\n"), { mode: 0o600 });
  return path;
}

function accessText(home: GpgHome, lines: readonly string[]): string {
  return ["SOURCE ANY", "REQUIRE_SOURCE Y", `GPG_HOME_DIR ${home.path}`, ...lines, ""].join("\n");
}

for (const { name, client, server } of PAIRS) {
  Deno.test({
    name: `${name} with GnuPG, signed and unsigned, with and without passphrases${note}`,
    ignore: missing !== null,
    fn: (context) =>
      withLab(async (lab, home) => {
        for (const [index, { name, client: rcLines, server: access, refusal }] of CASES.entries()) {
          await context.step(name, async () => {
            await home.forget();
            const config = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
            const files = await writeGatewayFiles(
              lab.directory,
              config,
              accessText(home, access),
            );
            const gateway = lab.gateway.start([...server, "-f", ...files.options]);
            await gateway.waitFor(/Starting fwknopd main event loop/);
            const rcFile = await writeRcFile(lab, home, rcLines);
            const knock = await lab.client.run([
              ...[...client, "--rc-file", rcFile, "--no-save-args", "-n", "gpg"],
              ...["-A", `tcp/${1000 + index}`],
            ]);
            strictEqual(knock.status, 0, knock.stderr);
            await gateway.waitFor(
              refusal ?? new RegExp(`Added access rule .* tcp/${1000 + index}, expires`),
            );
            const rules = await savedRules(lab.gateway);
            strictEqual(rules.includes(`--dport ${1000 + index} `), refusal === null);
            strictEqual(await gateway.stop(), 0);
          });
        }
      }),
  });
}

Deno.test({
  name: `a GPG packet that comes again is refused, also while the first waits for gpg${note}`,
  ignore: missing !== null,
  fn: () =>
    withLab(async (lab, home) => {
      const files = await writeGatewayFiles(
        lab.directory,
        `PCAP_INTF ${GATEWAY_INTERFACE}\n`,
        accessText(home, ["GPG_ALLOW_NO_PW Y", ...SIGNED]),
      );
      const gateway = lab.gateway.start([...spaCommand("serve"), "-f", ...files.options]);
      await gateway.waitFor(/Starting fwknopd main event loop/);
      const rcFile = await writeRcFile(lab, home, [
        ...["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER client1@spa.test"],
      ]);
      const packet = `${lab.directory}/packet`;
      const made = await lab.client.run([
        ...["fwknop", "--rc-file", rcFile, "--no-save-args", "-n", "gpg", "-A", "tcp/22"],
        ...["-T", "-B", packet],
      ]);
      strictEqual(made.status, 0, made.stderr);
      const wire = (await Deno.readTextFile(packet)).trim();
      const tool = new URL("../lab/send_udp.ts", import.meta.url).pathname;
      const sent = await lab.client.run([
        ...[Deno.execPath(), "run", "--quiet", "--allow-all", "--unstable-net", tool],
        ...[ADDRESSES.gateway, "62201", wire, wire, wire],
      ]);
      strictEqual(sent.status, 0, sent.stderr);
      await gateway.waitFor(/(?:Replay detected[^]*){2}/);
      await gateway.waitFor(/Added access rule/);
      strictEqual(gateway.output().match(/Added access rule/g)?.length, 1);
      await gateway.stop();
    }),
});

Deno.test({
  name: `a gateway that ends after its last packet waits for gpg first${note}`,
  ignore: missing !== null,
  fn: () =>
    withLab(async (lab, home) => {
      const files = await writeGatewayFiles(
        lab.directory,
        `PCAP_INTF ${GATEWAY_INTERFACE}\n`,
        accessText(home, ["GPG_ALLOW_NO_PW Y", ...SIGNED]),
      );
      const gateway = lab.gateway.start([
        ...[...spaCommand("serve"), "-f", "-C", "1", ...files.options],
      ]);
      await gateway.waitFor(/Starting fwknopd main event loop/);
      const rcFile = await writeRcFile(lab, home, [
        ...["GPG_RECIPIENT server1@spa.test", "GPG_SIGNER client1@spa.test"],
      ]);
      const knock = await lab.client.run([
        ...[...spaCommand("knock"), "--rc-file", rcFile, "--no-save-args", "-n", "gpg"],
        ...["-A", "tcp/22"],
      ]);
      strictEqual(knock.status, 0, knock.stderr);
      strictEqual(await gateway.ended, 0);
      match(gateway.output(), /limit of 1 reached[^]*Added access rule .* tcp\/22, expires/);
    }),
});

const clientMissing = gpgMissing ?? (hasProgram("fwknop") ? null : "needs fwknop-client");

Deno.test({
  name: `spa knock -T with GnuPG prints what fwknop -T prints${
    clientMissing === null ? "" : ` (${clientMissing})`
  }`,
  ignore: clientMissing !== null,
  fn: async (context) => {
    const home = await openGpgHome("all keys", [GPG_KEYS.clientOne, GPG_KEYS.curve]);
    const keys = (recipient: string, signer: string | null): string[] => [
      ...["--gpg-recipient-key", `${recipient}@spa.test`],
      ...(signer === null ? [] : ["--gpg-signer-key", `${signer}@spa.test`]),
    ];
    const noPassphrase = "--gpg-no-signing-pw";
    const cases: readonly (readonly string[])[] = [
      [...keys("server1", "client1"), noPassphrase],
      [...keys("server1", "client1"), noPassphrase, "-v", "--key-hmac", HMAC_KEY],
      [...keys("server1", "curve1"), noPassphrase, "-v", "-m", "sha512"],
      [...keys("server1", "client1"), "--gpg-agent"],
      [...keys("server2", "client1"), "--key-rijndael", "server-two-pass", "-v"],
      keys("server1", null),
    ];
    const refused: readonly (readonly [options: readonly string[], words: RegExp])[] = [
      [keys("nobody", null), /Error 130 - The key for the given recipient was not found/],
      [["--gpg-recipient-key", "spa.test"], /Error 131 - Ambiguous name\/id for the recipient key/],
      [keys("server1", "nobody"), /Error 125 - The key for the given signer was not found/],
      [
        [...keys("server1", null), "--gpg-signer-key", "spa.test"],
        /Error 126 - Ambiguous name\/id for the signer key/,
      ],
      [
        [...keys("server1", null), "--gpg-exe", "/nonexistent"],
        /Error 134 - Unable to stat the given GPG executable/,
      ],
      [
        [...keys("server1", null), "--gpg-home-dir", "/nonexistent"],
        /Error 135 - Unable to stat the given GPG home directory/,
      ],
      [
        [...keys("server1", "client2"), "--key-rijndael", "wrong"],
        /Error 122 - Error during the encrypt and sign operation/,
      ],
    ];
    try {
      const both = async (options: readonly string[]) => {
        const all = [
          ...["--no-rc-file", "--no-save-args", "-A", "tcp/22", "-a", "192.0.2.10", "-T"],
          ...["-D", "127.0.0.1", "-U", "tester", "--gpg-home-dir", home.path, ...options],
        ];
        await home.forget();
        const theirs = await run(["fwknop", ...all], { input: "" });
        await home.forget();
        const ours = await run([...spaCommand("knock"), ...all], { input: "" });
        return { theirs, ours };
      };
      for (const options of cases) {
        await context.step(options.join(" "), async () => {
          const { theirs, ours } = await both(options);
          strictEqual(ours.status, theirs.status, ours.stderr);
          strictEqual(withoutChance(ours.stdout), withoutChance(theirs.stdout));
        });
      }
      for (const [options, words] of refused) {
        await context.step(options.join(" "), async () => {
          const { theirs, ours } = await both(options);
          match(theirs.stderr, words);
          match(ours.stderr, words);
          ok(theirs.status !== 0 && ours.status !== 0);
          doesNotMatch(ours.stdout, /Final SPA Data/);
        });
      }
    } finally {
      await home.close();
    }
  },
});

/** What differs from packet to packet, made the same. */
function withoutChance(text: string): string {
  return text.replaceAll(/\b\d{16}\b/g, "<random>")
    .replaceAll(/\b1\d{9}\b/g, "<time>")
    .replaceAll(/(Digest|HMAC): [A-Za-z0-9+/]{22,}/g, "$1: <digest>")
    .replaceAll(/(Final SPA Data): \S+/g, "$1: <packet>");
}
