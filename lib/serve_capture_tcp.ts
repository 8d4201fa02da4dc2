// A TCP port for knocks over TCP and HTTP: their clients send only once someone takes the
// connection. What they send is seen by the capture; nothing is read here.

import { type AcceptedStream, type Host, reasonOf, type StreamListener } from "./host.ts";
import { CaptureError, type CaptureSource } from "./serve_capture.ts";
import type { Log } from "./serve_log.ts";
import type { Timer } from "./serve_timer.ts";

/** What a TCP server works with. */
export interface TcpServerParts {
  readonly host: Pick<Host, "listenStreams">;
  readonly log: Log;
  readonly timer: Timer;
  readonly port: number;
}

/** Milliseconds that a client has to send its packet in, as with fwknopd. */
const HOLD = 1000;
/** Most connections at a time. */
const MOST_CONNECTIONS = 100;
/** Milliseconds to wait when the system gives no connection, as for want of descriptors. */
const PAUSE = 100;

/**
 * Opens a TCP port beside a capture, for as long as the capture lasts.
 *
 * @throws {CaptureError} when the port cannot be bound; the capture is closed then
 */
export function withTcpServer(source: CaptureSource, parts: TcpServerParts): CaptureSource {
  const { port } = parts;
  let listener: StreamListener;
  try {
    listener = parts.host.listenStreams(port);
  } catch (error) {
    source.close();
    throw new CaptureError(
      `run_tcp_server: bind() failed: cannot bind TCP port ${port}: ${reasonOf(error)}`,
      "another program may use it: choose a port with TCPSERV_PORT, or, where that program takes " +
        "the connections, leave out ENABLE_TCP_SERVER",
    );
  }
  const close = holdConnections(listener, parts);
  return {
    ...source,
    announcement: [
      `Kicking off TCP server to listen on port ${port}.`,
      ...source.announcement,
    ],
    close() {
      close();
      source.close();
    },
  };
}

/**
 * Takes connections and closes each after its time. Where there are too many, the oldest goes
 * first, so that no crowd keeps a client out.
 *
 * @returns ends it
 */
function holdConnections(listener: StreamListener, { log, timer }: TcpServerParts): () => void {
  /** How to end each connection, oldest first. */
  const held = new Set<() => void>();
  let endPause: () => void = () => {};
  let open = true;

  function hold(connection: AcceptedStream): void {
    const end = (): void => {
      cancel();
      held.delete(end);
      connection.close();
    };
    const cancel = timer(HOLD, end);
    held.add(end);
    const [oldest] = held;
    if (held.size > MOST_CONNECTIONS) oldest?.();
  }

  function pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = timer(PAUSE, resolve);
      endPause = () => {
        cancel();
        resolve();
      };
    });
  }

  async function takeAll(): Promise<void> {
    while (open) {
      let connection: AcceptedStream | null;
      try {
        connection = await listener.accept();
      } catch {
        await pause();
        continue;
      }
      if (connection === null) return;
      log.debug(`tcp_server: Got TCP connection from ${connection.address}.`);
      hold(connection);
    }
  }

  takeAll();
  return () => {
    open = false;
    listener.close();
    endPause();
    for (const end of held) end();
  };
}
