// The running gateway: the post that judges packets, monitor and firewall joined, and what signals
// do to them.

import type { RefusalReason } from "./auth_event.ts";
import type { Rules } from "./auth_grant_check.ts";
import { createReplayMemory, type ReplayMemory } from "./auth_replay.ts";
import { type Host, reasonOf, type SignalName } from "./host.ts";
import { openQueue } from "./serve_capture_nfqueue.ts";
import { createCommands } from "./serve_commands.ts";
import { forwardingProblem, ipv6ForwardingProblem, turnOnForwarding } from "./serve_forwarding.ts";
import { type GatewayFirewall, startGatewayFirewall } from "./serve_gateway_firewall.ts";
import { createGpgDecryptor } from "./serve_gpg.ts";
import type { Counts, Log } from "./serve_log.ts";
import { keepMemorySmall } from "./serve_memory.ts";
import { systemTimer } from "./serve_timer.ts";
import { createMonitor } from "./serve_monitor.ts";
import type { ServicePhase } from "./serve_notify.ts";
import type { PostParts } from "./serve_post.ts";
import { openApartPost } from "./serve_post_apart.ts";
import { openLocalPost } from "./serve_post_local.ts";
import { openReplayFile, type ReplayFile, rotateReplayFile } from "./serve_replay_file.ts";
import { keepUntil, type SentryRequest } from "./serve_sentry.ts";
import { chooseSentryAccount } from "./serve_separation.ts";
import {
  changedStartVariables,
  type GatewayOptions,
  maxPacketAge,
  queueSettings,
  queuesPackets,
  rulesOf,
  type Settings,
} from "./serve_settings.ts";

/** What a gateway works with. */
export interface GatewayParts {
  readonly host: Host;
  readonly log: Log;
  readonly settings: Settings;
  readonly options: GatewayOptions;
  /** Reads the configuration again; null when it has errors, which were logged. */
  readonly reload: () => Promise<Settings | null>;
  /** Called once everything is set up and packets are being received. */
  readonly ready: () => Promise<void>;
  /** Called when a reload begins and has ended, and when the end begins. */
  readonly tell: (phase: ServicePhase) => void;
}

/**
 * Serves until a signal or the packet limit ends it.
 *
 * @returns the exit status
 * @throws when something that is needed cannot be set up, or the capture dies; nothing of ours is
 * left in the firewall then
 */
