// A firewall-cmd that lives in memory: zones with rich rules that end, and iptables behind direct
// rules. It knows the options that the planners use, and says what firewalld 1.3.3 says.

import { parseZoneNames } from "../lib/fw_firewalld_rules.ts";
import type { ProgramCall, ProgramResult } from "../lib/host.ts";
import { type FakeIptables, fakeIptables } from "./fake_iptables.ts";

/** A firewall for tests. */
export interface FakeFirewalld {
  run(call: ProgramCall, now: number): ProgramResult;
  /** A zone's rich rules at a time in seconds. */
  rules(zone: string, now: number): string[];
  /** Every command line so far. */
  readonly commands: string[];
  /** What direct rules come to. */
  readonly iptables: FakeIptables;
  readonly ip6tables: FakeIptables;
  version: string;
  running: boolean;
  /** Rules that match are refused. */
  refuse: RegExp | null;
  /** Forgets what has no permanent file, as a reload does. */
  reload(): void;
}

const RULE = new RegExp(
  '^rule family="ipv[46]" source address="[\\da-f.:]+"(?: destination address="[\\da-f.:]+")?' +
    ' port port="\\d+" protocol="(?:tcp|udp)"' +
    ' (?:nflog group="\\d+" prefix="[^"]{1,63}"|log prefix="[^"]{1,63}" level="debug" limit value="1/m")' +
    " accept$",
);

/** @param active what `--get-active-zones` prints; every zone in it exists, and so does `public` */
export function fakeFirewalld(active = "public\n  interfaces: eth0\n"): FakeFirewalld {
  const names = ["public", ...parseZoneNames(active)];
  /** When each rule ends. */
  let zones = new Map(names.map((name) => [name, new Map<string, number>()]));

  const fake: FakeFirewalld = {
    commands: [],
    iptables: fakeIptables(),
    ip6tables: fakeIptables(),
    version: "1.3.3",
    running: true,
    refuse: null,
    rules: (zone, now) =>
      [...zones.get(zone) ?? []].filter(([, end]) => end > now).map(([rule]) => rule),
    reload: () => void (zones = new Map([...zones.keys()].map((name) => [name, new Map()]))),
    run(call, now) {
      const line = call.args.join(" ");
      fake.commands.push(line);
      if (!fake.running) return failed(252, "FirewallD is not running");
      if (line === "--state") return done("running\n");
      if (line === "--version") return done(`${fake.version}\n`);
      if (line === "--get-default-zone") return done("public\n");
      if (line === "--get-active-zones") return done(active);
      if (call.args[0] === "--direct") return direct(call);
      return inZone(call.args, now);
    },
  };
  return fake;

  function direct({ args }: ProgramCall): ProgramResult {
    const [, passthrough, family, ...words] = args;
    if (passthrough !== "--passthrough" || !/^ipv[46]$/.test(family ?? "")) {
      return failed(2, "usage");
    }
    const firewall = family === "ipv6" ? fake.ip6tables : fake.iptables;
    const inner = firewall.run({ program: "iptables", args: words });
    if (inner.status === 0) return done(`${inner.stdout}\nsuccess\n`);
    const command = `/usr/sbin/iptables -w10 ${words.join(" ")}`;
    return failed(13, `Error: COMMAND_FAILED: '${command}' failed: ${inner.stderr}`);
  }

  /** As in firewall-cmd(1), a call with several rules fails only when all of them do. */
  function inZone(args: readonly string[], now: number): ProgramResult {
    const [first = "", ...rest] = args;
    const name = /^--zone=(.*)$/.exec(first)?.[1] ?? "";
    const zone = zones.get(name);
    if (zone === undefined) return failed(112, `Error: INVALID_ZONE: ${name}`);
    if (rest[0] === "--list-rich-rules") {
      return done(fake.rules(name, now).map((rule) => `${rule}\n`).join(""));
    }
    const timeout = /^--timeout=(\d+)$/.exec(rest.at(-1) ?? "")?.[1];
    const edits = timeout === undefined ? rest : rest.slice(0, -1);
    const complaints: string[] = [];
    let errors = 0;
    for (const edit of edits) {
      const [, operation, rule = ""] = /^--(add|remove)-rich-rule=(.*)$/.exec(edit) ?? [];
      const isThere = (zone.get(rule) ?? 0) > now;
      if (operation === undefined || !RULE.test(rule) || fake.refuse?.test(rule)) {
        complaints.push(`Warning: INVALID_RULE: ${edit}`);
        errors++;
      } else if (operation === "remove") {
        if (!isThere) complaints.push(`Warning: NOT_ENABLED: '${rule}' not in '${name}'`);
        zone.delete(rule);
      } else if (isThere) {
        complaints.push(`Warning: ALREADY_ENABLED: '${rule}' already in '${name}'`);
      } else {
        zone.set(rule, now + Number(timeout ?? Infinity));
      }
    }
    const stderr = complaints.map((text) => `${text}\n`).join("");
    if (errors === edits.length) return failed(122, stderr.replaceAll("Warning:", "Error:"));
    return { status: 0, stdout: "success\n", stderr };
  }
}

function done(stdout: string): ProgramResult {
  return { status: 0, stdout, stderr: "" };
}

function failed(status: number, stderr: string): ProgramResult {
  return { status, stdout: "", stderr: stderr.endsWith("\n") ? stderr : `${stderr}\n` };
}
