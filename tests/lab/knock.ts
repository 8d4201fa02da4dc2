// Packets that tests send themselves, made by the library.

import type { SpaFields } from "../../lib/spa_message.ts";
import { encodePacket } from "../../lib/spa_packet.ts";
import { ADDRESSES, type Lab, labTool } from "./lab.ts";

/** Keys of the gateways that tests start, and the lines that give them to a stanza. */
export const KEY = "TestKey";
export const HMAC_KEY = "TestHmacKey";
export const STANZA = `SOURCE ANY\nKEY ${KEY}\nHMAC_KEY ${HMAC_KEY}\nREQUIRE_SOURCE_ADDRESS Y\n`;

/**
 * The text of a fresh packet that asks for access now.
 *
 * @param request ports, or a command where the fields say so
 */
export function knockPacket(
  request: string,
  address: string = ADDRESSES.client,
  fields: Partial<Pick<SpaFields, "messageType" | "clientTimeout" | "natAccess">> = {},
): string {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const digits = crypto.getRandomValues(new Uint8Array(16)).map((byte) => byte % 10).join("");
  const encoded = encodePacket({
    randomValue: digits,
    username: "tester",
    timestamp: Math.floor(Date.now() / 1000),
    version: "3.0.0",
    messageType: 1,
    message: `${address},${request}`,
    natAccess: null,
    serverAuth: null,
    clientTimeout: 0,
    ...fields,
  }, {
    key: bytes(KEY),
    hmacKey: bytes(HMAC_KEY),
    salt: crypto.getRandomValues(new Uint8Array(8)),
    ipv6: address.includes(":"),
    mode: "CBC",
    digestType: "SHA256",
  });
  if (!encoded.ok) throw new Error(encoded.error.text);
  return encoded.value.wire;
}

/** Sends packets from the lab's client to its gateway. */
export async function send(lab: Lab, ...packets: readonly string[]): Promise<void> {
  await lab.client.must(labTool("send_udp", ADDRESSES.gateway, "62201", ...packets));
}

/** What the client sees of a TCP port of the gateway: `open`, `closed` or `filtered`. */
export async function probe(
  lab: Lab,
  port: number,
  address: string = ADDRESSES.gateway,
): Promise<string> {
  return (await lab.client.must(labTool("tcp_probe", address, String(port)))).trim();
}
