// What the monitor lets sentries do that a test plays: honest ones, and those that a stranger has
// taken over.

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import { formatPorts } from "../lib/net_port.ts";
import type { Report } from "../lib/serve_pipe_reports.ts";
import type { SentryRequest } from "../lib/serve_sentry.ts";
import { asReport, openPostBench, requestFor, TIME, until } from "./post_bench.ts";

Deno.test("what an honest sentry grants is opened, ending by the monitor's clock", async () => {
  const bench = await openPostBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  sentry.tell(asReport(requestFor({ expires: TIME + 9_999_999 })));
  await until(() => bench.opened.length > 0);
  deepStrictEqual(bench.opened.map(({ source, seconds, expires }) => [source, seconds, expires]), [
    ["192.0.2.99", 30, TIME + 30],
  ]);
  bench.close();
});

Deno.test("a sentry is told no passphrase of GnuPG, but that there is one", async () => {
  const bench = await openPostBench();
  const { settings } = await (await bench.sentries.sentry(0)).ordered("start");
  deepStrictEqual(settings.stanzas.map(({ GPG_DECRYPT_PW }) => GPG_DECRYPT_PW), [null, null, ""]);
  deepStrictEqual(
    settings.stanzas.map(({ KEY }) => KEY),
    bench.settings.stanzas.map(({ KEY }) => KEY),
  );
  bench.close();
});

/** What a stanza does not allow: the request's and the grant's members. */
const FORGERIES: readonly [string, Partial<SentryRequest>, Partial<FirewallGrant>][] = [
  ["another port", {}, { ports: [{ protocol: "tcp", port: 23 }] }],
  ["one port too many", {}, {
    ports: [{ protocol: "tcp", port: 22 }, { protocol: "udp", port: 22 }],
  }],
  ["no port", {}, { ports: [] }],
  ["more time", {}, { seconds: 61 }],
  ["no time", {}, { seconds: 0 }],
  ["another packet source", { packetSource: "198.51.100.1" }, {}],
  ["a stanza that is not there", { stanza: 9 }, { stanza: 9 }],
  ["two stanzas", { stanza: 2 }, {}],
];

for (const [name, request, grant] of FORGERIES) {
  Deno.test(`a forged sentry does not get ${name}`, async () => {
    const bench = await openPostBench();
    bench.post.run();
    const sentry = await bench.sentries.sentry(0);
    sentry.tell(asReport({ ...requestFor(grant), ...request }));
    await until(() => bench.lines.some((line) => /Refusing a grant/.test(line)));
    deepStrictEqual(bench.opened, []);
    strictEqual(sentry.isKilled, false);
    bench.close();
  });
}

Deno.test("a forged sentry runs commands only where the stanza enables them", async () => {
  const bench = await openPostBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  const command = (stanza: number): Report =>
    asReport({
      ...requestFor({}, stanza),
      stanza,
      grant: { kind: "command", stanza, source: "192.0.2.10", command: "/bin/true" },
    });
  sentry.tell(command(1), command(2), command(3));
  await until(() => bench.lines.length >= 2 && bench.run.length > 0);
  deepStrictEqual(bench.run.map(({ stanza }) => stanza), [2]);
  bench.close();
});

Deno.test("gpg decrypts only for a stanza that has GPG keys", async () => {
  const bench = await openPostBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  const decrypt = (id: number, stanza: number, generation: number): Report => ({
    kind: "decrypt",
    id,
    generation,
    stanza,
    message: "AAEC",
    isAuthenticated: false,
  });
  sentry.tell(decrypt(1, 1, 1), decrypt(2, 9, 1), decrypt(3, 3, 7), decrypt(4, 3, 1));
  await until(() => sentry.orders.filter(({ kind }) => kind === "decrypted").length === 4);
  deepStrictEqual(bench.decrypted, [Uint8Array.of(0, 1, 2)]);
  bench.close();
});

