// NAT requests through the decision, the monitor's second look at them, and name lookups.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { NatGrant, NatTerms } from "../lib/auth_grant.ts";
import { natGrantAllowed } from "../lib/auth_nat.ts";
import { createLog } from "../lib/serve_log.ts";
import { createMonitor } from "../lib/serve_monitor.ts";
import { resolveNatTarget } from "../lib/serve_nat_target.ts";
import type { MessageType } from "../lib/spa_message.ts";
import { type Bench, openBench, serverConfigOf, stanzasOf } from "./gateway_fixture.ts";
import { SAMPLE_TIME as TIME, samplePacket } from "./sample_packet.ts";

const STANZA = "SOURCE ANY\nKEY TestKey\nHMAC_KEY TestHmacKey\n";
const FORWARDING = "ENABLE_IPT_FORWARDING Y\n";
const LOCAL_NAT = "ENABLE_IPT_LOCAL_NAT Y\n";
const SNAT = `${FORWARDING}ENABLE_IPT_SNAT Y\n`;

/** The stanza's NAT terms when it has no NAT settings and the packet asks for 198.51.100.20:22. */
const PLAIN: NatTerms = {
  local: false,
  host: "198.51.100.20",
  port: 22,
  all: false,
  translatesDestination: true,
  forcedSource: null,
  masquerade: false,
};

interface Request {
  readonly type?: MessageType;
  readonly ports?: string;
  readonly nat?: string | null;
}

function packet({ type = 2, ports = "tcp/8022", nat = "198.51.100.20,22" }: Request): string {
  return samplePacket({
    messageType: type,
    message: `192.0.2.10,${ports}`,
    natAccess: type === 1 ? null : nat,
    clientTimeout: type === 4 || type === 6 ? 20 : 0,
  });
}

function benchFor(server: string, lines = "", testMode = false): Bench {
  const stanzas = stanzasOf(STANZA + lines, server);
  return openBench(stanzas, { time: TIME, serverText: server, testMode });
}

function grantOf(bench: Bench): NatGrant {
  const grant = bench.requests.at(-1)?.grant;
  assert(grant?.kind === "nat");
  return grant;
}

const GRANTS: readonly {
  readonly title: string;
  readonly server: string;
  readonly lines?: string;
  readonly request?: Request;
  readonly nat: Partial<NatTerms>;
}[] = [
  { title: "a NAT message", server: FORWARDING, nat: {} },
  { title: "a NAT message with client timeout", server: FORWARDING, request: { type: 4 }, nat: {} },
  {
    title: "a NAT message that names a host",
    server: FORWARDING,
    request: { nat: "inner.example,22" },
    nat: { host: "inner.example" },
  },
  { title: "a local-NAT message", server: LOCAL_NAT, request: { type: 5 }, nat: { local: true } },
  {
    title: "a local-NAT message with client timeout",
    server: LOCAL_NAT,
    request: { type: 6 },
    nat: { local: true },
  },
  {
    title: "an access message where the stanza forces NAT",
    server: FORWARDING,
    lines: "FORCE_NAT 198.51.100.7 80",
    request: { type: 1 },
    nat: { host: "198.51.100.7", port: 80 },
  },
  {
    title: "a NAT message where the stanza forces another target",
    server: FORWARDING,
    lines: "FORCE_NAT 198.51.100.7 80",
    nat: { host: "198.51.100.7", port: 80 },
  },
  {
    title: "a local-NAT message where the stanza forces another target",
    server: FORWARDING + LOCAL_NAT,
    lines: "FORCE_NAT 198.51.100.7 80",
    request: { type: 5 },
    nat: { local: true, host: "198.51.100.7", port: 80 },
  },
  {
    title: "FORCE_NAT to a port that OPEN_PORTS does not list",
    server: FORWARDING,
    lines: "FORCE_NAT 198.51.100.7 80\nOPEN_PORTS tcp/8022",
    request: { type: 1 },
    nat: { host: "198.51.100.7", port: 80 },
  },
  {
    title: "FORCE_SNAT",
    server: SNAT,
    lines: "FORCE_NAT 198.51.100.7 80\nFORCE_SNAT 198.51.100.1",
    nat: { host: "198.51.100.7", port: 80, forcedSource: "198.51.100.1" },
  },
  {
    title: "FORCE_MASQUERADE, FORWARD_ALL and DISABLE_DNAT",
    server: SNAT,
    lines: "FORCE_MASQUERADE Y\nFORWARD_ALL Y\nDISABLE_DNAT Y",
    request: { type: 1 },
    nat: { host: "0.0.0.0", port: 0, all: true, translatesDestination: false, masquerade: true },
  },
  {
    title: "a NAT port in OPEN_PORTS",
    server: FORWARDING,
    lines: "OPEN_PORTS tcp/8022, tcp/22",
    nat: {},
  },
  {
    title: "a NAT port that OPEN_PORTS lacks, with ENABLE_NAT_PORT_CHECK N",
    server: `${FORWARDING}ENABLE_NAT_PORT_CHECK N\n`,
    lines: "OPEN_PORTS tcp/8022\nRESTRICT_PORTS tcp/22",
    nat: {},
  },
];

