// Every variable of fwknopd.conf, of all of fwknopd's builds: its type, its range, its default and
// whether it works in this release.

import type { FirewallType } from "./conf_firewall.ts";
import type { NftChainName } from "./conf_nftables.ts";
import type { ChainSpec } from "./conf_values.ts";
import type { ProtocolPort } from "./net_port.ts";

/**
 * What a variable does here: `works`; tunes a polling loop that does not exist here and is thus
 * `unneeded`; or is `useless`, since fwknopd reads it and never uses it.
 */
export type Effect = "works" | "unneeded" | "useless";

/** A variable's row. Defaults are texts as a file would hold them; null is "not set". */
export type ServerVariable =
  & { readonly effect: Effect; readonly initial: string | null }
  & (
    | { readonly kind: "text" | "absolute" | "flag" | "chain" | "facility" | "log-format" }
    | { readonly kind: "firewall-type" | "nft-chains" | "nft-mark" | "hidden-ports" }
    | { readonly kind: "number"; readonly low: number; readonly high: number }
  );

/** The syslog facilities that fwknopd knows. */
export type SyslogFacility =
  | "LOG_DAEMON"
  | "LOG_LOCAL0"
  | "LOG_LOCAL1"
  | "LOG_LOCAL2"
  | "LOG_LOCAL3"
  | "LOG_LOCAL4"
  | "LOG_LOCAL5"
  | "LOG_LOCAL6"
  | "LOG_LOCAL7";

/** How the log is written: fwknopd's lines, or a JSON object a line. */
export type LogFormat = "text" | "json";

/**
 * The variables in the order of `--dump-config`: those of fwknopd 2.6.10 for iptables first, with
 * its numbers, then those of its other builds, then our own. PCAP_LOOP_SLEEP, UDPSERV_SELECT_TIMEOUT and NFQ_LOOP_SLEEP are
 * microseconds; all other times are seconds. PCAP_BUFFER_SIZE is MiB (2^20 bytes).
 */
