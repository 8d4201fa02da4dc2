// The stub for x86-64: Linux system calls as in syscall(2), registers on entry as in the System V
// ABI, AMD64 supplement, section 3.4.1: rsp points at argc, rdx holds a function for atexit.

import type { Piece, StubPlan } from "./compile_asm.ts";
import { assemble, label, messageLength, signed, stubData, word } from "./compile_asm.ts";

/**
 * Machine code, data and program, ready to be mapped at `plan.address`.
 *
 * It writes the program into a sealed memory file, moves `argc`, `argv[0]` and the rest of `argv`
 * down the stack to make room for `plan.args` and `plan.env`, and goes on at `plan.entry`.
 */
export function x86Stub(plan: StubPlan): Uint8Array {
  return assemble([...x86Code(plan), ...stubData(plan)], plan.address, {
    entry: plan.entry,
    environ: plan.environSlot,
  });
}

/** The instructions alone; the text is what a disassembler shows, labels in place of addresses. */
export function x86Code(plan: StubPlan): Piece[] {
  const inserted = 8 * (plan.args.length + plan.env.length);
  return [
    label("start"),
    op("mov r12,rdx", "49 89 d4"),
    // memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)
    op("lea rdi,[rip+name]", "48 8d 3d", to("name")),
    op("mov esi,0xb", "be", word(0xb)),
    op("mov eax,0x13f", "b8", word(319)),
    op("syscall", "0f 05"),
    op("test eax,eax", "85 c0"),
    op("jns created", "0f 89", to("created")),
    // Linux before 6.3 does not know MFD_NOEXEC_SEAL
    op("mov esi,0x3", "be", word(3)),
    op("mov eax,0x13f", "b8", word(319)),
    op("syscall", "0f 05"),
    op("test eax,eax", "85 c0"),
    op("js fail", "0f 88", to("fail")),
    label("created"),
    op("mov ebx,eax", "89 c3"),
    // write(file, program, length) until all is written
    op("lea rsi,[rip+program]", "48 8d 35", to("program")),
    op(`mov r13d,${hex(plan.program.length)}`, "41 bd", word(plan.program.length)),
    label("write"),
    op("mov edi,ebx", "89 df"),
    op("mov edx,r13d", "44 89 ea"),
    op("mov eax,0x1", "b8", word(1)),
    op("syscall", "0f 05"),
    op("test rax,rax", "48 85 c0"),
    op("jle fail", "0f 8e", to("fail")),
    op("add rsi,rax", "48 01 c6"),
    op("sub r13d,eax", "41 29 c5"),
    op("jne write", "0f 85", to("write")),
    // fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
    op("mov edi,ebx", "89 df"),
    op("mov esi,0x409", "be", word(1033)),
    op("mov edx,0xf", "ba", word(0xf)),
    op("mov eax,0x48", "b8", word(72)),
    op("syscall", "0f 05"),
    op("test eax,eax", "85 c0"),
    op("js fail", "0f 88", to("fail")),
    // dup3(file, descriptor, O_CLOEXEC)
    op("mov edi,ebx", "89 df"),
    op(`mov esi,${hex(plan.descriptor)}`, "be", word(plan.descriptor)),
    op("mov edx,0x80000", "ba", word(0x80000)),
    op("mov eax,0x124", "b8", word(292)),
    op("syscall", "0f 05"),
    op("test eax,eax", "85 c0"),
    op("js fail", "0f 88", to("fail")),
    // close(file)
    op("mov edi,ebx", "89 df"),
    op("mov eax,0x3", "b8", word(3)),
    op("syscall", "0f 05"),
    // argc and argv[0] go down
    op("mov rcx,QWORD PTR [rsp]", "48 8b 0c 24"),
    op("test rcx,rcx", "48 85 c9"),
    op("je fail", "0f 84", to("fail")),
    op("mov rsi,rsp", "48 89 e6"),
    op(`sub rsp,${hex(inserted)}`, "48 81 ec", word(inserted)),
    op(`lea rax,[rcx+${hex(plan.args.length)}]`, "48 8d 81", word(plan.args.length)),
    op("mov QWORD PTR [rsp],rax", "48 89 04 24"),
    op("mov rax,QWORD PTR [rsi+0x8]", "48 8b 46 08"),
    op("mov QWORD PTR [rsp+0x8],rax", "48 89 44 24 08"),
    op("lea rdi,[rsp+0x10]", "48 8d 7c 24 10"),
    op("add rsi,0x10", "48 83 c6 10"),
    // the inserted arguments
    op("lea rbx,[rip+start]", "48 8d 1d", to("start")),
    op("lea r8,[rip+offsets]", "4c 8d 05", to("offsets")),
    op(`mov r9d,${hex(plan.args.length)}`, "41 b9", word(plan.args.length)),
    label("argument"),
    op("mov eax,DWORD PTR [r8]", "41 8b 00"),
    op("add rax,rbx", "48 01 d8"),
    op("stos QWORD PTR es:[rdi],rax", "48 ab"),
    op("add r8,0x4", "49 83 c0 04"),
    op("dec r9d", "41 ff c9"),
    op("jne argument", "0f 85", to("argument")),
    // what the user typed, and the null word behind it: argc words
    op("rep movs QWORD PTR es:[rdi],QWORD PTR ds:[rsi]", "f3 48 a5"),
    // the inserted variables; they end where the old environment begins
    op("mov r10,rdi", "49 89 fa"),
    op(`mov r9d,${hex(plan.env.length)}`, "41 b9", word(plan.env.length)),
    label("variable"),
    op("mov eax,DWORD PTR [r8]", "41 8b 00"),
    op("add rax,rbx", "48 01 d8"),
    op("stos QWORD PTR es:[rdi],rax", "48 ab"),
    op("add r8,0x4", "49 83 c0 04"),
    op("dec r9d", "41 ff c9"),
    op("jne variable", "0f 85", to("variable")),
    // libc was initialised before this runs and remembers where the environment began
    op("mov rax,QWORD PTR [rip+environ]", "48 8b 05", to("environ")),
    op("mov QWORD PTR [rax],r10", "4c 89 10"),
    op("mov rdx,r12", "4c 89 e2"),
    op("jmp entry", "e9", to("entry")),
    label("fail"),
    // write(2, message, length), exit_group(1)
    op("mov edi,0x2", "bf", word(2)),
    op("lea rsi,[rip+message]", "48 8d 35", to("message")),
    op(`mov edx,${hex(messageLength)}`, "ba", word(messageLength)),
    op("mov eax,0x1", "b8", word(1)),
    op("syscall", "0f 05"),
    op("mov edi,0x1", "bf", word(1)),
    op("mov eax,0xe7", "b8", word(231)),
    op("syscall", "0f 05"),
  ];
}

/** A place that the last four bytes of an instruction point at, counted from the next one. */
interface Target {
  readonly target: string;
}

function to(target: string): Target {
  return { target };
}

function op(text: string, opcode: string, operand?: Uint8Array | Target): Piece {
  const head = Uint8Array.from(opcode.split(" "), (byte) => Number.parseInt(byte, 16));
  const size = head.length + (operand === undefined ? 0 : 4);
  return {
    text,
    size,
    encode: (here, addressOf) => {
      if (operand === undefined) return head;
      const tail = operand instanceof Uint8Array
        ? operand
        : word(signed(addressOf(operand.target) - (here + size), 32));
      return Uint8Array.of(...head, ...tail);
    },
  };
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
