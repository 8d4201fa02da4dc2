// The pair of stanzas of `spa keygen --stanza`: one for the client's .fwknoprc, one for the gateway's
// access.conf, made to work together as they are.

import { done, misuse, type Outcome } from "./cmd_ui.ts";
import { parseDecimal } from "./conf_fwknoprc_values.ts";
import type { GeneratedKeys, KeyOptions } from "./spa_key.ts";

/** What the two stanzas say. */
export interface Stanzas {
  readonly name: string;
  readonly server: string;
  readonly access: string;
}

/**
 * Reads the options that ask for stanzas; null when none does.
 *
 * @param given long names and their arguments
 */
export function readStanzaOptions(given: ReadonlyMap<string, string>): Outcome<Stanzas | null> {
  const name = given.get("stanza");
  const server = given.get("server");
  if (name === undefined) {
    const needing = ["server", "access", "rc-file", "access-file"].find((long) => given.has(long));
    return needing === undefined ? done(null) : misuse(`--${needing} needs --stanza NAME`);
  }
  if (server === undefined) return misuse("--stanza needs --server HOST");
  if (name === "" || /[\]\p{Cc}]/u.test(name)) {
    return misuse(`cannot use "${name}" as the name of a stanza`);
  }
  if (!/^[^\s;#\p{Cc}]+$/u.test(server)) return misuse(`cannot use "${server}" as the gateway`);
  const access = given.get("access") ?? "tcp/22";
  if (!access.split(",").every(isProtocolPort)) {
    return misuse(`cannot use "${access}" as --access`, "give tcp/22 or tcp/80,udp/53");
  }
  return done({ name, server, access });
}

function isProtocolPort(item: string): boolean {
  const port = /^(?:tcp|udp)\/(\d+)$/.exec(item)?.[1];
  return port !== undefined && parseDecimal(port, 1, 65535) !== null;
}

/** Variables that give the keys, in either file. */
export function keyRecord(keys: GeneratedKeys, { hmacType }: KeyOptions): Record<string, string> {
  return {
    KEY_BASE64: keys.keyBase64,
    HMAC_KEY_BASE64: keys.hmacKeyBase64,
    HMAC_DIGEST_TYPE: (hmacType ?? "SHA256").toLowerCase(),
  };
}

/** The stanza for the client's .fwknoprc, without a heading comment. */
export function clientStanza(
  { name, server, access }: Stanzas,
  record: Record<string, string>,
): string {
  return formatStanza(`[${name}]`, {
    SPA_SERVER: server,
    ACCESS: access,
    ALLOW_IP: "resolve",
    ...record,
    USE_HMAC: "Y",
  });
}

/** The stanza for the gateway's access.conf. */
export function gatewayStanza({ access }: Stanzas, record: Record<string, string>): string {
  return formatStanza(null, {
    SOURCE: "ANY",
    OPEN_PORTS: access,
    REQUIRE_SOURCE_ADDRESS: "Y",
    ...record,
  });
}

function formatStanza(header: string | null, variables: Record<string, string>): string {
  const lines = Object.entries(variables).map(([name, value]) => `${name.padEnd(24)}    ${value}`);
  return [...(header === null ? [] : [header]), ...lines, ""].join("\n");
}
