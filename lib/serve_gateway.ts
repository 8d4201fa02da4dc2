// The running gateway: capture, sentry, monitor and firewall joined, and what signals do to them.

import { type Policy, preparePolicy } from "./auth_decide.ts";
import { createReplayMemory, type ReplayMemory } from "./auth_replay.ts";
import type { Stanza } from "./conf_access.ts";
import type { ServerConfigReading } from "./conf_fwknopd.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { type Host, type Native, reasonOf, type SignalName } from "./host.ts";
import { type CaptureSource, runCapture } from "./serve_capture.ts";
import { openPcapFileSource, openPcapSource } from "./serve_capture_pcap.ts";
import { openStdinSource } from "./serve_capture_stdin.ts";
import { openUdpSource } from "./serve_capture_udp.ts";
import { createCommands } from "./serve_commands.ts";
import { createFirewall, type Firewall } from "./serve_firewall.ts";
import { createGpgDecryptor } from "./serve_gpg.ts";
import type { Log } from "./serve_log.ts";
import { createMonitor } from "./serve_monitor.ts";
import { openReplayFile, type ReplayFile, rotateReplayFile } from "./serve_replay_file.ts";
import { forwardingProblem } from "./serve_nat_target.ts";
import { choosePlanner } from "./serve_plan.ts";
import { createSentry, keepUntil, type SentryRequest, type Tally } from "./serve_sentry.ts";

/** Configuration that was read without error. */
export interface Settings {
  readonly config: ServerConfig;
  /** Tells which variables were set and which have their defaults. */
  readonly reading: Pick<ServerConfigReading, "settings">;
  readonly stanzas: readonly Stanza[];
}

/** How this run was asked for on the command line. */
export interface GatewayOptions {
  /** Judge packets, but touch no firewall and remember nothing. */
  readonly testMode: boolean;
  /** Also see what this host sends. */
  readonly anyDirection: boolean;
  /** Take packets from standard input, one a line, and stop at its end. */
  readonly fromStdin: boolean;
  /** Packets after which to stop; 0 for no limit. */
  readonly packetLimit: number;
  /** Start with an empty digest cache, keeping the old one beside it. */
  readonly rotateDigestCache: boolean;
  /** Stop after the digest cache has been read. */
  readonly exitAfterDigestCache: boolean;
}

