// The real host's clocks.

import { ok, strictEqual } from "node:assert/strict";
import { denoHost } from "../lib/host_deno.ts";

Deno.test("the monotonic clock goes on where it was when the native libraries are loaded", async () => {
  const host = denoHost();
  const before = host.monotonic();
  await host.native();
  const between = host.monotonic();
  await host.native();
  const after = host.monotonic();
  ok(before <= between && between <= after, `${before} ${between} ${after}`);
  ok(after - before < 60_000);
});

Deno.test("with the native libraries the clock counts since the boot, as the kernel does", async () => {
  const { libc } = await denoHost().native();
  const first = libc.sinceBoot();
  const [uptime = ""] = Deno.readTextFileSync("/proc/uptime").split(" ");
  const second = libc.sinceBoot();
  const kernel = Number(uptime) * 1000;
  // The kernel gives hundredths of a second.
  ok(first - 10 <= kernel && kernel <= second + 10, `${first} ${kernel} ${second}`);
});

/** Why no time namespace can be made here, or null. */
function missing(): string | null {
  if (Deno.uid() !== 0) return "needs root for a time namespace";
  try {
    Deno.lstatSync("/proc/self/ns/time");
    return null;
  } catch {
    return "needs a kernel with time namespaces";
  }
}

const reason = missing();

Deno.test({
  name: "the monotonic clock is the one that the time asleep is added to" +
    (reason === null ? "" : ` (${reason})`),
  ignore: reason !== null,
  fn: async () => {
    const code = `
      import { denoHost } from "${new URL("../lib/host_deno.ts", import.meta.url)}";
      const { libc } = await denoHost().native();
      console.log(libc.sinceBoot());`;
    const config = new URL("../deno.json", import.meta.url).pathname;
    const program = [Deno.execPath(), "run", "--allow-all", "--quiet", "--config", config, "-"];
    const here = (await denoHost().native()).libc.sinceBoot();
    const child = new Deno.Command("unshare", {
      args: ["--time", "--boottime", "1000000", "--fork", ...program],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const input = child.stdin.getWriter();
    await input.write(new TextEncoder().encode(code));
    await input.close();
    const { stdout, success } = await child.output();
    strictEqual(success, true);
    const there = Number(new TextDecoder().decode(stdout));
    ok(there - here >= 1_000_000_000 && there - here < 1_000_060_000, `${here} ${there}`);
  },
});
