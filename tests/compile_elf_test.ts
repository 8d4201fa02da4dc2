// How a program is attached to the runtime: one segment more, with a stub that starts it.

import assert from "node:assert/strict";
import type { Piece, StubPlan } from "../scripts/compile_asm.ts";
import { label } from "../scripts/compile_asm.ts";
import { attachProgram, readRuntime } from "../scripts/compile_elf.ts";
import { aarch64Code, aarch64Stub } from "../scripts/compile_stub_aarch64.ts";
import { x86Code, x86Stub } from "../scripts/compile_stub_x86_64.ts";

const isLinux = Deno.build.os === "linux";

const launch = {
  program: new TextEncoder().encode("console.log(1);"),
  args: ["run", "/proc/self/fd/250"],
  env: ["A=1", "B=2"],
  descriptor: 250,
};

/** The program headers as [type, flags, offset, address, file size]. */
function programHeaders(file: Uint8Array): number[][] {
  const view = new DataView(file.buffer);
  return Array.from({ length: view.getUint16(56, true) }, (_, index) => {
    const at = 64 + 56 * index;
    return [
      view.getUint32(at, true),
      view.getUint32(at + 4, true),
      ...[8, 16, 32].map((field) => Number(view.getBigUint64(at + field, true))),
    ];
  });
}

Deno.test({
  name: "attachProgram() adds one segment and changes nothing else but the headers",
  ignore: !isLinux,
  fn() {
    const runtime = Deno.readFileSync(Deno.execPath());
    const attached = attachProgram(runtime, launch);
    assert.ok(attached.ok, "this Deno's layout is unknown");
    const image = attached.value;
    assert.deepEqual(
      image.subarray(64 + 56 * programHeaders(runtime).length, runtime.length),
      runtime.subarray(64 + 56 * programHeaders(runtime).length),
    );

    const before = programHeaders(runtime).filter(([type]) => type !== 4);
    const after = programHeaders(image);
    const added = after.filter((header) => !before.some((old) => `${old}` === `${header}`));
    assert.equal(after.length, before.length + 1);
    assert.equal(added.length, 1);
    const [type, flags, offset = 0, address = 0, size] = added[0] ?? [];
    assert.deepEqual([type, flags, offset + (size ?? 0)], [1, 5, image.length]);
    assert.equal(offset % 0x10000, address % 0x10000);

    const loads = after.filter(([kind]) => kind === 1).map(([, , , start]) => start ?? 0);
    assert.deepEqual(loads, loads.toSorted((a, b) => a - b));
    assert.equal(new DataView(image.buffer).getBigUint64(24, true), BigInt(address));

    const again = attachProgram(image, launch);
    assert.deepEqual(again, { ok: false, reason: "it has 0 PT_NOTE headers, not one" });
  },
});

Deno.test({
  name: "attachProgram() puts the segment in its place wherever the note was",
  ignore: !isLinux,
  fn() {
    const runtime = Deno.readFileSync(Deno.execPath());
    const usual = attachProgram(runtime, launch);
    assert.ok(usual.ok);
    const place = (index: number): number => 64 + 56 * index;
    const note = programHeaders(runtime).findIndex(([type]) => type === 4);
    const header = runtime.slice(place(note), place(note + 1));
    runtime.copyWithin(place(2), place(1), place(note));
    runtime.set(header, place(1));
    const moved = attachProgram(runtime, launch);
    assert.ok(moved.ok);
    assert.deepEqual(programHeaders(moved.value), programHeaders(usual.value));
  },
});

Deno.test({
  name: "readRuntime() refuses a layout it does not know",
  ignore: !isLinux,
  fn() {
    const file = Deno.readFileSync(Deno.execPath());
    const found = readRuntime(file);
    assert.ok(found.ok);
    const headerOf = (type: number): number =>
      64 + 56 * programHeaders(file).findIndex(([kind]) => kind === type);
    const cases: [string, number, number, RegExp][] = [
      ["no ELF file", 0, 0, /not an ELF/],
      ["32-bit", 4, 1, /64-bit/],
      ["big-endian", 5, 2, /little-endian/],
      ["a fixed address", 16, 2, /position-independent/],
      ["another processor", 18, 243, /processor/],
      ["program headers elsewhere", 32, 65, /not at the start/],
      ["another size of headers", 54, 32, /unknown size/],
      ["no loader", headerOf(3), 0, /dynamic loader/],
      ["no note", headerOf(4), 0, /0 PT_NOTE/],
      ["a second note", headerOf(3) - 56, 4, /2 PT_NOTE/],
      ["no dynamic section", headerOf(2), 0, /environ/],
      ["a dynamic section outside", headerOf(2) + 14, 1, /points outside/],
      ["no place left", headerOf(1) + 46, 1, /order/],
    ];
    for (const [name, at, value, reason] of cases) {
      const old = file[at] ?? 0;
      file[at] = value;
      const answer = readRuntime(file);
      file[at] = old;
      assert.ok(!answer.ok, name);
      assert.match(answer.reason, reason, name);
    }
    assert.deepEqual(readRuntime(file), found);
    for (const length of [0, 3, 63, 200, 4096]) {
      assert.equal(readRuntime(file.subarray(0, length)).ok, false, `${length} bytes`);
    }
    assert.equal(readRuntime(new TextEncoder().encode("#!/bin/sh\nexec deno\n")).ok, false);
  },
});

