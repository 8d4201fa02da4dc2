// A pfctl that lives in memory: one anchor of rules, which it prints in its own spelling. It takes
// the commands that fwknopd gives and rules in the grammar of pf.conf(5), and nothing else.

import type { ProgramCall, ProgramResult } from "../lib/host.ts";

/** A firewall for tests. */
export interface FakePfctl {
  run(call: ProgramCall): ProgramResult;
  /** The anchor's rules as `pfctl -a NAME -s rules` prints them. */
  rules: string[];
  /** Every command line so far, with what was put into it. */
  readonly commands: string[];
  /** Texts that match are refused when they are loaded. */
  refuse: RegExp | null;
  /** While true, no rule can be loaded or flushed. */
  keep: boolean;
}

const ADDRESS = String.raw`(?:\d{1,3}\.){3}\d{1,3}`;
const RULE = new RegExp(
  String.raw`^pass in quick (?:inet )?proto (6|17|tcp|udp) from (${ADDRESS}) to (any|${ADDRESS})` +
    String.raw` port (?:= )?(\w+)(?: flags S/SA)? keep state label "?(\w+)"?$`,
);

/**
 * @param anchors what `-s Anchor` prints
 * @param spelling how ports are printed: FreeBSD's pfctl has names for some
 */
export function fakePfctl(
  anchors: readonly string[] = ["fwknop"],
  spelling: Readonly<Record<string, string>> = {},
): FakePfctl {
  const fake: FakePfctl = {
    rules: [],
    commands: [],
    refuse: null,
    keep: false,
    run(call) {
      const line = call.args.join(" ");
      fake.commands.push(call.stdin === undefined ? line : `${line} <<< ${call.stdin}`);
      if (call.program !== "/sbin/pfctl") return { status: 127, stdout: "", stderr: "" };
      if (line === "-s Anchor") return done(anchors.map((name) => `  ${name}\n`).join(""));
      if (line === "-a fwknop -s rules") {
        return done(fake.rules.map((rule) => `${rule}\n`).join(""));
      }
      if (fake.keep) return failed("pfctl: DIOCXBEGIN: Device busy");
      if (line === "-a fwknop -F all") {
        fake.rules = [];
        return done("");
      }
      if (line === "-a fwknop -f -" && call.stdin !== undefined) return load(call.stdin);
      return failed(`usage: pfctl (not ${line})`);
    },
  };
  return fake;

  function load(text: string): ProgramResult {
    if (!text.endsWith("\n")) return failed("stdin:1: syntax error");
    const printed: string[] = [];
    for (const [index, rule] of text.trimEnd().split("\n").entries()) {
      const parts = RULE.exec(rule);
      if (parts === null || fake.refuse?.test(rule)) {
        return failed(
          `stdin:${
            index + 1
          }: syntax error\npfctl: Syntax error in config file: pf rules not loaded`,
        );
      }
      const [, protocol, from, to, port = "", label] = parts;
      const tcp = protocol === "6" || protocol === "tcp";
      printed.push(
        `pass in quick inet proto ${tcp ? "tcp" : "udp"} from ${from} to ${to}` +
          ` port = ${spelling[port] ?? port}${
            tcp ? " flags S/SA" : ""
          } keep state label "${label}"`,
      );
    }
    fake.rules = printed;
    return done("");
  }
}

function done(stdout: string): ProgramResult {
  return { status: 0, stdout, stderr: "" };
}

function failed(stderr: string): ProgramResult {
  return { status: 1, stdout: "", stderr: `${stderr}\n` };
}
