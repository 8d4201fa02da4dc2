// What the monitor tells the sentry, and the reading of it. The sentry believes the monitor, which
// could do worse than lie to it; a line that cannot be read is a bug of this program.

import type { GpgAnswer } from "./auth_gpg.ts";
import type { ReplayRecord } from "./auth_replay.ts";
import type { Stanza } from "./conf_access.ts";
import { decodeBase64, encodeBase64 } from "./spa_base64.ts";
import type { GatewayOptions, Settings } from "./serve_settings.ts";

/** The part of the settings that judges packets; no passphrase of GnuPG, and nothing only shown. */
export type SentrySettings = Pick<Settings, "config" | "stanzas">;

/** What a sentry begins with. */
export interface SentryStart {
  readonly settings: SentrySettings;
  readonly generation: number;
  readonly options: GatewayOptions;
  readonly verbosity: number;
  /** Whether the log wants to know of each refusal. */
  readonly decisions: boolean;
  /** Whom it becomes. */
  readonly account: { readonly uid: number; readonly gid: number };
  /** Process id. */
  readonly monitor: number;
  /** The digest cache to read; null without one. */
  readonly replayFile: string | null;
  /** The netfilter queue that the monitor has opened and settles, as it is inherited; null for none. */
  readonly queueDescriptor: number | null;
  /** Interfaces may be missing: they were there before and will come back. */
  readonly awaitsInterfaces: boolean;
}

/** What the monitor tells, by kind. */
export type Order =
  | ({ readonly kind: "start" } & SentryStart)
  /** Accepted by others: such packets are replays. */
  | { readonly kind: "remember"; readonly records: readonly ReplayRecord[] }
  /** Judged by others: such packets are passed over, each once, in what has been captured so far. */
  | { readonly kind: "skip"; readonly notes: readonly string[] }
  /** Packets are judged from now on; `taken` is how many were before. */
  | { readonly kind: "go"; readonly taken: number }
  /** A successor is on its way: packets that are judged are noted from now on. */
  | { readonly kind: "note" }
  | {
    readonly kind: "settings";
    readonly generation: number;
    readonly settings: SentrySettings;
  }
  | {
    readonly kind: "decrypted";
    readonly id: number;
    readonly decryption: GpgAnswer["decryption"];
  }
  | { readonly kind: "count"; readonly id: number }
  /** The capture ends; what waits for gpg is waited for or given up. */
  | { readonly kind: "stop"; readonly givesUpGpg: boolean };

/** Most bytes of an order's line: many thousands of stanzas. */
export const ORDER_LIMIT = 1 << 30;

/** Values that JSON has no form for, as an object with one member of this name. */
const NUMBER = "$number";
const BIG = "$bigint";
const BYTES = "$bytes";
const MAP = "$map";

/** What of the settings a sentry needs. */
export function sentrySettings({ config, stanzas }: SentrySettings): SentrySettings {
  return { config, stanzas: stanzas.map(withoutSecretsOfOthers) };
}

/** gpg is run by the monitor, which knows the passphrase; that there is one is known here, too. */
function withoutSecretsOfOthers(stanza: Stanza): Stanza {
  const { GPG_DECRYPT_PW } = stanza;
  return {
    ...stanza,
    written: new Map(),
    GPG_DECRYPT_PW: GPG_DECRYPT_PW === null ? null : "",
  };
}

/** The line for an order. */
export function formatOrder(order: Order): string {
  return `${JSON.stringify(order, toJson)}\n`;
}

/** The order of a line. */
export function parseOrder(line: Uint8Array): Order {
  return JSON.parse(new TextDecoder().decode(line), fromJson);
}

function toJson(_name: string, value: unknown): unknown {
  if (typeof value === "bigint") return { [BIG]: value.toString() };
  if (typeof value === "number" && !Number.isFinite(value)) return { [NUMBER]: String(value) };
  if (value instanceof Map) return { [MAP]: [...value] };
  if (value instanceof Uint8Array) return { [BYTES]: encodeBase64(value) };
  return value;
}

function fromJson(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const [only, ...others] = Object.entries(value);
  if (only === undefined || others.length > 0) return value;
  const [name, text] = only;
  if (name === BIG) return BigInt(String(text));
  if (name === NUMBER) return Number(text);
  if (name === MAP) return new Map(text as [unknown, unknown][]);
  if (name === BYTES) return decodeBase64(String(text));
  return value;
}