for (const { title, server, lines = "", request = {}, nat } of GRANTS) {
  Deno.test(`${title} is granted`, () => {
    const bench = benchFor(server, lines);
    assert.equal(bench.send(packet(request)), "granted");
    assert.deepEqual(grantOf(bench).nat, { ...PLAIN, ...nat });
  });
}

const NOT_ENABLED =
  "(stanza #1) SPA packet from 192.0.2.10 requested NAT access, but is not enabled/supported";
const DENIED =
  "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.";

const REFUSALS: readonly {
  readonly title: string;
  readonly server: string;
  readonly lines?: string;
  readonly request?: Request;
  readonly reason: string;
  readonly line: string;
}[] = [
  {
    title: "a NAT message without ENABLE_IPT_FORWARDING",
    server: LOCAL_NAT,
    reason: "nat-not-enabled",
    line: NOT_ENABLED,
  },
  {
    title: "a local-NAT message without ENABLE_IPT_LOCAL_NAT",
    server: FORWARDING,
    request: { type: 5 },
    reason: "nat-not-enabled",
    line: NOT_ENABLED,
  },
  {
    title: "a local-NAT message to a stanza that only translates sources",
    server: SNAT + LOCAL_NAT,
    lines: "FORCE_MASQUERADE Y\nFORWARD_ALL Y\nDISABLE_DNAT Y",
    request: { type: 5 },
    reason: "nat-not-enabled",
    line: NOT_ENABLED,
  },
  {
    title: "a host name with ENABLE_NAT_DNS N",
    server: `${FORWARDING}ENABLE_NAT_DNS N\n`,
    request: { nat: "inner.example,22" },
    reason: "nat-target-refused",
    line: "Received Hostname in NAT SPA message, but hostname is disabled.",
  },
  {
    title: "a host that is neither name nor address",
    server: FORWARDING,
    request: { nat: "inner..example,22" },
    reason: "nat-target-refused",
    line: "Invalid Hostname in NAT SPA message",
  },
  {
    title: "a NAT port that OPEN_PORTS lacks",
    server: FORWARDING,
    lines: "OPEN_PORTS tcp/8022",
    reason: "port-denied",
    line: DENIED,
  },
  {
    title: "a NAT port that is open for another protocol only",
    server: FORWARDING,
    lines: "OPEN_PORTS tcp/8022, udp/22",
    reason: "port-denied",
    line: DENIED,
  },
  {
    title: "a NAT port in RESTRICT_PORTS",
    server: FORWARDING,
    lines: "RESTRICT_PORTS tcp/22",
    reason: "port-denied",
    line: DENIED,
  },
  {
    title: "a local-NAT port in RESTRICT_PORTS",
    server: LOCAL_NAT,
    lines: "RESTRICT_PORTS tcp/22",
    request: { type: 5, nat: "192.0.2.1,22" },
    reason: "port-denied",
    line: DENIED,
  },
  {
    title: "an outer port that OPEN_PORTS lacks, whatever ENABLE_NAT_PORT_CHECK says",
    server: `${FORWARDING}ENABLE_NAT_PORT_CHECK N\n`,
    lines: "OPEN_PORTS tcp/22",
    reason: "port-denied",
    line: DENIED,
  },
];

