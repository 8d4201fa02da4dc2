// Which of many address lists an address is in, without looking at each of them.

import type { AddressList, AddressRange, IpAddress, IpVersion } from "./net_address.ts";

/** Address lists that can be asked all at once. */
export interface AddressIndex {
  /** Positions of the lists that have the address, in ascending order, each once. */
  positionsOf(address: IpAddress): readonly number[];
}

/** All prefixes of one length: the address without its host bits leads to positions. */
interface Level {
  readonly hostBits: bigint;
  readonly positions: Map<bigint, number[]>;
}

const BITS: Readonly<Record<IpVersion, bigint>> = { 4: 32n, 6: 128n };

/**
 * Makes the index. Asking it costs a look-up for each prefix length that is used, however many
 * lists there are, and what it gives.
 *
 * @param lists null stands for every address
 */
export function indexAddresses(lists: readonly (AddressList | null)[]): AddressIndex {
  const everywhere: number[] = [];
  const levels: Record<IpVersion, Map<bigint, Level>> = { 4: new Map(), 6: new Map() };

  for (const [position, list] of lists.entries()) {
    if (list === null || list.any) {
      everywhere.push(position);
      continue;
    }
    for (const range of list.ranges) {
      for (const { first, hostBits } of prefixesOf(range)) {
        const level = entry(levels[range.version], hostBits, () => ({
          hostBits,
          positions: new Map<bigint, number[]>(),
        }));
        const positions = entry(level.positions, first >> hostBits, () => []);
        if (positions.at(-1) !== position) positions.push(position);
      }
    }
  }

  return {
    positionsOf({ version, value }) {
      let found: readonly number[] = everywhere;
      for (const { hostBits, positions } of levels[version].values()) {
        const more = positions.get(value >> hostBits);
        if (more !== undefined) found = found.length === 0 ? more : merge(found, more);
      }
      return found;
    },
  };
}

function entry<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const present = map.get(key);
  if (present !== undefined) return present;
  const value = make();
  map.set(key, value);
  return value;
}

/** Cuts a range into as few prefixes as make it up. */
function* prefixesOf(
  { version, first, last }: AddressRange,
): Generator<{ first: bigint; hostBits: bigint }> {
  for (let start = first; start <= last;) {
    let hostBits = 0n;
    while (hostBits < BITS[version]) {
      const size = 1n << (hostBits + 1n);
      if (start % size !== 0n || start + size - 1n > last) break;
      hostBits++;
    }
    yield { first: start, hostBits };
    start += 1n << hostBits;
  }
}

/** Two ascending lists as one, without doubles. */
function merge(left: readonly number[], right: readonly number[]): number[] {
  const merged: number[] = [];
  let from = 0;
  for (const position of left) {
    while (from < right.length && right[from]! < position) merged.push(right[from++]!);
    if (right[from] === position) from++;
    merged.push(position);
  }
  while (from < right.length) merged.push(right[from++]!);
  return merged;
}
