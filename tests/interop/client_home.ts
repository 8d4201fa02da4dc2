// A home directory for tests that run `spa knock` and the real fwknop with the same arguments.

import { hasProgram, spaCommand } from "../lab/lab.ts";
import { type Finished, run } from "../lab/process.ts";

/** Why the two cannot be compared here, or null when they can. */
export const fwknopMissing: string | null = hasProgram("fwknop") && hasProgram("setsid")
  ? null
  : "needs the programs fwknop and setsid";

/** What a test's title adds where something is missing. */
export function because(missing: string | null): string {
  return missing === null ? "" : ` (${missing})`;
}

/** How {@linkcode ClientHome.run} runs a client. */
export interface ClientRun {
  readonly input?: string;
  /** Undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A home directory, and the clients in it. */
export interface ClientHome {
  readonly path: string;
  run(
    client: "fwknop" | "spa",
    args: readonly string[],
    how?: ClientRun,
  ): Promise<Finished>;
}

/** Makes a home directory, gives it to a test, and removes it. */
export async function inClientHome(test: (home: ClientHome) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "spa-client-" });
  const common = { PATH: Deno.env.get("PATH"), LC_ALL: "C", LOGNAME: "alice", HOME: path };
  try {
    await test({
      path,
      run(client, args, { input, env = {} } = {}) {
        const command = client === "fwknop" ? ["fwknop"] : spaCommand("knock");
        const variables = Object.entries({ ...common, DENO_DIR: denoDirectory(), ...env });
        const words = variables.flatMap(([name, value]) =>
          value === undefined ? [] : [`${name}=${value}`]
        );
        // Without a terminal of its own, a client that wants a key cannot wait for somebody to type.
        const whole = ["setsid", "--wait", "env", "-i", ...words, ...command, ...args];
        return run(whole, input === undefined ? {} : { input });
      },
    });
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

/** Where Deno keeps what the sources import; it lies in the home that the test replaces. */
function denoDirectory(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME") ?? ""}/.cache/deno`;
}
