// What pfctl(8) prints, read: the rules of an anchor with their ends, and whether an anchor is
// listed at all. pf.conf(5) has more than one spelling for a rule; pfctl prints its own.

import type { ListedRule } from "./fw_firewall.ts";
import { PROTOCOL_NUMBERS } from "./net_port.ts";

/**
 * The parts of a rule of ours in either spelling: as we load it,
 * `pass in quick proto 6 from A to any port 22 keep state label _exp_1`, and as pfctl prints it,
 * `pass in quick inet proto tcp from A to any port = 22 flags S/SA keep state label "_exp_1"`.
 */
const RULE = new RegExp(
  "^(?<target>pass|block) .*?proto (?:= )?(?<protocol>\\S+) from (?<source>\\S+) to (?<destination>\\S+)" +
    '(?: port (?:= )?(?<port>\\S+))?.*? label "?_exp_(?<end>\\d{1,11})"?(?: |$)',
);

interface Parts {
  readonly target: string;
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  /** A number, or the name of a service where pfctl prints names. */
  readonly port: string | null;
  readonly expires: number;
}

/** Whether `pfctl -s Anchor` lists an anchor: its name ends a line. */
export function anchorIsListed(text: string, anchor: string): boolean {
  return text.split("\n").some((line) => line.trim() === anchor);
}

/** The rules of an anchor, as `pfctl -a NAME -s rules` prints them. */
export function parsePfRules(text: string, anchor: string): ListedRule[] {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return lines.map((line, index) => {
    const parts = partsOf(line);
    const port = parts?.port ?? "";
    return {
      table: "pf",
      chain: anchor,
      number: index + 1,
      target: parts?.target ?? line.split(" ")[0] ?? null,
      protocol: parts?.protocol ?? null,
      source: parts?.source ?? null,
      destination: parts?.destination ?? null,
      sourcePort: null,
      destinationPort: /^\d+$/.test(port) ? Number(port) : null,
      expires: parts?.expires ?? null,
      text: line,
    };
  });
}

/**
 * Whether two spellings mean the same rule of ours, or rules that end together: FreeBSD's pfctl
 * prints names for ports, so ports are not compared.
 */
export function samePfRule(one: string, other: string): boolean {
  const [first, second] = [partsOf(one), partsOf(other)];
  return first !== null && second !== null &&
    (["target", "protocol", "source", "destination", "expires"] as const)
      .every((name) => first[name] === second[name]);
}

function partsOf(line: string): Parts | null {
  const groups = RULE.exec(line)?.groups;
  if (groups === undefined) return null;
  const named = Object.entries(PROTOCOL_NUMBERS).find(([, number]) =>
    String(number) === groups.protocol
  );
  return {
    target: groups.target ?? "",
    protocol: named?.[0] ?? groups.protocol ?? "",
    source: groups.source ?? "",
    destination: groups.destination ?? "",
    port: groups.port ?? null,
    expires: Number(groups.end),
  };
}
