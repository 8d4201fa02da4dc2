// One packet from settings to the wire: message, keys, encryption, showing, keeping and sending.

import type { GpgSetup } from "./cmd_knock_gpg.ts";
import { findKeys, type KnockKeys } from "./cmd_knock_keys.ts";
import {
  buildMessage,
  chooseUsername,
  extensionsOf,
  isSourceAddress,
} from "./cmd_knock_message.ts";
import { planTransmission, transmit } from "./cmd_knock_send.ts";
import { asksForAddress } from "./cmd_knock_settings.ts";
import {
  type MadePacket,
  showPacket,
  showSent,
  showTested,
  showTransmission,
} from "./cmd_knock_show.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import { type Knocked, portsAskedFor } from "./cmd_knock_wait.ts";
import { done, failure, type Outcome, type Ui } from "./cmd_ui.ts";
import { type Host, reasonOf } from "./host.ts";
import { type RijndaelMode, SALT_LENGTH } from "./spa_cipher.ts";
import type { SpaError } from "./spa_error.ts";
import { portFromRandomValue, RANDOM_VALUE_BYTES, randomValueFrom } from "./spa_key.ts";
import type { SpaFields } from "./spa_message.ts";
import { type DecodedPacket, decodePacket, encodePacket, measurePacket } from "./spa_packet.ts";

