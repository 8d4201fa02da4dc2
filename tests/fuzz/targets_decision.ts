// Fuzz targets of the decision: nothing opens without the right keys, and with them only what the
// stanza allows.

import { commandGrantAllowed, cycleCommands, cycleGrantAllowed } from "../../lib/auth_command.ts";
import { decide, type Decision, type Policy, preparePolicy } from "../../lib/auth_decide.ts";
import type { Grant } from "../../lib/auth_grant.ts";
import type { Knock } from "../../lib/auth_knock.ts";
import { natGrantAllowed } from "../../lib/auth_nat.ts";
import { portsAllowed } from "../../lib/auth_policy.ts";
import type { Stanza } from "../../lib/conf_access.ts";
import { ipFromBytes, parseIp } from "../../lib/net_address.ts";
import { parsePacket } from "../../lib/net_datagram.ts";
import { LINK_TYPES, packetOfFrame } from "../../lib/net_frame.ts";
import { udpPacket } from "../../lib/net_raw.ts";
import { createLog } from "../../lib/serve_log.ts";
import { createSentry } from "../../lib/serve_sentry.ts";
import { encodeBase64 } from "../../lib/spa_base64.ts";
import { encryptRijndael, type RijndaelMode } from "../../lib/spa_cipher.ts";
import { type DigestName, prepareHmac } from "../../lib/spa_digest.ts";
import { failedDecryption } from "../../lib/spa_gpg_status.ts";
import type { MessageType, SpaFields } from "../../lib/spa_message.ts";
import { encodePacket } from "../../lib/spa_packet.ts";
import { RIJNDAEL_BEGINNING } from "../../lib/spa_shape.ts";
import { serverConfigOf, stanzasOf } from "../gateway_fixture.ts";
import {
  bytesOf,
  choiceOf,
  type FuzzTarget,
  latin1Of,
  once,
  pick,
  rule,
  withChoice,
} from "./target.ts";

/** Seconds since 1970 UTC. */
const NOW = 1_795_323_500;

/** The keys of each stanza below, by its number less one. */
interface StanzaKeys {
  readonly key: string;
  readonly hmac: string | null;
  readonly hmacType: DigestName;
  readonly mode: RijndaelMode;
}

