import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  commandGrantAllowed,
  cycleCommands,
  cycleGrantAllowed,
  messageAccount,
  messageCommand,
} from "../lib/auth_command.ts";
import type { CommandGrant, CycleGrant, Grant } from "../lib/auth_grant.ts";
import type { Stanza } from "../lib/conf_access.ts";
import type { MessageType } from "../lib/spa_message.ts";
import { openBench, stanzasOf } from "./gateway_fixture.ts";
import { SAMPLE_TIME as TIME, samplePacket } from "./sample_packet.ts";

const KEYS = "KEY TestKey\nHMAC_KEY TestHmacKey\n";
const CYCLE =
  "CMD_CYCLE_OPEN /bin/open $SRC\nCMD_CYCLE_CLOSE /bin/close $SRC\nCMD_CYCLE_TIMER 60\n";

function packet(messageType: MessageType, message: string, clientTimeout = 0): string {
  const natAccess = messageType === 2 ? "198.51.100.20,22" : null;
  return samplePacket({ timestamp: TIME - 5, messageType, message, natAccess, clientTimeout });
}

function stanzaOf(lines: string): Stanza {
  const [stanza] = stanzasOf(`SOURCE ANY\n${KEYS}${lines}`);
  ok(stanza !== undefined);
  return stanza;
}

/** What the decision makes of a packet: a grant or the reason, and the last line of the log. */
function judged(
  lines: string,
  wire: string,
  testMode = false,
): { readonly grant: Grant | null; readonly what: string; readonly line: string } {
  const bench = openBench([stanzaOf(lines)], { time: TIME, testMode });
  const what = bench.send(wire);
  const grant = bench.requests[0]?.grant ?? null;
  return { grant, what, line: bench.lines.at(-1)?.text ?? "" };
}

Deno.test("a command message is granted where ENABLE_CMD_EXEC allows it", () => {
  const { grant } = judged("ENABLE_CMD_EXEC Y", packet(0, "192.0.2.99,/bin/ls -l, a"));
  deepStrictEqual(grant, {
    kind: "command",
    stanza: 1,
    source: "192.0.2.99",
    command: "/bin/ls -l, a",
  });
});

Deno.test("a cycle's grant has the packet's addresses, all ports and the stanza's time", () => {
  const { grant } = judged(CYCLE, packet(1, "0.0.0.0,tcp/22,udp/53"));
  deepStrictEqual(grant, {
    kind: "cycle",
    stanza: 1,
    source: "192.0.2.10",
    packetSource: "192.0.2.10",
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }, { protocol: "udp", port: 53 }],
    seconds: 60,
    expires: TIME - 5 + 60,
  });
});

/** Stanza lines, what the client asks for, seconds granted. */
const CYCLE_TIMES: readonly [string, number, number][] = [
  [CYCLE, 0, 60],
  [CYCLE, 7, 7],
  [CYCLE, 1000, 300],
  [`${CYCLE}MAX_FW_TIMEOUT 90\n`, 1000, 90],
  [`${CYCLE}MAX_FW_TIMEOUT 20\n`, 0, 20],
  ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE NONE\n", 0, 0],
  ["CMD_CYCLE_OPEN a\nCMD_CYCLE_CLOSE NONE\n", 9, 9],
];

for (const [lines, asked, granted] of CYCLE_TIMES) {
  const written = lines.trim().split("\n").at(-1);
  Deno.test(`a cycle lasts ${granted} s where the client asks for ${asked} (${written})`, () => {
    const { grant } = judged(lines, packet(asked > 0 ? 3 : 1, "192.0.2.99,tcp/22", asked));
    ok(grant?.kind === "cycle");
    deepStrictEqual([grant.seconds, grant.expires], [granted, TIME - 5 + granted]);
  });
}

const NOT_ALLOWED =
  "[192.0.2.10] (stanza #1) SPA Command messages are not allowed in the current configuration.";
const SKIPPED = "[192.0.2.10] (stanza #1) --test mode enabled, skipping command execution.";
const DENIED =
  "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.";
const NOT_BUILT = "[192.0.2.10] (stanza #1) Could not build CMD_CYCLE_OPEN command.";
const NO_NAT =
  "(stanza #1) SPA packet from 192.0.2.10 requested NAT access, but is not enabled/supported";

