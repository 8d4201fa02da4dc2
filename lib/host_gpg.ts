// Runs gpg: one message decrypted, one encrypted, one key looked up. Shared by client and server.

import type { Host } from "./host.ts";
import {
  decryptArguments,
  encryptArguments,
  type GpgHome,
  gpgInput,
  type GpgParties,
  isPassphraseLine,
  listArguments,
  type PassphraseSource,
} from "./spa_gpg.ts";
import { type GpgKey, parseKeyListing } from "./spa_gpg_keys.ts";
import { failedDecryption, type GpgDecryption, parseDecryption } from "./spa_gpg_status.ts";

/** Which gpg to run with which keys. */
export interface Gpg extends GpgHome {
  readonly program: string;
}

/** A passphrase that gpg is given, or where gpg has it from otherwise. */
export type Passphrase = Uint8Array | Exclude<PassphraseSource, "given">;

type GpgHost = Pick<Host, "runOnBytes">;

/** Statuses from here on are not gpg's own: it was killed, or could not be started. */
const NOT_ITS_OWN_STATUS = 126;

function sourceOf(passphrase: Passphrase): PassphraseSource {
  return typeof passphrase === "string" ? passphrase : "given";
}

function inputOf(passphrase: Passphrase, data: Uint8Array): Uint8Array {
  return gpgInput(typeof passphrase === "string" ? null : passphrase, data);
}

function isUnusable(passphrase: Passphrase): boolean {
  return typeof passphrase !== "string" && !isPassphraseLine(passphrase);
}

/**
 * Decrypts a message and verifies its signature. Never rejects.
 *
 * @param timeout milliseconds after which gpg is killed
 */
export async function decryptWithGpg(
  host: GpgHost,
  { program, ...home }: Gpg,
  message: Uint8Array,
  passphrase: Passphrase,
  timeout: number,
): Promise<GpgDecryption> {
  if (isUnusable(passphrase)) return failedDecryption("Bad passphrase");
  const { status, stdout, stderr } = await host.runOnBytes({
    program,
    args: decryptArguments(home, sourceOf(passphrase)),
    stdin: inputOf(passphrase, message),
    timeout,
  });
  if (status === 127) return failedDecryption(`cannot run ${program}`);
  if (status >= NOT_ITS_OWN_STATUS) return failedDecryption(`${program} did not end in time`);
  return parseDecryption(stdout, stderr);
}

/** An encrypted message, or the last line of what gpg says about its failure. */
export type GpgEncryption =
  | { readonly ok: true; readonly message: Uint8Array }
  | { readonly ok: false; readonly detail: string };

/**
 * Encrypts, and signs where there is a signer. Never rejects.
 *
 * @param timeout milliseconds after which gpg is killed
 */
export async function encryptWithGpg(
  host: GpgHost,
  { program, ...home }: Gpg,
  plaintext: Uint8Array,
  parties: GpgParties,
  passphrase: Passphrase,
  timeout: number,
): Promise<GpgEncryption> {
  if (isUnusable(passphrase)) return { ok: false, detail: "a passphrase has only one line" };
  // Without a signer no secret key is used, and gpg would take a passphrase for plaintext.
  const used = parties.signer === null ? "none" : passphrase;
  const { status, stdout, stderr } = await host.runOnBytes({
    program,
    args: encryptArguments(home, parties, sourceOf(used)),
    stdin: inputOf(used, plaintext),
    timeout,
  });
  if (status === 0) return { ok: true, message: stdout };
  return { ok: false, detail: lastLine(stderr) || `${program} ended with status ${status}` };
}

/** Looks up the keys that a name stands for; none when gpg knows none or cannot be run. */
export async function listGpgKeys(
  host: GpgHost,
  { program, ...home }: Gpg,
  kind: "public" | "secret",
  name: string,
): Promise<GpgKey[]> {
  const { stdout } = await host.runOnBytes({
    program,
    args: listArguments(home, kind, name),
    stdin: new Uint8Array(),
    timeout: LISTING_TIMEOUT,
  });
  return parseKeyListing(new TextDecoder().decode(stdout));
}

/** Milliseconds; gpg may first have to bring its trust database up to date. */
const LISTING_TIMEOUT = 60_000;

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.replace(/^gpg: /, "") ?? "";
}