const KEYS: readonly StanzaKeys[] = [
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
interface Gateway {
  readonly stanzas: readonly Stanza[];
  readonly policy: Policy;
  /** Packets with the right keys, by which stanza's. */
  readonly good: ReadonlyMap<string, number>;
}

function createGateway(): Gateway {
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

const REQUESTS: readonly SpaFields[] = [
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

const NO_REPLAYS = { find: () => null, add: () => {}, addLine: () => {}, prune: () => {}, size: 0 };

function knockOf(wire: string): Knock {
  const source = parseIp("192.0.2.10");
  const destination = parseIp("192.0.2.1");
  if (source === null || destination === null) throw new Error("these are addresses");
  const ports = { protocol: 17, sourcePort: 40000, destinationPort: 62201 };
  return { wire, source, destination, ...ports, http: null };
}

/** gpg is asked, and says that it cannot decrypt. */
function judge(wire: string, policy: Policy): Decision {
  const deliberation = decide(knockOf(wire), policy, NO_REPLAYS, NOW);
  let step = deliberation.next();
  while (!step.done) {
    step = deliberation.next({ decryption: failedDecryption("No secret key"), now: NOW });
  }
  return step.value;
}

/** One-line log texts: what a stranger sends must not write lines of its own. */
function checkEvents({ events }: Decision): void {
  for (const { level, text } of events) {
    rule(level === "debug" || !/[\n\r]/.test(text), `a log line of several lines: ${text}`);
  }
}

/** Whether the monitor, which trusts nobody, lets the grant pass. */
function grantAllowed(stanza: Stanza, grant: Grant, { nat }: Policy): boolean {
  if (grant.kind === "command") return commandGrantAllowed(stanza, grant);
  if (grant.kind === "cycle") {
    const { open, close } = cycleCommands(stanza, grant);
    rule([...open, ...close].every(({ words }) => words.length > 1), "a command without words");
    return cycleGrantAllowed(stanza, grant);
  }
  return grant.seconds > 0 && parseIp(grant.source)?.text === grant.source &&
    grant.seconds <= Math.max(stanza.FW_ACCESS_TIMEOUT, stanza.MAX_FW_TIMEOUT) &&
    portsAllowed(stanza, grant.ports) &&
    (grant.kind !== "nat" || natGrantAllowed(stanza, grant, nat));
}

function strangers(gateway: () => Gateway): FuzzTarget {
  return {
    name: "decision-for-strangers",
    rule: "no packet opens anything but those that were made with the right keys",
    seeds: () => [...gateway().good.keys()].map(bytesOf),
    words: ["A", "+", "/", "=", "8", RIJNDAEL_BEGINNING],
    check(input) {
      const { policy, good } = gateway();
      const wire = latin1Of(input);
      const decision = judge(wire, policy);
      checkEvents(decision);
      rule(
        good.has(wire) || typeof decision.verdict === "string" && decision.remember === null,
        "an altered packet was accepted",
      );
    },
  };
}

/** Plaintexts and their digest, encrypted with keys of the input's choice. */
function keyHolders(gateway: () => Gateway): FuzzTarget {
  return {
    name: "decision-for-key-holders",
    rule: "with wrong keys nothing opens, and with right ones only what the stanza allows",
    seeds: () =>
      KEYS.flatMap((_, index) =>
        REQUESTS.flatMap((fields) => {
          const encoded = encodePacket(fields, {
            key: bytesOf("x"),
            salt: new Uint8Array(8),
            mode: "CBC",
            digestType: "SHA256",
          });
          if (!encoded.ok) return [];
          const plain = bytesOf(`${encoded.value.encoded}:${encoded.value.digest}`);
          // The right keys, a wrong key, a wrong HMAC key.
          return [0, 64, 128].map((wrong) => withChoice(index | wrong, plain));
        })
      ),
    words: [":", ",", "tcp/25", "tcp/22", "OjA", String(NOW), "alice", "YWxpY2U", "3.0.0"],
    check(input) {
      const [choice, plain] = choiceOf(input);
      const { policy, stanzas } = gateway();
      const { key, hmac, hmacType, mode } = pick(KEYS, choice & 63);
      const wrongKey = (choice & 64) > 0;
      const wrongHmac = (choice & 128) > 0 && hmac !== null;
      const encrypted = encryptRijndael(plain, {
        key: bytesOf(wrongKey ? `x${key}` : key),
        salt: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
        mode,
      });
      rule(encrypted.ok, "a plaintext cannot be encrypted");
      const text = encodeBase64(encrypted.value);
      const tag = hmac === null
        ? ""
        : prepareHmac(hmacType, bytesOf(wrongHmac ? `x${hmac}` : hmac)).tag(text);
      const decision = judge(text.slice(RIJNDAEL_BEGINNING.length) + tag, policy);
      checkEvents(decision);
      const { verdict } = decision;
      if (typeof verdict === "string") return;
      rule(!wrongKey && !wrongHmac, "a wrong key opened");
      const stanza = stanzas.find(({ number }) => number === verdict.stanza);
      rule(stanza !== undefined && decision.remember !== null, "nothing is remembered");
      rule(grantAllowed(stanza, verdict, policy), "more than the stanza allows");
    },
  };
}

/** A whole frame, from the wire to the request to the monitor. */
function gatewayFrames(gateway: () => Gateway): FuzzTarget {
  const addressing = {
    source: Uint8Array.of(192, 0, 2, 10),
    destination: Uint8Array.of(192, 0, 2, 1),
    identification: 1,
  };
  const frames = (payload: Uint8Array): Uint8Array => {
    const header = [2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 8, 0];
    const packet = udpPacket(addressing, { source: 40000, destination: 62201 }, payload);
    return Uint8Array.from([...header, ...packet]);
  };
  return {
    name: "frame-to-request",
    rule: "what strangers put on the wire leads to no request to the monitor",
    seeds: () =>
      [...gateway().good.keys()].flatMap((wire) => {
        const path = wire.replaceAll("+", "-").replaceAll("/", "_");
        const request = `GET /${path} HTTP/1.1\r\nUser-Agent: Fwknop/2.6.10\r\n\r\n`;
        return [frames(bytesOf(wire)), frames(bytesOf(request))];
      }),
    words: ["GET /", "User-Agent: Fwknop", "\r\nX-Forwarded-For: 192.0.2.77\r\n"],
    check(input) {
      const { policy, good } = gateway();
      const packet = packetOfFrame(LINK_TYPES.ethernet, input);
      const datagram = packet === null ? "not-ip" : parsePacket(packet);
      if (typeof datagram === "string") return;
      let requests = 0;
      const lines: string[] = [];
      const sentry = createSentry({
        policy,
        replays: NO_REPLAYS,
        log: createLog(0, (_, text) => lines.push(text)),
        now: () => NOW * 1000,
        decrypt: () => Promise.resolve(failedDecryption("No secret key")),
        submit: () => requests++,
        timer: () => () => {},
      });
      sentry.receive(datagram);
      rule(lines.every((line) => !/[\n\r]/.test(line)), "a log line of several lines");
      rule(ipFromBytes(datagram.source) !== null, "a datagram without a source");
      if (requests === 0) return;
      const text = latin1Of(datagram.payload);
      const path = /^get \/([^\t\n\v\f\r ]*)/i.exec(text)?.[1];
      const wire = path?.replaceAll("-", "+").replaceAll("_", "/") ?? text;
      rule(good.has(wire), "an altered packet led to a request");
    },
  };
}

/** All of them. */
export function decisionTargets(): readonly FuzzTarget[] {
  const gateway = once(createGateway);
  return [strangers(gateway), keyHolders(gateway), gatewayFrames(gateway)];
}
