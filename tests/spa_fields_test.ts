import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeBase64 } from "../lib/spa_base64.ts";
import { computeDigest, DIGEST_NAMES, type DigestName } from "../lib/spa_digest.ts";
import { decodePlaintext, encodeFields } from "../lib/spa_fields.ts";
import type { SpaFields } from "../lib/spa_message.ts";
import { sampleFields } from "./sample_packet.ts";
import { encodeOptions, spaFields } from "./spa_arbitrary.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const base64 = (text: string): string => encodeBase64(bytes(text));

const ACCESS = sampleFields({ username: "demo", message: "192.0.2.10,tcp/22" });

function encodedCode(changes: Partial<SpaFields>): number {
  const result = encodeFields({ ...ACCESS, ...changes }, "SHA256");
  return result.ok ? 0 : result.error.code;
}

function withDigest(body: string, name: DigestName = "SHA256"): Uint8Array {
  return bytes(`${body}:${encodeBase64(computeDigest(name, bytes(body)))}`);
}

function decodedCode(plaintext: Uint8Array, origin: "Rijndael" | "GPG" = "Rijndael"): number {
  const result = decodePlaintext(plaintext, origin);
  return result.ok ? 0 : result.error.code;
}

/** The code for a body in which the part at `index` stands in for the usual one. */
function codeWith(index: number, part: string, ...more: string[]): number {
  const parts = [
    "1282697235397752",
    base64("demo"),
    "1795321401",
    "3.0.0",
    "1",
    base64("192.0.2.10,tcp/22"),
  ];
  parts[index] = part;
  return decodedCode(withDigest([...parts, ...more].join(":")));
}

Deno.test("encodeFields() writes the worked example of a real client", () => {
  const result = encodeFields(ACCESS, "SHA256");
  assert.ok(result.ok);
  const encoded = "1282697235397752:ZGVtbw:1795321401:3.0.0:1:MTkyLjAuMi4xMCx0Y3AvMjI";
  const digest = "KCSsFyYNmQqwJ7EKggF1SpPI27Xj8mPeEudjfPnPkG0";
  assert.deepEqual(result.value, {
    encoded,
    digest,
    plaintext: `${encoded}:${digest}`,
    messageType: 1,
  });
});

Deno.test("decodePlaintext() gives back the fields that encodeFields() took", () => {
  fc.assert(fc.property(spaFields, encodeOptions, (fields, { digestType }) => {
    const encoded = encodeFields(fields, digestType);
    assert.ok(encoded.ok);
    const result = decodePlaintext(bytes(encoded.value.plaintext), "GPG");
    assert.ok(result.ok);
    const { encoded: body, digest, digestType: type, ...decoded } = result.value;
    assert.deepEqual(decoded, fields);
    assert.deepEqual([body, digest, type], [
      encoded.value.encoded,
      encoded.value.digest,
      digestType,
    ]);
  }));
});

Deno.test("encodeFields() writes a client timeout where the type has one, and lets it choose", () => {
  const cases = [
    [{ messageType: 1, clientTimeout: 30 }, 3, ":30"],
    [{ messageType: 3, clientTimeout: 0 }, 1, "Y3AvMjI"],
    [{ messageType: 2, clientTimeout: 30, natAccess: "a,1" }, 4, `:${base64("a,1")}:30`],
    [{ messageType: 6, clientTimeout: 0, natAccess: "a,1" }, 5, `:${base64("a,1")}`],
    [{ messageType: 0, clientTimeout: 30 }, 0, "Y3AvMjI"],
    [{ messageType: 3, clientTimeout: 9, serverAuth: "x" }, 3, `:${base64("x")}:9`],
  ] as const;
  for (const [changes, type, end] of cases) {
    const result = encodeFields({ ...ACCESS, ...changes }, "MD5");
    assert.ok(result.ok);
    assert.equal(result.value.messageType, type);
    assert.ok(result.value.encoded.endsWith(end), result.value.encoded);
  }
});

