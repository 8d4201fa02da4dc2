// The half of the daemon that reads what strangers send: shape, decision, replay memory.
// It touches neither files nor the firewall; what is to be done goes to the monitor as a request.

import { decide, type Decision, type Deliberation, type Policy } from "./auth_decide.ts";
import type { Asked, RefusalReason } from "./auth_event.ts";
import type { GpgAnswer, GpgRequest } from "./auth_gpg.ts";
import type { Grant } from "./auth_grant.ts";
import type { Knock } from "./auth_knock.ts";
import type { ReplayMemory, ReplayRecord } from "./auth_replay.ts";
import { ipFromBytes } from "./net_address.ts";
import type { Datagram } from "./net_datagram.ts";
import { formatHexDump } from "./net_hex.ts";
import { type HttpPacket, isHttpRequest, readHttpPacket } from "./net_http.ts";
import { type Log, packetId } from "./serve_log.ts";
import { createRefusalLog } from "./serve_refusal_log.ts";
import type { Timer } from "./serve_timer.ts";
import { replayDigest } from "./spa_digest.ts";
import type { SpaError } from "./spa_error.ts";
import { checkPacketShape } from "./spa_packet.ts";

/** What the sentry asks of the monitor: remember a packet, and open what it was granted. */
export interface SentryRequest {
  /** The address the packet came from. */
  readonly packetSource: string;
  readonly stanza: number;
  /** To be on the disk before anything opens; null when nothing is to be remembered. */
  readonly record: ReplayRecord | null;
  /** Null when the packet was refused after it had been decoded. */
  readonly grant: Grant | null;
  /** What the packet asks for, for the log. */
  readonly asked: Asked | null;
}

/** Packets counted by what became of them. */
export type Tally = Map<RefusalReason | "granted", number>;

/** Takes datagrams, gives requests. */
export interface Sentry {
  /** Judges one datagram; never throws for what is in it. */
  receive(datagram: Datagram): void;
  /** Puts a new policy in force for the datagrams that follow. */
  setPolicy(policy: Policy): void;
  /** Resolves when no datagram waits for gpg any more. */
  settled(): Promise<void>;
  /** Logs what has only been counted so far, and leaves no timer behind. */
  flushLog(): void;
  readonly tally: Tally;
}

/** What a sentry works with. */
export interface SentryParts {
  readonly policy: Policy;
  readonly replays: ReplayMemory;
  readonly log: Log;
  /** Wall clock: milliseconds since 1970 UTC. */
  readonly now: () => number;
  /** Has gpg decrypt a message for a stanza of the policy; never rejects. */
  readonly decrypt: (request: GpgRequest, policy: Policy) => Promise<GpgAnswer["decryption"]>;
  /** Takes a request that was made under the policy. */
  readonly submit: (request: SentryRequest, policy: Policy) => void;
  readonly timer: Timer;
}

/** What a request carries that may not carry anything. */
const NO_PACKET: HttpPacket = { packet: "", forwardedFor: null, badForwardedFor: null };

