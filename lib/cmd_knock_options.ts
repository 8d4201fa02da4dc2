// The options of `spa knock`: one table for the parser, the help text and the meaning of values.
// Names and letters are fwknop's; how settings work together is in cmd_knock_settings.ts.

import type { FoundOption, OptionSpec } from "./cmd_getopt.ts";
import { done, misuse, type Outcome } from "./cmd_ui.ts";
import * as value from "./cmd_knock_values.ts";
import type { KnockSettings, ReadValue } from "./cmd_knock_values.ts";

/** An option and what it sets. */
export interface KnockOption extends OptionSpec {
  readonly read: ReadValue;
}

/** What the options on a command line set; repeated ones override, `-v` is counted. */
export function readKnockOptions(found: readonly FoundOption[]): Outcome<KnockSettings> {
  let settings: KnockSettings = {};
  for (const { name, value: argument } of found) {
    const option = KNOCK_OPTIONS.find((known) => known.long === name);
    const read = option?.read(argument ?? "");
    if (read === undefined) continue;
    if (!read.ok) return read;
    const verbose = (settings.verbose ?? 0) + (read.value.verbose ?? 0);
    settings = { ...settings, ...read.value, ...(verbose > 0 ? { verbose } : {}) };
  }
  return done(settings);
}

const { raise, text, number } = value;
/** Unknown to fwknop. */
const OWN = { own: true } as const;
const DIGESTS = "md5, sha1, sha256, sha384, sha512, sha3_256 or sha3_512";

