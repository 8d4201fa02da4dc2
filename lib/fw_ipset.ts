// Sets of ipset(8) that hold grants: their names, the rules of iptables that look packets up in
// them, and their elements, whose time-outs the kernel keeps.

import type { AccessGrant } from "./auth_grant.ts";
import { callOf } from "./fw_call.ts";
import type { ChainName, FirewallCall, FirewallRule, ListedRule } from "./fw_firewall.ts";
import type { IptablesChain } from "./fw_iptables_chains.ts";
import type { IptablesPrograms } from "./fw_iptables_edit.ts";
import { parseIp } from "./net_address.ts";
import { formatPorts } from "./net_port.ts";

/** What sets depend on in fwknopd.conf, by its variables' names. */
export interface IpsetConfig {
  readonly ENABLE_DESTINATION_RULE: boolean;
  readonly ENABLE_IPT_OUTPUT: boolean;
  readonly IPT_INPUT_ACCESS: IptablesChain;
  readonly IPT_OUTPUT_ACCESS: IptablesChain;
}

/** One of our sets. */
export interface GrantIpset {
  readonly name: string;
  readonly family: IptablesPrograms["family"];
  /** What the log calls what it opens. */
  readonly kind: "access" | "OUTPUT";
  /** The chain whose rules its elements stand for. */
  readonly chain: IptablesChain;
  /** Whether elements name the address of this host that packets are sent to, or come from. */
  readonly withDestination: boolean;
}

/** Where rules say that they are elements of a set. */
export const IPSET_TABLE = "ipset";

/** The longest time-out of an element, in seconds (ipset(8)). */
export const LONGEST_TIMEOUT = 2_147_483;

/** More than any server opens; the kernel takes memory for those that are there. */
const MOST_ELEMENTS = 1 << 20;

/** The sets that a configuration uses for one IP version. */
export function ipsetsFor(config: IpsetConfig, family: GrantIpset["family"]): GrantIpset[] {
  return everyIpset(config, family).filter(({ kind, withDestination }) =>
    withDestination === config.ENABLE_DESTINATION_RULE &&
    (kind === "access" || config.ENABLE_IPT_OUTPUT)
  );
}

/** The sets that a configuration with these chains may ever have used for one IP version. */
export function everyIpset(
  config: Pick<IpsetConfig, "IPT_INPUT_ACCESS" | "IPT_OUTPUT_ACCESS">,
  family: GrantIpset["family"],
): GrantIpset[] {
  const version = family === "ipv6" ? "6" : "4";
  return [false, true].flatMap((withDestination): GrantIpset[] => [
    {
      name: `spa_access${version}${withDestination ? "_to" : ""}`,
      family,
      kind: "access",
      chain: config.IPT_INPUT_ACCESS,
      withDestination,
    },
    {
      name: `spa_output${version}${withDestination ? "_from" : ""}`,
      family,
      kind: "OUTPUT",
      chain: config.IPT_OUTPUT_ACCESS,
      withDestination,
    },
  ]);
}

/** What a rule in that set says of where it is. */
export function ipsetName({ name, family }: GrantIpset): ChainName {
  return { table: IPSET_TABLE, chain: name, ...(family === "ipv6" ? { family } : {}) };
}

/** The rule that looks packets up in a set, as iptables prints it behind the chain's name. */
export function lookUpRule({ name, kind, chain, withDestination }: GrantIpset): string {
  const [client, server] = kind === "access" ? ["src", "dst"] : ["dst", "src"];
  // Ports follow the direction of the second part: in answers the service's is the source port.
  const parts = [client, server, ...(withDestination ? [server] : [])].join(",");
  return `-m set --match-set ${name} ${parts} -j ${chain.target}`;
}

/** The line of `ipset restore` that makes a set; one that is there must be of the same kind. */
export function creationOf(set: GrantIpset): string {
  const { type, family, options } = shapeOf(set);
  return `create ${set.name} ${type} family ${family} ${options}`;
}

