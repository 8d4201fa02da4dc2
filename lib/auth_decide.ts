// The decision: a packet, the stanzas, the replay memory and the time give a grant or a refusal.
// Pure but for reading the replay memory; hostile packets are refused as values, never thrown at.

import {
  type Asked,
  LateEvent,
  type LogEvent,
  type LogLevel,
  type RefusalReason,
} from "./auth_event.ts";
import type { Grant } from "./auth_grant.ts";
import { type GpgAnswer, type GpgRequest, judgeSigner } from "./auth_gpg.ts";
import { type Knock, recordOf } from "./auth_knock.ts";
import { createFailureLimiter } from "./auth_limit.ts";
import {
  type Candidate,
  isAuthenticBy,
  type NotOpened,
  type Opened,
  openWith,
  openWithAnswer,
  prepareStanzas,
} from "./auth_open.ts";
import type { ReplayMemory, ReplayRecord } from "./auth_replay.ts";
import { judgeRequest, type PolicySettings, type Say } from "./auth_request.ts";
import { prepareSelection, type Selection } from "./auth_select.ts";
import { type OpenTrial, prepareTrials, type Trial } from "./auth_trial.ts";
import type { Stanza } from "./conf_access.ts";
import { addressListHas } from "./net_address.ts";
import { type PrepareHmac, prepareHmac } from "./spa_digest.ts";
import { formatFieldDump } from "./spa_dump.ts";

/** How many stanzas are remembered whose HMAC keys matched last. */
const RECENT = 8;
/** Stanzas of which each tells why it did not open a packet; of any others only numbers are told. */
const TOLD_STANZAS = 20;

/** Everything a decision goes by, made ready once for many packets. */
export interface Policy extends PolicySettings {
  /** In the order of the file. */
  readonly candidates: readonly Candidate[];
  /** Chooses those for a packet by its addresses. */
  readonly selection: Selection;
  /** Stanzas whose HMAC keys matched last, the latest first; decisions keep it so. */
  readonly recent: Candidate[];
  readonly openTrial: OpenTrial;
}

/** Makes the stanzas of a configuration ready for decisions; `prepare` hashes their HMAC keys. */
export function preparePolicy(
  stanzas: readonly Stanza[],
  settings: PolicySettings,
  prepare: PrepareHmac = prepareHmac,
): Policy {
  const candidates = prepareStanzas(stanzas, prepare);
  return {
    ...settings,
    candidates,
    selection: prepareSelection(stanzas),
    recent: [],
    openTrial: prepareTrials(createFailureLimiter(settings.failureRates)),
  };
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
  const say = (level: LogLevel, text: string | (() => string)): void => {
    if (level !== "debug" || policy.verbose) {
      events.push(typeof text === "string" ? { level, text } : new LateEvent(level, text));
    }
  };
  const trial = policy.openTrial(knock, arrival);
  const { sourceIsKnown, positions } = policy.selection.choose(knock, policy.verbose);
  if (positions.length > RECENT) tryRecent(policy, trial);
  const silent = new Map<RefusalReason, number>();
  let told = 0;
  let now = arrival;
  let remember: ReplayRecord | null = null;
  let asked: Asked | null = null;
  let reason: RefusalReason = "no-stanza-for-source";
  let closest: number | null = null;

  /** The packet is told to have come to a stanza. */
  const tellArrival = (tag: string): void => {
    say("info", () => `${tag} SPA Packet from IP: ${source} received with access source match`);
    say("debug", () => `SPA Packet: '${knock.wire}'`);
  };
  const tellRefusal = ({ level, lines, texts }: NotOpened): void => {
    for (let line = 0; line < lines; line++) say(level, () => texts()[line] ?? "");
  };
  const tellSilent = (): void => {
    if (silent.size === 0) return;
    const counts = [...silent].map(([what, count]) => `${what} ${count}`).join(", ");
    say("warning", `[${source}] Further stanzas did not open the packet: ${counts}`);
    silent.clear();
  };

  for (const position of positions) {
    const candidate = policy.candidates[position];
    if (candidate === undefined) continue;
    const { stanza } = candidate;
    const tag = `(stanza #${stanza.number})`;
    if (!isDestination(stanza, knock)) {
      say(
        "debug",
        () =>
          `${tag} SPA packet (${source} -> ${knock.destination.text}) filtered by SOURCE and/or DESTINATION criteria`,
      );
      continue;
    }
    // A stanza whose keys opened the packet came closer than any whose keys did not.
    if (asked === null) closest = stanza.number;
    let opened = openWith(candidate, trial, replays, now);
    if (opened.kind === "refused" && opened.reason !== "replay" && told >= TOLD_STANZAS) {
      silent.set(opened.reason, (silent.get(opened.reason) ?? 0) + 1);
      if (asked === null) reason = opened.reason;
      continue;
    }
    tellSilent();
    if (opened.kind !== "refused" || opened.reason !== "replay") tellArrival(tag);
    if (opened.kind === "needs-gpg") {
      const answer = yield { ...opened.request, stanza: stanza.number };
      now = answer.now;
      opened = openWithAnswer(candidate, trial, replays, opened.text, answer);
    }
    if (opened.kind === "refused") {
      told++;
      if (asked === null) reason = opened.reason;
      tellRefusal(opened);
      if (opened.reason === "replay") break;
      continue;
    }
    trial.allowance().giveBack();
    if (!policy.testMode) {
      remember = recordOf(knock, now);
    }
    asked = askedBy(opened.packet);
    closest = stanza.number;
    const verdict = judgeOpened(opened, stanza, knock, policy, now, say);
    if (typeof verdict === "object") {
      keepRecent(policy, candidate);
      return { verdict, stanza: stanza.number, remember, asked, events };
    }
    reason = verdict;
    if (reason === "invalid-allow-address") break;
  }
  tellSilent();
  if (!sourceIsKnown) say("warning", `No access data found for source IP: ${source}`);
  return { verdict: reason, stanza: closest, remember, asked, events };
}

/**
 * Looks for the packet's key among the latest, so that a known client's packet costs one hash and
 * not one for each stanza in front of its own. What the stanzas decide, and their order, stays.
 */
function tryRecent({ recent }: Policy, trial: Trial): void {
  const { knock } = trial;
  recent.some((candidate) =>
    addressListHas(candidate.stanza.SOURCE, knock.source) &&
    isDestination(candidate.stanza, knock) && isAuthenticBy(candidate, trial)
  );
}

function keepRecent({ recent }: Policy, candidate: Candidate): void {
  if (candidate.hmac === null || recent[0] === candidate) return;
  const present = recent.indexOf(candidate);
  recent.splice(present < 0 ? RECENT - 1 : present, 1);
  recent.unshift(candidate);
}

function isDestination({ DESTINATION }: Stanza, { destination }: Knock): boolean {
  return DESTINATION === null || addressListHas(DESTINATION, destination);
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
