// Kills a gateway with SIGKILL at random instants of a packet stream, starts it again, and counts
// what the kernel was told to open: no packet twice, and nothing longer than it was granted.

import { GRANT_SECONDS, killRounds, killRoundsMissing } from "../tests/lab/kill_rounds.ts";
import { labMissing, openLab } from "../tests/lab/lab.ts";

const USAGE = `usage: scripts/durability [ROUNDS]

Builds dist/spa, kills it ROUNDS times (200 by default) in a network namespace of its own, and fails
when a packet opened twice or when a grant outlived its time by more than a second. Needs root.
`;
const SLACK = 1000;

async function main(args: readonly string[]): Promise<number> {
  const [text = "200"] = args;
  if (!/^\d{1,5}$/.test(text) || args.length > 1) {
    console.error(USAGE);
    return text === "-h" || text === "--help" ? 0 : 2;
  }
  const missing = labMissing() ?? killRoundsMissing();
  if (missing !== null) {
    console.error(`durability: ${missing}`);
    return 1;
  }
  const rounds = Number(text);
  const lab = await openLab();
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => closing ??= lab.close();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(name, () => void close());
  }
  try {
    const result = await killRounds(lab, rounds, (round, opened) => {
      if (round % 20 === 0) console.log(`${round} rounds, ${opened} grants`);
    });
    const { packets, opened, midway, twice, lastGrant } = result;
    console.log(`${rounds} times killed, in ${midway} of them between two grants of a stream.`);
    console.log(`${packets} packets, each sent in several rounds: ${opened} opened their port.`);
    console.log(`Opened more than once: ${twice.length === 0 ? "none" : twice.join(", ")}.`);
    const seconds = (lastGrant / 1000).toFixed(1);
    console.log(`The last grants of ${GRANT_SECONDS} s ended ${seconds} s after the last kill.`);
    return twice.length === 0 && lastGrant <= GRANT_SECONDS * 1000 + SLACK ? 0 : 1;
  } catch (error) {
    if (closing === null) throw error;
    return 1;
  } finally {
    await close();
  }
}

Deno.exit(await main(Deno.args));
