// The running gateway: capture, sentry, monitor and firewall joined, and what signals do to them.

import type { RefusalReason } from "./auth_event.ts";
import { createReplayMemory, type ReplayMemory } from "./auth_replay.ts";
import { type Host, reasonOf, type SignalName } from "./host.ts";
import { type CaptureSource, runCapture } from "./serve_capture.ts";
import { createCommands } from "./serve_commands.ts";
import { createGpgDecryptor } from "./serve_gpg.ts";
import type { Counts, Log } from "./serve_log.ts";
import { createMonitor } from "./serve_monitor.ts";
import { openReplayFile, type ReplayFile, rotateReplayFile } from "./serve_replay_file.ts";
import { forwardingProblem } from "./serve_nat_target.ts";
import type { ServicePhase } from "./serve_notify.ts";
import { createSentry, keepUntil, type SentryRequest, type Tally } from "./serve_sentry.ts";
import {
  captureKey,
  changedStartVariables,
  createConfiguredFirewall,
  firewallKey,
  type GatewayOptions,
  maxPacketAge,
  openSource,
  policyOf,
  rulesOf,
  type Settings,
} from "./serve_settings.ts";
import { systemTimer } from "./serve_timer.ts";

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
  const native = await host.native();
  const replays = createReplayMemory();
  const replayFile = openReplays(parts, replays);
  if (options.exitAfterDigestCache) {
    log.info("Digest cache parsed, exiting.");
    replayFile?.close();
    return 0;
  }

  const commands = options.testMode
    ? null
    : createCommands({ host, log, config: () => settings.config });
  let source = openSource(host, native, settings.config, options, log);
  let firewall = createConfiguredFirewall(host, log, settings, options);
  try {
    await firewall?.start();
  } catch (error) {
    source.close();
    throw error;
  }

  const monitor = createMonitor({
    host,
    rules: rulesOf(settings),
    replayFile,
    firewall,
    commands,
    log,
  });
  const gpg = createGpgDecryptor(host);
  const underway = new Set<Promise<void>>();
  const submit = (request: SentryRequest): void => {
    const task = monitor.carryOut(request).finally(() => underway.delete(task));
    underway.add(task);
  };
  const sentry = createSentry({
    policy: policyOf(settings, options, log, native),
    replays,
    log,
    now: host.now,
    decrypt: gpg.decrypt,
    submit,
    timer: systemTimer,
  });

  /** A grant that the monitor could not carry out counts as what became of it. */
  function tally(): Tally {
    const counts = new Map(sentry.tally);
    const add = (what: RefusalReason | "granted", count: number): void => {
      const sum = (counts.get(what) ?? 0) + count;
      if (sum === 0) counts.delete(what);
      else counts.set(what, sum);
    };
    for (const [reason, count] of monitor.failures) {
      add(reason, count);
      add("granted", -count);
    }
    return counts;
  }

  const counts = (): Counts => ({ packets: tally(), capture: source.counters?.() ?? null });
  let endedBy: SignalName | null = null;
  let replacement: CaptureSource | null = null;
  let reloading: Promise<void> = Promise.resolve();
  const stopListening = [
    ...(["SIGTERM", "SIGINT"] as const).map((name) =>
      host.onSignal(name, () => {
        endedBy ??= name;
        source.stop();
      })
    ),
    host.onSignal("SIGHUP", () => {
      reloading = reloading
        .then(() => parts.tell("reloading"))
        .then(reload)
        .then(() => parts.tell("ready"));
    }),
    host.onSignal("SIGUSR1", () => log.counts("info", counts())),
  ];

  async function reload(): Promise<void> {
    log.warning("Got SIGHUP. Re-reading configs.");
    const next = await parts.reload();
    if (next === null) {
      log.error("The new configuration has errors; going on with the present one.");
      return;
    }
    try {
      await replaceChangedParts(next);
    } catch (error) {
      log.error(`${reasonOf(error)}; going on with the present configuration.`);
      return;
    }
    for (const name of changedStartVariables(settings.config, next.config)) {
      log.warning(`${name} has changed: that takes effect when the server starts again.`);
    }
    settings = next;
    sentry.setPolicy(policyOf(next, options, log, native));
    monitor.setRules(rulesOf(next));
    warnOfForwarding(next);
    log.info("Re-starting fwknopd");
  }

  /** A new capture is open before the old one ends; a firewall set up the same way keeps its grants. */
  async function replaceChangedParts(next: Settings): Promise<void> {
    const opened = captureKey(next.config) === captureKey(settings.config)
      ? null
      : openSource(host, native, next.config, options, log);
    try {
      if (firewallKey(next) !== firewallKey(settings)) await replaceFirewall(next);
    } catch (error) {
      opened?.close();
      throw error;
    }
    if (opened !== null) {
      replacement = opened;
      source.stop();
    }
  }

  /** Both may use the same chains, so the old one ends first; it comes back if the new one fails. */
  async function replaceFirewall(next: Settings): Promise<void> {
    log.warning("The firewall's settings have changed: open grants end now.");
    await firewall?.stop();
    try {
      firewall = createConfiguredFirewall(host, log, next, options);
      await firewall?.start();
    } catch (error) {
      firewall = createConfiguredFirewall(host, log, settings, options);
      await firewall?.start();
      throw error;
    } finally {
      monitor.setFirewall(firewall);
    }
  }

  function warnOfForwarding({ config }: Settings): void {
    const problem = forwardingProblem(host, config.ENABLE_IPT_FORWARDING && !options.testMode);
    if (problem !== null) log.warning(problem);
  }

  function announce(): void {
    for (const line of source.announcement) log.info(line);
  }

  async function receive(): Promise<"stopped" | "limit"> {
    for (;;) {
      const ended = await runCapture(source, options.packetLimit, sentry.receive);
      if (ended === "limit" || endedBy !== null || replacement === null) return ended;
      source.close();
      source = replacement;
      replacement = null;
      announce();
    }
  }

  warnOfForwarding(settings);
  commands?.start();
  announce();
  await parts.ready();
  try {
    if (await receive() === "limit") {
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
    await sentry.settled();
    sentry.flushLog();
    await commands?.stopRunning();
    await Promise.all(underway);
    await Promise.all([firewall?.stop(), commands?.stop()]);
    replayFile?.close();
    log.counts("debug", counts());
    source.close();
  }
  log.info("Shutting Down fwknopd.");
  return 0;
}

function openReplays(parts: GatewayParts, replays: ReplayMemory): ReplayFile | null {
  const { host, log, options, settings: { config } } = parts;
  if (options.testMode || !config.ENABLE_DIGEST_PERSISTENCE) return null;
  if (options.rotateDigestCache) rotateReplayFile(host, config.DIGEST_FILE, log);
  const age = { maxPacketAge: maxPacketAge(config) };
  return openReplayFile(host, config.DIGEST_FILE, replays, log, (record) => keepUntil(record, age));
}
