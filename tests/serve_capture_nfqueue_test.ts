import { deepStrictEqual, throws } from "node:assert/strict";
import type { Libc } from "../ffi/libc.ts";
import { type PacketQueue, QueueMissingError } from "../ffi/libnetfilter_queue.ts";
import type { Native } from "../lib/host.ts";
import type { Datagram } from "../lib/net_datagram.ts";
import { LOCAL_INPUT } from "../lib/net_nfqueue.ts";
import type { CaptureSource } from "../lib/serve_capture.ts";
import { openQueue, queueSource } from "../lib/serve_capture_nfqueue.ts";
import { createLog } from "../lib/serve_log.ts";

const FORWARD = 2;

/** What the kernel delivers for an IPv4 UDP packet from an address. */
function queued(id: number, hook: number, source: readonly number[]): Uint8Array {
  const packet = [
    ...[0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, ...source, 192, 0, 2, 1],
    ...[1, 0, 2, 0, 0, 9, 0, 0, id],
  ];
  const attributes = [
    ...[11, 0, 1, 0, 0, 0, 0, id, 8, 0, hook, 0],
    ...[packet.length + 4, 0, 10, 0, ...packet],
  ];
  const header = [20 + attributes.length, 0, 0, 0, 0, 3, 0, 0, ...new Array<number>(12).fill(0)];
  return Uint8Array.from([...header, ...attributes]);
}

/** A queue that the test fills. */
function bench() {
  const messages: ReturnType<PacketQueue["next"]>[] = [];
  const settled: [number, string][] = [];
  const lines: string[] = [];
  let closed = 0;
  const queue: PacketQueue = {
    fd: 3,
    next: () => messages.shift() ?? null,
    settle: (lastId, verdict) => void settled.push([lastId, verdict]),
    counters: () => ({ received: 9, dropped: 2 }),
    lendTo: (start) => start(),
    close: () => void closed++,
  };
  const waiter = { wait: () => Promise.resolve(true), wake: () => {}, close: () => {} };
  const libc: Partial<Libc> = { waiterFor: () => waiter };
  const native = { libc } as unknown as Native;
  const log = createLog(0, (_, text) => lines.push(text));
  const source = queueSource(native, log, 1, queue);
  return { messages, settled, lines, source, closed: () => closed };
}

function drain(source: CaptureSource, limit: number): string[] {
  const seen: string[] = [];
  source.drain(limit, ({ source: from }: Datagram) => seen.push(from.join(".")));
  return seen;
}

Deno.test("a queue's packets are seen whatever their source, and settled together", () => {
  const { messages, settled, source } = bench();
  const sources = [[0, 0, 0, 1], [5, 6, 7, 8], [5, 220, 1, 1], [129, 0, 1, 2], [170, 170, 1, 1]];
  messages.push(...sources.map((from, index) => queued(index + 1, LOCAL_INPUT, from)));
  deepStrictEqual(drain(source, 64), sources.map((from) => from.join(".")));
  deepStrictEqual(settled, [[5, "drop"]]);
  deepStrictEqual(drain(source, 64), []);
  deepStrictEqual(settled, [[5, "drop"]]);
});

Deno.test("each packet has the verdict of the hook that it was queued at", () => {
  const { messages, settled, source } = bench();
  for (const [index, hook] of [LOCAL_INPUT, LOCAL_INPUT, FORWARD, LOCAL_INPUT].entries()) {
    messages.push(queued(index + 1, hook, [192, 0, 2, 10]));
  }
  drain(source, 64);
  deepStrictEqual(settled, [[2, "drop"], [3, "accept"], [4, "drop"]]);
});

Deno.test("a queue gives no more packets than asked for, and settles those only", () => {
  const { messages, settled, source } = bench();
  for (let id = 1; id <= 5; id++) messages.push(queued(id, LOCAL_INPUT, [192, 0, 2, id]));
  deepStrictEqual(drain(source, 2), ["192.0.2.1", "192.0.2.2"]);
  deepStrictEqual(settled, [[2, "drop"]]);
  deepStrictEqual(drain(source, 64).length, 3);
});

Deno.test("a queue that overran is told once and goes on", () => {
  const { messages, lines, source } = bench();
  messages.push("overrun", queued(1, LOCAL_INPUT, [192, 0, 2, 1]), "overrun");
  deepStrictEqual(drain(source, 64), ["192.0.2.1"]);
  deepStrictEqual(lines, [
    "Netfilter queue 1 overran: the kernel dropped packets unseen.",
  ]);
  deepStrictEqual(source.counters?.(), {
    received: 9,
    dropped: 2,
    droppedByInterface: 0,
    fragments: 0,
  });
});

Deno.test("packets that make no sense have their verdict too", () => {
  const { messages, settled, source } = bench();
  const broken = queued(1, LOCAL_INPUT, [192, 0, 2, 1]);
  // The version of IP.
  broken[36] = 0x55;
  messages.push(broken, new Uint8Array(3));
  deepStrictEqual(drain(source, 64), []);
  deepStrictEqual(settled, [[1, "drop"]]);
});

Deno.test("a kernel that refuses verdicts ends the capture, since the queue would fill", () => {
  const { messages, source } = bench();
  const refusal = new Uint8Array(36);
  const view = new DataView(refusal.buffer);
  view.setUint32(0, 36, true);
  view.setUint16(4, 2, true);
  view.setInt32(16, -1, true);
  messages.push(refusal);
  throws(() => drain(source, 64), /netfilter queue 1: the kernel refuses the verdicts/);
});

Deno.test("closing ends the queue", () => {
  const { source, closed } = bench();
  source.stop();
  source.close();
  deepStrictEqual(closed(), 1);
});

Deno.test("a missing library and a refused queue are start errors with their own hints", () => {
  for (
    const [error, hint] of [
      [new QueueMissingError("libnetfilter_queue is not installed"), /libnetfilter-queue1/],
      [new Error("Operation not permitted"), /NFQ_QUEUE_NUMBER.*nfnetlink_queue/],
    ] as const
  ) {
    const native = {
      openPacketQueue: () => {
        throw error;
      },
    };
    throws(() => openQueue(native, { number: 1, length: 1 }), (thrown) => {
      const { message, hint: told } = thrown as { message: string; hint: string };
      deepStrictEqual(message, `cannot receive from netfilter queue 1: ${error.message}`);
      return hint.test(told);
    });
  }
});
