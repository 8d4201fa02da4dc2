// The decision: a packet, the stanzas, the replay memory and the time give a grant or a refusal.
// Pure but for reading the replay memory; hostile packets are refused as values, never thrown at.

import type { LogEvent, LogLevel, RefusalReason } from "./auth_event.ts";
import type { Grant } from "./auth_grant.ts";
import { grantSeconds, portsAllowed } from "./auth_policy.ts";
import type { ReplayMemory, ReplayRecord } from "./auth_replay.ts";
import type { Stanza } from "./conf_access.ts";
import { addressListHas, type IpAddress, parseIp } from "./net_address.ts";
import { type PreparedHmac, prepareHmac, replayDigest } from "./spa_digest.ts";
import { formatFieldDump } from "./spa_dump.ts";
import { hasNatAccess, parseAccessMessage } from "./spa_message.ts";
import {
  acceptUnauthenticated,
  authenticateWith,
  type DecodedPacket,
  openPacket,
} from "./spa_packet.ts";

/** A packet that looks like SPA, and how it came. */
export interface Knock {
  /** The text as received, without its fixed beginning. */
  readonly wire: string;
  /** IANA number of the transport protocol. */
  readonly protocol: number;
  readonly source: IpAddress;
  readonly sourcePort: number;
  readonly destination: IpAddress;
  readonly destinationPort: number;
}

/** What the configuration says about packets, besides the stanzas. */
export interface PolicySettings {
  /** Seconds that a packet's time stamp may be off, either way; null accepts any. */
  readonly maxPacketAge: number | null;
  /** Log what would be granted; grant and remember nothing. */
  readonly testMode: boolean;
  /** Add debug events: the packet and its fields. */
  readonly verbose: boolean;
}

/** Everything a decision goes by, made ready once for many packets. */
export interface Policy extends PolicySettings {
  /** In the order of the file. */
  readonly candidates: readonly Candidate[];
}

/** A stanza with its HMAC key prepared; null where it has none. */
interface Candidate {
  readonly stanza: Stanza;
  readonly hmac: PreparedHmac | null;
}

function prepareStanza(stanza: Stanza): Candidate {
  const { HMAC_KEY: key, HMAC_DIGEST_TYPE: type } = stanza;
  return { stanza, hmac: key === null || type === null ? null : prepareHmac(type, key) };
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
  /** For the log, in order. */
  readonly events: readonly LogEvent[];
}

const MESSAGE_COMMAND = 0;
const UNSPECIFIED_ADDRESSES: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);
/** fwknop's number for symmetric encryption in "No stanza encryption mode match". */
const RIJNDAEL = 1;
const GPG = 2;

/**
 * Tries the stanzas for this source in order until one grants access.
 *
 * A stanza checks the HMAC first, then whether the packet was seen before, and only then decrypts.
 *
 * @param now wall clock in seconds since 1970 UTC
 */
export function decide(
  knock: Knock,
  policy: Policy,
  replays: Pick<ReplayMemory, "find">,
  now: number,
): Decision {
  const events: LogEvent[] = [];
  const source = knock.source.text;
  const say = (level: LogLevel, text: string): void => {
    if (level !== "debug" || policy.verbose) events.push({ level, text });
  };
  let remember: ReplayRecord | null = null;
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
    closest = stanza.number;
    const opened = tryStanza(candidate, knock, replays, now);
    if (!opened.ok && opened.reason === "replay") {
      say(opened.level, opened.text);
      reason = "replay";
      break;
    }
    say("info", `${tag} SPA Packet from IP: ${source} received with access source match`);
    say("debug", `SPA Packet: '${knock.wire}'`);
    if (!opened.ok) {
      reason = opened.reason;
      say(opened.level, opened.text);
      continue;
    }
    if (!policy.testMode) {
      remember = { digest: replayDigest(knock.wire), ...addressesOf(knock), time: Math.floor(now) };
    }
    const verdict = applyPolicy(stanza, knock, opened.packet, policy, now, say);
    if (typeof verdict === "object") return { verdict, stanza: stanza.number, remember, events };
    reason = verdict;
    if (reason === "invalid-allow-address") break;
  }
  if (!sourceIsKnown) say("warning", `No access data found for source IP: ${source}`);
  return { verdict: reason, stanza: closest, remember, events };
}

type Opened =
  | { readonly ok: true; readonly packet: DecodedPacket }
  | {
    readonly ok: false;
    readonly reason: RefusalReason;
    readonly level: LogLevel;
    readonly text: string;
  };

