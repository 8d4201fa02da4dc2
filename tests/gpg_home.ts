// A directory of GnuPG keys for one test: those of the vectors, a real gpg, and the end of its agent.

import { hasProgram } from "./lab/lab.ts";
import { type Finished, must, run } from "./lab/process.ts";

/** Keys of the vectors, by what their user ids say. */
export const GPG_KEYS = {
  /** RSA 2048, without a passphrase. */
  serverOne: "566E2AFAF9BD5E0D39F1978327DEDE31E1DD83FC",
  /** RSA 3072, passphrase `server-two-pass`. */
  serverTwo: "643280C59711F4DB0A502536E13631F7675EAA7B",
  /** RSA 2048, without a passphrase. */
  clientOne: "52198ABEF25807BA0D4BD1022EDF609AF05BB368",
  /** RSA 3072, passphrase `client two passphrase`. */
  clientTwo: "670E8C39D2EE9AB3ADFCBE187DF3223F9486E607",
  /** Ed25519 and Curve25519. */
  curve: "90BF6C1413C3EF2C9441D0ED8C680E63632CF3F9",
} as const;

/** Why a test with gpg cannot run here, or null. */
export const gpgMissing: string | null = hasProgram("gpg") ? null : "needs the program gpg";

/** A directory for `--homedir`. */
export interface GpgHome {
  readonly path: string;
  run(args: readonly string[], input?: string): Promise<Finished>;
  must(args: readonly string[], input?: string): Promise<string>;
  /** Makes gpg forget passphrases. */
  forget(): Promise<void>;
  /** Ends the agent and removes the directory. */
  close(): Promise<void>;
}

// Loopback: GPGME asks its caller for passphrases only then. The clock: the vectors have their own.
const GPG_CONF = "pinentry-mode loopback\nignore-time-conflict\nignore-valid-from\n";

/** Makes a directory with keys; those in `trusted` count as their owners'. */
export async function openGpgHome(
  keys: "all keys" | "no keys",
  trusted: readonly string[] = [],
): Promise<GpgHome> {
  // Sockets of the agent lie in it, whose paths must be short.
  const path = await Deno.makeTempDir({ dir: "/tmp", prefix: "gpg-" });
  const command = (args: readonly string[]): string[] => [
    ...["gpg", "--homedir", path, "--batch", "--no-tty", "--quiet", ...args],
  ];
  const home: GpgHome = {
    path,
    run: (args, input = "") => run(command(args), { input }),
    must: (args, input = "") => must(command(args), input),
    async forget() {
      await run(["gpgconf", "--homedir", path, "--kill", "gpg-agent"]);
    },
    async close() {
      await run(["gpgconf", "--homedir", path, "--kill", "all"]);
      await Deno.remove(path, { recursive: true });
    },
  };
  try {
    await Deno.writeTextFile(`${path}/gpg.conf`, GPG_CONF);
    await Deno.writeTextFile(`${path}/gpg-agent.conf`, "allow-loopback-pinentry\n");
    if (keys === "all keys") {
      for (const name of ["public", "secret_nopass", "secret_withpass"]) {
        const file = new URL(`vectors/gpg_vectors_${name}.asc`, import.meta.url).pathname;
        await home.must(["--import", file]);
      }
    }
    const owners = trusted.map((fingerprint) => `${fingerprint}:6:\n`).join("");
    if (owners !== "") await home.must(["--import-ownertrust"], owners);
    return home;
  } catch (error) {
    await home.close();
    throw error;
  }
}
