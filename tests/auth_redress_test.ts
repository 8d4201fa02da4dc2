// Replays in disguise: what opened once opens never again, however its text is written.

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type Bench, openBench, stanzasOf } from "./gateway_fixture.ts";
import { SAMPLE_TIME as TIME, samplePacket } from "./sample_packet.ts";
import { loadQuirks, type Quirk, vectorBytes } from "./vectors.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const HTTP = { anyUserAgent: false, forwardedFor: false };
const AGENT = "HTTP/1.0\r\nUser-Agent: Fwknop/2.6.10\r\n\r\n";

function accessFor({ key, hmac_key, hmac_type, encryption }: Quirk): string {
  const hmac = hmac_key === null
    ? ""
    : `HMAC_KEY_BASE64 ${hmac_key.base64}\nHMAC_DIGEST_TYPE ${hmac_type.name}\n`;
  return `SOURCE ANY\nKEY_BASE64 ${key?.base64}\nENCRYPTION_MODE ${encryption.mode_name}\n${hmac}`;
}

Deno.test("what defeats fwknopd's replay check is refused", () => {
  const bypasses = loadQuirks().filter(({ replay_bypass }) => replay_bypass === true);
  deepStrictEqual(bypasses.map(({ name }) => name).sort(), [
    "http-prefix",
    "nohmac-equals-junk",
    "nohmac-equals-tail",
    "nohmac-first-character",
    "nohmac-unused-bits",
  ]);
  for (const quirk of bypasses) {
    const bench = openBench(stanzasOf(accessFor(quirk)), {
      time: quirk.decoded.timestamp,
      http: HTTP,
    });
    const [first = "", ...again] = quirk.packets_b64.map((base64) =>
      String.fromCharCode(...vectorBytes(base64))
    );
    strictEqual(bench.send(first), "granted", quirk.name);
    ok(again.length > 0);
    for (const wire of [...again, first]) {
      const verdict = bench.send(wire);
      ok(["replay", "undecodable", "not-a-packet"].includes(verdict), `${quirk.name}: ${verdict}`);
    }
    strictEqual(bench.requests.length, 1, quirk.name);
  }
});

/** Other ways to write a packet; some of them decode to the same bytes where decoding is loose. */
function* disguises(wire: string): Generator<string> {
  yield wire;
  for (const character of ALPHABET) {
    yield character + wire.slice(1);
    yield wire.slice(0, -1) + character;
    yield wire + character;
  }
  for (const tail of ["=", "==", "===", "=ABC", "=ABCD", "\n", " ", "\0", "A=", "AA=="]) {
    yield wire + tail;
  }
  yield ` ${wire}`;
  yield `U2FsdGVkX1${wire}`;
  yield `hQ${wire}`;
  yield wire.replaceAll("+", "-").replaceAll("/", "_");
  yield wire.slice(0, 80) + "\n" + wire.slice(80);
  for (const method of ["GET", "get", "Get"]) {
    for (const path of [wire, `U2FsdGVkX1${wire}`, `/${wire}`, `${wire}=`, `${wire}%3D`]) {
      yield `${method} /${path} ${AGENT}`;
      yield `${method} /${path.replaceAll("+", "-").replaceAll("/", "_")} ${AGENT}`;
    }
  }
}

function packet(hmac: boolean): string {
  return samplePacket({}, hmac ? {} : { hmacKey: null });
}

for (const hmac of [true, false]) {
  Deno.test(`no disguise of a packet ${hmac ? "with" : "without"} HMAC opens a second time`, () => {
    const access = `SOURCE ANY\nKEY TestKey\n${hmac ? "HMAC_KEY TestHmacKey\n" : ""}`;
    const fresh = (): Bench =>
      openBench(stanzasOf(access), {
        time: TIME,
        http: HTTP,
        serverText: "NO_HMAC_SOURCE_FAIL_RATE 0\n",
      });
    const bench = fresh();
    strictEqual(bench.send(packet(hmac)), "granted");
    for (const wire of disguises(packet(hmac))) ok(bench.send(wire) !== "granted", wire);
    strictEqual(bench.requests.length, 1);
  });
}