export const SERVER_VARIABLES = {
  CONFIG_FILE: { kind: "text", effect: "works", initial: "/etc/fwknop/fwknopd.conf" },
  OVERRIDE_CONFIG: { kind: "text", effect: "works", initial: null },
  PCAP_INTF: { kind: "text", effect: "works", initial: "eth0" },
  PCAP_FILE: { kind: "text", effect: "works", initial: null },
  ENABLE_PCAP_PROMISC: { kind: "flag", effect: "works", initial: "N" },
  PCAP_FILTER: { kind: "text", effect: "works", initial: "udp port 62201" },
  PCAP_DISPATCH_COUNT: {
    kind: "number",
    effect: "unneeded",
    low: 1,
    high: 8388608,
    initial: "100",
  },
  PCAP_LOOP_SLEEP: {
    kind: "number",
    effect: "unneeded",
    low: 1,
    high: 8388608,
    initial: "100000",
  },
  ENABLE_PCAP_ANY_DIRECTION: { kind: "flag", effect: "works", initial: null },
  EXIT_AT_INTF_DOWN: { kind: "flag", effect: "works", initial: "Y" },
  MAX_SNIFF_BYTES: { kind: "number", effect: "works", low: 1, high: 32768, initial: "1500" },
  ENABLE_SPA_PACKET_AGING: { kind: "flag", effect: "works", initial: "Y" },
  MAX_SPA_PACKET_AGE: { kind: "number", effect: "works", low: 1, high: 100000, initial: "120" },
  ENABLE_DIGEST_PERSISTENCE: { kind: "flag", effect: "works", initial: "Y" },
  RULES_CHECK_THRESHOLD: {
    kind: "number",
    effect: "works",
    low: 0,
    high: 131071,
    initial: "20",
  },
  CMD_EXEC_TIMEOUT: { kind: "number", effect: "works", low: 0, high: 8388608, initial: null },
  ENABLE_SPA_OVER_HTTP: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_TCP_SERVER: { kind: "flag", effect: "works", initial: "N" },
  TCPSERV_PORT: { kind: "number", effect: "works", low: 1, high: 65535, initial: "62201" },
  ENABLE_UDP_SERVER: { kind: "flag", effect: "works", initial: "N" },
  UDPSERV_PORT: { kind: "number", effect: "works", low: 1, high: 65535, initial: "62201" },
  UDPSERV_SELECT_TIMEOUT: {
    kind: "number",
    effect: "unneeded",
    low: 1,
    high: 8388608,
    initial: "500000",
  },
  LOCALE: { kind: "text", effect: "unneeded", initial: null },
  SYSLOG_IDENTITY: { kind: "text", effect: "works", initial: "fwknopd" },
  SYSLOG_FACILITY: { kind: "facility", effect: "works", initial: "LOG_DAEMON" },
  ENABLE_X_FORWARDED_FOR: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_DESTINATION_RULE: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_RULE_PREPEND: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_NAT_DNS: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_IPT_FORWARDING: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_IPT_LOCAL_NAT: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_IPT_SNAT: { kind: "flag", effect: "works", initial: "N" },
  SNAT_TRANSLATE_IP: { kind: "text", effect: "works", initial: null },
  ENABLE_IPT_OUTPUT: { kind: "flag", effect: "works", initial: "N" },
  FLUSH_IPT_AT_INIT: { kind: "flag", effect: "works", initial: "Y" },
  FLUSH_IPT_AT_EXIT: { kind: "flag", effect: "works", initial: "Y" },
  IPT_INPUT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1",
  },
  IPT_OUTPUT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "ACCEPT, filter, OUTPUT, 1, FWKNOP_OUTPUT, 1",
  },
  IPT_FORWARD_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "ACCEPT, filter, FORWARD, 1, FWKNOP_FORWARD, 1",
  },
  IPT_DNAT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "DNAT, nat, PREROUTING, 1, FWKNOP_PREROUTING, 1",
  },
  IPT_SNAT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "SNAT, nat, POSTROUTING, 1, FWKNOP_POSTROUTING, 1",
  },
  IPT_MASQUERADE_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "MASQUERADE, nat, POSTROUTING, 1, FWKNOP_MASQUERADE, 1",
  },
  ENABLE_IPT_COMMENT_CHECK: { kind: "flag", effect: "works", initial: "Y" },
  FWKNOP_RUN_DIR: { kind: "absolute", effect: "works", initial: "/run/fwknop" },
  FWKNOP_CONF_DIR: { kind: "text", effect: "useless", initial: "/etc/fwknop" },
  ACCESS_FILE: { kind: "text", effect: "works", initial: "/etc/fwknop/access.conf" },
  ACCESS_FOLDER: { kind: "text", effect: "works", initial: null },
  FWKNOP_PID_FILE: { kind: "text", effect: "works", initial: "$FWKNOP_RUN_DIR/fwknopd.pid" },
  DIGEST_FILE: { kind: "text", effect: "works", initial: "$FWKNOP_RUN_DIR/digest.cache" },
  GPG_HOME_DIR: { kind: "text", effect: "works", initial: "/root/.gnupg" },
  GPG_EXE: { kind: "text", effect: "works", initial: "/usr/bin/gpg" },
  SUDO_EXE: { kind: "text", effect: "works", initial: "/usr/bin/sudo" },
  FIREWALL_EXE: { kind: "text", effect: "works", initial: "/usr/sbin/iptables" },
  VERBOSE: { kind: "number", effect: "works", low: 0, high: Infinity, initial: null },
  FAULT_INJECTION_TAG: { kind: "text", effect: "useless", initial: null },
  ALLOW_ANY_USER_AGENT: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_NFQ_CAPTURE: { kind: "flag", effect: "works", initial: "N" },
  NFQ_INTERFACE: { kind: "text", effect: "works", initial: null },
  NFQ_PORT: { kind: "number", effect: "works", low: 1, high: 65535, initial: "62201" },
  NFQ_TABLE: { kind: "text", effect: "works", initial: "mangle" },
  NFQ_CHAIN: { kind: "text", effect: "works", initial: "FWKNOP_NFQ" },
  NFQ_QUEUE_NUMBER: { kind: "number", effect: "works", low: 0, high: 65535, initial: "1" },
  NFQ_LOOP_SLEEP: {
    kind: "number",
    effect: "unneeded",
    low: 0,
    high: 2147483647,
    initial: "500000",
  },
  ENABLE_FIREWD_FORWARDING: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_FIREWD_LOCAL_NAT: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_FIREWD_SNAT: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_FIREWD_OUTPUT: { kind: "flag", effect: "works", initial: "N" },
  FLUSH_FIREWD_AT_INIT: { kind: "flag", effect: "works", initial: "Y" },
  FLUSH_FIREWD_AT_EXIT: { kind: "flag", effect: "works", initial: "Y" },
  FIREWD_INPUT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "ACCEPT, filter, INPUT, 1, FWKNOP_INPUT, 1",
  },
  FIREWD_OUTPUT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "ACCEPT, filter, OUTPUT, 1, FWKNOP_OUTPUT, 1",
  },
  FIREWD_FORWARD_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "ACCEPT, filter, FORWARD, 1, FWKNOP_FORWARD, 1",
  },
  FIREWD_DNAT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "DNAT, nat, PREROUTING, 1, FWKNOP_PREROUTING, 1",
  },
  FIREWD_SNAT_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "SNAT, nat, POSTROUTING, 1, FWKNOP_POSTROUTING, 1",
  },
  FIREWD_MASQUERADE_ACCESS: {
    kind: "chain",
    effect: "works",
    initial: "MASQUERADE, nat, POSTROUTING, 1, FWKNOP_MASQUERADE, 1",
  },
  ENABLE_FIREWD_COMMENT_CHECK: { kind: "flag", effect: "works", initial: "Y" },
  FLUSH_IPFW_AT_INIT: { kind: "flag", effect: "works", initial: "Y" },
  FLUSH_IPFW_AT_EXIT: { kind: "flag", effect: "works", initial: "Y" },
  IPFW_START_RULE_NUM: { kind: "number", effect: "works", low: 0, high: 131071, initial: "10000" },
  IPFW_MAX_RULES: { kind: "number", effect: "works", low: 1, high: 131071, initial: "65535" },
  IPFW_ACTIVE_SET_NUM: { kind: "number", effect: "works", low: 0, high: 63, initial: "1" },
  IPFW_EXPIRE_SET_NUM: { kind: "number", effect: "works", low: 0, high: 63, initial: "2" },
  IPFW_EXPIRE_PURGE_INTERVAL: {
    kind: "number",
    effect: "works",
    low: 1,
    high: 131071,
    initial: "30",
  },
  IPFW_ADD_CHECK_STATE: { kind: "flag", effect: "works", initial: "N" },
  PF_ANCHOR_NAME: { kind: "text", effect: "works", initial: "fwknop" },
  PF_EXPIRE_INTERVAL: { kind: "number", effect: "useless", low: 1, high: 131071, initial: "30" },
  DIGEST_DB_FILE: { kind: "text", effect: "useless", initial: "$FWKNOP_RUN_DIR/digest_db.cache" },
  ENABLE_NAT_PORT_CHECK: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_FORWARD_DESTINATION: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_STRICT_SNAT: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_RULE_RENEWAL: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_FW_TIMEOUT_LIMIT: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_STRICT_NUMBERS: { kind: "flag", effect: "works", initial: "Y" },
  LOG_FORMAT: { kind: "log-format", effect: "works", initial: "text" },
  FIREWALL_TYPE: { kind: "firewall-type", effect: "works", initial: "iptables" },
  NFT_EXE: { kind: "text", effect: "works", initial: null },
  NFT_ATTACH: { kind: "nft-chains", effect: "works", initial: null },
  NFT_MARK: { kind: "nft-mark", effect: "works", initial: null },
  ENABLE_DEFAULT_DROP: { kind: "hidden-ports", effect: "works", initial: "N" },
  ENABLE_FIREWD_DIRECT: { kind: "flag", effect: "works", initial: "N" },
  FIREWD_ZONE: { kind: "text", effect: "works", initial: null },
  PCAP_BUFFER_SIZE: { kind: "number", effect: "works", low: 1, high: 1024, initial: "4" },
  NFQ_QUEUE_LENGTH: { kind: "number", effect: "works", low: 1, high: 1048576, initial: "4096" },
  ENABLE_STRICT_PERMISSIONS: { kind: "flag", effect: "works", initial: "Y" },
  NO_HMAC_FAIL_RATE: { kind: "number", effect: "works", low: 0, high: 1000000, initial: "5000" },
  NO_HMAC_SOURCE_FAIL_RATE: {
    kind: "number",
    effect: "works",
    low: 0,
    high: 1000000,
    initial: "50",
  },
  ENABLE_KERNEL_EXPIRY: { kind: "flag", effect: "works", initial: "Y" },
  ENABLE_IP6TABLES: { kind: "flag", effect: "works", initial: "Y" },
  IP6TABLES_EXE: { kind: "text", effect: "works", initial: null },
  ENABLE_PROC_IP_FORWARD: { kind: "flag", effect: "works", initial: "N" },
  ENABLE_IPSET: { kind: "flag", effect: "works", initial: "Y" },
  IPSET_EXE: { kind: "text", effect: "works", initial: null },
  IPSET_ABOVE_GRANTS: { kind: "number", effect: "works", low: 0, high: 1000000, initial: "500" },
  ENABLE_DOCKER: { kind: "flag", effect: "works", initial: "N" },
  PRIVSEP: { kind: "flag", effect: "works", initial: "Y" },
  PRIVSEP_USER: { kind: "text", effect: "works", initial: null },
} as const satisfies Readonly<Record<string, ServerVariable>>;

