import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { createFailureLimiter, type FailureRates } from "../lib/auth_limit.ts";
import { type IpAddress, ipFromValue, parseIp } from "../lib/net_address.ts";
import { spaError } from "../lib/spa_error.ts";
import { openBench, stanzasOf } from "./gateway_fixture.ts";
import { SAMPLE_TIME as TIME, samplePacket } from "./sample_packet.ts";
import { loadQuirks, vectorBytes } from "./vectors.ts";

function address(text: string): IpAddress {
  const parsed = parseIp(text);
  if (parsed === null) throw new Error(text);
  return parsed;
}

/** How many of `attempts` packets from there may cost a decryption. */
function allowed(
  limiter: ReturnType<typeof createFailureLimiter>,
  source: string,
  now: number,
  attempts = 100,
): number {
  let count = 0;
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (limiter.allowanceFor(address(source), now).spend()) count++;
  }
  return count;
}

Deno.test("a source has a second's worth of failures, which come back with time", () => {
  const limiter = createFailureLimiter({ source: 10, total: 1000 });
  strictEqual(allowed(limiter, "192.0.2.1", 0), 10);
  strictEqual(allowed(limiter, "192.0.2.1", 0.5), 5);
  strictEqual(allowed(limiter, "192.0.2.1", 100), 10);
  strictEqual(allowed(limiter, "192.0.2.2", 100), 10, "another source has its own");
});

Deno.test("the addresses of an IPv6 /64 are one source, those of IPv4 are not", () => {
  const limiter = createFailureLimiter({ source: 10, total: 0 });
  strictEqual(allowed(limiter, "2001:db8::1", 0), 10);
  strictEqual(allowed(limiter, "2001:db8::ffff:1", 0), 0);
  strictEqual(allowed(limiter, "2001:db8:0:1::1", 0), 10);
  strictEqual(allowed(limiter, "192.0.2.1", 0), 10);
  strictEqual(allowed(limiter, "192.0.2.129", 0), 10);
});

Deno.test("the common bucket bounds what all sources cost, a packet's every stanza counted", () => {
  const limiter = createFailureLimiter({ source: 10, total: 25 });
  const packet = limiter.allowanceFor(address("192.0.2.1"), 0);
  const stanzas = Array.from({ length: 20 }, () => packet.spend());
  ok(stanzas.every((spent) => spent), "of its source, a packet takes one only");
  strictEqual(allowed(limiter, "192.0.2.2", 0), 5);
  strictEqual(allowed(limiter, "192.0.2.3", 0), 0);
});

Deno.test("a packet that does not fail costs nothing", () => {
  const limiter = createFailureLimiter({ source: 2, total: 3 });
  for (let packet = 0; packet < 100; packet++) {
    const allowance = limiter.allowanceFor(address("192.0.2.1"), 0);
    ok(allowance.spend() && allowance.spend());
    allowance.giveBack();
    allowance.giveBack();
  }
  strictEqual(allowed(limiter, "192.0.2.1", 0), 2);
});

Deno.test("a rate of 0 sets no limit", () => {
  const rates: readonly FailureRates[] = [{ source: 0, total: 0 }, { source: 0, total: 1000 }];
  for (const rate of rates) {
    strictEqual(allowed(createFailureLimiter(rate), "192.0.2.1", 0, 900), 900);
  }
});

Deno.test("no number of sources fills the memory, and the one heard of last stays", () => {
  const limiter = createFailureLimiter({ source: 1, total: 0 }, 100);
  strictEqual(allowed(limiter, "192.0.2.1", 0), 1);
  for (let source = 0n; source < 10_000n; source++) {
    limiter.allowanceFor(ipFromValue(4, source), 0).spend();
    strictEqual(allowed(limiter, "192.0.2.1", 0, 1), 0);
  }
  strictEqual(limiter.size, 100);
});

