// Whether packets are judged by a process of its own, and whom that process becomes.

import type { Host } from "./host.ts";
import { readAccounts } from "./serve_accounts.ts";
import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import type { Log } from "./serve_log.ts";
import type { GatewayOptions } from "./serve_settings.ts";

/** Whom the sentry becomes. */
export interface SentryAccount {
  readonly uid: number;
  readonly gid: number;
}

/** Users that are tried where PRIVSEP_USER is not set. */
const USUAL_USERS = ["spa", "nobody"];

/**
 * The account for the sentry; null where there is to be but one process: with PRIVSEP N, for whoever
 * has no privileges to give up, and for packets that the operator types.
 *
 * @throws an `Error` with one line for the operator when no account can be used
 */
export function chooseSentryAccount(
  host: Pick<Host, "uid" | "readTextFile">,
  config: Pick<ServerConfig, "PRIVSEP" | "PRIVSEP_USER">,
  options: Pick<GatewayOptions, "fromStdin">,
  log: Pick<Log, "debug">,
): SentryAccount | null {
  if (!config.PRIVSEP || options.fromStdin) return null;
  if (host.uid !== 0) {
    log.debug("Not root: packets are read by the same process.");
    return null;
  }
  const accounts = readAccounts(host);
  const names = config.PRIVSEP_USER === null ? USUAL_USERS : [config.PRIVSEP_USER];
  for (const name of names) {
    const account = accounts.user(name);
    if (account === null) continue;
    if (account.uid > 0 && account.gid > 0) return account;
    throw new Error(`cannot use PRIVSEP_USER "${name}": it has the privileges of root`);
  }
  const which = names.map((name) => `"${name}"`).join(" or ");
  throw new Error(`cannot separate privileges: there is no user ${which}; see PRIVSEP_USER`);
}
