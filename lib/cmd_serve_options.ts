// The options of `spa serve`: fwknopd's names and letters, and which variable each one sets.

import type { FoundOption, OptionSpec } from "./cmd_getopt.ts";
import type { ServerVariableName } from "./conf_fwknopd_variables.ts";

/** What an option stands for besides what {@linkcode OptionSpec} says. */
export interface ServeOption extends OptionSpec {
  /** The variable of fwknopd.conf that it sets: to its argument, or to Y. */
  readonly sets?: ServerVariableName;
  /** Accepted for fwknopd's sake, but part of a later release. */
  readonly later?: true;
}

const CONFIGURATION = "Configuration";
const RUNNING = "Running";
const CAPTURE = "Capture";
const FIREWALL = "Firewall";
const DAEMON = "The running daemon";
const KEYS = "Keys";
const INFORMATION = "Information";

/** Every option of fwknopd 2.6, and our own; the help text is made of this table. */
export const SERVE_OPTIONS: readonly ServeOption[] = [
  {
    long: "config-file",
    short: "c",
    argument: "FILE",
    help: "server configuration (default /etc/fwknop/fwknopd.conf)",
    group: CONFIGURATION,
  },
  {
    long: "override-config",
    short: "O",
    argument: "FILE,...",
    help: "further configuration files whose values win",
    group: CONFIGURATION,
  },
  {
    long: "access-file",
    short: "a",
    argument: "FILE",
    help: "access stanzas (default /etc/fwknop/access.conf)",
    group: CONFIGURATION,
    sets: "ACCESS_FILE",
  },
  {
    long: "access-folder",
    argument: "DIRECTORY",
    help: "read every .conf file there as access stanzas",
    group: CONFIGURATION,
    sets: "ACCESS_FOLDER",
  },
  {
    long: "run-dir",
    short: "r",
    argument: "DIRECTORY",
    help: "directory of the pid file and the digest cache",
    group: CONFIGURATION,
    sets: "FWKNOP_RUN_DIR",
  },
  {
    long: "pid-file",
    short: "p",
    argument: "FILE",
    help: "file that a running daemon locks",
    group: CONFIGURATION,
    sets: "FWKNOP_PID_FILE",
  },
  {
    long: "digest-file",
    short: "d",
    argument: "FILE",
    help: "digests of the packets accepted so far",
    group: CONFIGURATION,
    sets: "DIGEST_FILE",
  },
  {
    long: "locale",
    short: "l",
    argument: "NAME",
    help: "accepted; messages are the same in every locale",
    group: CONFIGURATION,
    sets: "LOCALE",
  },
  {
    long: "gpg-home-dir",
    argument: "DIRECTORY",
    help: "GnuPG's directory for stanzas that name none",
    group: CONFIGURATION,
    sets: "GPG_HOME_DIR",
  },
  {
    long: "gpg-exe",
    argument: "FILE",
    help: "the gpg program for stanzas that name none",
    group: CONFIGURATION,
    sets: "GPG_EXE",
  },
  {
    long: "sudo-exe",
    argument: "FILE",
    help: "the sudo program",
    group: CONFIGURATION,
    sets: "SUDO_EXE",
  },
  {
    long: "foreground",
    short: "f",
    help: "stay in the foreground and log to standard error",
    group: RUNNING,
  },
  {
    long: "syslog-enable",
    help: "with -f, log to the system logger as well",
    group: RUNNING,
  },
  {
    long: "log-format",
    argument: "FORMAT",
    help: "text, or json for one object a line",
    group: RUNNING,
    sets: "LOG_FORMAT",
    own: true,
  },
  { long: "verbose", short: "v", help: "say more; repeat for still more", group: RUNNING },
  {
    long: "test",
    short: "t",
    help: "judge packets, but change no firewall and remember nothing",
    group: RUNNING,
  },
  {
    long: "packet-limit",
    short: "C",
    argument: "NUMBER",
    help: "stop after this many packets",
    group: RUNNING,
  },
  {
    long: "rotate-digest-cache",
    help: "start with an empty digest cache; the old one gets the suffix -old",
    group: RUNNING,
  },
  {
    long: "interface",
    short: "i",
    argument: "NAME",
    help: "interface to sniff on",
    group: CAPTURE,
    sets: "PCAP_INTF",
  },
  {
    long: "pcap-filter",
    short: "P",
    argument: "EXPRESSION",
    help: "which packets to look at, see pcap-filter(7)",
    group: CAPTURE,
    sets: "PCAP_FILTER",
  },
  {
    long: "pcap-any-direction",
    help: "also look at packets that this host sends",
    group: CAPTURE,
  },
  {
    long: "udp-server",
    short: "U",
    help: "receive on a UDP socket instead of sniffing",
    group: CAPTURE,
    sets: "ENABLE_UDP_SERVER",
  },
  {
    long: "pcap-file",
    argument: "FILE",
    help: "read packets from a capture file",
    group: CAPTURE,
    sets: "PCAP_FILE",
  },
  {
    long: "nfq-capture",
    short: "n",
    help: "receive from a netfilter queue",
    group: CAPTURE,
    sets: "ENABLE_NFQ_CAPTURE",
  },
  {
    long: "afl-fuzzing",
    short: "A",
    help: "read packets from standard input, one a line",
    group: CAPTURE,
  },
  {
    long: "afl-pkt-file",
    argument: "FILE",
    help: "read a packet from a file",
    group: CAPTURE,
    later: true,
    hidden: true,
  },
  {
    long: "fault-injection-tag",
    argument: "TAG",
    help: "only in fwknop's test builds",
    group: CAPTURE,
    later: true,
    hidden: true,
  },
  { long: "fw-list", help: "list the rules in the fwknop chains", group: FIREWALL },
  { long: "fw-list-all", help: "list all rules in their tables", group: FIREWALL },
  { long: "fw-flush", help: "remove the fwknop chains and their rules", group: FIREWALL },
  {
    long: "no-ipt-check-support",
    help: "accepted; no live probe is made here",
    group: FIREWALL,
  },
  {
    long: "no-firewd-check-support",
    help: "accepted; no live probe is made here",
    group: FIREWALL,
    hidden: true,
  },
  { long: "status", short: "S", help: "tell whether a daemon is running", group: DAEMON },
  { long: "kill", short: "K", help: "end the running daemon", group: DAEMON },
  {
    long: "restart",
    short: "R",
    help: "have the running daemon read its files again",
    group: DAEMON,
  },
  { long: "key-gen", help: "print new keys", group: KEYS },
  { long: "key-gen-file", argument: "FILE", help: "write new keys there", group: KEYS },
  { long: "key-len", argument: "BYTES", help: "length of the encryption key", group: KEYS },
  { long: "hmac-key-len", argument: "BYTES", help: "length of the HMAC key", group: KEYS },
  {
    long: "hmac-digest-type",
    argument: "NAME",
    help: "digest the HMAC key is for",
    group: KEYS,
  },
  {
    long: "dump-config",
    short: "D",
    help: "print configuration and stanzas without their keys",
    group: INFORMATION,
  },
  {
    long: "exit-parse-config",
    help: "check the configuration and stop",
    group: INFORMATION,
  },
  {
    long: "exit-parse-digest-cache",
    help: "check the digest cache and stop",
    group: INFORMATION,
  },
  {
    long: "dump-serv-err-codes",
    help: "list the server's error codes",
    group: INFORMATION,
  },
  { long: "version", short: "V", help: "print the version", group: INFORMATION },
  { long: "help", short: "h", help: "print this text", group: INFORMATION },
];

/** A command line of `spa serve` by the names of its options. */
export interface ServeArguments {
  has(name: string): boolean;
  /** How often it was given. */
  count(name: string): number;
  /** The last value given, or null. */
  value(name: string): string | null;
  /** The variables of fwknopd.conf that the command line sets. */
  readonly variables: Readonly<Partial<Record<ServerVariableName, string>>>;
}

/** Sorts what was found on the command line. */
export function readServeOptions(found: readonly FoundOption[]): ServeArguments {
  const byName = new Map(SERVE_OPTIONS.map((option) => [option.long, option]));
  const variables: Partial<Record<ServerVariableName, string>> = {};
  for (const { name, value } of found) {
    const variable = byName.get(name)?.sets;
    if (variable !== undefined) variables[variable] = value ?? "Y";
  }
  return {
    has: (name) => found.some((option) => option.name === name),
    count: (name) => found.filter((option) => option.name === name).length,
    value: (name) => found.findLast((option) => option.name === name)?.value ?? null,
    variables,
  };
}
