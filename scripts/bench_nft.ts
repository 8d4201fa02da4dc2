// Measures what one new grant costs in nftables, in a chain of the administrator's, with
// libnftables and with the program nft, while few and many are open, and beside few and many rules
// of somebody else. Run it in a network namespace of its own:
//   sudo unshare --net .tools/bin/deno run --allow-all scripts/bench_nft.ts

import type { FirewallRule } from "../lib/fw_firewall.ts";
import { type NftablesConfig, nftablesPlanner } from "../lib/fw_nftables.ts";
import { NFT_PROGRAM } from "../lib/fw_nftables_calls.ts";
import { elementScript } from "../lib/fw_nftables_elements.ts";
import type { Host } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import { createLog } from "../lib/serve_log.ts";
import { nftRunner } from "../lib/serve_nft.ts";
import { runPlan } from "../lib/serve_plan.ts";
import { quantile } from "./bench_result.ts";

const OPEN = [10, 10_000, 100_000] as const;
const FOREIGN_RULES = 4000;
const CALLS = 200;
/** Elements that are put in at a time before anything is measured. */
const BATCH = 2000;
const CONFIG: NftablesConfig = {
  NFT_EXE: null,
  NFT_ATTACH: null,
  NFT_MARK: null,
  ENABLE_DEFAULT_DROP: [],
  FLUSH_IPT_AT_INIT: true,
  FLUSH_IPT_AT_EXIT: true,
  ENABLE_DESTINATION_RULE: false,
  ENABLE_IPT_FORWARDING: false,
  ENABLE_IPT_LOCAL_NAT: false,
  ENABLE_IPT_SNAT: false,
  ENABLE_IPT_OUTPUT: false,
  ENABLE_DOCKER: false,
  SNAT_TRANSLATE_IP: null,
};
const CLOSED_INPUT = `table inet filter {
  chain input { type filter hook input priority filter; policy drop; }
}
`;
const PLANNER = nftablesPlanner(CONFIG);

/** The rules that open a port for the address of a number. */
function rulesFor(number: number): readonly FirewallRule[] {
  const choice = PLANNER.rulesFor({
    kind: "access",
    stanza: 1,
    source: `10.${number >> 16}.${number >> 8 & 255}.${number & 255}`,
    destination: "192.0.2.1",
    ports: [{ protocol: "tcp", port: 22 }],
    seconds: 3600,
    expires: Math.floor(Date.now() / 1000) + 3600,
  });
  if (!choice.ok) throw new Error(choice.reason);
  return choice.rules;
}

async function main(): Promise<void> {
  // What it makes stays, and must not stay in the machine's own firewall.
  const host = denoHost();
  const devices = host.readTextFile("/proc/self/net/dev").matchAll(/^\s*(\S+):/gm);
  if (devices.some(([, name]) => name !== "lo")) {
    throw new Error("run it in a network namespace of its own");
  }
  if ((await host.native()).openNftables() === null) throw new Error("libnftables is missing");
  const engines = [["libnftables", nftRunner(host, null)], ["nft -f -", host]] as const;
  const log = createLog(0, () => {});
  const load = async (text: string): Promise<void> => {
    const call = { program: NFT_PROGRAM, args: ["-f", "-"], stdin: text };
    const { status, stderr } = await host.run(call);
    if (status !== 0) throw new Error(stderr);
  };
  await load(CLOSED_INPUT);
  const outcome = await runPlan(host, log, PLANNER.setUp(true));
  if (!outcome.ok) throw new Error(outcome.reason);
  let number = 0;

  async function measure(title: string): Promise<void> {
    for (const [name, runner] of engines) {
      const samples: number[] = [];
      for (let call = 0; call < CALLS; call++) samples.push(await timed(runner));
      const [median, most] = [0.5, 0.95].map((part) => quantile(samples, part).toFixed(2));
      console.log(`${title}, ${name}: ${median} ms (95 %: ${most})`);
    }
  }

  /** Milliseconds until a grant is open, and its place is known to be in force. */
  async function timed(runner: Pick<Host, "run">): Promise<number> {
    const rules = rulesFor(number++);
    const begin = performance.now();
    const added = await runPlan(runner, log, PLANNER.add(rules));
    const took = performance.now() - begin;
    if (!added.ok) throw new Error(added.reason);
    if (added.repaired.length > 0) throw new Error("the set-up was taken for damaged");
    return took;
  }

  for (const open of OPEN) {
    while (number < open) {
      const count = Math.min(BATCH, open - number);
      const rules = Array.from({ length: count }, () => rulesFor(number++)).flat();
      await load(rules.flatMap((rule) => elementScript(rule, "new")).join("\n") + "\n");
    }
    await measure(`${open} grants open`);
  }
  const foreign = Array.from(
    { length: FOREIGN_RULES },
    (_, index) => `ip saddr 10.1.${index >> 8}.${index & 255} tcp dport ${index + 1} drop\n`,
  );
  await load(`table inet foreign {\nchain rules {\n${foreign.join("")}}\n}\n`);
  await measure(`${OPEN.at(-1)} grants open, ${FOREIGN_RULES} rules of somebody else`);
}

if (import.meta.main) await main();
