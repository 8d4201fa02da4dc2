// The stub for aarch64: Linux system calls by number in x8 as in syscall(2), registers on entry as
// in the AArch64 System V ABI: sp points at argc, x0 holds a function for atexit.
// Encodings are from the Arm Architecture Reference Manual, chapter C6.

import type { Piece, StubPlan } from "./compile_asm.ts";
import { assemble, label, messageLength, signed, stubData, word } from "./compile_asm.ts";

/** The same as `x86Stub`, for aarch64. */
export function aarch64Stub(plan: StubPlan): Uint8Array {
  return assemble([...aarch64Code(plan), ...stubData(plan)], plan.address, {
    entry: plan.entry,
    environ: plan.environSlot,
  });
}

/** The instructions alone; the text is what a disassembler shows, labels in place of addresses. */
export function aarch64Code(plan: StubPlan): Piece[] {
  const inserted = 8 * (plan.args.length + plan.env.length);
  const length = plan.program.length;
  return [
    label("start"),
    op("mov x20, x0", 0xaa0003f4),
    // memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)
    adr(0, "name"),
    mov(1, 0xb),
    mov(8, 279),
    op("svc #0x0", SVC),
    tbz(0, "created"),
    // Linux before 6.3 does not know MFD_NOEXEC_SEAL
    adr(0, "name"),
    mov(1, 3),
    op("svc #0x0", SVC),
    tbnz(0, "fail"),
    label("created"),
    op("mov x19, x0", 0xaa0003f3),
    // write(file, program, length) until all is written
    adr(21, "program"),
    mov(22, length % 0x10000),
    op(`movk x22, ${hex(length >>> 16)}, lsl #16`, 0xf2a00016 | ((length >>> 16) << 5)),
    label("write"),
    op("mov x0, x19", 0xaa1303e0),
    op("mov x1, x21", 0xaa1503e1),
    op("mov x2, x22", 0xaa1603e2),
    mov(8, 64),
    op("svc #0x0", SVC),
    op("cmp x0, #0x0", 0xf100001f),
    branch("b.le", 0x5400000d, "fail"),
    op("add x21, x21, x0", 0x8b0002b5),
    op("subs x22, x22, x0", 0xeb0002d6),
    branch("b.ne", 0x54000001, "write"),
    // fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
    op("mov x0, x19", 0xaa1303e0),
    mov(1, 1033),
    mov(2, 0xf),
    mov(8, 25),
    op("svc #0x0", SVC),
    tbnz(0, "fail"),
    // dup3(file, descriptor, O_CLOEXEC)
    op("mov x0, x19", 0xaa1303e0),
    mov(1, plan.descriptor),
    op("mov x2, #0x80000", 0xd2a00002 | (8 << 5)),
    mov(8, 24),
    op("svc #0x0", SVC),
    tbnz(0, "fail"),
    // close(file)
    op("mov x0, x19", 0xaa1303e0),
    mov(8, 57),
    op("svc #0x0", SVC),
    // argc and argv[0] go down
    op("mov x9, sp", 0x910003e9),
    op("ldr x10, [x9]", 0xf940012a),
    branch("cbz x10,", 0xb400000a, "fail"),
    op(`sub sp, sp, ${hex(inserted)}`, 0xd10003ff | (inserted << 10)),
    op("mov x11, sp", 0x910003eb),
    op(`add x12, x10, ${hex(plan.args.length)}`, 0x9100014c | (plan.args.length << 10)),
    op("ldr x13, [x9, #8]", 0xf940052d),
    op("stp x12, x13, [x11], #16", 0xa881356c),
    op("add x9, x9, #0x10", 0x91004129),
    // the inserted arguments
    adr(14, "start"),
    adr(15, "offsets"),
    mov(16, plan.args.length),
    label("argument"),
    op("ldr w17, [x15], #4", 0xb84045f1),
    op("add x17, x17, x14", 0x8b0e0231),
    op("str x17, [x11], #8", 0xf8008571),
    op("subs x16, x16, #0x1", 0xf1000610),
    branch("b.ne", 0x54000001, "argument"),
    // what the user typed, and the null word behind it: argc words
    label("typed"),
    op("ldr x17, [x9], #8", 0xf8408531),
    op("str x17, [x11], #8", 0xf8008571),
    op("subs x10, x10, #0x1", 0xf100054a),
    branch("b.ne", 0x54000001, "typed"),
    // the inserted variables; they end where the old environment begins
    op("mov x13, x11", 0xaa0b03ed),
    mov(16, plan.env.length),
    label("variable"),
    op("ldr w17, [x15], #4", 0xb84045f1),
    op("add x17, x17, x14", 0x8b0e0231),
    op("str x17, [x11], #8", 0xf8008571),
    op("subs x16, x16, #0x1", 0xf1000610),
    branch("b.ne", 0x54000001, "variable"),
    // libc was initialised before this runs and remembers where the environment began
    adrp(16, "environ"),
    low12("ldr x16, [x16, environ]", 0xf9400210, "environ", 8),
    op("str x13, [x16]", 0xf900020d),
    op("mov x0, x20", 0xaa1403e0),
    adrp(16, "entry"),
    low12("add x16, x16, entry", 0x91000210, "entry", 1),
    op("br x16", 0xd61f0200),
    label("fail"),
    // write(2, message, length), exit_group(1)
    mov(0, 2),
    adr(1, "message"),
    mov(2, messageLength),
    mov(8, 64),
    op("svc #0x0", SVC),
    mov(0, 1),
    mov(8, 94),
    op("svc #0x0", SVC),
  ];
}

