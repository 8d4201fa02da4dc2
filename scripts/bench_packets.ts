// The knocks of the benchmark: both servers get packets made the same way, with the same keys.

import {
  encodePacket,
  type GeneratedKeys,
  generateKeys,
  PROTOCOL_VERSION,
  RANDOM_VALUE_BYTES,
  randomValueFrom,
  SALT_LENGTH,
} from "../mod.ts";

/** One knock for a UDP port. */
export interface KnockRequest {
  /** IPv4 address that is to be let in. */
  readonly address: string;
  readonly port: number;
  /** Seconds; 0 leaves it to the server. */
  readonly clientTimeout: number;
}

/** New keys for one run. */
export function makeKeys(): GeneratedKeys {
  const keys = generateKeys(randomBytes);
  if (!keys.ok) throw new Error(keys.error.name);
  return keys.value;
}

/** Makes a packet as fwknop would send it. */
export function makePacket({ key, hmacKey }: GeneratedKeys, knock: KnockRequest): string {
  const packet = encodePacket({
    randomValue: randomValueFrom(randomBytes(RANDOM_VALUE_BYTES)),
    username: "bench",
    timestamp: Math.floor(Date.now() / 1000),
    version: PROTOCOL_VERSION,
    messageType: 1,
    message: `${knock.address},udp/${knock.port}`,
    natAccess: null,
    serverAuth: null,
    clientTimeout: knock.clientTimeout,
  }, { key, hmacKey, salt: randomBytes(SALT_LENGTH), mode: "CBC", digestType: "SHA256" });
  if (!packet.ok) throw new Error(packet.error.name);
  return packet.value.wire;
}

function randomBytes(count: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(count));
}
