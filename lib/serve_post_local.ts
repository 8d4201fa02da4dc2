// Packets judged in this process, with all its privileges: for PRIVSEP N and whoever is not root.

import type { Policy } from "./auth_decide.ts";
import type { Rules } from "./auth_grant_check.ts";
import type { ReplayMemory } from "./auth_replay.ts";
import type { Native } from "./host.ts";
import { type CaptureSource, runCapture, SHARED_TURN } from "./serve_capture.ts";
import type { Post, PostParts } from "./serve_post.ts";
import { createSentry } from "./serve_sentry.ts";
import { captureKey, openSource, policyOf, rulesOf, type Settings } from "./serve_settings.ts";
import { systemTimer } from "./serve_timer.ts";

/** Opens the capture; throws {@linkcode CaptureError} when that fails. */
export function openLocalPost(parts: PostParts, native: Native, replays: ReplayMemory): Post {
  const { host, log, options } = parts;
  let { settings } = parts;
  let source = openSource(host, native, settings.config, options, log);
  let replacement: CaptureSource | null = null;
  let stopped = false;
  const rules = new WeakMap<Policy, Rules>();
  const sentry = createSentry({
    policy: enact(settings),
    replays,
    log,
    now: host.now,
    timer: systemTimer,
    decrypt: parts.gpg.decrypt,
    submit: (request, policy) =>
      void parts.carryOut(request, rules.get(policy) ?? rulesOf(settings)),
  });

  function enact(next: Settings): Policy {
    const policy = policyOf(next, options, log, native);
    rules.set(policy, rulesOf(next));
    return policy;
  }

  async function run(): Promise<"stopped" | "limit"> {
    let taken = 0;
    for (;;) {
      const present = source;
      const counted: CaptureSource = {
        ...present,
        drain(limit, take) {
          const count = present.drain(limit, take);
          taken += count;
          return count;
        },
      };
      const left = options.packetLimit === 0 ? 0 : options.packetLimit - taken;
      const ended = left < 0
        ? "limit"
        : await runCapture(counted, left, sentry.receive, SHARED_TURN);
      if (ended === "limit" || stopped || replacement === null) return ended;
      source.close();
      source = replacement;
      replacement = null;
      for (const line of source.announcement) log.info(line);
    }
  }

  return {
    announcement: source.announcement,
    ready: () => Promise.resolve(),
    run,
    prepare(next) {
      // A new capture is open before the old one ends.
      const opened = captureKey(next.config) === captureKey(settings.config)
        ? null
        : openSource(host, native, next.config, options, log);
      return Promise.resolve({
        commit() {
          settings = next;
          sentry.setPolicy(enact(next));
          if (opened !== null) {
            replacement?.close();
            replacement = opened;
            source.stop();
          }
          return Promise.resolve();
        },
        abort: () => opened?.close(),
      });
    },
    counts: () => Promise.resolve({ packets: sentry.tally, capture: source.counters?.() ?? null }),
    stop() {
      stopped = true;
      source.stop();
    },
    async settle() {
      await sentry.settled();
      sentry.flushLog();
    },
    close() {
      replacement?.close();
      source.close();
    },
  };
}
