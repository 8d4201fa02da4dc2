// Why the kernel does not let go of a set of ours: rules of somebody else look packets up in it.

import { chainText, type Ruleset } from "./fw_nftables_ruleset.ts";
import { isOurChain } from "./fw_nftables_script.ts";

/**
 * What is to be added to the reason for a script's failure; empty when that was another.
 *
 * @param reason what nft says
 */
export function whoRefers(ruleset: Ruleset, script: readonly string[], reason: string): string {
  if (!/resource busy/i.test(reason)) return "";
  const users = script.flatMap((line) => {
    const [, table, name] = /^delete (?:set|map) (\S+ \S+) (\S+)$/.exec(line) ?? [];
    if (name === undefined) return [];
    return ruleset.chains
      .filter((chain) => `${chain.family} ${chain.table}` === table && !isOurChain(chain))
      .flatMap((chain) =>
        chain.rules.filter(({ statements }) => mentions(statements, `@${name}`))
          .map(({ handle }) => `${chainText(chain)} (rule with handle ${handle}) uses ${name}`)
      );
  });
  return users.length === 0 ? "" : `; ${users.join(", ")}, a name of spa's`;
}

function mentions(value: unknown, reference: string): boolean {
  if (value === reference) return true;
  return typeof value === "object" && value !== null &&
    Object.values(value).some((inner) => mentions(inner, reference));
}
