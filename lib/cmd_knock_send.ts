// How a packet leaves: one entry for each transport that works, and what all of them share.

import { done, failure, misuse, type Outcome } from "./cmd_ui.ts";
import { type KnockSettings, parseDestination } from "./cmd_knock_values.ts";
import { DEFAULT_PORT, isRawTransport } from "./cmd_knock_settings.ts";
import type { TransportName } from "./conf_fwknoprc_variables.ts";
import { parseDecimal } from "./conf_fwknoprc_values.ts";
import type { AddressFamily, Endpoint, Host } from "./host.ts";
import { reasonOf } from "./host.ts";
import { parseIp } from "./net_address.ts";

/** A packet on its way. */
export interface Transmission {
  readonly transport: TransportName;
  /** Name or address, without brackets. */
  readonly server: string;
  readonly port: number;
  /** 0 leaves it to the system. */
  readonly sourcePort: number;
  /** What is sent: the packet, or the HTTP request that holds it. */
  readonly payload: string;
  /** Where an HTTP request goes instead of to the server. */
  readonly proxy: { readonly server: string; readonly port: number } | null;
  /** Null tries IPv4, then IPv6. */
  readonly family: AddressFamily | null;
  /** Milliseconds. */
  readonly timeout: number;
  /** Source of a raw packet, an IPv4 address or a name for one; null leaves it to the system. */
  readonly spoofSource: string | null;
  readonly icmp: { readonly type: number; readonly code: number };
}

type Send = (to: Endpoint, packet: Transmission, host: Host) => Promise<number>;

/** Sends the payload and gives the bytes sent; throws what the system says. */
const TRANSPORTS: Readonly<Record<TransportName, Send>> = {
  udp: (to, { payload, sourcePort }, host) => host.sendDatagram(to, encode(payload), sourcePort),
  tcp: sendStream,
  http: sendStream,
  udpraw: sendRaw,
  tcpraw: sendRaw,
  icmp: sendRaw,
};

async function sendRaw(to: Endpoint, packet: Transmission, host: Host): Promise<number> {
  const { sendRawPacket } = await import("./cmd_knock_raw.ts");
  return await sendRawPacket(to, packet, host);
}

async function sendStream(to: Endpoint, packet: Transmission, host: Host): Promise<number> {
  const bytes = encode(packet.payload);
  await host.sendStream(to, bytes, packet.timeout);
  return bytes.length;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Milliseconds until a connection is given up. */
export const DEFAULT_TIMEOUT = 10_000;

/** What fwknop's servers look for in a request. */
export const DEFAULT_USER_AGENT = "Fwknop/2.6.11";

/**
 * Plans how a packet goes.
 *
 * @param wire the packet
 * @param drawPort gives a random port, for `--rand-port` and for the source of raw packets
 */
export function planTransmission(
  settings: KnockSettings,
  wire: string,
  drawPort: () => number,
): Outcome<Transmission> {
  const transport = settings.transport ?? "udp";
  // A test may do without.
  const destination = settings.server === undefined
    ? done({ server: "", port: null })
    : parseDestination(settings.server);
  if (!destination.ok) return destination;
  const { server } = destination.value;
  const port = settings.randomPort
    ? drawPort()
    : destination.value.port ?? settings.port ?? DEFAULT_PORT;
  const proxy = settings.httpProxy === undefined
    ? done(null)
    : parseProxy(settings.httpProxy, settings.port ?? DEFAULT_PORT);
  if (!proxy.ok) return proxy;
  if (isRawTransport(transport) && settings.family === "ipv6") {
    return misuse(
      `packet not sent: -P ${transport} makes IPv4 packets only`,
      "leave out -6, or use -P udp, tcp or http",
    );
  }
  const userAgent = settings.userAgent ?? DEFAULT_USER_AGENT;
  if (/[^\x20-\x7e]/.test(userAgent)) {
    return misuse("cannot use the user agent: it has characters that HTTP does not allow");
  }
  return done({
    transport,
    server,
    port,
    sourcePort: settings.sourcePort ?? (isRawTransport(transport) ? drawPort() : 0),
    payload: transport === "http" ? httpRequest(wire, server, userAgent, proxy.value) : wire,
    proxy: proxy.value,
    family: settings.family ??
      (settings.serverResolveIpv4 || isRawTransport(transport) ? "ipv4" : null),
    spoofSource: settings.spoofSource ?? null,
    icmp: { type: settings.icmpType ?? 0, code: settings.icmpCode ?? 0 },
    timeout: settings.networkTimeout ?? DEFAULT_TIMEOUT,
  });
}

/** `[http://]host[:port][/]` */
function parseProxy(text: string, defaultPort: number): Outcome<{ server: string; port: number }> {
  const parts = /^(?:http:\/\/)?(\[[^\]]*\]|[^:/]*)(?::(\d+))?\/?$/i.exec(text);
  const server = (parts?.[1] ?? "").replace(/^\[(.*)\]$/, "$1");
  const port = parseDecimal(parts?.[2] ?? String(defaultPort), 1, 65535);
  if (server !== "" && port !== null) return done({ server, port });
  return misuse(
    `packet not sent: proxy port value is invalid, must be in [1-65535]: "${text}"`,
    "give HOST, HOST:PORT or http://HOST:PORT",
  );
}

