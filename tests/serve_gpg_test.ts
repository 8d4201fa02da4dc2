import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { GpgRequest } from "../lib/auth_gpg.ts";
import type { BytesCall, BytesResult } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import { createGpgDecryptor } from "../lib/serve_gpg.ts";
import type { GpgDecryption, GpgSignature } from "../lib/spa_gpg_status.ts";
import { failedDecryption } from "../lib/spa_gpg_status.ts";
import { encodeGpgPacket } from "../lib/spa_packet.ts";
import { encodeFields } from "../lib/spa_fields.ts";
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
const HMAC = "HMAC_KEY TestHmacKey\n";
const STANZA = `SOURCE ANY\nGPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID F05BB368\n${HMAC}`;

const PLAINTEXT = ((): string => {
  const fields = encodeFields({
    randomValue: "1282697235397752",
    username: "alice",
    timestamp: TIME,
    version: "3.0.0",
    messageType: 1,
    message: "192.0.2.99,tcp/22",
    natAccess: null,
    serverAuth: null,
    clientTimeout: 0,
  }, "SHA256");
  ok(fields.ok);
  return fields.value.plaintext;
})();

/** A packet of something that begins like an OpenPGP message; each number gives another. */
function packet(number = 0, hmacKey: string | null = "TestHmacKey"): string {
  const message = new Uint8Array(600).fill(number);
  message.set([0x85, 0x01, 0x0c, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1, 0x08, 0x00]);
  const body = { encoded: "", digest: "", plaintext: "", messageType: 1 } as const;
  const key = hmacKey === null ? {} : { hmacKey: new TextEncoder().encode(hmacKey) };
  const made = encodeGpgPacket(body, message, key);
  ok(made.ok);
  return made.value.wire;
}

const SIGNED: GpgSignature = {
  verdict: "good",
  validity: "full",
  fingerprint: GPG_KEYS.clientOne,
};

function decrypted(signature: GpgSignature | null = SIGNED, plaintext = PLAINTEXT): GpgDecryption {
  return { ok: true, plaintext: new TextEncoder().encode(plaintext), signature };
}

/** A sentry whose gpg gives such answers, and how often it was asked. */
function benchWith(
  access: string,
  answer: GpgDecryption | "busy",
  settings: Partial<Parameters<typeof openBench>[1]> = {},
): Bench & { readonly asked: GpgRequest[] } {
  const asked: GpgRequest[] = [];
  const decrypt = (request: GpgRequest): Promise<GpgDecryption | "busy"> => {
    asked.push(request);
    return Promise.resolve(answer);
  };
  return Object.assign(openBench(stanzasOf(access), { time: TIME, decrypt, ...settings }), {
    asked,
  });
}

const MATCH = "(stanza #1) SPA Packet from IP: 192.0.2.10 received with access source match";
const SIGNED_BY = "[192.0.2.10] (stanza #1) Incoming SPA data signed by 'F05BB368' " +
  `(fingerprint '${GPG_KEYS.clientOne}').`;
const FAILED = "[192.0.2.10] (stanza #1) Error creating fko context: ";

