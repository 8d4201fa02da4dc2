// The gateway of the decision's fuzz targets: four stanzas with keys, packets that open them, and a
// fifth for GnuPG that nothing opens.

import { decide, type Decision, type Policy, preparePolicy } from "../../lib/auth_decide.ts";
import type { Knock } from "../../lib/auth_knock.ts";
import type { Stanza } from "../../lib/conf_access.ts";
import { parseIp } from "../../lib/net_address.ts";
import type { RijndaelMode } from "../../lib/spa_cipher.ts";
import type { DigestName } from "../../lib/spa_digest.ts";
import { failedDecryption } from "../../lib/spa_gpg_status.ts";
import type { MessageType, SpaFields } from "../../lib/spa_message.ts";
import { encodePacket } from "../../lib/spa_packet.ts";
import { serverConfigOf, stanzasOf } from "../gateway_fixture.ts";
import { bytesOf, rule } from "./target.ts";

/** Seconds since 1970 UTC. */
export const NOW = 1_795_323_500;

/** The keys of each stanza below, by its number less one. */
export interface StanzaKeys {
  readonly key: string;
  readonly hmac: string | null;
  readonly hmacType: DigestName;
  readonly mode: RijndaelMode;
}

/** By the number of their stanza, less one. */
export const KEYS: readonly StanzaKeys[] = [
  { key: "firstKeyOfFuzzing", hmac: "firstHmacKeyOfFuzzing", hmacType: "SHA256", mode: "CBC" },
  { key: "secondKeyOfFuzzing", hmac: null, hmacType: "SHA256", mode: "CBC" },
  { key: "thirdKeyOfFuzzing", hmac: "thirdHmacKeyOfFuzzing", hmacType: "SHA512", mode: "legacy" },
  { key: "fourthKeyOfFuzzing", hmac: "fourthHmacKeyOfFuzzing", hmacType: "MD5", mode: "CTR" },
];

const SERVER = "ENABLE_IPT_FORWARDING Y;\nENABLE_NAT_DNS N;\nENABLE_NAT_PORT_CHECK Y;\n";

const ACCESS = [
  "SOURCE ANY\nOPEN_PORTS tcp/22, udp/53\nFW_ACCESS_TIMEOUT 30\nMAX_FW_TIMEOUT 60",
  "SOURCE 192.0.2.0/24\nRESTRICT_PORTS tcp/25\nREQUIRE_USERNAME alice\nREQUIRE_SOURCE_ADDRESS Y",
  "SOURCE ANY\nENABLE_CMD_EXEC Y",
  "SOURCE ANY\nCMD_CYCLE_OPEN /bin/open $SRC $PORT $PROTO $CLIENT_TIMEOUT\n" +
  "CMD_CYCLE_CLOSE /bin/close $SRC $PORT\nCMD_CYCLE_TIMER 20",
];

/** What all inputs are judged by. */
export interface Gateway {
  readonly stanzas: readonly Stanza[];
  readonly policy: Policy;
  /** Packets with the right keys, by which stanza's. */
  readonly good: ReadonlyMap<string, number>;
}

/** Reads the stanzas and makes the packets. */
export function createGateway(): Gateway {
  const texts = KEYS.map(({ key, hmac, hmacType, mode }, index) =>
    [
      ACCESS[index] ?? "",
      `KEY ${key}`,
      ...(hmac === null ? [] : [`HMAC_KEY ${hmac}`, `HMAC_DIGEST_TYPE ${hmacType}`]),
      `ENCRYPTION_MODE ${mode}`,
      "",
    ].join("\n")
  );
  const gpg = "SOURCE ANY\nGPG_HOME_DIR /gpg\nGPG_DECRYPT_ID 01234567\nGPG_ALLOW_NO_PW Y\n";
  const stanzas = stanzasOf([...texts, `${gpg}GPG_DISABLE_SIG Y\n`].join("\n"), SERVER);
  const policy = preparePolicy(stanzas, {
    maxPacketAge: 120,
    testMode: false,
    verbose: true,
    nat: serverConfigOf(SERVER),
    http: { anyUserAgent: false, forwardedFor: true },
    failureRates: { source: 0, total: 0 },
  });
  const good = new Map(goodPackets());
  for (const { number } of stanzas.slice(0, KEYS.length)) {
    const wires = [...good.keys()].filter((wire) => good.get(wire) === number);
    const opens = wires.some((wire) => typeof judge(wire, policy).verdict === "object");
    rule(opens, `no packet opens stanza ${number}: the targets would find nothing`);
  }
  return { stanzas, policy, good };
}

const fieldsOf = (messageType: MessageType, message: string, more: Partial<SpaFields> = {}) => ({
  randomValue: "1234567890123456",
  username: "alice",
  timestamp: NOW,
  version: "3.0.0",
  messageType,
  message,
  natAccess: null,
  serverAuth: null,
  clientTimeout: 0,
  ...more,
});

/** One of each kind. */
export const REQUESTS: readonly SpaFields[] = [
  fieldsOf(1, "192.0.2.10,tcp/22"),
  fieldsOf(3, "192.0.2.10,tcp/22,udp/53", { clientTimeout: 600 }),
  fieldsOf(2, "192.0.2.10,tcp/22", { natAccess: "192.0.2.50,22" }),
  fieldsOf(5, "0.0.0.0,tcp/22", { natAccess: "192.0.2.1,22" }),
  fieldsOf(0, "192.0.2.10,/bin/date"),
];

function goodPackets(): [wire: string, stanza: number][] {
  return KEYS.flatMap(({ key, hmac, hmacType, mode }, index) =>
    REQUESTS.flatMap((fields): [string, number][] => {
      const encoded = encodePacket(fields, {
        key: bytesOf(key),
        salt: Uint8Array.of(8, 7, 6, 5, 4, 3, 2, index),
        mode,
        digestType: "SHA256",
        ...(hmac === null ? {} : { hmacKey: bytesOf(hmac), hmacType }),
      });
      return encoded.ok ? [[encoded.value.wire, index + 1]] : [];
    })
  );
}

/** A replay memory that forgets: each input is judged as if it were the first. */
export const NO_REPLAYS = {
  find: () => null,
  add: () => {},
  addLine: () => {},
  prune: () => {},
  size: 0,
};

function knockOf(wire: string): Knock {
  const source = parseIp("192.0.2.10");
  const destination = parseIp("192.0.2.1");
  if (source === null || destination === null) throw new Error("these are addresses");
  const ports = { protocol: 17, sourcePort: 40000, destinationPort: 62201 };
  return { wire, source, destination, ...ports, http: null };
}

/** gpg is asked, and says that it cannot decrypt. */
export function judge(wire: string, policy: Policy): Decision {
  const deliberation = decide(knockOf(wire), policy, NO_REPLAYS, NOW);
  let step = deliberation.next();
  while (!step.done) {
    step = deliberation.next({ decryption: failedDecryption("No secret key"), now: NOW });
  }
  return step.value;
}