for (const { title, server, lines = "", request = {}, reason, line } of REFUSALS) {
  Deno.test(`${title} is refused`, () => {
    const bench = benchFor(server, lines);
    assert.equal(bench.send(packet(request)), reason);
    assert.equal(bench.lines.at(-1)?.text, line);
    assert(bench.requests.every(({ grant }) => grant === null));
  });
}

Deno.test("test mode grants no NAT", () => {
  assert.equal(benchFor(FORWARDING, "", true).send(packet({})), "test-mode");
});

Deno.test("of several ports NAT leads through the first, and the log says so", () => {
  const bench = benchFor(FORWARDING);
  assert.equal(bench.send(packet({ ports: "tcp/8022,tcp/8080,udp/53" })), "granted");
  assert.equal(
    bench.lines.at(-1)?.text,
    "[192.0.2.10] (stanza #1) NAT leads to one port: tcp/8022, not tcp/8080,udp/53",
  );
});

/** A forged grant, and the configuration that must not let it pass. */
const FORGERIES: readonly [title: string, nat: Partial<NatTerms>, lines: string, server: string][] =
  [
    ["another target than FORCE_NAT", {}, "FORCE_NAT 198.51.100.7 80", FORWARDING],
    ["FORWARD_ALL", { all: true }, "", FORWARDING],
    ["a source of its own", { forcedSource: "198.51.100.1" }, "", FORWARDING],
    ["a masquerade of its own", { masquerade: true }, "", FORWARDING],
    ["no DNAT", { translatesDestination: false }, "", FORWARDING],
    ["local NAT", { local: true }, "", FORWARDING],
    ["forwarding", {}, "", LOCAL_NAT],
    ["a host name", { host: "inner.example" }, "", `${FORWARDING}ENABLE_NAT_DNS N\n`],
    ["a port", { port: 3306 }, "RESTRICT_PORTS tcp/3306", FORWARDING],
  ];

function grantWith(nat: Partial<NatTerms>): NatGrant {
  return {
    kind: "nat",
    stanza: 1,
    source: "192.0.2.10",
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 8022 }],
    seconds: 30,
    expires: TIME + 30,
    nat: { ...PLAIN, ...nat },
  };
}

for (const [title, nat, lines, server] of FORGERIES) {
  Deno.test(`natGrantAllowed() refuses a grant that adds ${title}`, () => {
    const [stanza] = stanzasOf(STANZA + lines, server);
    assert(stanza !== undefined);
    assert.equal(natGrantAllowed(stanza, grantWith(nat), serverConfigOf(server)), false);
  });
}

Deno.test("natGrantAllowed() allows every grant that the decision makes", () => {
  for (const { server, lines = "", request = {} } of GRANTS) {
    const bench = benchFor(server, lines);
    bench.send(packet(request));
    const [stanza] = stanzasOf(STANZA + lines, server);
    assert(stanza !== undefined);
    assert(natGrantAllowed(stanza, grantOf(bench), serverConfigOf(server)), lines);
  }
});

Deno.test("a granted NAT port is never one that the stanza's lists deny", () => {
  const port = fc.integer({ min: 1, max: 6 });
  const list = fc.uniqueArray(port, { minLength: 1 });
  const text = (ports: readonly number[]): string => ports.map((each) => `tcp/${each}`).join(",");
  fc.assert(fc.property(list, list, port, port, (open, restricted, outer, inner) => {
    const lines = `OPEN_PORTS ${text(open)}\nRESTRICT_PORTS ${text(restricted)}`;
    const bench = benchFor(FORWARDING, lines);
    const outcome = bench.send(packet({ ports: `tcp/${outer}`, nat: `198.51.100.20,${inner}` }));
    const allowed = [outer, inner].every((each) =>
      open.includes(each) && !restricted.includes(each)
    );
    assert.equal(outcome, allowed ? "granted" : "port-denied");
  }));
});

interface Lookup {
  readonly grant: NatGrant | null;
  readonly lines: string[];
  readonly asked: string[];
}

