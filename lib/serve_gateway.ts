// The running gateway: it serves until a signal or the packet limit ends it. What signals do to it is
// here; see serve_gateway_set_up.ts and serve_gateway_reload.ts for its parts.

import { createReplayMemory } from "./auth_replay.ts";
import type { SignalName } from "./host.ts";
import { lookAtForwarding } from "./serve_forwarding.ts";
import { reloadGateway } from "./serve_gateway_reload.ts";
import {
  type Gateway,
  openReplays,
  setUpGateway,
  type SetUpParts,
} from "./serve_gateway_set_up.ts";
import type { Counts } from "./serve_log.ts";
import { keepMemorySmall } from "./serve_memory.ts";
import type { ServicePhase } from "./serve_notify.ts";
import { withFailures } from "./serve_post_counts.ts";
import type { Settings } from "./serve_settings.ts";
import { systemTimer } from "./serve_timer.ts";

/** What a gateway works with. */
export interface GatewayParts extends SetUpParts {
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
  const { host, log, settings, options } = parts;
  if (options.exitAfterDigestCache) {
    const replayFile = openReplays(parts, createReplayMemory());
    log.info("Digest cache parsed, exiting.");
    replayFile?.close();
    return 0;
  }
  const gateway = await setUpGateway(parts);
  const { post, commands } = gateway;
  const signals = listenToSignals(parts, gateway);
  if (!options.testMode) lookAtForwarding(host, log, settings);
  commands?.start();
  for (const line of post.announcement) log.info(line);
  await parts.ready();
  keepMemorySmall(host, await host.native(), systemTimer);
  try {
    if (await post.run() === "limit") {
      log.warning(`* Incoming packet count limit of ${options.packetLimit} reached`);
      log.warning(`Packet count limit (${options.packetLimit}) reached. Exiting...`);
    } else {
      const { endedBy } = signals;
      log.info("Gracefully leaving the fwknopd event loop.");
      if (endedBy !== null) log.warning(`Got ${endedBy}. Exiting...`);
    }
  } finally {
    parts.tell("stopping");
    gateway.firewall.hasten();
    await signals.stop();
    await endGateway(gateway, signals.endedBy !== null);
    log.counts("debug", await countsOf(gateway));
    post.close();
  }
  log.info("Shutting Down fwknopd.");
  return 0;
}

/** What signals have done to a gateway. */
interface Signals {
  /** The one that ended it, or null. */
  readonly endedBy: SignalName | null;
  /** Listens no more; resolves when the last reload is over. */
  stop(): Promise<void>;
}

function listenToSignals(parts: GatewayParts, gateway: Gateway): Signals {
  const { host, log } = parts;
  let endedBy: SignalName | null = null;
  let reloading: Promise<void> = Promise.resolve();
  const listeners = [
    ...(["SIGTERM", "SIGINT"] as const).map((name) =>
      host.onSignal(name, () => {
        endedBy ??= name;
        gateway.post.stop();
      })
    ),
    host.onSignal("SIGHUP", () => {
      reloading = reloading
        .then(() => parts.tell("reloading"))
        .then(() => reloadGateway(gateway, parts, parts.reload))
        .then(() => parts.tell("ready"));
    }),
    host.onSignal("SIGUSR1", () => {
      void countsOf(gateway).then((now) => log.counts("info", now));
    }),
  ];
  return {
    get endedBy() {
      return endedBy;
    },
    stop() {
      for (const stop of listeners) stop();
      return reloading;
    },
  };
}

/** @param gpgToo whether packets that wait for gpg are given up */
async function endGateway(gateway: Gateway, gpgToo: boolean): Promise<void> {
  const { post, firewall, commands, gpg, replayFile, underway } = gateway;
  if (gpgToo) gpg.close();
  await post.settle();
  await commands?.stopRunning();
  await Promise.all(underway);
  await Promise.all([firewall.stop(), commands?.stop()]);
  replayFile?.close();
}

async function countsOf({ post, monitor }: Gateway): Promise<Counts> {
  return withFailures(await post.counts(), monitor.failures);
}
