// GnuPG packets of the real client, decrypted with the real gpg: what the codec leaves to others.

import assert from "node:assert/strict";
import { decodePlaintext } from "../../lib/spa_fields.ts";
import {
  acceptUnauthenticated,
  authenticatePacket,
  type DecodeKeys,
  gpgMessage,
} from "../../lib/spa_packet.ts";
import { lastPayload, loadQuirks, loadVectors, vectorFields, vectorKeys } from "../vectors.ts";

const hasGpg = hasProgram("gpg");
const skipped = hasGpg ? "" : " (skipped: no gpg)";

function hasProgram(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Calls `use` with a function that decrypts with the keys that have no pass phrase. */
async function withKeyring(
  use: (decrypt: (message: Uint8Array) => Promise<Uint8Array>) => Promise<void>,
): Promise<void> {
  const home = Deno.makeTempDirSync({ prefix: "spa-gpg-" });
  const gpg = async (args: readonly string[], input?: Uint8Array): Promise<Uint8Array> => {
    const child = new Deno.Command("gpg", {
      args: ["--homedir", home, "--batch", "--no-tty", "--quiet", ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(20_000),
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(input ?? new Uint8Array(0));
    await writer.close();
    return (await child.output()).stdout;
  };
  try {
    const keys = new URL("../vectors/gpg_vectors_secret_nopass.asc", import.meta.url).pathname;
    await gpg(["--import", keys]);
    await use((message) => gpg(["--decrypt"], message));
  } finally {
    // The agent that gpg started in this directory only.
    new Deno.Command("gpgconf", { args: ["--homedir", home, "--kill", "all"] }).outputSync();
    Deno.removeSync(home, { recursive: true });
  }
}

function messageOf(wire: string, { hmacKey, hmacType, mode }: DecodeKeys): Uint8Array {
  const text = hmacKey !== undefined && hmacType !== undefined
    ? authenticatePacket(wire, { hmacKey, hmacType, mode })
    : acceptUnauthenticated(wire, mode);
  assert.ok(text.ok);
  const message = gpgMessage(text.value);
  assert.ok(message);
  return message;
}

Deno.test({
  name: `what gpg decrypts of the real client's packets decodes as in libfko${skipped}`,
  ignore: !hasGpg,
  fn: () =>
    withKeyring(async (decrypt) => {
      const vectors = loadVectors().filter(({ gpg, libfko_decode }) =>
        gpg?.recipient_passphrase === "" && libfko_decode.code !== 75
      );
      assert.ok(vectors.length > 5);
      for (const vector of vectors) {
        const plaintext = await decrypt(messageOf(vector.packet, vectorKeys(vector)));
        const result = decodePlaintext(plaintext, "GPG");
        assert.equal(result.ok ? 0 : result.error.code, vector.libfko_decode.code, vector.id);
        if (!result.ok || vector.decoded === null) continue;
        const { encoded, digest: _digest, digestType: _type, ...fields } = result.value;
        assert.equal(encoded, vector.fields.encoded, vector.id);
        assert.deepEqual(fields, vectorFields(vector.decoded), vector.id);
      }
    }),
});

Deno.test({
  name: `loose plaintexts inside GnuPG packets are refused, those of plain gpg are not${skipped}`,
  ignore: !hasGpg,
  fn: () =>
    withKeyring(async (decrypt) => {
      const codes: Record<string, number> = {};
      for (const quirk of loadQuirks().filter(({ name }) => name.startsWith("gpg-"))) {
        const wire = String.fromCharCode(...lastPayload(quirk));
        const result = decodePlaintext(await decrypt(messageOf(wire, vectorKeys(quirk))), "GPG");
        codes[quirk.name] = result.ok ? 0 : result.error.code;
      }
      assert.deepEqual(codes, {
        "gpg-rand-letters": 12,
        "gpg-rand-long": 12,
        "gpg-nul-tail": 7,
        "gpg-plain-gpg": 0,
      });
    }),
});
