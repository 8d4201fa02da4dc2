// An ipset that lives in memory: sets, elements and its exit statuses. Time does not pass in it.

import type { ProgramCall, ProgramResult } from "../lib/host.ts";

/** Sets for tests. */
export interface FakeIpset {
  run(call: ProgramCall): ProgramResult;
  /** The names of all sets. */
  names(): string[];
  /** The elements of a set, each with its options; null when there is no such set. */
  elements(name: string): string[] | null;
  /** When set, answers for every call. */
  broken: ProgramResult | null;
  /** Elements whose line matches are refused. */
  refuse: RegExp | null;
  /** Sets that a rule of somebody looks up. */
  readonly inUse: Set<string>;
}

interface StoredSet {
  readonly type: string;
  readonly elements: Map<string, string>;
}

export function fakeIpset(): FakeIpset {
  const sets = new Map<string, StoredSet>();

  const fake: FakeIpset = {
    broken: null,
    refuse: null,
    inUse: new Set(),
    names: () => [...sets.keys()],
    elements: (name) => {
      const set = sets.get(name);
      return set === undefined ? null : [...set.elements].map((parts) => parts.join(" "));
    },
    run(call) {
      if (fake.broken !== null) return fake.broken;
      const exist = call.args.includes("-exist");
      if (call.stdin === undefined) return answer(command(call.args, exist));
      for (const [index, line] of call.stdin.trimEnd().split("\n").entries()) {
        const told = command(line.split(" "), exist);
        if (told.startsWith("ipset ")) {
          return answer(told.replace(": ", `: Error in line ${index + 1}: `));
        }
      }
      return answer("");
    },
  };
  return fake;

  function list(option: string, name: string): string {
    const set = sets.get(name);
    if (set === undefined) return "ipset v7.17: The set with the given name does not exist";
    if (option === "-name") return `${name}\n`;
    const [type, , family, ...options] = set.type.split(" ");
    return `Name: ${name}\nType: ${type}\nRevision: 7\n` +
      `Header: family ${family} hashsize 1024 ${options.join(" ")} bucketsize 12 initval 0x1\n`;
  }

  /** Output, or a complaint that begins with the program's name. */
  function command(words: readonly string[], exist: boolean): string {
    const [operation, name = "", element = "", ...options] = words;
    const set = sets.get(name);
    if (operation === "create") {
      const type = [element, ...options].join(" ");
      if (set === undefined) sets.set(name, { type, elements: new Map() });
      return set === undefined || (exist && set.type === type)
        ? ""
        : "ipset v7.17: Set cannot be created: set with the same name already exists";
    }
    if (operation === "list") return list(name, element);
    if (set === undefined) return "ipset v7.17: The set with the given name does not exist";
    switch (operation) {
      case "add":
        if (fake.refuse?.test(words.join(" "))) return "ipset v7.17: Hash is full";
        set.elements.set(element, options.join(" "));
        return "";
      case "del":
        return set.elements.delete(element) || exist ? "" : "ipset v7.17: Element is not added";
      case "test":
        return set.elements.has(element) ? "" : `ipset v7.17: ${element} is NOT in set ${name}.`;
      case "flush":
        set.elements.clear();
        return "";
      case "save":
        return [
          `create ${name} ${set.type}`,
          ...[...set.elements].map((parts) => `add ${name} ${parts.join(" ")}`),
          "",
        ].join("\n");
      case "destroy":
        if (fake.inUse.has(name)) return "ipset v7.17: Set cannot be destroyed: it is in use";
        sets.delete(name);
        return "";
      default:
        return `ipset v7.17: Unknown argument: '${operation}'`;
    }
  }
}

function answer(text: string): ProgramResult {
  return text.startsWith("ipset ")
    ? { status: 1, stdout: "", stderr: text }
    : { status: 0, stdout: text, stderr: "" };
}
