// Whether iptables could be set up, found out by reading alone: the program, tables, chains, and
// the places of jumps.

import type { CheckOutcome, FirewallCall, FirewallPlanner, Plan } from "./fw_firewall.ts";
import { inspectChains, type IptablesChain, misplacedJump } from "./fw_iptables_chains.ts";
import { explainFailure, type IptablesPrograms } from "./fw_iptables_edit.ts";
import type { ProgramResult } from "./host.ts";

/** Milliseconds in which a program should say its version; one that is something else may wait. */
const VERSION_TIMEOUT = 10_000;

/** A planner whose set-up and check first look whether the program is what it should be. */
export function withKnownProgram<P extends Required<Pick<FirewallPlanner, "setUp" | "check">>>(
  planner: P,
  programs: IptablesPrograms,
): P {
  return {
    ...planner,
    *setUp(flush) {
      const reason = yield* findForeignProgram(programs);
      return reason === null ? yield* planner.setUp(flush) : { ok: false, reason };
    },
    *check() {
      const reason = yield* findForeignProgram(programs);
      return reason === null ? yield* planner.check() : { ok: false, reason };
    },
  };
}

/**
 * Tells why chains could not be set up.
 *
 * @param flush whether the jumps of an earlier run would be replaced
 */
export function* checkChains(
  programs: IptablesPrograms,
  chains: readonly IptablesChain[],
  flush: boolean,
): Plan<CheckOutcome> {
  const found = yield* inspectChains(programs, chains);
  if (!found.ok) return found;
  const misplaced = misplacedJump(found.states, flush);
  return misplaced === null ? { ok: true, lines: [] } : { ok: false, reason: misplaced };
}

/** Why a program is not the iptables it should be; null when it is. */
function* findForeignProgram(programs: IptablesPrograms): Plan<string | null> {
  const call = versionCall(programs.iptables);
  const [result] = yield [call];
  const name = programs.family === "ipv6" ? "ip6tables" : "iptables";
  const text = (result?.stdout ?? "").trim();
  if (result?.status === 0 && text.startsWith(`${name} v`)) return null;
  if (result?.status !== 0) {
    const why = explainFailure(call.call, result);
    if (result?.stderr.trim() === "") return `${programs.iptables} is no ${name}; ${why}`;
    return why.includes(programs.iptables) ? why : `${programs.iptables}: ${why}`;
  }
  const said = text === "" ? "it tells no version" : `it says "${text.split("\n")[0]}"`;
  return `${programs.iptables} is no ${name}: ${said}`;
}

/** Asks a program for its version. */
export function versionCall(program: string): FirewallCall {
  const args = ["-V"];
  return { call: { program, args, timeout: VERSION_TIMEOUT }, echo: [`${program} -V`] };
}

/** Which tables an iptables edits; null when it does not tell. */
export function variantOf(result: ProgramResult | undefined): "nft" | "legacy" | null {
  const word = /^ip6?tables v\S+ \((nf_tables|legacy)\)/.exec(result?.stdout ?? "")?.[1];
  return word === "nf_tables" ? "nft" : word === "legacy" ? "legacy" : null;
}
