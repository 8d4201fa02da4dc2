// Which stanzas a packet is for, by where it comes from and where it goes to.

import { indexAddresses } from "./auth_index.ts";
import type { Knock } from "./auth_knock.ts";
import type { Stanza } from "./conf_access.ts";
import { addressListHas } from "./net_address.ts";

/** Stanzas by their addresses. */
export interface Selection {
  /**
   * Chooses the stanzas whose SOURCE and DESTINATION a packet matches.
   *
   * @param misdirected whether to give those of another DESTINATION, too
   */
  choose(knock: Pick<Knock, "source" | "destination">, misdirected: boolean): Chosen;
}

/** Stanzas chosen for a packet. */
export interface Chosen {
  /** Whether any stanza's SOURCE has the packet's source, wherever the packet goes to. */
  readonly sourceIsKnown: boolean;
  /** Positions in the order of the file. */
  readonly positions: readonly number[];
}

/** Makes ready what chooses among these stanzas. */
export function prepareSelection(
  stanzas: readonly Pick<Stanza, "SOURCE" | "DESTINATION">[],
): Selection {
  const bySource = indexAddresses(stanzas.map(({ SOURCE }) => SOURCE));
  const byDestination = stanzas.every(({ DESTINATION }) => DESTINATION === null)
    ? null
    : indexAddresses(stanzas.map(({ DESTINATION }) => DESTINATION));
  return {
    choose({ source, destination }, misdirected) {
      const fromThere = bySource.positionsOf(source);
      const sourceIsKnown = fromThere.length > 0;
      if (misdirected || byDestination === null || !sourceIsKnown) {
        return { sourceIsKnown, positions: fromThere };
      }
      const toThere = byDestination.positionsOf(destination);
      // The shorter list is looked through, and the other side asked of each stanza in it.
      const positions = fromThere.length <= toThere.length
        ? fromThere.filter((position) => isFor(stanzas[position]!.DESTINATION, destination))
        : toThere.filter((position) => isFor(stanzas[position]!.SOURCE, source));
      return { sourceIsKnown, positions };
    },
  };
}

function isFor(list: Stanza["DESTINATION"], address: Knock["destination"]): boolean {
  return list === null || addressListHas(list, address);
}
