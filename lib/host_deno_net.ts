// The network on Deno, a question or a message at a time; connections are in host_deno_stream.ts.

import type { AddressFamily, Endpoint, FetchedPage, FetchOptions } from "./host.ts";
import { writeAll } from "./host_deno_stream.ts";

/** Asks for addresses of a name; see `Host`. */
export async function resolve(name: string, family: AddressFamily): Promise<string[]> {
  const { lookup } = await import("node:dns/promises");
  const found = await lookup(name, { all: true, family: family === "ipv6" ? 6 : 4 });
  return found.map((entry) => entry.address);
}

/** Sends a datagram; see `Host`. */
export async function sendDatagram(
  to: Endpoint,
  payload: Uint8Array,
  sourcePort: number,
): Promise<number> {
  const socket = Deno.listenDatagram({
    transport: "udp",
    hostname: to.address.includes(":") ? "::" : "0.0.0.0",
    port: sourcePort,
  });
  try {
    return await socket.send(payload, { transport: "udp", hostname: to.address, port: to.port });
  } finally {
    socket.close();
  }
}

/** Sends bytes over a TCP connection; see `Host`. */
export async function sendStream(
  to: Endpoint,
  payload: Uint8Array,
  timeout: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${timeout / 1000} s`)), timeout);
  });
  try {
    await Promise.race([deliver(to, payload), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

async function deliver(to: Endpoint, payload: Uint8Array): Promise<void> {
  const connection = await Deno.connect({ hostname: to.address, port: to.port });
  try {
    await writeAll(connection, payload);
  } finally {
    connection.close();
  }
}

/** Fetches a page; see `Host`. */
export async function fetchPage(url: string, options: FetchOptions): Promise<FetchedPage> {
  const response = await fetch(url, {
    headers: { "user-agent": options.userAgent, accept: "*/*" },
    signal: AbortSignal.timeout(options.timeout),
  }).catch((error: Error) => {
    const { message } = error.cause instanceof Error ? error.cause : error;
    throw new Error(message.replace(/^.*client error \([^)]*\): /, ""));
  });
  const kept = new Uint8Array(options.limit);
  let length = 0;
  for await (const chunk of response.body ?? []) {
    const part = chunk.subarray(0, kept.length - length);
    kept.set(part, length);
    length += part.length;
    if (length === kept.length) break;
  }
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return { url: response.url, body: new TextDecoder().decode(kept.subarray(0, length)) };
}
