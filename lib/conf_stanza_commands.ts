// What a stanza says about commands and NAT.

import type { ServerConfig } from "./conf_fwknopd_variables.ts";
import { translatesIpv6 } from "./conf_snat.ts";
import type { GroupAccount, Stanza, UserAccount } from "./conf_stanza.ts";
import type { AccessLookups, StanzaReader } from "./conf_stanza_reader.ts";
import {
  parseCommand,
  parseNatAddress,
  parseNatTarget,
  parseSeconds,
} from "./conf_stanza_values.ts";
import { ipFromValue } from "./net_address.ts";
import { failed } from "./net_list.ts";

/**
 * Command messages, and the commands that open and close in place of the firewall.
 *
 * @param longest the stanza's MAX_FW_TIMEOUT; where it is set, it limits CMD_CYCLE_TIMER
 */
export function readCommands(
  reader: StanzaReader,
  longest: number,
  config: ServerConfig,
  lookups: AccessLookups,
): Pick<
  Stanza,
  | "ENABLE_CMD_EXEC"
  | "ENABLE_CMD_SUDO_EXEC"
  | "CMD_EXEC_USER"
  | "CMD_EXEC_GROUP"
  | "CMD_SUDO_EXEC_USER"
  | "CMD_SUDO_EXEC_GROUP"
  | "CMD_CYCLE_OPEN"
  | "CMD_CYCLE_CLOSE"
  | "CMD_CYCLE_TIMER"
> {
  const command = (name: "CMD_CYCLE_OPEN" | "CMD_CYCLE_CLOSE"): string | null =>
    reader.read(
      name,
      (value) => parseCommand(value, `${name} command is too long: '${reader.title}'`),
    );
  const CMD_CYCLE_CLOSE = command("CMD_CYCLE_CLOSE");
  checkCycle(reader);
  checkFirewallNeeded(reader, config);
  noteGroup(reader, lookups);
  return {
    ENABLE_CMD_EXEC: reader.flag("ENABLE_CMD_EXEC"),
    ENABLE_CMD_SUDO_EXEC: reader.flag("ENABLE_CMD_SUDO_EXEC"),
    CMD_EXEC_USER: readUser(reader, "CMD_EXEC_USER", lookups),
    CMD_EXEC_GROUP: readGroup(reader, "CMD_EXEC_GROUP", lookups),
    CMD_SUDO_EXEC_USER: readUser(reader, "CMD_SUDO_EXEC_USER", lookups),
    CMD_SUDO_EXEC_GROUP: readGroup(reader, "CMD_SUDO_EXEC_GROUP", lookups),
    CMD_CYCLE_OPEN: command("CMD_CYCLE_OPEN"),
    CMD_CYCLE_CLOSE: CMD_CYCLE_CLOSE === "NONE" ? null : CMD_CYCLE_CLOSE,
    CMD_CYCLE_TIMER: readTimer(reader, config.ENABLE_FW_TIMEOUT_LIMIT ? longest : Infinity),
  };
}

/** Without a firewall, a stanza has commands: its own pair, or those that clients send. */
function checkFirewallNeeded(reader: StanzaReader, config: ServerConfig): void {
  if (config.FIREWALL_TYPE !== "command" || reader.settings.has("CMD_CYCLE_OPEN")) return;
  if (reader.flag("ENABLE_CMD_EXEC")) return;
  reader.fail(
    reader.source,
    `FIREWALL_TYPE command opens no ports, and this stanza has no commands ${reader.endTag}`,
    "give it CMD_CYCLE_OPEN and CMD_CYCLE_CLOSE, or choose a firewall",
  );
}

/** Forced translation of addresses, and what it requires of the stanza and of fwknopd.conf. */
export function readNat(
  reader: StanzaReader,
  config: ServerConfig,
): Pick<
  Stanza,
  "FORCE_NAT" | "FORCE_SNAT" | "FORCE_MASQUERADE" | "FORWARD_ALL" | "DISABLE_DNAT"
