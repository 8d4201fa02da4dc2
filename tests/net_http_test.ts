import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { type HttpSettings, isHttpRequest, readHttpPacket } from "../lib/net_http.ts";
import { replayDigest } from "../lib/spa_digest.ts";
import { openBench, stanzasOf } from "./gateway_fixture.ts";
import { loadQuirks, loadTransports, packetOfPayload, vectorBytes } from "./vectors.ts";

const STRICT: HttpSettings = { anyUserAgent: false, forwardedFor: false };
const AGENT = "User-Agent: Fwknop/2.6.10\r\n";

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function read(text: string, settings: Partial<HttpSettings> = {}): ReturnType<
  typeof readHttpPacket
> {
  return readHttpPacket(bytes(text), { ...STRICT, ...settings });
}

Deno.test("isHttpRequest() knows GET and a path, in capitals or not", () => {
  const cases: readonly [text: string, expected: boolean][] = [
    ["GET /abc", true],
    ["get /abc", true],
    ["GET /", true],
    ["GET  /abc", false],
    ["GET http://host/abc", false],
    ["POST /abc", false],
    ["GET\0/abc", false],
    ["GET \x0fabc", false],
    ["GET", false],
    ["", false],
  ];
  for (const [text, expected] of cases) strictEqual(isHttpRequest(bytes(text)), expected, text);
});

Deno.test("readHttpPacket() takes the path up to white space, as standard base64", () => {
  const cases: readonly [request: string, packet: string][] = [
    [`GET /aB-_9 HTTP/1.0\r\n${AGENT}`, "aB+/9"],
    [`get /a\t${AGENT}`, "a"],
    [`GET /a/b+c\n${AGENT}`, "a/b+c"],
    [`GET / HTTP/1.1\r\n${AGENT}`, ""],
  ];
  for (const [request, packet] of cases) strictEqual(read(request)?.packet, packet, request);
});

Deno.test("readHttpPacket() takes other programs' requests only when told to", () => {
  const requests = [
    "GET /abc HTTP/1.0\r\nUser-Agent: curl/8\r\n",
    "GET /abc HTTP/1.0\r\nuser-agent: Fwknop\r\n",
    "GET /abc",
  ];
  for (const request of requests) {
    strictEqual(read(request), null, request);
    strictEqual(read(request, { anyUserAgent: true })?.packet, "abc", request);
  }
});

Deno.test("readHttpPacket() believes X-Forwarded-For only when told to, and only an address", () => {
  const cases: readonly [header: string, address: string | null, bad: string | null][] = [
    ["X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7", null],
    ["x-forwarded-for: 2001:db8::7\r\n", "2001:db8::7", null],
    ["X-Forwarded-For: 203.0.113.7, 192.0.2.1\r\n", null, "203.0.113.7,"],
    ["X-Forwarded-For: host\x1b[2J\r\n", null, "host?[2J"],
    [`X-Forwarded-For: ${"9".repeat(200)}\r\n`, null, "9".repeat(64)],
    ["Forwarded: for=203.0.113.7\r\n", null, null],
  ];
  for (const [header, address, bad] of cases) {
    const request = `GET /abc HTTP/1.0\r\n${AGENT}${header}\r\n`;
    const believed = read(request, { forwardedFor: true });
    strictEqual(believed?.forwardedFor?.text ?? null, address, header);
    strictEqual(believed?.badForwardedFor, bad, header);
    deepStrictEqual(read(request), { packet: "abc", forwardedFor: null, badForwardedFor: null });
  }
});

Deno.test("readHttpPacket() takes any bytes, and none longer than a server looks at", () => {
  strictEqual(read(`GET /abc ${AGENT}${" ".repeat(1500)}`), null);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1600 }), (rest) => {
    const payload = Uint8Array.of(...bytes("GET /"), ...rest);
    const read = readHttpPacket(payload, { anyUserAgent: true, forwardedFor: true });
    ok(
      read === null ? payload.length > 1500 : !/[\s_-]/.test(read.packet.replace(/\xa0|\x85/g, "")),
    );
  }));
});

Deno.test("the request of the real client is granted, and remembered by the packet inside it", () => {
  const transport = loadTransports().find(({ id }) => id === "t-http");
  ok(transport !== undefined);
  const access = `SOURCE ANY\nKEY ${transport.key.text}\nHMAC_KEY ${transport.hmac_key.text}\n`;
  const settings = { time: 0, maxPacketAge: null };
  strictEqual(openBench(stanzasOf(access), settings).send(transport.payload), "not-a-packet");
  const bench = openBench(stanzasOf(access), { ...settings, http: STRICT });
  strictEqual(bench.send(transport.payload), "granted");
  const packet = packetOfPayload(bytes(transport.payload));
  strictEqual(bench.requests[0]?.record?.digest, replayDigest(packet));
  for (const again of [packet, transport.payload, `get /${packet} ${AGENT}`]) {
    strictEqual(bench.send(again), "replay", again);
  }
});

Deno.test("a fixed beginning put back into a request does not make it another packet", () => {
  const quirk = loadQuirks().find(({ name }) => name === "http-prefix");
  ok(quirk !== undefined);
  const access = `SOURCE ANY\nKEY_BASE64 ${quirk.key?.base64}\n` +
    `HMAC_KEY_BASE64 ${quirk.hmac_key?.base64}\nHMAC_DIGEST_TYPE ${quirk.hmac_type.name}\n`;
  const bench = openBench(stanzasOf(access), { time: 0, maxPacketAge: null, http: STRICT });
  const verdicts = quirk.packets_b64.map((base64) =>
    bench.send(String.fromCharCode(...vectorBytes(base64)))
  );
  deepStrictEqual(verdicts, ["granted", "not-a-packet"]);
});
