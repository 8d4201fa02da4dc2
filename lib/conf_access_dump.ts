// Stanzas as `--dump-config` prints them. Keys and passphrases are not shown.

import type { AccessVariableName } from "./conf_access_variables.ts";
import type { Stanza } from "./conf_stanza.ts";
import { digestId } from "./spa_digest.ts";

const NOT_SET = "<not set>";
const SECRET = "<see the access.conf file>";
const LABEL_WIDTH = 27;

/** Heading, the stanzas with an empty line behind each, and an empty line. */
export function formatAccessDump(stanzas: readonly Stanza[]): string {
  const blocks = stanzas.map((stanza) => {
    const lines = dumpRows(stanza).map(([label, value]) =>
      `${label.padStart(LABEL_WIDTH)}:  ${value}\n`
    );
    const title = `SOURCE (${stanza.number}):  ${stanza.SOURCE.text}\n${"=".repeat(62)}\n`;
    return `${title}${lines.join("")}\n`;
  });
  return `Current fwknopd access settings:\n${blocks.join("")}\n`;
}

function dumpRows(stanza: Stanza): [label: string, value: string | number][] {
  const written = (name: AccessVariableName): string => stanza.written.get(name) ?? NOT_SET;
  const has = (...names: AccessVariableName[]): string =>
    names.some((name) => stanza.written.has(name)) ? SECRET : NOT_SET;
  return [
    ["DESTINATION", written("DESTINATION")],
    ["OPEN_PORTS", written("OPEN_PORTS")],
    ["RESTRICT_PORTS", written("RESTRICT_PORTS")],
    ["KEY", has("KEY", "KEY_BASE64")],
    ["KEY_BASE64", has("KEY_BASE64")],
    ["KEY_LEN", stanza.KEY?.length ?? 0],
    ["HMAC_KEY", has("HMAC_KEY", "HMAC_KEY_BASE64")],
    ["HMAC_KEY_BASE64", has("HMAC_KEY_BASE64")],
    ["HMAC_KEY_LEN", stanza.HMAC_KEY?.length ?? 0],
    ["HMAC_DIGEST_TYPE", stanza.HMAC_DIGEST_TYPE === null ? 0 : digestId(stanza.HMAC_DIGEST_TYPE)],
    ["FW_ACCESS_TIMEOUT", stanza.FW_ACCESS_TIMEOUT],
    ["MAX_FW_TIMEOUT", stanza.MAX_FW_TIMEOUT],
    ["ENABLE_CMD_EXEC", yesOrNo(stanza.ENABLE_CMD_EXEC)],
    ["ENABLE_CMD_SUDO_EXEC", yesOrNo(stanza.ENABLE_CMD_SUDO_EXEC)],
    ["CMD_SUDO_EXEC_USER", written("CMD_SUDO_EXEC_USER")],
    ["CMD_SUDO_EXEC_GROUP", written("CMD_SUDO_EXEC_GROUP")],
    ["CMD_EXEC_USER", written("CMD_EXEC_USER")],
    ["CMD_EXEC_GROUP", written("CMD_EXEC_GROUP")],
    ["CMD_CYCLE_OPEN", written("CMD_CYCLE_OPEN")],
    ["CMD_CYCLE_CLOSE", written("CMD_CYCLE_CLOSE")],
    ["CMD_CYCLE_TIMER", stanza.CMD_CYCLE_TIMER ?? 0],
    ["REQUIRE_USERNAME", stanza.REQUIRE_USERNAME ?? NOT_SET],
    ["REQUIRE_SOURCE_ADDRESS", yesOrNo(stanza.REQUIRE_SOURCE_ADDRESS)],
    ["FORCE_NAT (ip)", stanza.FORCE_NAT?.address.text ?? NOT_SET],
    ["FORCE_NAT (proto)", NOT_SET],
    ["FORCE_NAT (port)", stanza.FORCE_NAT?.port ?? 0],
    ["FORCE_SNAT (ip)", stanza.FORCE_SNAT?.text ?? NOT_SET],
    ["FORCE_MASQUERADE", yesOrNo(stanza.FORCE_MASQUERADE)],
    ["DISABLE_DNAT", yesOrNo(stanza.DISABLE_DNAT)],
    ["FORWARD_ALL", yesOrNo(stanza.FORWARD_ALL)],
    ["ACCESS_EXPIRE", stanza.ACCESS_EXPIRE === null ? NOT_SET : asctime(stanza.ACCESS_EXPIRE)],
    ["GPG_HOME_DIR", stanza.GPG_HOME_DIR ?? NOT_SET],
    ["GPG_EXE", written("GPG_EXE")],
    ["GPG_DECRYPT_ID", stanza.GPG_DECRYPT_ID ?? NOT_SET],
    ["GPG_DECRYPT_PW", stanza.GPG_DECRYPT_PW === null ? NOT_SET : SECRET],
    ["GPG_REQUIRE_SIG", yesOrNo(stanza.GPG_REQUIRE_SIG)],
    ["GPG_IGNORE_SIG_VERIFY_ERROR", yesOrNo(stanza.GPG_IGNORE_SIG_VERIFY_ERROR)],
    ["GPG_REMOTE_ID", written("GPG_REMOTE_ID")],
    ["GPG_FINGERPRINT_ID", written("GPG_FINGERPRINT_ID")],
  ];
}

function yesOrNo(value: boolean): string {
  return value ? "Yes" : "No";
}

/** Local time in the form of asctime(3): `Wed Jan  2 00:00:00 2030`. */
function asctime(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return `${seconds} seconds since 1970`;
  const [weekday = "", month = "", day = ""] = date.toDateString().split(" ");
  const two = (value: number): string => String(value).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${weekday} ${month} ${String(Number(day)).padStart(2)} ${time} ${date.getFullYear()}`;
}
