// What the decision has to say: log lines as values, and the reasons for a refusal.

/** Severity of a line, as syslog names them. */
export type LogLevel = "error" | "warning" | "info" | "debug";

/** One line for the log, in fwknopd's wording. */
export interface LogEvent {
  readonly level: LogLevel;
  readonly text: string;
}

/** A line that is put together only when somebody reads it: of a flood, few are. */
export class LateEvent implements LogEvent {
  readonly level: LogLevel;
  readonly #make: () => string;

  constructor(level: LogLevel, make: () => string) {
    this.level = level;
    this.#make = make;
  }

  get text(): string {
    return this.#make();
  }
}

/** What a decoded packet asks for, in its own words. */
export interface Asked {
  /** Whom the client says it runs for. */
  readonly user: string;
  /** Ports such as `tcp/22,udp/53`, or the text of a command. */
  readonly request: string;
  /** Where NAT is to lead, as `host,port`; null without NAT. */
  readonly nat: string | null;
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
  | "rate-limited"
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
  | "firewall-failed"
  | "monitor-refused";