> {
  const forwards = config.ENABLE_IPT_FORWARDING || config.ENABLE_IPT_LOCAL_NAT ||
    config.ENABLE_FIREWD_FORWARDING || config.ENABLE_FIREWD_LOCAL_NAT;
  const own = config.FIREWALL_TYPE === "firewalld" ? "ENABLE_FIREWD" : "ENABLE_IPT";
  for (const name of ["FORCE_NAT", "FORCE_SNAT"] as const) {
    const setting = reader.settings.get(name);
    if (setting === undefined || forwards) continue;
    const needs = `requires either ${own}_FORWARDING or ${own}_LOCAL_NAT in fwknopd.conf`;
    reader.fail(
      setting,
      `${name} ${needs}`,
      `set ${own}_FORWARDING Y in ${config.CONFIG_FILE}`,
    );
  }
  const { FIREWALL_TYPE: type } = config;
  const ipv6 = translatesIpv6(config);
  const FORCE_SNAT = reader.read("FORCE_SNAT", (text) => parseNatAddress(text, ipv6));
  const FORCE_MASQUERADE = reader.flag("FORCE_MASQUERADE");
  const FORWARD_ALL = reader.flag("FORWARD_ALL");
  const DISABLE_DNAT = reader.flag("DISABLE_DNAT");
  const target = reader.read("FORCE_NAT", (text) => parseNatTarget(text, ipv6));
  const setting = reader.settings.get("FORCE_NAT");
  if (setting !== undefined && forwards && !config.ENABLE_IPT_FORWARDING && type === "nftables") {
    const message = "FORCE_NAT answers only requests for local NAT, as nftables forwards nothing";
    reader.warn(setting, message, `set ENABLE_IPT_FORWARDING Y in ${config.CONFIG_FILE}`);
  }
  const translatesSource = FORCE_SNAT !== null || FORCE_MASQUERADE;
  const implied = translatesSource && !reader.settings.has("FORCE_NAT");
  if (implied && !FORWARD_ALL) {
    const message = "FORCE_SNAT/FORCE_MASQUERADE requires either FORCE_NAT or FORWARD_ALL";
    const setting = reader.latest("FORCE_SNAT", "FORCE_MASQUERADE") ?? reader.source;
    reader.fail(setting, `${message}: '${reader.title}'`);
  } else if (translatesSource) {
    checkSourceTranslation(reader, config, forwards, implied && !DISABLE_DNAT);
  }
  const FORCE_NAT = implied ? { address: ipFromValue(4, 0n), port: 0 } : target;
  return { FORCE_NAT, FORCE_SNAT, FORCE_MASQUERADE, FORWARD_ALL, DISABLE_DNAT };
}

/**
 * What fwknopd accepts although it cannot work: source translation without chains for it, and
 * destinations translated to no address. ENABLE_STRICT_SNAT N makes warnings of these errors.
 *
 * @param leadsNowhere whether destinations are translated although nothing says where to
 */
function checkSourceTranslation(
  reader: StanzaReader,
  config: ServerConfig,
  forwards: boolean,
  leadsNowhere: boolean,
): void {
  const report = config.ENABLE_STRICT_SNAT ? reader.fail : reader.warn;
  const { settings } = reader;
  const setting = settings.get("FORCE_SNAT") ?? settings.get("FORCE_MASQUERADE") ?? reader.source;
  const { CONFIG_FILE: file } = config;
  if (!config.ENABLE_IPT_SNAT && !config.ENABLE_FIREWD_SNAT) {
    const message = `${setting.name} requires ENABLE_IPT_SNAT in fwknopd.conf`;
    report(setting, `${message}: '${reader.title}'`, `set ENABLE_IPT_SNAT Y in ${file}`);
  } else if (!forwards && setting.name === "FORCE_MASQUERADE") {
    const message =
      "FORCE_MASQUERADE requires either ENABLE_IPT_FORWARDING or ENABLE_IPT_LOCAL_NAT";
    report(setting, `${message} in fwknopd.conf`, `set ENABLE_IPT_FORWARDING Y in ${file}`);
  }
  if (leadsNowhere) {
    const message = `FORWARD_ALL and ${setting.name} without FORCE_NAT require DISABLE_DNAT`;
    report(setting, `${message}: '${reader.title}'`, "set DISABLE_DNAT Y in this stanza");
  }
}