async function lookUp(
  name: string,
  answer: () => Promise<string[]>,
  limit?: number,
): Promise<Lookup> {
  const lines: string[] = [];
  const asked: string[] = [];
  const resolve = (host: string): Promise<string[]> => {
    asked.push(host);
    return answer();
  };
  const log = {
    info: (text: string) => void lines.push(text),
    warning: (text: string) => void lines.push(text),
  };
  const grant = await resolveNatTarget({ resolve }, grantWith({ host: name }), log, limit);
  return { grant, lines, asked };
}

Deno.test("resolveNatTarget() takes the first IPv4 address of a name", async () => {
  const { grant, lines } = await lookUp(
    "inner.example",
    () => Promise.resolve(["2001:db8::1", "198.51.100.7", "198.51.100.8"]),
  );
  assert.equal(grant?.nat.host, "198.51.100.7");
  assert.deepEqual(lines, ["Resolved NAT IP in SPA message"]);
});

Deno.test("resolveNatTarget() takes an IPv6 address of a name for a client that has one", async () => {
  const asked: string[] = [];
  const resolve = (name: string, family: string): Promise<string[]> => {
    asked.push(`${name} ${family}`);
    return Promise.resolve(["198.51.100.7", "2001:db8::7"]);
  };
  const log = { info: () => {}, warning: () => {} };
  const grant = { ...grantWith({ host: "inner.example" }), source: "2001:db8::1" };
  assert.equal((await resolveNatTarget({ resolve }, grant, log))?.nat.host, "2001:db8::7");
  assert.deepEqual(asked, ["inner.example ipv6"]);
});

Deno.test("resolveNatTarget() asks nobody about an address", async () => {
  for (const address of ["198.51.100.20", "2001:db8::20"]) {
    const { grant, lines, asked } = await lookUp(address, () => Promise.reject());
    assert.equal(grant?.nat.host, address);
    assert.deepEqual([lines, asked], [[], []]);
  }
});

/** Why a lookup fails, and what the log says of it. */
const FAILED_LOOKUPS: readonly [string, () => Promise<string[]>, RegExp][] = [
  [
    "an unknown name",
    () => Promise.reject(new Error("Name or service not known")),
    /^Unable to resolve Hostname in NAT SPA message: "inner\.example": Name or service not known$/,
  ],
  ["a name without an IPv4 address", () => Promise.resolve(["2001:db8::1"]), /no IPv4 address$/],
  ["no answer in time", () => new Promise(() => {}), /no answer for 0\.005 s$/],
];

for (const [title, answer, expected] of FAILED_LOOKUPS) {
  Deno.test(`resolveNatTarget() gives null for ${title}`, async () => {
    const { grant, lines } = await lookUp("inner.example", answer, 5);
    assert.equal(grant, null);
    assert.match(lines.join("\n"), expected);
  });
}

Deno.test("a lookup that takes its time holds up no other grant, and its own until it is done", async () => {
  const [stanza] = stanzasOf(STANZA, FORWARDING);
  assert(stanza !== undefined);
  const answer = Promise.withResolvers<string[]>();
  const opened: string[] = [];
  const monitor = createMonitor({
    host: { resolve: () => answer.promise, now: () => 0 },
    rules: { stanzas: [stanza], nat: serverConfigOf(FORWARDING), maxPacketAge: 120 },
    replayFile: null,
    commands: null,
    firewall: {
      open: (grant) => {
        opened.push(grant.kind === "nat" ? grant.nat.host : grant.kind);
        return Promise.resolve({ ok: true });
      },
    },
    log: createLog(0, () => {}),
  });
  const request = { packetSource: "192.0.2.10", stanza: 1, record: null, asked: null };
  const { nat: _, ...terms } = grantWith({});
  const slow = monitor.carryOut({ ...request, grant: grantWith({ host: "inner.example" }) });
  await monitor.carryOut({ ...request, grant: { ...terms, kind: "access" } });
  assert.deepEqual(opened, ["access"]);
  answer.resolve(["198.51.100.7"]);
  await slow;
  assert.deepEqual(opened, ["access", "198.51.100.7"]);
});
