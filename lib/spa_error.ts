// Every way a packet, a field or a key can be refused: libfko's numbers, names and sentences, and
// those of fwknopd. Refusals are values; nothing here is thrown.

/** The names after `FKO_ERROR_INVALID_DATA_`, with their numbers. Their sentence ends in the name. */
const INVALID_DATA = {
  CLIENT_TIMEOUT_NEGATIVE: 5,
  DECODE_MSGLEN_VALIDFAIL: 6,
  DECODE_NON_ASCII: 7,
  DECODE_LT_MIN_FIELDS: 8,
  DECODE_GT_MAX_FIELDS: 9,
  DECODE_WRONG_NUM_FIELDS: 10,
  DECODE_ENC_MSG_LEN_MT_T_SIZE: 11,
  DECODE_RAND_MISSING: 12,
  DECODE_USERNAME_MISSING: 13,
  DECODE_USERNAME_TOOBIG: 14,
  DECODE_USERNAME_DECODEFAIL: 15,
  DECODE_USERNAME_VALIDFAIL: 16,
  DECODE_TIMESTAMP_MISSING: 17,
  DECODE_TIMESTAMP_TOOBIG: 18,
  DECODE_TIMESTAMP_DECODEFAIL: 19,
  DECODE_VERSION_MISSING: 20,
  DECODE_VERSION_TOOBIG: 21,
  DECODE_MSGTYPE_MISSING: 22,
  DECODE_MSGTYPE_TOOBIG: 23,
  DECODE_MSGTYPE_DECODEFAIL: 24,
  DECODE_MESSAGE_MISSING: 25,
  DECODE_MESSAGE_TOOBIG: 26,
  DECODE_MESSAGE_DECODEFAIL: 27,
  DECODE_MESSAGE_VALIDFAIL: 28,
  DECODE_ACCESS_VALIDFAIL: 29,
  DECODE_NATACCESS_MISSING: 30,
  DECODE_NATACCESS_TOOBIG: 31,
  DECODE_NATACCESS_DECODEFAIL: 32,
  DECODE_NATACCESS_VALIDFAIL: 33,
  DECODE_SRVAUTH_MISSING: 34,
  DECODE_SRVAUTH_DECODEFAIL: 35,
  DECODE_SPA_EXTRA_TOOBIG: 36,
  DECODE_EXTRA_TOOBIG: 37,
  DECODE_EXTRA_DECODEFAIL: 38,
  DECODE_TIMEOUT_MISSING: 39,
  DECODE_TIMEOUT_TOOBIG: 40,
  DECODE_TIMEOUT_VALIDFAIL: 41,
  DECODE_TIMEOUT_DECODEFAIL: 42,
  ENCODE_MESSAGE_TOOBIG: 43,
  ENCODE_MSGLEN_VALIDFAIL: 44,
  ENCODE_DIGEST_VALIDFAIL: 45,
  ENCODE_DIGEST_TOOBIG: 46,
  ENCODE_NOTBASE64: 47,
  ENCRYPT_MSGLEN_VALIDFAIL: 48,
  ENCRYPT_DIGESTLEN_VALIDFAIL: 49,
  ENCRYPT_PTLEN_VALIDFAIL: 50,
  ENCRYPT_RESULT_MSGLEN_VALIDFAIL: 51,
  ENCRYPT_CIPHERLEN_DECODEFAIL: 52,
  ENCRYPT_CIPHERLEN_VALIDFAIL: 53,
  ENCRYPT_DECRYPTED_MESSAGE_MISSING: 54,
  ENCRYPT_DECRYPTED_MSGLEN_VALIDFAIL: 55,
  ENCRYPT_GPG_MESSAGE_VALIDFAIL: 56,
  ENCRYPT_GPG_DIGEST_VALIDFAIL: 57,
  ENCRYPT_GPG_MSGLEN_VALIDFAIL: 58,
  ENCRYPT_GPG_RESULT_MSGLEN_VALIDFAIL: 59,
  ENCRYPT_GPG_CIPHER_DECODEFAIL: 60,
  ENCRYPT_GPG_ENCODEDMSG_NULL: 61,
  ENCRYPT_GPG_ENCODEDMSGLEN_VALIDFAIL: 62,
  ENCRYPT_TYPE_VALIDFAIL: 63,
  ENCRYPT_MODE_VALIDFAIL: 64,
  ENCRYPT_TYPE_UNKNOWN: 65,
  FUNCS_NEW_ENCMSG_MISSING: 66,
  FUNCS_NEW_MSGLEN_VALIDFAIL: 67,
  FUNCS_GEN_KEYLEN_VALIDFAIL: 68,
  FUNCS_GEN_HMACLEN_VALIDFAIL: 69,
  FUNCS_GEN_KEY_ENCODEFAIL: 70,
  FUNCS_GEN_HMAC_ENCODEFAIL: 71,
  FUNCS_SET_MSGLEN_VALIDFAIL: 72,
  HMAC_MSGLEN_VALIDFAIL: 73,
  HMAC_ENCMSGLEN_VALIDFAIL: 74,
  HMAC_COMPAREFAIL: 75,
  HMAC_TYPE_VALIDFAIL: 76,
  HMAC_LEN_VALIDFAIL: 77,
  MESSAGE_PORT_MISSING: 78,
  MESSAGE_TYPE_VALIDFAIL: 79,
  MESSAGE_EMPTY: 80,
  MESSAGE_CMD_MISSING: 81,
  MESSAGE_ACCESS_MISSING: 82,
  MESSAGE_NAT_MISSING: 83,
  MESSAGE_PORTPROTO_MISSING: 84,
  NAT_EMPTY: 85,
  RAND_LEN_VALIDFAIL: 86,
  SRVAUTH_MISSING: 87,
  TIMESTAMP_VALIDFAIL: 88,
  USER_MISSING: 89,
  USER_FIRSTCHAR_VALIDFAIL: 90,
  USER_REMCHAR_VALIDFAIL: 91,
  UTIL_STRTOL_LT_MIN: 92,
  UTIL_STRTOL_GT_MAX: 93,
} as const;

