// Transport protocols and ports, as requests and configurations name them: "tcp/22".

import { failed, type Parsed, splitList } from "./net_list.ts";

/** A transport protocol that access can be granted for. */
export type Protocol = "tcp" | "udp";

/** One protocol and port. */
export interface ProtocolPort {
  readonly protocol: Protocol;
  /** 0 to 65535. */
  readonly port: number;
}

/** IANA protocol numbers. */
export const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17 };

/** The text form that requests and log lines use: `tcp/22,udp/53`. */
export function formatPorts(ports: readonly ProtocolPort[]): string {
  return ports.map(({ protocol, port }) => `${protocol}/${port}`).join(",");
}

/**
 * Reads a list such as `tcp/22, udp/53` (protocols in any case). Ranges and names of services are
 * refused; an entry that is there twice is given once.
 */
export function parsePortList(text: string): Parsed<readonly ProtocolPort[]> {
  const ports: ProtocolPort[] = [];
  const seen = new Set<string>();
  for (const { text: item, offset } of splitList(text)) {
    const parsed = parsePort(item, offset);
    if (!parsed.ok) return parsed;
    const key = formatPorts([parsed.value]);
    if (!seen.has(key)) ports.push(parsed.value);
    seen.add(key);
  }
  return { ok: true, value: ports };
}

/** More ports than this are not spelled out in a hint. */
const LONGEST_SPELLED_RANGE = 10;

function parsePort(item: string, offset: number): Parsed<ProtocolPort> {
  const slash = item.indexOf("/");
  const why = `Parse error on access port entry: ${item}`;
  if (slash < 0) {
    const hint = item.toUpperCase() === "ANY"
      ? "leave the variable out to mean all ports"
      : "write tcp/PORT or udp/PORT, with one comma between two items";
    return failed(offset, item, why, hint);
  }
  const protocol = item.slice(0, slash).toLowerCase();
  const number = item.slice(slash + 1);
  if (protocol !== "tcp" && protocol !== "udp") {
    const turned = /^(\d+)\/(tcp|udp)$/i.exec(item);
    const hint = turned === null ? "write tcp/PORT or udp/PORT" : `write ${turned[2]}/${turned[1]}`;
    return failed(offset, item, `Invalid protocol in access port entry: ${item}`, hint);
  }
  const range = /^(\d{1,5})[-:](\d{1,5})$/.exec(number);
  if (range !== null) {
    const hint = rangeHint(protocol, Number(range[1]), Number(range[2]));
    return failed(offset, item, `${why}: a range of ports is not supported`, hint);
  }
  if (/^\d+\s/.test(number)) {
    return failed(offset, item, why, "put a comma between two items");
  }
  if (!/^\d+$/.test(number)) return failed(offset, item, why, `write ${protocol}/0 to 65535`);
  const port = Number(number);
  if (port > 65535) {
    const outside = `Invalid port '${item}' in access request, must be in [0,65535]`;
    return failed(offset, item, outside, `write ${protocol}/0 to 65535`);
  }
  return { ok: true, value: { protocol, port } };
}

function rangeHint(protocol: Protocol, from: number, to: number): string {
  if (to < from || to - from >= LONGEST_SPELLED_RANGE) return "write one item for each port";
  const ports = Array.from({ length: to - from + 1 }, (_, index) => ({
    protocol,
    port: from + index,
  }));
  return `write ${formatPorts(ports)}`;
}
