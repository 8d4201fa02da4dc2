// What the decision has to say: log lines as values, and the reasons for a refusal.

/** Severity of a line, as syslog names them. */
export type LogLevel = "error" | "warning" | "info" | "debug";

/** One line for the log, in fwknopd's wording. */
export interface LogEvent {
  readonly level: LogLevel;
  readonly text: string;
}

/** Why a packet opened nothing. */
export type RefusalReason =
  | "not-a-packet"
  | "no-stanza-for-source"
  | "stanza-expired"
  | "no-encryption-mode-match"
  | "hmac-mismatch"
  | "replay"
  | "undecodable"
  | "gpg-busy"
  | "signer-not-listed"
  | "too-old-or-new"
  | "invalid-allow-address"
  | "source-address-required"
  | "user-name-mismatch"
  | "nat-not-enabled"
  | "nat-target-refused"
  | "command-not-allowed"
  | "port-denied"
  | "test-mode"
  | "digest-cache-failed"
  | "firewall-failed";
