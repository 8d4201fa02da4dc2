import assert from "node:assert/strict";
import { codeRanges, findCodePages } from "../ffi/code_pages.ts";

const MAPS = `55d0c0000000-55d0c2000000 r--p 00000000 fe:01 1234                       /usr/bin/spa
55d0c2000000-55d0c2003000 r-xp 02000000 fe:01 1234                       /usr/bin/spa
55d0c2003000-55d0c2004000 rw-p 02003000 fe:01 1234                       /usr/bin/spa
7f0000000000-7f0000001000 r-xp 00000000 00:00 0
7f0000100000-7f0000200000 r-xp 00001000 fe:01 99                         /usr/lib/libc.so.6
7f0000300000-7f0000301000 rwxp 02003000 fe:01 1234                       /usr/bin/spa
`;

Deno.test("codeRanges() finds what is only read and run of the program's own file", () => {
  assert.deepEqual(codeRanges(MAPS, "/usr/bin/spa"), [{ start: 0x55d0c2000000n, length: 0x3000n }]);
  assert.deepEqual(codeRanges("", "/usr/bin/spa"), []);
});

Deno.test("the program's code leaves its memory, and goes on running", {
  ignore: Deno.build.os !== "linux",
}, () => {
  const release = findCodePages();
  const before = residentCode();
  release();
  assert.ok(residentCode() < before / 2, `${residentCode()} of ${before} KiB`);
});

/** KiB of this program's code that are mapped. */
function residentCode(): number {
  const maps = Deno.readTextFileSync("/proc/self/smaps").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  return maps.filter((text) => / r-xp /.test(text) && text.includes(Deno.execPath()))
    .reduce((sum, text) => sum + Number(/^Rss: +([0-9]+) kB/m.exec(text)?.[1] ?? 0), 0);
}