/** All others of libfko: number and sentence. */
const LIBRARY = {
  FKO_SUCCESS: [0, "Success"],
  FKO_ERROR_CTX_NOT_INITIALIZED: [1, "FKO Context is not initialized"],
  FKO_ERROR_MEMORY_ALLOCATION: [2, "Unable to allocate memory"],
  FKO_ERROR_FILESYSTEM_OPERATION: [3, "Read/write bytes mismatch"],
  FKO_ERROR_INVALID_DATA: [4, "Args contain invalid data"],
  FKO_ERROR_DATA_TOO_LARGE: [94, "Value or Size of the data exceeded the max allowed"],
  FKO_ERROR_INVALID_KEY_LEN: [95, "Invalid key length"],
  FKO_ERROR_USERNAME_UNKNOWN: [96, "Unable to determine username"],
  FKO_ERROR_INCOMPLETE_SPA_DATA: [97, "Missing or incomplete SPA data"],
  FKO_ERROR_MISSING_ENCODED_DATA: [98, "There is no encoded data to process"],
  FKO_ERROR_INVALID_DIGEST_TYPE: [99, "Invalid digest type"],
  FKO_ERROR_INVALID_ALLOW_IP: [100, "Invalid allow IP address in the SPA message data"],
  FKO_ERROR_INVALID_SPA_COMMAND_MSG: [101, "Invalid SPA command message format"],
  FKO_ERROR_INVALID_SPA_ACCESS_MSG: [102, "Invalid SPA access message format"],
  FKO_ERROR_INVALID_SPA_NAT_ACCESS_MSG: [103, "Invalid SPA nat_access message format"],
  FKO_ERROR_INVALID_ENCRYPTION_TYPE: [104, "Invalid encryption type"],
  FKO_ERROR_WRONG_ENCRYPTION_TYPE: [
    105,
    "Wrong or inappropriate encryption type for this operation",
  ],
  FKO_ERROR_DECRYPTION_SIZE: [106, "Unexpected or invalid size for decrypted data"],
  FKO_ERROR_DECRYPTION_FAILURE: [107, "Decryption failed or decrypted data is invalid"],
  FKO_ERROR_DIGEST_VERIFICATION_FAILED: [
    108,
    "The computed digest did not match the digest in the spa data",
  ],
  FKO_ERROR_INVALID_HMAC_KEY_LEN: [109, "Invalid HMAC key length"],
  FKO_ERROR_UNSUPPORTED_HMAC_MODE: [110, "Unsupported HMAC mode (default: SHA256)"],
  FKO_ERROR_UNSUPPORTED_FEATURE: [111, "Unsupported or unimplemented feature or function"],
  FKO_ERROR_ZERO_OUT_DATA: [112, "Could not zero out sensitive data"],
  FKO_ERROR_UNKNOWN: [113, "Unknown/Unclassified error"],
  FKO_GPGME_ERR_START: [114, "Undefined Error"],
  FKO_ERROR_MISSING_GPG_KEY_DATA: [115, "Missing GPG key data (signer or recipient not set)"],
  FKO_ERROR_GPGME_NO_OPENPGP: [116, "This GPGME implementation does not support OpenPGP"],
  FKO_ERROR_GPGME_CONTEXT: [117, "Unable to create GPGME context"],
  FKO_ERROR_GPGME_PLAINTEXT_DATA_OBJ: [118, "Error creating the plaintext data object"],
  FKO_ERROR_GPGME_SET_PROTOCOL: [119, "Unable to set GPGME to use OpenPGP protocol"],
  FKO_ERROR_GPGME_CIPHER_DATA_OBJ: [120, "Error creating the encrypted data data object"],
  FKO_ERROR_GPGME_BAD_PASSPHRASE: [121, "The GPG passphrase was not valid"],
  FKO_ERROR_GPGME_ENCRYPT_SIGN: [122, "Error during the encrypt and sign operation"],
  FKO_ERROR_GPGME_CONTEXT_SIGNER_KEY: [123, "Unable to create GPGME context for the signer key"],
  FKO_ERROR_GPGME_SIGNER_KEYLIST_START: [124, "Error from signer keylist start operation"],
  FKO_ERROR_GPGME_SIGNER_KEY_NOT_FOUND: [125, "The key for the given signer was not found"],
  FKO_ERROR_GPGME_SIGNER_KEY_AMBIGUOUS: [
    126,
    "Ambiguous name/id for the signer key (multiple matches)",
  ],
  FKO_ERROR_GPGME_ADD_SIGNER: [127, "Error adding the signer key to the gpgme context"],
  FKO_ERROR_GPGME_CONTEXT_RECIPIENT_KEY: [
    128,
    "Unable to create GPGME context for the recipient key",
  ],
  FKO_ERROR_GPGME_RECIPIENT_KEYLIST_START: [129, "Error from signer keylist start operation"],
  FKO_ERROR_GPGME_RECIPIENT_KEY_NOT_FOUND: [130, "The key for the given recipient was not found"],
  FKO_ERROR_GPGME_RECIPIENT_KEY_AMBIGUOUS: [
    131,
    "Ambiguous name/id for the recipient key (multiple matches)",
  ],
  FKO_ERROR_GPGME_DECRYPT_FAILED: [132, "Decryption operation failed"],
  FKO_ERROR_GPGME_DECRYPT_UNSUPPORTED_ALGORITHM: [
    133,
    "Decryption operation failed due to unsupported algorithm",
  ],
  FKO_ERROR_GPGME_BAD_GPG_EXE: [134, "Unable to stat the given GPG executable"],
  FKO_ERROR_GPGME_BAD_HOME_DIR: [135, "Unable to stat the given GPG home directory"],
  FKO_ERROR_GPGME_SET_HOME_DIR: [136, "Unable to set the given GPG home directory"],
  FKO_ERROR_GPGME_NO_SIGNATURE: [137, "Missing GPG signature"],
  FKO_ERROR_GPGME_BAD_SIGNATURE: [138, "Bad GPG signature"],
  FKO_ERROR_GPGME_SIGNATURE_VERIFY_DISABLED: [
    139,
    "Trying to check signature with verification disabled",
  ],
  FKO_LAST_ERROR: [140, "Undefined Error"],
} as const;

