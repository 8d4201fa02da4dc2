// A stanza of access.conf with its values typed: whom it lets in, with which keys, to what.

import type { AccessVariableName } from "./conf_access_variables.ts";
import type { AddressList, IpAddress } from "./net_address.ts";
import type { ProtocolPort } from "./net_port.ts";
import type { EncryptionMode } from "./spa_cipher.ts";
import type { DigestName } from "./spa_digest.ts";

/** A user that commands run as. */
export interface UserAccount {
  readonly name: string;
  readonly uid: number;
  /** The user's primary group. */
  readonly gid: number;
}

/** A group that commands run as. */
export interface GroupAccount {
  /** As it is written; where that is a user, for sudo(8) the group's number behind a `#`. */
  readonly name: string;
  readonly gid: number;
}

/** Where NAT leads to. */
export interface NatTarget {
  /** IPv4. */
  readonly address: IpAddress;
  /** 0 to 65535; 0 only together with 0.0.0.0, which FORWARD_ALL with source NAT implies. */
  readonly port: number;
}

/** A checked stanza. A variable that is not set is null, or its default if it has one. */
export interface Stanza {
  /** From 1, in the order in which stanzas are tried. */
  readonly number: number;
  /** Where its SOURCE line stands. */
  readonly file: string;
  readonly line: number;
  /** What is written in the files, by variable; keys and passphrases are empty texts. */
  readonly written: ReadonlyMap<AccessVariableName, string>;

  readonly SOURCE: AddressList;
  /** Null: any. */
  readonly DESTINATION: AddressList | null;
  /** Null: all. */
  readonly OPEN_PORTS: readonly ProtocolPort[] | null;
  readonly RESTRICT_PORTS: readonly ProtocolPort[] | null;

  /** From KEY or KEY_BASE64: at most 32 bytes, in legacy mode at most 16; null without either. */
  readonly KEY: Uint8Array | null;
  /** From HMAC_KEY or HMAC_KEY_BASE64: at most 128 bytes. */
  readonly HMAC_KEY: Uint8Array | null;
  /** Null exactly when HMAC_KEY is. */
  readonly HMAC_DIGEST_TYPE: DigestName | null;
  readonly ENCRYPTION_MODE: EncryptionMode;

  /** Seconds of access when the client asks for none. Not above a MAX_FW_TIMEOUT that is set. */
  readonly FW_ACCESS_TIMEOUT: number;
  /** Most seconds of access that a client may ask for. */
  readonly MAX_FW_TIMEOUT: number;
  readonly REQUIRE_USERNAME: string | null;
  readonly REQUIRE_SOURCE_ADDRESS: boolean;
  /** Seconds since 1970 UTC after which the stanza is no longer used; null: never. */
  readonly ACCESS_EXPIRE: number | null;

  readonly ENABLE_CMD_EXEC: boolean;
  readonly ENABLE_CMD_SUDO_EXEC: boolean;
  readonly CMD_EXEC_USER: UserAccount | null;
  readonly CMD_EXEC_GROUP: GroupAccount | null;
  readonly CMD_SUDO_EXEC_USER: UserAccount | null;
  readonly CMD_SUDO_EXEC_GROUP: GroupAccount | null;
  readonly CMD_CYCLE_OPEN: string | null;
  /** Null also when it says NONE. */
  readonly CMD_CYCLE_CLOSE: string | null;
  /** Seconds; null when it is not set. */
  readonly CMD_CYCLE_TIMER: number | null;

  readonly FORCE_NAT: NatTarget | null;
  /** IPv4. */
  readonly FORCE_SNAT: IpAddress | null;
  readonly FORCE_MASQUERADE: boolean;
  readonly FORWARD_ALL: boolean;
  readonly DISABLE_DNAT: boolean;

  /** Of the stanza, else of fwknopd.conf if the stanza uses GPG. */
  readonly GPG_HOME_DIR: string | null;
  /** Of the stanza, else of fwknopd.conf if the stanza uses GPG. */
  readonly GPG_EXE: string | null;
  /** Only shown: which key decrypts is for the packet to say. */
  readonly GPG_DECRYPT_ID: string | null;
  /** An empty text when GPG_ALLOW_NO_PW says so; null when the stanza does not use GPG. */
  readonly GPG_DECRYPT_PW: string | null;
  readonly GPG_REQUIRE_SIG: boolean;
  readonly GPG_IGNORE_SIG_VERIFY_ERROR: boolean;
  readonly GPG_REMOTE_ID: readonly string[] | null;
  readonly GPG_FINGERPRINT_ID: readonly string[] | null;
}
