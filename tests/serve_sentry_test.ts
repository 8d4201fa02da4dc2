import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { createReplayMemory } from "../lib/auth_replay.ts";
import type { Stanza } from "../lib/conf_access.ts";
import type { DigestName } from "../lib/spa_digest.ts";
import { type Bench, openBench, stanzasOf } from "./gateway_fixture.ts";
import { SAMPLE_TIME as TIME, samplePacket } from "./sample_packet.ts";
import { loadNegatives, loadVectors, type NegativeVector, vectorBytes } from "./vectors.ts";

const KEYS = "KEY TestKey\nHMAC_KEY TestHmacKey\n";

/** What a client puts into a packet; the rest is the same in all of them. */
interface Request {
  readonly message?: string;
  readonly messageType?: 0 | 1 | 2 | 5;
  readonly username?: string;
  readonly timestamp?: number;
  readonly clientTimeout?: number;
  readonly key?: string;
  readonly hmacKey?: string | null;
  readonly salt?: number;
}

function packet(request: Request = {}): string {
  const { key = "TestKey", hmacKey = "TestHmacKey", salt = 7, ...fields } = request;
  const hasNat = fields.messageType === 2 || fields.messageType === 5;
  const natAccess = hasNat ? "198.51.100.20,22" : null;
  return samplePacket({ natAccess, ...fields }, { key, hmacKey, salt });
}

function benchFor(access: string, settings: Partial<Parameters<typeof openBench>[1]> = {}): Bench {
  return openBench(stanzasOf(access), { time: TIME, ...settings });
}

Deno.test("a valid packet is granted what it asks for, for the stanza's time", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}FW_ACCESS_TIMEOUT 20`);
  strictEqual(bench.send(packet({ message: "192.0.2.99,tcp/22,udp/53" })), "granted");
  deepStrictEqual(bench.requests[0]?.grant, {
    kind: "access",
    stanza: 1,
    source: "192.0.2.99",
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }, { protocol: "udp", port: 53 }],
    seconds: 20,
    expires: TIME + 20,
  });
  deepStrictEqual(bench.lines, [
    {
      level: "info",
      text: "(stanza #1) SPA Packet from IP: 192.0.2.10 received with access source match",
    },
  ]);
});

Deno.test("0.0.0.0 in a packet stands for the address it came from", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}`);
  strictEqual(bench.send(packet({ message: "0.0.0.0,tcp/22" }), "192.0.2.11"), "granted");
  strictEqual(bench.requests[0]?.grant?.source, "192.0.2.11");
});

/** The packet in a request that a proxy passed on. */
function forwarded(wire: string, address: string): string {
  const path = wire.replaceAll("+", "-").replaceAll("/", "_");
  return `GET /${path} HTTP/1.1\r\nUser-Agent: Fwknop/2.6.10\r\nX-Forwarded-For: ${address}\r\n\r\n`;
}

Deno.test("0.0.0.0 stands for X-Forwarded-For where that is believed, and stanzas go by the proxy", () => {
  const unspecified = packet({ message: "0.0.0.0,tcp/22" });
  const cases: readonly [believe: boolean, header: string, source: string][] = [
    [true, "203.0.113.7", "203.0.113.7"],
    [true, "unknown", "192.0.2.10"],
    [false, "203.0.113.7", "192.0.2.10"],
  ];
  for (const [forwardedFor, header, source] of cases) {
    const bench = benchFor(`SOURCE 192.0.2.10\n${KEYS}`, {
      http: { anyUserAgent: false, forwardedFor },
    });
    strictEqual(bench.send(forwarded(unspecified, header)), "granted");
    strictEqual(bench.requests[0]?.grant?.source, source);
    strictEqual(bench.requests[0]?.packetSource, "192.0.2.10");
    const told = bench.lines.some(({ text }) =>
      text === "[192.0.2.10] (stanza #1) Error parsing X-Forwarded-For header: " +
          "value 'unknown' is not an IP address"
    );
    strictEqual(told, header === "unknown");
  }
  const elsewhere = benchFor(`SOURCE 203.0.113.7\n${KEYS}`, {
    http: { anyUserAgent: false, forwardedFor: true },
  });
  strictEqual(elsewhere.send(forwarded(unspecified, "203.0.113.7")), "no-stanza-for-source");
});

