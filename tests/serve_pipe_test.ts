// The pipe between monitor and sentry: orders and reports to text and back, and what a second sentry
// passes over.

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { createJudgedNotes } from "../lib/serve_judged_notes.ts";
import { createLineReader } from "../lib/serve_pipe_lines.ts";
import { formatOrder, parseOrder, sentrySettings } from "../lib/serve_pipe_orders.ts";
import {
  formatReport,
  logLine,
  LONGEST_LOG_LINE,
  parseReport,
  type Report,
  REPORT_LIMIT,
} from "../lib/serve_pipe_reports.ts";
import { createRulesHistory } from "../lib/serve_post_rules.ts";
import { chooseSentryAccount } from "../lib/serve_separation.ts";
import { rulesOf } from "../lib/serve_settings.ts";
import { datagramOf, serverConfigOf, stanzasOf } from "./gateway_fixture.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test("lines come out of a pipe as they went in, in whatever pieces", () => {
  const anyLine = fc.string({ maxLength: 40 }).filter((line) => !line.includes("\n"));
  fc.assert(fc.property(fc.array(anyLine), fc.integer({ min: 1, max: 9 }), (lines, piece) => {
    const bytes = bytesOf(lines.map((line) => `${line}\n`).join(""));
    const reader = createLineReader(200);
    const got: string[] = [];
    // One buffer for all pieces, as a pipe has.
    const buffer = new Uint8Array(piece);
    for (let at = 0; at < bytes.length; at += piece) {
      const part = bytes.subarray(at, at + piece);
      buffer.set(part);
      for (const line of reader.push(buffer.subarray(0, part.length)) ?? []) {
        got.push(new TextDecoder("utf-8", { ignoreBOM: true }).decode(line));
      }
    }
    deepStrictEqual(got, lines);
  }));
});

Deno.test("a line that is too long ends the reading for good", () => {
  const reader = createLineReader(4);
  deepStrictEqual(reader.push(bytesOf("1234\n12")), [bytesOf("1234")]);
  strictEqual(reader.push(bytesOf("345")), null);
  strictEqual(reader.push(bytesOf("\n1\n")), null);
});

Deno.test("settings reach the sentry as they are, but for what it shall not know", () => {
  const stanzas = stanzasOf(
    "SOURCE 192.0.2.0/24,2001:db8::/32\nKEY a\nHMAC_KEY b\nOPEN_PORTS tcp/22\n" +
      "SOURCE ANY\nGPG_DECRYPT_PW geheim\nGPG_HOME_DIR /g\nGPG_REMOTE_ID AABBCCDD\n",
  );
  const settings = { config: serverConfigOf("VERBOSE 2\n"), stanzas };
  const line = formatOrder({
    kind: "settings",
    generation: 3,
    settings: sentrySettings(settings),
  });
  ok(!line.includes("geheim"));
  const order = parseOrder(bytesOf(line.trimEnd()));
  ok(order.kind === "settings");
  deepStrictEqual(order.settings.config, settings.config);
  const expected = stanzas.map((stanza) => ({
    ...stanza,
    written: new Map(),
    GPG_DECRYPT_PW: stanza.GPG_DECRYPT_PW === null ? null : "",
  }));
  deepStrictEqual(order.settings.stanzas, expected);
});

Deno.test("a line for the log fits in a report, whatever is in it", () => {
  const texts = ["\u0000\u001b[31m", '"\\\n', "\ud800\udc80", "漢"];
  for (const text of texts) {
    const cut = logLine(text.repeat(LONGEST_LOG_LINE));
    const report: Report = { kind: "log", level: "info", text: cut };
    const line = bytesOf(formatReport(report) ?? "");
    ok(line.length > 1000 && line.length <= REPORT_LIMIT, `${text}: ${line.length}`);
    deepStrictEqual(parseReport(line), report);
    // deno-lint-ignore no-control-regex -- none of them shall be there
    ok(!/[\0-\x08\x0b-\x1f\x7f]/.test(cut));
  }
});

Deno.test("what could not be a report is not sent as one", () => {
  strictEqual(formatReport({ kind: "judged", notes: ["a b"] }), null);
  strictEqual(formatReport({ kind: "stopped", how: "stopped", taken: -1 }), null);
});

Deno.test("packets that another sentry has judged are passed over once each", () => {
  const packet = (text: string, from = "192.0.2.1") => datagramOf(text.repeat(200), from);
  const first = createJudgedNotes();
  ok(first.judge(packet("a")));
  first.begin();
  ok(first.judge(packet("b")));
  ok(first.judge(packet("c")));
  ok(first.judge(packet("c")));
  const second = createJudgedNotes();
  second.skip(first.take());
  const judged = ["a", "b", "b", "c", "c", "c"].map((text) => second.judge(packet(text)));
  deepStrictEqual(judged, [true, false, true, false, false, true]);
  second.skip(["x"]);
  ok(second.judge(packet("c", "192.0.2.2")));
  deepStrictEqual(first.take(), []);
});

Deno.test("notes are forgotten once nothing from before can come", () => {
  const first = createJudgedNotes();
  first.begin();
  first.judge(datagramOf("a".repeat(200), "192.0.2.1"));
  const second = createJudgedNotes();
  second.skip(first.take());
  second.endSkipping();
  ok(second.judge(datagramOf("a".repeat(200), "192.0.2.1")));
});

Deno.test("rules are known by their number for as long as gpg may take", () => {
  let now = 0;
  const config = serverConfigOf("");
  const rules = (number: number) =>
    rulesOf({ config, stanzas: stanzasOf(`SOURCE ANY\nKEY k${number}\n`) });
  const [first, second, third] = [rules(1), rules(2), rules(3)];
  const history = createRulesHistory(first, () => now);
  strictEqual(history.find(1), first);
  strictEqual(history.enact(second), 2);
  now = 14_000;
  strictEqual(history.find(1), first);
  strictEqual(history.find(2), second);
  strictEqual(history.find(3), null);
  now = 16_000;
  strictEqual(history.find(1), null);
  strictEqual(history.find(2), second);
  strictEqual(history.enact(third), 3);
  now = 1e9;
  strictEqual(history.find(history.generation), third);
});

const PASSWD = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";

/** PRIVSEP lines, further users, user id, standard input; then the account or why there is none. */
const ACCOUNTS: readonly [string, string, number, boolean, number | null | RegExp][] = [
  ["", "", 0, false, 65534],
  ["", "spa:x:900:901::/:/bin/false\n", 0, false, 900],
  ["PRIVSEP_USER knock\n", "knock:x:77:77::/:/bin/false\n", 0, false, 77],
  ["PRIVSEP N\n", "", 0, false, null],
  ["", "", 1000, false, null],
  ["", "", 0, true, null],
  ["PRIVSEP_USER root\n", "", 0, false, /privileges of root/],
  ["PRIVSEP_USER wheel\n", "wheel:x:70:0::/:/bin/false\n", 0, false, /privileges of root/],
  ["PRIVSEP_USER nonesuch\n", "", 0, false, /no user "nonesuch"/],
];

Deno.test("the sentry becomes PRIVSEP_USER, else spa, else nobody, and never root", () => {
  for (const [config, users, uid, fromStdin, expected] of ACCOUNTS) {
    const host = { uid, readTextFile: () => PASSWD + users };
    const choose = (): number | null =>
      chooseSentryAccount(host, serverConfigOf(config), { fromStdin }, { debug: () => {} })?.uid ??
        null;
    if (expected instanceof RegExp) throws(choose, expected);
    else strictEqual(choose(), expected, config);
  }
});
