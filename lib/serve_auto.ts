// `FIREWALL_TYPE auto`, settled before anything else asks for the firewall: one look at what is in
// force, and the configuration names what was found.

import { chooseFirewall } from "./fw_auto.ts";
import { NFT_PROGRAM } from "./fw_nftables_calls.ts";
import { lookAround, type Surroundings } from "./fw_surroundings.ts";
import type { Host } from "./host.ts";
import { FIREWALL_PROGRAMS } from "./conf_firewall.ts";
import type { Log } from "./serve_log.ts";
import { type Files, firewalldRuns } from "./serve_machine.ts";
import { type FirewallConfig, legacyPrograms, runPlan } from "./serve_plan.ts";

/** A configuration that names its firewall. */
export interface Settled<C> {
  readonly config: C;
  /** One line on what was found; null where nothing was looked for. */
  readonly line: string | null;
}

/** What is known where nobody may look. */
const NOTHING: Surroundings = {
  ruleset: null,
  variant: null,
  filters: { ipv4: null, ipv6: null, legacy4: null, legacy6: null },
};

/** Replaces `auto` by the firewall that is in force; leaves any other alone. */
export async function settleAuto<C extends FirewallConfig>(
  host: Files & Pick<Host, "run" | "uid">,
  log: Pick<Log, "debug" | "verbosity">,
  config: C,
): Promise<Settled<C>> {
  if (config.FIREWALL_TYPE !== "auto") return { config, line: null };
  const program = config.NFT_EXE ?? NFT_PROGRAM;
  const nft = host.stat(program) !== null;
  const plan = lookAround({
    nft: nft ? program : null,
    iptables: host.stat(config.FIREWALL_EXE) === null ? null : config.FIREWALL_EXE,
    filters: { ipv4: null, ipv6: null, ...legacyPrograms(host) },
  });
  const surroundings = host.uid === 0 ? await runPlan(host, log, plan) : NOTHING;
  const choice = chooseFirewall({
    surroundings,
    firewalld: firewalldRuns(host),
    // A kernel without nf_tables lists nothing.
    nft: nft && (surroundings.ruleset !== null || surroundings === NOTHING),
    ownChain: config.IPT_INPUT_ACCESS.to,
  });
  const line = (name: string): string => `FIREWALL_TYPE auto: ${name}, since ${choice.because}`;
  if (choice.type !== "iptables") {
    const FIREWALL_EXE = choice.type === "firewalld"
      ? FIREWALL_PROGRAMS.firewalld
      : config.FIREWALL_EXE;
    return {
      config: { ...config, FIREWALL_TYPE: choice.type, FIREWALL_EXE },
      line: line(choice.type),
    };
  }
  const other = `${config.FIREWALL_EXE}-${choice.variant}`;
  const fits = choice.variant === null || choice.variant === surroundings.variant;
  const FIREWALL_EXE = fits || host.stat(other) === null ? config.FIREWALL_EXE : other;
  return {
    config: { ...config, FIREWALL_TYPE: "iptables", FIREWALL_EXE },
    line: line(FIREWALL_EXE === config.FIREWALL_EXE ? "iptables" : FIREWALL_EXE),
  };
}