Deno.test("encodeFields() refuses what libfko's setters refuse", () => {
  const cases: readonly (readonly [Partial<SpaFields>, number])[] = [
    [{}, 0],
    [{ randomValue: "123456789012345" }, 86],
    [{ randomValue: "12345678901234567" }, 86],
    [{ randomValue: "123456789012345x" }, 86],
    [{ username: "" }, 89],
    [{ username: "/a" }, 90],
    [{ username: "a/" }, 91],
    [{ timestamp: -1 }, 88],
    [{ timestamp: 1.5 }, 88],
    [{ timestamp: 2 ** 32 }, 88],
    [{ timestamp: NaN }, 88],
    [{ timestamp: 2 ** 32 - 1 }, 0],
    [{ version: "" }, 4],
    [{ version: "123456789" }, 4],
    [{ version: "3:0" }, 4],
    [{ messageType: 7 as 6 }, 79],
    [{ message: "" }, 80],
    [{ message: "x,tcp/22" }, 100],
    [{ message: "192.0.2.10,tcp" }, 102],
    [{ messageType: 0, message: "192.0.2.10," }, 101],
    [{ natAccess: "a,1" }, 79],
    [{ messageType: 2 }, 85],
    [{ messageType: 2, natAccess: "" }, 85],
    [{ messageType: 2, natAccess: "a" }, 103],
    [{ serverAuth: "" }, 87],
    [{ clientTimeout: -1 }, 5],
    [{ clientTimeout: 0.5 }, 5],
  ];
  for (const [changes, code] of cases) {
    assert.equal(encodedCode(changes), code, JSON.stringify(changes));
  }
});

Deno.test("decodePlaintext() finds each digest type by its length and value", () => {
  const body = "1282697235397752:ZGVtbw:1795321401:3.0.0:1:MTkyLjAuMi4xMCx0Y3AvMjI";
  for (const name of DIGEST_NAMES) {
    const result = decodePlaintext(withDigest(body, name), "Rijndael");
    assert.ok(result.ok);
    assert.equal(result.value.digestType, name);
  }
});

Deno.test("decodePlaintext() holds each field to its limits", () => {
  const long = "A".repeat(68);
  const cases: readonly (readonly [number, string, number])[] = [
    [1, base64("x".repeat(48)), 0],
    [1, base64("x".repeat(49)), 14],
    [1, "", 13],
    [1, "ZGVtbw==", 15],
    [1, "ZGVtbx", 15],
    [1, "Z", 15],
    [1, base64("a\0b"), 16],
    [1, base64("é"), 16],
    [2, "", 17],
    [2, "1234567890123", 18],
    [2, "2147483647", 0],
    [2, "2147483648", 19],
    [2, "01", 19],
    [2, "+1", 19],
    [2, " 1", 19],
    [2, "1x", 19],
    [2, "4294967296", 19],
    [3, "", 20],
    [3, "12345678", 0],
    [3, "123456789", 21],
    [4, "", 22],
    [4, "001", 23],
    [4, "01", 24],
    [4, "1x", 24],
    [4, "7", 24],
    [5, "", 25],
    [5, `${long}${long}${long}${long}`, 26],
    [5, `${base64("192.0.2.10,tcp/22")}=`, 27],
    [5, base64("192.0.2.10,tcp/0"), 29],
    [5, base64("192.0.2.10,tcp/22\0"), 29],
  ];
  for (const [index, part, code] of cases) assert.equal(codeWith(index, part), code, part);
});

Deno.test("decodePlaintext() reads NAT access, server auth and timeout by the message type", () => {
  const nat = base64("10.0.0.1,22");
  const auth = base64("auth");
  const cases: readonly (readonly [string, readonly string[], number])[] = [
    ["1", [auth], 0],
    ["1", ["="], 35],
    ["1", [""], 35],
    ["1", ["A".repeat(257)], 34],
    ["1", [base64("a\0")], 35],
    ["1", [auth, auth], 10],
    ["2", [], 30],
    ["2", [""], 30],
    ["2", ["A".repeat(257)], 31],
    ["2", ["MTAuMC4wLjEsMjI="], 32],
    ["2", [base64("10.0.0.1")], 33],
    ["2", [base64(",22")], 33],
    ["2", [nat], 0],
    ["2", [nat, auth], 0],
    ["2", [nat, auth, "1"], 10],
    ["3", [], 39],
    ["3", [""], 39],
    ["3", ["1"], 0],
    ["3", ["65536"], 0],
    ["3", ["65537"], 42],
    ["3", ["0"], 42],
    ["3", ["060"], 42],
    ["3", ["99999999999999999999"], 42],
    ["3", ["-1"], 41],
    ["3", [auth, "60"], 0],
    ["3", ["", "60"], 38],
    ["3", ["=", "60"], 38],
    ["3", [auth, ""], 39],
    ["4", [nat, "60"], 0],
    ["4", [nat, auth, "60"], 0],
    ["4", [nat, auth, "60", "1"], 10],
    ["5", [nat, auth], 0],
    ["6", [nat, auth, "60"], 0],
    ["6", [nat], 39],
  ];
  for (const [type, more, code] of cases) {
    assert.equal(codeWith(4, type, ...more), code, `${type} ${more}`);
  }
});

