// Transport protocols and ports, as requests and configurations name them: "tcp/22".

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
