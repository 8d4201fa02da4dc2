// What functions of the C library say of their failures: errno as an exception.

import { loadMemory } from "./libc_memory.ts";

/** Numbers of errno(3) on Linux that callers tell apart. */
export const EINTR = 4;
export const EAGAIN = 11;
export const EACCES = 13;
export const ENOBUFS = 105;

/** A function of the C library failed; the message is the system's own: "Address already in use". */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** The number that errno held. */
  readonly errno: number;

  constructor(message: string, errno: number) {
    super(message);
    this.errno = errno;
  }
}

/** Tells of the failure of the last call on this thread. */
export interface SystemErrors {
  /** Its error; to be asked first thing, since errno stays only until the next failing call. */
  last(): SystemError;
  /** Gives a result back; throws {@linkcode SystemError} where it is negative. */
  checked(result: number): number;
}

/** Loads what asks errno. */
export function loadErrors(): SystemErrors {
  const memory = loadMemory();
  const last = (): SystemError => {
    const errno = memory.errno();
    return new SystemError(memory.errorText(errno), errno);
  };
  return {
    last,
    checked(result) {
      if (result < 0) throw last();
      return result;
    },
  };
}
