// What an accepted packet is allowed: the value that crosses from decision to firewall.

import type { ProtocolPort } from "./net_port.ts";

/** Access for one address to some ports, for some seconds. */
export interface Grant {
  /** What is done: access to ports of the gateway itself. */
  readonly kind: "access";
  /** Number of the stanza that granted it, from 1. */
  readonly stanza: number;
  /** The address that is let in, in its usual text form. */
  readonly source: string;
  /** The address the packet was sent to, in its usual text form. */
  readonly destination: string;
  /** What is opened; at least one entry. */
  readonly ports: readonly ProtocolPort[];
  /** Seconds that access lasts. */
  readonly seconds: number;
  /** Wall clock, in whole seconds since 1970 UTC, at which access ends. */
  readonly expires: number;
}