const plan: StubPlan = {
  ...launch,
  address: 0x5000000,
  entry: 0x1e04000,
  environSlot: 0x4d68c88,
  program: new Uint8Array(0x12345),
};

const stubs = [
  {
    machine: "x86-64",
    objdump: "objdump",
    options: ["-b", "binary", "-m", "i386:x86-64", "-M", "intel"],
    code: x86Code(plan),
    stub: x86Stub(plan),
  },
  {
    machine: "aarch64",
    objdump: "aarch64-linux-gnu-objdump",
    options: ["-b", "binary", "-m", "aarch64"],
    code: aarch64Code(plan),
    stub: aarch64Stub(plan),
  },
];

function isInstalled(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"] }).outputSync().success;
  } catch {
    return false;
  }
}

/** One spelling for what the disassembler and the table write differently. */
function normal(text: string): string {
  return text
    .replace(/\s*(#|\/\/)\s.*$/, "")
    .replace(/#(\d+)\b(?!x)/g, (_, number) => `#0x${Number(number).toString(16)}`)
    .replace(/\s+/g, " ")
    .trim();
}

/** Gives the addresses of the pieces' labels in the stub. */
function labelAddresses(pieces: readonly Piece[]): Map<string, number> {
  const found = new Map<string, number>();
  let at = plan.address;
  for (const piece of pieces) {
    if (piece.label !== undefined) found.set(piece.label, at);
    at += piece.size;
  }
  return found;
}

for (const { machine, objdump, options, code, stub } of stubs) {
  Deno.test({
    name: `the stub for ${machine} disassembles to its table (needs ${objdump})`,
    ignore: !isInstalled(objdump),
    fn() {
      const directory = Deno.makeTempDirSync();
      try {
        const size = code.reduce((sum, piece) => sum + piece.size, 0);
        Deno.writeFileSync(`${directory}/stub`, stub.subarray(0, size));
        const { stdout } = new Deno.Command(objdump, {
          args: ["-D", "-z", `--adjust-vma=${plan.address}`, ...options, `${directory}/stub`],
        }).outputSync();
        const listing = new TextDecoder().decode(stdout);
        const lines = [...listing.matchAll(/^ *[0-9a-f]+:\t(?:[0-9a-f]{2,8} ?)+\s*\t(.*)$/gm)];
        const known = labelAddresses([...code, label("end")]);
        const shown = lines.map((line) => normal(line[1] ?? ""));
        const expected = code.filter((piece) => piece.size > 0).map(({ text }) => normal(text));
        assert.equal(shown.length, expected.length);
        shown.forEach((line, index) => {
          // A label in the table is an address or a distance in the listing.
          const text = expected[index] ?? "";
          const named = [
            ...known.keys(),
            "entry",
            "environ",
            "name",
            "message",
            "offsets",
            "program",
          ]
            .find((name) => new RegExp(`(?<![\\w])${name}(?![\\w])`).test(text));
          if (named === undefined) {
            assert.equal(line, text);
            return;
          }
          const pattern = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(named, "\0");
          const address = known.get(named);
          const goal = address === undefined || /rip|adr|\[x16|x16, x16/.test(text)
            ? "#?(0x[0-9a-f]+|\\d+)"
            : `0x${address.toString(16)}`;
          assert.match(line, new RegExp(`^${pattern.replace("\0", goal)}$`));
        });
      } finally {
        Deno.removeSync(directory, { recursive: true });
      }
    },
  });

  Deno.test(`the stub for ${machine} refuses an odd number of inserted words`, () => {
    const make = machine === "aarch64" ? aarch64Stub : x86Stub;
    assert.throws(() => make({ ...plan, env: ["A=1"] }), /even/);
  });
}
