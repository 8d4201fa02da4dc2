// The system logger as a place for the daemon's lines; see syslog(3).

import type { LogLevel } from "./auth_event.ts";
import type { SyslogFacility } from "./conf_fwknopd_variables.ts";
import type { Native } from "./host.ts";

const SEVERITY: Readonly<Record<LogLevel, number>> = { error: 3, warning: 4, info: 6, debug: 7 };
const LOG_DAEMON = 3;
const LOG_LOCAL0 = 16;

/** The facility's code, ready to be combined with a severity. */
function facilityCode(facility: SyslogFacility): number {
  const number = facility === "LOG_DAEMON" ? LOG_DAEMON : LOG_LOCAL0 + Number(facility.at(-1));
  return number << 3;
}

/** Opens the system log and gives a function that writes to it. */
export function openSyslog(
  native: Native,
  identity: string,
  facility: SyslogFacility,
): (level: LogLevel, text: string) => void {
  const code = facilityCode(facility);
  native.libc.openSystemLog(identity, code);
  return (level, text) => native.libc.writeSystemLog(code | SEVERITY[level], text);
}
