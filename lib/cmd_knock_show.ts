// What a knock shows: fwknop's field dump and transmit block, one line on a terminal, or JSON.

import type { Sent, Transmission } from "./cmd_knock_send.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import type { Ui } from "./cmd_ui.ts";
import type { EncryptionMode } from "./spa_cipher.ts";
import type { DigestName } from "./spa_digest.ts";
import { type FieldDump, formatFieldDump, type GpgDump } from "./spa_dump.ts";
import { messageTypeName, type SpaFields } from "./spa_message.ts";
import type { EncodedPacket } from "./spa_packet.ts";

/** A packet and what it was made of. */
export interface MadePacket {
  readonly fields: SpaFields;
  readonly packet: EncodedPacket;
  readonly mode: EncryptionMode;
  readonly digestType: DigestName;
  /** Null without HMAC. */
  readonly hmacType: DigestName | null;
  /** What the dump shows of GnuPG, for its packets. */
  readonly gpg?: GpgDump;
}

function isVerbose(settings: KnockSettings, level = 1): boolean {
  return (settings.verbose ?? 0) >= level && !settings.json;
}

/** The field dump of `-v` and `-T`. */
export function showPacket(made: MadePacket, settings: KnockSettings, ui: Ui): void {
  if (settings.json || !settings.test && !isVerbose(settings)) return;
  const { fields, packet, mode, digestType, hmacType, gpg } = made;
  const { messageType, encoded, digest, hmac, wire } = packet;
  ui.print(
    formatFieldDump({
      ...fields,
      messageType,
      mode,
      digestType,
      hmacType,
      encoded,
      digest,
      hmac,
      data: wire,
      ...(gpg === undefined ? {} : { gpg }),
    }),
  );
}

/** The transmit block of `-v`; `-vv` adds the payload in hexadecimal. */
export function showTransmission(plan: Transmission, settings: KnockSettings, ui: Ui): void {
  if (!isVerbose(settings)) return;
  const rows = [
    ["protocol", plan.transport],
    ["source port", plan.sourcePort === 0 ? "<OS assigned>" : String(plan.sourcePort)],
    ["destination port", String(plan.port)],
    ["IP/host", plan.server],
  ];
  ui.print("Generating SPA packet:");
  for (const [label = "", value = ""] of rows) ui.print(`${label.padStart(20)}: ${value}`);
  if (settings.test && plan.transport === "http") ui.print(plan.payload.replaceAll("\r", ""));
  if (isVerbose(settings, 2)) ui.print(hexDump(new TextEncoder().encode(plan.payload)));
}

/** Sixteen bytes a line: offset, bytes, and the characters they are in ASCII. */
function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let offset = 0; offset < bytes.length; offset += 16) {
    const row = [...bytes.subarray(offset, offset + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".");
    lines.push(`${offset.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

/** The end of a test: nothing was sent, and what the packet says when it is opened again. */
export function showTested(
  made: MadePacket,
  decoded: FieldDump | null,
  settings: KnockSettings,
  ui: Ui,
): void {
  if (settings.json) {
    ui.print(JSON.stringify({ sent: false, decoded: decoded !== null, ...describe(made) }));
    return;
  }
  const first = settings.transport === "http" ? "T" : "t";
  ui.print(`${first}est mode enabled, SPA packet not actually sent.`);
  if (!isVerbose(settings)) return;
  ui.print("send_spa_packet: bytes sent: 0");
  if (decoded === null) return;
  ui.print("\nDump of the Decoded Data");
  ui.print(formatFieldDump(decoded));
}

/** The end of a knock. */
export function showSent(
  sent: Sent,
  plan: Transmission,
  made: MadePacket,
  settings: KnockSettings,
  ui: Ui,
): void {
  const { address, port } = sent.to;
  if (settings.json) {
    const to = { protocol: plan.transport, address, port, bytes: sent.bytes };
    ui.print(JSON.stringify({ sent: true, ...to, ...describe(made) }));
    return;
  }
  if (isVerbose(settings)) ui.print(`send_spa_packet: bytes sent: ${sent.bytes}`);
  const comma = made.fields.message.indexOf(",");
  const asker = made.fields.message.slice(0, comma);
  const asked = made.fields.message.slice(comma + 1);
  const where = address.includes(":") ? `[${address}]` : address;
  const what = made.packet.messageType === 0 ? `runs: ${asked}` : `opens ${asked} for ${asker}`;
  ui.confirm(`sent ${sent.bytes} bytes to ${where}:${port}/${plan.transport}, ${what}`);
}

/** The packet for `--json`: what the dump shows. */
function describe({ fields, packet, mode, digestType, hmacType }: MadePacket): object {
  const { messageType } = packet;
  return {
    packet: {
      ...fields,
      messageType,
      messageTypeName: messageTypeName(messageType),
      digestType,
      hmacType,
      encryptionMode: mode,
      digest: packet.digest,
      hmac: packet.hmac,
      data: packet.wire,
    },
  };
}
