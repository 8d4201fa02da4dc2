// Sentries that follow one another, played by the test: after a death, for new settings, at the end.

import { deepStrictEqual, match, rejects, strictEqual } from "node:assert/strict";
import { formatPorts } from "../lib/net_port.ts";
import { createLog } from "../lib/serve_log.ts";
import type { ApartParts } from "../lib/serve_post.ts";
import { openApartPost } from "../lib/serve_post_apart.ts";
import { playSentries } from "./played_sentry.ts";
import {
  ACCESS,
  asReport,
  digest,
  openPostBench,
  requestFor,
  settingsOf,
  TIME,
  until,
} from "./post_bench.ts";

Deno.test("a sentry that dies is followed by one that knows what was accepted", async () => {
  const bench = await openPostBench();
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
  const bench = await openPostBench();
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
  const bench = await openPostBench();
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

Deno.test("a limit that is met while another sentry stands by counts once that is dismissed", async () => {
  const bench = await openPostBench({ packetLimit: 10 });
  const ended = bench.post.run();
  const old = await bench.sentries.sentry(0);
  const preparing = bench.post.prepare(settingsOf("PCAP_FILTER udp port 4000\n", ACCESS));
  (await bench.sentries.sentry(1)).takeUp();
  const change = await preparing;
  old.tell(asReport(requestFor({}, 7)), { kind: "stopped", how: "limit", taken: 10 });
  await until(() => bench.opened.length === 1);
  change.abort();
  strictEqual(await ended, "limit");
  bench.close();
});

Deno.test("a new capture is opened by a new sentry, which goes on where the old one ended", async () => {
  const bench = await openPostBench({ packetLimit: 10 });
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
  const bench = await openPostBench({ held: true });
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
  const bench = await openPostBench();
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
  const bench = await openPostBench();
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
  const bench = await openPostBench();
  const ended = bench.post.run();
  bench.post.stop();
  strictEqual(await ended, "stopped");
  await bench.post.settle();
  bench.close();
  strictEqual((await bench.sentries.sentry(0)).isKilled, true);
});
