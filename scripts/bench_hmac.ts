// Prints what one HMAC of a packet costs, by digest and by who computes it, in microseconds of
// processor time, which other programs disturb little:
// deno run --allow-ffi --allow-sys scripts/bench_hmac.ts

import { createHmac } from "node:crypto";
import process from "node:process";
import { prepareNativeHmac } from "../lib/host_hmac.ts";
import { type DigestName, type PrepareHmac, prepareHmac } from "../lib/spa_digest.ts";

const DIGESTS = {
  MD5: "md5",
  SHA1: "sha1",
  SHA256: "sha256",
  SHA384: "sha384",
  SHA512: "sha512",
} as const satisfies Partial<Record<DigestName, string>>;
const PACKET_BYTES = 200;
const ROUNDS = 50_000;
const WARM_UP = 5_000;

function microseconds(act: () => unknown): string {
  for (let round = 0; round < WARM_UP; round++) act();
  const begin = process.cpuUsage();
  for (let round = 0; round < ROUNDS; round++) act();
  const { user, system } = process.cpuUsage(begin);
  return ((user + system) / ROUNDS).toFixed(2);
}

const key = crypto.getRandomValues(new Uint8Array(64));
const packet = crypto.getRandomValues(new Uint8Array(PACKET_BYTES));
const prepareNative = prepareNativeHmac();

console.log("digest   libcrypto   @noble/hashes   node:crypto");
for (const [name, nodeName] of Object.entries(DIGESTS) as [keyof typeof DIGESTS, string][]) {
  const prepared = (prepare: PrepareHmac): string => {
    const hmac = prepare(name, key);
    const tag = new Uint8Array(createHmac(nodeName, key).update(packet).digest());
    return microseconds(() => hmac.matches(packet, tag));
  };
  const node = microseconds(() => createHmac(nodeName, key).update(packet).digest());
  const native = prepareNative === prepareHmac ? "missing" : prepared(prepareNative);
  console.log(
    `${name.padEnd(9)}${native.padEnd(12)}${prepared(prepareHmac).padEnd(16)}${node}`,
  );
}
