// The half of the daemon that acts: it takes the sentry's requests, checks them against the stanza
// they name, puts the replay record on the disk, and only then has the firewall open.

import type { Grant } from "./auth_grant.ts";
import { portsAllowed } from "./auth_policy.ts";
import type { Stanza } from "./conf_access.ts";
import { reasonOf } from "./host.ts";
import type { Firewall } from "./serve_firewall.ts";
import type { Log } from "./serve_log.ts";
import type { ReplayFile } from "./serve_replay_file.ts";
import type { SentryRequest } from "./serve_sentry.ts";

/** What a monitor works with. */
export interface MonitorParts {
  readonly stanzas: readonly Stanza[];
  /** Null when records are kept in memory only. */
  readonly replayFile: ReplayFile | null;
  /** Null when no firewall is to be touched. */
  readonly firewall: Firewall | null;
  readonly log: Log;
}

/** Takes requests. */
export interface Monitor {
  /** Resolves when the request has been carried out or refused; never rejects. */
  carryOut(request: SentryRequest): Promise<void>;
  /** Puts new stanzas in force for the requests that follow. */
  setStanzas(stanzas: readonly Stanza[]): void;
  /** Has the requests that follow opened by another firewall. */
  setFirewall(firewall: Firewall | null): void;
}

/** A monitor for these parts. */
export function createMonitor(parts: MonitorParts): Monitor {
  const { replayFile, log } = parts;
  let { stanzas, firewall } = parts;

  async function carryOut(request: SentryRequest): Promise<void> {
    const { grant, record, packetSource } = request;
    const prefix = `[${packetSource}] (stanza #${request.stanza})`;
    if (record !== null && replayFile !== null) {
      try {
        await replayFile.append(record);
      } catch (error) {
        log.warning(`${prefix} Could not add digest to replay cache: ${reasonOf(error)}`);
        return;
      }
    }
    if (grant === null || firewall === null) return;
    const stanza = stanzas.find(({ number }) => number === grant.stanza);
    if (stanza === undefined || !stanzaAllows(stanza, grant)) {
      log.error(`${prefix} Refusing a grant that the stanza does not allow.`);
      return;
    }
    const outcome = await firewall.open(grant);
    if (!outcome.ok) log.error(`${prefix} Could not open access: ${outcome.reason}`);
  }

  return {
    carryOut,
    setStanzas: (next) => void (stanzas = next),
    setFirewall: (next) => void (firewall = next),
  };
}

/** Whether the stanza's own limits cover the grant, whatever the sentry said of it. */
function stanzaAllows(stanza: Stanza, grant: Grant): boolean {
  const longest = Math.max(stanza.FW_ACCESS_TIMEOUT, stanza.MAX_FW_TIMEOUT);
  return grant.seconds > 0 && grant.seconds <= longest && portsAllowed(stanza, grant.ports);
}