function checkCycle(reader: StanzaReader): void {
  const { settings, title } = reader;
  const open = settings.get("CMD_CYCLE_OPEN");
  const close = settings.get("CMD_CYCLE_CLOSE");
  if (open !== undefined && close === undefined) {
    const message = `Cannot set CMD_CYCLE_OPEN without also setting CMD_CYCLE_CLOSE: '${title}'`;
    reader.fail(open, message, "write CMD_CYCLE_CLOSE NONE if nothing is to run");
  }
  if (close !== undefined && open === undefined) {
    const message = `Cannot set CMD_CYCLE_CLOSE without also setting CMD_CYCLE_OPEN: '${title}'`;
    reader.fail(close, message);
  }
  const closes = close !== undefined && close.value !== "NONE";
  if (open !== undefined && closes && !settings.has("CMD_CYCLE_TIMER")) {
    const message = `Must set the CMD_CYCLE_TIMER for command cycle functionality: '${title}'`;
    reader.fail(open, message, "write after how many seconds CMD_CYCLE_CLOSE is to run");
  }
}

function readTimer(reader: StanzaReader, longest: number): number | null {
  const outside = "CMD_CYCLE_TIMER value not in range [1,8388608]";
  const seconds = reader.read("CMD_CYCLE_TIMER", (value) => parseSeconds(value, 1, outside));
  const limit = reader.settings.get("MAX_FW_TIMEOUT");
  if (seconds === null) warnOfNoTime(reader);
  if (seconds === null || limit === undefined || seconds <= longest) return seconds;
  const message = "MAX_FW_TIMEOUT < CMD_CYCLE_TIMER, honoring MAX_FW_TIMEOUT for";
  const hint = `access lasts ${longest} seconds here; fwknopd gives ${seconds} all the same`;
  reader.warn(limit, `${message} ${reader.tag}`, hint);
  return longest;
}

/** To ipset(8) and others a time of 0 means for ever. */
function warnOfNoTime(reader: StanzaReader): void {
  const open = reader.settings.get("CMD_CYCLE_OPEN");
  const name = /\$((?:CLIENT_)?TIMEOUT)/.exec(open?.value ?? "")?.[1];
  if (open === undefined || name === undefined) return;
  const message = `CMD_CYCLE_OPEN uses $${name}, and clients need not name a time`;
  reader.warn(open, `${message} ${reader.endTag}`, "set CMD_CYCLE_TIMER; without it 0 is used");
}

/** fwknopd says so, and its watchers look for it. */
function noteGroup(reader: StanzaReader, lookups: AccessLookups): void {
  const user = reader.settings.get("CMD_EXEC_USER");
  if (user === undefined || reader.settings.has("CMD_EXEC_GROUP")) return;
  if ((lookups.user(user.value)?.uid ?? 0) === 0) return;
  const message = `Setting gid to group associated with CMD_EXEC_USER '${user.value}'`;
  reader.warn(user, `${message} for setgid() execution in stanza source: '${reader.title}'`);
}

function readUser(
  reader: StanzaReader,
  name: "CMD_EXEC_USER" | "CMD_SUDO_EXEC_USER",
  lookups: AccessLookups,
): UserAccount | null {
  return reader.read(name, (value) => {
    const found = lookups.user(value);
    if (found !== null) return { ok: true, value: { name: value, ...found } };
    const why = `Unable to determine UID for ${name}: Not a user on this system`;
    return failed(0, value, why, "name a user that exists");
  });
}

function readGroup(
  reader: StanzaReader,
  name: "CMD_EXEC_GROUP" | "CMD_SUDO_EXEC_GROUP",
  lookups: AccessLookups,
): GroupAccount | null {
  return reader.read(name, (value) => {
    const group = lookups.group(value);
    if (group !== null) return { ok: true, value: { name: value, gid: group.gid } };
    // fwknopd expects a user's name here and means that user's primary group.
    const gid = lookups.user(value)?.gid;
    if (gid !== undefined) {
      const forSudo = name === "CMD_SUDO_EXEC_GROUP";
      return { ok: true, value: { name: forSudo ? `#${gid}` : value, gid } };
    }
    const why = `Unable to determine GID for ${name}: Not a group on this system`;
    return failed(0, value, why, "name a group that exists");
  });
}
