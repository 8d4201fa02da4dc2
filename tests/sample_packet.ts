// A knock as tests make it, and its packet under the keys of their stanzas.

import { ok } from "node:assert/strict";
import type { DigestName } from "../lib/spa_digest.ts";
import type { SpaFields } from "../lib/spa_message.ts";
import { encodePacket } from "../lib/spa_packet.ts";

/** When the sample was sent, in seconds since 1970. */
export const SAMPLE_TIME = 1795321401;

/** A request for tcp/22, with such changes. */
export function sampleFields(changes: Partial<SpaFields> = {}): SpaFields {
  return {
    randomValue: "1282697235397752",
    username: "alice",
    timestamp: SAMPLE_TIME,
    version: "3.0.0",
    messageType: 1,
    message: "192.0.2.99,tcp/22",
    natAccess: null,
    serverAuth: null,
    clientTimeout: 0,
    ...changes,
  };
}

/** How a sample becomes a packet. */
export interface SampleOptions {
  readonly key?: string;
  /** Null for a packet without HMAC. */
  readonly hmacKey?: string | null;
  readonly hmacType?: DigestName;
  /** Each number gives another packet of the same fields. */
  readonly salt?: number;
  /** Whether the message may name an IPv6 address. */
  readonly ipv6?: boolean;
}

/** What the encoder makes of a sample. */
export function encodeSample(
  changes: Partial<SpaFields> = {},
  options: SampleOptions = {},
): ReturnType<typeof encodePacket> {
  const { key = "TestKey", hmacKey = "TestHmacKey", hmacType, salt = 7, ipv6 = false } = options;
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  return encodePacket(sampleFields(changes), {
    key: bytes(key),
    salt: new Uint8Array(8).fill(salt),
    mode: "CBC",
    digestType: "SHA256",
    ...(hmacKey === null ? {} : { hmacKey: bytes(hmacKey) }),
    ...(hmacType === undefined ? {} : { hmacType }),
    ipv6,
  });
}

/** The packet of a sample as it is sent. */
export function samplePacket(
  changes: Partial<SpaFields> = {},
  options: SampleOptions = {},
): string {
  const encoded = encodeSample(changes, options);
  ok(encoded.ok, JSON.stringify(encoded));
  return encoded.value.wire;
}
