// A gateway set up: digest cache, post, commands, monitor and firewall, in an order in which a
// mistake in the configuration leaves nothing behind.

import type { Rules } from "./auth_grant_check.ts";
import { createReplayMemory, type ReplayMemory } from "./auth_replay.ts";
import type { Host } from "./host.ts";
import { openQueue } from "./serve_capture_nfqueue.ts";
import { type Commands, createCommands } from "./serve_commands.ts";
import { type GatewayFirewall, startGatewayFirewall } from "./serve_gateway_firewall.ts";
import { createGpgDecryptor, type GpgDecryptor } from "./serve_gpg.ts";
import type { Log } from "./serve_log.ts";
import { createMonitor, type Monitor } from "./serve_monitor.ts";
import type { Post, PostParts } from "./serve_post.ts";
import { openApartPost } from "./serve_post_apart.ts";
import { openLocalPost } from "./serve_post_local.ts";
import { openReplayFile, type ReplayFile, rotateReplayFile } from "./serve_replay_file.ts";
import { keepUntil, type SentryRequest } from "./serve_sentry.ts";
import { chooseSentryAccount } from "./serve_separation.ts";
import {
  type GatewayOptions,
  maxPacketAge,
  queueSettings,
  queuesPackets,
  rulesOf,
  type Settings,
} from "./serve_settings.ts";

/** What a gateway is set up with. */
export interface SetUpParts {
  readonly host: Host;
  readonly log: Log;
  readonly settings: Settings;
  readonly options: GatewayOptions;
}

/** A gateway that is set up, and judges once its post runs. */
export interface Gateway {
  /** The settings in force, which a reload replaces. */
  readonly inForce: { settings: Settings };
  readonly post: Post;
  readonly monitor: Monitor;
  readonly firewall: GatewayFirewall;
  /** Null in test mode. */
  readonly commands: Commands | null;
  readonly gpg: GpgDecryptor;
  /** Null when nothing is remembered. */
  readonly replayFile: ReplayFile | null;
  /** Requests that are being carried out. */
  readonly underway: ReadonlySet<Promise<void>>;
}

/** @throws when something that is needed cannot be set up; nothing of ours is in the firewall then */
export async function setUpGateway(parts: SetUpParts): Promise<Gateway> {
  const { host, log, settings, options } = parts;
  const inForce = { settings };
  const account = chooseSentryAccount(host, settings.config, options, log);
  const replays = createReplayMemory();
  const replayFile = openReplays(parts, account === null ? replays : null);
  const gpg = createGpgDecryptor(host);
  const underway = new Set<Promise<void>>();
  let monitor: Monitor;
  const carryOut = (request: SentryRequest, rules: Rules): Promise<void> => {
    const task = monitor.carryOut(request, rules).finally(() => underway.delete(task));
    underway.add(task);
    return task;
  };
  const postParts: PostParts = { host, log, options, settings, gpg, carryOut };
  const post = account === null
    ? openLocalPost(postParts, await host.native(), replays)
    : await openApartPost({
      ...postParts,
      account,
      replayFile: replayFile === null ? null : settings.config.DIGEST_FILE,
      openQueue: async (config) =>
        queuesPackets(config, options)
          ? openQueue(await host.native(), queueSettings(config))
          : null,
    });
  let firewall: GatewayFirewall | null = null;
  try {
    const commands = options.testMode
      ? null
      : createCommands({ host, log, config: () => inForce.settings.config });
    const rules = rulesOf(settings);
    monitor = createMonitor({ host, rules, replayFile, firewall: null, commands, log });
    const install = monitor.setFirewall;
    firewall = await startGatewayFirewall({ host, log, options, install }, settings);
    await post.ready();
    return { inForce, post, monitor, firewall, commands, gpg, replayFile, underway };
  } catch (error) {
    post.close();
    await firewall?.stop();
    throw error;
  }
}

/**
 * Opens the digest cache, where there is to be one.
 *
 * @param memory null when another process reads the file
 */
export function openReplays(parts: SetUpParts, memory: ReplayMemory | null): ReplayFile | null {
  const { host, log, options, settings: { config } } = parts;
  if (options.testMode || !config.ENABLE_DIGEST_PERSISTENCE) return null;
  if (options.rotateDigestCache) rotateReplayFile(host, config.DIGEST_FILE, log);
  const age = { maxPacketAge: maxPacketAge(config) };
  return openReplayFile(host, config.DIGEST_FILE, memory, log, (record) => keepUntil(record, age));
}
