// The sets that hold grants: their names, their elements, and the rules that look packets up.

import type { FirewallRule, ListedRule, RuleChoice } from "./fw_firewall.ts";
import type { AccessGrant } from "./auth_grant.ts";
import { isRecord, type NftSet, type NftTable, parseObjects } from "./fw_nftables_ruleset.ts";
import { type IpVersion, parseIp } from "./net_address.ts";
import { formatPorts } from "./net_port.ts";

/** One of our sets. */
export interface GrantSet {
  readonly name: string;
  readonly version: IpVersion;
  /** Whether elements name the address that packets go to. */
  readonly destination: boolean;
}

/** All sets that any configuration uses. */
export const GRANT_SETS: readonly GrantSet[] = [
  { name: "spa_access4", version: 4, destination: false },
  { name: "spa_access6", version: 6, destination: false },
  { name: "spa_access4_to", version: 4, destination: true },
  { name: "spa_access6_to", version: 6, destination: true },
];

/** The sets that a table of this family can use. */
export function setsFor(family: NftTable["family"], destination: boolean): GrantSet[] {
  const unfit: IpVersion | null = family === "ip" ? 6 : family === "ip6" ? 4 : null;
  return GRANT_SETS.filter((set) => set.destination === destination && set.version !== unfit);
}

/** The type of a set's elements, as nft(8) writes it. */
export function setType({ version, destination }: GrantSet): string {
  const address = version === 4 ? "ipv4_addr" : "ipv6_addr";
  const addresses = destination ? `${address} . ${address}` : address;
  return `${addresses} . inet_proto . inet_service`;
}

/** What a rule matches packets on to look them up in a set. */
export function setMatch({ name, version, destination }: GrantSet): string {
  const header = version === 4 ? "ip" : "ip6";
  const addresses = destination ? `${header} saddr . ${header} daddr` : `${header} saddr`;
  return `${addresses} . meta l4proto . th dport @${name}`;
}

/** The elements of a grant; refused where the table is for the other IP version. */
export function elementsOf(
  grant: AccessGrant,
  table: NftTable,
  destination: boolean,
): RuleChoice {
  const source = parseIp(grant.source);
  const target = parseIp(grant.destination);
  if (source === null || target === null) {
    const text = source === null ? grant.source : grant.destination;
    return { ok: false, reason: `cannot open for "${text}": not an address` };
  }
  const set = setsFor(table.family, destination).find(({ version }) => version === source.version);
  if (set === undefined) {
    const reason = `table ${table.family} ${table.table} has no IPv${source.version} packets`;
    return { ok: false, reason: `cannot open for ${source.text}: ${reason}` };
  }
  if (destination && target.version !== source.version) {
    const reason = `packets to ${target.text} cannot come from ${source.text}`;
    return { ok: false, reason: `cannot open: ${reason}` };
  }
  const addresses = destination ? `${source.text} . ${target.text}` : source.text;
  const anywhere = source.version === 4 ? "0.0.0.0/0" : "::/0";
  return {
    ok: true,
    rules: grant.ports.map(({ protocol, port }) => ({
      kind: "access",
      table: `${table.family} ${table.table}`,
      chain: set.name,
      text: `${addresses} . ${protocol} . ${port}`,
      expires: grant.expires,
      summary: `${source.text} -> ${destination ? target.text : anywhere} ${
        formatPorts(grant.ports)
      }`,
      life: { seconds: grant.seconds, stanza: grant.stanza },
    })),
  };
}

/**
 * The lines that put an element in with its whole time.
 *
 * @param mayExist whether it may be there, with another time. It would keep that when it is added
 *   again, and one that ends this moment cannot be deleted: so it is added, deleted and added, all
 *   in one transaction. As the kernel takes some 15 ms more for that, one that is not expected is
 *   created, which fails if it is there
 */
export function elementScript(table: NftTable, rule: FirewallRule, mayExist: boolean): string[] {
  const set = `element ${table.family} ${table.table} ${rule.chain}`;
  const seconds = rule.life?.seconds ?? 0;
  const comment = `stanza ${rule.life?.stanza ?? 0} _exp_${rule.expires}`;
  const whole = `{ ${rule.text} timeout ${seconds}s comment "${comment}" }`;
  if (!mayExist) return [`create ${set} ${whole}`];
  return [`add ${set} ${whole}`, `delete ${set} { ${rule.text} }`, `add ${set} ${whole}`];
}

/**
 * Reads the output of `nft --json list set ...`; null when it is not that. Elements of another
 * shape are left out.
 */
export function parseElements(text: string, { family, table, name }: NftSet): ListedRule[] | null {
  const objects = parseObjects(text);
  if (objects === null) return null;
  const elements = objects.flatMap(({ set }) =>
    isRecord(set) && Array.isArray(set.elem) ? set.elem : []
  );
  return elements.flatMap((element, index): ListedRule[] => {
    const inner = isRecord(element) ? element.elem : null;
    if (!isRecord(inner) || !isRecord(inner.val) || !Array.isArray(inner.val.concat)) return [];
    // Addresses in our own spelling, so that the text is that of the rule that was added.
    const parts = inner.val.concat.map(String).map((part) => parseIp(part)?.text ?? part);
    const [source = null] = parts;
    const [protocol = null, port = null] = parts.slice(-2);
    const comment = /^stanza (\d+) _exp_(\d+)$/.exec(String(inner.comment ?? ""));
    return [{
      table: `${family} ${table}`,
      chain: name,
      number: index + 1,
      target: null,
      protocol,
      source,
      destination: parts.length === 4 ? parts[1] ?? null : null,
      sourcePort: null,
      destinationPort: port === null ? null : Number(port),
      expires: comment === null ? null : Number(comment[2]),
      text: parts.join(" . "),
      stanza: comment === null ? null : Number(comment[1]),
      secondsLeft: typeof inner.expires === "number" ? inner.expires : null,
    }];
  });
}
