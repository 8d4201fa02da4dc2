// Descriptors that libraries open. Left as they are, every program that is started inherits them.

import { loadErrors } from "./libc_error.ts";

const SYMBOLS = { fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" } } as const;
/** fcntl(2). */
const F_SETFD = 2;
const FD_CLOEXEC = 1;

/**
 * Says who has a descriptor.
 *
 * @param inherited whether programs that are started have it, too
 */
export type SetInherited = (fd: number, inherited: boolean) => void;

/** Loads what says that; it throws `SystemError` for a descriptor that there is not. */
export function loadSetInherited(): SetInherited {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const { checked } = loadErrors();
  return (fd, inherited) => void checked(c.fcntl(fd, F_SETFD, inherited ? 0 : FD_CLOEXEC));
}

/** The descriptors of this process that are sockets. */
export function socketsOf(): Set<number> {
  const sockets = new Set<number>();
  for (const { name } of Deno.readDirSync(DESCRIPTORS)) {
    try {
      if (Deno.readLinkSync(`${DESCRIPTORS}/${name}`).startsWith("socket:")) {
        sockets.add(Number(name));
      }
    } catch {
      // closed meanwhile
    }
  }
  return sockets;
}

const DESCRIPTORS = "/proc/self/fd";