/** The name of a variable in fwknopd.conf. */
export type ServerVariableName = keyof typeof SERVER_VARIABLES;

/** All names, in the order of `--dump-config`. */
export function serverVariableNames(): ServerVariableName[] {
  return Object.keys(SERVER_VARIABLES) as ServerVariableName[];
}

/** Whether fwknopd.conf has a variable of this name; names are case-sensitive. */
export function isServerVariable(name: string): name is ServerVariableName {
  return Object.hasOwn(SERVER_VARIABLES, name);
}

/** Null for a row without a default. */
export type NotSet<Row> = Row extends { readonly initial: null } ? null : never;

/** The type of a row's value. */
export type ServerValueOf<Row extends ServerVariable> = Row["kind"] extends "flag" ? boolean
  : Row["kind"] extends "number" ? number | NotSet<Row>
  : Row["kind"] extends "chain" ? ChainSpec
  : Row["kind"] extends "facility" ? SyslogFacility
  : Row["kind"] extends "log-format" ? LogFormat
  : Row["kind"] extends "firewall-type" ? FirewallType
  : Row["kind"] extends "nft-chains" ? readonly NftChainName[] | NotSet<Row>
  : Row["kind"] extends "nft-mark" ? number | NotSet<Row>
  : Row["kind"] extends "hidden-ports" ? readonly ProtocolPort[]
  : string | NotSet<Row>;

