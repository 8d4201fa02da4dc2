// The client's side of the benchmark: one process that knocks, or starts a client that does, and
// measures with its own clock. One order a line on standard input, one answer a line on output.

import process from "node:process";
import { createInterface } from "node:readline";

/** What the probe is told to do. */
export type Order =
  /** Sends a packet and measures until the UDP port answers. */
  | {
    readonly what: "packet";
    readonly packet: string;
    readonly port: number;
    /** Milliseconds after which it is lost, if not the usual ones. */
    readonly limit?: number;
  }
  /** Starts a client program and measures until the UDP port answers. */
  | { readonly what: "knock"; readonly command: readonly string[]; readonly port: number }
  /** Starts a client program that knocks here, and measures until its packet arrives. */
  | { readonly what: "wire"; readonly command: readonly string[] }
  /** Sends many packets; the answer is the time of the first. */
  | { readonly what: "burst"; readonly packets: readonly string[] }
  /** Counts the UDP ports that answer, to a client port that no connection has. */
  | { readonly what: "count"; readonly first: number; readonly last: number };

/** An answer to the order with the same number. */
export type Answer =
  /**
   * A duration in milliseconds, for a burst those since 1970, or a number of ports; null when
   * nothing came in time.
   */
  | { readonly id: number; readonly value: number | null }
  | { readonly id: number; readonly problem: string };

/** How long a round may take, in milliseconds. */
const ROUND_LIMIT = 5000;
const SPA_PORT = 62201;
/** Milliseconds after which a port that has not answered is closed. */
const ANSWER_LIMIT = 1000;

/** Half-millisecond ticks, while a round needs them. */
interface Metronome {
  start(tick: () => void): void;
  stop(): void;
}

function createMetronome(): Metronome {
  const running = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("./bench_metronome.ts", import.meta.url), { type: "module" });
  const set = (value: 0 | 1): void => {
    Atomics.store(running, 0, value);
    Atomics.notify(running, 0);
  };
  worker.postMessage(running);
  return {
    start(tick) {
      worker.onmessage = tick;
      set(1);
    },
    stop() {
      worker.onmessage = null;
      set(0);
    },
  };
}

/** Rounds against one gateway. */
function createRounds(gateway: string, metronome: Metronome) {
  const to = (port: number): Deno.NetAddr => ({ transport: "udp", hostname: gateway, port });

  /** Milliseconds from just before `act` until the port answers; null when it does not. */
  async function untilOpen(
    port: number,
    act: (socket: Deno.DatagramConn) => Promise<void>,
    limit: number = ROUND_LIMIT,
  ): Promise<number | null> {
    const socket = Deno.listenDatagram({ hostname: "0.0.0.0", port: 0, transport: "udp" });
    const timer = setTimeout(() => socket.close(), limit);
    // Datagrams before the knock carry 0: their echo tells of a port that was open all along.
    const probe = Uint8Array.of(0);
    const send = (): void => void socket.send(probe, to(port)).catch(() => {});
    try {
      await socket.send(probe, to(port));
      const answer = socket.receive().then(
        ([data]) => ({ data, at: performance.now() }),
        () => null,
      );
      probe[0] = 1;
      metronome.start(send);
      const begin = performance.now();
      await act(socket);
      const echo = await answer;
      if (echo === null) return null;
      if (echo.data[0] === 0) throw new Error(`port ${port} was open before the knock`);
      return echo.at - begin;
    } finally {
      metronome.stop();
      clearTimeout(timer);
      close(socket);
    }
  }

  async function wire(command: readonly string[]): Promise<number | null> {
    const socket = Deno.listenDatagram({ hostname: "0.0.0.0", port: SPA_PORT, transport: "udp" });
    const timer = setTimeout(() => socket.close(), ROUND_LIMIT);
    try {
      const arrival = socket.receive().then(() => performance.now(), () => null);
      const begin = performance.now();
      await runClient(command);
      const end = await arrival;
      return end === null ? null : end - begin;
    } finally {
      clearTimeout(timer);
      close(socket);
    }
  }

  async function burst(packets: readonly string[]): Promise<number> {
    const socket = Deno.listenDatagram({ hostname: "0.0.0.0", port: 0, transport: "udp" });
    const encoder = new TextEncoder();
    const begin = performance.timeOrigin + performance.now();
    for (const packet of packets) await socket.send(encoder.encode(packet), to(SPA_PORT));
    socket.close();
    return begin;
  }

  async function count(first: number, last: number): Promise<number> {
    const socket = Deno.listenDatagram({ hostname: "0.0.0.0", port: 0, transport: "udp" });
    const timer = setTimeout(() => socket.close(), ANSWER_LIMIT);
    for (let port = first; port <= last; port++) await socket.send(Uint8Array.of(0), to(port));
    const answers = new Set<number>();
    try {
      while (answers.size <= last - first) {
        const [, from] = await socket.receive();
        answers.add((from as Deno.NetAddr).port);
      }
    } catch {
      // closed by the time limit
    } finally {
      clearTimeout(timer);
      close(socket);
    }
    return answers.size;
  }

  function packetRound(packet: string, port: number, limit?: number): Promise<number | null> {
    const bytes = new TextEncoder().encode(packet);
    return untilOpen(port, async (socket) => void await socket.send(bytes, to(SPA_PORT)), limit);
  }

  return (order: Order): Promise<number | null> => {
    switch (order.what) {
      case "packet":
        return packetRound(order.packet, order.port, order.limit);
      case "knock":
        return untilOpen(order.port, () => runClient(order.command));
      case "wire":
        return wire(order.command);
      case "burst":
        return burst(order.packets);
      case "count":
        return count(order.first, order.last);
    }
  };
}

/** Runs a client program to its end; rejects when it fails. */
async function runClient([program = "", ...args]: readonly string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(ROUND_LIMIT),
  }).spawn().output();
  if (code !== 0) {
    const text = new TextDecoder().decode(stderr).trim();
    throw new Error(`${program} ended with status ${code}: ${text}`);
  }
}

/** Closes a socket that its time limit may have closed already. */
function close(socket: Deno.DatagramConn): void {
  try {
    socket.close();
  } catch {
    // closed by the time limit
  }
}

if (import.meta.main) {
  const carryOut = createRounds(Deno.args[0] ?? "", createMetronome());
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, order } = JSON.parse(line) as { id: number; order: Order };
    const answer: Answer = await carryOut(order).then(
      (value) => ({ id, value }),
      (error) => ({ id, problem: error instanceof Error ? error.message : String(error) }),
    );
    console.log(JSON.stringify(answer));
  }
  Deno.exit(0);
}
