// Where packets are judged, as the gateway sees it: a capture with its sentry, in this process
// (serve_post_local.ts) or in one without privileges (serve_post_apart.ts).

import type { PacketQueue } from "../ffi/libnetfilter_queue.ts";
import type { Rules } from "./auth_grant_check.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import type { Host } from "./host.ts";
import type { GpgDecryptor } from "./serve_gpg.ts";
import type { Counts, Log } from "./serve_log.ts";
import type { SentryStart } from "./serve_pipe_orders.ts";
import type { SentryRequest } from "./serve_sentry.ts";
import type { GatewayOptions, Settings } from "./serve_settings.ts";

/** Judges packets; what is to be done about them goes to the monitor. */
export interface Post {
  /** Lines for the log, once packets are being received. */
  readonly announcement: readonly string[];
  /** Resolves when packets can be judged. */
  ready(): Promise<void>;
  /**
   * Judges packets until it is stopped or the packet limit is reached.
   *
   * @throws {CaptureError} when the capture dies
   */
  run(): Promise<"stopped" | "limit">;
  /**
   * Opens what new settings need and does not have yet; nothing changes before `commit`.
   *
   * @throws {CaptureError} when it cannot be had
   */
  prepare(next: Settings): Promise<PreparedChange>;
  counts(): Promise<Counts>;
  /** Ends {@linkcode run}. */
  stop(): void;
  /** Resolves when everything is judged; after `run`, or in place of it. */
  settle(): Promise<void>;
  /** Frees what is held; after {@linkcode settle}. */
  close(): void;
}

/** Settings that could be put in force; one of the two is to be called. */
export interface PreparedChange {
  /** Packets that come after this are judged by the new settings; nothing is lost in between. */
  commit(): Promise<void>;
  abort(): void;
}

/** What a post works with. */
export interface PostParts {
  readonly host: Host;
  readonly log: Log;
  readonly options: GatewayOptions;
  readonly settings: Settings;
  readonly gpg: GpgDecryptor;
  /** Does what a packet was granted, if the rules allow it; never rejects. */
  readonly carryOut: (request: SentryRequest, rules: Rules) => Promise<void>;
}

/** What a post in another process needs besides. */
export interface ApartParts extends PostParts {
  /** Whom sentries become. */
  readonly account: SentryStart["account"];
  /** The digest cache that sentries read; null without one. */
  readonly replayFile: string | null;
  /**
   * Opens the netfilter queue of a configuration, which takes privileges; null when it asks for
   * none. Rejects with {@linkcode CaptureError} when it cannot be had.
   */
  readonly openQueue: (config: ServerConfig) => Promise<PacketQueue | null>;
}