/** Lines of the stanza, gpg's answer, what becomes of the packet, and the log. */
const VERDICTS: readonly {
  readonly name: string;
  readonly access?: string;
  readonly answer?: GpgDecryption | "busy";
  readonly verdict: string;
  readonly lines: readonly string[];
}[] = [
  { name: "a listed signer", verdict: "granted", lines: [MATCH, SIGNED_BY] },
  {
    name: "a listed fingerprint, in whatever case",
    access: STANZA.replace(
      "REMOTE_ID F05BB368",
      `FINGERPRINT_ID ${GPG_KEYS.clientOne.toLowerCase()}`,
    ),
    verdict: "granted",
    lines: [MATCH, SIGNED_BY],
  },
  {
    name: "one of several signers",
    access: STANZA.replace("F05BB368", "ABCD1234, f05bb368"),
    verdict: "granted",
    lines: [MATCH, SIGNED_BY],
  },
  {
    name: "a signer whose id is not listed",
    access: STANZA.replace("F05BB368", "ABCD1234"),
    verdict: "signer-not-listed",
    lines: [
      MATCH,
      SIGNED_BY,
      "[192.0.2.10] (stanza #1) Incoming SPA packet signed by ID: F05BB368, " +
      "but that ID is not in the GPG_REMOTE_ID list.",
    ],
  },
  {
    name: "a signer whose id is listed, but whose fingerprint is not",
    access: `${STANZA}GPG_FINGERPRINT_ID ${GPG_KEYS.clientTwo}`,
    verdict: "signer-not-listed",
    lines: [
      MATCH,
      SIGNED_BY,
      `[192.0.2.10] (stanza #1) Incoming SPA packet signed by: ${GPG_KEYS.clientOne}, ` +
      "but that fingerprint is not in the GPG_FINGERPRINT_ID list.",
    ],
  },
  {
    name: "no signature",
    answer: decrypted(null),
    verdict: "undecodable",
    lines: [MATCH, `${FAILED}Missing GPG signature`],
  },
  {
    name: "no signature where none is asked for",
    access: STANZA.replace("GPG_REMOTE_ID F05BB368", "GPG_DISABLE_SIG Y"),
    answer: decrypted(null),
    verdict: "granted",
    lines: [MATCH],
  },
  {
    name: "a bad signature where none is asked for",
    access: STANZA.replace("GPG_REMOTE_ID F05BB368", "GPG_DISABLE_SIG Y"),
    answer: decrypted({ ...SIGNED, verdict: "bad" }),
    verdict: "granted",
    lines: [MATCH],
  },
  {
    name: "no signature with GPG_REQUIRE_SIG N alone, which fwknopd ignores",
    access: `${STANZA}GPG_REQUIRE_SIG N`,
    answer: decrypted(null),
    verdict: "undecodable",
    lines: [MATCH, `${FAILED}Missing GPG signature`],
  },
  {
    name: "a signature that cannot be verified",
    answer: decrypted({ ...SIGNED, verdict: "no-public-key", validity: "unknown" }),
    verdict: "undecodable",
    lines: [
      MATCH,
      `${FAILED}Bad GPG signature`,
      "[192.0.2.10] (stanza #1) - GPG ERROR: No public key",
    ],
  },
  {
    name: "a signature that cannot be verified, where that does not matter",
    access: `${STANZA}GPG_IGNORE_SIG_VERIFY_ERROR Y`,
    answer: decrypted({ ...SIGNED, verdict: "no-public-key", validity: "unknown" }),
    verdict: "granted",
    lines: [MATCH, SIGNED_BY],
  },
  {
    name: "a wrong passphrase",
    answer: failedDecryption("Bad passphrase"),
    verdict: "undecodable",
    lines: [
      MATCH,
      `${FAILED}Decryption operation failed`,
      "[192.0.2.10] (stanza #1) - GPG ERROR: Bad passphrase",
    ],
  },
  {
    name: "fields that make no sense",
    answer: decrypted(SIGNED, PLAINTEXT.replace("1282", "12a2")),
    verdict: "undecodable",
    lines: [MATCH, `${FAILED}The computed digest did not match the digest in the spa data`],
  },
  {
    name: "a gpg that has too much to do",
    answer: "busy",
    verdict: "gpg-busy",
    lines: [MATCH, "[192.0.2.10] (stanza #1) Too many GPG packets at once, ignoring one"],
  },
];

for (const { name, access = STANZA, answer = decrypted(), verdict, lines } of VERDICTS) {
  Deno.test(`a GPG packet with ${name}: ${verdict}`, async () => {
    const bench = benchWith(access, answer);
    strictEqual(await bench.sendForGpg(packet()), verdict);
    deepStrictEqual(bench.lines.map(({ text }) => text), lines);
    const opened = verdict === "granted" || verdict === "signer-not-listed";
    strictEqual(bench.requests[0]?.record !== undefined, opened, "remembered once it was opened");
  });
}

