// Elements of our sets as text: the lines that put one in, and what nft's listings tell of them.

import type { FirewallRule, ListedRule } from "./fw_firewall.ts";
import { isRecord, parseObjects } from "./fw_nftables_ruleset.ts";
import { isMap, type KeyField, type PlacedSet } from "./fw_nftables_sets.ts";
import { parseIp } from "./net_address.ts";

/** Between the key of a map's element and what it leads to; no address has blanks in it. */
const LEADS_TO = " : ";

/** The text of an element, by which we know it again. */
export function elementText(key: readonly string[], value: readonly string[]): string {
  return [key, value].filter((parts) => parts.length > 0).map((parts) => parts.join(" . "))
    .join(LEADS_TO);
}

/** What an element's key is in its text. */
export function keyOf(text: string): string {
  return text.split(LEADS_TO)[0] ?? text;
}

/** Of elements of a map with the same key there can be but one, wherever it leads. */
export function elementPurpose(text: string): Pick<FirewallRule, "purpose" | "leadsTo"> {
  const [purpose = text, leadsTo] = text.split(LEADS_TO);
  return leadsTo === undefined ? {} : { purpose, leadsTo };
}

/** One text for an element, whatever it leads to: two of the same cannot be in a map. */
export function identityOf(
  { table, chain, text }: Pick<FirewallRule, "table" | "chain" | "text">,
): string {
  return `${table} ${chain} ${keyOf(text)}`;
}

/** What is known of an element before it is put in. */
export type Presence =
  /** It is not expected: should it be there, the kernel refuses the whole transaction. */
  | "new"
  /** It may be there, leading to where it leads now. */
  | "renewed"
  /** It is there, and may lead elsewhere. */
  | "replaced";

/**
 * The lines that put an element in with its whole time.
 *
 * One that is there would keep its time when it is added again, and one that ends this moment
 * cannot be deleted: so a renewed one is added, deleted and added, all in one transaction. As the
 * kernel takes some 15 ms more for that, new ones are created.
 */
export function elementScript(rule: FirewallRule, presence: Presence): string[] {
  const set = `element ${rule.table} ${rule.chain}`;
  const seconds = rule.life?.seconds ?? 0;
  const [key = "", value] = rule.text.split(LEADS_TO);
  const comment = `stanza ${rule.life?.stanza ?? 0} _exp_${rule.expires}`;
  const leads = value === undefined ? "" : `${LEADS_TO}${value}`;
  const whole = `{ ${key} timeout ${seconds}s comment "${comment}"${leads} }`;
  const deletion = deletionOf(rule);
  switch (presence) {
    case "new":
      return [`create ${set} ${whole}`];
    case "renewed":
      return [`add ${set} ${whole}`, deletion, `add ${set} ${whole}`];
    case "replaced":
      return [deletion, `create ${set} ${whole}`];
  }
}

/** The line that takes an element out. */
export function deletionOf({ table, chain, text }: FirewallRule): string {
  return `delete element ${table} ${chain} { ${keyOf(text)} }`;
}

/** The words of the call that lists a set. */
export function listingWords(set: PlacedSet): string[] {
  const { family, table } = set.table;
  return ["list", isMap(set) ? "map" : "set", family, table, set.name];
}

/**
 * Reads the output of `nft --json list set ...` or `list map ...`; null when it is not that.
 * Elements of another shape are left out.
 */
export function parseElements(text: string, set: PlacedSet): ListedRule[] | null {
  const objects = parseObjects(text);
  if (objects === null) return null;
  const elements = objects.flatMap((object) => {
    const listed = isMap(set) ? object.map : object.set;
    return isRecord(listed) && Array.isArray(listed.elem) ? listed.elem : [];
  });
  return elements.flatMap((element: unknown, index): ListedRule[] => {
    const [outer, value] = isMap(set) && Array.isArray(element) ? element : [element, undefined];
    const inner = isRecord(outer) ? outer.elem : null;
    const parts = isRecord(inner) ? partsOf(inner.val) : [];
    if (!isRecord(inner) || parts.length !== set.key.length) return [];
    const leadsTo = partsOf(value);
    if (isMap(set) !== leadsTo.length > 0) return [];
    const part = (field: KeyField): string | null => parts[set.key.indexOf(field)] ?? null;
    const port = (field: "sport" | "dport"): number | null => {
      const number = part(field);
      return number === null ? null : Number(number);
    };
    const comment = /^stanza (\d+) _exp_(\d+)$/.exec(String(inner.comment ?? ""));
    return [{
      table: `${set.table.family} ${set.table.table}`,
      chain: set.name,
      number: index + 1,
      target: set.action,
      protocol: part("l4proto"),
      source: part("saddr"),
      destination: part("daddr"),
      sourcePort: port("sport"),
      destinationPort: port("dport"),
      expires: comment === null ? null : Number(comment[2]),
      text: elementText(parts, leadsTo),
      stanza: comment === null ? null : Number(comment[1]),
      secondsLeft: typeof inner.expires === "number" ? inner.expires : null,
      ...(leadsTo.length === 0 ? {} : { translatedTo: endpoint(leadsTo) }),
    }];
  });
}

/** The parts of a concatenation, with addresses in our own spelling; none of another value. */
function partsOf(value: unknown): string[] {
  const parts: unknown[] = isRecord(value) && Array.isArray(value.concat) ? value.concat : [value];
  const plain = parts.flatMap((part) =>
    typeof part === "string" || typeof part === "number" ? [String(part)] : []
  );
  return plain.length < parts.length ? [] : plain.map((part) => parseIp(part)?.text ?? part);
}

function endpoint([address = "", port]: readonly string[]): string {
  if (port === undefined) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
