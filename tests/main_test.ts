import assert from "node:assert/strict";
import type { Command } from "../main.ts";
import { dispatch } from "../main.ts";
import settings from "../deno.json" with { type: "json" };
import type { Host } from "../lib/host.ts";

interface Played {
  status: number;
  stdout: string;
  stderr: string;
  /** Subcommand and arguments of each call. */
  calls: string[][];
}

async function play(program: string, args: string[]): Promise<Played> {
  const played: Played = { status: -1, stdout: "", stderr: "", calls: [] };
  const host = {
    stdout: (text: string) => void (played.stdout += text),
    stderr: (text: string) => void (played.stderr += text),
    env: () => undefined,
    isTerminal: () => false,
  } as unknown as Host;
  const table: Record<string, Command> = {};
  ["knock", "serve", "keygen"].forEach((name, index) => {
    table[name] = {
      summary: `what ${name} does`,
      load: () =>
        Promise.resolve({
          run: (given) => {
            played.calls.push([name, ...given]);
            return Promise.resolve(10 + index);
          },
        }),
    };
  });
  played.status = await dispatch(program, args, host, table);
  return played;
}

Deno.test("spa hands a subcommand its arguments untouched and ends with its status", async () => {
  const cases: [string, string[], string[], number][] = [
    ["spa", ["knock", "-D", "gw", "--help"], ["knock", "-D", "gw", "--help"], 10],
    ["/usr/bin/spa", ["serve", "--", ""], ["serve", "--", ""], 11],
    ["spa", ["help", "keygen"], ["keygen", "--help"], 12],
    ["/usr/bin/fwknop", ["--version"], ["knock", "--version"], 10],
    ["fwknopd", [], ["serve"], 11],
    ["fwknop", ["serve"], ["knock", "serve"], 10],
  ];
  for (const [program, args, call, status] of cases) {
    const played = await play(program, args);
    assert.deepEqual([played.calls, played.status], [[call], status], `${program} ${args}`);
  }
});

Deno.test("spa --help lists every subcommand on stdout", async () => {
  for (const args of [["--help"], ["-h"], ["help"]]) {
    const { status, stdout, calls } = await play("spa", args);
    assert.deepEqual([status, calls], [0, []]);
    for (const name of ["knock", "serve", "keygen"]) {
      assert.match(stdout, new RegExp(`^  ${name} +what ${name} does$`, "m"));
    }
  }
});

Deno.test("spa without arguments shows the help on stderr and fails", async () => {
  const { status, stdout, stderr } = await play("spa", []);
  assert.deepEqual([status, stdout], [2, ""]);
  assert.match(stderr, /^usage: spa <command>/);
});

Deno.test("spa --version tells name and version", async () => {
  const { status, stdout } = await play("spa", ["--version"]);
  assert.deepEqual([status, stdout], [0, `spa ${settings.version}\n`]);
});

Deno.test("spa refuses an unknown subcommand in one line with a hint", async () => {
  const cases: [string[], RegExp][] = [
    [["knok"], /^spa: unknown command "knok"\nhint: did you mean "knock"\? .*\n$/],
    [["frobnicate"], /^spa: unknown command "frobnicate"\nhint: "spa --help" .*\n$/],
    [["help", "serv"], /^spa: unknown command "serv"\nhint: did you mean "serve"\? .*\n$/],
    [["--frob"], /^spa: unknown option "--frob"\nhint: .*\n$/],
    [["toString"], /^spa: unknown command "toString"\n/],
    [["a\nb\x1b[2J"], /^spa: unknown command "a\\nb\\u001b\[2J"\n/],
    [[""], /^spa: unknown command ""\n/],
  ];
  for (const [args, expected] of cases) {
    const { status, stdout, stderr, calls } = await play("spa", args);
    assert.deepEqual([status, stdout, calls], [2, "", []]);
    assert.match(stderr, expected);
  }
});
