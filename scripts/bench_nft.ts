// Measures what one new grant costs in nftables, with libnftables and with the program nft, while
// few and many are open. Run it in a network namespace of its own:
//   sudo unshare --net .tools/bin/deno run --allow-all scripts/bench_nft.ts

import { NFT_PROGRAM } from "../lib/fw_nftables_calls.ts";
import { elementScript } from "../lib/fw_nftables_elements.ts";
import { elementsOf } from "../lib/fw_nftables_grant.ts";
import { OWN_TABLE } from "../lib/fw_nftables_place.ts";
import { setDeclaration, setsFor } from "../lib/fw_nftables_sets.ts";
import type { ProgramCall } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import { nftRunner } from "../lib/serve_nft.ts";
import { quantile } from "./bench_result.ts";

const OPEN = [10, 10_000, 100_000] as const;
const CALLS = 200;
/** Elements that are put in at a time before anything is measured. */
const BATCH = 2000;
const CONFIG = {
  ENABLE_DESTINATION_RULE: false,
  ENABLE_IPT_FORWARDING: false,
  ENABLE_IPT_LOCAL_NAT: false,
  ENABLE_IPT_SNAT: false,
  ENABLE_IPT_OUTPUT: false,
  ENABLE_DOCKER: false,
  SNAT_TRANSLATE_IP: null,
};
const SETS = setsFor(CONFIG, () => OWN_TABLE);

/** The lines that open a port for the address of a number. */
function grantScript(number: number): string[] {
  const choice = elementsOf(
    {
      kind: "access",
      stanza: 1,
      source: `10.${number >> 16}.${number >> 8 & 255}.${number & 255}`,
      destination: "192.0.2.1",
      ports: [{ protocol: "tcp", port: 22 }],
      seconds: 3600,
      expires: Math.floor(Date.now() / 1000) + 3600,
    },
    SETS,
    CONFIG,
  );
  if (!choice.ok) throw new Error(choice.reason);
  return choice.rules.flatMap((rule) => elementScript(rule, "new"));
}

function callOf(lines: readonly string[]): ProgramCall {
  return { program: NFT_PROGRAM, args: ["--terse", "-f", "-"], stdin: `${lines.join("\n")}\n` };
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
  const must = async (runner: Pick<typeof host, "run">, lines: readonly string[]) => {
    const { status, stderr } = await runner.run(callOf(lines));
    if (status !== 0) throw new Error(stderr);
  };
  await must(host, [
    "add table inet spa",
    ...SETS.map((set) => `add set inet spa ${set.name} ${setDeclaration(set)}`),
  ]);
  let number = 0;
  for (const open of OPEN) {
    while (number < open) {
      const count = Math.min(BATCH, open - number);
      await must(host, Array.from({ length: count }, () => grantScript(number++)).flat());
    }
    for (const [name, runner] of engines) {
      const samples: number[] = [];
      for (let call = 0; call < CALLS; call++) {
        const script = grantScript(number++);
        const begin = performance.now();
        await must(runner, script);
        samples.push(performance.now() - begin);
      }
      const [median, most] = [0.5, 0.95].map((part) => quantile(samples, part).toFixed(2));
      console.log(`${open} grants open, ${name}: ${median} ms (95 %: ${most})`);
    }
  }
}

if (import.meta.main) await main();