/** Lines that no sentry tells. */
const VIOLATIONS: readonly [string, string][] = [
  ["what is not JSON", "{"],
  ["what is no object", "[]"],
  ["an unknown kind", '{"kind":"open-all"}'],
  ["a kind that objects inherit", '{"kind":"constructor"}'],
  ["a member too many", '{"kind":"ready","more":1}'],
  ["a prototype", '{"kind":"log","level":"info","text":"x","__proto__":{}}'],
  ["a grant without a record", JSON.stringify(asReport({ ...requestFor({}), record: null }))],
  ["a number that is none", JSON.stringify(asReport(requestFor({ seconds: NaN })))],
  ["half a second", JSON.stringify(asReport(requestFor({ seconds: 0.5 })))],
  ["an address with other text", JSON.stringify(asReport(requestFor({ source: "192.0.2.9 " })))],
  [
    "a decision to grant",
    JSON.stringify({
      kind: "decision",
      entry: {
        level: "info",
        id: null,
        source: "192.0.2.1",
        stanza: 1,
        outcome: "granted",
        asked: null,
        address: "192.0.2.1",
        seconds: 1,
      },
    }),
  ],
  ["the end of the capture that nobody asked for", '{"kind":"stopped","how":"stopped","taken":1}'],
  ["a packet limit that there is not", '{"kind":"stopped","how":"limit","taken":100}'],
  ["a second beginning", '{"kind":"ready"}'],
  ["bytes that are not UTF-8", '{"kind":"log","level":"info","text":"\xff"}'],
];

for (const [name, text] of VIOLATIONS) {
  Deno.test(`a sentry that tells ${name} is ended, said once, and followed by another`, async () => {
    const bench = await openPostBench();
    bench.post.run();
    const sentry = await bench.sentries.sentry(0);
    sentry.tellBytes(Uint8Array.from(`${text}\n`.repeat(3), (one) => one.charCodeAt(0)));
    strictEqual(await sentry.over, 137);
    const next = await bench.sentries.sentry(1);
    next.takeUp();
    await next.ordered("go");
    strictEqual(bench.lines.filter((line) => /The sentry has told/.test(line)).length, 1);
    next.tell(asReport(requestFor({}, 2)));
    await until(() => bench.opened.length === 1);
    bench.close();
  });
}

Deno.test("a sentry that writes a line without end is ended", async () => {
  const bench = await openPostBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  for (let sent = 0; sent < 5; sent++) sentry.tellBytes(new Uint8Array(16_384).fill(32));
  strictEqual(await sentry.over, 137);
  bench.close();
});

Deno.test("nothing of what a sentry says before it may judge opens anything", async () => {
  const bench = await openPostBench();
  const sentry = await bench.sentries.sentry(0);
  sentry.tell(asReport(requestFor({})));
  strictEqual(await sentry.over, 137);
  deepStrictEqual(bench.opened, []);
  bench.close();
});

const anyValue = fc.oneof(
  fc.integer(),
  fc.double(),
  fc.string({ maxLength: 20 }),
  fc.constantFrom(
    null,
    true,
    "192.0.2.10",
    "::",
    "tcp",
    "udp",
    "access",
    "nat",
    "cycle",
    22,
    53,
    1,
  ),
  fc.array(
    fc.record({ protocol: fc.constantFrom("tcp", "udp", "icmp"), port: fc.integer() }),
    { maxLength: 3 },
  ),
  fc.ipV4(),
);

Deno.test("whatever a forged sentry tells, nothing opens that the stanza does not allow", async () => {
  const member = fc.constantFrom("source", "destination", "ports", "seconds", "stanza", "kind");
  const forged = fc.array(fc.tuple(member, anyValue), { maxLength: 3 }).map((changes) =>
    Object.fromEntries(changes)
  );
  await fc.assert(
    fc.asyncProperty(fc.array(forged, { maxLength: 8 }), async (grants) => {
      const bench = await openPostBench();
      bench.post.run();
      const sentry = await bench.sentries.sentry(0);
      for (const [index, changes] of grants.entries()) {
        sentry.tell(asReport(requestFor(changes as Partial<FirewallGrant>, index)));
      }
      sentry.tell({ kind: "counts", id: 999, counts: { packets: [], capture: null } });
      await until(() => sentry.unread === 0 || sentry.isKilled);
      for (const grant of bench.opened) {
        ok(grant.stanza === 1 || grant.stanza === 2 || grant.stanza === 3);
        ok(grant.seconds > 0 && grant.seconds <= 300);
        if (grant.stanza === 1) {
          ok(grant.seconds <= 60);
          ok(["tcp/22", "udp/53"].includes(formatPorts(grant.ports.slice(0, 1))));
        }
      }
      deepStrictEqual(bench.run, []);
      bench.close();
    }),
    { numRuns: 100 },
  );
});

Deno.test("a sentry that asks for more than can be worked on has to wait", async () => {
  const bench = await openPostBench({ held: true });
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  for (let index = 0; index < 3000; index++) sentry.tell(asReport(requestFor({}, index)));
  await until(() => bench.opened.length >= 1024);
  strictEqual(bench.opened.length, 1024);
  ok(sentry.unread > 1900);
  bench.firewall.resolve();
  await until(() => bench.opened.length === 3000);
  bench.close();
});
