// How the settings of a knock work together: which source wins, which combinations make no sense.

import type { Complaint } from "./cmd_ui.ts";
import { EXIT } from "./cmd_ui.ts";
import type { RcSettings, TransportName } from "./conf_fwknoprc_variables.ts";
import { type KnockSettings, parseDestination } from "./cmd_knock_values.ts";

/** The port of SPA, for every transport. */
export const DEFAULT_PORT = 62201;

const RAW_TRANSPORTS: readonly TransportName[] = ["udpraw", "tcpraw", "icmp"];

/** Whether a transport makes its own IP packets, which takes root. */
export function isRawTransport(transport: TransportName): boolean {
  return RAW_TRANSPORTS.includes(transport);
}

/**
 * Lays the command line over .fwknoprc. By fwknop's rules VERBOSE of the file replaces `-v`, and
 * kinds of keys are ranked whatever their source, so all of them are kept here.
 */
export function mergeSettings(rc: RcSettings, line: KnockSettings): KnockSettings {
  const merged = { ...rc, ...line };
  return rc.verbose === undefined ? merged : { ...merged, verbose: rc.verbose };
}

type KeyKind = readonly [setting: keyof KnockSettings, variable: string];

/** The kinds of each key, first the one that beats the others. */
const KEY_KINDS: readonly (readonly [what: string, kinds: readonly KeyKind[]])[] = [
  ["encryption key", [
    ["key", "KEY"],
    ["keyBase64", "KEY_BASE64"],
    ["keyFile", "KEY_FILE"],
    ["keyCommand", "KEY_COMMAND"],
    ["keyDescriptor", ""],
  ]],
  ["HMAC key", [
    ["hmacKey", "HMAC_KEY"],
    ["hmacKeyBase64", "HMAC_KEY_BASE64"],
    ["hmacKeyFile", "HMAC_KEY_FILE"],
    ["hmacKeyCommand", "HMAC_KEY_COMMAND"],
  ]],
];

function firstGiven(kinds: readonly KeyKind[], settings: KnockSettings): number {
  return kinds.findIndex(([setting]) => settings[setting] !== undefined);
}

/** What a merge settled otherwise than the command line reads; one warning each. */
export function describeOverrides(rc: RcSettings, line: KnockSettings): string[] {
  const overrides: string[] = [];
  if (line.resolveIp && line.allowIp === undefined && rc.allowIp !== undefined) {
    overrides.push(`-R is not used, since .fwknoprc sets ALLOW_IP ${rc.allowIp}`);
  }
  for (const [what, kinds] of KEY_KINDS) {
    const winner = firstGiven(kinds, rc);
    const wanted = firstGiven(kinds, line);
    if (wanted >= 0 && winner >= 0 && winner < wanted) {
      const [, variable] = kinds[winner] ?? [];
      overrides.push(`the ${what} of the command line is not used: .fwknoprc sets ${variable}`);
    }
  }
  if (line.timeOffsetPlus !== undefined && rc.timeOffsetMinus !== undefined) {
    overrides.push("--time-offset-plus is not used, since .fwknoprc sets a negative TIME_OFFSET");
  }
  return overrides;
}

/** What makes no sense without an rc file, or null. */
export function checkNoRcFile(line: KnockSettings): Complaint | null {
  if (!line.noRcFile) return null;
  if (line.saveStanza) return misused("Cannot save an rc stanza in --no-rc-file mode.");
  if (line.stanza !== undefined) return misused("Cannot set stanza name in --no-rc-file mode.");
  if (line.listStanzas) return misused("Cannot list stanzas in --no-rc-file mode.");
  return null;
}

/** Whether these settings ask for a packet to be made for the network. */
function isForSending(settings: KnockSettings): boolean {
  const { test, generateKeys, version, showLast, lastCommand } = settings;
  return !(test || generateKeys || version || showLast || lastCommand);
}

/** The first thing that is missing or contradicts itself, in fwknop's order and words, or null. */
export function checkSettings(settings: KnockSettings): Complaint | null {
  const transport = settings.transport ?? "udp";
  if (settings.server === undefined && (isForSending(settings) || needsStanzaName(settings))) {
    return misused(
      "Must use --destination unless --test mode is used",
      "spa knock -A tcp/22 -a ADDRESS -D GATEWAY, or spa knock -n STANZA; " +
        "--stanza-list shows the stanzas",
    );
  }
  const destination = settings.server === undefined ? null : parseDestination(settings.server);
  if (destination?.ok === false) return destination.complaint;
  if (
    isForSending(settings) && settings.allowIp === undefined && !settings.resolveIp &&
    !asksForAddress(settings)
  ) {
    return misused(
      "Must use one of [-s|-R|-a] to specify IP for SPA access.",
      "-a ADDRESS names it, -R asks a web service, -s leaves it to the gateway",
    );
  }
  if (settings.spoofSource !== undefined && !isRawTransport(transport)) {
    return misused("Must set -P <udpraw|tcpraw|icmp> with a spoofed source IP");
  }
  if (settings.httpProxy !== undefined && transport !== "http") {
    return misused("Cannot set --http-proxy with a non-HTTP protocol.");
  }
  if (settings.useGpg && settings.gpgRecipient === undefined) {
    return misused("Must specify --gpg-recipient-key when GPG is used.");
  }
  if (settings.encryptionMode === "Asymmetric" && !settings.useGpg) {
    return misused(
      "Must specify GPG recipient/signing keys when Asymmetric encryption mode is used.",
    );
  }
  if (settings.encryptionMode === "legacy" && settings.useHmac) {
    return misused("Legacy encryption mode is incompatible with HMAC usage.");
  }
  return null;
}

/** Whether a web service is to be asked for the address to allow. */
export function asksForAddress(settings: KnockSettings): boolean {
  if (settings.allowIp !== undefined || settings.serverCommand !== undefined) return false;
  const urlCounts = settings.resolveUrl !== undefined && !settings.test;
  return settings.resolveIp === true || urlCounts;
}

function needsStanzaName(settings: KnockSettings): boolean {
  return settings.saveStanza === true && settings.stanza === undefined;
}

function misused(text: string, hint?: string): Complaint {
  return { text, status: EXIT.usage, ...(hint === undefined ? {} : { hint }) };
}