Deno.test("decodePlaintext() refuses wrong lengths, characters and digests first", () => {
  const body = "1282697235397752:ZGVtbw:1795321401:3.0.0:1:MTkyLjAuMi4xMCx0Y3AvMjI";
  const whole = withDigest(body);
  const tooMany = `${body}:a:b:c:d:e:f:g`;
  const cases: readonly (readonly [string, Uint8Array, number, number])[] = [
    ["whole", whole, 0, 0],
    ["35 bytes", whole.slice(0, 35), 6, 55],
    ["1500 bytes", new Uint8Array(1500).fill(0x31), 6, 55],
    ["15 digits", withDigest(body.slice(1)), 107, 12],
    ["a letter in the random value", withDigest(`x${body.slice(1)}`), 107, 12],
    ["17 digits", withDigest(`1${body}`), 107, 12],
    ["a NUL at the end", Uint8Array.of(...whole, 0), 7, 7],
    ["a byte above 0x7e", withDigest(body.replace("3.0.0", "3.0.\u007f")), 7, 7],
    ["UTF-8", withDigest(body.replace("3.0.0", "3.é")), 7, 7],
    ["five fields", withDigest(body.slice(0, body.lastIndexOf(":"))), 8, 8],
    ["no digest", bytes(`${body}:`), 99, 99],
    ["a padded digest", Uint8Array.of(...whole, 0x3d), 99, 99],
    ["another digest", Uint8Array.of(...whole.slice(0, -1), 0x41), 108, 108],
    ["13 separators", withDigest(tooMany), 99, 99],
    ["13 separators, lengths fitting", bytes(`${body}:a:b:c:d:e:f:${"x".repeat(18)}:y`), 108, 108],
    ["a byte order mark", Uint8Array.of(0xef, 0xbb, 0xbf, ...whole), 107, 7],
  ];
  for (const [what, plaintext, rijndael, gpg] of cases) {
    assert.equal(decodedCode(plaintext, "Rijndael"), rijndael, what);
    assert.equal(decodedCode(plaintext, "GPG"), gpg, what);
  }
});

const IPV6_MESSAGES = ["2001:db8::1,tcp/22", "2001:DB8::1,tcp/22", "2001:db8:0::1,tcp/22"].map(
  (message) => encodeBase64(bytes(message)),
);

Deno.test("decodePlaintext() never throws, and what it accepts is written in one way only", () => {
  const loose = fc.constantFrom(
    "",
    "0",
    "1",
    "+1",
    "01",
    "60",
    "=",
    "YQ",
    "YQ=",
    "YR",
    ":",
    "3.0.0",
  );
  const parts = fc.tuple(
    fc.constantFrom("1282697235397752", "0", "x"),
    fc.oneof(loose, fc.constant("ZGVtbw")),
    fc.oneof(loose, fc.constant("1795321401")),
    fc.oneof(loose, fc.constant("3.0.0")),
    fc.constantFrom("0", "1", "2", "3", "4", "5", "6", "7", "01"),
    fc.oneof(
      loose,
      fc.constantFrom("MTkyLjAuMi4xMCx0Y3AvMjI", "MTkyLjAuMi4xMCxpZA", ...IPV6_MESSAGES),
    ),
    fc.array(fc.oneof(loose, fc.constantFrom("MTAuMC4wLjEsMjI", "60", "YXV0aA")), { maxLength: 4 }),
  );
  const body = parts.map((all) => all.flat().join(":"));
  const digest = fc.constantFrom(...DIGEST_NAMES);
  fc.assert(
    fc.property(body, digest, fc.boolean(), (text, name, ipv6) => {
      const plaintext = withDigest(text, name);
      const result = decodePlaintext(plaintext, "GPG", { ipv6 });
      if (!result.ok) return;
      const again = encodeFields(result.value, result.value.digestType, { ipv6 });
      assert.ok(again.ok);
      assert.deepEqual(bytes(again.value.plaintext), plaintext);
    }),
    { numRuns: 2000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (junk) => {
    assert.equal(decodePlaintext(junk, "Rijndael").ok, false);
    assert.equal(decodePlaintext(junk, "GPG").ok, false);
  }));
});