/** Every option, in the order of the help. */
export const KNOCK_OPTIONS: readonly KnockOption[] = [
  ...group("Request", [
    option(
      "-D, --destination HOST[:PORT]",
      "gateway to knock at, a name or an address",
      text((server) => ({ server })),
    ),
    option(
      "-A, --access PORTS",
      "what to open, such as tcp/22 or tcp/80,udp/53",
      text((access) => ({ access })),
    ),
    option(
      "-a, --allow-ip ADDRESS",
      "address to open it for; fwknopd knows IPv4 only",
      value.allowIp,
    ),
    option(
      "-s, --source-ip",
      "open it for the address that the gateway sees; weaker than -a and -R",
      raise({ allowIp: "0.0.0.0" }),
    ),
    option(
      "-R, --resolve-ip-https",
      "ask a web service for the address to open it for",
      raise({ resolveIp: true }),
      { aliases: ["resolve-ip-http"], oldNames: ["Resolve-external-IP", "whatismyip"] },
    ),
    option(
      "--resolve-http-only",
      "ask over plain HTTP, which can be tampered with",
      raise({ resolveHttpOnly: true, resolveIp: true }),
    ),
    option("--resolve-url URL", "the web service to ask", text((resolveUrl) => ({ resolveUrl }))),
    option(
      "-w, --wget-cmd COMMAND",
      "ask by running this wget",
      text((wgetCommand) => ({ wgetCommand })),
    ),
    option(
      "-u, --user-agent TEXT",
      "User-Agent of HTTP requests",
      text((userAgent) => ({ userAgent })),
      { oldNames: ["HTTP-user-agent"] },
    ),
    option(
      "--use-wget-user-agent",
      "leave the User-Agent to wget",
      raise({ useWgetUserAgent: true }),
    ),
    option(
      "-f, --fw-timeout TIME",
      "how long to open it: seconds, 10m, 1h (default: the gateway's choice)",
      value.accessTimeout,
    ),
    option(
      "-C, --server-cmd COMMAND",
      "have the gateway run a command instead",
      text((serverCommand) => ({ serverCommand })),
    ),
    option(
      "-U, --spoof-user NAME",
      "user name in the packet (default: yours)",
      text((spoofUser) => spoofUser === "" ? {} : { spoofUser }),
    ),
    option(
      "--time-offset-plus TIME",
      "add to the packet's time stamp: seconds, 10m, 2h, 1d",
      value.timeOffset((timeOffsetPlus) => ({ timeOffsetPlus })),
    ),
    option(
      "--time-offset-minus TIME",
      "subtract from it; beats --time-offset-plus",
      value.timeOffset((timeOffsetMinus) => ({ timeOffsetMinus })),
    ),
  ]),

  ...group("NAT", [
    option(
      "-N, --nat-access HOST[:PORT]",
      "reach this host behind the gateway",
      text((natAccess) => ({ natAccess })),
      { oldNames: ["Forward-access"] },
    ),
    option(
      "--nat-local",
      "reach a service on the gateway itself by another port",
      raise({ natLocal: true }),
    ),
    option(
      "--nat-port PORT",
      "port of the gateway to connect to",
      number(0, 65535, (natPort) => ({ natPort })),
    ),
    option("--nat-rand-port", "choose that port at random", raise({ natRandomPort: true })),
  ]),

  ...group("Transport", [
    option(
      "-P, --server-proto PROTOCOL",
      "udp (default), tcp, http, udpraw, tcpraw or icmp",
      value.transport,
    ),
    option(
      "-p, --server-port PORT",
      "port to knock at (default 62201)",
      number(0, 65535, (port) => ({ port })),
    ),
    option("-r, --rand-port", "knock at a random port", raise({ randomPort: true })),
    option(
      "-S, --source-port PORT",
      "port to send from",
      number(0, 65535, (sourcePort) => ({ sourcePort })),
    ),
    option(
      "-Q, --spoof-source HOST",
      "source address of a raw packet, or a name for it",
      value.spoofSource,
      { aliases: ["spoof-src"] },
    ),
    option(
      "-H, --http-proxy HOST[:PORT]",
      "send an HTTP packet through this proxy",
      text((httpProxy) => ({ httpProxy, transport: "http" })),
    ),
    option(
      "--icmp-type TYPE",
      "type of an ICMP packet (default 0)",
      number(
        0,
        40,
        (icmpType) => ({ icmpType }),
        (type) => `Invalid icmp type '${type}', must be in [0-40]`,
      ),
    ),
    option(
      "--icmp-code CODE",
      "code of an ICMP packet (default 0)",
      number(
        0,
        15,
        (icmpCode) => ({ icmpCode }),
        (code) => `Invalid icmp code '${code}', must be in [0-15]`,
      ),
    ),
    option("--server-resolve-ipv4", "the same as -4", raise({ serverResolveIpv4: true })),
    option("-4, --ipv4", "reach the gateway over IPv4 only", raise({ family: "ipv4" }), OWN),
    option("-6, --ipv6", "reach the gateway over IPv6 only", raise({ family: "ipv6" }), OWN),
    option(
      "--timeout TIME",
      "give up connections after this time (default 10s)",
      value.networkTimeout,
      OWN,
    ),
    option(
      "--wait",
      "wait until the TCP ports asked for are open, at most for --timeout",
      raise({ wait: true }),
      OWN,
    ),
    option("--TCP-sock", "-P tcp", raise({ transport: "tcp" }), { ...OWN, hidden: true }),
  ]),

  ...group("Keys and encryption", [
    option(
      "--key-rijndael PASSPHRASE",
      "encryption key; visible in process lists",
      text((key) => ({ key })),
    ),
    option(
      "--key-base64-rijndael BASE64",
      "the same in base64",
      value.base64("Rijndael", (keyBase64) => ({ keyBase64 })),
    ),
    option(
      "--key-hmac PASSPHRASE",
      "HMAC key; visible in process lists",
      text((hmacKey) => ({ hmacKey, useHmac: true })),
    ),
    option(
      "--key-base64-hmac BASE64",
      "the same in base64",
      value.base64("HMAC", (hmacKeyBase64) => ({ hmacKeyBase64, useHmac: true })),
    ),
    option(
      "-G, --get-key FILE",
      "take the encryption key from the line 'HOST: KEY' of a file",
      text((keyFile) => ({ keyFile })),
    ),
    option(
      "--get-hmac-key FILE",
      "take the HMAC key from such a file",
      text((hmacKeyFile) => ({ hmacKeyFile, useHmac: true })),
    ),
    option(
      "--stdin",
      "read the keys from standard input, one a line",
      raise({ keyDescriptor: 0 }),
    ),
    option(
      "--fd NUMBER",
      "read the keys from a file descriptor, one a line",
      number(0, 2147483647, (keyDescriptor) => ({ keyDescriptor })),
    ),
    option("--use-hmac", "authenticate the packet with an HMAC", raise({ useHmac: true })),
    option(
      "--hmac-digest-type DIGEST",
      `digest of the HMAC: ${DIGESTS} (default sha256)`,
      value.digest("hmac digest", (hmacDigestType) => ({ hmacDigestType, useHmac: true })),
    ),
    option(
      "-m, --digest-type DIGEST",
      "digest of the message, likewise",
      value.digest("digest", (digestType) => ({ digestType })),
      { oldNames: ["digest-alg"] },
    ),
    option(
      "-M, --encryption-mode MODE",
      "CBC (default), ECB, CFB, OFB, CTR, legacy or Asymmetric",
      value.encryptionMode,
    ),
    option(
      "-k, --key-gen",
      "print a new pair of keys instead of knocking",
      raise({ generateKeys: true }),
    ),
    option(
      "-K, --key-gen-file FILE",
      "write a new pair of keys to a file",
      text((keyGenFile) => ({ keyGenFile, generateKeys: true })),
    ),
    option(
      "--key-len BYTES",
      "length of a new encryption key (default 32)",
      number(
        1,
        32,
        (keyLength) => ({ keyLength }),
        (length) => `Invalid key length '${length}', must be in [1-32]`,
      ),
    ),
    option(
      "--hmac-key-len BYTES",
      "length of a new HMAC key",
      number(
        1,
        128,
        (hmacKeyLength) => ({ hmacKeyLength, useHmac: true }),
        (length) => `Invalid hmac key length '${length}', must be in [1-128]`,
      ),
    ),
  ]),

  ...group("GnuPG", [
    option("-g, --gpg-encryption", "encrypt with GnuPG", raise({ useGpg: true })),
    option(
      "--gpg-recipient-key KEY",
      "the gateway's key",
      text((gpgRecipient) => ({ gpgRecipient, useGpg: true })),
    ),
    option(
      "--gpg-signer-key KEY",
      "your key",
      text((gpgSigner) => ({ gpgSigner, useGpg: true })),
    ),
    option(
      "--gpg-home-dir DIRECTORY",
      "GnuPG's home",
      text((path) => ({ gpgHomeDirectory: path.replace(/(.)\/$/, "$1"), useGpg: true })),
    ),
    option(
      "--gpg-exe FILE",
      "the gpg program",
      text((gpgProgram) => ({ gpgProgram, useGpg: true })),
      { oldNames: ["gpg-path"] },
    ),
    option(
      "--gpg-agent",
      "leave the passphrase to gpg-agent",
      raise({ useGpgAgent: true, useGpg: true }),
    ),
    option(
      "--gpg-no-signing-pw",
      "your key has no passphrase",
      raise({ gpgNoSigningPassword: true, useGpg: true }),
    ),
  ]),

  ...group("Configuration and history", [
    option(
      "-n, --named-config STANZA",
      "use this stanza of .fwknoprc",
      text((stanza) => ({ stanza })),
    ),
    option(
      "--rc-file FILE",
      "use this file instead of ~/.fwknoprc",
      text((rcFile) => ({ rcFile })),
      { oldNames: ["User-rc"] },
    ),
    option("--no-rc-file", "use no such file", raise({ noRcFile: true })),
    option(
      "--no-home-dir",
      "look for nothing in the home directory",
      raise({ noHomeDirectory: true }),
    ),
    option(
      "--save-rc-stanza",
      "write the options given to the stanza, then knock",
      raise({ saveStanza: true }),
    ),
    option(
      "--force-stanza",
      "let --save-rc-stanza replace keys without asking",
      raise({ forceStanza: true }),
    ),
    option("--stanza-list", "list the stanzas", raise({ listStanzas: true })),
    option("-l, --last-cmd", "knock as last time", raise({ lastCommand: true })),
    option("--show-last", "show the last command line", raise({ showLast: true }), {
      oldNames: ["Show-last-cmd"],
    }),
    option(
      "-E, --save-args-file FILE",
      "keep the command line here instead of in ~/.fwknop.run",
      text((argsFile) => ({ argsFile })),
    ),
    option("--no-save-args", "do not keep the command line", raise({ noSaveArgs: true })),
  ]),

  ...group("Output", [
    option(
      "-B, --save-packet FILE",
      "write the packet to a file as well",
      text((savePacket) => ({ savePacket })),
      { oldNames: ["Save-packet-file"] },
    ),
    option("-b, --save-packet-append", "append it there", raise({ appendPacket: true })),
    option(
      "-T, --test",
      "make the packet and show it, but send nothing",
      raise({ test: true }),
      { oldNames: ["Test-mode"] },
    ),
    option(
      "-v, --verbose",
      "show the packet's fields; given twice, show more",
      raise({ verbose: 1 }),
    ),
    option("-q, --quiet", "no confirmation and no warnings", raise({ quiet: true }), OWN),
    option("--json", "print results as JSON", raise({ json: true }), OWN),
    option("-V, --version", "print the version", raise({ version: true })),
    option("-h, --help", "print this help", raise({ help: true })),
    option(
      "--fault-injection-tag TAG",
      "known to fwknop's test builds",
      () => misuse("not compiled with fault injection support"),
      { hidden: true },
    ),
  ]),
];

type Entry = Omit<KnockOption, "group">;

function group(name: string, entries: readonly Entry[]): KnockOption[] {
  return entries.map((entry) => ({ ...entry, group: name }));
}

/** @param flags as the help shows them: `-D, --destination HOST` */
function option(
  flags: string,
  help: string,
  read: ReadValue,
  more: Pick<OptionSpec, "aliases" | "oldNames" | "own" | "hidden"> = {},
): Entry {
  const [, short, long = "", argument] = /^(?:-(.), )?--(\S+)(?: (\S+))?$/.exec(flags) ?? [];
  return {
    long,
    help,
    read,
    ...(short === undefined ? {} : { short }),
    ...(argument === undefined ? {} : { argument }),
    ...more,
  };
}
