// Where a NAT grant leads when its packet names a host: the lookup, which nothing waits for but
// the grant itself.

import type { NatGrant } from "./auth_grant.ts";
import { type Host, reasonOf } from "./host.ts";
import { parseIp } from "./net_address.ts";
import type { Log } from "./serve_log.ts";

/** Milliseconds after which a lookup is given up; below the time that -K gives a daemon to end. */
const LOOKUP_LIMIT = 3000;

/**
 * The grant with the address of its target, which is the first address of a host name in the family
 * of the grant's source; null, with a line in the log, when there is none within the limit. Never
 * rejects.
 *
 * @param limit milliseconds
 */
export async function resolveNatTarget(
  host: Pick<Host, "resolve">,
  grant: NatGrant,
  log: Pick<Log, "info" | "warning">,
  limit: number = LOOKUP_LIMIT,
): Promise<NatGrant | null> {
  const { nat } = grant;
  if (parseIp(nat.host) !== null) return grant;
  const version = parseIp(grant.source)?.version ?? 4;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${limit / 1000} s`)), limit);
  });
  try {
    const found = await Promise.race([host.resolve(nat.host, `ipv${version}`), tooLate]);
    const address = found.find((text) => parseIp(text)?.version === version);
    if (address === undefined) throw new Error(`no IPv${version} address`);
    log.info("Resolved NAT IP in SPA message");
    return { ...grant, nat: { ...nat, host: address } };
  } catch (error) {
    log.warning(
      `Unable to resolve Hostname in NAT SPA message: "${nat.host}": ${reasonOf(error)}`,
    );
    return null;
  } finally {
    clearTimeout(timer);
  }
}
