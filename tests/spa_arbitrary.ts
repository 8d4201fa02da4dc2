// Generators of valid packets for property tests.

import fc from "fast-check";
import type { RijndaelMode } from "../lib/spa_cipher.ts";
import { DIGEST_NAMES } from "../lib/spa_digest.ts";
import {
  hasClientTimeout,
  hasNatAccess,
  type MessageType,
  type SpaFields,
} from "../lib/spa_message.ts";
import type { EncodeOptions } from "../lib/spa_packet.ts";
import { fieldText } from "../lib/spa_text.ts";

const USERNAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyz ABCXYZ0189@$%'(){}~^&!#-_.`";

const address = fc.ipV4();
const port = fc.integer({ min: 1, max: 65535 });
const access = fc
  .array(fc.tuple(fc.constantFrom("tcp", "udp"), port).map((entry) => entry.join("/")), {
    minLength: 1,
    maxLength: 4,
  })
  .map((entries) => entries.join(","));
const command = fc
  .uint8Array({ minLength: 1, maxLength: 60, min: 1 })
  .map(fieldText);
const natAccess = fc.tuple(
  fc.oneof(fc.ipV4(), fc.domain().filter((name) => name.length <= 50)),
  port,
)
  .map((pair) => pair.join(","));
const serverAuth = fc.uint8Array({ minLength: 1, maxLength: 20, min: 1 }).map(fieldText);

/** Fields that every decoder takes, in a form that encoding leaves as it is. */
export const spaFields: fc.Arbitrary<SpaFields> = fc
  .constantFrom<MessageType>(0, 1, 2, 3, 4, 5, 6)
  .chain((messageType) =>
    fc.record({
      randomValue: fc.string({
        unit: fc.constantFrom(..."0123456789"),
        minLength: 16,
        maxLength: 16,
      }),
      username: fc.string({
        unit: fc.constantFrom(...USERNAME_CHARACTERS),
        minLength: 1,
        maxLength: 20,
      }),
      timestamp: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      version: fc.constantFrom("3.0.0", "2.0.2", "1"),
      messageType: fc.constant(messageType),
      message: fc.tuple(address, messageType === 0 ? command : access).map((pair) =>
        pair.join(",")
      ),
      natAccess: hasNatAccess(messageType) ? natAccess : fc.constant(null),
      serverAuth: fc.option(serverAuth),
      clientTimeout: hasClientTimeout(messageType)
        ? fc.integer({ min: 1, max: 65536 })
        : fc.constant(0),
    }, { noNullPrototype: true })
  );

/** Keys, modes and digests, with an HMAC or without. */
export const encodeOptions: fc.Arbitrary<EncodeOptions> = fc.record(
  {
    key: fc.uint8Array({ minLength: 1, maxLength: 32 }),
    salt: fc.uint8Array({ minLength: 8, maxLength: 8 }),
    mode: fc.constantFrom<RijndaelMode>("ECB", "CBC", "CFB", "OFB", "CTR", "legacy"),
    digestType: fc.constantFrom(...DIGEST_NAMES),
    hmacKey: fc.uint8Array({ minLength: 1, maxLength: 136 }),
    hmacType: fc.constantFrom(...DIGEST_NAMES),
  },
  { noNullPrototype: true, requiredKeys: ["key", "salt", "mode", "digestType"] },
);
