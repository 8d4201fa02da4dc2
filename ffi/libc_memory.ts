// Memory that C code gives by its address, and errno. Deno's own pointer views ask for the
// permission to load libraries at every use; these go on working after the sentry has given it up.

const SYMBOLS = {
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "void" },
  strlen: { parameters: ["usize"], result: "usize" },
  strerror: { parameters: ["i32"], result: "usize" },
  __errno_location: { parameters: [], result: "usize" },
} as const;

/** Looks at memory that C code owns. Addresses are those that C code gave: no other is safe. */
export interface Memory {
  /** Fills the buffer from an address on. */
  copy(address: bigint, into: Uint8Array<ArrayBuffer>): void;
  /** The text with a zero byte at its end; empty for address 0. */
  text(address: bigint): string;
  /** What errno holds, to be asked first thing after a call that failed. */
  errno(): number;
  /** The system's words for an error. */
  errorText(errno: number): string;
}

/** Loads the functions. */
export function loadMemory(): Memory {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const number = new Int32Array(1);

  function copy(address: bigint, into: Uint8Array<ArrayBuffer>): void {
    c.memcpy(into, address, BigInt(into.length));
  }

  function text(address: bigint): string {
    if (address === 0n) return "";
    const bytes = new Uint8Array(Number(c.strlen(address)));
    copy(address, bytes);
    return new TextDecoder().decode(bytes);
  }

  return {
    copy,
    text,
    errno() {
      copy(c.__errno_location(), new Uint8Array(number.buffer));
      return number[0] ?? 0;
    },
    errorText: (errno) => text(c.strerror(errno)) || `errno ${errno}`,
  };
}
