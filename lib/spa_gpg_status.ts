// What gpg says of a message it decrypted, read from its status lines (doc/DETAILS of GnuPG) and
// never from texts for people: the plaintext, and whose signature it carries.

import type { GpgDump } from "./spa_dump.ts";
import { type SpaError, spaError } from "./spa_error.ts";

/** How far gpg's web of trust vouches for a key. */
export type GpgValidity = "unknown" | "never" | "marginal" | "full";

/** What became of a signature. */
export type SignatureVerdict =
  | "good"
  | "bad"
  | "expired"
  | "key-expired"
  | "key-revoked"
  | "no-public-key"
  | "unsupported"
  | "error";

/** The first signature of a message. */
export interface GpgSignature {
  readonly verdict: SignatureVerdict;
  readonly validity: GpgValidity;
  /**
   * Of the key or subkey that signed, in upper-case hexadecimal; only 16 digits where gpg does not
   * know the key.
   */
  readonly fingerprint: string;
}

/** A decrypted message, or why there is none. */
export type GpgDecryption =
  | {
    readonly ok: true;
    /** To be given to `decodePlaintext`. */
    readonly plaintext: Uint8Array;
    /** Null when the message is not signed. */
    readonly signature: GpgSignature | null;
  }
  | {
    readonly ok: false;
    readonly error: SpaError;
    /** What gpg says, in libgpg-error's words; may be empty. */
    readonly detail: string;
  };

/** Number and text of libgpg-error for each verdict. */
const VERDICTS: Readonly<Record<SignatureVerdict, readonly [number, string]>> = {
  "good": [0, "Success"],
  "bad": [8, "Bad signature"],
  "expired": [154, "Signature expired"],
  "key-expired": [153, "Key expired"],
  "key-revoked": [94, "Certificate revoked"],
  "no-public-key": [9, "No public key"],
  "unsupported": [84, "Unsupported algorithm"],
  "error": [1, "General error"],
};

const VERDICT_KEYWORDS: Readonly<Record<string, SignatureVerdict>> = {
  GOODSIG: "good",
  BADSIG: "bad",
  EXPSIG: "expired",
  EXPKEYSIG: "key-expired",
  REVKEYSIG: "key-revoked",
};

const VALIDITIES: Readonly<Record<string, GpgValidity>> = {
  TRUST_UNDEFINED: "unknown",
  TRUST_NEVER: "never",
  TRUST_MARGINAL: "marginal",
  TRUST_FULLY: "full",
  TRUST_ULTIMATE: "full",
};

/** One status line. */
interface Status {
  readonly keyword: string;
  readonly args: readonly string[];
}

function readStatus(text: string): Status[] {
  return text.split("\n").flatMap((line) => {
    const [mark, keyword = "", ...args] = line.trimEnd().split(" ");
    return mark === "[GNUPG:]" ? [{ keyword, args }] : [];
  });
}

/**
 * Reads what a run with `decryptArguments` left. A message counts only when gpg decrypted exactly
 * one, found it unaltered, and gave exactly one plaintext from inside it. Never throws.
 *
 * @param output what gpg wrote to its standard output
 * @param statusText what it wrote to its standard error
 */
export function parseDecryption(output: Uint8Array, statusText: string): GpgDecryption {
  const lines = readStatus(statusText);
  const count = (keyword: string): number =>
    lines.filter((line) => line.keyword === keyword).length;
  const start = lines.findIndex(({ keyword }) => keyword === "BEGIN_DECRYPTION");
  const end = lines.findIndex(({ keyword }) => keyword === "END_DECRYPTION");
  const inside = lines.slice(start + 1, Math.max(end, 0));
  const whole = ["BEGIN_DECRYPTION", "DECRYPTION_OKAY", "PLAINTEXT", "END_DECRYPTION"]
    .every((keyword) => count(keyword) === 1);
  const isInside = inside.some(({ keyword }) => keyword === "PLAINTEXT");
  if (!whole || !isInside || count("DECRYPTION_FAILED") > 0) {
    return failedDecryption(failureReason(lines));
  }
  return { ok: true, plaintext: output, signature: firstSignature(inside) };
}

/** A decryption that failed, with libfko's error for it. */
export function failedDecryption(detail: string): GpgDecryption {
  return { ok: false, error: spaError("FKO_ERROR_GPGME_DECRYPT_FAILED"), detail };
}

const ERROR_TEXTS: Readonly<Record<number, string>> = {
  11: "Bad passphrase",
  17: "No secret key",
  85: "No passphrase given",
  99: "Operation cancelled",
  177: "No passphrase given",
};
/** The part of a gpg_error_t that is the code; the rest says which program it comes from. */
const ERROR_CODE_MASK = 0xffff;

function failureReason(lines: readonly Status[]): string {
  const failed = lines.find(({ keyword, args }) =>
    keyword === "ERROR" && args[0] === "pkdecrypt_failed"
  );
  if (failed !== undefined) {
    return ERROR_TEXTS[Number(failed.args[1]) & ERROR_CODE_MASK] ?? "Decryption failed";
  }
  const has = (wanted: string): boolean => lines.some(({ keyword }) => keyword === wanted);
  if (has("NO_SECKEY")) return "No secret key";
  if (has("NODATA") || !has("DECRYPTION_FAILED")) return "No data";
  return "Decryption failed";
}