/** Whether a set is of our making, by the output of `ipset list -terse`. */
export function isOurs(text: string, set: GrantIpset): boolean {
  const { type, family, options } = shapeOf(set);
  const [, found, header = ""] = /\nType: (\S+)\n[^]*\nHeader: (.*)/.exec(text) ?? [];
  return found === type && header.startsWith(`family ${family} `) &&
    header.includes(` ${options} `);
}

/** Options stand in the order in which ipset lists them. */
function shapeOf({ family, withDestination }: GrantIpset) {
  return {
    type: withDestination ? "hash:ip,port,ip" : "hash:ip,port",
    family: family === "ipv6" ? "inet6" : "inet",
    options: `maxelem ${MOST_ELEMENTS} timeout 0 comment`,
  };
}

/** The elements that stand for an access grant's rules in the chain of a set. */
export function elementsFor(set: GrantIpset, grant: AccessGrant): FirewallRule[] {
  const anywhere = set.family === "ipv6" ? "::/0" : "0.0.0.0/0";
  const here = set.withDestination ? grant.destination : anywhere;
  return grant.ports.map(({ protocol, port }) => ({
    kind: set.kind,
    ...ipsetName(set),
    text: `${addressText(grant.source)},${protocol}:${port}` +
      (set.withDestination ? `,${addressText(grant.destination)}` : ""),
    expires: grant.expires,
    endsByItself: true,
    life: { seconds: grant.seconds, stanza: grant.stanza },
    summary: `${grant.source} -> ${here} ${formatPorts(grant.ports)}`,
  }));
}

/** The line of `ipset restore` that puts an element in, or gives it a new time-out. */
export function additionOf({ chain, text, expires, life }: FirewallRule): string {
  const comment = `stanza ${life?.stanza ?? 0} _exp_${expires}`;
  return `add ${chain} ${text} timeout ${life?.seconds ?? 0} comment "${comment}"`;
}

/** The line of `ipset restore` that takes an element out. */
export function removalOf({ chain, text }: FirewallRule): string {
  return `del ${chain} ${text}`;
}

/** A call that makes changes, line by line; what is there already, or gone, is no failure. */
export function ipsetScript(program: string, lines: readonly string[]): FirewallCall {
  const { call } = callOf(program, ["-exist", "restore"], [...lines, ""].join("\n"));
  return { call, echo: lines.map((line) => `${program} ${line}`) };
}

/**
 * The elements in the output of `ipset save`.
 *
 * @param text standard output
 */
export function parseIpset(text: string, set: GrantIpset): ListedRule[] {
  const rules: ListedRule[] = [];
  const lead = `add ${set.name} `;
  for (const line of text.split("\n")) {
    if (!line.startsWith(lead)) continue;
    const [element = "", ...options] = line.slice(lead.length).split(" ");
    const [client = "", service = "", server] = element.split(",");
    const [protocol = null, port] = service.split(":");
    const number = port !== undefined && /^\d+$/.test(port) ? Number(port) : null;
    const timeout = /^timeout (\d+)/.exec(options.join(" "))?.[1];
    const comment = / comment "stanza (\d+) _exp_(\d{1,11})"$/.exec(line);
    const isAccess = set.kind === "access";
    const here = server === undefined ? null : addressText(server);
    rules.push({
      ...ipsetName(set),
      number: rules.length + 1,
      target: set.chain.target,
      protocol,
      source: isAccess ? addressText(client) : here,
      destination: isAccess ? here : addressText(client),
      sourcePort: isAccess ? null : number,
      destinationPort: isAccess ? number : null,
      expires: comment === null ? null : Number(comment[2]),
      text: [addressText(client), service, ...(here === null ? [] : [here])].join(","),
      stanza: comment === null ? null : Number(comment[1]),
      secondsLeft: timeout === undefined ? null : Number(timeout),
      endsByItself: true,
    });
  }
  return rules;
}

/** Addresses in our own spelling, so that an element is known by its text. */
function addressText(text: string): string {
  return parseIp(text)?.text ?? text;
}