const SVC = 0xd4000001;

function instruction(
  text: string,
  value: (here: number, addressOf: (label: string) => number) => number,
): Piece {
  return {
    text,
    size: 4,
    encode: (here, addressOf) => word(value(here, addressOf) >>> 0),
  };
}

function op(text: string, value: number): Piece {
  return instruction(text, () => value);
}

/** MOVZ: a 16-bit number. */
function mov(register: number, value: number): Piece {
  return op(`mov x${register}, ${hex(value)}`, 0xd2800000 | (value << 5) | register);
}

/** ADR: an address within 1 MiB. */
function adr(register: number, target: string): Piece {
  return instruction(`adr x${register}, ${target}`, (here, addressOf) => {
    const distance = signed(addressOf(target) - here, 21);
    return 0x10000000 | ((distance & 3) << 29) | ((distance >>> 2) << 5) | register;
  });
}

/** ADRP: the 4 KiB page of an address within 4 GiB. */
function adrp(register: number, target: string): Piece {
  return instruction(`adrp x${register}, ${target}`, (here, addressOf) => {
    const pages = Math.floor(addressOf(target) / 4096) - Math.floor(here / 4096);
    const distance = signed(pages, 21);
    return 0x90000000 | ((distance & 3) << 29) | ((distance >>> 2) << 5) | register;
  });
}

/** The lower twelve bits of an address, in units of `scale` bytes, as an unsigned operand. */
function low12(text: string, opcode: number, target: string, scale: number): Piece {
  return instruction(text, (_here, addressOf) => {
    const low = addressOf(target) % 4096;
    if (low % scale !== 0) throw new RangeError(`${target} is not aligned to ${scale} bytes`);
    return opcode | ((low / scale) << 10);
  });
}

/** A branch with a 19-bit distance in words: B.cond, CBZ. */
function branch(mnemonic: string, opcode: number, target: string): Piece {
  return instruction(
    `${mnemonic} ${target}`,
    (here, addressOf) => opcode | (signed((addressOf(target) - here) / 4, 19) << 5),
  );
}

/** TBZ on the sign bit: branches when a system call did not fail. */
function tbz(register: number, target: string): Piece {
  return instruction(
    `tbz x${register}, #63, ${target}`,
    (here, addressOf) => 0xb6f80000 | (signed((addressOf(target) - here) / 4, 14) << 5) | register,
  );
}

/** TBNZ on the sign bit: branches when a system call failed. */
function tbnz(register: number, target: string): Piece {
  return instruction(
    `tbnz x${register}, #63, ${target}`,
    (here, addressOf) => 0xb7f80000 | (signed((addressOf(target) - here) / 4, 14) << 5) | register,
  );
}

function hex(value: number): string {
  return `#0x${value.toString(16)}`;
}
