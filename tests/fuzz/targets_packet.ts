// Fuzz targets of the protocol: packets, plaintexts, fields, base64.

import {
  decodeBase64,
  decodedLength,
  decodeKeyBase64,
  encodeBase64,
  encodePaddedBase64,
  isBase64Text,
} from "../../lib/spa_base64.ts";
import { encryptRijndael, type RijndaelMode } from "../../lib/spa_cipher.ts";
import { computeDigest, DIGEST_NAMES, prepareHmac } from "../../lib/spa_digest.ts";
import { formatFieldDump } from "../../lib/spa_dump.ts";
import { decodePlaintext, encodeFields } from "../../lib/spa_fields.ts";
import type { Result } from "../../lib/spa_error.ts";
import {
  checkMessage,
  checkNatAccess,
  type Extensions,
  isMessageText,
  isNatAccessText,
  type MessageType,
  parseAccessMessage,
  parseCommandMessage,
  parseNatAccess,
} from "../../lib/spa_message.ts";
import {
  checkPacketShape,
  type DecodeKeys,
  decodePacket,
  encodePacket,
} from "../../lib/spa_packet.ts";
import { RIJNDAEL_BEGINNING } from "../../lib/spa_shape.ts";
import { fieldBytes, fieldText } from "../../lib/spa_text.ts";
import { loadNegatives, loadQuirks, loadVectors, vectorBytes, vectorKeys } from "../vectors.ts";
import {
  bytesOf,
  choiceOf,
  type FuzzTarget,
  latin1Of,
  once,
  pick,
  rule,
  sameBytes,
  textOf,
  withChoice,
} from "./target.ts";

const MODES: readonly RijndaelMode[] = ["CBC", "ECB", "CFB", "OFB", "CTR", "legacy"];
const KEY = bytesOf("a key for fuzzing");
const HMAC_KEY = bytesOf("another key for fuzzing");
const SALT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

/** Words of plaintexts and messages. */
const FIELD_WORDS = [
  ":",
  ",",
  "tcp/22",
  "udp/53",
  ",tcp/",
  "0.0.0.0",
  "192.0.2.1",
  "127.0.0.1",
  "010.0.0.1",
  "2001:db8::1",
  "::ffff:192.0.2.1",
  "65535",
  "65536",
  "0",
  "-1",
  "3.0.0",
  "4294967296",
  "2147483647",
  "example.org,22",
  "=",
  "\0",
];

/** Plaintexts of the vectors without their digest. */
function plaintextSeeds(): Uint8Array[] {
  return loadVectors().map(({ fields }, index) => withChoice(index, bytesOf(fields.encoded)));
}

/** The input is a payload; the first byte chooses mode and tag. */
const payload: FuzzTarget = {
  name: "packet",
  rule: "a packet that was not made with the keys is refused as a value, in every mode",
  seeds: () => [
    ...loadVectors().map(({ packet }, index) => withChoice(index, bytesOf(packet))),
    ...loadNegatives().flatMap(({ packets_b64 }, index) =>
      packets_b64.map((packet) => withChoice(index, vectorBytes(packet)))
    ),
    ...loadQuirks().flatMap(({ packets_b64 }, index) =>
      packets_b64.map((packet) => withChoice(index, vectorBytes(packet)))
    ),
  ],
  words: [RIJNDAEL_BEGINNING, "hQ", "=", "==", "+", "/"],
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const shape = checkPacketShape(bytes);
    const wire = shape.ok ? shape.value.wire : latin1Of(bytes);
    if (shape.ok) rule(isBase64Text(wire), "a shape with other characters than base64's");
    const mode = choice % 7 === 6 ? "Asymmetric" : pick(MODES, choice % 7);
    const hmac = choice & 128 ? { hmacKey: HMAC_KEY, hmacType: pick(DIGEST_NAMES, choice) } : {};
    const decoded = decodePacket(wire, { key: KEY, mode, ...hmac });
    rule(!decoded.ok, "a packet of strangers was accepted");
    rule(decoded.error.text !== "" && decoded.error.code > 0, "a refusal without a reason");
  },
};

/** A packet of the vectors. */
interface KeyedPacket {
  readonly wire: string;
  readonly keys: DecodeKeys;
  readonly isGood: boolean;
}

/** The input is a packet of the vectors with its keys, chosen by two bytes; the rest alters it. */
function alteredPackets(): FuzzTarget {
  const packets = once((): readonly KeyedPacket[] =>
    loadVectors().filter(({ encryption }) => encryption.type === 1).map((vector) => ({
      wire: vector.packet,
      keys: vectorKeys(vector),
      isGood: decodePacket(vector.packet, vectorKeys(vector)).ok,
    }))
  );
  return {
    name: "packet-altered",
    rule: "with the right keys, no other spelling of a good packet is accepted",
    seeds: () =>
      packets().map(({ wire }, index) =>
        withChoice(index >> 8, withChoice(index & 255, bytesOf(wire)))
      ),
    words: ["=", "==", "A", "Q", RIJNDAEL_BEGINNING],
    check(input) {
      const [high, rest] = choiceOf(input);
      const [low, altered] = choiceOf(rest);
      const { wire, keys, isGood } = pick(packets(), high << 8 | low);
      const text = latin1Of(altered);
      const decoded = decodePacket(text, keys);
      rule(!decoded.ok || (isGood && text === wire), "an altered packet was accepted");
    },
  };
}

