import { ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { loadLibcrypto } from "../ffi/libcrypto.ts";
import { prepareNativeHmac } from "../lib/host_hmac.ts";
import { computeHmac, DIGEST_NAMES } from "../lib/spa_digest.ts";

const missing = loadLibcrypto() === null;

Deno.test({
  name: "libcrypto's HMACs are those of the program's own hashes" +
    (missing ? " (needs libcrypto)" : ""),
  ignore: missing,
  fn() {
    const prepare = prepareNativeHmac();
    fc.assert(fc.property(
      fc.constantFrom(...DIGEST_NAMES),
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.array(fc.uint8Array({ maxLength: 600 }), { minLength: 1, maxLength: 4 }),
      (name, key, texts) => {
        const prepared = prepare(name, key);
        const another = prepare(name, Uint8Array.of(...key, 1));
        for (const bytes of texts) {
          const mac = computeHmac(name, key, bytes);
          ok(prepared.matches(bytes, mac));
          // Keys share their working memory, and nothing of one may be left in another.
          ok(!another.matches(bytes, mac));
          mac[0] = (mac[0] ?? 0) ^ 1;
          ok(!prepared.matches(bytes, mac));
        }
        strictEqual(prepared.matches(new Uint8Array(8), new Uint8Array(3)), false);
      },
    ));
  },
});
