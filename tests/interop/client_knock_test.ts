// `spa knock` against the real fwknopd 2.6: every digest with every HMAC, every mode, both kinds of
// keys. One .fwknoprc serves `spa knock` and the real `fwknop`, one access.conf serves all stanzas.

import assert from "node:assert/strict";
import { DIGEST_NAMES } from "../../lib/spa_digest.ts";
import { ADDRESSES, hasProgram, labMissing, openLab, spaCommand } from "../lab/lab.ts";

/** A stanza of both files, and what `spa knock` is told besides its name. */
interface Pairing {
  readonly name: string;
  /** Lines of both stanzas. */
  readonly shared: readonly string[];
  /** Lines for the client only. */
  readonly client?: readonly string[];
}

const BASE64_KEYS = [
  "KEY_BASE64 bm90aGluZyBidXQgYSB0ZXN0IGtleSBvZiAzMiBieSE=",
  "HMAC_KEY_BASE64 YW5vdGhlciB0ZXN0IGtleSwgZm9yIHRoZSB0YWcgb2YgdGhlIHBhY2tldA==",
];

const byHmac: readonly Pairing[] = DIGEST_NAMES.map((hmac, index) => ({
  name: `hmac-${hmac}`,
  shared: [
    ...(index % 2 === 0
      ? BASE64_KEYS
      : ["KEY correct-horse-battery", "HMAC_KEY staple,with:marks!"]),
    `HMAC_DIGEST_TYPE ${hmac.toLowerCase()}`,
  ],
  client: ["USE_HMAC Y"],
}));
const byMode: readonly Pairing[] = ["ECB", "CFB", "OFB", "CTR"].map((mode) => ({
  name: `mode-${mode}`,
  shared: [`KEY key-of-${mode}`, `HMAC_KEY hmac-key-of-${mode}`, `ENCRYPTION_MODE ${mode}`],
}));
const withoutHmac: readonly Pairing[] = [
  { name: "plain", shared: ["KEY without-any-hmac"] },
  { name: "legacy", shared: ["KEY short", "ENCRYPTION_MODE legacy"] },
  { name: "legacy-long", shared: ["KEY more-than-sixteen-bytes", "ENCRYPTION_MODE legacy"] },
];
const pairings = [...byHmac, ...byMode, ...withoutHmac];

const missing = labMissing() ?? (hasProgram("fwknopd") ? null : "needs the program fwknopd");

Deno.test({
  name: `fwknopd opens what spa knock asks for${missing === null ? "" : ` (${missing})`}`,
  ignore: missing !== null,
  async fn(t) {
    const lab = await openLab();
    try {
      const rcFile = `${lab.directory}/fwknoprc`;
      const access = `${lab.directory}/access.conf`;
      const config = `${lab.directory}/fwknopd.conf`;
      await Deno.writeTextFile(rcFile, rcText(), { mode: 0o600 });
      await Deno.writeTextFile(access, accessText(), { mode: 0o600 });
      await Deno.writeTextFile(config, "PCAP_INTF outside;\nPCAP_FILTER port 62201 or icmp;\n", {
        mode: 0o600,
      });
      const server = lab.gateway.start([
        ...["fwknopd", "-f", "-c", config, "-a", access, "-r", `${lab.directory}/run`],
      ]);
      await server.waitFor(/Starting fwknopd main event loop/);

      let port = 1000;
      const opens = async (command: readonly string[], name: string, ...more: string[]) => {
        port++;
        const options = ["--rc-file", rcFile, "--no-save-args", "-n", name];
        const knock = await lab.client.run([...command, ...options, "-A", `tcp/${port}`, ...more]);
        assert.equal(knock.stderr, "");
        assert.equal(knock.status, 0);
        await server.waitFor(
          new RegExp(`Added access rule to FWKNOP_INPUT for ${ADDRESSES.client} .* tcp/${port},`),
        );
      };

      await t.step("as it opens what fwknop asks for", () => opens(["fwknop"], "hmac-SHA256"));
      for (const { name } of pairings) {
        // A legacy key of more than 16 bytes is cut with a warning, which its own step looks at.
        if (name === "legacy-long") continue;
        for (const digest of name.startsWith("mode-") ? ["SHA256"] : DIGEST_NAMES) {
          await t.step(
            `stanza ${name}, digest ${digest}`,
            () => opens(spaCommand("knock"), name, "-m", digest),
          );
        }
      }
      await t.step(
        "stanza legacy-long, whose key is cut to 16 bytes",
        () => opens(spaCommand("knock"), "legacy-long", "--quiet"),
      );
      await t.step(
        "with -s, where the packet's source is let in",
        () => opens(spaCommand("knock"), "by-source", "-s"),
      );
      await t.step("with time of access, user and time offset", () =>
        opens(
          spaCommand("knock"),
          "hmac-SHA512",
          ...["-f", "90s", "-U", "somebody else", "--time-offset-minus", "1m30s"],
        ));
      await t.step(
        "over IPv4 only, from a chosen port",
        () => opens(spaCommand("knock"), "hmac-MD5", "-S", "40000", "-4"),
      );

      for (const transport of ["udpraw", "tcpraw", "icmp"]) {
        await t.step(
          `over ${transport}, from another's address`,
          () => opens(spaCommand("knock"), "hmac-SHA256", "-P", transport, "-Q", "203.0.113.9"),
        );
        await t.step(
          `over ${transport}, from its own address`,
          () => opens(spaCommand("knock"), "by-source", "-P", transport, "-s"),
        );
      }

      const stranger = await lab.client.run(
        spaCommand(
          ...["knock", "--no-rc-file", "--no-save-args", "-A", "tcp/22", "-a", ADDRESSES.client],
          ...["-D", ADDRESSES.gateway, "--key-rijndael", "wrong", "--key-hmac", "wrong as well"],
        ),
      );
      assert.equal(stranger.status, 0);
      await t.step("but not what a stranger asks for", async () => {
        await opens(spaCommand("knock"), "hmac-SHA256");
        assert.doesNotMatch(server.output(), /Added access rule .* tcp\/22,/);
      });
    } finally {
      await lab.close();
    }
  },
});

function rcText(): string {
  const sections = pairings.map(({ name, shared, client = [] }) =>
    [`[${name}]`, ...shared, ...client].join("\n")
  );
  const ofDefault = `[default]\nSPA_SERVER ${ADDRESSES.gateway}\n`;
  const bySource = `[by-source]\nKEY open-to-any-source\nHMAC_KEY tag-of-any-source\n`;
  return [
    `${ofDefault}SPOOF_USER tester\n`,
    ...sections.map((section) => `${section}\nALLOW_IP ${ADDRESSES.client}\n`),
    bySource,
  ].join("\n");
}

function accessText(): string {
  const stanzas = pairings.map(({ shared }) =>
    ["SOURCE ANY", "REQUIRE_SOURCE_ADDRESS Y", ...shared].join("\n")
  );
  const bySource = "SOURCE ANY\nKEY open-to-any-source\nHMAC_KEY tag-of-any-source";
  return [...stanzas, bySource, ""].join("\n");
}