/** A sentry with nothing received yet. */
export function createSentry(parts: SentryParts): Sentry {
  const { replays, log, submit } = parts;
  const tally: Tally = new Map();
  const waiting = new Set<Promise<void>>();
  const refusals = createRefusalLog(log, parts.timer);
  let policy = parts.policy;

  function count(what: RefusalReason | "granted"): void {
    tally.set(what, (tally.get(what) ?? 0) + 1);
  }

  function receive(datagram: Datagram): void {
    const source = ipFromBytes(datagram.source);
    const destination = ipFromBytes(datagram.destination);
    if (source === null || destination === null) return count("not-a-packet");
    if (log.verbosity >= 3) {
      log.debug(`[+] candidate SPA packet payload:\n${formatHexDump(datagram.payload)}`);
    }
    const http = policy.http !== null && isHttpRequest(datagram.payload)
      ? readHttpPacket(datagram.payload, policy.http) ?? NO_PACKET
      : null;
    const shape = checkPacketShape(http?.packet ?? datagram.payload);
    if (!shape.ok) return refuseShape(source.text, shape.error);
    const { protocol, sourcePort, destinationPort } = datagram;
    const { wire } = shape.value;
    const knock: Knock = { wire, protocol, source, sourcePort, destination, destinationPort, http };
    const deliberation = decide(knock, policy, replays, parts.now() / 1000);
    const step = deliberation.next();
    if (step.done) return conclude(knock, step.value, policy);
    const task = waitForGpg(deliberation, step.value, knock, policy)
      .finally(() => waiting.delete(task));
    waiting.add(task);
  }

  function refuseShape(source: string, { code, text }: SpaError): void {
    count("not-a-packet");
    refusals.tell("not-a-packet", log.verbosity > 0 ? 1 : 0, () => {
      log.debug(
        `[${source}] preprocess_spa_data() returned error ${code}: '${text}' for incoming packet.`,
      );
      log.decision?.({
        level: "debug",
        id: null,
        source,
        stanza: null,
        outcome: "not-a-packet",
        asked: null,
        address: null,
        seconds: null,
      });
    });
  }

  /** Other datagrams are judged meanwhile; this one goes on under the policy that it began with. */
  async function waitForGpg(
    deliberation: Deliberation,
    request: GpgRequest,
    knock: Knock,
    itsPolicy: Policy,
  ): Promise<void> {
    let step: IteratorResult<GpgRequest, Decision> = { done: false, value: request };
    while (!step.done) {
      const decryption = await parts.decrypt(step.value, itsPolicy);
      step = deliberation.next({ decryption, now: parts.now() / 1000 });
    }
    conclude(knock, step.value, itsPolicy);
  }

  function conclude(knock: Knock, decision: Decision, itsPolicy: Policy): void {
    const { verdict, asked, events } = decision;
    if (typeof verdict === "object") {
      count("granted");
      // What becomes of a grant is the monitor's to tell.
      for (const { level, text } of events) log[level](text);
    } else {
      count(verdict);
      const write = (): void => tellRefusal(knock, decision, verdict);
      // Whoever holds the keys has every packet told; of a replay nobody knows who sent it.
      if (asked !== null) write();
      else refusals.tell(verdict, events.length, write);
    }
    if (decision.remember !== null) {
      replays.prune(parts.now() / 1000);
      replays.add(decision.remember, keepUntil(decision.remember, itsPolicy));
    }
    passOn(knock.source.text, decision, itsPolicy);
  }

  function tellRefusal(
    knock: Knock,
    { events, stanza, asked }: Decision,
    outcome: RefusalReason,
  ): void {
    for (const { level, text } of events) log[level](text);
    log.decision?.({
      level: "warning",
      id: packetId(replayDigest(knock.wire)),
      source: knock.source.text,
      stanza,
      outcome,
      asked,
      address: null,
      seconds: null,
    });
  }

  function passOn(packetSource: string, decision: Decision, itsPolicy: Policy): void {
    const { stanza, remember: record, verdict, asked } = decision;
    const grant = typeof verdict === "object" ? verdict : null;
    if (stanza === null || (record === null && grant === null)) return;
    submit({ packetSource, stanza, record, grant, asked }, itsPolicy);
  }

  return {
    receive,
    setPolicy: (next) => void (policy = next),
    settled: async () => {
      while (waiting.size > 0) await Promise.all(waiting);
    },
    flushLog: refusals.flush,
    tally,
  };
}

/**
 * When a packet accepted now can be forgotten, in seconds: its time stamp lay within the age limit
 * of its acceptance, so after twice the limit it is refused for its age.
 */
export function keepUntil(
  record: Pick<ReplayRecord, "time">,
  policy: Pick<Policy, "maxPacketAge">,
): number {
  return policy.maxPacketAge === null ? Infinity : record.time + 2 * policy.maxPacketAge + 1;
}
