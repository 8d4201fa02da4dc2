// The decision's short cuts: an index, keys hashed once, the latest keys first. Whatever they save,
// decision and log stay those of looking at each stanza in the order of the file.

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { decide, type Decision, type Policy, preparePolicy } from "../lib/auth_decide.ts";
import type { Knock } from "../lib/auth_knock.ts";
import { createReplayMemory, type ReplayMemory } from "../lib/auth_replay.ts";
import { addressListHas, parseIp } from "../lib/net_address.ts";
import { type PrepareHmac, prepareHmac } from "../lib/spa_digest.ts";
import { authenticateWith } from "../lib/spa_packet.ts";
import { openBench, serverConfigOf, stanzasOf } from "./gateway_fixture.ts";
import { encodeSample, SAMPLE_TIME as TIME } from "./sample_packet.ts";

const SETTINGS = {
  maxPacketAge: 120,
  testMode: false,
  verbose: false,
  nat: serverConfigOf(""),
  http: null,
  failureRates: { source: 0, total: 0 },
} as const;

const SOURCES = ["192.0.2.10", "192.0.2.11", "198.51.100.7", "2001:db8::7"];
const DESTINATIONS = ["192.0.2.1", "198.51.100.1"];
const KEYS = ["alpha", "beta", "gamma"];
const DIGESTS = ["SHA256", "MD5", "SHA512"] as const;

/** A stanza's lines; few keys and addresses, so that many stanzas fit a packet in part. */
const arbitraryStanza = fc.record({
  source: fc.constantFrom(
    "ANY",
    "192.0.2.10",
    "192.0.2.0/24",
    "192.0.2.8/30, 198.51.100.7",
    "2001:db8::/32",
    "203.0.113.0/24",
  ),
  destination: fc.constantFrom(null, null, "192.0.2.1", "198.51.100.0/24"),
  key: fc.constantFrom(...KEYS),
  hmacKey: fc.constantFrom(null, ...KEYS),
  digest: fc.constantFrom(...DIGESTS),
  limit: fc.constantFrom(
    "",
    "",
    "OPEN_PORTS tcp/443\n",
    "REQUIRE_USERNAME bob\n",
    `ACCESS_EXPIRE_EPOCH ${TIME - 1}\n`,
    "REQUIRE_SOURCE_ADDRESS Y\n",
  ),
}).map(({ source, destination, key, hmacKey, digest, limit }) =>
  `SOURCE ${source}\nKEY ${key}\n${limit}` +
  (destination === null ? "" : `DESTINATION ${destination}\n`) +
  (hmacKey === null ? "" : `HMAC_KEY hmac-${hmacKey}\nHMAC_DIGEST_TYPE ${digest}\n`)
);

/** What is sent; `again` numbers a packet of before that is sent once more. */
const arbitraryPacket = fc.record({
  source: fc.constantFrom(...SOURCES),
  destination: fc.constantFrom(...DESTINATIONS),
  key: fc.constantFrom(...KEYS),
  hmacKey: fc.constantFrom(null, ...KEYS),
  digest: fc.constantFrom(...DIGESTS),
  address: fc.constantFrom("192.0.2.99", "0.0.0.0", "nobody"),
  again: fc.option(fc.nat(5), { freq: 4 }),
});

type Packet = typeof arbitraryPacket extends fc.Arbitrary<infer T> ? T : never;

function encode({ key, hmacKey, digest, address }: Packet, salt: number): string {
  const hmac = hmacKey === null ? { hmacKey } : { hmacKey: `hmac-${hmacKey}`, hmacType: digest };
  const encoded = encodeSample({ message: `${address},tcp/22` }, { key, salt, ...hmac });
  // An address that is none cannot be encoded; what is sent instead is junk.
  return encoded.ok ? encoded.value.wire : "8" + "A".repeat(199 + salt % 8);
}

function knockOf({ source, destination }: Packet, wire: string): Knock {
  const [from, to] = [parseIp(source), parseIp(destination)];
  if (from === null || to === null) throw new Error("no address");
  return {
    wire,
    protocol: 17,
    source: from,
    sourcePort: 4000,
    destination: to,
    destinationPort: 62201,
    http: null,
  };
}

/** The policy without any short cut: every stanza is asked, and every key hashes. */
function plainly(policy: Policy, verbose: boolean): Policy {
  const { candidates } = policy;
  return {
    ...policy,
    openTrial: (knock, arrival) => ({
      ...policy.openTrial(knock, arrival),
      authenticate: (hmac, mode, extensions) =>
        authenticateWith(hmac, knock.wire, mode, extensions),
    }),
    selection: {
      choose(knock) {
        const fromThere = [...candidates.keys()].filter((position) => {
          const stanza = candidates[position]?.stanza;
          return stanza !== undefined && addressListHas(stanza.SOURCE, knock.source);
        });
        const positions = fromThere.filter((position) => {
          const list = candidates[position]?.stanza.DESTINATION ?? null;
          return verbose || list === null || addressListHas(list, knock.destination);
        });
        return { sourceIsKnown: fromThere.length > 0, positions };
      },
    },
    // Never longer than this, so nothing is ever found among the latest.
    get recent() {
      return [];
    },
  };
}