function firstSignature(lines: readonly Status[]): GpgSignature | null {
  const starts = lines.flatMap(({ keyword }, index) => keyword === "NEWSIG" ? [index] : []);
  const group = lines.slice(starts[0] ?? 0, starts[1] ?? lines.length);
  const verdicts = group.filter(({ keyword }) =>
    keyword === "ERRSIG" || Object.hasOwn(VERDICT_KEYWORDS, keyword)
  );
  const [line] = verdicts;
  if (line === undefined) return null;
  const valid = group.find(({ keyword }) => keyword === "VALIDSIG")?.args[0];
  const trust = group.find(({ keyword }) => Object.hasOwn(VALIDITIES, keyword))?.keyword ?? "";
  const told = line.keyword === "ERRSIG" ? errsigVerdict(line) : VERDICT_KEYWORDS[line.keyword];
  const isClear = verdicts.length === 1 && (told !== "good" || valid !== undefined);
  return {
    verdict: isClear ? told ?? "error" : "error",
    validity: VALIDITIES[trust] ?? "unknown",
    fingerprint: (valid ?? errsigFingerprint(line) ?? line.args[0] ?? "").toUpperCase(),
  };
}

/** `ERRSIG keyid pkalgo hashalgo class time rc fingerprint`; gpg before 2.2.7 has no fingerprint. */
function errsigVerdict({ args }: Status): SignatureVerdict {
  if (args[5] === "9") return "no-public-key";
  return args[5] === "4" ? "unsupported" : "error";
}

function errsigFingerprint({ keyword, args }: Status): string | null {
  const fingerprint = args[6];
  return keyword === "ERRSIG" && /^[0-9A-Fa-f]{32,}$/.test(fingerprint ?? "")
    ? fingerprint ?? null
    : null;
}

/** The digits by which GPG_REMOTE_ID knows a signer: the last 8 of the fingerprint. */
export function signatureId({ fingerprint }: GpgSignature): string {
  return fingerprint.slice(-8);
}

/**
 * Whether a message's signature is what a receiver demands: there, good, and by a key that the web
 * of trust vouches for at least marginally.
 *
 * @param ignoreErrors only demand that there is one
 * @returns null, or libfko's error with gpg's reason
 */
export function checkSignature(
  signature: GpgSignature | null,
  ignoreErrors: boolean,
): { readonly error: SpaError; readonly detail: string } | null {
  if (signature === null) {
    return { error: spaError("FKO_ERROR_GPGME_NO_SIGNATURE"), detail: "" };
  }
  if (ignoreErrors) return null;
  const { verdict, validity } = signature;
  const trusted = validity === "marginal" || validity === "full";
  if (verdict === "good" && trusted) return null;
  const detail = verdict === "good"
    ? `key ${signature.fingerprint} is not known to be its owner's (validity: ${validity})`
    : VERDICTS[verdict][1];
  return { error: spaError("FKO_ERROR_GPGME_BAD_SIGNATURE"), detail };
}

/** What the field dump shows of a signature; null is one that nobody has looked at. */
export function describeSignature(
  signature: GpgSignature | null,
): Pick<
  GpgDump,
  "signatureId" | "signatureFingerprint" | "signatureSummary" | "signatureStatus"
> {
  return signature === null
    ? {
      signatureId: null,
      signatureFingerprint: null,
      signatureSummary: -1,
      signatureStatus: -1,
    }
    : {
      signatureId: signatureId(signature),
      signatureFingerprint: signature.fingerprint,
      signatureSummary: signatureSummary(signature),
      signatureStatus: signatureStatus(signature),
    };
}

/** GPGME's source number, in the upper byte of its error values. */
const GPGME_SOURCE = 7 * 2 ** 24;

/** The signature's error as GPGME numbers it; 0 is a good one. */
function signatureStatus({ verdict }: GpgSignature): number {
  const [code] = VERDICTS[verdict];
  return code === 0 ? 0 : GPGME_SOURCE + code;
}

const SUMMARY = {
  valid: 0x1,
  green: 0x2,
  red: 0x4,
  keyRevoked: 0x10,
  keyExpired: 0x20,
  signatureExpired: 0x40,
  keyMissing: 0x80,
  systemError: 0x800,
} as const;

/** GPGME's summary of a signature, bits of `gpgme_sigsum_t`. */
function signatureSummary({ verdict, validity }: GpgSignature): number {
  const byVerdict: Readonly<Record<SignatureVerdict, number>> = {
    "good": 0,
    "bad": SUMMARY.red,
    "expired": SUMMARY.signatureExpired,
    "key-expired": SUMMARY.keyExpired,
    "key-revoked": SUMMARY.keyRevoked,
    "no-public-key": SUMMARY.keyMissing,
    "unsupported": SUMMARY.systemError,
    "error": SUMMARY.systemError,
  };
  const isSound = verdict === "good" || verdict === "expired" || verdict === "key-expired";
  const colour = !isSound || validity === "unknown" || validity === "marginal"
    ? 0
    : validity === "full"
    ? SUMMARY.green
    : SUMMARY.red;
  const summary = byVerdict[verdict] | colour;
  return summary === SUMMARY.green ? summary | SUMMARY.valid : summary;
}
