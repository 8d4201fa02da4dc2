// What a stanza allows whoever holds its keys: ports and seconds.

import type { Stanza } from "./conf_access.ts";
import type { ProtocolPort } from "./net_port.ts";

/** Every requested entry must be listed or all be open, and none may be restricted. */
export function portsAllowed(
  stanza: Pick<Stanza, "OPEN_PORTS" | "RESTRICT_PORTS">,
  requested: readonly ProtocolPort[],
): boolean {
  const has = (list: readonly ProtocolPort[], entry: ProtocolPort): boolean =>
    list.some(({ protocol, port }) => protocol === entry.protocol && port === entry.port);
  const { OPEN_PORTS: open, RESTRICT_PORTS: restricted } = stanza;
  return requested.every((entry) =>
    (open === null || has(open, entry)) && !(restricted !== null && has(restricted, entry))
  );
}

/**
 * Seconds that a grant lasts: the client's wish up to the stanza's maximum, or the stanza's own time.
 *
 * @param clientTimeout seconds the packet asks for; 0 asks for none
 */
export function grantSeconds(
  stanza: Pick<Stanza, "FW_ACCESS_TIMEOUT" | "MAX_FW_TIMEOUT">,
  clientTimeout: number,
): number {
  if (clientTimeout > 0) return Math.min(clientTimeout, stanza.MAX_FW_TIMEOUT);
  return stanza.FW_ACCESS_TIMEOUT;
}