/** Everything that shows whether this stanza's keys made the packet. */
function tryStanza(
  { stanza, hmac }: Candidate,
  knock: Knock,
  replays: Pick<ReplayMemory, "find">,
  now: number,
): Opened {
  const prefix = `[${knock.source.text}] (stanza #${stanza.number})`;
  const refused = (reason: RefusalReason, level: LogLevel, text: string): Opened => ({
    ok: false,
    reason,
    level,
    text: `${prefix} ${text}`,
  });
  if (stanza.ACCESS_EXPIRE !== null && now > stanza.ACCESS_EXPIRE) {
    return refused("stanza-expired", "info", "Access stanza has expired");
  }
  if (stanza.KEY === null) {
    const type = knock.wire.length >= 400 ? GPG : RIJNDAEL;
    return refused(
      "no-encryption-mode-match",
      "error",
      `No stanza encryption mode match for encryption type: ${type}.`,
    );
  }
  const mode = stanza.ENCRYPTION_MODE;
  const text = hmac === null
    ? acceptUnauthenticated(knock.wire, mode)
    : authenticateWith(hmac, knock.wire, mode);
  if (!text.ok) {
    const why = `Error creating fko context: ${text.error.text}`;
    return refused(hmac === null ? "undecodable" : "hmac-mismatch", "warning", why);
  }
  const original = replays.find(replayDigest(knock.wire));
  if (original !== null) {
    return { ok: false, reason: "replay", level: "warning", text: describeReplay(knock, original) };
  }
  const packet = openPacket(text.value, { key: stanza.KEY, mode });
  if (!packet.ok) {
    return refused("undecodable", "warning", `Error creating fko context: ${packet.error.text}`);
  }
  const tag = hmac === null ? null : knock.wire.slice(packet.value.data.length);
  const hmacType = hmac?.name ?? null;
  return { ok: true, packet: { ...packet.value, hmac: tag, hmacType } };
}

/** What the stanza allows to whoever holds its keys. */
function applyPolicy(
  stanza: Stanza,
  knock: Knock,
  packet: DecodedPacket,
  policy: Policy,
  now: number,
  say: (level: LogLevel, text: string) => void,
): Grant | RefusalReason {
  const source = knock.source.text;
  const tag = `(stanza #${stanza.number})`;
  const prefix = `[${source}] ${tag}`;
  if (policy.verbose) {
    say("debug", `${prefix} SPA Decode (res=0):\n${formatFieldDump(packet)}`);
  }
  const difference = Math.abs(Math.floor(now) - packet.timestamp);
  if (policy.maxPacketAge !== null && difference > policy.maxPacketAge) {
    say("warning", `${prefix} SPA data time difference is too great (${difference} seconds).`);
    return "too-old-or-new";
  }
  const named = addressInMessage(packet);
  if (named === null) {
    say("warning", `${prefix} Invalid source IP in SPA message, ignoring SPA packet`);
    return "invalid-allow-address";
  }
  const useSource = UNSPECIFIED_ADDRESSES.has(named.text);
  if (useSource && stanza.REQUIRE_SOURCE_ADDRESS) {
    say("warning", `${prefix} Got 0.0.0.0 when valid source IP was required.`);
    return "source-address-required";
  }
  if (stanza.REQUIRE_USERNAME !== null && stanza.REQUIRE_USERNAME !== packet.username) {
    say(
      "warning",
      `${prefix} Username in SPA data (${packet.username}) does not match required username: ${stanza.REQUIRE_USERNAME}`,
    );
    return "user-name-mismatch";
  }
  // A stanza that forces NAT must never open the plain port instead.
  if (hasNatAccess(packet.messageType) || stanza.FORCE_NAT !== null) {
    say(
      "warning",
      `${tag} SPA packet from ${source} requested NAT access, but is not enabled/supported`,
    );
    return "nat-not-enabled";
  }
  if (packet.messageType === MESSAGE_COMMAND || stanza.CMD_CYCLE_OPEN !== null) {
    say(
      "warning",
      `${prefix} SPA Command messages are not allowed in the current configuration.`,
    );
    return "command-not-allowed";
  }
  const request = parseAccessMessage(packet.message);
  if (request === null || !portsAllowed(stanza, request.ports)) {
    say(
      "warning",
      `${prefix} One or more requested protocol/ports was denied per access.conf.`,
    );
    return "port-denied";
  }
  if (policy.testMode) {
    say("warning", `${prefix} --test mode enabled, skipping firewall manipulation.`);
    return "test-mode";
  }
  const seconds = grantSeconds(stanza, packet.clientTimeout);
  return {
    stanza: stanza.number,
    source: (useSource ? knock.source : named).text,
    destination: knock.destination.text,
    ports: request.ports,
    seconds,
    expires: Math.floor(now) + seconds,
  };
}

function addressInMessage(packet: DecodedPacket): IpAddress | null {
  const comma = packet.message.indexOf(",");
  return comma < 0 ? null : parseIp(packet.message.slice(0, comma));
}

function addressesOf(knock: Knock): Omit<ReplayRecord, "digest" | "time"> {
  const { protocol, source, sourcePort, destination, destinationPort } = knock;
  return {
    protocol,
    source: source.text,
    sourcePort,
    destination: destination.text,
    destinationPort,
  };
}

function describeReplay(knock: Knock, original: ReplayRecord): string {
  return `Replay detected from source IP: ${knock.source.text}, ` +
    `Destination proto/port: ${knock.protocol}/${knock.destinationPort}, ` +
    `Original source IP: ${original.source}, ` +
    `Original dst proto/port: ${original.protocol}/${original.destinationPort}, ` +
    `Entry created: ${formatLocalTime(original.time)}`;
}

/** MM/DD/YY HH:MM:SS in local time, as fwknopd prints it. */
function formatLocalTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (number: number): string => String(number % 100).padStart(2, "0");
  const day = [date.getMonth() + 1, date.getDate(), date.getFullYear()].map(two).join("/");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time}`;
}
