// The half of the daemon that acts: it takes the sentry's requests, checks them against the stanza
// they name, puts the replay record on the disk, and only then has the firewall or commands open.

import type { RefusalReason } from "./auth_event.ts";
import type { Grant } from "./auth_grant.ts";
import { grantAllowed, type Rules } from "./auth_grant_check.ts";
import { type Host, reasonOf } from "./host.ts";
import type { Commands } from "./serve_commands.ts";
import type { Firewall } from "./serve_firewall.ts";
import { type Log, packetId } from "./serve_log.ts";
import { resolveNatTarget } from "./serve_nat_target.ts";
import type { ReplayFile } from "./serve_replay_file.ts";
import type { SentryRequest } from "./serve_sentry.ts";

/** What a monitor works with. */
export interface MonitorParts {
  readonly host: Pick<Host, "resolve" | "now">;
  readonly rules: Rules;
  /** Null when records are kept in memory only. */
  readonly replayFile: ReplayFile | null;
  /** Null when no firewall is to be touched. */
  readonly firewall: Pick<Firewall, "open"> | null;
  /** Null when no command is to run. */
  readonly commands: Pick<Commands, "carryOut"> | null;
  readonly log: Log;
}

/** Takes requests. */
export interface Monitor {
  /**
   * Resolves when the request has been carried out or refused; never rejects.
   *
   * @param rules those in force when its packet came; without, the present ones
   */
  carryOut(request: SentryRequest, rules?: Rules): Promise<void>;
  /** Puts a new configuration in force for the requests that follow. */
  setRules(rules: Rules): void;
  /** Has the requests that follow opened by another firewall. */
  setFirewall(firewall: Pick<Firewall, "open"> | null): void;
  /** Grants of the sentry that opened nothing, by reason. */
  readonly failures: ReadonlyMap<RefusalReason, number>;
}

/** A monitor for these parts. */
export function createMonitor(parts: MonitorParts): Monitor {
  const { host, replayFile, commands, log } = parts;
  const failures = new Map<RefusalReason, number>();
  let { rules: present, firewall } = parts;

  async function carryOut(request: SentryRequest, rules: Rules = present): Promise<void> {
    const { record, packetSource } = request;
    let { grant } = request;
    const prefix = `[${packetSource}] (stanza #${request.stanza})`;
    if (record !== null && replayFile !== null) {
      try {
        await replayFile.append(record);
      } catch (error) {
        log.debug(`${prefix} Could not add digest to replay cache: ${reasonOf(error)}`);
        if (grant !== null) conclude(request, grant, "digest-cache-failed");
        return;
      }
    }
    if (grant === null) return;
    const { stanza: number } = grant;
    const stanza = rules.stanzas.find((one) => one.number === number);
    const now = host.now() / 1000;
    const isSound = stanza !== undefined && request.stanza === number &&
      grantAllowed(stanza, grant, packetSource, rules, now);
    if (!isSound) {
      log.error(`${prefix} Refusing a grant that the stanza does not allow.`);
      return conclude(request, grant, "monitor-refused");
    }
    if (grant.kind === "command" || grant.kind === "cycle") {
      // Commands take their time, and tell of it themselves.
      conclude(request, grant, "granted");
      await commands?.carryOut(stanza, grant, prefix);
      return;
    }
    // By the monitor's own clock, not by the sentry's.
    grant = { ...grant, expires: Math.floor(now) + grant.seconds };
    const complete = grant.kind === "nat" ? await resolveNatTarget(host, grant, log) : grant;
    if (complete === null) return conclude(request, grant, "nat-target-refused");
    if (firewall === null) {
      log.error(`${prefix} Could not open access: there is no firewall, only commands`);
      return conclude(request, grant, "firewall-failed");
    }
    const outcome = await firewall.open(complete);
    if (!outcome.ok) log.error(`${prefix} Could not open access: ${outcome.reason}`);
    conclude(request, grant, outcome.ok ? "granted" : "firewall-failed");
  }

  function conclude(
    { packetSource: source, record, asked }: SentryRequest,
    grant: Grant,
    outcome: "granted" | RefusalReason,
  ): void {
    const granted = outcome === "granted";
    if (!granted) failures.set(outcome, (failures.get(outcome) ?? 0) + 1);
    log.decision?.({
      level: granted ? "info" : "error",
      id: record === null ? null : packetId(record.digest),
      source,
      stanza: grant.stanza,
      outcome,
      asked,
      address: granted ? grant.source : null,
      seconds: granted && grant.kind !== "command" ? grant.seconds : null,
    });
  }

  return {
    carryOut,
    setRules: (next) => void (present = next),
    setFirewall: (next) => void (firewall = next),
    failures,
  };
}
