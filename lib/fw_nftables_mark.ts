// Rules that change the mark of packets behind the chain that gives it to those of grants.

import { reachableFrom } from "./fw_nftables_fate.ts";
import {
  isRecord,
  type NftChain,
  type NftRule,
  OWN_TABLE,
  type Ruleset,
  sameTable,
  sharesPackets,
} from "./fw_nftables_ruleset.ts";

/** Priority of the chains that mark: that of `mangle`, ahead of `filter` (nft(8), table 6). */
export const MARK_PRIORITY = -150;

/** A rule that does not keep the bits of a mark. */
export interface MarkRewrite {
  /** The base chain that leads to it. */
  readonly chain: NftChain;
  readonly handle: number;
  /** Whether it meets all packets of its base chain. */
  readonly always: boolean;
}

/**
 * The rules that take bits of a mark off packets on their way to chains that are to accept it.
 *
 * @param accepting chains of one hook
 */
export function rewritesMark(
  ruleset: Ruleset,
  accepting: readonly NftChain[],
  mark: number,
): MarkRewrite[] {
  return ruleset.chains.filter(({ priority }) => priority >= MARK_PRIORITY).flatMap((chain) => {
    const behind = accepting.filter((one) =>
      one.hook === chain.hook && sharesPackets(one, chain) && one.priority >= chain.priority
    );
    if (behind.length === 0 || sameTable(chain, OWN_TABLE)) return [];
    const isAhead = behind.some(({ priority }) => priority > chain.priority);
    return reachableFrom(ruleset, chain).flatMap((reached) =>
      reached.rules.filter((rule) => takesOff(rule, mark)).map(({ handle, statements }) => ({
        chain,
        handle,
        always: isAhead && reached === chain &&
          statements.every((statement) => "mangle" in statement || "counter" in statement),
      }))
    );
  });
}

function takesOff({ statements }: NftRule, mark: number): boolean {
  return statements.some(({ mangle }) =>
    isRecord(mangle) && isMark(mangle.key) && !keeps(mangle.value, BigInt(mark))
  );
}

/** Whether a new value has all bits of a mark if the present one has. */
function keeps(value: unknown, mark: bigint): boolean {
  if (typeof value === "number") return (bitsOf(value) & mark) === mark;
  if (isMark(value)) return true;
  if (!isRecord(value)) return false;
  const { "|": either, "&": both } = value;
  if (Array.isArray(either)) return either.some((part) => keeps(part, mark));
  return Array.isArray(both) && both.every((part) => keeps(part, mark));
}

/** Whatever JSON has for a number. */
function bitsOf(value: number): bigint {
  return Number.isSafeInteger(value) ? BigInt(value) : 0n;
}

function isMark(key: unknown): boolean {
  return isRecord(key) && isRecord(key.meta) && key.meta.key === "mark";
}
