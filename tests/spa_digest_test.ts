import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeBase64, encodeBase64 } from "../lib/spa_base64.ts";
import {
  computeDigest,
  computeHmac,
  DIGEST_NAMES,
  digestId,
  digestLength,
  type DigestName,
  digestTextLength,
  equalConstantTime,
  equalTextConstantTime,
  parseDigestName,
  prepareHmac,
} from "../lib/spa_digest.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function hex(data: Uint8Array): string {
  return [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Digests of "" and "abc": RFC 1321 appendix A.5, and NIST's examples for FIPS 180 and 202. */
const DIGESTS: Readonly<Record<DigestName, readonly [empty: string, abc: string]>> = {
  MD5: [
    "d41d8cd98f00b204e9800998ecf8427e",
    "900150983cd24fb0d6963f7d28e17f72",
  ],
  SHA1: [
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "a9993e364706816aba3e25717850c26c9cd0d89d",
  ],
  SHA256: [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  ],
  SHA384: [
    "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
  ],
  SHA512: [
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
  ],
  SHA3_256: [
    "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
    "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
  ],
  SHA3_512: [
    "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c11e3e9402c3ac558f500199d95b6d3e301758586281dcd26",
    "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
  ],
};

Deno.test("digests agree with the published examples", () => {
  for (const name of DIGEST_NAMES) {
    const [empty, abc] = DIGESTS[name];
    assert.equal(hex(computeDigest(name, bytes(""))), empty, name);
    assert.equal(hex(computeDigest(name, bytes("abc"))), abc, name);
  }
});

interface HmacExample {
  readonly source: string;
  readonly key: Uint8Array;
  readonly text: string;
  readonly macs: Readonly<Partial<Record<DigestName, string>>>;
}

const repeated = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);
const counting = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => i);

const HMACS: readonly HmacExample[] = [
  {
    source: "RFC 2202 section 2, test case 1",
    key: repeated(0x0b, 16),
    text: "Hi There",
    macs: {
      MD5: "9294727a3638bb1c13f48ef8158bfc9d",
    },
  },
  {
    source: "RFC 2202 section 3, RFC 4231 section 4.2",
    key: repeated(0x0b, 20),
    text: "Hi There",
    macs: {
      SHA1: "b617318655057264e28bc0b6fb378c8ef146be00",
      SHA256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      SHA384:
        "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
      SHA512:
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    },
  },
  {
    source: "RFC 2202 test case 2, RFC 4231 section 4.3",
    key: bytes("Jefe"),
    text: "what do ya want for nothing?",
    macs: {
      MD5: "750c783e6ab0b503eaa86e310a5db738",
      SHA1: "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
      SHA256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      SHA384:
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
      SHA512:
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    },
  },
  {
    source: "RFC 2202 test case 6",
    key: repeated(0xaa, 80),
    text: "Test Using Larger Than Block-Size Key - Hash Key First",
    macs: {
      MD5: "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
      SHA1: "aa4ae5e15272d00e95705637ce8a3b55ed402112",
    },
  },
  {
    source: "RFC 4231 section 4.7",
    key: repeated(0xaa, 131),
    text: "Test Using Larger Than Block-Size Key - Hash Key First",
    macs: {
      SHA256: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      SHA384:
        "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
      SHA512:
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
    },
  },
  {
    source: "NIST HMAC_SHA3-256, sample 1",
    key: counting(32),
    text: "Sample message for keylen<blocklen",
    macs: {
      SHA3_256: "4fe8e202c4f058e8dddc23d8c34e467343e23555e24fc2f025d598f558f67205",
    },
  },
  {
    source: "NIST HMAC_SHA3-256, sample 2",
    key: counting(136),
    text: "Sample message for keylen=blocklen",
    macs: {
      SHA3_256: "68b94e2e538a9be4103bebb5aa016d47961d4d1aa906061313b557f8af2c3faa",
    },
  },
  {
    source: "NIST HMAC_SHA3-256, sample 3",
    key: counting(168),
    text: "Sample message for keylen>blocklen",
    macs: {
      SHA3_256: "9bcf2c238e235c3ce88404e813bd2f3a97185ac6f238c63d6229a00b07974258",
    },
  },
  {
    source: "NIST HMAC_SHA3-512, sample 1",
    key: counting(64),
    text: "Sample message for keylen<blocklen",
    macs: {
      SHA3_512:
        "4efd629d6c71bf86162658f29943b1c308ce27cdfa6db0d9c3ce81763f9cbce5f7ebe9868031db1a8f8eb7b6b95e5c5e3f657a8996c86a2f6527e307f0213196",
    },
  },
  {
    source: "NIST HMAC_SHA3-512, sample 2",
    key: counting(72),
    text: "Sample message for keylen=blocklen",
    macs: {
      SHA3_512:
        "544e257ea2a3e5ea19a590e6a24b724ce6327757723fe2751b75bf007d80f6b360744bf1b7a88ea585f9765b47911976d3191cf83c039f5ffab0d29cc9d9b6da",
    },
  },
  {
    source: "NIST HMAC_SHA3-512, sample 3",
    key: counting(136),
    text: "Sample message for keylen>blocklen",
    macs: {
      SHA3_512:
        "5f464f5e5b7848e3885e49b2c385f0694985d0e38966242dc4a5fe3fea4b37d46b65ceced5dcf59438dd840bab22269f0ba7febdb9fcf74602a35666b2a32915",
    },
  },
];

