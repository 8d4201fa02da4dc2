// Every variable of access.conf: whether it works in this release, whether it holds a secret, and
// whether a file of keys may set it.

/** A variable's row. */
export interface AccessVariable {
  /** `later`: a later release brings its effect. */
  readonly effect: "works" | "later";
  /** Its value must never be shown. */
  readonly secret: boolean;
  /** Allowed in files that `%include_keys` names. */
  readonly inKeyFile: boolean;
}

/** Name of a variable of access.conf. */
export type AccessVariableName =
  | "SOURCE"
  | "DESTINATION"
  | "OPEN_PORTS"
  | "RESTRICT_PORTS"
  | "KEY"
  | "KEY_BASE64"
  | "HMAC_KEY"
  | "HMAC_KEY_BASE64"
  | "HMAC_DIGEST_TYPE"
  | "ENCRYPTION_MODE"
  | "FW_ACCESS_TIMEOUT"
  | "MAX_FW_TIMEOUT"
  | "ENABLE_CMD_EXEC"
  | "ENABLE_CMD_SUDO_EXEC"
  | "CMD_EXEC_USER"
  | "CMD_EXEC_GROUP"
  | "CMD_SUDO_EXEC_USER"
  | "CMD_SUDO_EXEC_GROUP"
  | "CMD_CYCLE_OPEN"
  | "CMD_CYCLE_CLOSE"
  | "CMD_CYCLE_TIMER"
  | "REQUIRE_USERNAME"
  | "REQUIRE_SOURCE_ADDRESS"
  | "REQUIRE_SOURCE"
  | "ACCESS_EXPIRE"
  | "ACCESS_EXPIRE_EPOCH"
  | "FORCE_NAT"
  | "FORCE_SNAT"
  | "FORCE_MASQUERADE"
  | "FORWARD_ALL"
  | "DISABLE_DNAT"
  | "GPG_HOME_DIR"
  | "GPG_EXE"
  | "GPG_DECRYPT_ID"
  | "GPG_DECRYPT_PW"
  | "GPG_ALLOW_NO_PW"
  | "GPG_REQUIRE_SIG"
  | "GPG_DISABLE_SIG"
  | "GPG_IGNORE_SIG_VERIFY_ERROR"
  | "GPG_REMOTE_ID"
  | "GPG_FINGERPRINT_ID";

const works: AccessVariable = { effect: "works", secret: false, inKeyFile: false };
const later: AccessVariable = { effect: "later", secret: false, inKeyFile: false };
const key: AccessVariable = { effect: "works", secret: true, inKeyFile: true };
const gpg: AccessVariable = { effect: "later", secret: false, inKeyFile: true };

/** The rows by name. */
export const ACCESS_VARIABLES: Readonly<Record<AccessVariableName, AccessVariable>> = {
  SOURCE: works,
  DESTINATION: works,
  OPEN_PORTS: works,
  RESTRICT_PORTS: works,
  KEY: key,
  KEY_BASE64: key,
  HMAC_KEY: key,
  HMAC_KEY_BASE64: key,
  HMAC_DIGEST_TYPE: works,
  ENCRYPTION_MODE: works,
  FW_ACCESS_TIMEOUT: works,
  MAX_FW_TIMEOUT: works,
  ENABLE_CMD_EXEC: works,
  ENABLE_CMD_SUDO_EXEC: works,
  CMD_EXEC_USER: works,
  CMD_EXEC_GROUP: works,
  CMD_SUDO_EXEC_USER: works,
  CMD_SUDO_EXEC_GROUP: works,
  CMD_CYCLE_OPEN: works,
  CMD_CYCLE_CLOSE: works,
  CMD_CYCLE_TIMER: works,
  REQUIRE_USERNAME: works,
  REQUIRE_SOURCE_ADDRESS: works,
  REQUIRE_SOURCE: works,
  ACCESS_EXPIRE: works,
  ACCESS_EXPIRE_EPOCH: works,
  FORCE_NAT: works,
  FORCE_SNAT: works,
  FORCE_MASQUERADE: works,
  FORWARD_ALL: works,
  DISABLE_DNAT: works,
  GPG_HOME_DIR: later,
  GPG_EXE: later,
  GPG_DECRYPT_ID: gpg,
  GPG_DECRYPT_PW: { ...gpg, secret: true },
  GPG_ALLOW_NO_PW: gpg,
  GPG_REQUIRE_SIG: gpg,
  GPG_DISABLE_SIG: gpg,
  GPG_IGNORE_SIG_VERIFY_ERROR: gpg,
  GPG_REMOTE_ID: gpg,
  GPG_FINGERPRINT_ID: gpg,
};

/** Whether access.conf has a variable of this name; names are case-sensitive. */
export function isAccessVariable(name: string): name is AccessVariableName {
  return Object.hasOwn(ACCESS_VARIABLES, name);
}

/** All names. */
export function accessVariableNames(): AccessVariableName[] {
  return Object.keys(ACCESS_VARIABLES) as AccessVariableName[];
}
