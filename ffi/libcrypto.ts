// libcrypto's hashes: HMACs for servers that check many. Optional: where it is missing, spa's own
// hashes do, more slowly.

const SYMBOLS = {
  MD5_Init: { parameters: ["buffer"], result: "i32" },
  MD5_Update: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  MD5_Final: { parameters: ["buffer", "buffer"], result: "i32" },
  SHA1_Init: { parameters: ["buffer"], result: "i32" },
  SHA1_Update: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  SHA1_Final: { parameters: ["buffer", "buffer"], result: "i32" },
  SHA256_Init: { parameters: ["buffer"], result: "i32" },
  SHA256_Update: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  SHA256_Final: { parameters: ["buffer", "buffer"], result: "i32" },
  SHA384_Init: { parameters: ["buffer"], result: "i32" },
  SHA384_Update: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  SHA384_Final: { parameters: ["buffer", "buffer"], result: "i32" },
  SHA512_Init: { parameters: ["buffer"], result: "i32" },
  SHA512_Update: { parameters: ["buffer", "buffer", "usize"], result: "i32" },
  SHA512_Final: { parameters: ["buffer", "buffer"], result: "i32" },
} as const;

/** The digests that libcrypto computes on a state of the caller's: see SHA256_Init(3). */
export type NativeDigest = "MD5" | "SHA1" | "SHA256" | "SHA384" | "SHA512";

/** Computes HMACs (RFC 2104) with keys that were hashed once. */
export interface Libcrypto {
  /**
   * Hashes a key.
   *
   * @returns puts the HMAC of `bytes` into `mac`, which has the digest's length
   */
  hmac(digest: NativeDigest, key: Uint8Array): (bytes: Uint8Array, mac: Uint8Array) => void;
}

/** Bytes of a digest's block and of its result. */
const SIZES: Readonly<Record<NativeDigest, { readonly block: number; readonly result: number }>> = {
  MD5: { block: 64, result: 16 },
  SHA1: { block: 64, result: 20 },
  SHA256: { block: 64, result: 32 },
  SHA384: { block: 128, result: 48 },
  SHA512: { block: 128, result: 64 },
};

/** More than any of MD5_CTX, SHA_CTX, SHA256_CTX (112) and SHA512_CTX (216) has. */
const STATE_BYTES = 256;
const INNER_PADDING = 0x36;
const OUTER_PADDING = 0x5c;

/** The library; null where there is none, or one without these functions. */
export function loadLibcrypto(): Libcrypto | null {
  for (const name of ["libcrypto.so.3", "libcrypto.so.1.1"]) {
    try {
      return libcryptoOf(Deno.dlopen(name, SYMBOLS).symbols);
    } catch {
      // try the next name
    }
  }
  return null;
}

/** One digest's functions. */
interface Hash {
  readonly init: (state: Bytes) => number;
  readonly update: (state: Bytes, bytes: Bytes, length: bigint) => number;
  readonly final: (result: Bytes, state: Bytes) => number;
}

/** What a call takes; a view of shared memory would not do. */
type Bytes = Uint8Array<ArrayBuffer>;

function libcryptoOf(c: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"]): Libcrypto {
  const hashes: Readonly<Record<NativeDigest, Hash>> = {
    MD5: { init: c.MD5_Init, update: c.MD5_Update, final: c.MD5_Final },
    SHA1: { init: c.SHA1_Init, update: c.SHA1_Update, final: c.SHA1_Final },
    SHA256: { init: c.SHA256_Init, update: c.SHA256_Update, final: c.SHA256_Final },
    SHA384: { init: c.SHA384_Init, update: c.SHA384_Update, final: c.SHA384_Final },
    SHA512: { init: c.SHA512_Init, update: c.SHA512_Update, final: c.SHA512_Final },
  };
  // All of this is used within one call, so every key can share it.
  const running: Bytes = new Uint8Array(STATE_BYTES);
  const results = new Map<NativeDigest, Bytes>();

  function stateAfter({ init, update }: Hash, block: Bytes): Bytes {
    init(running);
    update(running, block, BigInt(block.length));
    return running.slice();
  }

  function hmac(digest: NativeDigest, key: Uint8Array): ReturnType<Libcrypto["hmac"]> {
    const hash = hashes[digest];
    const { update, final } = hash;
    const { block, result: length } = SIZES[digest];
    const result = results.get(digest) ?? new Uint8Array(length);
    results.set(digest, result);
    const padded = new Uint8Array(block);
    if (key.length > block) {
      hash.init(running);
      update(running, new Uint8Array(key), BigInt(key.length));
      final(result, running);
      padded.set(result);
    } else {
      padded.set(key);
    }
    const inner = stateAfter(hash, padded.map((byte) => byte ^ INNER_PADDING));
    const outer = stateAfter(hash, padded.map((byte) => byte ^ OUTER_PADDING));
    const resultLength = BigInt(length);
    return (bytes, mac) => {
      running.set(inner);
      update(running, bytes as Bytes, BigInt(bytes.length));
      final(result, running);
      running.set(outer);
      update(running, result, resultLength);
      final(result, running);
      mac.set(result);
    };
  }

  return { hmac };
}
