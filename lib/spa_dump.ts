// The "SPA Field Values" dump that fwknop prints with -v and -T, and fwknopd logs at debug level.

import { type EncryptionMode, encryptionModeId } from "./spa_cipher.ts";
import { digestId, type DigestName } from "./spa_digest.ts";
import { messageTypeName, type SpaFields } from "./spa_message.ts";

/** What the dump shows of GnuPG; null where fwknop prints `<NULL>`. */
export interface GpgDump {
  readonly signer: string | null;
  readonly recipient: string | null;
  readonly verifySignature: boolean;
  readonly ignoreSignature: boolean;
  readonly signatureId: string | null;
  readonly signatureFingerprint: string | null;
  /** -1 before decryption. */
  readonly signatureSummary: number;
  /** -1 before decryption. */
  readonly signatureStatus: number;
  readonly homeDirectory: string | null;
  readonly executable: string;
}

/** Everything the dump shows. */
export interface FieldDump extends SpaFields {
  readonly digestType: DigestName;
  readonly hmacType: DigestName | null;
  readonly mode: EncryptionMode;
  /** The fields joined by `:`, without the digest. */
  readonly encoded: string;
  readonly digest: string;
  readonly hmac: string | null;
  /** The last line: the whole packet before sending, the packet without its tag after decoding. */
  readonly data: string;
  /** Shown for mode Asymmetric only. */
  readonly gpg?: GpgDump;
}

/** Formats the dump; the last line ends in a line feed. */
export function formatFieldDump(dump: FieldDump): string {
  const rows: readonly (readonly [string, string | number | null])[] = [
    ["Random Value", dump.randomValue],
    ["Username", dump.username],
    ["Timestamp", dump.timestamp],
    ["FKO Version", dump.version],
    ["Message Type", `${dump.messageType} (${messageTypeName(dump.messageType)})`],
    ["Message String", dump.message],
    ["Nat Access", dump.natAccess],
    ["Server Auth", dump.serverAuth],
    ["Client Timeout", dump.clientTimeout],
    ["Digest Type", digestLabel(dump.digestType)],
    ["HMAC Type", dump.hmacType === null ? "0 (None)" : digestLabel(dump.hmacType)],
    ["Encryption Type", dump.mode === "Asymmetric" ? "2 (GPG)" : "1 (Rijndael)"],
    ["Encryption Mode", `${encryptionModeId(dump.mode)} (${dump.mode})`],
    ...(dump.mode === "Asymmetric" && dump.gpg !== undefined ? gpgRows(dump.gpg) : []),
    ["Encoded Data", dump.encoded],
    ["SPA Data Digest", dump.digest],
    ["HMAC", dump.hmac],
    ["Final SPA Data", dump.data],
  ];
  const lines = rows.map(([label, value]) => `${label.padStart(15)}: ${value ?? "<NULL>"}\n`);
  return `SPA Field Values:\n=================\n${lines.join("")}`;
}

function digestLabel(name: DigestName): string {
  return `${digestId(name)} (${name})`;
}

function gpgRows(gpg: GpgDump): readonly (readonly [string, string | number | null])[] {
  const yesNo = (flag: boolean): string => flag ? "Yes" : "No";
  return [
    ["GPG signer", gpg.signer],
    ["GPG recipient", gpg.recipient],
    ["GPG sig verify", yesNo(gpg.verifySignature)],
    ["GPG ignore sig", yesNo(gpg.ignoreSignature)],
    ["GPG sig ID", gpg.signatureId],
    ["GPG sig fpr", gpg.signatureFingerprint],
    ["GPG sig summary", gpg.signatureSummary],
    ["GPG sig status", gpg.signatureStatus],
    ["GPG home dir", gpg.homeDirectory],
    ["GPG exe", gpg.executable],
  ];
}