function judge(policy: Policy, replays: ReplayMemory, knock: Knock): Decision {
  const step = decide(knock, policy, replays, TIME).next();
  if (!step.done) throw new Error("no gpg here");
  if (step.value.remember !== null) replays.add(step.value.remember, Infinity);
  const events = step.value.events.map(({ level, text }) => ({ level, text }));
  return { ...step.value, events };
}

Deno.test("short cuts change neither the decision nor the log", () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryStanza, { minLength: 1, maxLength: 40 }),
      fc.array(arbitraryPacket, { minLength: 1, maxLength: 12 }),
      fc.boolean(),
      (texts, packets, verbose) => {
        const stanzas = stanzasOf(texts.join(""));
        const policy = preparePolicy(stanzas, { ...SETTINGS, verbose });
        const plain = plainly(preparePolicy(stanzas, { ...SETTINGS, verbose }), verbose);
        const replays = createReplayMemory();
        const plainReplays = createReplayMemory();
        const wires: string[] = [];
        for (const [number, packet] of packets.entries()) {
          const wire = wires[packet.again ?? -1] ?? encode(packet, number + 1);
          wires.push(wire);
          const knock = knockOf(packet, wire);
          deepStrictEqual(judge(policy, replays, knock), judge(plain, plainReplays, knock));
        }
      },
    ),
    { numRuns: 150 },
  );
});

/** Counts how often any key hashes. */
function counting(): { readonly prepare: PrepareHmac; hashes: number } {
  const counter = {
    hashes: 0,
    prepare: ((name, key) => {
      const hmac = prepareHmac(name, key);
      return {
        ...hmac,
        matches(bytes, tag) {
          counter.hashes++;
          return hmac.matches(bytes, tag);
        },
      };
    }) satisfies PrepareHmac,
  };
  return counter;
}

const MANY = 200;
const CLIENT: Packet = {
  source: "192.0.2.10",
  destination: "192.0.2.1",
  key: "alpha",
  hmacKey: "alpha",
  digest: "SHA256",
  address: "192.0.2.99",
  again: null,
};
const OTHERS = Array.from(
  { length: MANY - 1 },
  (_, number) => `SOURCE ANY\nKEY other${number}\nHMAC_KEY other-hmac${number}\n`,
).join("");
const OWN = "SOURCE ANY\nKEY alpha\nHMAC_KEY hmac-alpha\n";

Deno.test("junk costs one pass, whatever was granted before, and a known client one hash", () => {
  const counter = counting();
  const policy = preparePolicy(stanzasOf(OTHERS + OWN), SETTINGS, counter.prepare);
  const replays = createReplayMemory();
  const cost = (packet: Packet, salt: number): number => {
    const before = counter.hashes;
    judge(policy, replays, knockOf(packet, encode(packet, salt)));
    return counter.hashes - before;
  };
  strictEqual(cost(CLIENT, 1), MANY);
  strictEqual(cost(CLIENT, 2), 1);
  strictEqual(cost({ ...CLIENT, hmacKey: "beta" }, 3), MANY);
  strictEqual(cost(CLIENT, 4), 1);
});

Deno.test("stanzas with the same HMAC key hash a packet once for all of them", () => {
  const counter = counting();
  const access = Array.from(
    { length: 6 },
    (_, number) => `SOURCE ANY\nKEY key${number}\nHMAC_KEY same\n`,
  ).join("");
  const policy = preparePolicy(stanzasOf(access), SETTINGS, counter.prepare);
  const { verdict } = judge(policy, createReplayMemory(), knockOf(CLIENT, encode(CLIENT, 1)));
  strictEqual(verdict, "hmac-mismatch");
  strictEqual(counter.hashes, 1);
});

Deno.test("stanzas for other hosts cost nothing", () => {
  const counter = counting();
  const access = Array.from(
    { length: MANY },
    (_, number) => `SOURCE 10.0.${number}.1\nKEY key${number}\nHMAC_KEY hmac${number}\n`,
  ).join("") + OWN;
  const policy = preparePolicy(stanzasOf(access), SETTINGS, counter.prepare);
  judge(policy, createReplayMemory(), knockOf(CLIENT, encode(CLIENT, 1)));
  strictEqual(counter.hashes, 1);
});

Deno.test("of many stanzas that do not open a packet, some tell why and the rest are counted", () => {
  const bench = openBench(stanzasOf(OTHERS + OWN), { time: TIME });
  strictEqual(bench.send(encode(CLIENT, 1)), "granted");
  const texts = bench.lines.map(({ text }) => text);
  strictEqual(texts.filter((text) => /stanza #\d+\) Error creating/.test(text)).length, 20);
  ok(texts.includes(
    `[192.0.2.10] Further stanzas did not open the packet: hmac-mismatch ${MANY - 1 - 20}`,
  ));
  strictEqual(
    texts.at(-1),
    `(stanza #${MANY}) SPA Packet from IP: 192.0.2.10 received with access source match`,
  );
  strictEqual(texts.length, 42);
});
