import assert from "node:assert/strict";
import { DIGEST_NAMES } from "../lib/spa_digest.ts";
import { decodePacket, encodePacket } from "../lib/spa_packet.ts";
import { checkPacketShape, measurePacket } from "../lib/spa_shape.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What checkPacketShape() says: a code, or which kinds the payload may be. */
function shapeOf(payload: string): number | string {
  const results = [checkPacketShape(payload), checkPacketShape(bytes(payload))];
  const said = results.map((shape) => {
    if (!shape.ok) return shape.error.code;
    const { mayBeRijndael, mayBeGpg } = shape.value;
    return `${mayBeRijndael ? "Rijndael" : ""}${mayBeGpg ? "GPG" : ""}`;
  });
  assert.equal(said[0], said[1]);
  return said[0] ?? 0;
}

Deno.test("checkPacketShape() goes by length, alphabet and first characters", () => {
  const table: readonly (readonly [string, string, number | string])[] = [
    ["139 characters", "9".repeat(139), 4096],
    ["140 characters", "9".repeat(140), "Rijndael"],
    ["399 characters", "9".repeat(399), "Rijndael"],
    ["400 characters", "9".repeat(400), "RijndaelGPG"],
    ["485 characters", "9".repeat(485), "RijndaelGPG"],
    ["486 characters", "9".repeat(486), "GPG"],
    ["1499 characters", "9".repeat(1499), "GPG"],
    ["1500 characters", "9".repeat(1500), ""],
    ["1501 characters", "9".repeat(1501), 4096],
    ...[..."89+/"].map((first) => [`first ${first}`, first.padEnd(200, "A"), "Rijndael"] as const),
    ...[..."A7BVa01"].map((first) => [`first ${first}`, first.padEnd(200, "A"), ""] as const),
    ["a longer one with another first character", "A".repeat(400), "GPG"],
    ["the beginning of Rijndael", `U2FsdGVkX1${"9".repeat(200)}`, 4096],
    ["the beginning of Rijndael, longer", `U2FsdGVkX1${"9".repeat(600)}`, 4096],
    ["the beginning of GnuPG", `hQ${"9".repeat(399)}`, 4096],
    ["the same in 400 characters", `hQ${"9".repeat(398)}`, "GPG"],
    ["'='", `${"9".repeat(200)}=`, 4098],
    ["'-'", `${"9".repeat(200)}-`, 4098],
    ["a line feed", `${"9".repeat(200)}\n`, 4098],
    ["a NUL", `${"9".repeat(200)}\0`, 4098],
    ["an HTTP request", `GET /${"9".repeat(200)} HTTP/1.0\r\n\r\n`, 4098],
  ];
  for (const [what, payload, expected] of table) assert.equal(shapeOf(payload), expected, what);
});

Deno.test("checkPacketShape() refuses bytes above 0x7f and a byte order mark", () => {
  for (const odd of [[0xe9], [0xff], [0xef, 0xbb, 0xbf], [0xc3, 0xa9]]) {
    const shape = checkPacketShape(Uint8Array.of(...odd, ...bytes("9".repeat(200))));
    assert.equal(shape.ok ? 0 : shape.error.code, 4098, odd.join());
  }
});

/** The table of packet sizes, found with the real programs. */
const LARGEST_PLAINTEXT = [
  [null, 287],
  ["MD5", 271],
  ["SHA1", 255],
  ["SHA256", 255],
  ["SHA3_256", 255],
  ["SHA384", 239],
  ["SHA512", 223],
  ["SHA3_512", 223],
] as const;

/** A packet whose plaintext has that many bytes. */
function packetOf(plaintextLength: number, hmacType: typeof LARGEST_PLAINTEXT[number][0]): {
  wire: string;
  hmac: string | null;
  library: boolean;
} {
  const options = {
    key: bytes("key"),
    salt: new Uint8Array(8),
    mode: "CBC",
    digestType: "SHA256",
    ...hmacType === null ? {} : { hmacKey: bytes("hmac"), hmacType },
  } as const;
  const fields = {
    randomValue: "1282697235397752",
    timestamp: 1795321401,
    version: "3.0.0",
    messageType: 0,
    natAccess: null,
    serverAuth: null,
    clientTimeout: 0,
  } as const;
  // Base64 grows in steps, so user name and message together reach every length.
  for (let name = 1; name <= 4; name++) {
    for (let command = 1; command <= 190; command++) {
      const packet = encodePacket({
        ...fields,
        username: "u".repeat(name),
        message: `1.2.3.4,${"c".repeat(command)}`,
      }, options);
      assert.ok(packet.ok);
      if (packet.value.encoded.length + 1 + 43 === plaintextLength) {
        return { ...packet.value, library: decodePacket(packet.value.wire, options).ok };
      }
    }
  }
  throw new RangeError(`Cannot make a plaintext of ${plaintextLength} bytes`);
}

Deno.test("measurePacket() knows the largest packets that servers take", () => {
  for (const [hmacType, largest] of LARGEST_PLAINTEXT) {
    const fitting = packetOf(largest, hmacType);
    const size = measurePacket(fitting, "CBC");
    assert.ok(size.fits && size.fitsCommandStanza && fitting.library, `${hmacType}`);
    assert.equal(size.plaintextLimit, largest, `${hmacType}`);
    assert.equal(size.length, fitting.wire.length);
    assert.ok(size.limit <= 399);
    assert.equal(measurePacket(packetOf(largest + 1, hmacType), "CBC").fits, false, `${hmacType}`);
  }
});

Deno.test("measurePacket() draws the line for command stanzas where the library draws it", () => {
  for (const hmacType of [null, ...DIGEST_NAMES]) {
    for (const length of [271, 272, 287, 288]) {
      const packet = packetOf(length, hmacType);
      const { fitsCommandStanza } = measurePacket(packet, "CBC");
      assert.equal(fitsCommandStanza, packet.library, `${hmacType} ${length}`);
    }
  }
});

Deno.test("measurePacket() lets GnuPG packets be from 400 to 1499 characters", () => {
  const lengths = [399, 400, 1497, 1500].map((length) =>
    measurePacket({ wire: "A".repeat(length), hmac: null }, "Asymmetric").fits
  );
  assert.deepEqual(lengths, [false, true, true, false]);
});
