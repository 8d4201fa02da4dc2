// Every variable of access.conf: whether it holds a secret, and whether a file of keys may set it.

/** A variable's row. */
export interface AccessVariable {
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

const plain: AccessVariable = { secret: false, inKeyFile: false };
const key: AccessVariable = { secret: true, inKeyFile: true };
const gpg: AccessVariable = { secret: false, inKeyFile: true };

/** The rows by name. */
export const ACCESS_VARIABLES: Readonly<Record<AccessVariableName, AccessVariable>> = {
  SOURCE: plain,
  DESTINATION: plain,
  OPEN_PORTS: plain,
  RESTRICT_PORTS: plain,
  KEY: key,
  KEY_BASE64: key,
  HMAC_KEY: key,
  HMAC_KEY_BASE64: key,
  HMAC_DIGEST_TYPE: plain,
  ENCRYPTION_MODE: plain,
  FW_ACCESS_TIMEOUT: plain,
  MAX_FW_TIMEOUT: plain,
  ENABLE_CMD_EXEC: plain,
  ENABLE_CMD_SUDO_EXEC: plain,
  CMD_EXEC_USER: plain,
  CMD_EXEC_GROUP: plain,
  CMD_SUDO_EXEC_USER: plain,
  CMD_SUDO_EXEC_GROUP: plain,
  CMD_CYCLE_OPEN: plain,
  CMD_CYCLE_CLOSE: plain,
  CMD_CYCLE_TIMER: plain,
  REQUIRE_USERNAME: plain,
  REQUIRE_SOURCE_ADDRESS: plain,
  REQUIRE_SOURCE: plain,
  ACCESS_EXPIRE: plain,
  ACCESS_EXPIRE_EPOCH: plain,
  FORCE_NAT: plain,
  FORCE_SNAT: plain,
  FORCE_MASQUERADE: plain,
  FORWARD_ALL: plain,
  DISABLE_DNAT: plain,
  GPG_HOME_DIR: plain,
  GPG_EXE: plain,
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