/** Numbers and sentences of the server, as `fwknopd --dump-serv-err-codes` prints them. */
const SERVER = {
  FWKNOPD_ERROR_BAD_FORMAT: [4096, "Data is not a valid SPA message format"],
  FWKNOPD_ERROR_TOO_SHORT: [4097, "Not enough data to be a valid SPA message"],
  FWKNOPD_ERROR_NOT_SPA_DATA: [4098, "Data is not an SPA message"],
  FWKNOPD_ERROR_HTTP_NOT_ENABLED: [
    4099,
    "SPA via HTTP request, but ENABLE_SPA_OVER_HTTP is not set",
  ],
  FWKNOPD_ERROR_CONTEXT: [4100, "Error creating FKO context for incoming data."],
  FWKNOPD_ERROR_DIGEST: [4101, "Unable to retrieve digest from the SPA data."],
  FWKNOPD_ERROR_DIGEST_CACHE: [4102, "Error trying to access the digest.cache file"],
  FWKNOPD_ERROR_REPLAY: [4103, "Detected SPA message replay"],
  FWKNOPD_ERROR_TOO_OLD: [4104, "SPA message timestamp is outside the allowable window"],
  FWKNOPD_ERROR_ACCESS_DENIED: [4105, "SPA message did not pass access checks"],
  FWKNOPD_ERROR_COMMAND_FAILED: [4106, "An error occurred while executing an SPA command message"],
  FWKNOPD_ERROR_NOT_SUPPORTED: [4107, "Unsupported SPA message operation"],
  FWKNOPD_ERROR_UNKNOWN: [4108, "Undefined/unknown fwknopd Error"],
  FWKNOPD_ERROR_GENERAL: [4109, "General SPA message processing error"],
  FWKNOPD_ERROR_FIREWALL_ADD: [8192, "An error occurred while tring to add a firewall rule"],
  FWKNOPD_ERROR_FIREWALL_DELETE: [8193, "An error occurred while tring to delete a firewall rule"],
  FWKNOPD_ERROR_FIREWALL_UNKNOWN: [8194, "Unknown/unclassified firewall rule processing error"],
} as const;

