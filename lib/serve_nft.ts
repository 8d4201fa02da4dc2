// nft's calls without nft: libnftables does the same in this process, in a tenth of the time that
// a process takes. Planners and their driver do not know.

import type { Nftables, NftManner, NftOutput } from "../ffi/libnftables.ts";
import type { RuleHandle } from "../ffi/netlink_rules.ts";
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

function mannerOf({ args, stdin }: ProgramCall): NftManner {
  if (args.includes("--check")) return "check";
  // A deletion takes the kernel 15 ms, and much text takes libnftables longer.
  const isBrief = stdin !== undefined && stdin.length <= BRIEF && !/^delete /m.test(stdin);
  return isBrief ? "at once" : "apart";
}

/** Characters: a dozen elements. */
const BRIEF = 2000;

async function runInProcess(nft: Nftables, call: ProgramCall): Promise<ProgramResult> {
  if (call.args.includes("--check")) {
    const known = wouldDelete(nft, call.stdin ?? "");
    if (known !== null) return known ? DONE : NO_RULE;
  }
  const flags = call.args.flatMap((arg) => FLAGS.get(arg) ?? []);
  const commands = call.stdin ?? call.args.filter((arg) => !FLAGS.has(arg)).join(" ");
  const { ok, output, error } = await nft.run(commands, flags, mannerOf(call));
  return { status: ok ? 0 : 1, stdout: output, stderr: error };
}

const DONE: ProgramResult = { status: 0, stdout: "", stderr: "" };
const NO_RULE: ProgramResult = {
  status: 1,
  stdout: "",
  stderr: "Error: Could not process rule: No such file or directory\n",
};

/**
 * Whether the kernel would delete rules, which it would where they are there; null when nobody
 * knows, or if anything else were to change. A check waits for a grace period of the kernel, some
 * 15 ms in which no other change is made; the question for a rule takes none of that.
 */
function wouldDelete({ hasRule }: Nftables, script: string): boolean | null {
  const lines = script.split("\n").filter((line) => line !== "");
  const rules = lines.flatMap((line) => ruleIn(line) ?? []);
  if (rules.length < lines.length) return null;
  const answers = rules.map(hasRule);
  if (answers.includes(false)) return false;
  return answers.includes(null) ? null : true;
}

function ruleIn(line: string): RuleHandle | null {
  const [, family, table, chain, handle] =
    /^delete rule (inet|ip|ip6) (\S+) (\S+) handle (\d+)$/.exec(line) ?? [];
  if (family !== "inet" && family !== "ip" && family !== "ip6") return null;
  return { family, table: table ?? "", chain: chain ?? "", handle: Number(handle) };
}
