import { deepStrictEqual, rejects, strictEqual, throws } from "node:assert/strict";
import type { AcceptedStream, Host } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import type { CaptureSource } from "../lib/serve_capture.ts";
import { withTcpServer } from "../lib/serve_capture_tcp.ts";
import { createLog } from "../lib/serve_log.ts";

/** A capture that counts how often it was closed. */
function captureOf(): { readonly source: CaptureSource; closed: number } {
  const capture = {
    closed: 0,
    source: {
      announcement: ["Sniffing"],
      wait: () => Promise.resolve(false),
      drain: () => 0,
      stop: () => {},
      close: () => void capture.closed++,
    },
  };
  return capture;
}

/** A listener that the test gives connections to, and a clock that it moves. */
function bench() {
  let next = Promise.withResolvers<AcceptedStream | null>();
  const timers = new Map<() => void, number>();
  const ended: number[] = [];
  const lines: string[] = [];
  const host: Pick<Host, "listenStreams"> = {
    listenStreams: () => ({
      accept: () => next.promise,
      close: () => next.resolve(null),
    }),
  };
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
  return {
    timers,
    ended,
    lines,
    settle,
    parts: {
      host,
      port: 62201,
      log: createLog(1, (_, text) => lines.push(text)),
      timer: (milliseconds: number, action: () => void) => {
        timers.set(action, milliseconds);
        return () => void timers.delete(action);
      },
    },
    async connect(number: number): Promise<void> {
      const { resolve } = next;
      next = Promise.withResolvers();
      resolve({ address: "192.0.2.10", close: () => ended.push(number) });
      await settle();
    },
    async fail(): Promise<void> {
      const { reject } = next;
      next = Promise.withResolvers();
      reject(new Error("Too many open files (os error 24)"));
      await settle();
    },
  };
}

Deno.test("a TCP connection is taken, held for a second, and closed", async () => {
  const { parts, timers, ended, lines, connect } = bench();
  const capture = captureOf();
  const source = withTcpServer(capture.source, parts);
  deepStrictEqual(source.announcement, [
    "Kicking off TCP server to listen on port 62201.",
    "Sniffing",
  ]);
  await connect(1);
  deepStrictEqual(lines, ["tcp_server: Got TCP connection from 192.0.2.10."]);
  deepStrictEqual([...timers.values()], [1000]);
  deepStrictEqual(ended, []);
  for (const action of timers.keys()) action();
  deepStrictEqual(ended, [1]);
  source.close();
  strictEqual(capture.closed, 1);
});

Deno.test("a crowd of TCP connections drives out its oldest, never the newest", async () => {
  const { parts, timers, ended, connect } = bench();
  const source = withTcpServer(captureOf().source, parts);
  for (let number = 1; number <= 103; number++) await connect(number);
  deepStrictEqual(ended, [1, 2, 3]);
  source.close();
  strictEqual(ended.length, 103);
  strictEqual(timers.size, 0);
});

Deno.test("the TCP server goes on after the system had no connection to give", async () => {
  const { parts, timers, ended, connect, fail, settle } = bench();
  const source = withTcpServer(captureOf().source, parts);
  await fail();
  deepStrictEqual([...timers.values()], [100]);
  for (const [action] of [...timers]) {
    timers.delete(action);
    action();
  }
  await settle();
  await connect(1);
  source.close();
  deepStrictEqual(ended, [1]);
});

Deno.test("a TCP port that is taken is a start error, and closing frees the port", async () => {
  const host = denoHost();
  const log = createLog(0, () => {});
  const timer = () => () => {};
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  const refused = captureOf();
  throws(
    () => withTcpServer(refused.source, { host, log, timer, port }),
    /cannot bind TCP port \d+: Address already in use/,
  );
  strictEqual(refused.closed, 1);
  taken.close();

  const source = withTcpServer(captureOf().source, { host, log, timer, port });
  (await Deno.connect({ hostname: "127.0.0.1", port })).close();
  source.close();
  await rejects(Deno.connect({ hostname: "127.0.0.1", port }));
  Deno.listen({ hostname: "127.0.0.1", port }).close();
});
