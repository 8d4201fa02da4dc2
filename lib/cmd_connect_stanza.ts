// Which stanza of .fwknoprc is for a host, and what a knock with it asks for so that a connection
// to that host can follow. Pure.

import { done, misuse, type Outcome } from "./cmd_ui.ts";
import { type KnockSettings, parseDestination } from "./cmd_knock_values.ts";
import { listStanzas, readFwknoprc, sameStanza } from "./conf_fwknoprc.ts";
import { parseIp } from "./net_address.ts";
import { parsePortList } from "./net_port.ts";

/** Where a connection is to go, as ssh's `%h` and `%p` say it. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** Whether two texts name the same host: addresses by value, names without regard to case. */
export function isSameHost(one: string, other: string): boolean {
  return normalHost(one) === normalHost(other);
}

/** Without the port that SPA_SERVER may have. */
function normalHost(text: string): string {
  const destination = parseDestination(text);
  const host = destination.ok ? destination.value.server : text;
  return parseIp(host)?.text ?? host.toLowerCase().replace(/\.$/, "");
}

/**
 * The stanza for a host: the one with its name, else the one whose SPA_SERVER it is. Of several,
 * it is the one whose ACCESS has the port.
 *
 * @param text the .fwknoprc
 * @param file its name, for the messages
 * @returns the stanza's name, or null for `[default]`
 */
export function findStanza(text: string, file: string, target: Target): Outcome<string | null> {
  const names = [...new Set(listStanzas(text))];
  const named = names.find((name) => sameStanza(name, target.host));
  if (named !== undefined) return done(named);

  const fitting = [null, ...names].filter((name) => {
    const { server } = readFwknoprc(text, file, name).settings;
    return server !== undefined && isSameHost(server, target.host);
  });
  const withPort = fitting.filter((name) => {
    const { access } = readFwknoprc(text, file, name).settings;
    return access !== undefined && includesPort(access, target.port);
  });
  const candidates = withPort.length > 0 ? withPort : fitting;
  const [first] = candidates;
  if (first !== undefined && candidates.length === 1) return done(first);
  const listed = candidates.map((name) => name ?? "default").join(", ");
  if (first !== undefined) {
    return misuse(
      `cannot choose a stanza for "${target.host}": ${listed} have it as SPA_SERVER`,
      "choose one with -n",
    );
  }
  const known = names.length === 0 ? "" : `; there are: ${names.join(", ")}`;
  return misuse(
    `no stanza of ${file} is for "${target.host}"`,
    `name one [${target.host}], set its SPA_SERVER so, or choose one with -n${known}`,
  );
}

/** Whether the port on the gateway is another than that of the service. */
export function usesNat(settings: KnockSettings): boolean {
  return settings.natAccess !== undefined || settings.natLocal === true;
}

/**
 * Settings that open the target's port. What the command line asks for stays, and so does what a
 * stanza asks for if it includes the port, or if NAT makes it another one.
 *
 * @param line what the command line alone says
 */
export function aimAt(
  target: Target,
  settings: KnockSettings,
  line: KnockSettings,
): KnockSettings {
  const { access } = settings;
  const stays = access !== undefined &&
    (line.access !== undefined || usesNat(settings) || includesPort(access, target.port));
  return {
    ...settings,
    server: settings.server ?? target.host,
    access: stays ? access : `tcp/${target.port}`,
  };
}

function includesPort(access: string, wanted: number): boolean {
  const ports = parsePortList(access);
  return ports.ok &&
    ports.value.some(({ protocol, port }) => protocol === "tcp" && port === wanted);
}