/** What the names of the many `FKO_ERROR_INVALID_DATA_...` end in. */
export type InvalidDataName = keyof typeof INVALID_DATA;

/** The name of an error: libfko's own, and `FWKNOPD_ERROR_...` for those of the server. */
export type SpaErrorName =
  | `FKO_ERROR_INVALID_DATA_${InvalidDataName}`
  | keyof typeof LIBRARY
  | keyof typeof SERVER;

/** Why something is refused. */
export interface SpaError {
  /** 0 to 140 as libfko counts, 4096 to 8194 as fwknopd counts. */
  readonly code: number;
  readonly name: SpaErrorName;
  /** The sentence that users of fwknop see. */
  readonly text: string;
}

/** A value, or why there is none. */
export type Result<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: SpaError };

/** A result that is there. */
export function accept<Value>(value: Value): Result<Value> {
  return { ok: true, value };
}

/** A result that is refused for the named reason. */
export function refuse(name: SpaErrorName): Result<never> {
  return { ok: false, error: spaError(name) };
}

/** A result that is refused for `FKO_ERROR_INVALID_DATA_` and the given name. */
export function refuseData(name: InvalidDataName): Result<never> {
  return refuse(`FKO_ERROR_INVALID_DATA_${name}`);
}

const INVALID_DATA_PREFIX = "FKO_ERROR_INVALID_DATA_";

/** Number and sentence of a named error. */
export function spaError(name: SpaErrorName): SpaError {
  if (name in LIBRARY) return entry(name, LIBRARY[name as keyof typeof LIBRARY]);
  if (name in SERVER) return entry(name, SERVER[name as keyof typeof SERVER]);
  const short = name.slice(INVALID_DATA_PREFIX.length) as InvalidDataName;
  return { code: INVALID_DATA[short], name, text: `Args contain invalid data: ${name}` };
}

function entry(name: SpaErrorName, [code, text]: readonly [number, string]): SpaError {
  return { code, name, text };
}

/** All errors, by number: libfko's 0 to 140, then those of fwknopd. */
export function listSpaErrors(): SpaError[] {
  const names = [
    ...Object.keys(INVALID_DATA).map((short) => INVALID_DATA_PREFIX + short),
    ...Object.keys(LIBRARY),
    ...Object.keys(SERVER),
  ] as SpaErrorName[];
  return names.map(spaError).sort((left, right) => left.code - right.code);
}
