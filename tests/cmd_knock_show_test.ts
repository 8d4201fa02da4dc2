// What `spa knock` shows, tells and keeps.

import assert from "node:assert/strict";
import { knock, knockBare, REQUEST } from "./knock_run.ts";

Deno.test("knock -T shows the packet and sends nothing", async () => {
  const ran = await knockBare(["-A", "tcp/22", "-a", "1.2.3.4", "-T"]);
  assert.equal(ran.status, 0);
  assert.deepEqual(ran.packets, []);
  assert.match(ran.stdout(), /^SPA Field Values:\n=+\n {3}Random Value: \d{16}\n/);
  assert.match(ran.stdout(), /\n\ntest mode enabled, SPA packet not actually sent\.\n$/);
});

Deno.test("knock -T works with an empty key from a descriptor, as fwknop does", async () => {
  const ran = await knock(["--no-rc-file", "--no-save-args", ...REQUEST, "-T", "--fd", "0"], {
    descriptors: { 0: "abc\x03" },
  });
  assert.equal(ran.status, 0);
  assert.match(ran.stdout(), /Final SPA Data/);
});

Deno.test("knock -v shows the dump, the way and the bytes; -vv the payload too", async () => {
  const ran = await knockBare([...REQUEST, "-v"]);
  const { payload } = ran.packets[0] ?? { payload: "" };
  assert.ok(ran.stdout().includes(` Final SPA Data: ${payload}\n\n`));
  assert.ok(
    ran.stdout().endsWith(
      "Generating SPA packet:\n            protocol: udp\n         source port: <OS assigned>\n" +
        "    destination port: 62201\n             IP/host: 192.0.2.1\n" +
        `send_spa_packet: bytes sent: ${payload.length}\n`,
    ),
  );
  const more = await knockBare([...REQUEST, "-vv"]);
  assert.match(more.stdout(), /\n0000 {2}([0-9a-f]{2} ){15}[0-9a-f]{2} {2}\S{16}\n/);
});

Deno.test("knock confirms on a terminal only, unless told to be quiet", async () => {
  const line = "sent 204 bytes to 192.0.2.1:62201/udp, opens tcp/22 for 1.2.3.4\n";
  assert.equal((await knockBare(REQUEST, { terminals: ["stdout"] })).stdout(), line);
  assert.equal((await knockBare([...REQUEST, "-q"], { terminals: ["stdout"] })).stdout(), "");
});

Deno.test("knock --json prints one object, sent or not", async () => {
  const sent = await knockBare([...REQUEST, "--json", "-v"]);
  const result = JSON.parse(sent.stdout());
  assert.equal(result.sent, true);
  assert.equal(result.packet.message, "1.2.3.4,tcp/22");
  assert.equal(result.packet.data, sent.packets[0]?.payload);
  const tested = JSON.parse((await knockBare([...REQUEST, "--json", "-T"])).stdout());
  assert.deepEqual([tested.sent, tested.decoded], [false, true]);
});

Deno.test("knock -B keeps the packet for its owner only, -b adds to the file", async () => {
  const first = await knockBare([...REQUEST, "-B", "/packet"]);
  const kept = first.files.get("/packet");
  assert.deepEqual(kept, { text: `${first.packets[0]?.payload}\n`, mode: 0o600 });
  const files = { "/packet": "old\n" };
  const replaced = await knockBare([...REQUEST, "-B", "/packet"], { files });
  assert.equal(replaced.files.get("/packet")?.text, `${replaced.packets[0]?.payload}\n`);
  const appended = await knockBare([...REQUEST, "-B", "/packet", "-b"], { files });
  assert.equal(appended.files.get("/packet")?.text, `old\n${appended.packets[0]?.payload}\n`);
});

Deno.test("knock warns of -s where somebody can see it", async () => {
  const warning = /WARNING: Should use -a or -R to harden SPA against potential MITM attacks/;
  assert.match((await knockBare([...REQUEST, "-s", "-v"])).stderr(), warning);
  assert.match((await knockBare([...REQUEST, "-s"], { terminals: ["stderr"] })).stderr(), warning);
  assert.equal((await knockBare([...REQUEST, "-s"])).stderr(), "");
});