/** The typed value of each variable. A flag that is not set is false; other variables are null. */
export type ServerConfig = {
  readonly [Name in ServerVariableName]: ServerValueOf<(typeof SERVER_VARIABLES)[Name]>;
};

/** Names that fwknop's earlier programs or the shipped comments have, and what to use today. */
export const FORMER_SERVER_NAMES: Readonly<Record<string, string>> = {
  AUTH_MODE: "set ENABLE_UDP_SERVER for a UDP socket; without it packets are sniffed",
  BLACKLIST: "list the allowed addresses in SOURCE of access.conf",
  ENABLE_COMMENT_MATCH_CHECK: "use ENABLE_IPT_COMMENT_CHECK",
  ENABLE_EXTERNAL_CMDS: "use CMD_CYCLE_OPEN and CMD_CYCLE_CLOSE in access.conf",
  ENABLE_EXT_CMD_PREFIX: "use CMD_CYCLE_OPEN and CMD_CYCLE_CLOSE in access.conf",
  EXTERNAL_CMD_ALARM: "use CMD_CYCLE_TIMER in access.conf",
  EXTERNAL_CMD_CLOSE: "use CMD_CYCLE_CLOSE in access.conf",
  EXTERNAL_CMD_OPEN: "use CMD_CYCLE_OPEN in access.conf",
  EXT_CMD_PREFIX: "use CMD_CYCLE_OPEN and CMD_CYCLE_CLOSE in access.conf",
  GPG_DEFAULT_HOME_DIR: "use GPG_HOME_DIR",
  IPFW_RULE_NUM: "use IPFW_START_RULE_NUM",
  MIN_SPA_PKT_LEN: "the shortest packet is fixed; leave the variable out",
  PCAP_PKT_FILE: "use PCAP_FILE",
};
