// Privilege separation on a real kernel: what the process that reads packets still may, and what
// becomes of the gateway when one of its two processes ends.

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { savedRules, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, send, STANZA } from "./knock.ts";
import { ADDRESSES, GATEWAY_INTERFACE, labTest, labTool, spaCommand } from "./lab.ts";
import { PATIENCE, type Watched } from "./process.ts";
import { sentriesOf } from "./sentry.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;

function sentryOf(gateway: Watched): number {
  const [sentry, ...others] = sentriesOf(gateway);
  ok(sentry !== undefined && others.length === 0);
  return sentry;
}

/** What proc(5) tells of a thread, by name. */
function statusOf(path: string): ReadonlyMap<string, string> {
  const lines = Deno.readTextFileSync(`${path}/status`).trim().split("\n");
  return new Map(lines.map((line) => {
    const [name = "", value = ""] = line.split(":");
    return [name, value.trim()];
  }));
}

/** Resolves once nothing of the process is left but what its parent has to fetch. */
async function isOver(pid: number): Promise<boolean> {
  for (let waited = 0; waited < PATIENCE; waited += 20) {
    try {
      if (/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`))) return true;
    } catch {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

labTest("packets are read by a process without privileges", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
  const sentry = sentryOf(gateway);
  const threads = [...Deno.readDirSync(`/proc/${sentry}/task`)];
  ok(threads.length > 1);
  const nobody = Deno.readTextFileSync("/etc/passwd").match(/^(?:spa|nobody):[^:]*:(\d+):(\d+)/m);
  for (const { name } of threads) {
    const status = statusOf(`/proc/${sentry}/task/${name}`);
    strictEqual(status.get("Uid"), Array(4).fill(nobody?.[1]).join("\t"));
    strictEqual(status.get("Gid"), Array(4).fill(nobody?.[2]).join("\t"));
    strictEqual(status.get("Groups"), "");
    for (const set of ["CapEff", "CapPrm", "CapAmb"]) match(status.get(set) ?? "", /^0+$/);
    strictEqual(status.get("NoNewPrivs"), "1");
    strictEqual(status.get("Seccomp"), "2");
  }
  match(statusOf(`/proc/${sentry}`).get("CapBnd") ?? "", /^0+$/);
  match(Deno.readTextFileSync(`/proc/${sentry}/limits`), /^Max core file size +0 +0 /m);
  match(Deno.readTextFileSync(`/proc/${sentry}/cmdline`), /serve\0\[sentry\]\0/);
  // Not dumpable: its files in /proc are root's.
  strictEqual(Deno.statSync(`/proc/${sentry}/environ`).uid, 0);
  strictEqual(statusOf(`/proc/${gateway.pid}`).get("Uid"), "0\t0\t0\t0");
});

labTest("with PRIVSEP N there is one process", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, `${SNIFF}PRIVSEP N\n`, STANZA);
  const gateway = await startGateway(lab, files);
  deepStrictEqual(sentriesOf(gateway), []);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
  strictEqual(await gateway.stop(), 0);
});

labTest("a sentry that dies is followed by another, and grants stay", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  const replayed = knockPacket("tcp/22");
  await send(lab, replayed);
  await gateway.waitFor(/Added access rule .* tcp\/22/);
  const before = await savedRules(lab.gateway);
  Deno.kill(sentryOf(gateway), "SIGKILL");
  await gateway.waitFor(
    /The sentry has ended unexpectedly \(status 137\); starting another at once/,
  );
  await gateway.waitFor(/(Starting fwknopd main event loop[^]*){2}/);
  strictEqual(await savedRules(lab.gateway), before);
  await send(lab, replayed, knockPacket("tcp/443"));
  await gateway.waitFor(/Replay detected from source IP[^]*Added access rule .* tcp\/443/);
  strictEqual(await gateway.stop(), 0);
  match(gateway.output(), /Shutting Down fwknopd\.\n$/);
});

labTest(
  "with ENABLE_DIGEST_PERSISTENCE N a dead sentry's successor knows its replays",
  async (lab) => {
    const config = `${SNIFF}ENABLE_DIGEST_PERSISTENCE N\n`;
    const files = await writeGatewayFiles(lab.directory, config, STANZA);
    const gateway = await startGateway(lab, files);
    const packet = knockPacket("tcp/22");
    await send(lab, packet);
    await gateway.waitFor(/Added access rule/);
    Deno.kill(sentryOf(gateway), "SIGKILL");
    await gateway.waitFor(/(Starting fwknopd main event loop[^]*){2}/);
    await send(lab, packet);
    await gateway.waitFor(/Replay detected from source IP/);
  },
);

labTest("a sentry ends with its monitor, even when that is killed", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  const sentry = sentryOf(gateway);
  gateway.signal("SIGKILL");
  ok(await isOver(sentry));
});

labTest("a user for the sentry that is not there, or is root, ends the start", async (lab) => {
  for (const [user, why] of [["nonesuch", /there is no user/], ["root", /privileges of root/]]) {
    const config = `${SNIFF}PRIVSEP_USER ${user}\n`;
    const files = await writeGatewayFiles(lab.directory, config, STANZA);
    const { status, stderr } = await lab.gateway.run(
      spaCommand("serve", "-f", ...files.options),
    );
    strictEqual(status, 1);
    match(stderr, why as RegExp);
  }
  ok(!(await savedRules(lab.gateway)).includes("FWKNOP"));
});

const STREAM = { count: 150, interval: 20, first: 1001 } as const;

/** Two configurations that a stream of knocks meets in turn, and one with an error. */
const RELOADS: readonly [string, readonly [string, string], readonly [string, string]][] = [
  ["the policy changes", [SNIFF, STANZA], [SNIFF, `${STANZA}FW_ACCESS_TIMEOUT 40\n`]],
  ["the capture changes", [SNIFF, STANZA], [`${SNIFF}PCAP_FILTER udp dst port 62201\n`, STANZA]],
];

for (const [name, ...configurations] of RELOADS) {
  labTest(`no knock is lost or judged twice while ${name} every 100 ms`, async (lab) => {
    const [[config, access]] = configurations;

    const files = await writeGatewayFiles(lab.directory, config, access);
    const gateway = await startGateway(lab, files);
    const { count, interval, first } = STREAM;
    const stream = lab.client.start(
      labTool("knock_stream", ADDRESSES.gateway, ...[count, interval, first].map(String)),
    );
    let over = false;
    stream.waitFor(/all sent/).then(() => void (over = true));
    let reloads = 0;
    while (!over) {
      const [nextConfig, nextAccess] = configurations[++reloads % 2] ?? ["", ""];
      const broken = reloads % 5 === 0 ? "SOURCE nowhere\n" : "";
      await Deno.writeTextFile(files.config, nextConfig);
      await Deno.writeTextFile(files.access, `${nextAccess}${broken}`);
      gateway.signal("SIGHUP");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${first + count - 1},`));
    ok(reloads > 10, `${reloads} reloads`);
    gateway.signal("SIGUSR1");
    const [counts] = await gateway.waitFor(/^Packets: .*$/m);
    match(counts, new RegExp(`^Packets: granted ${count};`));
    const opened = gateway.output().match(/Added access rule .* tcp\/\d+/g) ?? [];
    strictEqual(new Set(opened).size, count);
    strictEqual(opened.length, count);
    match(gateway.output(), /The new configuration has errors; going on with the present one\./);
    strictEqual(await gateway.stop(), 0);
  });
}

/** What a sentry has to be able to do. */
const ABLE: Readonly<Record<string, unknown>> = { waits: 0, computes: 299_995, notes: [] };

labTest("a confined process can open, send, run, signal and become nothing", async (lab) => {
  const file = `${lab.directory}/file`;
  await Deno.writeTextFile(file, "", { mode: 0o666 });
  const text = await lab.gateway.must(labTool("confined", "65534", "65534", file));
  const { pid: _, ...results } = JSON.parse(text) as Record<string, unknown>;
  ok(Object.keys(results).length > 25);
  for (const [attempt, result] of Object.entries(results)) {
    const able = ABLE[attempt];
    if (able !== undefined) deepStrictEqual(result, able, attempt);
    else match(String(result), attempt.startsWith("Deno ") ? /^NotCapable$/ : /^errno 1$/, attempt);
  }
});
