// What a configuration asks of a gateway: its capture, its firewall, its policy, and whether two
// configurations ask for the same.

import type { Rules } from "./auth_grant_check.ts";
import { type Policy, preparePolicy } from "./auth_decide.ts";
import type { PolicySettings } from "./auth_request.ts";
import type { Stanza } from "./conf_access.ts";
import type { ServerConfigReading } from "./conf_fwknopd.ts";
import type { ServerConfig, ServerVariableName } from "./conf_fwknopd_variables.ts";
import type { Host, Native } from "./host.ts";
import type { HttpSettings } from "./net_http.ts";
import type { CaptureSource } from "./serve_capture.ts";
import { openInterfaces, type Reopening } from "./serve_capture_interfaces.ts";
import {
  borrowQueue,
  type LentQueue,
  openQueue,
  type QueueSettings,
  queueSource,
} from "./serve_capture_nfqueue.ts";
import { openPcapFileSource } from "./serve_capture_pcap.ts";
import { openStdinSource } from "./serve_capture_stdin.ts";
import { withTcpServer } from "./serve_capture_tcp.ts";
import { openUdpSource } from "./serve_capture_udp.ts";
import { createFirewall, type Firewall } from "./serve_firewall.ts";
import { withForwardingWarning } from "./serve_forwarding.ts";
import type { Log } from "./serve_log.ts";
import { nftRunner } from "./serve_nft.ts";
import { chooseQueueRule, withQueueRule } from "./serve_nfqueue_rule.ts";
import { checkFirewall, choosePlanner, firewallRunner } from "./serve_plan.ts";
import { systemTimer } from "./serve_timer.ts";

/** Configuration that was read without error. */
export interface Settings {
  readonly config: ServerConfig;
  /** Tells which variables were set and which have their defaults. */
  readonly reading: Pick<ServerConfigReading, "settings">;
  readonly stanzas: readonly Stanza[];
}

/** How this run was asked for on the command line. */
export interface GatewayOptions {
  /** Judge packets, but touch no firewall and remember nothing. */
  readonly testMode: boolean;
  /** Also see what this host sends. */
  readonly anyDirection: boolean;
  /** Take packets from standard input, one a line, and stop at its end. */
  readonly fromStdin: boolean;
  /** Packets after which to stop; 0 for no limit. */
  readonly packetLimit: number;
  /** Start with an empty digest cache, keeping the old one beside it. */
  readonly rotateDigestCache: boolean;
  /** Stop after the digest cache has been read. */
  readonly exitAfterDigestCache: boolean;
}

/** Milliseconds of one turn of fwknopd's loop, in which RULES_CHECK_THRESHOLD counts. */
const LOOP_TURN = 100;
/** More than all headers in front of a payload together. */
const HEADER_BYTES = 256;
const MEBIBYTE = 1 << 20;

/** Seconds that a time stamp may be off; null for any. */
export function maxPacketAge(config: ServerConfig): number | null {
  return config.ENABLE_SPA_PACKET_AGING ? config.MAX_SPA_PACKET_AGE : null;
}

/** What the monitor holds the sentry's requests against. */
export function rulesOf({ stanzas, config }: Pick<Settings, "stanzas" | "config">): Rules {
  return { stanzas, nat: config, maxPacketAge: maxPacketAge(config) };
}

/** The policy for decisions. */
export function policyOf(
  settings: Settings,
  options: GatewayOptions,
  log: Log,
  { prepareHmac }: Pick<Native, "prepareHmac">,
): Policy {
  const { stanzas, config } = settings;
  const policy: PolicySettings = {
    maxPacketAge: maxPacketAge(config),
    testMode: options.testMode,
    verbose: log.verbosity > 0,
    nat: config,
    http: httpSettings(config),
    failureRates: { source: config.NO_HMAC_SOURCE_FAIL_RATE, total: config.NO_HMAC_FAIL_RATE },
  };
  return preparePolicy(stanzas, policy, prepareHmac);
}

