// The fastest HMAC of the machine: libcrypto's where there is one, else the program's own.

import { loadLibcrypto, type NativeDigest } from "../ffi/libcrypto.ts";
import { type DigestName, preparedHmacFrom, type PrepareHmac, prepareHmac } from "./spa_digest.ts";

const NATIVE_DIGESTS: ReadonlySet<string> = new Set<NativeDigest>([
  "MD5",
  "SHA1",
  "SHA256",
  "SHA384",
  "SHA512",
]);

/** Loads libcrypto and prepares keys for it; those of other digests, and all without it, as usual. */
export function prepareNativeHmac(): PrepareHmac {
  const libcrypto = loadLibcrypto();
  if (libcrypto === null) return prepareHmac;
  return (name, key) =>
    isNative(name) ? preparedHmacFrom(name, libcrypto.hmac(name, key)) : prepareHmac(name, key);
}

function isNative(name: DigestName): name is NativeDigest {
  return NATIVE_DIGESTS.has(name);
}
