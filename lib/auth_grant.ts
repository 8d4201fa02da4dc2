// What an accepted packet is allowed: the value that crosses from decision to firewall.

import type { ProtocolPort } from "./net_port.ts";

/** What all grants say: who is let in, through what, and for how long. */
export interface GrantTerms {
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

/** Access for one address to some ports of the gateway itself, for some seconds. */
export interface AccessGrant extends GrantTerms {
  readonly kind: "access";
}

/** Access for one address through the gateway's NAT; only the first port is translated. */
export interface NatGrant extends GrantTerms {
  readonly kind: "nat";
  readonly nat: NatTerms;
}

/** Where a NAT grant leads, and what becomes of its packets' addresses. */
export interface NatTerms {
  /** Leads to a service of the gateway itself, not to a host behind it. */
  readonly local: boolean;
  /** An address, or a host name that is still to be looked up. */
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
  /** FORWARD_ALL: every protocol and port, not just the first that was asked for. */
  readonly all: boolean;
  /** Destinations are translated; false is DISABLE_DNAT. */
  readonly translatesDestination: boolean;
  /** FORCE_SNAT: the address that the target sees. */
  readonly forcedSource: string | null;
  /** FORCE_MASQUERADE. */
  readonly masquerade: boolean;
}

/** A command from a command message may run. */
export interface CommandGrant extends Pick<GrantTerms, "stanza" | "source"> {
  readonly kind: "command";
  /** As the packet has it: printable ASCII. */
  readonly command: string;
}

/**
 * The stanza's CMD_CYCLE_OPEN may run, and CMD_CYCLE_CLOSE after `seconds`; 0 only where there is
 * no such command. `expires` counts from the packet's time stamp, as `$TIMEOUT` does.
 */
export interface CycleGrant extends GrantTerms {
  readonly kind: "cycle";
  /** The address the packet came from, in its usual text form. */
  readonly packetSource: string;
}

/** What the firewall is to open. */
export type FirewallGrant = AccessGrant | NatGrant;

/** What may be done. */
export type Grant = FirewallGrant | CommandGrant | CycleGrant;