Deno.test("HMACs agree with RFC 2202, RFC 4231 and NIST's samples for SHA3", () => {
  const seen = new Set<string>();
  for (const { source, key, text, macs } of HMACS) {
    for (const name of DIGEST_NAMES.filter((candidate) => candidate in macs)) {
      const label = `${source}, ${name}`;
      assert.equal(hex(computeHmac(name, key, bytes(text))), macs[name], label);
      const tag = decodeBase64(prepareHmac(name, key).tag(text));
      assert.equal(tag === null ? null : hex(tag), macs[name], label);
      seen.add(name);
    }
  }
  assert.equal(seen.size, DIGEST_NAMES.length);
});

Deno.test("a prepared key makes the same tag each time, whatever came in between", () => {
  const text = fc.string({ unit: fc.constantFrom(..."ABCabc012+/"), maxLength: 600 });
  const name = fc.constantFrom(...DIGEST_NAMES);
  fc.assert(
    fc.property(name, fc.uint8Array({ maxLength: 150 }), fc.array(text), (type, key, texts) => {
      const prepared = prepareHmac(type, key);
      for (const each of [...texts, ...texts]) {
        const tag = prepared.tag(each);
        assert.equal(tag, encodeBase64(computeHmac(type, key, bytes(each))));
        assert.equal(tag.length, prepared.tagLength);
      }
    }),
  );
});

Deno.test("digests have the numbers, names and lengths that the protocol gives them", () => {
  const lengths = DIGEST_NAMES.map((name) => [name, digestId(name), digestTextLength(name)]);
  assert.deepEqual(lengths, [
    ["MD5", 1, 22],
    ["SHA1", 2, 27],
    ["SHA256", 3, 43],
    ["SHA384", 4, 64],
    ["SHA512", 5, 86],
    ["SHA3_256", 6, 43],
    ["SHA3_512", 7, 86],
  ]);
  for (const name of DIGEST_NAMES) {
    const digest = computeDigest(name, bytes(""));
    assert.equal(digest.length, digestLength(name));
    assert.equal(encodeBase64(digest).length, digestTextLength(name));
    assert.equal(parseDigestName(name.toLowerCase()), name);
  }
  for (const word of ["", "SHA", "SHA-256", "SHA2", " MD5", "toString"]) {
    assert.equal(parseDigestName(word), null, word);
  }
});

Deno.test("constant-time comparison says what an ordinary one says", () => {
  fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), (left, right) => {
    assert.equal(equalConstantTime(left, right), encodeBase64(left) === encodeBase64(right));
    assert.ok(equalConstantTime(left, left.slice()));
  }));
  fc.assert(fc.property(fc.string(), fc.string(), (left, right) => {
    assert.equal(equalTextConstantTime(left, right), left === right);
    assert.ok(equalTextConstantTime(left, left));
  }));
});
