// The gateway's firewall while the configuration changes: set up anew only where its own settings
// have changed, with what is open, and brought back when the new one cannot be set up.

import { type Host, reasonOf } from "./host.ts";
import type { Firewall } from "./serve_firewall.ts";
import { type Legacy, NO_LEGACY } from "./serve_firewall_legacy.ts";
import type { Log } from "./serve_log.ts";
import { createPatience } from "./serve_patience.ts";
import { systemTimer } from "./serve_timer.ts";
import {
  checkConfiguredFirewall,
  createConfiguredFirewall,
  firewallKey,
  type GatewayOptions,
  type Settings,
} from "./serve_settings.ts";

/** What a gateway's firewall works with. */
export interface GatewayFirewallParts {
  readonly host: Host;
  readonly log: Log;
  readonly options: GatewayOptions;
  /** Is told which firewall is in force; null for none. */
  readonly install: (firewall: Pick<Firewall, "open"> | null) => void;
}

/** A firewall that settings are put in force on. */
export interface GatewayFirewall {
  /** @throws an `Error` with one line for the operator; the present firewall stays then */
  enact(next: Settings): Promise<void>;
  /** Says that {@linkcode stop} is near: from now on nobody waits long for the firewall's programs. */
  hasten(): void;
  stop(): Promise<void>;
}

/** Milliseconds that the firewall's programs have in all once the end has begun. */
const END_PATIENCE = 20_000;

/** Milliseconds to the first retry of bringing a firewall back, doubled each time up to the limit. */
const RETRY_FIRST = 1000;
const RETRY_LIMIT = 60_000;

/** Sets a firewall up; throws an `Error` with one line for the operator. */
export async function startGatewayFirewall(
  parts: GatewayFirewallParts,
  first: Settings,
): Promise<GatewayFirewall> {
  const { log, options, install } = parts;
  const patience = createPatience(parts.host);
  const host: Host = { ...parts.host, run: patience.run };
  let settings = first;
  let firewall = create(first);
  let cancelRetry = (): void => {};
  let retrying: Promise<void> | null = null;
  await firewall?.start();
  install(firewall);

  function create(wanted: Settings): Firewall | null {
    return createConfiguredFirewall(host, log, wanted, options);
  }

  /**
   * What can be known beforehand to fail comes first. Then knocks wait while one firewall follows
   * the other.
   */
  async function replace(next: Settings): Promise<void> {
    // The set-up that follows gives the same warnings.
    const quiet = { ...log, warning: () => {} };
    if (!options.testMode) await checkConfiguredFirewall(host, quiet, next);
    log.warning("The firewall's settings have changed: setting it up anew.");
    const replaced = succeed(next);
    install(whenReplaced(replaced.then(() => firewall, () => firewall)));
    try {
      await replaced;
    } finally {
      install(firewall);
    }
  }

  async function succeed(next: Settings): Promise<void> {
    await endRetrying();
    const old = firewall;
    const heir = create(next);
    const legacy = await old?.retire() ?? NO_LEGACY;
    // Hidden services stay hidden: nftables replaces what is there in one transaction, and of two
    // kinds the new one hides what it does before the old one goes. All others may use the same
    // chains, so that the old one has to go first.
    const kinds = [old, heir].filter((one) => one?.kind === "nftables").length;
    if (kinds === 0) await old?.clear();
    try {
      await heir?.start(legacy);
    } catch (error) {
      if (kinds < 2) await heir?.clear();
      await restore(legacy);
      throw error;
    }
    firewall = heir;
    if ((heir?.kind ?? "command") === "command" && legacy.grants.length > 0) {
      log.warning(
        `${legacy.grants.length} open grant(s) have ended: there is no firewall any more`,
      );
    }
    if (kinds === 1) await old?.clear();
  }

  /** The old one again, in place of a new one that could not be set up. */
  async function restore(legacy: Legacy): Promise<void> {
    firewall = create(settings);
    if (firewall !== null) await startOrRetry(firewall, legacy, RETRY_FIRST);
  }

  async function startOrRetry(former: Firewall, legacy: Legacy, wait: number): Promise<void> {
    try {
      await former.start(legacy);
    } catch (error) {
      log.error(`${reasonOf(error)}; trying again in ${wait / 1000} s, or with the next grant`);
      cancelRetry = systemTimer(wait, () => {
        retrying = startOrRetry(former, legacy, Math.min(RETRY_LIMIT, 2 * wait));
      });
    }
  }

  /** One that runs now may have armed the next. */
  async function endRetrying(): Promise<void> {
    cancelRetry();
    await retrying;
    cancelRetry();
  }

  function hasten(): void {
    patience.shorten(END_PATIENCE);
  }

  return {
    async enact(next) {
      if (firewallKey(next) !== firewallKey(settings)) await replace(next);
      settings = next;
    },
    hasten,
    stop: async () => {
      hasten();
      await endRetrying();
      await firewall?.stop();
      patience.close();
    },
  };
}

/** Opens in the firewall that comes; nothing else is asked of it until then. */
function whenReplaced(replaced: Promise<Firewall | null>): Pick<Firewall, "open"> {
  return {
    open: async (grant) =>
      await (await replaced)?.open(grant) ??
        { ok: false, reason: "this configuration has no firewall" },
  };
}
