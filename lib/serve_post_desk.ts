// Where a sentry's requests are taken: each is held against the rules of its generation, and no more
// are taken than can be worked on, so that a sentry that has gone wrong cannot fill the monitor.

import type { Rules } from "./auth_grant_check.ts";
import type { ReplayRecord } from "./auth_replay.ts";
import type { Report } from "./serve_pipe_reports.ts";
import type { ApartParts } from "./serve_post.ts";
import type { RulesHistory } from "./serve_post_rules.ts";
import type { SentryLink } from "./serve_sentry_link.ts";
import { keepUntil } from "./serve_sentry.ts";
import { decodeBase64 } from "./spa_base64.ts";
import { failedDecryption } from "./spa_gpg_status.ts";

type Of<Kind extends Report["kind"]> = Extract<Report, { readonly kind: Kind }>;

/** Takes requests. A promise that is given back says when more can be taken. */
export interface RequestDesk {
  request(report: Of<"request">): Promise<void> | void;
  decrypt(report: Of<"decrypt">, asker: Pick<SentryLink, "order">): Promise<void> | void;
  /** What a new sentry has to remember besides the digest cache. */
  records(): ReplayRecord[];
}

/** Requests that are worked on at a time: several batches of the firewall. */
const MOST_UNDERWAY = 1024;
/** Commands take their time, and nobody else waits for them. */
const MOST_COMMANDS = 1024;
/** Records that stay although their time is over, as in the sentry's memory. */
const SPARE_RECORDS = 10_000;
/** More plaintext than a packet can have: the decoder refuses it, too. */
const LONGEST_PLAINTEXT = 16_384;

/** A desk with nothing on it. */
export function createRequestDesk(parts: ApartParts, rules: RulesHistory): RequestDesk {
  const { log, carryOut, gpg, settings: { config } } = parts;
  /** For requests that come too late: nothing is allowed. */
  const noRules: Rules = { stanzas: [], nat: config, maxPacketAge: null };
  /** Not in the file yet, or in no file at all. */
  const remembered = new Map<string, ReplayRecord>();
  let underway = 0;
  let commands = 0;
  let waiting: (() => void)[] = [];

  function enter(task: Promise<unknown>): Promise<void> | void {
    underway++;
    task.finally(() => {
      underway--;
      if (underway > MOST_UNDERWAY / 2 && underway > 0) return;
      for (const go of waiting) go();
      waiting = [];
    });
    if (underway < MOST_UNDERWAY) return;
    return new Promise((resolve) => waiting.push(resolve));
  }

  function remember(record: ReplayRecord): void {
    remembered.set(record.digest, record);
    if (parts.replayFile !== null) return;
    const now = parts.host.now() / 1000;
    const age = { maxPacketAge: rules.find(rules.generation)?.maxPacketAge ?? null };
    for (const [digest, old] of remembered) {
      if (remembered.size <= SPARE_RECORDS || keepUntil(old, age) >= now) return;
      remembered.delete(digest);
    }
  }

  function request({ generation, request }: Of<"request">): Promise<void> | void {
    const { grant, packetSource, stanza } = request;
    // By the monitor's clock: what decides how long it is kept is not for the sentry to say.
    const time = Math.floor(parts.host.now() / 1000);
    const record = request.record === null ? null : { ...request.record, time };
    const isCommand = grant?.kind === "command" || grant?.kind === "cycle";
    if (isCommand && commands >= MOST_COMMANDS) {
      const prefix = `[${packetSource}] (stanza #${stanza})`;
      return log.error(`${prefix} Too many commands are under way, ignoring one.`);
    }
    if (record !== null) {
      // Two sentries, one of them on its way out, may both have found it to be new.
      if (remembered.has(record.digest)) {
        return log.warning(`[${packetSource}] Ignoring a packet that was accepted a moment ago.`);
      }
      remember(record);
    }
    const work = carryOut({ ...request, record }, rules.find(generation) ?? noRules).finally(() => {
      if (record !== null && parts.replayFile !== null) remembered.delete(record.digest);
    });
    if (!isCommand) return enter(work);
    commands++;
    work.finally(() => commands--);
  }

  async function answer({ generation, stanza: number, message, isAuthenticated }: Of<"decrypt">) {
    const stanza = rules.find(generation)?.stanzas.find((one) => one.number === number);
    const bytes = decodeBase64(message);
    if (stanza === undefined || stanza.GPG_DECRYPT_PW === null || bytes === null) {
      return failedDecryption("the stanza has no GPG keys");
    }
    const decryption = await gpg.decrypt({ settings: stanza, message: bytes, isAuthenticated });
    const isLong = decryption !== "busy" && decryption.ok &&
      decryption.plaintext.length > LONGEST_PLAINTEXT;
    return isLong ? failedDecryption("the message is too long") : decryption;
  }

  return {
    request,
    decrypt: (report, asker) =>
      enter(
        answer(report).then((decryption) =>
          asker.order({ kind: "decrypted", id: report.id, decryption })
        ),
      ),
    records: () => [...remembered.values()],
  };
}
