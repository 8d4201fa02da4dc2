// nft's calls without nft: libnftables does the same in this process, in a tenth of the time that
// a process takes. Planners and their driver do not know.

import type { Nftables, NftOutput } from "../ffi/libnftables.ts";
import { NFT_PROGRAM } from "./fw_nftables_calls.ts";
import type { Host, ProgramCall, ProgramResult } from "./host.ts";

/**
 * Runs programs, but hands the calls of nft to libnftables where that is installed.
 *
 * @param program NFT_EXE: the program that is to run in any case; null leaves the choice
 */
export function nftRunner(
  host: Pick<Host, "run" | "native">,
  program: string | null,
): Pick<Host, "run"> {
  if (program !== null) return { run: (call) => host.run(call) };
  let library: Promise<Nftables | null> | null = null;
  return {
    async run(call) {
      if (call.program !== NFT_PROGRAM) return await host.run(call);
      library ??= host.native().then(({ openNftables }) => openNftables());
      const nft = await library;
      return nft === null ? await host.run(call) : await runInProcess(nft, call);
    },
  };
}

const FLAGS: ReadonlyMap<string, NftOutput> = new Map([
  ["--json", "json"],
  ["--terse", "terse"],
]);

/** Some new elements; a deletion takes the kernel 15 ms, and much text takes libnftables longer. */
function isBrief({ stdin }: ProgramCall): boolean {
  return stdin !== undefined && stdin.length <= BRIEF && !/^delete /m.test(stdin);
}

/** Characters: a dozen elements. */
const BRIEF = 2000;

async function runInProcess(nft: Nftables, call: ProgramCall): Promise<ProgramResult> {
  const flags = call.args.flatMap((arg) => FLAGS.get(arg) ?? []);
  const commands = call.stdin ?? call.args.filter((arg) => !FLAGS.has(arg)).join(" ");
  const { ok, output, error } = await nft.run(commands, flags, isBrief(call));
  return { status: ok ? 0 : 1, stdout: output, stderr: error };
}