export async function serveGateway(parts: GatewayParts): Promise<number> {
  const { host, log, options } = parts;
  let settings = parts.settings;
  const account = options.exitAfterDigestCache
    ? null
    : chooseSentryAccount(host, settings.config, options, log);
  const replays = createReplayMemory();
  const replayFile = openReplays(parts, account === null ? replays : null);
  if (options.exitAfterDigestCache) {
    log.info("Digest cache parsed, exiting.");
    replayFile?.close();
    return 0;
  }

  const gpg = createGpgDecryptor(host);
  const underway = new Set<Promise<void>>();
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
  let commands: ReturnType<typeof createCommands> | null = null;
  let firewall: GatewayFirewall;
  try {
    commands = options.testMode
      ? null
      : createCommands({ host, log, config: () => settings.config });
  } catch (error) {
    post.close();
    throw error;
  }
  const monitor = createMonitor({
    host,
    rules: rulesOf(settings),
    replayFile,
    firewall: null,
    commands,
    log,
  });
  try {
    const install = monitor.setFirewall;
    firewall = await startGatewayFirewall({ host, log, options, install }, settings);
  } catch (error) {
    post.close();
    throw error;
  }
  try {
    await post.ready();
  } catch (error) {
    post.close();
    await firewall.stop();
    throw error;
  }

  async function counts(): Promise<Counts> {
    return withFailures(await post.counts(), monitor.failures);
  }

  let endedBy: SignalName | null = null;
  let reloading: Promise<void> = Promise.resolve();
  const stopListening = [
    ...(["SIGTERM", "SIGINT"] as const).map((name) =>
      host.onSignal(name, () => {
        endedBy ??= name;
        post.stop();
      })
    ),
    host.onSignal("SIGHUP", () => {
      reloading = reloading
        .then(() => parts.tell("reloading"))
        .then(reload)
        .then(() => parts.tell("ready"));
    }),
    host.onSignal("SIGUSR1", () => void counts().then((now) => log.counts("info", now))),
  ];

  async function reload(): Promise<void> {
    log.warning("Got SIGHUP. Re-reading configs.");
    const next = await parts.reload();
    if (next === null) {
      log.error("The new configuration has errors; going on with the present one.");
      return;
    }
    try {
      await putInForce(next);
    } catch (error) {
      log.error(`${reasonOf(error)}; going on with the present configuration.`);
      return;
    }
    for (const name of changedStartVariables(settings.config, next.config)) {
      log.warning(`${name} has changed: that takes effect when the server starts again.`);
    }
    settings = next;
    lookAtForwarding(next);
    log.info("Re-starting fwknopd");
  }

  /** All of it or nothing: what can fail comes first. */
  async function putInForce(next: Settings): Promise<void> {
    const change = await post.prepare(next);
    try {
      await firewall.enact(next);
    } catch (error) {
      change.abort();
      throw error;
    }
    monitor.setRules(rulesOf(next));
    await change.commit();
  }

  function lookAtForwarding({ config, stanzas }: Settings): void {
    const forwards = config.ENABLE_IPT_FORWARDING && !options.testMode;
    if (forwards && config.ENABLE_PROC_IP_FORWARD) turnOnForwarding(host, log);
    const namesIpv6 = stanzas.some(({ FORCE_NAT }) => FORCE_NAT?.address.version === 6);
    for (
      const problem of [
        forwardingProblem(host, forwards),
        ipv6ForwardingProblem(host, forwards && namesIpv6),
      ]
    ) if (problem !== null) log.warning(problem);
  }

  lookAtForwarding(settings);
  commands?.start();
  for (const line of post.announcement) log.info(line);
  await parts.ready();
  keepMemorySmall(host, await host.native(), systemTimer);
  try {
    if (await post.run() === "limit") {
      log.warning(`* Incoming packet count limit of ${options.packetLimit} reached`);
      log.warning(`Packet count limit (${options.packetLimit}) reached. Exiting...`);
    } else {
      log.info("Gracefully leaving the fwknopd event loop.");
      if (endedBy !== null) log.warning(`Got ${endedBy}. Exiting...`);
    }
  } finally {
    parts.tell("stopping");
    for (const stop of stopListening) stop();
    await reloading;
    if (endedBy !== null) gpg.close();
    await post.settle();
    await commands?.stopRunning();
    await Promise.all(underway);
    await Promise.all([firewall.stop(), commands?.stop()]);
    replayFile?.close();
    log.counts("debug", await counts());
    post.close();
  }
  log.info("Shutting Down fwknopd.");
  return 0;
}

/** @param memory null when another process reads the file */
function openReplays(parts: GatewayParts, memory: ReplayMemory | null): ReplayFile | null {
  const { host, log, options, settings: { config } } = parts;
  if (options.testMode || !config.ENABLE_DIGEST_PERSISTENCE) return null;
  if (options.rotateDigestCache) rotateReplayFile(host, config.DIGEST_FILE, log);
  const age = { maxPacketAge: maxPacketAge(config) };
  return openReplayFile(host, config.DIGEST_FILE, memory, log, (record) => keepUntil(record, age));
}

/** A grant that the monitor could not carry out counts as what became of it. */
function withFailures(
  { packets, capture }: Counts,
  failures: ReadonlyMap<RefusalReason, number>,
): Counts {
  const sums = new Map(packets);
  const add = (what: RefusalReason | "granted", count: number): void => {
    const sum = (sums.get(what) ?? 0) + count;
    if (sum === 0) sums.delete(what);
    else sums.set(what, sum);
  };
  for (const [reason, count] of failures) {
    add(reason, count);
    add("granted", -count);
  }
  return { packets: sums, capture };
}
