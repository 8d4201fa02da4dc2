// A reload of a gateway that runs: new settings are put in force as a whole, or not at all.

import { reasonOf } from "./host.ts";
import { lookAtForwarding } from "./serve_forwarding.ts";
import type { Gateway, SetUpParts } from "./serve_gateway_set_up.ts";
import { changedStartVariables, rulesOf, type Settings } from "./serve_settings.ts";

/**
 * Reads the configuration again and puts it in force; what stands in its way is logged.
 *
 * @param read gives null for a configuration with errors, which were logged
 */
export async function reloadGateway(
  gateway: Gateway,
  { host, log, options }: SetUpParts,
  read: () => Promise<Settings | null>,
): Promise<void> {
  log.warning("Got SIGHUP. Re-reading configs.");
  let next: Settings | null;
  try {
    next = await read();
    if (next === null) {
      log.error("The new configuration has errors; going on with the present one.");
      return;
    }
    await putInForce(gateway, next);
  } catch (error) {
    log.error(`${reasonOf(error)}; going on with the present configuration.`);
    return;
  }
  const { inForce } = gateway;
  for (const name of changedStartVariables(inForce.settings.config, next.config)) {
    log.warning(`${name} has changed: that takes effect when the server starts again.`);
  }
  inForce.settings = next;
  if (!options.testMode) lookAtForwarding(host, log, next);
  log.info("Re-starting fwknopd");
}

/** All of it or nothing: what can fail comes first. */
async function putInForce({ post, firewall, monitor }: Gateway, next: Settings): Promise<void> {
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
