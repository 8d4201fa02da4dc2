// The executable's own code in memory: starting maps much of it that running never asks for again.

const SYMBOLS = {
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
} as const;

/** See madvise(2): the pages leave the process, and are mapped again from the file when next used. */
const MADV_DONTNEED = 4;

/** Where some memory lies. */
export interface MemoryRange {
  readonly start: bigint;
  /** Bytes. */
  readonly length: bigint;
}

/**
 * Finds this program's code, and gives what unmaps it; each page comes back when it is next run. The
 * search reads /proc, which a confined process cannot do later.
 */
export function findCodePages(): () => void {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);
  const ranges = codeRanges(Deno.readTextFileSync("/proc/self/maps"), Deno.execPath());
  return () => {
    for (const { start, length } of ranges) c.madvise(start, length, MADV_DONTNEED);
  };
}

/**
 * The mappings of a file that hold code nobody has written to.
 *
 * @param maps the text of /proc/PID/maps, see proc_pid_maps(5)
 */
export function codeRanges(maps: string, file: string): MemoryRange[] {
  return maps.split("\n").flatMap((line) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ [0-9a-f:]+ [0-9]+ +(.+)$/.exec(line);
    if (match === null || match[3] !== file) return [];
    const start = BigInt(`0x${match[1]}`);
    return [{ start, length: BigInt(`0x${match[2]}`) - start }];
  });
}
