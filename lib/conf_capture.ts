// Where knocks come from: the names that the NFQ_ variables give, which go into the firewall's own
// language, and what one way to see knocks makes of the others.

import type { ServerConfig, ServerVariableName } from "./conf_fwknopd_variables.ts";
import type { TextFault } from "./net_list.ts";

/** Names that iptables(8) and ip(8) take, by the variable that has them. */
const NAMES = {
  NFQ_INTERFACE: { pattern: /^[\w.:@-]{1,15}\+?$/, hint: "write the name of a network interface" },
  NFQ_TABLE: {
    pattern: /^\w{1,31}$/,
    hint: "write a table that has a chain INPUT: mangle, filter",
  },
  NFQ_CHAIN: { pattern: /^\w[\w.-]{0,27}$/, hint: "write a name of at most 28 letters and digits" },
} as const;

/** Something wrong with a variable's value. */
export interface QueueFault {
  readonly name: ServerVariableName;
  readonly fault: TextFault;
}

/** What is wrong with the names, where a queue is in use. */
export function queueFaults(config: ServerConfig): readonly QueueFault[] {
  if (!config.ENABLE_NFQ_CAPTURE) return [];
  return (["NFQ_INTERFACE", "NFQ_TABLE", "NFQ_CHAIN"] as const).flatMap((name) => {
    const text = config[name];
    const { pattern, hint } = NAMES[name];
    if (text === null || pattern.test(text)) return [];
    return [{ name, fault: { offset: 0, value: text, why: `Invalid ${name}`, hint } }];
  });
}

/**
 * The ways to see knocks that are asked for and yet not gone, since another comes before them: a
 * queue, then a UDP socket, then libpcap, which alone sees what a TCP server makes clients send.
 */
export function uselessSources(
  config: ServerConfig,
): readonly { readonly name: ServerVariableName; readonly because: ServerVariableName }[] {
  const [used, ...others] = ([
    "ENABLE_NFQ_CAPTURE",
    "ENABLE_UDP_SERVER",
    "ENABLE_TCP_SERVER",
  ] as const).filter((name) => config[name]);
  return used === undefined ? [] : others.map((name) => ({ name, because: used }));
}
