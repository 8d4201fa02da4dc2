// What a daemon costs, as the kernel accounts for it (proc(5)): memory, CPU time and wakings of a
// process and all its descendants.

/** What a tree of processes has used so far. */
export interface Usage {
  /** CPU time of children that have ended. */
  readonly childMilliseconds: number;
  /** By thread, as the sum over all threads goes down when one ends. */
  readonly threads: ReadonlyMap<string, Work>;
}

/** CPU time, and how often a thread got a processor. */
export interface Work {
  readonly cpuMilliseconds: number;
  readonly wakings: number;
}

/** Memory of a process tree in KiB. */
export interface Memory {
  /** Proportional set size: shared pages count by their share. */
  readonly proportional: number;
  /** Pages that belong to no file, which the kernel cannot drop and read again. */
  readonly anonymous: number;
}

/** Clock ticks of proc(5) are hundredths of a second on every Linux. */
const TICK_MILLISECONDS = 10;

/** The process and its descendants. */
export function processTree(root: number): number[] {
  const tree = [root];
  for (const pid of tree) {
    for (const thread of threadsOf(pid)) {
      const children = read(`${thread}/children`).trim();
      if (children !== "") tree.push(...children.split(" ").map(Number));
    }
  }
  return tree;
}

/** Memory of a process and its descendants. */
export function memoryOf(root: number): Memory {
  const rollups = processTree(root).map((pid) => read(`/proc/${pid}/smaps_rollup`));
  const sum = (pattern: RegExp): number =>
    rollups.reduce((total, text) => total + Number(pattern.exec(text)?.[1] ?? 0), 0);
  return { proportional: sum(/^Pss:\s+(\d+)/m), anonymous: sum(/^Anonymous:\s+(\d+)/m) };
}

/** CPU time and wakings of a process and its descendants, for {@linkcode workBetween}. */
export function usageOf(root: number): Usage {
  let childMilliseconds = 0;
  const threads = new Map<string, Work>();
  for (const pid of processTree(root)) {
    // After the name in brackets the 14th and 15th field are children's ticks: cutime and cstime.
    const fields = read(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
    childMilliseconds += (Number(fields[13] ?? 0) + Number(fields[14] ?? 0)) * TICK_MILLISECONDS;
    for (const thread of threadsOf(pid)) {
      const [nanoseconds = "0", , timeslices = "0"] = read(`${thread}/schedstat`).trim().split(" ");
      const work = { cpuMilliseconds: Number(nanoseconds) / 1e6, wakings: Number(timeslices) };
      threads.set(thread, work);
    }
  }
  return { childMilliseconds, threads };
}

/** The work from one look to a later one; that of a thread that ended in between is not known. */
export function workBetween(before: Usage, after: Usage): Work {
  let cpuMilliseconds = Math.max(0, after.childMilliseconds - before.childMilliseconds);
  let wakings = 0;
  for (const [thread, work] of after.threads) {
    const start = before.threads.get(thread);
    cpuMilliseconds += work.cpuMilliseconds - (start?.cpuMilliseconds ?? 0);
    wakings += work.wakings - (start?.wakings ?? 0);
  }
  return { cpuMilliseconds, wakings };
}

function threadsOf(pid: number): string[] {
  try {
    return [...Deno.readDirSync(`/proc/${pid}/task`)].map(({ name }) =>
      `/proc/${pid}/task/${name}`
    );
  } catch {
    return [];
  }
}

/** A process may end at any moment: then it has nothing to tell. */
function read(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
