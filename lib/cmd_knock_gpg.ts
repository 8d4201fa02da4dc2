// GnuPG in `spa knock`: which keys, whether their packet fits, the packet itself, and opening it
// again for `-T`. The steps' order and errors are fwknop's.

import { extensionsOf } from "./cmd_knock_message.ts";
import type { KnockKeys } from "./cmd_knock_keys.ts";
import type { MadePacket } from "./cmd_knock_show.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { done, failure, type Outcome } from "./cmd_ui.ts";
import type { Host } from "./host.ts";
import {
  decryptWithGpg,
  encryptWithGpg,
  type Gpg,
  listGpgKeys,
  type Passphrase,
} from "./host_gpg.ts";
import { digestTextLength } from "./spa_digest.ts";
import type { FieldDump, GpgDump } from "./spa_dump.ts";
import { type SpaError, spaError, type SpaErrorName } from "./spa_error.ts";
import { decodePlaintext, encodeFields } from "./spa_fields.ts";
import { GPG_PROGRAM, type GpgParties } from "./spa_gpg.ts";
import {
  canReceivePackets,
  chooseKeyPart,
  describeFittingKeys,
  describeKeyPart,
  type GpgKey,
  type GpgKeyPart,
  type GpgMessagePlan,
  isSurelyTooLong,
} from "./spa_gpg_keys.ts";
import { checkSignature, describeSignature, type GpgSignature } from "./spa_gpg_status.ts";
import type { SpaFields } from "./spa_message.ts";
import {
  acceptUnauthenticated,
  authenticatePacket,
  encodeGpgPacket,
  gpgMessage,
} from "./spa_packet.ts";

/** The keys of a knock, looked up. */
export interface GpgSetup {
  readonly gpg: Gpg;
  /** As gpg is told: without a doubt which key is meant. */
  readonly parties: GpgParties;
  readonly plan: GpgMessagePlan;
}

/** Milliseconds; long enough for somebody to touch a token or to type into a pinentry. */
const TIMEOUT = 120_000;

/**
 * Looks up recipient and signer, and refuses keys whose packet no server could take: before any
 * passphrase is asked for.
 */
export async function prepareGpg(
  settings: KnockSettings,
  fields: SpaFields,
  host: Host,
): Promise<Outcome<GpgSetup>> {
  const gpg = findProgram(settings, host);
  if (!gpg.ok) return gpg;
  const recipient = await findKey(settings.gpgRecipient ?? "", "encrypt", gpg.value, host);
  if (!recipient.ok) return recipient;
  const name = settings.gpgSigner;
  const signer = name === undefined ? done(null) : await findKey(name, "sign", gpg.value, host);
  if (!signer.ok) return signer;
  if (!canReceivePackets(recipient.value.part)) {
    return refused(
      "FKO_ERROR_WRONG_ENCRYPTION_TYPE",
      `the recipient's key is ${describeKeyPart(recipient.value.part)}, and packets can only ` +
        "carry what is encrypted to RSA of 2048 bits or more; a signing key may be of any kind",
    );
  }
  const body = encodeFields(fields, settings.digestType ?? "SHA256", extensionsOf(fields));
  if (!body.ok) return failed(body.error);
  const plan: GpgMessagePlan = {
    recipient: recipient.value.part,
    signer: signer.value?.part ?? null,
    plaintextLength: body.value.plaintext.length,
    tagLength: settings.useHmac ? digestTextLength(settings.hmacDigestType ?? "SHA256") : 0,
  };
  if (isSurelyTooLong(plan)) return tooLong(plan);
  return done({
    gpg: gpg.value,
    parties: { recipient: recipient.value.name, signer: signer.value?.name ?? null },
    plan,
  });
}

function findProgram(settings: KnockSettings, host: Host): Outcome<Gpg> {
  const program = settings.gpgProgram ?? GPG_PROGRAM;
  if (!host.stat(program)?.isFile) {
    return refused(
      "FKO_ERROR_GPGME_BAD_GPG_EXE",
      `"${program}" is no file; --gpg-exe takes the full path of gpg`,
    );
  }
  const homeDirectory = settings.gpgHomeDirectory ?? null;
  if (homeDirectory !== null && !host.stat(homeDirectory)?.isDirectory) {
    return refused("FKO_ERROR_GPGME_BAD_HOME_DIR", `"${homeDirectory}" is no directory`);
  }
  return done({ program, homeDirectory });
}

interface FoundKey {
  readonly name: string;
  readonly part: GpgKeyPart;
}

async function findKey(
  name: string,
  purpose: "encrypt" | "sign",
  gpg: Gpg,
  host: Host,
): Promise<Outcome<FoundKey>> {
  const isRecipient = purpose === "encrypt";
  const keys = await listGpgKeys(host, gpg, isRecipient ? "public" : "secret", name);
  const [key, another] = keys;
  if (key === undefined) {
    const where = gpg.homeDirectory ?? "gpg's own directory";
    return refused(
      isRecipient
        ? "FKO_ERROR_GPGME_RECIPIENT_KEY_NOT_FOUND"
        : "FKO_ERROR_GPGME_SIGNER_KEY_NOT_FOUND",
      `"${name}" names no ${isRecipient ? "" : "secret "}key in ${where}`,
    );
  }
  if (another !== undefined) {
    return refused(
      isRecipient
        ? "FKO_ERROR_GPGME_RECIPIENT_KEY_AMBIGUOUS"
        : "FKO_ERROR_GPGME_SIGNER_KEY_AMBIGUOUS",
      `"${name}" names ${describeKeys(keys)}; give a fingerprint`,
    );
  }
  const part = chooseKeyPart(key, purpose);
  if (part === null) {
    return failure(
      `cannot ${purpose} with key ${key.fingerprint}: it is expired, revoked, or not meant for that`,
    );
  }
  // With an exclamation mark, gpg takes the very subkey that is named.
  return done({ name: name.endsWith("!") ? name : key.fingerprint, part });
}

