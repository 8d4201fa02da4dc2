// The server's configuration as `--dump-config` prints it.

import { serverVariableNames } from "./conf_fwknopd_variables.ts";
import type { ServerConfigReading } from "./conf_fwknopd.ts";

/**
 * Heading, one line a variable with its number, and an empty line; variables that fwknopd for
 * iptables does not have come behind its own. Values are shown as they were written.
 */
export function formatConfigDump(reading: Pick<ServerConfigReading, "texts">): string {
  const lines = serverVariableNames().map((name, index) => {
    const text = reading.texts.get(name) ?? "<not set>";
    return `${String(index).padStart(3)}. ${name.padEnd(28)} =  '${text}'\n`;
  });
  return `Current fwknopd config settings:\n${lines.join("")}\n`;
}
