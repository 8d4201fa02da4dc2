// The real client's GPG packets, judged with the real gpg.

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { denoHost } from "../lib/host_deno.ts";
import { createGpgDecryptor } from "../lib/serve_gpg.ts";
import { type Bench, openBench, stanzasOf } from "./gateway_fixture.ts";
import { GPG_KEYS, gpgMissing, openGpgHome } from "./gpg_home.ts";
import {
  loadNegatives,
  loadQuirks,
  loadVectors,
  type NegativeVector,
  vectorBytes,
} from "./vectors.ts";

const TIME = 1795322167;

/** What the vectors say of GnuPG. */
interface GpgVector {
  readonly recipient_passphrase: string;
  readonly signer: string | null;
  readonly signer_fpr: string | null;
}

function accessFor(
  { gpg, hmac_key, hmac_type }: Pick<NegativeVector, "hmac_key" | "hmac_type"> & {
    readonly gpg: GpgVector;
  },
  home: string,
): string {
  return [
    "SOURCE ANY",
    `GPG_HOME_DIR ${home}`,
    gpg.recipient_passphrase === ""
      ? "GPG_ALLOW_NO_PW Y"
      : `GPG_DECRYPT_PW ${gpg.recipient_passphrase}`,
    gpg.signer_fpr === null ? "GPG_DISABLE_SIG Y" : `GPG_FINGERPRINT_ID ${gpg.signer_fpr}`,
    ...(gpg.signer_fpr === null ? [] : [`GPG_REMOTE_ID ${gpg.signer_fpr.slice(-8)}`]),
    ...(hmac_key === null
      ? []
      : [`HMAC_KEY_BASE64 ${hmac_key.base64}`, `HMAC_DIGEST_TYPE ${hmac_type.name}`]),
  ].join("\n");
}

function hasGpg<T extends { readonly gpg?: unknown }>(
  vector: T,
): vector is T & { readonly gpg: GpgVector } {
  return vector.gpg !== undefined;
}

/** Calls `use` with a way to judge a packet by the real gpg. */
async function withGpg(
  use: (
    judge: (access: string, wire: string, time: number) => Promise<[string, Bench]>,
    home: string,
  ) => Promise<void>,
): Promise<void> {
  const home = await openGpgHome("all keys", [GPG_KEYS.clientOne, GPG_KEYS.clientTwo]);
  const { decrypt } = createGpgDecryptor(denoHost());
  try {
    await use(async (access, wire, time) => {
      const bench = openBench(stanzasOf(access), { time, decrypt });
      return [await bench.sendForGpg(wire), bench];
    }, home.path);
  } finally {
    await home.close();
  }
}

const needsGpg = { ignore: gpgMissing !== null };
const noted = gpgMissing === null ? "" : ` (${gpgMissing})`;

Deno.test({
  name: `the real client's GPG packets are accepted and refused as by fwknopd${noted}`,
  ...needsGpg,
  fn: () =>
    withGpg(async (judge, home) => {
      const vectors = loadVectors().filter(hasGpg);
      strictEqual(vectors.length, 15);
      for (const vector of vectors) {
        const access = accessFor(vector, home);
        const [verdict, bench] = await judge(access, vector.packet, vector.fields.timestamp);
        const digest = bench.requests[0]?.record?.digest ?? null;
        const isOpened = vector.libfko_decode.code === 0;
        strictEqual(digest, isOpened ? vector.raw_digest_sha256_b64 : null, vector.id);
        const type = vector.decoded?.message_type;
        if (type === 1 || type === 3) strictEqual(verdict, "granted", vector.id);
        else ok(verdict !== "granted", vector.id);
        strictEqual(isOpened, vector.fwknopd?.verdict === "accept", vector.id);
      }
    }),
});

Deno.test({
  name: `GPG packets that must be refused are, for fwknopd's reason${noted}`,
  ...needsGpg,
  fn: () =>
    withGpg(async (judge, home) => {
      const vectors = loadNegatives().filter(hasGpg);
      strictEqual(vectors.length, 10);
      for (const vector of vectors) {
        const wire = String.fromCharCode(...vectorBytes(vector.packets_b64.at(-1) ?? ""));
        const [verdict, bench] = await judge(accessFor(vector, home), wire, TIME);
        const reasons: Readonly<Record<string, string>> = {
          "precheck": "not-a-packet",
          "hmac": "hmac-mismatch",
          "libfko": "undecodable",
          "sig-id": "signer-not-listed",
        };
        strictEqual(verdict, reasons[vector.fwknopd?.reason ?? ""], vector.id);
        if (vector.fwknopd?.reason !== "libfko") continue;
        const log = bench.lines.map(({ text }) => text).join("\n");
        ok(log.includes(`Error creating fko context: ${vector.fwknopd.detail}`), log);
      }
    }),
});

