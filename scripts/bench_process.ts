// What a daemon costs, as the kernel accounts for it (proc(5)): memory, CPU time and wakings of a
// process and all its descendants.

/** What a tree of processes has used so far. */
export interface Usage {
  readonly cpuMilliseconds: number;
  /** Times that a thread got a processor. */
  readonly wakings: number;
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

/** Proportional set size of a process tree in KiB: shared pages count by their share. */
export function proportionalSetSize(root: number): number {
  const sizes = processTree(root).map((pid) =>
    /^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? "0"
  );
  return sizes.reduce((sum, size) => sum + Number(size), 0);
}

/** CPU time and wakings of a process tree, with the CPU time of children that have ended. */
export function usageOf(root: number): Usage {
  let cpuMilliseconds = 0;
  let wakings = 0;
  for (const pid of processTree(root)) {
    // After the name in brackets the 14th and 15th field are children's ticks: cutime and cstime.
    const fields = read(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
    cpuMilliseconds += (Number(fields[13] ?? 0) + Number(fields[14] ?? 0)) * TICK_MILLISECONDS;
    for (const thread of threadsOf(pid)) {
      const [nanoseconds = "0", , timeslices = "0"] = read(`${thread}/schedstat`).trim().split(" ");
      cpuMilliseconds += Number(nanoseconds) / 1e6;
      wakings += Number(timeslices);
    }
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
