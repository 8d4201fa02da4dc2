// Packets judged by a process without privileges, the sentry. Here is the monitor's side as a whole:
// the settings in force and the netfilter queue that belongs to them.

import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { queueCounters } from "./serve_capture_nfqueue.ts";
import { sentrySettings } from "./serve_pipe_orders.ts";
import type { ApartParts, Post, PreparedChange } from "./serve_post.ts";
import { createRequestDesk } from "./serve_post_desk.ts";
import { createRenewals } from "./serve_post_renewal.ts";
import { createRestarts } from "./serve_post_restart.ts";
import { createRulesHistory } from "./serve_post_rules.ts";
import type { SentryPlan } from "./serve_post_start.ts";
import { startSuccession, type Successor } from "./serve_post_succession.ts";
import { asCaptureError } from "./serve_sentry_link.ts";
import { captureKey, rulesOf, type Settings } from "./serve_settings.ts";

/** Starts a sentry and waits until its capture is open; throws {@linkcode CaptureError} if it cannot be. */
export async function openApartPost(parts: ApartParts): Promise<Post> {
  const { host, log } = parts;
  let { settings } = parts;
  const rules = createRulesHistory(rulesOf(settings), host.monotonic);
  const ended = Promise.withResolvers<"stopped" | "limit">();
  ended.promise.catch(() => {});
  /** Read by the present sentry. */
  let queue = await parts.openQueue(settings.config);

  const plan = (): SentryPlan => ({ settings, generation: rules.generation, queue });
  const sentries = startSuccession(parts, createRequestDesk(parts, rules), {
    onLimit: () => ended.resolve("limit"),
    onDeath: (link, end) => void restarts.replace(link, end),
    onRenew: () => void renew(),
  }, plan());
  const renew = createRenewals(sentries, plan, log);
  const restarts = createRestarts({ host, log, sentries, plan, onCaptureEnd: ended.reject });

  function close(): void {
    sentries.close();
    queue?.close();
  }

  const announcement = await sentries.present.opened.catch((error) => {
    close();
    throw asCaptureError(error);
  });

  async function prepare(next: Settings): Promise<PreparedChange> {
    const release = await sentries.turn();
    // Requests of the new settings come only after `commit`, which is when their rules are known.
    const generation = rules.generation + 1;
    let successor: Successor | null = null;
    let nextQueue = queue;
    const dropQueue = (): void => {
      if (nextQueue !== queue) nextQueue?.close();
    };
    try {
      if (captureKey(next.config) !== captureKey(settings.config)) {
        // A queue can be opened but once.
        if (!sameQueue(next.config, settings.config)) {
          nextQueue = await parts.openQueue(next.config);
        }
        const nextPlan = { settings: next, generation, queue: nextQueue };
        successor = await sentries.startSuccessor(nextPlan);
      }
    } catch (error) {
      dropQueue();
      release();
      throw error;
    }
    return {
      async commit() {
        settings = next;
        rules.enact(rulesOf(next));
        if (successor !== null) await successor.takeOver();
        else {
          const order = { kind: "settings", generation, settings: sentrySettings(next) } as const;
          sentries.present.order(order);
        }
        if (nextQueue !== queue) queue?.close();
        queue = nextQueue;
        release();
      },
      abort() {
        successor?.dismiss();
        dropQueue();
        release();
      },
    };
  }

  return {
    announcement,
    ready: () => sentries.present.ready.catch((error) => Promise.reject(asCaptureError(error))),
    run() {
      sentries.begin();
      return ended.promise;
    },
    prepare,
    async counts() {
      const sum = await sentries.counts();
      return queue === null ? sum : { ...sum, capture: queueCounters(queue) };
    },
    stop() {
      if (sentries.isEnding) return;
      sentries.stop().then(() => ended.resolve("stopped"));
      restarts.giveUp();
    },
    settle() {
      const settling = sentries.settle();
      restarts.giveUp();
      return settling;
    },
    close,
  };
}

function sameQueue(one: ServerConfig, other: ServerConfig): boolean {
  return one.ENABLE_NFQ_CAPTURE === other.ENABLE_NFQ_CAPTURE &&
    one.NFQ_QUEUE_NUMBER === other.NFQ_QUEUE_NUMBER;
}
