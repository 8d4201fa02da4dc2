// An ipfw that lives in memory: numbered rules in sets, and dynamic rules. It takes the commands
// that fwknopd gives, in the grammar of ipfw(8), and nothing else.

import type { ProgramCall, ProgramResult } from "../lib/host.ts";

interface StoredRule {
  readonly number: number;
  set: number;
  readonly body: string;
}

/** A firewall for tests. */
export interface FakeIpfw {
  run(call: ProgramCall): ProgramResult;
  /** Rules as `ipfw -S list` shows them, those of disabled sets too. */
  rules(): string[];
  /** Every command line so far. */
  readonly commands: string[];
  /** Numbers of rules that have dynamic rules. */
  readonly dynamic: Set<number>;
  /** Commands that match fail. */
  refuse: RegExp | null;
}

const ADDRESS = String.raw`(?:\d{1,3}\.){3}\d{1,3}`;
const BODY = new RegExp(
  String.raw`^(?:check-state|(?:pass|allow) (?:6|17|tcp|udp) from ${ADDRESS} to (?:me|${ADDRESS})` +
    String.raw` dst-port \d{1,5}(?: setup)? keep-state // _exp_\d+)$`,
);

/** @param program the path it must be called by */
export function fakeIpfw(program = "/sbin/ipfw"): FakeIpfw {
  let rules: StoredRule[] = [];
  const disabled = new Set<number>();

  const fake: FakeIpfw = {
    commands: [],
    dynamic: new Set(),
    refuse: null,
    rules: () => rules.map(({ number, set, body }) => `${number} set ${set} ${body}`),
    run(call) {
      const line = call.args.join(" ");
      fake.commands.push(line);
      if (call.program !== program) return failed(127, "");
      if (fake.refuse?.test(line)) return failed(71, "ipfw: setsockopt(IP_FW_XADD): refused");
      return command(line) ?? failed(64, `ipfw: bad command \`${line}'`);
    },
  };
  return fake;

  function command(line: string): ProgramResult | null {
    let found: RegExpExecArray | null;
    if ((found = /^((?:-[dST] )*)(?:set (\d+) )?list$/.exec(line))) {
      return listing(found[1] ?? "", found[2] === undefined ? null : setNumber(found[2]));
    }
    if ((found = /^add (\d+) set (\d+) (.+)$/.exec(line))) {
      const number = Number(found[1]);
      const body = found[3] ?? "";
      if (number < 1 || number > 65534 || !BODY.test(body)) return null;
      // Only TCP has a packet that sets a connection up.
      if (/^\S+ (?:17|udp) .* setup /.test(body)) return null;
      rules.push({ number, set: setNumber(found[2]), body });
      rules.sort((a, b) => a.number - b.number);
      return done();
    }
    if ((found = /^delete set (\d+)$/.exec(line))) {
      const set = setNumber(found[1]);
      return remove((rule) => rule.set === set);
    }
    if ((found = /^set (\d+) delete (\d+)$/.exec(line))) {
      const [set, number] = [setNumber(found[1]), Number(found[2])];
      return remove((rule) => rule.set === set && rule.number === number);
    }
    if ((found = /^set disable (\d+)$/.exec(line))) {
      disabled.add(setNumber(found[1]));
      return done();
    }
    if ((found = /^set move rule (\d+) to (\d+)$/.exec(line))) {
      const moved = rules.filter(({ number }) => number === Number(found?.[1]));
      if (moved.length === 0) return failed(71, "ipfw: rule: setsockopt: Invalid argument");
      for (const rule of moved) rule.set = setNumber(found[2]);
      return done();
    }
    return null;
  }

  function listing(flags: string, set: number | null): ProgramResult {
    const shown = rules.filter((rule) => set === null || rule.set === set)
      .filter((rule) => flags.includes("S") || !disabled.has(rule.set));
    const lines = shown.map((rule) => {
      const mark = disabled.has(rule.set) ? "# DISABLED " : "";
      const inSet = flags.includes("S") ? `set ${rule.set} ` : "";
      return `${mark}${rule.number} ${inSet}${rule.body}`;
    });
    const alive = rules.filter((rule) => fake.dynamic.has(rule.number))
      .filter((rule) => set === null || rule.set === set);
    if (flags.includes("d") && alive.length > 0) {
      lines.push(`## Dynamic rules (${alive.length} 256):`);
      for (const { number } of alive) {
        lines.push(`${number} 5 300 (19s) STATE tcp 192.0.2.10 4711 <-> 192.0.2.1 22`);
      }
    }
    return { status: 0, stdout: lines.map((line) => `${line}\n`).join(""), stderr: "" };
  }

  function remove(matches: (rule: StoredRule) => boolean): ProgramResult {
    const left = rules.filter((rule) => !matches(rule));
    if (left.length === rules.length) return failed(69, "ipfw: no rules deleted");
    rules = left;
    return done();
  }
}

function setNumber(text: string | undefined): number {
  const number = Number(text);
  if (!(number >= 0 && number <= 31)) throw new Error(`ipfw: set ${text} is out of range`);
  return number;
}

function done(): ProgramResult {
  return { status: 0, stdout: "", stderr: "" };
}

function failed(status: number, stderr: string): ProgramResult {
  return { status, stdout: "", stderr: `${stderr}\n` };
}
