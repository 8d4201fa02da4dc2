// A sentry over stanzas written as access.conf text, with a clock that the test sets.

import type { LogLevel } from "../lib/auth_event.ts";
import { preparePolicy } from "../lib/auth_decide.ts";
import { createReplayMemory, type ReplayMemory } from "../lib/auth_replay.ts";
import { parseAccessConfig, type Stanza } from "../lib/conf_access.ts";
import { parseServerConfig } from "../lib/conf_fwknopd.ts";
import type { ServerConfig } from "../lib/conf_fwknopd_variables.ts";
import { formatProblem } from "../lib/conf_problem.ts";
import { parseIpv4 } from "../lib/net_address.ts";
import type { Datagram } from "../lib/net_datagram.ts";
import type { HttpSettings } from "../lib/net_http.ts";
import { createLog } from "../lib/serve_log.ts";
import {
  createSentry,
  type Sentry,
  type SentryParts,
  type SentryRequest,
} from "../lib/serve_sentry.ts";

import type { Timer } from "../lib/serve_timer.ts";
import type { PrepareHmac } from "../lib/spa_digest.ts";

/** The stanzas of an access.conf text; throws for errors in it. */
export function stanzasOf(text: string, serverText = ""): readonly Stanza[] {
  const config = serverConfigOf(serverText);
  const { stanzas, problems } = parseAccessConfig({
    path: "access.conf",
    config,
    readText: () => ({ ok: true, text }),
    listDirectory: () => ({ ok: true, names: [] }),
    lookups: {
      user: () => null,
      group: () => null,
      isDirectory: () => true,
      isProgram: () => true,
    },
  });
  const errors = problems.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new Error(errors.map(formatProblem).join("\n"));
  return stanzas;
}

/** The configuration that a fwknopd.conf text makes. */
export function serverConfigOf(text: string): ServerConfig {
  const source = { path: "fwknopd.conf", readText: () => ({ ok: true, text }) as const };
  return parseServerConfig(source).config;
}

/** A sentry at work, and what came out of it. */
export interface Bench {
  readonly sentry: Sentry;
  readonly requests: SentryRequest[];
  readonly lines: { readonly level: LogLevel; readonly text: string }[];
  /** Wall clock in seconds since 1970 UTC. */
  time: number;
  /** Sends a packet's text and gives what became of it: a grant's ports, or the refusal's reason. */
  send(wire: string, from?: string): string;
  /** As `send`, for a packet that gpg has to decrypt: waits until nothing waits for gpg any more. */
  sendForGpg(wire: string, from?: string): Promise<string>;
}

/** Settings of {@linkcode openBench}; what is left out is fwknopd's default. */
export interface BenchSettings {
  readonly time: number;
  readonly maxPacketAge?: number | null;
  readonly testMode?: boolean;
  readonly verbose?: boolean;
  readonly replays?: ReplayMemory;
  readonly decrypt?: SentryParts["decrypt"];
  /** Of fwknopd.conf. */
  readonly serverText?: string;
  readonly http?: HttpSettings | null;
  /** What hashes HMAC keys, if not the program's own hashes. */
  readonly prepareHmac?: PrepareHmac;
  /** Without one, no summary of refusals comes. */
  readonly timer?: Timer;
}

/** Puts a sentry over the stanzas. */
export function openBench(stanzas: readonly Stanza[], settings: BenchSettings): Bench {
  const { maxPacketAge = 120, testMode = false, verbose = false, http = null } = settings;
  const nat = serverConfigOf(settings.serverText ?? "");
  const failureRates = { source: nat.NO_HMAC_SOURCE_FAIL_RATE, total: nat.NO_HMAC_FAIL_RATE };
  const requests: SentryRequest[] = [];
  const lines: Bench["lines"] = [];
  const sentry = createSentry({
    policy: preparePolicy(
      stanzas,
      { maxPacketAge, testMode, verbose, nat, http, failureRates },
      settings.prepareHmac,
    ),
    replays: settings.replays ?? createReplayMemory(),
    log: createLog(verbose ? 1 : 0, (level, text) => lines.push({ level, text })),
    now: () => bench.time * 1000,
    decrypt: settings.decrypt ?? (() => Promise.reject(new Error("no gpg here"))),
    submit: (request) => requests.push(request),
    timer: settings.timer ?? (() => () => {}),
  });
  const counted = (before: ReadonlyMap<string, number>): string => {
    const [what] = [...sentry.tally].find(([name, count]) => count !== (before.get(name) ?? 0)) ??
      ["nothing"];
    return what;
  };
  const bench: Bench = {
    sentry,
    requests,
    lines,
    time: settings.time,
    send(wire, from = "192.0.2.10") {
      const before = new Map(sentry.tally);
      sentry.receive(datagramOf(wire, from));
      return counted(before);
    },
    async sendForGpg(wire, from = "192.0.2.10") {
      const before = new Map(sentry.tally);
      sentry.receive(datagramOf(wire, from));
      await sentry.settled();
      return counted(before);
    },
  };
  return bench;
}

/** A datagram as a client's packet arrives. */
export function datagramOf(wire: string, from: string, to = "192.0.2.1"): Datagram {
  return {
    protocol: 17,
    source: bytesOf(from),
    destination: bytesOf(to),
    sourcePort: 45092,
    destinationPort: 62201,
    payload: Uint8Array.from(wire, (character) => character.charCodeAt(0)),
  };
}

function bytesOf(address: string): Uint8Array {
  const { value } = parseIpv4(address) ?? { value: 0n };
  return Uint8Array.of(...[24n, 16n, 8n, 0n].map((shift) => Number(value >> shift & 255n)));
}