Deno.test("gpg is not asked before HMAC, replay memory and the first bytes have spoken", async () => {
  const bench = benchWith(STANZA, decrypted());
  const beforehand = `[192.0.2.10] (stanza #1) Error creating fko context (before decryption): `;
  strictEqual(bench.send(packet(0, "AnotherKey")), "hmac-mismatch");
  strictEqual(
    bench.lines.at(-1)?.text,
    `${beforehand}Args contain invalid data: FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL`,
  );
  strictEqual(bench.send(packet(0, null)), "hmac-mismatch");
  deepStrictEqual(bench.asked, []);
  strictEqual(await bench.sendForGpg(packet()), "granted");
  strictEqual(bench.send(packet()), "replay");
  strictEqual(bench.asked.length, 1);

  const open = benchWith(STANZA.replace(HMAC, ""), decrypted());
  strictEqual(open.send("x".repeat(800)), "undecodable");
  strictEqual(open.lines.at(-1)?.text, "[192.0.2.10] (stanza #1) - GPG ERROR: No data");
  strictEqual(open.asked.length, 0);
  strictEqual(await open.sendForGpg(packet(1, null)), "granted");
  deepStrictEqual([bench, open].map(({ asked }) => asked[0]?.isAuthenticated), [true, false]);
});

Deno.test("a stanza takes the kinds of packets that it has keys for", async () => {
  const rijndael = benchWith(`SOURCE ANY\nKEY TestKey\n${HMAC}`, decrypted());
  strictEqual(rijndael.send(packet()), "no-encryption-mode-match");
  match(
    rijndael.lines.at(-1)?.text ?? "",
    /No stanza encryption mode match for encryption type: 2/,
  );
  const gpg = benchWith(STANZA, decrypted());
  strictEqual(gpg.send("9".repeat(200)), "no-encryption-mode-match");
  match(gpg.lines.at(-1)?.text ?? "", /No stanza encryption mode match for encryption type: 1/);
  const both = benchWith(`${STANZA}KEY TestKey`, decrypted());
  strictEqual(await both.sendForGpg(packet()), "granted");
  strictEqual(both.send("9".repeat(200)), "hmac-mismatch");
});

/** A gpg that answers when the test says so. */
function slowGpg(): {
  readonly decrypt: (request: GpgRequest) => Promise<GpgDecryption>;
  readonly answers: ((decryption: GpgDecryption) => void)[];
} {
  const answers: ((decryption: GpgDecryption) => void)[] = [];
  return { answers, decrypt: () => new Promise((resolve) => answers.push(resolve)) };
}

Deno.test("other packets are judged while one waits for gpg", async () => {
  const { decrypt, answers } = slowGpg();
  const bench = benchWith(`${STANZA}SOURCE ANY\nKEY TestKey\n`, "busy", { decrypt });
  strictEqual(bench.send(packet()), "nothing", "it waits");
  strictEqual(bench.send("9".repeat(200)), "undecodable", "another is judged");
  answers[0]?.(decrypted());
  await bench.sentry.settled();
  strictEqual(bench.sentry.tally.get("granted"), 1);
});

Deno.test("of copies that wait for gpg together, only one is accepted", async () => {
  const { decrypt, answers } = slowGpg();
  const bench = benchWith(STANZA, "busy", { decrypt });
  for (let copy = 0; copy < 3; copy++) bench.send(packet(), `192.0.2.${10 + copy}`);
  // The last copy's gpg is done first.
  for (const answer of answers.toReversed()) answer(decrypted());
  await bench.sentry.settled();
  deepStrictEqual(Object.fromEntries(bench.sentry.tally), { granted: 1, replay: 2 });
  strictEqual(bench.requests.filter(({ grant }) => grant !== null).length, 1);
  match(bench.lines.at(-1)?.text ?? "", /^Replay detected from source IP: 192\.0\.2\./);
});

Deno.test("a packet is as old as it is when gpg is done, and its access begins then", async () => {
  const { decrypt, answers } = slowGpg();
  const bench = benchWith(STANZA, "busy", { decrypt });
  bench.send(packet(1));
  bench.time = TIME + 120;
  answers[0]?.(decrypted());
  await bench.sentry.settled();
  const [grant] = bench.requests.map((request) => request.grant);
  ok(grant?.kind === "access");
  strictEqual(grant.expires, TIME + 150);
  bench.send(packet(2));
  bench.time = TIME + 121;
  answers[1]?.(decrypted());
  await bench.sentry.settled();
  strictEqual(bench.sentry.tally.get("too-old-or-new"), 1);
});

