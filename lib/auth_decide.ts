// The decision: a packet, the stanzas, the replay memory and the time give a grant or a refusal.
// Pure but for reading the replay memory; hostile packets are refused as values, never thrown at.

import type { Asked, LogEvent, LogLevel, RefusalReason } from "./auth_event.ts";
import type { Grant } from "./auth_grant.ts";
import { type GpgAnswer, type GpgRequest, judgeSigner } from "./auth_gpg.ts";
import { type Knock, recordOf } from "./auth_knock.ts";
import {
  type Candidate,
  type Opened,
  openWith,
  openWithAnswer,
  prepareStanza,
} from "./auth_open.ts";
import type { ReplayMemory, ReplayRecord } from "./auth_replay.ts";
import { judgeRequest, type PolicySettings, type Say } from "./auth_request.ts";
import type { Stanza } from "./conf_access.ts";
import { addressListHas } from "./net_address.ts";
import { formatFieldDump } from "./spa_dump.ts";

/** Everything a decision goes by, made ready once for many packets. */
export interface Policy extends PolicySettings {
  /** In the order of the file. */
  readonly candidates: readonly Candidate[];
}

/** Makes the stanzas of a configuration ready for decisions. */
export function preparePolicy(stanzas: readonly Stanza[], settings: PolicySettings): Policy {
  return { ...settings, candidates: stanzas.map(prepareStanza) };
}

/** What became of a packet. */
export interface Decision {
  readonly verdict: Grant | RefusalReason;
  /** The stanza that granted, or that came closest to it; null when none was tried. */
  readonly stanza: number | null;
  /** To be remembered before anything else is decided; set as soon as a stanza decoded the packet. */
  readonly remember: ReplayRecord | null;
  /** What the packet asks for; null when no stanza's keys opened it. */
  readonly asked: Asked | null;
  /** For the log, in order. */
  readonly events: readonly LogEvent[];
}

/**
 * A decision on its way. It yields a message when gpg has to decrypt one, and goes on with the
 * answer; most decisions need none and are done at the first step.
 */
export type Deliberation = Generator<GpgRequest, Decision, GpgAnswer>;

/**
 * Tries the stanzas for this source in order until one grants access.
 *
 * A stanza checks the HMAC first, then whether the packet was seen before, and only then decrypts.
 *
 * @param arrival wall clock in seconds since 1970 UTC
 */
export function* decide(
  knock: Knock,
  policy: Policy,
  replays: Pick<ReplayMemory, "find">,
  arrival: number,
): Deliberation {
  const events: LogEvent[] = [];
  const source = knock.source.text;
  const say = (level: LogLevel, text: string): void => {
    if (level !== "debug" || policy.verbose) events.push({ level, text });
  };
  let now = arrival;
  let remember: ReplayRecord | null = null;
  let asked: Asked | null = null;
  let reason: RefusalReason = "no-stanza-for-source";
  let closest: number | null = null;
  let sourceIsKnown = false;

  for (const candidate of policy.candidates) {
    const { stanza } = candidate;
    if (!addressListHas(stanza.SOURCE, knock.source)) continue;
    sourceIsKnown = true;
    const tag = `(stanza #${stanza.number})`;
    if (stanza.DESTINATION !== null && !addressListHas(stanza.DESTINATION, knock.destination)) {
      say(
        "debug",
        `${tag} SPA packet (${source} -> ${knock.destination.text}) filtered by SOURCE and/or DESTINATION criteria`,
      );
      continue;
    }
    // A stanza whose keys opened the packet came closer than any whose keys did not.
    if (asked === null) closest = stanza.number;
    let opened = openWith(candidate, knock, replays, now);
    if (opened.kind !== "refused" || opened.reason !== "replay") {
      say("info", `${tag} SPA Packet from IP: ${source} received with access source match`);
      say("debug", `SPA Packet: '${knock.wire}'`);
    }
    if (opened.kind === "needs-gpg") {
      const answer = yield { ...opened.request, stanza: stanza.number };
      now = answer.now;
      opened = openWithAnswer(candidate, knock, replays, opened.text, answer);
    }
    if (opened.kind === "refused") {
      if (asked === null) reason = opened.reason;
      for (const text of opened.texts) say(opened.level, text);
      if (opened.reason === "replay") break;
      continue;
    }
    if (!policy.testMode) {
      remember = recordOf(knock, now);
    }
    asked = askedBy(opened.packet);
    closest = stanza.number;
    const verdict = judgeOpened(opened, stanza, knock, policy, now, say);
    if (typeof verdict === "object") {
      return { verdict, stanza: stanza.number, remember, asked, events };
    }
    reason = verdict;
    if (reason === "invalid-allow-address") break;
  }
  if (!sourceIsKnown) say("warning", `No access data found for source IP: ${source}`);
  return { verdict: reason, stanza: closest, remember, asked, events };
}

function askedBy({ username, message, natAccess }: Opened["packet"]): Asked {
  return { user: username, request: message.replace(/^[^,]*,/, ""), nat: natAccess };
}

/** Who signed it, then what it asks for. */
function judgeOpened(
  { packet, gpg, signature }: Opened,
  stanza: Stanza,
  knock: Knock,
  policy: Policy,
  now: number,
  say: Say,
): Grant | RefusalReason {
  const prefix = `[${knock.source.text}] (stanza #${stanza.number})`;
  if (policy.verbose) {
    const dump = formatFieldDump(gpg === null ? packet : { ...packet, gpg });
    say("debug", `${prefix} SPA Decode (res=0):\n${dump}`);
  }
  const unknown = signature === null ? null : judgeSigner(stanza, signature, prefix, say);
  return unknown ?? judgeRequest(stanza, knock, packet, policy, now, say);
}
