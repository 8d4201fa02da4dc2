// The monitor's side of privilege separation, with sentries that the test plays: honest ones, dying
// ones, and those that a stranger has taken over.

import { deepStrictEqual, match, ok, rejects, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import type { FirewallGrant, Grant } from "../lib/auth_grant.ts";
import { formatPorts } from "../lib/net_port.ts";
import type { Commands } from "../lib/serve_commands.ts";
import { createLog } from "../lib/serve_log.ts";
import { createMonitor } from "../lib/serve_monitor.ts";
import type { Report } from "../lib/serve_pipe_reports.ts";
import type { ApartParts, Post } from "../lib/serve_post.ts";
import { openApartPost } from "../lib/serve_post_apart.ts";
import type { SentryRequest } from "../lib/serve_sentry.ts";
import { rulesOf, type Settings } from "../lib/serve_settings.ts";
import { serverConfigOf, stanzasOf } from "./gateway_fixture.ts";
import { type PlayedSentries, playSentries } from "./played_sentry.ts";

const TIME = 1_795_321_401;
const ACCESS = `SOURCE 192.0.2.0/24
KEY a
OPEN_PORTS tcp/22,udp/53
FW_ACCESS_TIMEOUT 30
MAX_FW_TIMEOUT 60
SOURCE ANY
KEY b
ENABLE_CMD_EXEC Y
SOURCE ANY
KEY c
GPG_DECRYPT_PW secret
GPG_HOME_DIR /gnupg
GPG_REMOTE_ID AABBCCDD
`;

/** A gateway's monitor around played sentries. */
interface Bench {
  readonly post: Post;
  readonly sentries: PlayedSentries;
  readonly lines: string[];
  readonly opened: FirewallGrant[];
  readonly run: Grant[];
  /** Packets for gpg. */
  readonly decrypted: Uint8Array[];
  /** Lets requests be done; until then they are under way. */
  readonly firewall: PromiseWithResolvers<void>;
  readonly settings: Settings;
  close(): void;
}

/** @param options of the run */
async function openBench(
  options: { readonly packetLimit?: number; readonly held?: boolean; readonly config?: string } =
    {},
): Promise<Bench> {
  const sentries = playSentries();
  const lines: string[] = [];
  const log = createLog(0, (level, text) => void lines.push(`${level}: ${text}`));
  const settings = settingsOf(options.config ?? "", ACCESS);
  const opened: FirewallGrant[] = [];
  const run: Grant[] = [];
  const decrypted: Uint8Array[] = [];
  const firewall = Promise.withResolvers<void>();
  if (options.held !== true) firewall.resolve();
  const host = {
    startPart: sentries.startPart,
    monotonic: () => performance.now(),
    now: () => TIME * 1000,
    resolve: () => Promise.reject(new Error("no names here")),
    pid: 1,
  } as unknown as ApartParts["host"];
  const commands: Pick<Commands, "carryOut"> = {
    carryOut: (_, grant) => {
      run.push(grant);
      return Promise.resolve();
    },
  };
  const monitor = createMonitor({
    host,
    rules: rulesOf(settings),
    replayFile: null,
    commands,
    log,
    firewall: {
      start: () => Promise.resolve(),
      stop: () => Promise.resolve(),
      grants: 0,
      open: async (grant: FirewallGrant) => {
        opened.push(grant);
        await firewall.promise;
        return { ok: true };
      },
    } as never,
  });
  const opening = openApartPost({
    host,
    log,
    settings,
    options: {
      testMode: false,
      anyDirection: false,
      fromStdin: false,
      packetLimit: options.packetLimit ?? 0,
      rotateDigestCache: false,
      exitAfterDigestCache: false,
    },
    gpg: {
      decrypt: ({ message }) => {
        decrypted.push(message);
        return Promise.resolve("busy");
      },
      close: () => {},
    },
    carryOut: monitor.carryOut,
    account: { uid: 65534, gid: 65534 },
    replayFile: null,
    openQueue: () => Promise.resolve(null),
  });
  (await sentries.sentry(0)).takeUp();
  const post = await opening;
  await post.ready();
  return {
    post,
    sentries,
    lines,
    opened,
    run,
    decrypted,
    firewall,
    settings,
    close: () => post.close(),
  };
}

function settingsOf(config: string, access: string): Settings {
  return {
    config: serverConfigOf(config),
    reading: { settings: new Map() },
    stanzas: stanzasOf(access),
  } as unknown as Settings;
}

const digest = (number: number): string => String(number).padStart(43, "A");

function requestFor(grant: Partial<FirewallGrant>, number = 1): SentryRequest {
  return {
    packetSource: "192.0.2.10",
    stanza: 1,
    record: {
      digest: digest(number),
      protocol: 17,
      source: "192.0.2.10",
      sourcePort: 40000,
      destination: "192.0.2.1",
      destinationPort: 62201,
      time: TIME,
    },
    grant: {
      kind: "access",
      stanza: 1,
      source: "192.0.2.99",
      destination: "192.0.2.1",
      ports: [{ protocol: "tcp", port: 22 }],
      seconds: 30,
      expires: TIME + 30,
      ...grant,
    } as Grant,
    asked: { user: "alice", request: "tcp/22", nat: null },
  };
}

const asReport = (request: SentryRequest, generation = 1): Report => ({
  kind: "request",
  generation,
  request,
});

/** Resolves once the condition holds: what a test waits for comes within a few turns. */
async function until(condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    if (turns > 10_000) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

Deno.test("what an honest sentry grants is opened, ending by the monitor's clock", async () => {
  const bench = await openBench();
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
  const bench = await openBench();
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
    const bench = await openBench();
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
  const bench = await openBench();
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
  const bench = await openBench();
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
    const bench = await openBench();
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
  const bench = await openBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  for (let sent = 0; sent < 5; sent++) sentry.tellBytes(new Uint8Array(16_384).fill(32));
  strictEqual(await sentry.over, 137);
  bench.close();
});

Deno.test("nothing of what a sentry says before it may judge opens anything", async () => {
  const bench = await openBench();
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
      const bench = await openBench();
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
  const bench = await openBench({ held: true });
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

Deno.test("a sentry that dies is followed by one that knows what was accepted", async () => {
  const bench = await openBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  const late = requestFor({}, 2);
  const record = late.record === null ? null : { ...late.record, time: 9 * TIME };
  sentry.tell(asReport(requestFor({}, 1)), asReport({ ...late, record }));
  await until(() => bench.opened.length === 2);
  sentry.end(1);
  const next = await bench.sentries.sentry(1);
  const { records } = await next.ordered("remember");
  deepStrictEqual(records.map((one) => [one.digest, one.time]), [
    [digest(1), TIME],
    [digest(2), TIME],
  ]);
  next.takeUp();
  await next.ordered("go");
  match(bench.lines.join("\n"), /The sentry has ended unexpectedly \(status 1\)/);
  bench.close();
});

Deno.test("a capture that died ends the gateway only if it cannot be opened again", async () => {
  const bench = await openBench();
  const ended = bench.post.run();
  const first = await bench.sentries.sentry(0);
  first.tell({ kind: "failed", text: "The interface disappeared", hint: "a hint" });
  first.end(1);
  const second = await bench.sentries.sentry(1);
  second.takeUp();
  await second.ordered("go");
  second.tell({ kind: "failed", text: "The interface disappeared", hint: "a hint" });
  second.end(1);
  const third = await bench.sentries.sentry(2);
  third.tell({ kind: "failed", text: "No such device", hint: null });
  third.end(1);
  await rejects(ended, { name: "CaptureError", message: "The interface disappeared" });
  bench.close();
});

Deno.test("a first sentry that cannot open its capture ends the start with its reason", async () => {
  const sentries = playSentries();
  const settings = settingsOf("", ACCESS);
  const opening = openApartPost({
    host: { startPart: sentries.startPart, monotonic: () => 0, now: () => 0, pid: 1 },
    log: createLog(0, () => {}),
    settings,
    options: { packetLimit: 0 },
    account: { uid: 65534, gid: 65534 },
    replayFile: null,
    openQueue: () => Promise.resolve(null),
  } as unknown as ApartParts);
  const sentry = await sentries.sentry(0);
  sentry.tell({ kind: "failed", text: 'cannot capture on "eth0"', hint: "see PCAP_INTF" });
  sentry.end(1);
  await rejects(opening, { message: 'cannot capture on "eth0"', hint: "see PCAP_INTF" });
});

Deno.test("new settings reach the present sentry, and their requests meet their own rules", async () => {
  const bench = await openBench();
  bench.post.run();
  const sentry = await bench.sentries.sentry(0);
  const next = settingsOf("", ACCESS.replace("tcp/22,udp/53", "tcp/443"));
  const change = await bench.post.prepare(next);
  await change.commit();
  const { generation } = await sentry.ordered("settings");
  const https = requestFor({ ports: [{ protocol: "tcp", port: 443 }] }, 2);
  sentry.tell(
    asReport(requestFor({}, 1), 1), // judged before the change
    asReport(https, generation),
    asReport(requestFor({}, 3), generation),
    asReport({ ...https, record: requestFor({}, 4).record }, 1),
    asReport(requestFor({}, 5), generation + 1),
  );
  await until(() => bench.lines.filter((line) => /Refusing a grant/.test(line)).length === 3);
  deepStrictEqual(bench.opened.map(({ ports }) => formatPorts(ports)), ["tcp/22", "tcp/443"]);
  strictEqual(bench.sentries.count, 1);
  bench.close();
});

Deno.test("a new capture is opened by a new sentry, which goes on where the old one ended", async () => {
  const bench = await openBench({ packetLimit: 10 });
  const ended = bench.post.run();
  const old = await bench.sentries.sentry(0);
  const preparing = bench.post.prepare(settingsOf("PCAP_FILTER udp port 4000\n", ACCESS));
  const next = await bench.sentries.sentry(1);
  next.takeUp();
  const change = await preparing;
  await old.ordered("note");
  const committing = change.commit();
  await old.ordered("stop");
  old.tell(
    asReport(requestFor({}, 7)),
    { kind: "judged", notes: ["a", "b"] },
    { kind: "stopped", how: "stopped", taken: 6 },
  );
  await committing;
  // Before the new one judges, it knows what the old one accepted and judged.
  deepStrictEqual(next.orders.map(({ kind }) => kind), ["start", "remember", "skip", "go"]);
  strictEqual((await next.ordered("go")).taken, 6);
  old.tell({
    kind: "settled",
    counts: { packets: [{ what: "granted", count: 6 }], capture: null },
  });
  strictEqual(await old.over, 137);
  next.tell({ kind: "stopped", how: "limit", taken: 10 });
  strictEqual(await ended, "limit");
  next.tell({
    kind: "settled",
    counts: { packets: [{ what: "granted", count: 4 }], capture: null },
  });
  await bench.post.settle();
  deepStrictEqual([...(await bench.post.counts()).packets], [["granted", 10]]);
  bench.close();
});

Deno.test("what a leaving sentry accepts last is known to the present one, and opens but once", async () => {
  const bench = await openBench({ held: true });
  bench.post.run();
  const old = await bench.sentries.sentry(0);
  const preparing = bench.post.prepare(settingsOf("PCAP_FILTER udp port 4000\n", ACCESS));
  const next = await bench.sentries.sentry(1);
  next.takeUp();
  const committing = (await preparing).commit();
  await old.ordered("stop");
  old.tell({ kind: "stopped", how: "stopped", taken: 6 });
  await committing;
  // It had waited for gpg.
  old.tell(asReport(requestFor({}, 8)));
  const { records } = await next.ordered("remember");
  deepStrictEqual(records.map((record) => record.digest), [digest(8)]);
  next.tell(asReport(requestFor({}, 8), 2));
  await until(() => bench.lines.some((line) => /accepted a moment ago/.test(line)));
  strictEqual(bench.opened.length, 1);
  bench.close();
});

Deno.test("a reload has its turn while sentries cannot be started", async () => {
  const bench = await openBench();
  bench.post.run();
  (await bench.sentries.sentry(0)).end(1);
  (await bench.sentries.sentry(1)).end(1);
  await until(() => bench.lines.some((line) => /Cannot start another sentry/.test(line)));
  await (await bench.post.prepare(settingsOf("", ACCESS.replace("tcp/22", "tcp/443")))).commit();
  const third = await bench.sentries.sentry(2);
  strictEqual((await third.ordered("start")).generation, 2);
  bench.close();
});

Deno.test("a new capture that cannot be opened leaves the present one as it is", async () => {
  const bench = await openBench();
  bench.post.run();
  const old = await bench.sentries.sentry(0);
  const preparing = bench.post.prepare(settingsOf("PCAP_INTF nonesuch\n", ACCESS));
  const next = await bench.sentries.sentry(1);
  next.tell({ kind: "failed", text: "No such device", hint: null });
  next.end(1);
  await rejects(preparing, /No such device/);
  old.tell(asReport(requestFor({}, 2)));
  await until(() => bench.opened.length === 1);
  strictEqual(old.isKilled, false);
  bench.close();
});

Deno.test("a sentry that does not end when it is told to is ended", async () => {
  const bench = await openBench();
  const ended = bench.post.run();
  bench.post.stop();
  strictEqual(await ended, "stopped");
  await bench.post.settle();
  bench.close();
  strictEqual((await bench.sentries.sentry(0)).isKilled, true);
});
