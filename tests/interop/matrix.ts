// Every combination of digest, HMAC, mode and form of key that both sides shall speak, as one
// .fwknoprc and one access.conf that real and own programs share.

import { encodePaddedBase64 } from "../../lib/spa_base64.ts";
import { DIGEST_NAMES, type DigestName } from "../../lib/spa_digest.ts";
import { generateKeys } from "../../lib/spa_key.ts";

/** One combination; the stanza number in access.conf is its place in the list, from 1. */
export interface Combination {
  /** Its stanza in .fwknoprc. */
  readonly name: string;
  /** Lines of that stanza. */
  readonly client: readonly string[];
  /** Lines of the stanza in access.conf, without SOURCE. */
  readonly server: readonly string[];
}

/** All digests with all HMACs and none; all modes; keys as text and as base64. */
export function combinations(): Combination[] {
  const list: Combination[] = [];
  for (const digest of DIGEST_NAMES) {
    for (const hmac of [null, ...DIGEST_NAMES]) {
      list.push(combine({ digest, hmac, base64: true, mode: "CBC" }));
    }
  }
  for (const mode of ["ECB", "CFB", "OFB", "CTR"]) {
    list.push(combine({ digest: "SHA256", hmac: "SHA256", base64: true, mode }));
  }
  list.push(combine({ digest: "SHA256", hmac: "SHA256", base64: false, mode: "CBC" }));
  list.push(combine({ digest: "SHA256", hmac: null, base64: false, mode: "CBC" }));
  list.push(combine({ digest: "SHA256", hmac: null, base64: false, mode: "legacy" }));
  return list;
}

interface Choice {
  readonly digest: DigestName;
  readonly hmac: DigestName | null;
  readonly base64: boolean;
  readonly mode: string;
}

function combine({ digest, hmac, base64, mode }: Choice): Combination {
  const name = [digest, hmac ?? "none", mode, base64 ? "base64" : "text"].join("-").toLowerCase();
  const keys = generateKeys((count) => crypto.getRandomValues(new Uint8Array(count)), {
    ...(hmac === null ? {} : { hmacType: hmac }),
  });
  if (!keys.ok) throw new Error(keys.error.text);
  const word = (): string => crypto.randomUUID().replaceAll("-", "").slice(0, 14);
  const key = base64 ? `KEY_BASE64 ${encodePaddedBase64(keys.value.key)}` : `KEY ${word()}`;
  const hmacKey = base64
    ? `HMAC_KEY_BASE64 ${encodePaddedBase64(keys.value.hmacKey)}`
    : `HMAC_KEY ${word()}`;
  const shared = [
    key,
    `ENCRYPTION_MODE ${mode}`,
    ...(hmac === null ? [] : [hmacKey, `HMAC_DIGEST_TYPE ${hmac.toLowerCase()}`]),
  ];
  return {
    name,
    client: [`DIGEST_TYPE ${digest.toLowerCase()}`, ...shared],
    server: shared,
  };
}

/** The .fwknoprc with a stanza a combination. */
export function fwknoprcOf(list: readonly Combination[]): string {
  const stanzas = list.map(({ name, client }) => `[${name}]\n${client.join("\n")}\n`);
  return `[default]\n\n${stanzas.join("\n")}`;
}

/** The access.conf with a stanza a combination, in the same order. */
export function accessConfOf(list: readonly Combination[]): string {
  // The first grant is still looked at when the last is there, on slow machines too.
  const lines = "SOURCE ANY\nFW_ACCESS_TIMEOUT 300\n";
  return list.map(({ server }) => `${lines}${server.join("\n")}\n`).join("\n");
}