Deno.test({
  name: `plain gpg's packet is accepted, those of loose plaintexts are not${noted}`,
  ...needsGpg,
  fn: () =>
    withGpg(async (judge, home) => {
      const verdicts: Record<string, string> = {};
      for (const quirk of loadQuirks().filter(({ name }) => name.startsWith("gpg-"))) {
        if (!hasGpg(quirk)) continue;
        const wire = String.fromCharCode(...vectorBytes(quirk.packets_b64.at(-1) ?? ""));
        [verdicts[quirk.name]] = await judge(accessFor(quirk, home), wire, quirk.decoded.timestamp);
      }
      deepStrictEqual(verdicts, {
        "gpg-rand-letters": "undecodable",
        "gpg-rand-long": "undecodable",
        "gpg-nul-tail": "undecodable",
        "gpg-plain-gpg": "granted",
      });
    }),
});

Deno.test({
  name: `trust, passphrases and missing keys decide as in fwknopd${noted}`,
  ...needsGpg,
  fn: async (context) => {
    const byId = new Map(loadVectors().filter(hasGpg).map((vector) => [vector.id, vector]));
    const home = await openGpgHome("all keys", [GPG_KEYS.clientOne]);
    const { decrypt } = createGpgDecryptor(denoHost());
    const judge = async (id: string, access: (text: string) => string): Promise<string[]> => {
      const vector = byId.get(id);
      ok(vector !== undefined);
      const stanzas = stanzasOf(access(accessFor(vector, home.path)));
      const bench = openBench(stanzas, { time: vector.fields.timestamp, decrypt });
      const verdict = await bench.sendForGpg(vector.packet);
      return [verdict, ...bench.lines.slice(1).map(({ text }) => text.replace(/^.*#1\) /, ""))];
    };
    const bad = "Error creating fko context: Bad GPG signature";
    const unopened = "Error creating fko context: Decryption operation failed";
    try {
      await context.step("a signer that nobody vouches for", async () => {
        deepStrictEqual(await judge("v-0216", (text) => text), [
          "undecodable",
          bad,
          `- GPG ERROR: key ${GPG_KEYS.clientTwo} is not known to be its owner's (validity: unknown)`,
        ]);
        const [lenient] = await judge(
          "v-0216",
          (text) => `${text}\nGPG_IGNORE_SIG_VERIFY_ERROR Y`,
        );
        strictEqual(lenient, "granted");
      });
      await context.step("a wrong passphrase, none, and the right one", async () => {
        const other = (line: string) => (text: string): string =>
          text.replace(/GPG_DECRYPT_PW .*/, line);
        deepStrictEqual(await judge("v-0218", other("GPG_DECRYPT_PW nope")), [
          "undecodable",
          unopened,
          "- GPG ERROR: Bad passphrase",
        ]);
        deepStrictEqual(await judge("v-0218", other("GPG_ALLOW_NO_PW Y")), [
          "undecodable",
          unopened,
          "- GPG ERROR: No passphrase given",
        ]);
        strictEqual((await judge("v-0218", (text) => text))[0], "granted");
      });
      await context.step("a signer whose key is not there", async () => {
        await home.must(["--yes", "--delete-secret-and-public-key", GPG_KEYS.clientOne]);
        deepStrictEqual(await judge("v-0214", (text) => text), [
          "undecodable",
          bad,
          "- GPG ERROR: No public key",
        ]);
      });
      await context.step("no key of one's own", async () => {
        await home.must(["--yes", "--delete-secret-keys", GPG_KEYS.serverOne]);
        deepStrictEqual(await judge("v-0214", (text) => text), [
          "undecodable",
          unopened,
          "- GPG ERROR: No secret key",
        ]);
      });
    } finally {
      await home.close();
    }
  },
});

Deno.test({
  name: `a message that expands beyond what fields can be is refused${noted}`,
  ...needsGpg,
  fn: async () => {
    const home = await openGpgHome("all keys", [GPG_KEYS.clientOne]);
    try {
      const file = `${home.path}/message`;
      await home.must([
        ...["--trust-model", "always", "--recipient", GPG_KEYS.serverOne, "--output", file],
        ...["--local-user", GPG_KEYS.clientOne, "--sign", "--encrypt"],
      ], "0".repeat(1_000_000));
      const message = await Deno.readFile(file);
      ok(message.length < 5_000, "it was compressed");
      const settings = { GPG_EXE: null, GPG_HOME_DIR: home.path, GPG_DECRYPT_PW: "" };
      const { decrypt } = createGpgDecryptor(denoHost());
      const answer = await decrypt({ settings, message, isAuthenticated: true });
      ok(answer !== "busy");
      ok(!answer.ok || answer.plaintext.length <= 1500 && answer.signature === null);
    } finally {
      await home.close();
    }
  },
});
