// A gateway under test: its files, its process, and what it has told.

import { type Lab, type LabHost, spaCommand } from "./lab.ts";
import type { Finished, Watched } from "./process.ts";

/** Where a gateway's files are. */
export interface GatewayFiles {
  readonly config: string;
  readonly access: string;
  readonly runDirectory: string;
  /** The options that name them. */
  readonly options: readonly string[];
}

/** Writes a gateway's configuration into a directory of its own. */
export async function writeGatewayFiles(
  directory: string,
  config: string,
  access: string,
): Promise<GatewayFiles> {
  const own = await Deno.makeTempDir({ dir: directory });
  const files = {
    config: `${own}/fwknopd.conf`,
    access: `${own}/access.conf`,
    runDirectory: `${own}/run`,
  };
  await Deno.writeTextFile(files.config, config, { mode: 0o600 });
  await Deno.writeTextFile(files.access, access, { mode: 0o600 });
  const { runDirectory } = files;
  return { ...files, options: ["-c", files.config, "-a", files.access, "-r", runDirectory] };
}

/** Starts `spa serve -f` and waits until it receives packets. */
export async function startGateway(
  lab: Lab,
  files: GatewayFiles,
  ...options: readonly string[]
): Promise<Watched> {
  const gateway = lab.gateway.start(spaCommand("serve", "-f", ...files.options, ...options));
  await gateway.waitFor(/Starting fwknopd main event loop|Kicking off UDP server/);
  return gateway;
}

/** Runs `spa serve` to its end. */
export async function serve(
  host: LabHost,
  files: GatewayFiles,
  ...options: readonly string[]
): Promise<Finished> {
  return await host.run(spaCommand("serve", ...files.options, ...options));
}

/** The firewall's rules without counters and dates, to compare before and after. */
export async function savedRules(host: LabHost, program = "iptables-save"): Promise<string> {
  const text = await host.must([program]);
  return text.split("\n").filter((line) => !line.startsWith("#"))
    .map((line) => line.replace(/\[\d+:\d+\]/, "")).join("\n");
}
