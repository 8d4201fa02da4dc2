import assert from "node:assert/strict";
import fc from "fast-check";
import {
  beginsLikeGpgMessage,
  decryptArguments,
  encryptArguments,
  gpgInput,
  isPassphraseLine,
  listArguments,
} from "../lib/spa_gpg.ts";
import {
  canReceivePackets,
  chooseKeyPart,
  describeFittingKeys,
  describeKeyPart,
  estimateLength,
  type GpgKeyPart,
  isSurelyTooLong,
  messageLimit,
  parseKeyListing,
} from "../lib/spa_gpg_keys.ts";
import {
  checkSignature,
  describeSignature,
  type GpgSignature,
  parseDecryption,
} from "../lib/spa_gpg_status.ts";
import { acceptUnauthenticated, authenticatePacket, gpgMessage } from "../lib/spa_packet.ts";
import { lastPayload, loadNegatives, loadVectors, vectorKeys } from "./vectors.ts";

const HOME = { homeDirectory: "/home/alice/.gnupg" };
const SIGNER = "52198ABEF25807BA0D4BD1022EDF609AF05BB368";

Deno.test("gpg's command lines ask no questions and use no network", () => {
  const lines = [
    listArguments(HOME, "public", "-x"),
    encryptArguments(HOME, { recipient: "R", signer: "S" }, "agent"),
    decryptArguments({ homeDirectory: null }, "given"),
  ];
  for (const line of lines) {
    for (const option of ["--batch", "--no-tty", "--disable-dirmngr", "--no-auto-key-retrieve"]) {
      assert.ok(line.includes(option), `${option} in ${line.join(" ")}`);
    }
  }
  assert.deepEqual(lines.map((line) => line.includes("--homedir")), [true, true, false]);
  assert.deepEqual(lines[0]?.slice(-2), ["--", "-x"], "a name is never an option");
});

Deno.test("a passphrase reaches gpg as the first line of its input, and only when there is one", () => {
  const parties = { recipient: "R", signer: "S" };
  const given = encryptArguments(HOME, parties, "given").join(" ");
  assert.match(given, /--pinentry-mode loopback --passphrase-fd 0 .*--local-user S --sign/);
  assert.match(encryptArguments(HOME, parties, "none").join(" "), /--pinentry-mode error/);
  assert.doesNotMatch(encryptArguments(HOME, parties, "agent").join(" "), /pinentry|passphrase/);
  const unsigned = encryptArguments(HOME, { recipient: "R", signer: null }, "given").join(" ");
  assert.doesNotMatch(unsigned, /--passphrase-fd|--sign|--local-user/);

  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const bytes = (content: string): Uint8Array => new TextEncoder().encode(content);
  assert.equal(text(gpgInput(bytes("a b"), bytes("message"))), "a b\nmessage");
  assert.equal(text(gpgInput(null, bytes("message"))), "message");
  assert.equal(isPassphraseLine(bytes("pass phrase")), true);
  assert.equal(isPassphraseLine(bytes("pass\nphrase")), false);
});

Deno.test("what the real client encrypts begins like a message, and what is altered in front does not", () => {
  for (const vector of loadVectors()) {
    if (vector.encryption.type !== 2 || vector.libfko_decode.code === 75) continue;
    const { hmacKey, hmacType, mode } = vectorKeys(vector);
    const text = hmacKey !== undefined && hmacType !== undefined
      ? authenticatePacket(vector.packet, { hmacKey, hmacType, mode })
      : acceptUnauthenticated(vector.packet, mode);
    assert.ok(text.ok);
    const message = gpgMessage(text.value) ?? new Uint8Array();
    assert.equal(beginsLikeGpgMessage(message), true, vector.id);
    for (const index of [0, 1, 2, 3, 12]) {
      const altered = message.slice();
      altered[index] = (altered[index] ?? 0) ^ 0x55;
      assert.equal(beginsLikeGpgMessage(altered), false, `${vector.id}, byte ${index}`);
    }
    assert.equal(beginsLikeGpgMessage(message.slice(0, 270)), false);
  }
});