/** Stanza lines, a request, what becomes of it, and the log's last line. */
const REFUSALS: readonly {
  readonly name: string;
  readonly access: string;
  readonly request?: Request;
  readonly from?: string;
  readonly reason: string;
  readonly line: string;
}[] = [
  {
    name: "a source that no stanza is for",
    access: `SOURCE 198.51.100.0/24\n${KEYS}`,
    reason: "no-stanza-for-source",
    line: "No access data found for source IP: 192.0.2.10",
  },
  {
    name: "another HMAC key",
    access: `SOURCE ANY\n${KEYS}`,
    request: { hmacKey: "AnotherKey" },
    reason: "hmac-mismatch",
    line: "[192.0.2.10] (stanza #1) Error creating fko context: Args contain invalid data: " +
      "FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL",
  },
  {
    name: "no HMAC where the stanza wants one",
    access: `SOURCE ANY\n${KEYS}`,
    request: { hmacKey: null },
    reason: "hmac-mismatch",
    line: "[192.0.2.10] (stanza #1) Error creating fko context: Args contain invalid data: " +
      "FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL",
  },
  {
    name: "another encryption key",
    access: `SOURCE ANY\n${KEYS}`,
    request: { key: "AnotherKey" },
    reason: "undecodable",
    line: "[192.0.2.10] (stanza #1) Error creating fko context: " +
      "Decryption failed or decrypted data is invalid",
  },
  {
    name: "a stanza that has expired",
    access: `SOURCE ANY\n${KEYS}ACCESS_EXPIRE_EPOCH ${TIME - 1}`,
    reason: "stanza-expired",
    line: "[192.0.2.10] (stanza #1) Access stanza has expired",
  },
  {
    name: "a time stamp that is too old",
    access: `SOURCE ANY\n${KEYS}`,
    request: { timestamp: TIME - 121 },
    reason: "too-old-or-new",
    line: "[192.0.2.10] (stanza #1) SPA data time difference is too great (121 seconds).",
  },
  {
    name: "a time stamp in the future",
    access: `SOURCE ANY\n${KEYS}`,
    request: { timestamp: TIME + 121 },
    reason: "too-old-or-new",
    line: "[192.0.2.10] (stanza #1) SPA data time difference is too great (121 seconds).",
  },
  {
    name: "0.0.0.0 where an address is required",
    access: `SOURCE ANY\n${KEYS}REQUIRE_SOURCE_ADDRESS Y`,
    request: { message: "0.0.0.0,tcp/22" },
    reason: "source-address-required",
    line: "[192.0.2.10] (stanza #1) Got 0.0.0.0 when valid source IP was required.",
  },
  {
    name: "another user",
    access: `SOURCE ANY\n${KEYS}REQUIRE_USERNAME bob`,
    reason: "user-name-mismatch",
    line:
      "[192.0.2.10] (stanza #1) Username in SPA data (alice) does not match required username: bob",
  },
  {
    name: "a port that is not open",
    access: `SOURCE ANY\n${KEYS}OPEN_PORTS tcp/443`,
    reason: "port-denied",
    line:
      "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.",
  },
  {
    name: "a port beside one that is listed twice",
    access: `SOURCE ANY\n${KEYS}OPEN_PORTS tcp/22, tcp/22`,
    request: { message: "192.0.2.99,tcp/22,tcp/3306" },
    reason: "port-denied",
    line:
      "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.",
  },
  {
    name: "a restricted port",
    access: `SOURCE ANY\n${KEYS}RESTRICT_PORTS tcp/22`,
    reason: "port-denied",
    line:
      "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.",
  },
  {
    name: "NAT",
    access: `SOURCE ANY\n${KEYS}`,
    request: { messageType: 2 },
    reason: "nat-not-enabled",
    line:
      "(stanza #1) SPA packet from 192.0.2.10 requested NAT access, but is not enabled/supported",
  },
  {
    name: "a command",
    access: `SOURCE ANY\n${KEYS}`,
    request: { messageType: 0, message: "192.0.2.99,reboot" },
    reason: "command-not-allowed",
    line:
      "[192.0.2.10] (stanza #1) SPA Command messages are not allowed in the current configuration.",
  },
];