function httpSettings(config: ServerConfig): HttpSettings | null {
  if (!config.ENABLE_SPA_OVER_HTTP) return null;
  return {
    anyUserAgent: config.ALLOW_ANY_USER_AGENT,
    forwardedFor: config.ENABLE_X_FORWARDED_FOR,
  };
}

/**
 * Opens the capture; throws when that fails.
 *
 * @param reopening what stands in for opening an interface again where that takes more privileges
 * than there are; null where it does not
 * @param lent the netfilter queue of a process that has the privileges for it; null to open one
 */
export function openSource(
  host: Host,
  native: Native,
  config: ServerConfig,
  options: GatewayOptions,
  log: Log,
  reopening: Reopening | null = null,
  lent: LentQueue | null = null,
): CaptureSource {
  if (options.fromStdin) return openStdinSource(host);
  if (config.PCAP_FILE !== null) {
    return openPcapFileSource(native, config.PCAP_FILE, config.PCAP_FILTER);
  }
  if (config.ENABLE_NFQ_CAPTURE) {
    const { NFQ_QUEUE_NUMBER: number } = config;
    const queue = lent === null
      ? openQueue(native, queueSettings(config))
      : borrowQueue(native, lent);
    return queueSource(native, log, number, queue);
  }
  if (config.ENABLE_UDP_SERVER) return openUdpSource(native, config.UDPSERV_PORT);
  const source = openInterfaces(native, log, {
    interfaces: listOf(config.PCAP_INTF),
    endsWithInterface: config.EXIT_AT_INTF_DOWN,
    reopening,
    filter: config.PCAP_FILTER,
    promiscuous: config.ENABLE_PCAP_PROMISC,
    // fwknopd counts headers too and so loses its longest packets.
    snapshotLength: config.MAX_SNIFF_BYTES + HEADER_BYTES,
    anyDirection: options.anyDirection || config.ENABLE_PCAP_ANY_DIRECTION,
    bufferBytes: config.PCAP_BUFFER_SIZE * MEBIBYTE,
  });
  // What its clients send is seen by libpcap alone.
  if (!config.ENABLE_TCP_SERVER) return source;
  return withTcpServer(source, { host, log, timer: systemTimer, port: config.TCPSERV_PORT });
}

/** The names in a list with commas, each once. */
function listOf(text: string): string[] {
  return [...new Set(text.split(",").map((name) => name.trim()))];
}

/** A firewall that is not started yet; null when none is to be touched. */
export function createConfiguredFirewall(
  host: Host,
  log: Log,
  settings: Settings,
  options: GatewayOptions,
): Firewall | null {
  if (options.testMode) return null;
  const { config } = settings;
  const firewall = usesFirewall(settings) ? createGrantFirewall(host, log, settings) : null;
  if (!queuesPackets(config, options)) return firewall;
  const runner = nftRunner(host, config.NFT_EXE);
  return withQueueRule(firewall, chooseQueueRule(host, config), runner, log);
}

/** The netfilter queue that a configuration asks for. */
export function queueSettings(config: ServerConfig): QueueSettings {
  return { number: config.NFQ_QUEUE_NUMBER, length: config.NFQ_QUEUE_LENGTH };
}

/** Whether a firewall rule is what brings packets here. */
export function queuesPackets(
  config: ServerConfig,
  options: Pick<GatewayOptions, "fromStdin">,
): boolean {
  return config.ENABLE_NFQ_CAPTURE && config.PCAP_FILE === null && !options.fromStdin;
}

function createGrantFirewall(
  host: Host,
  log: Log,
  { config, reading }: Settings,
): Firewall {
  // Looking for the rules of others costs wake-ups, so it is done only where it was asked for.
  const sweepInterval = reading.settings.has("RULES_CHECK_THRESHOLD")
    ? config.RULES_CHECK_THRESHOLD * LOOP_TURN
    : 0;
  const { run } = firewallRunner(host, config);
  const { now, monotonic } = host;
  const planner = choosePlanner(host, config);
  const firewall = createFirewall({ host: { run, now, monotonic }, log, planner, sweepInterval });
  return withForwardingWarning(firewall, host, log);
}

