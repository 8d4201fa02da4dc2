// How gpg(1) is asked to list keys, to encrypt and to decrypt: command lines and what goes in on
// standard input. No shell, no secret on a command line; nothing here runs a program.

/** The gpg that is used where nobody names another. */
export const GPG_PROGRAM = "/usr/bin/gpg";

/**
 * Bytes of plaintext that gpg may give: one more than a packet's fields can have, so that longer
 * ones are known as too long, and a message that expands to gigabytes stays a message.
 */
export const MAX_GPG_OUTPUT = 1500;

/** Which keys gpg works with; null is its own choice: GNUPGHOME, or `.gnupg` in the home directory. */
export interface GpgHome {
  readonly homeDirectory: string | null;
}

/** How gpg gets the passphrase of a secret key. */
export type PassphraseSource =
  /** It is the first line of the standard input. */
  | "given"
  /** There is none; gpg must not ask for one. */
  | "none"
  /** gpg-agent knows it, or asks for it. */
  | "agent";

/** What every call has: no questions, and no network for what a stranger may have sent. */
function commonArguments({ homeDirectory }: GpgHome): string[] {
  return [
    "--batch",
    "--no-tty",
    ...(homeDirectory === null ? [] : ["--homedir", homeDirectory]),
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    "--no-auto-key-locate",
  ];
}

function passphraseArguments(source: PassphraseSource): string[] {
  switch (source) {
    case "given":
      return ["--pinentry-mode", "loopback", "--passphrase-fd", "0"];
    case "none":
      return ["--pinentry-mode", "error"];
    case "agent":
      return [];
  }
}

/**
 * The arguments that list keys for `parseKeyListing`.
 *
 * @param name what names the key: an id, a fingerprint, an address, a part of a user id
 */
export function listArguments(home: GpgHome, kind: "public" | "secret", name: string): string[] {
  const command = kind === "public" ? "--list-keys" : "--list-secret-keys";
  return [...commonArguments(home), "--with-colons", command, "--", name];
}

/** Whom a message is for and who signs it: key names as gpg takes them. */
export interface GpgParties {
  readonly recipient: string;
  /** Null: not signed. */
  readonly signer: string | null;
}

/** The arguments that encrypt the standard input to one recipient, in binary form. */
export function encryptArguments(
  home: GpgHome,
  { recipient, signer }: GpgParties,
  passphrase: PassphraseSource,
): string[] {
  return [
    ...commonArguments(home),
    ...passphraseArguments(signer === null ? "none" : passphrase),
    ...["--no-armor", "--trust-model", "always", "--no-encrypt-to"],
    ...(signer === null ? [] : ["--local-user", signer, "--sign"]),
    ...["--recipient", recipient, "--encrypt"],
  ];
}

/**
 * The arguments that decrypt the standard input and verify its signature. Standard error then holds
 * status lines for `parseDecryption` and nothing else: a text for people could imitate one.
 */
export function decryptArguments(home: GpgHome, passphrase: PassphraseSource): string[] {
  return [
    ...commonArguments(home),
    ...passphraseArguments(passphrase),
    ...["--status-fd", "2", "--logger-file", "/dev/null"],
    ...["--max-output", String(MAX_GPG_OUTPUT), "--decrypt"],
  ];
}

/** Whether a passphrase can be handed to gpg, which reads it as one line. */
export function isPassphraseLine(passphrase: Uint8Array): boolean {
  return !passphrase.includes(LINE_FEED);
}

const LINE_FEED = 0x0a;

/**
 * What gpg reads on its standard input.
 *
 * @param passphrase null unless the passphrase is "given"; see {@linkcode isPassphraseLine}
 */
export function gpgInput(passphrase: Uint8Array | null, data: Uint8Array): Uint8Array {
  if (passphrase === null) return data;
  const input = new Uint8Array(passphrase.length + 1 + data.length);
  input.set(passphrase);
  input[passphrase.length] = LINE_FEED;
  input.set(data, passphrase.length + 1);
  return input;
}

const RSA: ReadonlySet<number> = new Set([1, 2]);
const ELGAMAL = 16;

/**
 * Whether bytes begin as every message does that a packet can carry: a session key encrypted with
 * RSA or ElGamal, and more behind it (RFC 4880 section 5.1). Most junk does not, which spares a
 * run of gpg.
 */
export function beginsLikeGpgMessage(message: Uint8Array): boolean {
  const [tag, high = 0, low = 0, version] = message;
  const length = high * 256 + low;
  const algorithm = message[12] ?? 0;
  if (tag !== 0x85 || version !== 3 || message.length <= 3 + length) return false;
  const end = 3 + length;
  const first = endOfNumber(message, 13);
  if (RSA.has(algorithm)) return first === end;
  return algorithm === ELGAMAL && endOfNumber(message, first) === end;
}

/** Where the multiprecision integer at `start` ends (RFC 4880 section 3.2). */
function endOfNumber(message: Uint8Array, start: number): number {
  const bits = (message[start] ?? 0) * 256 + (message[start + 1] ?? 0);
  return start + 2 + Math.ceil(bits / 8);
}
