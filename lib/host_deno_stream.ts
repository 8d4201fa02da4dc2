// Bytes that flow: TCP connections and this process's own standard streams, on Deno.

import type { ByteStream, Endpoint, StreamListener } from "./host.ts";

/** Connects over TCP; see `Host`. */
export async function connectStream(to: Endpoint, signal: AbortSignal): Promise<ByteStream> {
  const connection = await Deno.connect({ hostname: to.address, port: to.port, signal });
  // Keystrokes shall not wait for each other, and a peer that is gone shall be noticed.
  connection.setNoDelay(true);
  connection.setKeepAlive(true);
  return {
    read: (into) => connection.read(into),
    write: (bytes) => writeAll(connection, bytes),
    closeWrite: () => connection.closeWrite(),
    close: () => connection.close(),
  };
}

/** Standard input and output as one stream. */
export function standardStream(): ByteStream {
  return {
    read: (into) => Deno.stdin.read(into),
    write: (bytes) => writeAll(Deno.stdout, bytes),
    closeWrite: () => Promise.resolve(Deno.stdout.close()),
    close: () => Deno.stdin.close(),
  };
}

/** Listens on all addresses; see `Host`. */
export function listenStreams(port: number): StreamListener {
  const listener = listenOnAll(port);
  return {
    async accept() {
      try {
        const connection = await listener.accept();
        const { hostname } = connection.remoteAddr;
        return {
          address: hostname.replace(/^::ffff:(?=[\d.]+$)/, ""),
          close: () => connection.close(),
        };
      } catch (error) {
        if (error instanceof Deno.errors.BadResource) return null;
        throw error;
      }
    },
    close: () => listener.close(),
  };
}

function listenOnAll(port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: "::", port, reusePort: true });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) throw error;
    return Deno.listen({ hostname: "0.0.0.0", port, reusePort: true });
  }
}

/** Writes all of the bytes. */
export async function writeAll(
  writer: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  let rest = bytes;
  while (rest.length > 0) rest = rest.subarray(await writer.write(rest));
}
