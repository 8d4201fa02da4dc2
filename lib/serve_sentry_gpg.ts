// gpg for a sentry, which may run no program and does not know the passphrases: it asks the monitor.

import type { GpgAnswer, GpgRequest } from "./auth_gpg.ts";
import type { Report } from "./serve_pipe_reports.ts";
import { encodeBase64 } from "./spa_base64.ts";

type Decryption = GpgAnswer["decryption"];

/** Questions to the monitor that wait for their answers. */
export interface GpgQuestions {
  /** Resolves with the monitor's answer; never rejects. */
  ask(request: GpgRequest, generation: number): Promise<Decryption>;
  /** Takes an answer; one to no question means nothing. */
  answer(id: number, decryption: Decryption): void;
  /** Waits for no answer any more: those that wait and those that come are `busy`. */
  giveUp(): void;
}

/** Nothing is asked yet. */
export function createGpgQuestions(tell: (report: Report) => void): GpgQuestions {
  const waiting = new Map<number, (answer: Decryption) => void>();
  let lastId = 0;
  let isGivenUp = false;
  return {
    ask({ stanza, message, isAuthenticated }, generation) {
      if (isGivenUp) return Promise.resolve("busy");
      const id = ++lastId;
      const answer = new Promise<Decryption>((resolve) => waiting.set(id, resolve));
      const text = encodeBase64(message);
      tell({ kind: "decrypt", id, generation, stanza, message: text, isAuthenticated });
      return answer;
    },
    answer(id, decryption) {
      waiting.get(id)?.(decryption);
      waiting.delete(id);
    },
    giveUp() {
      isGivenUp = true;
      for (const answer of waiting.values()) answer("busy");
      waiting.clear();
    },
  };
}