for (const { name, access, request, from, reason, line } of REFUSALS) {
  Deno.test(`a packet is refused for ${name}`, () => {
    const bench = benchFor(access);
    strictEqual(bench.send(packet(request), from), reason);
    strictEqual(bench.lines.at(-1)?.text, line);
    ok(bench.requests.every(({ grant }) => grant === null));
  });
}

Deno.test("a packet for another destination is not for this stanza", () => {
  const bench = benchFor(`SOURCE ANY\nDESTINATION 198.51.100.1\n${KEYS}`, { verbose: true });
  ok(bench.send(packet()) !== "granted");
  strictEqual(
    bench.lines[0]?.text,
    "(stanza #1) SPA packet (192.0.2.10 -> 192.0.2.1) filtered by SOURCE and/or DESTINATION criteria",
  );
  deepStrictEqual(bench.requests, []);
});

Deno.test("stanzas are tried in order until one grants", () => {
  const bench = benchFor(
    `SOURCE ANY\nKEY OtherKey\nHMAC_KEY OtherHmac\n` +
      `SOURCE ANY\n${KEYS}REQUIRE_USERNAME bob\n` +
      `SOURCE ANY\n${KEYS}OPEN_PORTS tcp/22\n` +
      `SOURCE ANY\n${KEYS}`,
  );
  strictEqual(bench.send(packet()), "granted");
  strictEqual(bench.requests[0]?.grant?.stanza, 3);
});

Deno.test("the stanza whose keys open a packet says why it is refused, wherever it stands", () => {
  const stanzas = [`SOURCE ANY\nKEY OtherKey\n`, `SOURCE ANY\n${KEYS}OPEN_PORTS tcp/80\n`];
  for (const access of [stanzas.join(""), stanzas.toReversed().join("")]) {
    strictEqual(benchFor(access).send(packet()), "port-denied");
  }
});

Deno.test("time stamps at the very edge of the age limit pass", () => {
  for (const [salt, offset] of [-120, 120].entries()) {
    const bench = benchFor(`SOURCE ANY\n${KEYS}`);
    strictEqual(bench.send(packet({ timestamp: TIME + offset, salt })), "granted");
  }
});

/** FW_ACCESS_TIMEOUT, MAX_FW_TIMEOUT, what the client asks for, seconds granted. */
const TIMEOUTS: readonly [string, number, number][] = [
  ["", 0, 30],
  ["FW_ACCESS_TIMEOUT 3600", 0, 3600],
  ["FW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 90", 100, 90],
  ["FW_ACCESS_TIMEOUT 60\nMAX_FW_TIMEOUT 90", 80, 80],
  ["", 1000, 300],
  ["FW_ACCESS_TIMEOUT 30\nMAX_FW_TIMEOUT 10", 0, 10],
];

for (const [lines, asked, granted] of TIMEOUTS) {
  Deno.test(`a client asking for ${asked} s is granted ${granted} s with "${lines}"`, () => {
    const bench = benchFor(`SOURCE ANY\n${KEYS}${lines}`);
    strictEqual(bench.send(packet({ clientTimeout: asked })), "granted");
    const grant = bench.requests[0]?.grant;
    ok(grant?.kind === "access");
    strictEqual(grant.seconds, granted);
  });
}

