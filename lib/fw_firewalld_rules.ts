// What goes to firewall-cmd(1) and comes back, as text. Rich rules (firewalld.richlanguage(5)) of
// ours are told from others by a tag with their end and their stanza, since they have no comment.

import type { ListedRule } from "./fw_firewall.ts";
import type { ProgramResult } from "./host.ts";

/**
 * How a rule carries its tag. `nflog` offers matching packets to a group of listeners that nobody
 * listens to; firewalld before 1.3 has only `log`, which tells the kernel's log of them.
 */
export type TagSyntax = "nflog" | "log";

/** Which of them a daemon has, by what `firewall-cmd --version` prints. */
export function tagSyntaxOf(version: string): TagSyntax {
  const [major = 0, minor = 0] = version.trim().split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 3) ? "nflog" : "log";
}

/**
 * A whole rule.
 *
 * @param match from `rule` up to what it matches
 * @param expires wall clock, in seconds since 1970 UTC
 */
export function richRule(match: string, tag: TagSyntax, stanza: number, expires: number): string {
  const prefix = `prefix="spa stanza ${stanza} _exp_${expires}"`;
  return tag === "nflog"
    ? `${match} nflog group="65535" ${prefix} accept`
    : `${match} log ${prefix} level="debug" limit value="1/m" accept`;
}

/** What a rule matches: all in front of its tag. */
export function matchOf(rule: string): string {
  return rule.replace(/ (?:nflog|log) .*$/, "");
}

/** Whether it is a whole rule, not only what one matches. */
export function isTagged(rule: string): boolean {
  return matchOf(rule) !== rule;
}

/** The rules of ours in what `--list-rich-rules` prints, one a line. */
export function parseRichRules(text: string, zone: string): ListedRule[] {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.flatMap((line, index) => {
    const tag = / prefix="spa stanza (\d+) _exp_(\d{1,11})"/.exec(line);
    if (tag === null) return [];
    return [{
      table: "zone",
      chain: zone,
      number: index + 1,
      target: "accept",
      protocol: /port port="\d+" protocol="(\w+)"/.exec(line)?.[1] ?? null,
      source: /source address="([^"]+)"/.exec(line)?.[1] ?? null,
      destination: /destination address="([^"]+)"/.exec(line)?.[1] ?? null,
      sourcePort: null,
      destinationPort: numberIn(/ port port="(\d+)"/.exec(line)?.[1]),
      expires: Number(tag[2]),
      text: line,
      stanza: Number(tag[1]),
    }];
  });
}

/** Exit status of firewall-cmd(1) without a daemon to talk to. */
export const NOT_RUNNING = 252;

/** Why firewall-cmd could not talk to the daemon; null when it could. */
export function whyUnreachable(result: ProgramResult | undefined): string | null {
  if (result?.status === NOT_RUNNING) return "firewalld is not running; start it first";
  return /DBUS_ERROR/.test(result?.stderr ?? "")
    ? "firewalld cannot be reached, since there is no message bus; start dbus and firewalld"
    : null;
}

/** The names in what `--get-active-zones` prints: those lines that are not indented. */
export function parseZoneNames(text: string): string[] {
  return text.split("\n").filter((line) => /^\S/.test(line)).map((line) =>
    line.replace(/ \(default\)$/, "").trim()
  );
}

function numberIn(text: string | undefined): number | null {
  return text === undefined ? null : Number(text);
}
