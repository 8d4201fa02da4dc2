// Fuzz targets of the pipe between sentry and monitor: what a sentry in a stranger's hands may send.

import { grantAllowed } from "../../lib/auth_grant_check.ts";
import { createLineReader, formatLine } from "../../lib/serve_pipe_lines.ts";
import { parseReport, type Report, REPORT_LIMIT } from "../../lib/serve_pipe_reports.ts";
import { type Gateway, judge, NOW } from "./gateway.ts";
import {
  bytesOf,
  choiceOf,
  type FuzzTarget,
  latin1Of,
  rule,
  sameBytes,
  withChoice,
} from "./target.ts";

const WORDS = [
  '"kind":"request"',
  '"kind":"access"',
  '"stanza":',
  '"seconds":',
  '"ports":[]',
  '{"protocol":"tcp","port":22}',
  '"__proto__":{}',
  '"constructor"',
  "null",
  "true",
  "-1",
  "1e308",
  "4294967296",
  '"192.0.2.10"',
  '"::"',
  "\n",
  "\\u0000",
  '"',
  ",",
  "}",
  "]",
];

/** What a sentry tells of packets that open, and other reports. */
function reportSeeds({ policy, good }: Gateway): Uint8Array[] {
  const requests = [...good.keys()].flatMap((wire): Report[] => {
    const { verdict, stanza, remember: record, asked } = judge(wire, policy);
    if (stanza === null || typeof verdict === "string") return [];
    const request = { packetSource: "192.0.2.10", stanza, record, grant: verdict, asked };
    return [{ kind: "request", generation: 0, request }];
  });
  const others: Report[] = [
    { kind: "ready" },
    { kind: "log", level: "info", text: "a line" },
    { kind: "opened", announcement: ["Sniffing interface: eth0"] },
    {
      kind: "decrypt",
      id: 1,
      generation: 0,
      stanza: 1,
      message: "hQEMAw",
      isAuthenticated: true,
    },
    { kind: "counts", id: 1, counts: { packets: [{ what: "replay", count: 3 }], capture: null } },
    { kind: "failed", text: "no", hint: null },
  ];
  return [...requests, ...others].map((report) => bytesOf(formatLine(report)));
}

/** What the first stanza lists. */
const OPEN: readonly string[] = ["tcp/22", "udp/53"];

/** The first byte tells how long the pieces are in which the pipe delivers. */
const lines: FuzzTarget = {
  name: "pipe-lines",
  rule: "a pipe gives the same lines in whatever pieces they come, and none that is too long",
  seeds: () =>
    ["{}\n[1]\n", "no end", "\n\n\n", `${"x".repeat(70)}\n{}\n`].map((text, index) =>
      withChoice(index, bytesOf(text))
    ),
  words: ["\n", "{}", "x".repeat(64)],
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const limit = 64;
    const step = 1 + choice % 16;
    const whole = linesOf([bytes], limit);
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += step) pieces.push(bytes.slice(at, at + step));
    const inPieces = linesOf(pieces, limit);
    const text = latin1Of(bytes);
    const expected = text.split("\n");
    const tooLong = expected.some((line) => line.length > limit);
    rule((whole === null) === tooLong, "a line that is too long");
    rule((inPieces === null) === tooLong, "a line that is too long, in pieces");
    for (const found of [whole, inPieces]) {
      if (found === null) continue;
      rule(found.length === expected.length - 1, "another number of lines");
      rule(found.every((line, index) => latin1Of(line) === expected[index]), "other lines");
    }
  },
};

function linesOf(pieces: readonly Uint8Array[], limit: number): Uint8Array[] | null {
  const reader = createLineReader(limit);
  const found: Uint8Array[] = [];
  for (const piece of pieces) {
    const some = reader.push(piece);
    if (some === null) return null;
    found.push(...some);
  }
  return found;
}

function reports(gateway: () => Gateway): FuzzTarget {
  return {
    name: "pipe-reports",
    rule: "what the monitor takes for a report is written again as the same report",
    seeds: () => reportSeeds(gateway()),
    words: WORDS,
    longest: 4096,
    check(input) {
      const report = parseReport(input);
      if (report === null) return;
      const line = bytesOf(formatLine(report));
      rule(
        line.length <= 6 * input.length + 1 && line.length <= REPORT_LIMIT,
        "a report that grew",
      );
      const again = parseReport(line.subarray(0, -1));
      rule(again !== null && sameBytes(bytesOf(formatLine(again)), line), "another report");
    },
  };
}

function forgedRequests(gateway: () => Gateway): FuzzTarget {
  return {
    name: "forged-request",
    rule: "a sentry that lies opens nothing that the stanza would not give to anybody",
    seeds: () => reportSeeds(gateway()),
    words: WORDS,
    longest: 4096,
    check(input) {
      const report = parseReport(input);
      if (report?.kind !== "request") return;
      const { request: { grant, record, packetSource } } = report;
      if (grant === null) return;
      rule(record !== null, "a grant that leaves no record");
      const { stanzas, policy } = gateway();
      const stanza = stanzas.find(({ number }) => number === grant.stanza);
      if (stanza === undefined || !grantAllowed(stanza, grant, packetSource, policy, NOW)) return;
      // What the stanzas of the gateway say, told in another way than the check goes by.
      const ports = grant.kind === "command" ? [] : grant.ports;
      const names: readonly string[] = ports.map(({ protocol, port }) => `${protocol}/${port}`);
      const { number } = stanza;
      rule(number >= 1 && number <= 5, "a stanza that is not there");
      rule(number !== 1 || names.every((name) => OPEN.includes(name)), "a port that is not listed");
      rule(number !== 2 || !names.includes("tcp/25"), "a restricted port");
      rule((grant.kind === "cycle") === (number === 4), "commands of a cycle");
      rule(grant.kind !== "command" || number === 3, "a command where none may run");
      rule(grant.kind === "command" || grant.seconds <= 300, "longer than any stanza allows");
      rule(number !== 1 || grant.kind === "command" || grant.seconds <= 60, "longer than 60 s");
    },
  };
}

/** All of them. */
export function pipeTargets(gateway: () => Gateway): readonly FuzzTarget[] {
  return [lines, reports(gateway), forgedRequests(gateway)];
}