Deno.test("a packet that fails the policy is remembered, a damaged one is not", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}REQUIRE_USERNAME bob`);
  const wire = packet();
  const damaged = wire.replace(/.$/, (last) => last === "A" ? "B" : "A");
  ok(bench.send(damaged) !== "granted");
  strictEqual(bench.requests.length, 0);
  strictEqual(bench.send(wire), "user-name-mismatch");
  deepStrictEqual(bench.requests.map(({ grant }) => grant), [null]);
  strictEqual(bench.send(wire), "replay");
  ok(/^Replay detected from source IP: 192\.0\.2\.10, Destination proto\/port: 17\/62201, /.test(
    bench.lines.at(-1)?.text ?? "",
  ));
});

Deno.test("no packet is accepted twice at any later time, and memory stays bounded", () => {
  const replays = createReplayMemory(0);
  const bench = benchFor(`SOURCE ANY\n${KEYS}`, { replays });
  const wire = packet();
  strictEqual(bench.send(wire), "granted");
  for (const later of [1, 60, 120, 121, 240, 241, 242, 100_000]) {
    bench.time = TIME + later;
    // Other knocks come in between, so that what is no longer needed is dropped.
    strictEqual(bench.send(packet({ timestamp: TIME + later, salt: later % 251 })), "granted");
    ok(bench.send(wire) !== "granted", `after ${later} s`);
  }
  ok(replays.size <= 2);
});

const HOUR = 3600;
const YEAR = 366 * 86_400;

Deno.test("no packet is accepted twice however the wall clock is set", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}`);
  const steps = [YEAR, -HOUR, 3 * YEAR, 0, -YEAR, HOUR, 60, YEAR + 1, -1];
  const sent: string[] = [];
  for (const [index, step] of steps.entries()) {
    bench.time = TIME + step;
    const fresh = packet({ timestamp: bench.time, salt: index });
    strictEqual(bench.send(fresh), "granted", `at ${step} s`);
    sent.push(fresh);
    // The clock may be set to whatever makes an old packet look fresh.
    for (const again of steps) {
      bench.time = TIME + again;
      for (const wire of sent) ok(bench.send(wire) !== "granted", `${step} s, then ${again} s`);
    }
  }
});

Deno.test("a clock that was set wrong refuses fresh packets only while it is wrong", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}`);
  for (const [index, step] of [-HOUR, HOUR, YEAR, -YEAR].entries()) {
    bench.time = TIME + step;
    strictEqual(bench.send(packet({ salt: index })), "too-old-or-new");
    bench.time = TIME;
    strictEqual(bench.send(packet({ salt: 100 + index })), "granted");
  }
});

/** Seconds from the instant that a stanza names, and whether it is still used then. */
const EXPIRY_EDGES: readonly [number, boolean][] = [
  [-YEAR, true],
  [-1, true],
  [0, true],
  [1, false],
  [YEAR, false],
  // Set back again, the clock brings the stanza back.
  [-HOUR, true],
];

Deno.test("a stanza is used up to the second that ACCESS_EXPIRE names, and not after", () => {
  const midnight = new Date(2030, 0, 1).getTime() / 1000;
  for (const line of ["ACCESS_EXPIRE 1/1/2030", `ACCESS_EXPIRE_EPOCH ${midnight}`]) {
    const bench = benchFor(`SOURCE ANY\n${KEYS}${line}`);
    for (const [salt, [offset, used]] of EXPIRY_EDGES.entries()) {
      bench.time = midnight + offset;
      const verdict = bench.send(packet({ timestamp: bench.time, salt }));
      strictEqual(verdict, used ? "granted" : "stanza-expired", `${line} ${offset}`);
    }
  }
});

Deno.test("of ACCESS_EXPIRE and ACCESS_EXPIRE_EPOCH the later line counts, and 0 means never", () => {
  const day = "ACCESS_EXPIRE 1/1/2020\n";
  const epoch = (seconds: number): string => `ACCESS_EXPIRE_EPOCH ${seconds}\n`;
  const cases: readonly [string, string][] = [
    [day, "stanza-expired"],
    [day + epoch(TIME), "granted"],
    [epoch(TIME) + day, "stanza-expired"],
    [day + epoch(0), "granted"],
  ];
  for (const [lines, expected] of cases) {
    strictEqual(benchFor(`SOURCE ANY\n${KEYS}${lines}`).send(packet()), expected, lines);
  }
});

Deno.test("leap seconds count for nothing: a day of ACCESS_EXPIRE has 86400 seconds", () => {
  const [before, after] = stanzasOf(
    ["12/31/2016", "1/1/2017"].map((day) => `SOURCE ANY\n${KEYS}ACCESS_EXPIRE ${day}\n`).join(""),
  );
  strictEqual((after?.ACCESS_EXPIRE ?? 0) - (before?.ACCESS_EXPIRE ?? 0), 86_400);
});

Deno.test("in test mode a packet is judged, but nothing is granted and nothing remembered", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}`, { testMode: true });
  strictEqual(bench.send(packet()), "test-mode");
  strictEqual(
    bench.lines.at(-1)?.text,
    "[192.0.2.10] (stanza #1) --test mode enabled, skipping firewall manipulation.",
  );
  strictEqual(bench.send(packet()), "test-mode");
  deepStrictEqual(bench.requests, []);
});

