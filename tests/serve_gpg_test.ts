// How many gpg run at a time, and what they are told, with programs that the test plays.

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { BytesCall, BytesResult } from "../lib/host.ts";
import { createGpgDecryptor } from "../lib/serve_gpg.ts";
import type { GpgDecryption } from "../lib/spa_gpg_status.ts";

/** A decryptor over programs that end when the test says so. */
function lanes(): {
  readonly ask: (isAuthenticated: boolean) => Promise<GpgDecryption | "busy">;
  readonly calls: BytesCall[];
  readonly end: () => void;
  readonly close: () => void;
} {
  const calls: BytesCall[] = [];
  const ends: ((result: BytesResult) => void)[] = [];
  const decryptor = createGpgDecryptor({
    runOnBytes(call) {
      calls.push(call);
      return new Promise((resolve) => ends.push(resolve));
    },
  });
  const settings = { GPG_EXE: "/bin/gpg", GPG_HOME_DIR: "/gnupg", GPG_DECRYPT_PW: "TestPass" };
  return {
    ask: (isAuthenticated) =>
      decryptor.decrypt({ settings, message: new Uint8Array(1), isAuthenticated }),
    calls,
    end: () => ends.shift()?.({ status: 2, stdout: new Uint8Array(), stderr: "" }),
    close: decryptor.close,
  };
}

/** Lets promises that can go on do so. */
async function turn(): Promise<void> {
  for (let step = 0; step < 10; step++) await Promise.resolve();
}

Deno.test("few gpg run at a time, some packets wait, and all others are refused", async () => {
  const { ask, calls, end } = lanes();
  const answers: string[] = [];
  for (let number = 0; number < 1000; number++) {
    void ask(false).then((answer) => answers.push(answer === "busy" ? "busy" : "run"));
  }
  await turn();
  strictEqual(calls.length, 2);
  deepStrictEqual([answers.length, new Set(answers)], [982, new Set(["busy"])]);
  void ask(true);
  await turn();
  strictEqual(calls.length, 3, "who has the HMAC key does not wait behind strangers");
  for (let done = 0; done < 19; done++) {
    end();
    await turn();
    ok(calls.length <= done + 1 + 2 + 1, "one goes in for one that comes out");
  }
  strictEqual(answers.filter((answer) => answer === "run").length, 18);
  strictEqual(calls.length, 19);
});

Deno.test("closing refuses what waits and what comes, and lets a run end", async () => {
  const { ask, calls, end, close } = lanes();
  const answers = Array.from({ length: 6 }, () => ask(true));
  await turn();
  strictEqual(calls.length, 4);
  close();
  deepStrictEqual(await Promise.all([answers[4], answers[5], ask(true)]), ["busy", "busy", "busy"]);
  end();
  ok(typeof await answers[0] === "object");
});

Deno.test("the passphrase is in gpg's input, never on its command line", async () => {
  const { ask, calls, end } = lanes();
  const answer = ask(true);
  await turn();
  end();
  await answer;
  const [call] = calls;
  strictEqual(call?.program, "/bin/gpg");
  ok(call.args.join(" ").includes("--homedir /gnupg"));
  ok(!JSON.stringify(call.args).includes("TestPass"));
  strictEqual(new TextDecoder().decode(call.stdin).slice(0, 9), "TestPass\n");
});

Deno.test("a gpg that cannot be started or does not end is a refusal", async () => {
  const message = new Uint8Array(10);
  for (const [status, detail] of [[127, "cannot run /bin/gpg"], [137, "did not end in time"]]) {
    const decryptor = createGpgDecryptor({
      runOnBytes: () =>
        Promise.resolve({ status: Number(status), stdout: new Uint8Array(), stderr: "" }),
    });
    const settings = { GPG_EXE: "/bin/gpg", GPG_HOME_DIR: null, GPG_DECRYPT_PW: "" };
    const answer = await decryptor.decrypt({ settings, message, isAuthenticated: true });
    ok(answer !== "busy" && !answer.ok);
    ok(answer.detail.includes(String(detail)));
  }
});
