// How fwknop 1.9, the Perl program, names the gateway: `-k HOST`, where `-k` has made keys since.
// Its other spellings need no more than the old names in the table of options.

import type { FoundOption } from "./cmd_getopt.ts";

/** Options beside which `-k` cannot be meant as the gateway. */
const OTHERWISE: readonly string[] = [
  ...["destination", "named-config", "key-gen-file", "save-rc-stanza"],
];

/** A command line in today's terms. */
export interface Translated {
  readonly found: readonly FoundOption[];
  /** The words that belong to no option. */
  readonly operands: readonly string[];
  /** What `-k` names; null when it makes keys, or is not there. */
  readonly gateway: string | null;
}

/**
 * Takes `-k HOST` as the gateway where nothing else can be meant: the line asks for access, names
 * no other gateway, and its only operand follows `-k`. fwknop 2 prints keys then and ignores the
 * rest.
 *
 * @param args the words of the command line
 * @param operands those of them that belong to no option
 */
export function translatePerl(
  args: readonly string[],
  found: readonly FoundOption[],
  operands: readonly string[],
): Translated {
  const [gateway, ...others] = operands;
  const has = (name: string): boolean => found.some((option) => option.name === name);
  const follows = args.some((word, index) => word === "-k" && args[index + 1] === gateway);
  const asksForAccess = has("access") || has("server-cmd");
  if (
    gateway === undefined || others.length > 0 || !follows || !has("key-gen") || !asksForAccess ||
    OTHERWISE.some(has)
  ) {
    return { found, operands, gateway: null };
  }
  const destination = { name: "destination", value: gateway };
  return {
    found: found.map((option) => option.name === "key-gen" ? destination : option),
    operands: [],
    gateway,
  };
}
