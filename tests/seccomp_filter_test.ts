// The seccomp filter, run by a small interpreter of the kernel's BPF as the kernel would run it.

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type Processor, seccompFilter } from "../ffi/seccomp_filter.ts";

const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const KILL = 0x80000000;
const ARCHITECTURES = { x86_64: 0xc000003e, aarch64: 0xc00000b7 } as const;
const PID = 4711;
const SOCKETS = [9, 12];

/** What the filter returns for a system call. */
function judge(
  program: Uint8Array,
  architecture: number,
  number: number,
  args: readonly number[] = [],
): number {
  const data = new DataView(new ArrayBuffer(64)); // struct seccomp_data
  data.setUint32(0, number >>> 0, true);
  data.setUint32(4, architecture, true);
  for (const [index, value] of args.entries()) {
    data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
  }
  const view = new DataView(program.buffer, program.byteOffset, program.length);
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at++) {
    const code = view.getUint16(8 * at, true);
    const whenTrue = view.getUint8(8 * at + 2);
    const whenFalse = view.getUint8(8 * at + 3);
    const operand = view.getUint32(8 * at + 4, true);
    switch (code) {
      case 0x20:
        accumulator = data.getUint32(operand, true);
        break;
      case 0x15:
        at += accumulator === operand ? whenTrue : whenFalse;
        break;
      case 0x35:
        at += accumulator >= operand ? whenTrue : whenFalse;
        break;
      case 0x45:
        at += (accumulator & operand) !== 0 ? whenTrue : whenFalse;
        break;
      case 0x06:
        return operand;
      default:
        throw new Error(`unknown instruction ${code}`);
    }
  }
  throw new Error("the program has no end");
}

/** Calls by processor: number, arguments, and what becomes of them. */
const CALLS: Readonly<Record<Processor, readonly [string, number, readonly number[], number][]>> = {
  x86_64: [
    ["read", 0, [3], ALLOW],
    ["futex", 202, [], ALLOW],
    ["mmap", 9, [], ALLOW],
    ["exit_group", 231, [0], ALLOW],
    ["accept4", 288, [7], ALLOW],
    ["write to the pipe", 1, [1], ALLOW],
    ["write to a capture", 1, [9], EPERM],
    ["writev to a capture", 20, [12], EPERM],
    ["open", 2, [], EPERM],
    ["openat", 257, [], EPERM],
    ["socket", 41, [], EPERM],
    ["sendto", 44, [9], EPERM],
    ["execve", 59, [], EPERM],
    ["execveat", 322, [], EPERM],
    ["fork", 57, [], EPERM],
    ["clone of a process", 56, [0x11], EPERM],
    ["clone of a thread", 56, [0x3d0f00], ALLOW],
    ["clone3", 435, [], ENOSYS],
    ["tgkill of itself", 234, [PID, 1, 6], ALLOW],
    ["tgkill of another", 234, [1, 1, 9], EPERM],
    ["fcntl F_GETFL", 72, [9, 3], ALLOW],
    ["fcntl F_DUPFD_CLOEXEC", 72, [9, 1030], EPERM],
    ["ioctl SIOCGIFINDEX", 16, [9, 0x8933], ALLOW],
    ["ioctl TIOCSTI", 16, [2, 0x5412], EPERM],
    ["io_uring_setup", 425, [], EPERM],
    ["ptrace", 101, [], EPERM],
    ["setresuid", 117, [0, 0, 0], EPERM],
    ["openat of the 32-bit set", 0x40000000 + 257, [], ENOSYS],
  ],
  aarch64: [
    ["read", 63, [3], ALLOW],
    ["write to the pipe", 64, [1], ALLOW],
    ["write to a capture", 64, [9], EPERM],
    ["openat", 56, [], EPERM],
    ["clone of a process", 220, [0x11], EPERM],
    ["clone of a thread", 220, [0x3d0f00], ALLOW],
    ["execve", 221, [], EPERM],
    ["socket", 198, [], EPERM],
    ["tgkill of itself", 131, [PID, 1, 6], ALLOW],
    ["setresuid", 147, [0, 0, 0], EPERM],
  ],
};

for (const processor of ["x86_64", "aarch64"] as const) {
  const program = seccompFilter({ processor, pid: PID, readOnly: SOCKETS });

  Deno.test(`the filter for ${processor} judges each call as it should`, () => {
    for (const [name, number, args, expected] of CALLS[processor]) {
      strictEqual(judge(program, ARCHITECTURES[processor], number, args), expected, name);
    }
  });

  Deno.test(`the filter for ${processor} ends a process that calls by other numbers`, () => {
    const other = processor === "x86_64" ? 0x40000003 : ARCHITECTURES.x86_64;
    strictEqual(judge(program, other, 0), KILL);
  });

  Deno.test(`the filter for ${processor} is one that the kernel takes, and ends for every call`, () => {
    ok(program.length / 8 < 4096);
    const results = new Set<number>();
    for (let number = 0; number < 600; number++) {
      for (const argument of [0, 1, 9, 1030]) {
        results.add(judge(program, ARCHITECTURES[processor], number, [argument, argument]));
      }
    }
    deepStrictEqual([...results].sort(), [ALLOW, EPERM, ENOSYS].sort());
  });
}
