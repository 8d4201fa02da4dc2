// What stands between a client and a port that Docker publishes. Docker translates such
// connections and accepts them, for everybody, in rules that it writes through iptables or, as of
// version 29, in tables of its own. Here is where others drop them.

import {
  closedChains,
  fateIn,
  matchesMark,
  type PacketTraits,
  targetsIn,
  valuesIn,
} from "./fw_nftables_fate.ts";
import {
  belongsToIptables,
  isRecord,
  type NftChain,
  type NftRule,
  type Ruleset,
  sameTable,
} from "./fw_nftables_ruleset.ts";

/** The tables that Docker has where it does without iptables. */
const NATIVE_TABLE = "docker-bridges";
/** The chain of iptables that Docker leaves to administrators. */
const USER_CHAIN = "DOCKER-USER";

/** Base chains outside Docker and iptables that drop new connections to published ports. */
export function closedToPublished(ruleset: Ruleset): NftChain[] {
  return closedChains(ruleset, "forward", newConnection(null)).filter((chain) =>
    chain.table !== NATIVE_TABLE && !isPassedByDocker(ruleset, chain)
  );
}

/**
 * The chain of iptables that drops new connections to published ports before Docker accepts them;
 * null for none. Grants cannot go there: iptables 1.8.9 takes a rule that looks up a set for one
 * that accepts everything of the protocol.
 *
 * @param mark what packets of grants carry
 */
export function barringChain(ruleset: Ruleset, mark: number | null): NftChain | null {
  const traits = newConnection(mark);
  const drops = (chain: NftChain): boolean => fateIn(ruleset, chain, traits) === "drop";
  for (const chain of ruleset.chains.filter((one) => isPassedByDocker(ruleset, one))) {
    if (!drops({ ...chain, rules: chain.rules.slice(0, rulesBeforeDocker(chain)) })) continue;
    const users = ruleset.chains.find((one) => one.chain === USER_CHAIN && sameTable(one, chain));
    return users !== undefined && drops(users) ? users : chain;
  }
  return null;
}

/**
 * Whether Docker's own rules in a chain of iptables let published ports pass whatever its policy
 * is, or will when Docker starts: it puts them first.
 */
function isPassedByDocker(ruleset: Ruleset, chain: NftChain): boolean {
  if (chain.hook !== "forward" || !belongsToIptables(chain)) return false;
  const native = { family: chain.family, table: NATIVE_TABLE };
  return chain.rules.some(jumpsToDocker) ||
    !ruleset.tables.some((table) => sameTable(table, native));
}

/** How many rules packets meet in a chain of iptables before those that Docker has for itself. */
function rulesBeforeDocker({ rules }: NftChain): number {
  const own = rules.findIndex(jumpsToDocker);
  if (own >= 0) return own;
  return 1 + rules.findIndex(({ statements }) => targetsIn(statements).includes(USER_CHAIN));
}

function jumpsToDocker({ statements }: NftRule): boolean {
  return targetsIn(statements).some((name) => name.startsWith("DOCKER") && name !== USER_CHAIN);
}

/** What is known of the first packet of a connection from another host to a published port. */
function newConnection(mark: number | null): PacketTraits {
  return {
    meets({ match, xt }) {
      // Its number is not in the JSON.
      if (isRecord(xt)) return mark !== null && xt.type === "match" && xt.name === "mark" && "all";
      if (!isRecord(match)) return false;
      if (mark !== null && matchesMark(match, mark)) return "all";
      const { op, left, right } = match;
      if (!isRecord(left)) return false;
      const negated = op === "!=";
      const values = valuesIn(right).map(String);
      if (isRecord(left.ct)) {
        const known = left.ct.key === "status" ? "dnat" : left.ct.key === "state" ? "new" : "";
        return !negated && values.includes(known) && "all";
      }
      if (isRecord(left.payload)) return negated && left.payload.field === "saddr" && "some";
      const key = isRecord(left.meta) ? String(left.meta.key) : "";
      // It comes from some interface, and goes to one of Docker's.
      if (/^iif(name)?$/.test(key)) {
        return values.some((one) => isBridge(one) === negated) && "some";
      }
      if (/^oif(name)?$/.test(key)) {
        return values.some((one) => isBridge(one) !== negated) && "some";
      }
      return false;
    },
  };
}

/** The names that Docker gives to bridges, and how rules match all of them. */
function isBridge(name: string): boolean {
  return /^(docker|br-[\da-f]{12}$|br-?\*$)/.test(name);
}