/** What is sent, stanza lines, --test, the reason, the log's last line. */
const REFUSALS: readonly [string, string, string, boolean, string, string][] = [
  ["a command", "", packet(0, "192.0.2.99,/bin/ls"), false, "command-not-allowed", NOT_ALLOWED],
  [
    "a command with --test",
    "ENABLE_CMD_EXEC Y",
    packet(0, "192.0.2.99,/bin/ls"),
    true,
    "test-mode",
    SKIPPED,
  ],
  [
    "a command to a cycle stanza",
    `${CYCLE}ENABLE_CMD_EXEC Y`,
    packet(0, "192.0.2.99,id"),
    false,
    "command-not-allowed",
    NOT_BUILT,
  ],
  ["a cycle with --test", CYCLE, packet(1, "192.0.2.99,tcp/22"), true, "test-mode", SKIPPED],
  [
    "a port that OPEN_PORTS has not, to a cycle stanza",
    `${CYCLE}OPEN_PORTS tcp/22`,
    packet(1, "192.0.2.99,tcp/22,tcp/23"),
    false,
    "port-denied",
    DENIED,
  ],
  [
    "a port that RESTRICT_PORTS has, to a cycle stanza",
    `${CYCLE}RESTRICT_PORTS tcp/23`,
    packet(1, "192.0.2.99,tcp/22,tcp/23"),
    false,
    "port-denied",
    DENIED,
  ],
  [
    "NAT, not enabled, to a cycle stanza",
    CYCLE,
    packet(2, "192.0.2.99,tcp/22"),
    false,
    "nat-not-enabled",
    NO_NAT,
  ],
];

for (const [name, lines, wire, testMode, reason, line] of REFUSALS) {
  Deno.test(`nothing runs for ${name}`, () => {
    deepStrictEqual(judged(lines, wire, testMode), { grant: null, what: reason, line });
  });
}

const GRANT: CycleGrant = {
  kind: "cycle",
  stanza: 1,
  source: "192.0.2.99",
  packetSource: "192.0.2.10",
  destination: "192.0.2.1",
  ports: [{ protocol: "tcp", port: 22 }],
  seconds: 60,
  expires: TIME + 55,
};

function opened(template: string, grant: CycleGrant = GRANT): string[] {
  const stanza = stanzaOf(`CMD_CYCLE_OPEN ${template}\nCMD_CYCLE_CLOSE NONE\n`);
  return cycleCommands(stanza, grant).open.map(({ text }) => text);
}

/** Templates and what they become; the odd ones were tried with fwknopd 2.6.10. */
const TEMPLATES: readonly [string, string][] = [
  ["/bin/a $IP $SRC $PKT_SRC $DST", "/bin/a 192.0.2.99 192.0.2.99 192.0.2.10 192.0.2.1"],
  ["/bin/a $PORT/$PROTO", "/bin/a 22/6"],
  ["/bin/a $TIMEOUT $CLIENT_TIMEOUT", `/bin/a ${TIME + 55} 60`],
  ["/bin/a $IPx $PORTS $PROTOCOL a$DSTb", "/bin/a 192.0.2.99x 22S 6COL a192.0.2.1b"],
  ["/bin/a $NOPE $src $$SRC $ b", "/bin/a NOPE src 192.0.2.99 b"],
  ["/bin/a  two\tparts", "/bin/a two parts"],
  ["/bin/a '$SRC' > /tmp/x; id `id` $(id)", "/bin/a '192.0.2.99' > /tmp/x"],
];

for (const [template, expected] of TEMPLATES) {
  Deno.test(`"${template}" becomes "${expected}"`, () => {
    deepStrictEqual(opened(template), [expected]);
  });
}

Deno.test("each port has its commands, and commands that are equal run once", () => {
  const stanza = stanzaOf(
    "CMD_CYCLE_OPEN open $SRC $PORT $PROTO\nCMD_CYCLE_CLOSE close $SRC $PROTO\nCMD_CYCLE_TIMER 1\n",
  );
  const ports = [
    { protocol: "tcp", port: 22 },
    { protocol: "udp", port: 53 },
    { protocol: "tcp", port: 443 },
  ] as const;
  const { open, close } = cycleCommands(stanza, { ...GRANT, ports });
  deepStrictEqual(open.map(({ words }) => words), [
    ["open", "192.0.2.99", "22", "6"],
    ["open", "192.0.2.99", "53", "17"],
    ["open", "192.0.2.99", "443", "6"],
  ]);
  deepStrictEqual(close.map(({ words }) => words), [
    ["close", "192.0.2.99", "6"],
    ["close", "192.0.2.99", "17"],
  ]);
});

Deno.test("a packet adds no word to a command, whatever it asks for", () => {
  const template = "/bin/a $IP $SRC $PKT_SRC $DST $PORT $PROTO $TIMEOUT $CLIENT_TIMEOUT";
  const address = fc.ipV4();
  fc.assert(fc.property(
    address,
    address,
    address,
    fc.nat(65535),
    fc.nat(300),
    (source, packetSource, destination, port, seconds) => {
      const ports = [{ protocol: "udp", port }] as const;
      const grant = { ...GRANT, source, packetSource, destination, ports, seconds };
      const stanza = stanzaOf(`CMD_CYCLE_OPEN ${template}\nCMD_CYCLE_CLOSE NONE\n`);
      ok(cycleGrantAllowed(stanza, grant));
      strictEqual(cycleCommands(stanza, grant).open[0]?.words.length, 9);
    },
  ));
});

