// GPG packets as a sentry judges them, with a gpg that the test plays.

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { GpgRequest } from "../lib/auth_gpg.ts";
import { encodeFields } from "../lib/spa_fields.ts";
import { failedDecryption, type GpgDecryption, type GpgSignature } from "../lib/spa_gpg_status.ts";
import { encodeGpgPacket } from "../lib/spa_packet.ts";
import { type Bench, openBench, stanzasOf } from "./gateway_fixture.ts";
import { GPG_KEYS } from "./gpg_home.ts";
import { sampleFields } from "./sample_packet.ts";

const TIME = 1795322167;
const HMAC = "HMAC_KEY TestHmacKey\n";
const STANZA = `SOURCE ANY\nGPG_ALLOW_NO_PW Y\nGPG_REMOTE_ID F05BB368\n${HMAC}`;

const PLAINTEXT = ((): string => {
  const fields = encodeFields(sampleFields({ timestamp: TIME }), "SHA256");
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