Deno.test("whatever the clock does, no more is allowed than its rate gives", () => {
  const steps = fc.array(fc.record({
    step: fc.double({ min: -1e6, max: 10, noNaN: true }),
    attempts: fc.nat(30),
  }));
  fc.assert(fc.property(steps, (moves) => {
    const limiter = createFailureLimiter({ source: 10, total: 0 });
    let now = 1e9;
    let forward = 1;
    let count = 0;
    for (const { step, attempts } of moves) {
      now += step;
      forward += Math.max(0, step);
      count += allowed(limiter, "192.0.2.1", now, attempts);
    }
    ok(count <= forward * 10 + 1, `${count} in ${forward} seconds`);
  }));
});

const KEYS = "KEY TestKey\nHMAC_KEY TestHmacKey\n";

function packet(salt: number, hmac: boolean): string {
  return samplePacket({}, { salt, ...(hmac ? {} : { hmacKey: null }) });
}

const RATES = "NO_HMAC_SOURCE_FAIL_RATE 20\nNO_HMAC_FAIL_RATE 100\n";
const JUNK = "8" + "A".repeat(200);

Deno.test("a flood locks out no packet with a right HMAC, whatever its source", () => {
  const bench = openBench(stanzasOf(`SOURCE ANY\nKEY Other\nSOURCE ANY\n${KEYS}`), {
    time: TIME,
    serverText: RATES,
  });
  for (let count = 0; count < 500; count++) bench.send(JUNK);
  strictEqual(bench.sentry.tally.get("hmac-mismatch"), 500);
  for (let salt = 1; salt < 100; salt++) strictEqual(bench.send(packet(salt, true)), "granted");
});

Deno.test("without HMAC, junk from one source shuts out that source only, for a second", () => {
  const bench = openBench(stanzasOf("SOURCE ANY\nKEY TestKey\n"), {
    time: TIME,
    serverText: RATES,
  });
  for (let count = 0; count < 500; count++) bench.send(JUNK, "192.0.2.66");
  strictEqual(bench.sentry.tally.get("undecodable"), 20);
  strictEqual(bench.sentry.tally.get("rate-limited"), 480);
  strictEqual(bench.send(packet(1, false), "192.0.2.66"), "rate-limited");
  strictEqual(bench.send(packet(1, false), "192.0.2.67"), "granted");
  bench.time++;
  strictEqual(bench.send(packet(2, false), "192.0.2.66"), "granted");
});

Deno.test("knocks of a source that is not failing are never counted against it", () => {
  const bench = openBench(stanzasOf("SOURCE ANY\nKEY TestKey\n"), {
    time: TIME,
    serverText: "NO_HMAC_SOURCE_FAIL_RATE 1\nNO_HMAC_FAIL_RATE 1\n",
  });
  for (let salt = 1; salt < 50; salt++) strictEqual(bench.send(packet(salt, false)), "granted");
});

Deno.test("without HMAC, junk from one source has gpg run only so often", async () => {
  const message = loadQuirks().find(({ name }) => name === "gpg-plain-gpg")?.packets_b64.at(-1);
  const wire = String.fromCharCode(...vectorBytes(message ?? ""));
  let runs = 0;
  const bench = openBench(
    stanzasOf(
      "SOURCE ANY\nGPG_HOME_DIR /gpg\nGPG_DECRYPT_ID 01234567\nGPG_ALLOW_NO_PW Y\nGPG_DISABLE_SIG Y\n",
    ),
    {
      time: TIME,
      serverText: RATES,
      decrypt: () => {
        runs++;
        const error = spaError("FKO_ERROR_GPGME_DECRYPT_FAILED");
        return Promise.resolve({ ok: false, error, detail: "" });
      },
    },
  );
  const verdicts: string[] = [];
  for (let count = 0; count < 30; count++) {
    verdicts.push(await bench.sendForGpg(wire, "192.0.2.66"));
  }
  deepStrictEqual(new Set(verdicts.slice(0, 20)), new Set(["undecodable"]));
  deepStrictEqual(new Set(verdicts.slice(20)), new Set(["rate-limited"]));
  strictEqual(runs, 20);
  strictEqual(await bench.sendForGpg(wire, "192.0.2.67"), "undecodable");
});
