// The gateway's firewall while the configuration changes: set up anew only where its own settings
// have changed, and brought back when the new one cannot be set up.

import type { Host } from "./host.ts";
import type { Firewall } from "./serve_firewall.ts";
import type { Log } from "./serve_log.ts";
import {
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
  readonly install: (firewall: Firewall | null) => void;
}

/** A firewall that settings are put in force on. */
export interface GatewayFirewall {
  /** @throws an `Error` with one line for the operator; the present firewall stays then */
  enact(next: Settings): Promise<void>;
  stop(): Promise<void>;
}

/** Sets a firewall up; throws an `Error` with one line for the operator. */
export async function startGatewayFirewall(
  parts: GatewayFirewallParts,
  first: Settings,
): Promise<GatewayFirewall> {
  const { host, log, options, install } = parts;
  let settings = first;
  let firewall = await startFor(first);

  async function startFor(wanted: Settings): Promise<Firewall | null> {
    const started = createConfiguredFirewall(host, log, wanted, options);
    await started?.start();
    install(started);
    return started;
  }

  /** Both may use the same chains, so the old one ends first; it comes back if the new one fails. */
  async function replace(next: Settings): Promise<void> {
    log.warning("The firewall's settings have changed: open grants end now.");
    await firewall?.stop();
    try {
      firewall = await startFor(next);
    } catch (error) {
      firewall = await startFor(settings);
      throw error;
    }
  }

  return {
    async enact(next) {
      if (firewallKey(next) !== firewallKey(settings)) await replace(next);
      settings = next;
    },
    stop: async () => await firewall?.stop(),
  };
}