/** Milliseconds of one turn of fwknopd's loop, in which RULES_CHECK_THRESHOLD counts. */
const LOOP_TURN = 100;
/** More than all headers in front of a payload together. */
const HEADER_BYTES = 256;

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
  let source = openSource(host, native, settings.config, options);
  let firewall = createConfiguredFirewall(host, log, settings, options);
  try {
    await firewall?.start();
  } catch (error) {
    source.close();
    throw error;
  }

  const monitor = createMonitor({
    host,
    stanzas: settings.stanzas,
    nat: settings.config,
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
    policy: policyOf(settings, options, log),
    replays,
    log,
    now: host.now,
    decrypt: gpg.decrypt,
    submit,
  });

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
      reloading = reloading.then(reload);
    }),
    host.onSignal("SIGUSR1", () => log.info(formatTally(sentry.tally))),
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
    settings = next;
    sentry.setPolicy(policyOf(next, options, log));
    monitor.setStanzas(next.stanzas, next.config);
    warnOfForwarding(next);
    log.info("Re-starting fwknopd");
  }

  /** A new capture is open before the old one ends; a firewall set up the same way keeps its grants. */
  async function replaceChangedParts(next: Settings): Promise<void> {
    const opened = captureKey(next.config) === captureKey(settings.config)
      ? null
      : openSource(host, native, next.config, options);
    if (firewallKey(next) !== firewallKey(settings)) {
      const other = createConfiguredFirewall(host, log, next, options);
      log.warning("The firewall's settings have changed: open grants end now.");
      await firewall?.stop();
      await other?.start();
      firewall = other;
      monitor.setFirewall(other);
    }
    if (opened !== null) {
      replacement = opened;
      source.stop();
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
    for (const stop of stopListening) stop();
    await reloading;
    if (endedBy !== null) gpg.close();
    await sentry.settled();
    await commands?.stopRunning();
    await Promise.all(underway);
    await Promise.all([firewall?.stop(), commands?.stop()]);
    replayFile?.close();
    source.close();
    log.debug(formatTally(sentry.tally));
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

function maxPacketAge(config: ServerConfig): number | null {
  return config.ENABLE_SPA_PACKET_AGING ? config.MAX_SPA_PACKET_AGE : null;
}

function policyOf(settings: Settings, options: GatewayOptions, log: Log): Policy {
  return preparePolicy(settings.stanzas, {
    maxPacketAge: maxPacketAge(settings.config),
    testMode: options.testMode,
    verbose: log.verbosity > 0,
    nat: settings.config,
  });
}

function openSource(
  host: Host,
  native: Native,
  config: ServerConfig,
  options: GatewayOptions,
): CaptureSource {
  if (options.fromStdin) return openStdinSource(host);
  if (config.PCAP_FILE !== null) {
    return openPcapFileSource(native, config.PCAP_FILE, config.PCAP_FILTER);
  }
  if (config.ENABLE_UDP_SERVER) return openUdpSource(native, config.UDPSERV_PORT);
  return openPcapSource(native, {
    interface: config.PCAP_INTF,
    filter: config.PCAP_FILTER,
    promiscuous: config.ENABLE_PCAP_PROMISC,
    // fwknopd counts headers too and so loses its longest packets.
    snapshotLength: config.MAX_SNIFF_BYTES + HEADER_BYTES,
    anyDirection: options.anyDirection || config.ENABLE_PCAP_ANY_DIRECTION,
  });
}

function createConfiguredFirewall(
  host: Host,
  log: Log,
  settings: Settings,
  options: GatewayOptions,
): Firewall | null {
  if (options.testMode || !usesFirewall(settings)) return null;
  const { config, reading } = settings;
  // Looking for the rules of others costs wake-ups, so it is done only where it was asked for.
  const sweepInterval = reading.settings.has("RULES_CHECK_THRESHOLD")
    ? config.RULES_CHECK_THRESHOLD * LOOP_TURN
    : 0;
  return createFirewall({ host, log, planner: choosePlanner(host, config), sweepInterval });
}

/** The variables that a capture depends on. */
const CAPTURE_VARIABLES = [
  "ENABLE_UDP_SERVER",
  "UDPSERV_PORT",
  "PCAP_INTF",
  "PCAP_FILE",
  "PCAP_FILTER",
  "ENABLE_PCAP_PROMISC",
  "ENABLE_PCAP_ANY_DIRECTION",
  "MAX_SNIFF_BYTES",
] as const;

/** Equal keys mean that one capture does for both configurations. */
function captureKey(config: ServerConfig): string {
  return JSON.stringify(CAPTURE_VARIABLES.map((name) => config[name]));
}

/** Equal keys mean that one set of chains does for both configurations. */
function firewallKey(settings: Settings): string {
  const variables = Object.entries(settings.config).filter(([name]) =>
    /IPT|FIREWALL|_RULE|SNAT|FORWARD_DESTINATION/.test(name)
  );
  return JSON.stringify([usesFirewall(settings), variables.sort()]);
}

/** Where every stanza has commands that open and close, the firewall is not ours to touch. */
function usesFirewall({ stanzas }: Settings): boolean {
  return stanzas.some(({ CMD_CYCLE_OPEN }) => CMD_CYCLE_OPEN === null);
}

/** The counts by what became of packets, on one line. */
function formatTally(tally: Tally): string {
  const counts = [...tally].map(([what, count]) => `${what} ${count}`);
  return `Packets: ${counts.length === 0 ? "none" : counts.join(", ")}`;
}