Deno.test("junk does not begin like a message, and nothing that is read of gpg throws", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1500 }), (bytes) => {
    assert.equal(beginsLikeGpgMessage(Uint8Array.of(0x85, 0x01, 0x0c, ...bytes)), false);
  }));
  const junk = lastPayload(loadNegatives().find(({ id }) => id === "nv-0128")!);
  const text = acceptUnauthenticated(String.fromCharCode(...junk), "Asymmetric");
  assert.ok(text.ok);
  assert.equal(beginsLikeGpgMessage(gpgMessage(text.value) ?? new Uint8Array()), false);
  const word = fc.constantFrom(
    ...["[GNUPG:]", "\n", " ", "NEWSIG", "GOODSIG", "VALIDSIG", "ERRSIG", "BEGIN_DECRYPTION"],
    ...["PLAINTEXT", "DECRYPTION_OKAY", "END_DECRYPTION", "__proto__", "constructor", "pub:::::"],
  );
  fc.assert(fc.property(fc.array(fc.oneof(word, fc.string()), { maxLength: 30 }), (words) => {
    parseDecryption(new Uint8Array(), words.join(""));
    parseKeyListing(words.join(""));
  }));
});

/** Status lines around a signature's, as gpg 2.2 writes them. */
function status(...signature: readonly string[]): string {
  return [
    "ENC_TO F0566069C96B092B 1 0",
    "BEGIN_DECRYPTION",
    "DECRYPTION_INFO 2 9 0",
    "PLAINTEXT 62 1795322167 ",
    "PLAINTEXT_LENGTH 118",
    ...signature,
    "DECRYPTION_OKAY",
    "GOODMDC",
    "END_DECRYPTION",
    "",
  ].map((line) => line === "" ? "" : `[GNUPG:] ${line}`).join("\n");
}

const GOOD = [
  "NEWSIG",
  "SIG_ID /25A6+bjb+fGCNsS5MGc8jyMhMI 2026-11-22 1795322167",
  "GOODSIG 2EDF609AF05BB368 SPA Test Client One <client1@spa.test>",
  `VALIDSIG ${SIGNER} 2026-11-22 1795322167 0 4 0 1 10 00 ${SIGNER}`,
];
const OTHER = "0A60932C67805D21A9A4FEBB44A542DB4F298753";
const ALSO_GOOD = GOOD.map((line) => line.replaceAll(SIGNER, OTHER));

