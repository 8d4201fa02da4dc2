// Loads the packets of the real fwknop programs in tests/vectors, see the README there.

import { decodeBase64 } from "../lib/spa_base64.ts";
import type { EncryptionMode } from "../lib/spa_cipher.ts";
import type { DigestName } from "../lib/spa_digest.ts";
import type { MessageType, SpaFields } from "../lib/spa_message.ts";
import type { DecodeKeys } from "../lib/spa_packet.ts";
import { fieldText } from "../lib/spa_text.ts";

/** A key as a vector gives it. */
export interface VectorKey {
  readonly base64: string;
}

/** A number and name that libfko reports; the name is "None" for no HMAC. */
interface Named {
  readonly id: number;
  readonly name: DigestName | "None";
}

/** A verdict of libfko. */
interface LibraryVerdict {
  readonly code: number;
  readonly name: string;
}

/** Fields as the vectors write them. */
export interface VectorFields {
  readonly rand: string;
  readonly username: string;
  readonly timestamp: number;
  readonly version: string;
  readonly message_type: MessageType;
  readonly message_b64?: string;
  readonly message: string | null;
  readonly nat_access: string | null;
  readonly server_auth: string | null;
  readonly client_timeout: number;
}

/** What vectors, negatives and quirks have in common. */
interface Keyed {
  readonly id: string;
  readonly key: VectorKey | null;
  readonly hmac_key: VectorKey | null;
  readonly encryption: { readonly mode_name: EncryptionMode };
  readonly hmac_type: Named;
  readonly gpg?: { readonly recipient_passphrase: string };
}

/** One line of vectors.jsonl. */
export interface Vector extends Keyed {
  readonly category: string;
  readonly encryption: { readonly type: 1 | 2; readonly mode_name: EncryptionMode };
  readonly digest_type: { readonly id: number; readonly name: DigestName };
  readonly packet: string;
  readonly fields: VectorFields & {
    readonly encoded: string;
    readonly digest: string;
    readonly hmac: string | null;
  };
  readonly libfko_decode: LibraryVerdict;
  readonly decoded: VectorFields & { readonly digest_type: number } | null;
  readonly derived?: {
    readonly effective_key_b64: string;
    readonly salt_hex: string;
    readonly aes_key_hex: string;
    readonly iv_hex: string;
    readonly plaintext: string;
  };
  readonly raw_digest_sha256_b64: string;
  readonly fwknopd?: { readonly verdict: "accept" | "reject" };
}

/** One line of negative.jsonl. */
export interface NegativeVector extends Keyed {
  readonly class: string;
  readonly description: string;
  /** Base64 of the payloads in order; the last is the one that is judged. */
  readonly packets_b64: readonly string[];
  readonly http?: boolean;
  /** Seconds since 1970 UTC that the server's clock is to show, and the age it allows. */
  readonly clock?: { readonly now: number; readonly max_age: number };
  /** Extra lines of the stanza in access.conf. */
  readonly server_conf?: readonly string[];
  readonly expect: {
    readonly layer: "libfko" | "server-precheck" | "server-policy" | "replay";
    readonly accept: boolean;
  };
  readonly expect_sequence?: readonly string[];
  readonly libfko_decode: LibraryVerdict;
  readonly fwknopd: {
    readonly verdict: string;
    readonly reason: string;
    readonly detail: string | null;
  } | null;
}

/** One line of quirks.jsonl. */
export interface Quirk extends Keyed {
  readonly name: string;
  readonly description: string;
  readonly recommendation: string;
  readonly packets_b64: readonly string[];
  readonly http?: boolean;
  readonly decoded: VectorFields;
  /** Whether the last packet got past fwknopd's replay memory. */
  readonly replay_bypass?: boolean;
}

/** One line of transports.jsonl. */
export interface TransportVector {
  readonly id: string;
  readonly key: { readonly text: string };
  readonly hmac_key: { readonly text: string };
  readonly hmac_type: DigestName;
  readonly spa_packet: string;
  readonly payload: string;
  readonly ip_packet_hex: string;
  readonly ip_protocol: number;
  readonly src: string;
  readonly dst: string;
  readonly src_port: number;
  readonly dst_port: number;
  readonly rand: string;
}

export const loadVectors = (): Vector[] => load("vectors");
export const loadNegatives = (): NegativeVector[] => load("negative");
export const loadQuirks = (): Quirk[] => load("quirks");
export const loadTransports = (): TransportVector[] => load("transports");

function load<Line>(name: string): Line[] {
  const text = Deno.readTextFileSync(new URL(`vectors/${name}.jsonl`, import.meta.url));
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

/** The bytes of padded base64 in a vector. */
export function vectorBytes(base64: string): Uint8Array {
  const bytes = decodeBase64(base64.replace(/=+$/, ""));
  if (bytes === null) throw new SyntaxError(`Cannot decode "${base64}": not base64`);
  return bytes;
}

/** The payload that is judged: the last one. */
export function lastPayload({ packets_b64 }: { packets_b64: readonly string[] }): Uint8Array {
  return vectorBytes(packets_b64.at(-1) ?? "");
}

/** The keys of a vector; a GnuPG vector has an empty Rijndael key. */
export function vectorKeys(vector: Keyed): DecodeKeys {
  const { key, hmac_key, encryption, hmac_type } = vector;
  const base = {
    key: key === null ? new Uint8Array(0) : vectorBytes(key.base64),
    mode: encryption.mode_name,
  };
  if (hmac_key === null || hmac_type.name === "None") return base;
  return { ...base, hmacKey: vectorBytes(hmac_key.base64), hmacType: hmac_type.name };
}

/** The fields of a vector. */
export function vectorFields(fields: VectorFields): SpaFields {
  const { message, message_b64 } = fields;
  return {
    randomValue: fields.rand,
    username: fields.username,
    timestamp: fields.timestamp,
    version: fields.version,
    messageType: fields.message_type,
    message: message_b64 === undefined ? message ?? "" : fieldText(vectorBytes(message_b64)),
    natAccess: fields.nat_access,
    serverAuth: fields.server_auth,
    clientTimeout: fields.client_timeout,
  };
}

/** The packet inside an HTTP request of the vectors; any other payload as it is. */
export function packetOfPayload(payload: Uint8Array): string {
  const text = String.fromCharCode(...payload);
  const path = /^GET \/(\S*)/.exec(text)?.[1];
  return path === undefined ? text : path.replaceAll("-", "+").replaceAll("_", "/");
}
