// Users and groups of this system, from the files that every Linux has.

import type { Host } from "./host.ts";

/** Looks names up; null when there is none of that name. */
export interface Accounts {
  user(name: string): { readonly uid: number; readonly gid: number } | null;
  group(name: string): { readonly gid: number } | null;
}

/** The accounts in passwd(5) and group(5). */
export function readAccounts(host: Pick<Host, "readTextFile">): Accounts {
  function find(path: string, name: string): readonly string[] | null {
    try {
      const lines = host.readTextFile(path).split("\n").map((line) => line.split(":"));
      return lines.find(([first]) => first === name) ?? null;
    } catch {
      return null;
    }
  }
  return {
    user(name) {
      const fields = find("/etc/passwd", name);
      return fields === null ? null : { uid: Number(fields[2]), gid: Number(fields[3]) };
    },
    group(name) {
      const fields = find("/etc/group", name);
      return fields === null ? null : { gid: Number(fields[2]) };
    },
  };
}
