import assert from "node:assert/strict";
import fc from "fast-check";
import { type OptionSpec, parseOptions } from "../lib/cmd_getopt.ts";

const flag = (long: string, more: Partial<OptionSpec> = {}): OptionSpec => ({
  long,
  help: "",
  group: "",
  ...more,
});
const TABLE: readonly OptionSpec[] = [
  flag("destination", { short: "D", argument: "HOST" }),
  flag("verbose", { short: "v" }),
  flag("version", { short: "V" }),
  flag("test", { short: "T", oldNames: ["Test-mode"] }),
  flag("access", { short: "A", argument: "PORTS" }),
  flag("nat-local"),
  flag("nat-access", { short: "N", argument: "HOST", oldNames: ["Forward-access"] }),
  flag("force-stanza"),
  flag("spoof-source", { short: "Q", argument: "IP", aliases: ["spoof-src"] }),
  flag("spoof-user", { short: "U", argument: "USER" }),
  flag("key-gen", { short: "k" }),
  flag("key-gen-file", { short: "K", argument: "FILE" }),
  flag("fd", { argument: "N" }),
];

const words = (line: string): string[] => line === "" ? [] : line.split(" ");

Deno.test("parseOptions() reads what getopt_long reads", async (t) => {
  const cases: ReadonlyArray<readonly [line: string, found: string, operands: string]> = [
    ["", "", ""],
    ["-v -v", "verbose verbose", ""],
    ["-vTA tcp/22", "verbose test access=tcp/22", ""],
    ["-Dhost -D host", "destination=host destination=host", ""],
    ["-DTv", "destination=Tv", ""],
    ["--fd=0 --fd 1", "fd=0 fd=1", ""],
    ["--fd=", "fd=", ""],
    ["--destination=a=b", "destination=a=b", ""],
    ["one -v two", "verbose", "one two"],
    ["-v -- -T --x", "verbose", "-T --x"],
    ["-", "", "-"],
    ["-A --no-rc-file", "access=--no-rc-file", ""],
    ["-A -- -v", "access=-- verbose", ""],
    ["--nat-loc --verb", "nat-local verbose", ""],
    ["--spoof-s 1", "spoof-source=1", ""],
    ["--spoof-src 1", "spoof-source=1", ""],
    ["--key-gen", "key-gen", ""],
    ["--key-gen-f x", "key-gen-file=x", ""],
    ["--NAT-local --Destination h", "nat-local destination=h", ""],
    ["--Forward-access 1,2 --test-mode", "nat-access=1,2 test", ""],
    ["--for", "force-stanza", ""],
  ];
  for (const [line, found, operands] of cases) {
    await t.step(line || "(nothing)", () => {
      const parsed = parseOptions(TABLE, words(line));
      const shown = parsed.found.map(({ name, value }) =>
        value === null ? name : `${name}=${value}`
      );
      assert.deepEqual(
        [shown, parsed.operands, parsed.errors],
        [words(found), words(operands), []],
      );
    });
  }
});

Deno.test("parseOptions() complains in getopt's words, and guesses what was meant", async (t) => {
  const cases: ReadonlyArray<readonly [line: string, text: string, hint?: string]> = [
    ["--bogus", "unrecognized option '--bogus'"],
    ["--bogus=1", "unrecognized option '--bogus=1'"],
    ["--destinaton x", "unrecognized option '--destinaton'", "did you mean '--destination'?"],
    ["--acess x", "unrecognized option '--acess'", "did you mean '--access'?"],
    ["-Z", "invalid option -- 'Z'"],
    ["-vZ", "invalid option -- 'Z'"],
    ["-D", "option requires an argument -- 'D'"],
    ["-vA", "option requires an argument -- 'A'"],
    ["--destination", "option '--destination' requires an argument"],
    ["--dest", "option '--destination' requires an argument"],
    ["--spoof-src", "option '--spoof-src' requires an argument"],
    ["--nat-loc=3", "option '--nat-local' doesn't allow an argument"],
    [
      "--spoof=3",
      "option '--spoof=3' is ambiguous; possibilities: '--spoof-source' '--spoof-user'",
    ],
    ["--ver", "option '--ver' is ambiguous; possibilities: '--verbose' '--version'"],
  ];
  for (const [line, text, hint] of cases) {
    await t.step(line, () => {
      assert.deepEqual(
        parseOptions(TABLE, words(line)).errors,
        [hint === undefined ? { text } : { text, hint }],
      );
    });
  }
});

Deno.test("parseOptions() takes an option of our own only by its whole name", () => {
  const table = [flag("locale"), flag("log-format", { own: true })];
  const names = (word: string): string[] =>
    parseOptions(table, [word]).found.map(({ name }) => name);
  assert.deepEqual(names("--lo"), ["locale"]);
  assert.deepEqual(names("--log-format"), ["log-format"]);
  assert.deepEqual(names("--log"), []);
});

Deno.test("parseOptions() reads on after an error", () => {
  const parsed = parseOptions(TABLE, words("--bogus -vZT x"));
  assert.deepEqual(parsed.found.map(({ name }) => name), ["verbose", "test"]);
  assert.equal(parsed.errors.length, 2);
});

Deno.test("parseOptions() stops at the first operand when POSIXLY_CORRECT", () => {
  const parsed = parseOptions(TABLE, words("-v one -T"), { posixlyCorrect: true });
  assert.deepEqual(parsed.found.map(({ name }) => name), ["verbose"]);
  assert.deepEqual(parsed.operands, ["one", "-T"]);
});

Deno.test("parseOptions() loses no operand after --, whatever it looks like", () => {
  fc.assert(fc.property(fc.array(fc.string()), (rest) => {
    const parsed = parseOptions(TABLE, ["one", "-v", "--", ...rest]);
    assert.deepEqual(parsed.operands, ["one", ...rest]);
    assert.deepEqual(parsed.behindDashes, rest);
  }));
});

Deno.test("parseOptions() never throws", () => {
  const word = fc.oneof(
    fc.string(),
    fc.string().map((s) => `-${s}`),
    fc.string().map((s) => `--${s}`),
  );
  fc.assert(fc.property(fc.array(word), fc.boolean(), (args, posixlyCorrect) => {
    parseOptions(TABLE, args, { posixlyCorrect });
  }));
});
