// The server's runs of gpg: a few at a time, a few more waiting, all others refused, so that no
// flood of packets becomes a flood of processes.

import type { GpgAnswer, GpgCall } from "./auth_gpg.ts";
import type { Host } from "./host.ts";
import { decryptWithGpg } from "./host_gpg.ts";
import { GPG_PROGRAM } from "./spa_gpg.ts";
import { fieldBytes } from "./spa_text.ts";

/** Decrypts for the sentry. */
export interface GpgDecryptor {
  /** Never rejects. */
  decrypt(request: GpgCall): Promise<GpgAnswer["decryption"]>;
  /** Refuses what waits and all that follows; runs that have begun go on. */
  close(): void;
}

/** How many messages there may be of a kind. */
interface LaneLimits {
  /** Runs of gpg at the same time. */
  readonly running: number;
  /** Messages that wait for one to end. */
  readonly waiting: number;
}

/** Packets with a valid HMAC do not wait behind those of strangers. */
const AUTHENTICATED: LaneLimits = { running: 4, waiting: 128 };
const UNAUTHENTICATED: LaneLimits = { running: 2, waiting: 16 };

/** Milliseconds; decrypting takes gpg some ten, and at first half a second to start its agent. */
const TIMEOUT = 10_000;

/** A decryptor with nothing to do yet. */
export function createGpgDecryptor(host: Pick<Host, "runOnBytes">): GpgDecryptor {
  const authenticated = createLane(AUTHENTICATED);
  const unauthenticated = createLane(UNAUTHENTICATED);
  return {
    async decrypt(request) {
      const lane = request.isAuthenticated ? authenticated : unauthenticated;
      if (!await lane.enter()) return "busy";
      try {
        return await run(host, request);
      } finally {
        lane.leave();
      }
    },
    close() {
      authenticated.close();
      unauthenticated.close();
    },
  };
}

async function run(
  host: Pick<Host, "runOnBytes">,
  { settings, message }: GpgCall,
): Promise<GpgAnswer["decryption"]> {
  const { GPG_EXE, GPG_HOME_DIR, GPG_DECRYPT_PW } = settings;
  const gpg = { program: GPG_EXE ?? GPG_PROGRAM, homeDirectory: GPG_HOME_DIR };
  const passphrase = GPG_DECRYPT_PW ? fieldBytes(GPG_DECRYPT_PW) : "none";
  return await decryptWithGpg(host, gpg, message, passphrase, TIMEOUT);
}

interface Lane {
  /** Resolves with true when it is one's turn, and with false when there is no room. */
  enter(): Promise<boolean>;
  leave(): void;
  close(): void;
}

function createLane({ running: mostRunning, waiting: mostWaiting }: LaneLimits): Lane {
  const waiting: ((admitted: boolean) => void)[] = [];
  let running = 0;
  let closed = false;
  return {
    enter() {
      if (closed || (running >= mostRunning && waiting.length >= mostWaiting)) {
        return Promise.resolve(false);
      }
      if (running < mostRunning) {
        running++;
        return Promise.resolve(true);
      }
      return new Promise((resolve) => void waiting.push(resolve));
    },
    leave() {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next(true);
    },
    close() {
      closed = true;
      for (const refuse of waiting.splice(0)) refuse(false);
    },
  };
}
