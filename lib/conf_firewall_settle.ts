// What FIREWALL_TYPE comes to in a configuration as a whole: the type where it is not said, the
// program, the variables of one firewall that another has under its own names, and those without
// effect.

import { FIREWALL_PROGRAMS, firewallOfProgram, type FirewallType } from "./conf_firewall.ts";
import type { ServerConfig, ServerVariableName } from "./conf_fwknopd_variables.ts";
import { errorAt, type Problem, warningAt } from "./conf_problem.ts";
import type { Setting } from "./conf_text.ts";

type Settings = ReadonlyMap<ServerVariableName, Setting>;

/** The variables that only one firewall has. */
const VARIABLES_OF = {
  iptables: /^(?:IPT_|ENABLE_IPT_)/,
  firewalld: /FIREWD_/,
  ipfw: /IPFW_/,
  pf: /^PF_/,
} as const;

/** What fwknopd sets with direct rules only: chains of its own, NAT, and answers. */
const DIRECT_VARIABLES =
  /^(?:FIREWD_\w+_ACCESS|ENABLE_FIREWD_(?:FORWARDING|LOCAL_NAT|SNAT|OUTPUT))$/;

/**
 * Settles the firewall's variables: the type where other settings tell it, the program that
 * belongs to it, and the variables of firewalld and ipfw under the names that fwknopd gives those
 * of iptables, so that one name is asked for by whoever comes after.
 */
export function settleFirewall(config: ServerConfig, settings: Settings): ServerConfig {
  const type = settledType(config, settings);
  const hasProgram = type === "firewalld" || type === "ipfw" || type === "pf";
  const direct = settings.has("ENABLE_FIREWD_DIRECT")
    ? config.ENABLE_FIREWD_DIRECT
    : settings.keys().some((name) => DIRECT_VARIABLES.test(name) && config[name] !== false);
  return {
    ...config,
    FIREWALL_TYPE: type,
    ...(hasProgram && !settings.has("FIREWALL_EXE")
      ? { FIREWALL_EXE: FIREWALL_PROGRAMS[type] }
      : {}),
    ENABLE_FIREWD_DIRECT: direct,
    ...commonNames(type, config),
  };
}

/** FIREWALL_EXE tells as much as the builds of fwknopd do, which have one firewall each. */
function settledType(
  config: ServerConfig,
  settings: Settings,
): FirewallType {
  const { FIREWALL_TYPE: type, FIREWALL_EXE } = config;
  if (settings.has("FIREWALL_TYPE") && type !== "auto") return type;
  if (settings.has("FIREWALL_EXE")) return firewallOfProgram(FIREWALL_EXE);
  if (type !== "auto") return type;
  if (placesGrants(config)) return "nftables";
  for (const [owner, names] of Object.entries(VARIABLES_OF)) {
    if (settings.keys().some((name) => names.test(name))) return owner as keyof typeof VARIABLES_OF;
  }
  return "auto";
}

/** Whether it is said where nftables takes its grants. */
function placesGrants({ NFT_ATTACH, NFT_MARK, ENABLE_DEFAULT_DROP }: ServerConfig): boolean {
  return NFT_ATTACH !== null || NFT_MARK !== null || ENABLE_DEFAULT_DROP.length > 0;
}

function commonNames(type: FirewallType, config: ServerConfig): Partial<ServerConfig> {
  switch (type) {
    case "firewalld":
      return {
        ENABLE_IPT_FORWARDING: config.ENABLE_FIREWD_FORWARDING,
        ENABLE_IPT_LOCAL_NAT: config.ENABLE_FIREWD_LOCAL_NAT,
        ENABLE_IPT_SNAT: config.ENABLE_FIREWD_SNAT,
        ENABLE_IPT_OUTPUT: config.ENABLE_FIREWD_OUTPUT,
        ENABLE_IPT_COMMENT_CHECK: config.ENABLE_FIREWD_COMMENT_CHECK,
        FLUSH_IPT_AT_INIT: config.FLUSH_FIREWD_AT_INIT,
        FLUSH_IPT_AT_EXIT: config.FLUSH_FIREWD_AT_EXIT,
        IPT_INPUT_ACCESS: config.FIREWD_INPUT_ACCESS,
        IPT_OUTPUT_ACCESS: config.FIREWD_OUTPUT_ACCESS,
        IPT_FORWARD_ACCESS: config.FIREWD_FORWARD_ACCESS,
        IPT_DNAT_ACCESS: config.FIREWD_DNAT_ACCESS,
        IPT_SNAT_ACCESS: config.FIREWD_SNAT_ACCESS,
        IPT_MASQUERADE_ACCESS: config.FIREWD_MASQUERADE_ACCESS,
      };
    case "ipfw":
      return {
        FLUSH_IPT_AT_INIT: config.FLUSH_IPFW_AT_INIT,
        FLUSH_IPT_AT_EXIT: config.FLUSH_IPFW_AT_EXIT,
      };
    default:
      return {};
  }
}

/** Rules without a set are in set 0, and to flush our set must not take them. */
export function checkIpfwSet(
  { FIREWALL_TYPE, IPFW_ACTIVE_SET_NUM }: ServerConfig,
  settings: Settings,
): Problem[] {
  const setting = settings.get("IPFW_ACTIVE_SET_NUM");
  if (FIREWALL_TYPE !== "ipfw" || IPFW_ACTIVE_SET_NUM !== 0 || setting === undefined) return [];
  const why = "IPFW_ACTIVE_SET_NUM 0 is the set of all rules that name none; ours would flush them";
  return [errorAt(setting.place, why, "write a number from 1 to 30")];
}

/**
 * Warnings for settings that belong to a firewall other than the one in use.
 *
 * @param config settled
 * @param isDefault whether a variable has the value it has when it is not set
 */
export function checkOwners(
  config: ServerConfig,
  settings: Settings,
  isDefault: (name: ServerVariableName) => boolean,
): Problem[] {
  const { FIREWALL_TYPE: type, ENABLE_FIREWD_DIRECT: direct } = config;
  const problems: Problem[] = [];
  for (const [name, { place }] of settings) {
    const owner = ownerOf(name);
    if (owner === null || isDefault(name)) continue;
    // nftables has its own complaints about what it knows by the names of iptables.
    const answersToIptables = owner === "iptables" && (type === "nftables" || type === "auto");
    if (type === owner) {
      if (owner === "firewalld" && !direct && DIRECT_VARIABLES.test(name)) {
        problems.push(warningAt(place, `${name} has no effect with ENABLE_FIREWD_DIRECT N`));
      }
      if (direct && name === "FIREWD_ZONE") {
        problems.push(warningAt(place, "FIREWD_ZONE has no effect with direct rules"));
      }
    } else if (!answersToIptables) {
      problems.push(warningAt(place, `${name} has no effect without FIREWALL_TYPE ${owner}`));
    }
  }
  return problems;
}

function ownerOf(name: ServerVariableName): keyof typeof VARIABLES_OF | null {
  if (name === "PF_EXPIRE_INTERVAL") return null;
  for (const [owner, names] of Object.entries(VARIABLES_OF)) {
    if (names.test(name)) return owner as keyof typeof VARIABLES_OF;
  }
  return null;
}