/** Signature lines, what is read of them, the error a receiver makes of them, and if lenient. */
const SIGNATURES: readonly {
  readonly name: string;
  readonly lines: readonly string[];
  readonly expected: GpgSignature | null;
  readonly code: number;
  readonly lenientCode?: number;
}[] = [
  { name: "no signature", lines: [], expected: null, code: 137, lenientCode: 137 },
  {
    name: "a good one by a key that is fully valid",
    lines: [...GOOD, "TRUST_ULTIMATE 0 pgp"],
    expected: { verdict: "good", validity: "full", fingerprint: SIGNER },
    code: 0,
  },
  {
    name: "a good one by a key that is marginally valid",
    lines: [...GOOD, "TRUST_MARGINAL 0 pgp"],
    expected: { verdict: "good", validity: "marginal", fingerprint: SIGNER },
    code: 0,
  },
  {
    name: "a good one by a key of unknown validity",
    lines: [...GOOD, "TRUST_UNDEFINED 0 pgp"],
    expected: { verdict: "good", validity: "unknown", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "a good one by a key that must not be trusted",
    lines: [...GOOD, "TRUST_NEVER 0 pgp"],
    expected: { verdict: "good", validity: "never", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "a good one with a trust model that tells no validity",
    lines: GOOD,
    expected: { verdict: "good", validity: "unknown", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "a good one that gpg names no valid fingerprint for",
    lines: [...GOOD.slice(0, 3), "TRUST_FULLY 0 pgp"],
    expected: { verdict: "error", validity: "full", fingerprint: "2EDF609AF05BB368" },
    code: 138,
  },
  {
    name: "a bad one",
    lines: ["NEWSIG", "BADSIG 2EDF609AF05BB368 SPA Test Client One", "TRUST_FULLY 0 pgp"],
    expected: { verdict: "bad", validity: "full", fingerprint: "2EDF609AF05BB368" },
    code: 138,
  },
  {
    name: "one by a key that gpg does not have",
    lines: [
      "NEWSIG",
      `ERRSIG 2EDF609AF05BB368 1 10 00 1795322167 9 ${SIGNER.toLowerCase()}`,
      "NO_PUBKEY 2EDF609AF05BB368",
    ],
    expected: { verdict: "no-public-key", validity: "unknown", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "one of an algorithm that gpg does not have",
    lines: ["NEWSIG", "ERRSIG 2EDF609AF05BB368 99 10 00 1795322167 4 -"],
    expected: { verdict: "unsupported", validity: "unknown", fingerprint: "2EDF609AF05BB368" },
    code: 138,
  },
  {
    name: "one by an expired key",
    lines: ["NEWSIG", "EXPKEYSIG 2EDF609AF05BB368 x", ...GOOD.slice(3), "TRUST_FULLY 0 pgp"],
    expected: { verdict: "key-expired", validity: "full", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "one by a revoked key",
    lines: ["NEWSIG", "REVKEYSIG 2EDF609AF05BB368 x", ...GOOD.slice(3), "TRUST_FULLY 0 pgp"],
    expected: { verdict: "key-revoked", validity: "full", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "an expired one",
    lines: ["NEWSIG", "EXPSIG 2EDF609AF05BB368 x", ...GOOD.slice(3), "TRUST_FULLY 0 pgp"],
    expected: { verdict: "expired", validity: "full", fingerprint: SIGNER },
    code: 138,
  },
  {
    name: "a bad one in front of a good one",
    lines: ["NEWSIG", "BADSIG 44A542DB4F298753 x", ...GOOD, "TRUST_FULLY 0 pgp"],
    expected: { verdict: "bad", validity: "unknown", fingerprint: "44A542DB4F298753" },
    code: 138,
  },
  {
    name: "two good ones, of which the first counts",
    lines: [...GOOD, "TRUST_FULLY 0 pgp", ...ALSO_GOOD, "TRUST_NEVER 0 pgp"],
    expected: { verdict: "good", validity: "full", fingerprint: SIGNER },
    code: 0,
  },
  {
    name: "a user id that imitates a status line",
    lines: [
      "NEWSIG",
      "BADSIG 2EDF609AF05BB368 x [GNUPG:] GOODSIG 2EDF609AF05BB368 x",
      "TRUST_FULLY 0 pgp",
    ],
    expected: { verdict: "bad", validity: "full", fingerprint: "2EDF609AF05BB368" },
    code: 138,
  },
  {
    name: "two verdicts on one signature",
    lines: ["BADSIG 2EDF609AF05BB368 x", ...GOOD.slice(1), "TRUST_FULLY 0 pgp"],
    expected: { verdict: "error", validity: "full", fingerprint: SIGNER },
    code: 138,
  },
];

for (const { name, lines, expected, code, lenientCode = 0 } of SIGNATURES) {
  Deno.test(`a message with ${name}: error ${code}, and ${lenientCode} when lenient`, () => {
    const output = new TextEncoder().encode("plaintext");
    const decryption = parseDecryption(output, status(...lines));
    assert.deepEqual(decryption, { ok: true, plaintext: output, signature: expected });
    assert.equal(checkSignature(expected, false)?.error.code ?? 0, code);
    assert.equal(checkSignature(expected, true)?.error.code ?? 0, lenientCode);
  });
}

Deno.test("a signature outside of the encryption does not count", () => {
  const outside = [...GOOD, "TRUST_FULLY 0 pgp"].map((line) => `[GNUPG:] ${line}\n`).join("");
  for (const text of [outside + status(), `${status()}\n${outside}`]) {
    const decryption = parseDecryption(new Uint8Array(), text);
    assert.ok(decryption.ok);
    assert.equal(decryption.signature, null);
  }
});

Deno.test("what gpg did not decrypt as one unaltered message is refused with gpg's reason", () => {
  const whole = status(...GOOD, "TRUST_FULLY 0 pgp");
  const without = (keyword: string): string =>
    whole.split("\n").filter((line) => line.split(" ")[1] !== keyword).join("\n");
  const plaintext = "[GNUPG:] PLAINTEXT 62 1795322167 \n";
  const failed = "[GNUPG:] BEGIN_DECRYPTION\n[GNUPG:] DECRYPTION_FAILED\n[GNUPG:] END_DECRYPTION\n";
  const cases: readonly [status: string, detail: string][] = [
    ["", "No data"],
    ["[GNUPG:] NODATA 1\n[GNUPG:] NODATA 2\n[GNUPG:] FAILURE decrypt 4294967295\n", "No data"],
    [`[GNUPG:] NO_SECKEY F0566069C96B092B\n${failed}`, "No secret key"],
    [`[GNUPG:] ERROR pkdecrypt_failed 67108875\n${failed}`, "Bad passphrase"],
    [`[GNUPG:] ERROR pkdecrypt_failed 67108949\n${failed}`, "No passphrase given"],
    [`[GNUPG:] ERROR pkdecrypt_failed 67109000\n${failed}`, "Decryption failed"],
    [failed, "Decryption failed"],
    [whole.replace("DECRYPTION_OKAY", "DECRYPTION_FAILED"), "Decryption failed"],
    [`${whole}\n[GNUPG:] DECRYPTION_FAILED`, "Decryption failed"],
    ...["BEGIN_DECRYPTION", "PLAINTEXT", "DECRYPTION_OKAY", "END_DECRYPTION"]
      .map((keyword) => [without(keyword), "No data"] as [string, string]),
    [`${whole}\n${whole}`, "No data"],
    [`${whole}\n${plaintext}`, "No data"],
    [plaintext + without("PLAINTEXT"), "No data"],
    [whole.replaceAll("[GNUPG:] ", "gpg: "), "No data"],
  ];
  for (const [text, detail] of cases) {
    const decryption = parseDecryption(new TextEncoder().encode("plaintext"), text);
    assert.ok(!decryption.ok, text);
    assert.deepEqual([decryption.error.code, decryption.detail], [132, detail], text);
  }
});

Deno.test("the dump's numbers for a signature are those of GPGME", () => {
  const numbers = (signature: GpgSignature | null): (number | string | null)[] => {
    const dump = describeSignature(signature);
    return [dump.signatureId, dump.signatureSummary, dump.signatureStatus];
  };
  const base = { fingerprint: SIGNER, validity: "full", verdict: "good" } as const;
  assert.deepEqual(numbers(null), [null, -1, -1]);
  assert.deepEqual(numbers(base), ["F05BB368", 0x3, 0]);
  assert.deepEqual(numbers({ ...base, validity: "marginal" }), ["F05BB368", 0, 0]);
  assert.deepEqual(numbers({ ...base, validity: "never" }), ["F05BB368", 0x4, 0]);
  assert.deepEqual(numbers({ ...base, verdict: "bad" }), ["F05BB368", 0x4, 0x7000008]);
  assert.deepEqual(numbers({ ...base, verdict: "key-expired" }), ["F05BB368", 0x22, 0x7000099]);
  const unknown = { ...base, verdict: "no-public-key", validity: "unknown" } as const;
  assert.deepEqual(numbers(unknown), ["F05BB368", 0x80, 0x7000009]);
});

const LISTING = `tru::1:1795332346:0:3:1:5
sec:u:2048:1:3CB7FB92972CB933:1795332340:::u:::scESC:::+:::23::0:
fpr:::::::::E32D4BAEEC7C3569181F54F13CB7FB92972CB933:
uid:u::::1795332340::499EA21E2FCA1E242DDD03DB11DA51DCCF7957E8::r2048@x::::::::::0:
ssb:u:2048:1:EB35EB95EE54284D:1795332340::::::e:::+:::23:
fpr:::::::::8A3A9A594A5947D683A5B41EEB35EB95EE54284D:
ssb:u:3072:1:AB35EB95EE54284D:1795332350::::::e:::+:::23:
ssb:e:4096:1:BB35EB95EE54284D:1795332360::::::e:::+:::23:
ssb:u:255:22:CB35EB95EE54284D:1795332360::::::s:::#::ed25519:::
sec:u:255:22:E0629BF86FC9DA89:1795332345:::u:::scSC:::+::ed25519:::0:
fpr:::::::::E2A2057C69623D8CE505455FE0629BF86FC9DA89:
`;

Deno.test("of a key gpg takes the newest subkey that can do it and is there, else the key itself", () => {
  const [rsa, curve, ...others] = parseKeyListing(LISTING);
  assert.deepEqual(others, []);
  assert.ok(rsa !== undefined && curve !== undefined);
  assert.equal(rsa.fingerprint, "E32D4BAEEC7C3569181F54F13CB7FB92972CB933");
  const chosen = [
    chooseKeyPart(rsa, "encrypt"),
    chooseKeyPart(rsa, "sign"),
    chooseKeyPart(curve, "encrypt"),
    chooseKeyPart(curve, "sign"),
  ];
  assert.deepEqual(chosen.map((part) => part === null ? null : describeKeyPart(part)), [
    "RSA 3072",
    "RSA 2048",
    null,
    "ed25519",
  ]);
  assert.deepEqual(parseKeyListing(""), []);
});

function rsa(bits: number): GpgKeyPart {
  return { algorithm: 1, bits, curve: "", capabilities: "se", isUsable: true, created: 0 };
}
const ED25519: GpgKeyPart = { ...rsa(255), algorithm: 22, curve: "ed25519" };
const CV25519: GpgKeyPart = { ...rsa(255), algorithm: 18, curve: "cv25519" };

Deno.test("packets can be for RSA and ElGamal keys of which messages begin as receivers expect", () => {
  const elgamal = { ...rsa(2048), algorithm: 16 };
  const parts = [rsa(1024), rsa(2048), rsa(4096), elgamal, ED25519, CV25519];
  assert.deepEqual(parts.map(canReceivePackets), [false, true, true, true, false, false]);
});

/** Recipient and signer, and bytes of the message that gpg 2.2 made for 118 bytes of plaintext. */
const MEASURED: readonly [recipient: GpgKeyPart, signer: GpgKeyPart | null, bytes: number][] = [
  [rsa(2048), null, 450],
  [rsa(2048), rsa(2048), 779],
  [rsa(2048), rsa(4096), 1036],
  [rsa(2048), ED25519, 578],
  [rsa(3072), rsa(3072), 1035],
  [rsa(3072), rsa(4096), 1164],
  [rsa(4096), rsa(2048), 1035],
  [rsa(4096), rsa(4096), 1292],
  [rsa(4096), ED25519, 832],
  [rsa(4096), { ...rsa(2048), algorithm: 17 }, 833],
];

Deno.test("the length of a message is known before it is made", () => {
  for (const [recipient, signer, bytes] of MEASURED) {
    const plan = { recipient, signer, plaintextLength: 118, tagLength: 0 };
    const estimate = estimateLength(plan);
    assert.ok(Math.abs(estimate - bytes) <= 20, `${estimate} for ${bytes}`);
    for (const tagLength of [0, 43, 86]) {
      const limit = messageLimit(tagLength);
      if (bytes <= limit) assert.equal(isSurelyTooLong({ ...plan, tagLength }), false);
      if (bytes > limit + 60) assert.equal(isSurelyTooLong({ ...plan, tagLength }), true);
    }
  }
});

Deno.test("who chose keys that do not fit is told which do", () => {
  const plan = { signer: rsa(4096), plaintextLength: 118, tagLength: 0 };
  const advice = describeFittingKeys(plan);
  assert.match(
    advice,
    /6656 bits together \(RSA\), such as 4096 with 2048 or 3072 with 3072; an Ed/,
  );
  assert.match(describeFittingKeys({ ...plan, tagLength: 86 }), /6144 bits together/);
  assert.match(describeFittingKeys({ ...plan, plaintextLength: 300 }), /5120 .* such as 3072 with/);
  assert.match(describeFittingKeys({ ...plan, signer: null }), /at most 7168 bits/);
  assert.match(describeFittingKeys({ ...plan, plaintextLength: 1000 }), /no key fits/);
  // The advice is right: what it names fits, by the real gpg's lengths.
  for (const [recipient, signer, bytes] of MEASURED) {
    if (signer === null || signer.algorithm !== 1) continue;
    const together = recipient.bits + signer.bits;
    assert.equal(together <= 6656, bytes <= messageLimit(0), `${together} bits`);
  }
});