function describeKeys(keys: readonly GpgKey[]): string {
  const shown = keys.slice(0, 2).map(({ fingerprint }) => fingerprint);
  const others = keys.length - shown.length;
  return [...shown, ...(others === 0 ? [] : [`${others} more`])].join(", ");
}

/** Encrypts, signs and authenticates. */
export async function makeGpgPacket(
  fields: SpaFields,
  { key, hmacKey }: KnockKeys,
  { gpg, parties, plan }: GpgSetup,
  settings: KnockSettings,
  host: Host,
): Promise<Outcome<MadePacket>> {
  const digestType = settings.digestType ?? "SHA256";
  const hmacType = hmacKey === null ? null : settings.hmacDigestType ?? "SHA256";
  const body = encodeFields(fields, digestType, extensionsOf(fields));
  if (!body.ok) return failed(body.error);
  const plaintext = new TextEncoder().encode(body.value.plaintext);
  const passphrase = passphraseOf(key, settings);
  const encrypted = await encryptWithGpg(host, gpg, plaintext, parties, passphrase, TIMEOUT);
  if (!encrypted.ok) return refused("FKO_ERROR_GPGME_ENCRYPT_SIGN", `gpg: ${encrypted.detail}`);
  const hmac = hmacKey === null || hmacType === null ? {} : { hmacKey, hmacType };
  const packet = encodeGpgPacket(body.value, encrypted.message, hmac);
  if (!packet.ok) {
    return TOO_LONG.has(packet.error.name) ? tooLong(plan) : failed(packet.error);
  }
  return done({
    fields,
    packet: packet.value,
    mode: "Asymmetric",
    digestType,
    hmacType,
    gpg: dumpOf(gpg, settings, null),
  });
}

/** Too long as it is, and too long with its tag. */
const TOO_LONG: ReadonlySet<SpaErrorName> = new Set([
  "FKO_ERROR_INVALID_DATA_ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL",
  "FKO_ERROR_MISSING_ENCODED_DATA",
]);

function passphraseOf(key: Uint8Array, settings: KnockSettings): Passphrase {
  if (key.length > 0) return key;
  return settings.useGpgAgent ? "agent" : "none";
}

function dumpOf(gpg: Gpg, settings: KnockSettings, signature: GpgSignature | null): GpgDump {
  return {
    signer: settings.gpgSigner ?? null,
    recipient: settings.gpgRecipient ?? null,
    verifySignature: true,
    ignoreSignature: false,
    ...describeSignature(signature),
    homeDirectory: gpg.homeDirectory,
    executable: gpg.program,
  };
}

/** Opens a packet again as a server would, with the keys that are here. */
export async function reopenGpgPacket(
  { fields: asked, packet, hmacType }: MadePacket,
  { key, hmacKey }: KnockKeys,
  { gpg }: GpgSetup,
  settings: KnockSettings,
  host: Host,
): Promise<Outcome<FieldDump>> {
  const mode = "Asymmetric";
  const text = hmacKey === null || hmacType === null
    ? acceptUnauthenticated(packet.wire, mode)
    : authenticatePacket(packet.wire, { hmacKey, hmacType, mode });
  if (!text.ok) return undecodable(text.error);
  const message = gpgMessage(text.value) ?? new Uint8Array();
  const passphrase = passphraseOf(key, settings);
  const decryption = await decryptWithGpg(host, gpg, message, passphrase, TIMEOUT);
  if (!decryption.ok) {
    return undecodable(
      decryption.error,
      `GPG ERR: ${decryption.detail}. No access to recipient private key?`,
    );
  }
  const bad = checkSignature(decryption.signature, false);
  if (bad !== null) return undecodable(bad.error, bad.detail);
  const fields = decodePlaintext(decryption.plaintext, "GPG", extensionsOf(asked));
  if (!fields.ok) return undecodable(fields.error);
  return done({
    ...fields.value,
    mode,
    hmac: packet.hmac,
    hmacType,
    data: packet.wire.slice(0, packet.wire.length - (packet.hmac?.length ?? 0)),
    gpg: { ...dumpOf(gpg, settings, decryption.signature), signer: null, recipient: null },
  });
}

function tooLong(plan: GpgMessagePlan): Outcome<never> {
  return refused(
    "FKO_ERROR_INVALID_DATA_ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL",
    `a packet has at most 1499 characters: ${describeFittingKeys(plan)}`,
  );
}

function refused(name: SpaErrorName, hint: string): Outcome<never> {
  return failed(spaError(name), hint);
}

function failed({ code, text }: SpaError, hint?: string): Outcome<never> {
  return failure(`cannot make the packet: Error ${code} - ${text}`, hint);
}

function undecodable({ code, text }: SpaError, hint = ""): Outcome<never> {
  const what = `cannot decode the packet again: Error ${code} - ${text}`;
  return hint === "" ? failure(what) : failure(what, hint);
}