Deno.test("what is no SPA packet is counted and draws no line", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}`);
  const wires = [
    "",
    "x".repeat(139),
    `U2FsdGVkX1${packet()}`,
    packet().replace(/.$/, "="),
    "é".repeat(200),
  ];
  for (const wire of wires) strictEqual(bench.send(wire), "not-a-packet");
  deepStrictEqual(bench.lines, []);
});

Deno.test("debug lines show the fields of a packet, but no key", () => {
  const bench = benchFor(`SOURCE ANY\n${KEYS}`, { verbose: true });
  bench.send(packet());
  const text = bench.lines.map((line) => line.text).join("\n");
  ok(text.includes("SPA Decode (res=0):"));
  ok(text.includes("Final SPA Data: "));
  ok(!text.includes("TestKey") && !text.includes("TestHmacKey"));
});

/** The stanza that a vector's packet was made for. */
function stanzasFor(
  vector: Pick<NegativeVector, "key" | "hmac_key" | "encryption" | "hmac_type" | "server_conf">,
): readonly Stanza[] {
  const digest: DigestName | "None" = vector.hmac_type.name;
  return stanzasOf([
    "SOURCE ANY",
    `KEY_BASE64 ${vector.key?.base64 ?? ""}`,
    `ENCRYPTION_MODE ${vector.encryption.mode_name}`,
    ...(vector.hmac_key === null ? [] : [
      `HMAC_KEY_BASE64 ${vector.hmac_key.base64}`,
      `HMAC_DIGEST_TYPE ${digest}`,
    ]),
    ...(vector.server_conf ?? []),
  ].join("\n"));
}

Deno.test("every packet of the real client that fwknopd grants plain access for is granted", () => {
  let count = 0;
  for (const vector of loadVectors()) {
    const type = vector.decoded?.message_type;
    const plain = type === 1 || type === 3;
    if (vector.fwknopd?.verdict !== "accept" || vector.encryption.type !== 1 || !plain) continue;
    // 010.1.2.3 is another address for every second program; the operator shall not have to guess.
    if (vector.category === "type1-octal-ip") continue;
    const bench = openBench(stanzasFor(vector), { time: vector.fields.timestamp });
    strictEqual(bench.send(vector.packet), "granted", vector.id);
    strictEqual(
      bench.requests[0]?.record?.digest,
      vector.raw_digest_sha256_b64,
      `${vector.id}: replay digest`,
    );
    count++;
  }
  ok(count > 100, `${count} vectors`);
});

Deno.test("packets that fwknopd takes for GnuPG by their length are granted", () => {
  const long = loadVectors().filter(({ category }) =>
    /^(?:size-over|limit-libfko-only)$/.test(category)
  );
  ok(long.length > 1);
  let granted = 0;
  for (const vector of long) {
    const type = vector.fields.message_type;
    if (type !== 1 && type !== 3) continue;
    const bench = openBench(stanzasFor(vector), { time: vector.fields.timestamp });
    strictEqual(vector.fwknopd?.verdict, "reject");
    strictEqual(bench.send(vector.packet), "granted", vector.id);
    granted++;
  }
  ok(granted > 1, `${granted} vectors`);
});

const SERVER_CLASSES = /^(?:policy-.*|age|replay|http)$/;

for (const vector of loadNegatives().filter((one) => SERVER_CLASSES.test(one.class))) {
  Deno.test(`${vector.id} is refused: ${vector.description}`, () => {
    const original = loadVectors().find(({ id }) => id === (vector as { base?: string }).base);
    const time = vector.clock?.now ?? original?.fields.timestamp ?? TIME;
    const maxPacketAge = vector.clock?.max_age ?? 120;
    const http = vector.http === true ? { anyUserAgent: false, forwardedFor: false } : null;
    const bench = openBench(stanzasFor(vector), { time, maxPacketAge, http });
    const verdicts = vector.packets_b64.map((base64) =>
      bench.send(String.fromCharCode(...vectorBytes(base64))) === "granted" ? "accept" : "reject"
    );
    deepStrictEqual(verdicts, vector.expect_sequence ?? ["reject"]);
  });
}
