// Giving up privileges for good, through the C library: user and groups, capabilities, system calls.
// Apart from libc.ts, since only the sentry does it.

import { loadMemory } from "./libc_memory.ts";
import { type Processor, seccompFilter } from "./seccomp_filter.ts";

const SYMBOLS = {
  setgroups: { parameters: ["usize", "buffer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  prctl: { parameters: ["i32", "u64", "u64", "u64", "u64"], result: "i32" },
  setrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  signal: { parameters: ["i32", "usize"], result: "usize" },
  getppid: { parameters: [], result: "i32" },
  syscall: { parameters: ["i64", "u64", "u64", "buffer"], result: "i64" },
} as const;

/** Whom a process becomes. */
export interface ConfinedAccount {
  readonly uid: number;
  readonly gid: number;
}

/** What a process that gives up the rest keeps. */
export interface Confinement {
  /** This process. */
  readonly pid: number;
  /** The process whose end is to end this one. */
  readonly parent: number;
  /** Descriptors that may only be read from now on. */
  readonly readOnly: readonly number[];
}

/** The C library's functions that give up privileges. */
export interface Confiner {
  /** Takes no notice of what a terminal or a service manager sends to a whole group. */
  ignoreSignals(): void;
  /** Becomes a user without supplementary groups, which gives up all capabilities, on all threads. */
  becomeUser(account: ConfinedAccount): void;
  /**
   * Gives up what a user without privileges still has, on all threads and for good.
   *
   * @returns what the kernel does not have and was done without: lines for the log
   * @throws an `Error` when a privilege could not be given up
   */
  lock(confinement: Confinement): readonly string[];
}

const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const PR_SET_NAME = 15;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4n;
const LAST_CAPABILITY = 63;
const SIGKILL = 9n;
const SIG_IGN = 1n;
/** SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2 and SIGTERM: they are the monitor's to answer. */
const IGNORED_SIGNALS = [1, 2, 3, 10, 12, 15];
const RLIMIT_CORE = 4;
const SECCOMP_SET_MODE_FILTER = 1n;
const SECCOMP_FILTER_FLAG_TSYNC = 1n;
const SYS_SECCOMP = { x86_64: 317n, aarch64: 277n } as const;
const EINVAL = 22;
const ENOSYS = 38;
/** As `ps -o comm` and `top` show it; at most 15 bytes. */
const THREAD_NAME = "spa-sentry";

/** Loads the functions; after the confinement that is no longer possible. */
export function loadConfiner(processor: Processor): Confiner {
  const { symbols: c } = Deno.dlopen("libc.so.6", SYMBOLS);

  const memory = loadMemory();

  function fail(what: string): never {
    throw new Error(`cannot give up ${what}: ${memory.errorText(memory.errno())}`);
  }

  function becomeUser({ uid, gid }: ConfinedAccount): void {
    // The C library does these on all threads, see nptl(7).
    if (c.setgroups(0n, null) !== 0) fail("supplementary groups");
    if (c.setresgid(gid, gid, gid) !== 0) fail("the group");
    if (c.setresuid(uid, uid, uid) !== 0) fail("the user");
    if (c.setresuid(0, 0, 0) === 0) throw new Error("cannot give up the user: it can come back");
  }

  /** The bounding set belongs to each thread; the others are held by no_new_privs. */
  function emptyBoundingSet(): void {
    c.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0n, 0n, 0n);
    for (let capability = 0; capability <= LAST_CAPABILITY; capability++) {
      if (c.prctl(PR_CAPBSET_DROP, BigInt(capability), 0n, 0n, 0n) !== 0) return;
    }
  }

  function limit(resource: number): void {
    if (c.setrlimit(resource, new BigUint64Array([0n, 0n])) !== 0) fail("resources");
  }

  /** Copies filter and no_new_privs to all threads. */
  function filterCalls(pid: number, readOnly: readonly number[]): string[] {
    if (c.prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) !== 0) fail("new privileges");
    const filter = seccompFilter({ processor, pid, readOnly });
    // struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    const program = new BigUint64Array([
      BigInt(filter.length / 8),
      BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(filter))),
    ]);
    const flags = SECCOMP_FILTER_FLAG_TSYNC;
    const call = SYS_SECCOMP[processor];
    const result = c.syscall(call, SECCOMP_SET_MODE_FILTER, flags, new Uint8Array(program.buffer));
    if (result === 0n) return [];
    const errno = result > 0n ? 0 : memory.errno();
    if (errno !== EINVAL && errno !== ENOSYS) fail("system calls");
    return ["The kernel has no seccomp filter: the sentry's system calls are not limited."];
  }

  return {
    ignoreSignals() {
      for (const number of IGNORED_SIGNALS) c.signal(number, SIG_IGN);
    },
    becomeUser(account) {
      emptyBoundingSet();
      becomeUser(account);
    },
    lock({ pid, parent, readOnly }) {
      const name = new TextEncoder().encode(`${THREAD_NAME}\0`);
      c.prctl(PR_SET_NAME, Deno.UnsafePointer.value(Deno.UnsafePointer.of(name)), 0n, 0n, 0n);
      limit(RLIMIT_CORE);
      if (c.prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n) !== 0) fail("being traced");
      // A change of user clears this one, so it comes after; the parent may be gone by then.
      c.prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n);
      if (c.getppid() !== parent) throw new Error("the monitor has ended");
      return filterCalls(pid, readOnly);
    },
  };
}
