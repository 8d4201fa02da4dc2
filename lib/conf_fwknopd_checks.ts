// What single variables cannot tell: settings that contradict each other, and those without effect.
// Whose variables those of firewalld, ipfw and pf are, conf_firewall_settle.ts knows.

import { queueFaults, uselessSources } from "./conf_capture.ts";
import {
  SERVER_VARIABLES,
  type ServerConfig,
  type ServerVariableName,
} from "./conf_fwknopd_variables.ts";
import { errorAt, type Problem, warningAt } from "./conf_problem.ts";
import { isSnatAddress, translatesIpv6 } from "./conf_snat.ts";
import { commandLineSetting, faultAt, type Setting } from "./conf_text.ts";
import { failed } from "./net_list.ts";

/** What single variables cannot tell. */
export function checkCombinations(
  config: ServerConfig,
  settings: ReadonlyMap<ServerVariableName, Setting>,
): Problem[] {
  const problems: Problem[] = [];
  const at = (name: ServerVariableName): Setting =>
    settings.get(name) ?? commandLineSetting(name, "");
  const snat = (["ENABLE_IPT_SNAT", "ENABLE_FIREWD_SNAT"] as const).some((name) => config[name]);
  const address = config.SNAT_TRANSLATE_IP;
  const ipv6 = translatesIpv6(config);
  if (snat && address !== null && !isSnatAddress(address, ipv6)) {
    const why = `Invalid IPv4 ${ipv6 ? "or IPv6 " : ""}addr for SNAT_TRANSLATE_IP`;
    const what = ipv6 ? "address, or one of each IP version with a comma," : "IPv4 address";
    const hint = `write the ${what} that inner hosts should see, or leave it out to masquerade`;
    problems.push(faultAt(at("SNAT_TRANSLATE_IP"), failed(0, address, why, hint).fault));
  }
  const { IPFW_ACTIVE_SET_NUM: active, IPFW_EXPIRE_SET_NUM: expired } = config;
  if (active > 0 && active === expired) {
    const name = settings.has("IPFW_EXPIRE_SET_NUM")
      ? "IPFW_EXPIRE_SET_NUM"
      : "IPFW_ACTIVE_SET_NUM";
    const why = "Cannot set identical ipfw active and expire sets";
    problems.push(faultAt(at(name), failed(0, String(active), why, "use two set numbers").fault));
  }
  for (const { name, fault } of queueFaults(config)) problems.push(faultAt(at(name), fault));
  for (const { name, because } of uselessSources(config)) {
    problems.push(warningAt(at(name).place, `${name} has no effect with ${because}`));
  }
  return problems;
}

/** Settings that only nftables or only iptables has a use for, and those that contradict each other. */
export function checkNftables(
  config: ServerConfig,
  settings: ReadonlyMap<ServerVariableName, Setting>,
): Problem[] {
  const problems: Problem[] = [];
  const warn = (name: ServerVariableName, why: string): void => {
    const setting = settings.get(name);
    if (setting !== undefined) problems.push(warningAt(setting.place, `${name} ${why}`));
  };
  const type = config.FIREWALL_TYPE;
  const placements = ([
    ["NFT_ATTACH", config.NFT_ATTACH !== null],
    ["NFT_MARK", config.NFT_MARK !== null],
    ["ENABLE_DEFAULT_DROP", config.ENABLE_DEFAULT_DROP.length > 0],
  ] as const).flatMap(([name, isSet]) => isSet ? [name] : []);
  if (type !== "nftables" && type !== "auto") {
    for (const name of placements) warn(name, "has no effect without FIREWALL_TYPE nftables");
    return problems;
  }
  // With Docker it names ports to hide, wherever grants go.
  const [first, second] = config.ENABLE_DOCKER
    ? placements.filter((name) => name !== "ENABLE_DEFAULT_DROP")
    : placements;
  const contradicting = second === undefined ? undefined : settings.get(second);
  if (contradicting !== undefined) {
    const why = `${first} and ${second} cannot both be set`;
    problems.push(errorAt(contradicting.place, why, "choose one place for grants"));
  }
  if (type === "nftables") {
    for (const name of ONLY_IPTABLES) {
      if (config[name] !== true) warn(name, "has no effect with FIREWALL_TYPE nftables");
    }
  }
  return problems;
}

/** What only iptables has: its program and chains, and grants that are wider or last longer. */
const ONLY_IPTABLES = [
  "FIREWALL_EXE",
  "IPT_INPUT_ACCESS",
  "IPT_OUTPUT_ACCESS",
  "IPT_FORWARD_ACCESS",
  "IPT_DNAT_ACCESS",
  "IPT_SNAT_ACCESS",
  "IPT_MASQUERADE_ACCESS",
  "ENABLE_FORWARD_DESTINATION",
  "ENABLE_STRICT_SNAT",
  "ENABLE_RULE_RENEWAL",
  "ENABLE_KERNEL_EXPIRY",
] as const;

/** What to say of a setting that differs from its default but does nothing; null if it works. */
export function effectWarning(
  name: ServerVariableName,
  setting: Setting,
  verbose: boolean,
): Problem | null {
  const { effect } = SERVER_VARIABLES[name];
  if (effect === "works" || (effect === "unneeded" && !verbose)) return null;
  return warningAt(setting.place, `${name} ${EFFECT_TEXTS[effect]}`);
}

const EFFECT_TEXTS = {
  unneeded: "has no effect: nothing here needs it",
  useless: "has no effect, here as in fwknopd",
} as const;