/** Makes the packet, shows and keeps it as asked, and sends it; gives null when it is a test. */
export async function sendPacket(
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Promise<Outcome<Knocked | null>> {
  const allowIp = await findAllowIp(settings, host, ui);
  if (!allowIp.ok) return allowIp;
  const input = {
    allowIp: allowIp.value,
    username: chooseUsername(settings, { env: host.env, login: () => loginName(host) }),
    randomValue: drawRandomValue(host),
    randomNatPort: portFromRandomValue(drawRandomValue(host)),
  };
  // Checked before anybody is asked for keys, but stamped after, since typing takes its time.
  const build = () => buildMessage(settings, { ...input, now: Math.floor(host.now() / 1000) });
  const checked = build();
  if (!checked.ok) return checked;
  const gpg = settings.useGpg
    ? await (await loadGpg()).prepareGpg(settings, checked.value.fields, host)
    : done(null);
  if (!gpg.ok) return gpg;
  const keys = await findKeys(settings, host, ui);
  if (!keys.ok) return keys;
  const message = build();
  if (!message.ok) return message;
  const { fields, notice } = message.value;
  const made = gpg.value === null
    ? makePacket(fields, keys.value, settings, host)
    : await (await loadGpg()).makeGpgPacket(fields, keys.value, gpg.value, settings, host);
  if (!made.ok) return made;
  const drawPort = (): number => portFromRandomValue(drawRandomValue(host));
  const plan = planTransmission(settings, made.value.packet.wire, drawPort);
  if (!plan.ok) return plan;

  if (notice !== null && !settings.json) ui.print(notice);
  showPacket(made.value, settings, ui);
  savePacket(made.value.packet.wire, settings, host, ui);
  showTransmission(plan.value, settings, ui);
  if (settings.test) {
    const tested = await testPacket(made.value, keys.value, gpg.value, settings, host, ui);
    return tested.ok ? done(null) : tested;
  }
  warnOfAddress(fields, settings, host, ui);
  const sent = await transmit(plan.value, host);
  if (!sent.ok) return sent;
  showSent(sent.value, plan.value, made.value, settings, ui);
  return done({
    server: plan.value.server,
    address: plan.value.proxy === null ? sent.value.to.address : null,
    ports: settings.serverCommand === undefined ? portsAskedFor(fields.message) : [],
  });
}

/** Kept out of knocks without GnuPG, which would wait for it. */
function loadGpg(): Promise<typeof import("./cmd_knock_gpg.ts")> {
  return import("./cmd_knock_gpg.ts");
}

/** The address to allow; null when nothing names one. */
async function findAllowIp(
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Promise<Outcome<string | null>> {
  if (!asksForAddress(settings)) return done(settings.allowIp ?? null);
  const { resolveAllowIp } = await import("./cmd_knock_resolve.ts");
  return await resolveAllowIp(settings, host, ui);
}

function drawRandomValue(host: Host): string {
  return randomValueFrom(host.randomBytes(RANDOM_VALUE_BYTES));
}

/** The effective user's name in passwd(5); null when that says nothing. */
function loginName(host: Host): string | null {
  try {
    const users = host.readTextFile("/etc/passwd").split("\n").map((line) => line.split(":"));
    return users.find(([, , uid]) => uid === String(host.uid))?.[0] ?? null;
  } catch {
    return null;
  }
}

function makePacket(
  fields: SpaFields,
  { key, hmacKey }: KnockKeys,
  settings: KnockSettings,
  host: Host,
): Outcome<MadePacket> {
  const mode = rijndaelMode(settings);
  const digestType = settings.digestType ?? "SHA256";
  const hmacType = hmacKey === null ? null : settings.hmacDigestType ?? "SHA256";
  const packet = encodePacket(fields, {
    key,
    salt: host.randomBytes(SALT_LENGTH),
    mode,
    digestType,
    ...(hmacKey === null || hmacType === null ? {} : { hmacKey, hmacType }),
    ...extensionsOf(fields),
  });
  if (!packet.ok) return failure(`cannot make the packet: ${errorText(packet.error)}`);
  const size = measurePacket(packet.value, mode);
  if (!settings.test && !size.fitsCommandStanza) {
    return failure(
      `packet not sent: it has ${size.length} characters, and servers take ${size.commandLimit}`,
      "ask for less at once, or use a shorter command",
    );
  }
  return done({ fields, packet: packet.value, mode, digestType, hmacType });
}

/** Asymmetric stands for GnuPG and never comes this far. */
function rijndaelMode({ encryptionMode = "CBC" }: KnockSettings): RijndaelMode {
  return encryptionMode === "Asymmetric" ? "CBC" : encryptionMode;
}

function errorText({ code, text }: SpaError): string {
  return `Error ${code} - ${text}`;
}

function savePacket(wire: string, settings: KnockSettings, host: Host, ui: Ui): void {
  const path = settings.savePacket;
  if (path === undefined) return;
  try {
    const how = settings.appendPacket ? "append" : "truncate";
    host.writeTextFile(path, `${wire}\n`, { mode: 0o600, how });
  } catch (error) {
    ui.warn(`write_spa_packet_data: cannot write "${path}": ${reasonOf(error)}`);
  }
}

/** Opens the packet again as a server would. */
async function testPacket(
  made: MadePacket,
  keys: KnockKeys,
  gpg: GpgSetup | null,
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): Promise<Outcome<void>> {
  if (keys.hmacKey?.length === 0) {
    showTested(made, null, settings, ui);
    return failure("cannot decode the packet again: the HMAC key is empty");
  }
  const opened = gpg === null
    ? reopenPacket(made, keys)
    : await (await loadGpg()).reopenGpgPacket(made, keys, gpg, settings, host);
  showTested(made, opened.ok ? opened.value : null, settings, ui);
  return opened.ok ? done(undefined) : opened;
}

function reopenPacket(
  { fields, packet, mode, hmacType }: MadePacket,
  { key, hmacKey }: KnockKeys,
): Outcome<DecodedPacket> {
  const decoded = decodePacket(packet.wire, {
    key,
    mode,
    ...(hmacKey === null || hmacType === null ? {} : { hmacKey, hmacType }),
    ...extensionsOf(fields),
  });
  if (decoded.ok) return done(decoded.value);
  return failure(`cannot decode the packet again: ${errorText(decoded.error)}`);
}

/**
 * Warns of an address that leaves it to the packet's source who is let in, since anyone on the way
 * can send the packet on from another, and of one that fwknopd cannot read.
 */
function warnOfAddress(
  { message }: SpaFields,
  settings: KnockSettings,
  host: Host,
  ui: Ui,
): void {
  const address = message.slice(0, message.indexOf(","));
  const attended = (settings.verbose ?? 0) > 0 || host.isTerminal("stderr");
  if (isSourceAddress(address) && attended) {
    ui.warn("[-] WARNING: Should use -a or -R to harden SPA against potential MITM attacks");
  }
  if (extensionsOf({ message }).ipv6) {
    ui.warn(`only "spa serve" understands a request for an IPv6 address; fwknopd refuses it`);
  }
}