/** As {@linkcode checkFirewall}, for a configuration that may touch no firewall. */
export async function checkConfiguredFirewall(
  host: Host,
  log: Log,
  settings: Settings,
): Promise<readonly string[]> {
  return usesFirewall(settings) ? await checkFirewall(host, log, settings.config) : [];
}

/** The variables that a netfilter queue depends on; its rule is the firewall's. */
const QUEUE_VARIABLES = ["ENABLE_NFQ_CAPTURE", "NFQ_QUEUE_NUMBER"] as const;
/** The variables that a UDP server depends on. */
const UDP_VARIABLES = ["ENABLE_NFQ_CAPTURE", "ENABLE_UDP_SERVER", "UDPSERV_PORT"] as const;
/** The variables that sniffing depends on, with a TCP server beside it. */
const SNIFFING_VARIABLES = [
  ...UDP_VARIABLES,
  "ENABLE_TCP_SERVER",
  "TCPSERV_PORT",
  "PCAP_INTF",
  "PCAP_FILE",
  "PCAP_FILTER",
  "ENABLE_PCAP_PROMISC",
  "ENABLE_PCAP_ANY_DIRECTION",
  "EXIT_AT_INTF_DOWN",
  "PCAP_BUFFER_SIZE",
  "MAX_SNIFF_BYTES",
] as const;

/** Equal keys mean that one capture does for both configurations. */
export function captureKey(config: ServerConfig): string {
  const names = variablesOfCapture(config);
  return JSON.stringify(names.map((name) => config[name]));
}

function variablesOfCapture(config: ServerConfig): readonly ServerVariableName[] {
  if (config.PCAP_FILE !== null) return SNIFFING_VARIABLES;
  if (config.ENABLE_NFQ_CAPTURE) return QUEUE_VARIABLES;
  return config.ENABLE_UDP_SERVER ? UDP_VARIABLES : SNIFFING_VARIABLES;
}

/** Equal keys mean that one set of chains does for both configurations. */
export function firewallKey(settings: Settings): string {
  const variables = Object.entries(settings.config).filter(([name]) =>
    /IPT|IP6|IPSET|FIREW|IPFW|^PF_|_RULE|SNAT|FORWARD_DESTINATION|^NFT_|DEFAULT_DROP|KERNEL_EXPIRY|DOCKER|NFQ_(?!QUEUE_LENGTH|LOOP)/
      .test(name)
  );
  return JSON.stringify([usesFirewall(settings), variables.sort()]);
}

/** Where every stanza has commands that open and close, the firewall is not ours to touch. */
function usesFirewall({ config, stanzas }: Settings): boolean {
  if (config.FIREWALL_TYPE === "command") return false;
  return stanzas.some(({ CMD_CYCLE_OPEN }) => CMD_CYCLE_OPEN === null);
}

/** The variables that are read at the start only. */
const START_VARIABLES = [
  "DIGEST_FILE",
  "ENABLE_DIGEST_PERSISTENCE",
  "FWKNOP_PID_FILE",
  "FWKNOP_RUN_DIR",
  "LOG_FORMAT",
  "NFQ_QUEUE_LENGTH",
  "PRIVSEP",
  "PRIVSEP_USER",
  "RULES_CHECK_THRESHOLD",
  "SYSLOG_FACILITY",
  "SYSLOG_IDENTITY",
  "VERBOSE",
] as const;

/** Names of variables that differ although only a new start can put them in force. */
export function changedStartVariables(present: ServerConfig, next: ServerConfig): string[] {
  return START_VARIABLES.filter((name) => present[name] !== next[name]);
}