/** What a sentry that was taken over might ask for. */
const FORGED: readonly [string, Partial<CycleGrant>][] = [
  ["a source that is no address", { source: "192.0.2.99 -j ACCEPT" }],
  ["a source in another form", { source: "192.0.2.099" }],
  ["a packet source that is no address", { packetSource: "$(id)" }],
  ["a destination that is no address", { destination: "" }],
  ["no port at all", { ports: [] }],
  ["a port outside the lists", { ports: [{ protocol: "tcp", port: 23 }] }],
  ["a port that is no number", { ports: [{ protocol: "tcp", port: NaN }] }],
  ["more time than the stanza gives", { seconds: 301 }],
  ["less than no time", { seconds: -1 }],
  ["half a second", { expires: 0.5 }],
];

for (const [name, change] of FORGED) {
  Deno.test(`the monitor refuses a cycle with ${name}`, () => {
    const stanza = stanzaOf(`${CYCLE}OPEN_PORTS tcp/22\n`);
    ok(cycleGrantAllowed(stanza, GRANT));
    ok(!cycleGrantAllowed(stanza, { ...GRANT, ...change }));
  });
}

Deno.test("the monitor refuses commands that the stanza does not allow", () => {
  const grant: CommandGrant = { kind: "command", stanza: 1, source: "192.0.2.99", command: "id" };
  const allowing = stanzaOf("ENABLE_CMD_EXEC Y\n");
  ok(commandGrantAllowed(allowing, grant));
  ok(!commandGrantAllowed(stanzaOf(""), grant));
  ok(!commandGrantAllowed(stanzaOf(`ENABLE_CMD_EXEC Y\n${CYCLE}`), grant));
  ok(!cycleGrantAllowed(allowing, GRANT));
  for (const command of ["", "a\nb", "a\0b", "é", "a".repeat(256)]) {
    ok(!commandGrantAllowed(allowing, { ...grant, command }), command);
  }
});

const NOBODY = { name: "nobody", uid: 65534, gid: 65533 };
const ROOT = { name: "root", uid: 0, gid: 0 };
const ADM = { name: "adm", gid: 4 };

/** Stanza values, the command line. */
const SUDO: readonly [Partial<Stanza>, string][] = [
  [{}, "id  -u"],
  [{ CMD_SUDO_EXEC_USER: NOBODY }, "id  -u"],
  [{ ENABLE_CMD_SUDO_EXEC: true }, "/bin/sudo id  -u"],
  [{ ENABLE_CMD_SUDO_EXEC: true, CMD_SUDO_EXEC_USER: ROOT }, "/bin/sudo id  -u"],
  [{ ENABLE_CMD_SUDO_EXEC: true, CMD_SUDO_EXEC_USER: NOBODY }, "/bin/sudo -u nobody id  -u"],
  [{ ENABLE_CMD_SUDO_EXEC: true, CMD_SUDO_EXEC_GROUP: ADM }, "/bin/sudo -g adm id  -u"],
  [
    { ENABLE_CMD_SUDO_EXEC: true, CMD_SUDO_EXEC_USER: NOBODY, CMD_SUDO_EXEC_GROUP: ADM },
    "/bin/sudo -u nobody -g adm id  -u",
  ],
];

Deno.test("sudo's words stand before a command where the stanza says so", () => {
  for (const [values, expected] of SUDO) {
    const { text, words } = messageCommand({ ...stanzaOf(""), ...values }, "id  -u", "/bin/sudo");
    strictEqual(text, expected);
    deepStrictEqual(words, expected.split(/ +/));
  }
});

Deno.test("CMD_EXEC_USER and CMD_EXEC_GROUP are resolved one by one", () => {
  const of = (CMD_EXEC_USER: typeof NOBODY | null, CMD_EXEC_GROUP: typeof ADM | null) =>
    messageAccount({ CMD_EXEC_USER, CMD_EXEC_GROUP });
  strictEqual(of(null, null), null);
  strictEqual(of(ROOT, null), null);
  deepStrictEqual(of(NOBODY, null), { uid: 65534, gid: 65533, user: "nobody", group: "nobody" });
  deepStrictEqual(of(NOBODY, ADM), { uid: 65534, gid: 4, user: "nobody", group: "adm" });
  deepStrictEqual(of(null, ADM), { uid: 0, gid: 4, user: "root", group: "adm" });
});