/** As fwknop writes it; through a proxy it names the proxy as `Host`, as fwknop does. */
function httpRequest(
  wire: string,
  server: string,
  userAgent: string,
  proxy: Transmission["proxy"],
): string {
  const path = wire.replaceAll("+", "-").replaceAll("/", "_");
  const authority = server.includes(":") ? `[${server}]` : server;
  const target = proxy === null ? `/${path}` : `http://${authority}/${path}`;
  return [
    `GET ${target} HTTP/1.1`,
    `User-Agent: ${userAgent}`,
    "Accept: */*",
    `Host: ${proxy?.server ?? authority}`,
    "Connection: close",
    "",
    "",
  ].join("\r\n");
}

/** What was sent, and where it went. */
export interface Sent {
  readonly to: Endpoint;
  readonly bytes: number;
}

/** Sends a packet once, to the first address of the server that takes it. */
export async function transmit(packet: Transmission, host: Host): Promise<Outcome<Sent>> {
  const send = TRANSPORTS[packet.transport];
  const { server, port } = packet.proxy ?? packet;
  const addresses = await findAddresses(server, packet.family, host);
  if (!addresses.ok) return addresses;
  const sources = packet.spoofSource === null
    ? done([])
    : await findAddresses(packet.spoofSource, "ipv4", host);
  if (!sources.ok) return sources;
  const complete = { ...packet, spoofSource: sources.value[0] ?? null };
  let reason = "";
  for (const address of addresses.value) {
    try {
      const to = { address, port };
      return done({ to, bytes: await send(to, complete, host) });
    } catch (error) {
      reason = reasonOf(error);
    }
  }
  return failure(
    `packet not sent: cannot reach ${server} port ${port} over ${packet.transport}: ${reason}`,
    isRawTransport(packet.transport) && /not permitted/.test(reason)
      ? "raw sockets take root, or the right of CAP_NET_RAW: " +
        "setcap cap_net_raw+ep /PATH/TO/spa; -P udp does without"
      : undefined,
  );
}

/**
 * The addresses of a name, or the address that `server` already is.
 *
 * @param family null tries IPv4, then IPv6
 */
export async function findAddresses(
  server: string,
  family: AddressFamily | null,
  host: Host,
): Promise<Outcome<string[]>> {
  const literal = parseIp(server);
  if (literal !== null) {
    if (family === null || family === (literal.version === 4 ? "ipv4" : "ipv6")) {
      return done([literal.text]);
    }
    return misuse(
      `packet not sent: ${server} is no ${family === "ipv4" ? "IPv4" : "IPv6"} address`,
    );
  }
  let reason = "";
  for (const wanted of family === null ? ["ipv4", "ipv6"] as const : [family]) {
    try {
      const found = await host.resolve(server, wanted);
      if (found.length > 0) return done(found);
    } catch (error) {
      reason ||= reasonOf(error);
    }
  }
  return failure(
    `packet not sent: error in getaddrinfo: cannot find the address of "${server}": ${reason}`,
  );
}