/** A decryptor over programs that end when the test says so. */
function lanes(): {
  readonly ask: (isAuthenticated: boolean) => Promise<GpgDecryption | "busy">;
  readonly calls: BytesCall[];
  readonly end: () => void;
  readonly close: () => void;
} {
  const calls: BytesCall[] = [];
  const ends: ((result: BytesResult) => void)[] = [];
  const decryptor = createGpgDecryptor({
    runOnBytes(call) {
      calls.push(call);
      return new Promise((resolve) => ends.push(resolve));
    },
  });
  const settings = { GPG_EXE: "/bin/gpg", GPG_HOME_DIR: "/gnupg", GPG_DECRYPT_PW: "TestPass" };
  return {
    ask: (isAuthenticated) =>
      decryptor.decrypt({ settings, message: new Uint8Array(1), isAuthenticated }),
    calls,
    end: () => ends.shift()?.({ status: 2, stdout: new Uint8Array(), stderr: "" }),
    close: decryptor.close,
  };
}

/** Lets promises that can go on do so. */
async function turn(): Promise<void> {
  for (let step = 0; step < 10; step++) await Promise.resolve();
}

Deno.test("few gpg run at a time, some packets wait, and all others are refused", async () => {
  const { ask, calls, end } = lanes();
  const answers: string[] = [];
  for (let number = 0; number < 1000; number++) {
    void ask(false).then((answer) => answers.push(answer === "busy" ? "busy" : "run"));
  }
  await turn();
  strictEqual(calls.length, 2);
  deepStrictEqual([answers.length, new Set(answers)], [982, new Set(["busy"])]);
  void ask(true);
  await turn();
  strictEqual(calls.length, 3, "who has the HMAC key does not wait behind strangers");
  for (let done = 0; done < 19; done++) {
    end();
    await turn();
    ok(calls.length <= done + 1 + 2 + 1, "one goes in for one that comes out");
  }
  strictEqual(answers.filter((answer) => answer === "run").length, 18);
  strictEqual(calls.length, 19);
});

Deno.test("closing refuses what waits and what comes, and lets a run end", async () => {
  const { ask, calls, end, close } = lanes();
  const answers = Array.from({ length: 6 }, () => ask(true));
  await turn();
  strictEqual(calls.length, 4);
  close();
  deepStrictEqual(await Promise.all([answers[4], answers[5], ask(true)]), ["busy", "busy", "busy"]);
  end();
  ok(typeof await answers[0] === "object");
});

Deno.test("the passphrase is in gpg's input, never on its command line", async () => {
  const { ask, calls, end } = lanes();
  const answer = ask(true);
  await turn();
  end();
  await answer;
  const [call] = calls;
  strictEqual(call?.program, "/bin/gpg");
  ok(call.args.join(" ").includes("--homedir /gnupg"));
  ok(!JSON.stringify(call.args).includes("TestPass"));
  strictEqual(new TextDecoder().decode(call.stdin).slice(0, 9), "TestPass\n");
});

Deno.test("a gpg that cannot be started or does not end is a refusal", async () => {
  const message = new Uint8Array(10);
  for (const [status, detail] of [[127, "cannot run /bin/gpg"], [137, "did not end in time"]]) {
    const decryptor = createGpgDecryptor({
      runOnBytes: () =>
        Promise.resolve({ status: Number(status), stdout: new Uint8Array(), stderr: "" }),
    });
    const settings = { GPG_EXE: "/bin/gpg", GPG_HOME_DIR: null, GPG_DECRYPT_PW: "" };
    const answer = await decryptor.decrypt({ settings, message, isAuthenticated: true });
    ok(answer !== "busy" && !answer.ok);
    ok(answer.detail.includes(String(detail)));
  }
});

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
      ], `${PLAINTEXT.slice(0, 100)}${"0".repeat(1_000_000)}`);
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