/** The input is a plaintext without its digest, which is put behind it. */
const plaintext: FuzzTarget = {
  name: "plaintext",
  rule: "what is accepted of an insider's plaintext has no other spelling",
  seeds: plaintextSeeds,
  words: FIELD_WORDS,
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const extensions: Extensions = choice & 1 ? { ipv6: true, long: true } : {};
    const digestType = pick(DIGEST_NAMES, choice >> 1);
    const digest = encodeBase64(computeDigest(digestType, bytes));
    const whole = bytesOf(`:${digest}`);
    const plain = Uint8Array.from([...bytes, ...whole]);
    for (const origin of ["Rijndael", "GPG"] as const) {
      const fields = decodePlaintext(plain, origin, extensions);
      if (!fields.ok) continue;
      const again = encodeFields(fields.value, fields.value.digestType, extensions);
      if (isLongerThanSent(again)) continue;
      rule(again.ok, `accepted fields cannot be encoded: ${again.ok || again.error.name}`);
      rule(sameBytes(bytesOf(again.value.plaintext), plain), "two plaintexts have the same fields");
    }
  },
};

/** As in libfko, receivers take some fields a little longer than senders make them. */
function isLongerThanSent(result: Result<unknown>): boolean {
  return !result.ok && result.error.name === "FKO_ERROR_DATA_TOO_LARGE";
}

/** The input is a whole plaintext, which is encrypted and authenticated with the right keys. */
const insider: FuzzTarget = {
  name: "packet-of-insider",
  rule: "an accepted packet encodes to the same bytes again",
  seeds: () =>
    loadVectors().filter(({ fields }) => fields.encoded !== null).map(({ fields }, index) =>
      withChoice(index, bytesOf(`${fields.encoded}:${fields.digest}`))
    ),
  words: FIELD_WORDS,
  check(input) {
    const [choice, plain] = choiceOf(input);
    const mode = pick(MODES, choice);
    const hmacType = pick(DIGEST_NAMES, choice >> 3);
    const encrypted = encryptRijndael(plain, { key: KEY, salt: SALT, mode });
    rule(encrypted.ok, "a plaintext cannot be encrypted");
    const text = encodeBase64(encrypted.value);
    const wire = text.slice(RIJNDAEL_BEGINNING.length) + prepareHmac(hmacType, HMAC_KEY).tag(text);
    const keys = { key: KEY, mode, hmacKey: HMAC_KEY, hmacType };
    const decoded = decodePacket(wire, keys);
    if (!decoded.ok) return;
    const { digestType } = decoded.value;
    const again = encodePacket(decoded.value, { ...keys, salt: SALT, digestType });
    if (isLongerThanSent(again)) return;
    rule(again.ok, `an accepted packet cannot be encoded: ${again.ok || again.error.name}`);
    rule(again.value.wire === wire, "two packets have the same fields, keys and salt");
    rule(formatFieldDump(decoded.value).endsWith("\n"), "a dump without a line end");
  },
};

const base64: FuzzTarget = {
  name: "base64",
  rule: "strict base64 has one text for each byte string",
  seeds: () => ["", "QQ", "QUI", "QUJD", "QUJDRA==", "////", "A", "Zh"].map(bytesOf),
  words: ["=", "A", "/", "+", "-", "_", "\n"],
  check(input) {
    const text = latin1Of(input);
    const decoded = decodeBase64(text);
    if (decoded !== null) {
      rule(isBase64Text(text), "other characters were decoded");
      rule(decoded.length === decodedLength(text.length), "another length than foretold");
      rule(encodeBase64(decoded) === text, "two texts for the same bytes");
    }
    const back = decodeBase64(encodeBase64(input));
    rule(back !== null && sameBytes(back, input), "bytes do not come back");
    const key = decodeKeyBase64(encodePaddedBase64(input));
    rule(key !== null && sameBytes(key, input), "a key does not come back");
    const loose = decodeKeyBase64(text);
    rule(loose === null || loose.length <= text.length, "a key longer than its text");
  },
};

const messages: FuzzTarget = {
  name: "message",
  rule: "what a message means is what its text says, and nothing else is sent",
  seeds: () =>
    loadVectors().flatMap(({ fields }, index) => [
      withChoice(index, bytesOf(fields.message ?? "")),
      withChoice(index, bytesOf(fields.nat_access ?? "")),
    ]),
  words: FIELD_WORDS,
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const text = fieldText(bytes);
    rule(sameBytes(fieldBytes(text), bytes), "a field's bytes do not come back");
    const extensions: Extensions = choice & 128 ? { ipv6: true } : {};
    const type = choice % 7 as MessageType;
    const access = parseAccessMessage(text, extensions);
    if (access !== null) {
      const ports = access.ports.map(({ protocol, port }) => `${protocol}/${port}`).join(",");
      const plain = text.replaceAll(/\/0+(?=\d)/g, "/");
      rule(`${access.address},${ports}` === plain, "an access message means something else");
      rule(isMessageText(1, text, extensions), "a message that has a meaning is refused");
    }
    const command = parseCommandMessage(text, extensions);
    rule(command === null || `${command.address},${command.command}` === text, "another command");
    const nat = parseNatAccess(text);
    if (nat !== null) {
      rule(text.startsWith(`${nat.host},`) && nat.port >= 1 && nat.port <= 65535, "another target");
    }
    if (bytes.length > 0 && bytes.length < 128) {
      const problem = checkMessage(type, text, extensions);
      rule(
        (problem === null) === isMessageText(type, text, extensions),
        "sender and receiver differ",
      );
      rule((checkNatAccess(text) === null) === isNatAccessText(text), "NAT: they differ");
    }
    rule(textOf(bytes).length <= bytes.length, "a text longer than its bytes");
  },
};

/** All of them. */
export function packetTargets(): readonly FuzzTarget[] {
  return [payload, alteredPackets(), plaintext, insider, base64, messages];
}
