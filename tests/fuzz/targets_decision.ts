// Fuzz targets of the decision: nothing opens without the right keys, and with them only what the
// stanza allows.

import { cycleCommands } from "../../lib/auth_command.ts";
import type { Decision } from "../../lib/auth_decide.ts";
import { grantAllowed } from "../../lib/auth_grant_check.ts";
import { ipFromBytes } from "../../lib/net_address.ts";
import { parsePacket } from "../../lib/net_datagram.ts";
import { LINK_TYPES, packetOfFrame } from "../../lib/net_frame.ts";
import { udpPacket } from "../../lib/net_raw.ts";
import { createLog } from "../../lib/serve_log.ts";
import { createSentry } from "../../lib/serve_sentry.ts";
import { encodeBase64 } from "../../lib/spa_base64.ts";
import { encryptRijndael } from "../../lib/spa_cipher.ts";
import { prepareHmac } from "../../lib/spa_digest.ts";
import { failedDecryption } from "../../lib/spa_gpg_status.ts";
import { encodePacket } from "../../lib/spa_packet.ts";
import { RIJNDAEL_BEGINNING } from "../../lib/spa_shape.ts";
import { type Gateway, judge, KEYS, NO_REPLAYS, NOW, REQUESTS } from "./gateway.ts";
import { bytesOf, choiceOf, type FuzzTarget, latin1Of, pick, rule, withChoice } from "./target.ts";

/** One-line log texts: what a stranger sends must not write lines of its own. */
function checkEvents({ events }: Decision): void {
  for (const { level, text } of events) {
    rule(level === "debug" || !/[\n\r]/.test(text), `a log line of several lines: ${text}`);
  }
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
      const allowed = grantAllowed(stanza, verdict, "192.0.2.10", policy, NOW);
      rule(allowed, "more than the stanza allows");
      if (verdict.kind !== "cycle") return;
      const { open, close } = cycleCommands(stanza, verdict);
      rule([...open, ...close].every(({ words }) => words.length > 1), "a command without words");
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
export function decisionTargets(gateway: () => Gateway): readonly FuzzTarget[] {
  return [strangers(gateway), keyHolders(gateway), gatewayFrames(gateway)];
}
