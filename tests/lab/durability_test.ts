// What a crash, a full disk and files that others can read must not do: accept a packet twice,
// open without a record, or let a grant outlive its time.

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { DIGEST_CACHE_HEADER } from "../../lib/auth_replay_line.ts";
import { savedRules, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { killRounds, killRoundsMissing } from "./kill_rounds.ts";
import { knockPacket, send, STANZA } from "./knock.ts";
import { GATEWAY_INTERFACE, hasProgram, type Lab, labMissing, labTest, spaCommand } from "./lab.ts";
import { must, PATIENCE, type Watched } from "./process.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;

labTest(
  "a gateway that is killed at random instants accepts no packet twice, and its grants end on time",
  async (lab) => {
    const { opened, midway, twice, lastGrant } = await killRounds(lab, 6);
    deepStrictEqual(twice, []);
    ok(opened > 0);
    ok(midway > 0, "no round ended between two grants");
    ok(lastGrant < PATIENCE, `${lastGrant} ms`);
  },
  labMissing() ?? killRoundsMissing(),
);

/** Starts a gateway whose digest cache is on a small disk of its own, seen by it alone. */
async function startOnSmallDisk(
  lab: Lab,
): Promise<{ readonly gateway: Watched; readonly disk: string; readonly cache: string }> {
  const disk = `${lab.directory}/disk`;
  await Deno.mkdir(disk, { recursive: true });
  const config = `${SNIFF}DIGEST_FILE ${disk}/digest.cache\n`;
  const files = await writeGatewayFiles(lab.directory, config, STANZA);
  // The last page has room for a part of a record only.
  const header = `${DIGEST_CACHE_HEADER}${"#".repeat(4096 - DIGEST_CACHE_HEADER.length - 41)}\n`;
  await Deno.writeTextFile(`${lab.directory}/header`, header);
  const script = `mount -t tmpfs -o size=64k,mode=700 none ${disk} &&
    cp ${lab.directory}/header ${disk}/digest.cache && chmod 600 ${disk}/digest.cache &&
    exec "$@"`;
  const program = spaCommand("serve", "-f", ...files.options);
  const gateway = lab.gateway.start(["unshare", "--mount", "sh", "-c", script, "sh", ...program]);
  await gateway.waitFor(/Starting fwknopd main event loop/);
  const seen = `/proc/${gateway.pid}/root${disk}`;
  return { gateway, disk: seen, cache: `${seen}/digest.cache` };
}

/** Writes a file until the disk takes no more. */
async function fill(path: string): Promise<void> {
  const file = await Deno.open(path, { write: true, create: true });
  const page = new Uint8Array(4096);
  try {
    for (;;) await file.write(page);
  } catch (error) {
    match(String(error), /No space left/);
  } finally {
    file.close();
  }
}

/** Waits for a count in what the gateway prints at SIGUSR1. */
async function waitForCount(gateway: Watched, count: string): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!gateway.output().includes(count)) {
    if (performance.now() > end) throw new Error(`no "${count}"\n${gateway.output()}`);
    gateway.signal("SIGUSR1");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

labTest(
  "while the disk is full or read-only nothing opens; then all goes on, and what was refused stays so",
  async (lab) => {
    const { gateway, disk, cache } = await startOnSmallDisk(lab);
    const before = await Deno.readTextFile(cache);
    await fill(`${disk}/ballast`);
    const refused = [22, 23, 24].map((port) => knockPacket(`tcp/${port}`));
    await send(lab, ...refused);
    await waitForCount(gateway, "digest-cache-failed 3");
    // Nothing is left of what was written in part.
    strictEqual(await Deno.readTextFile(cache), before);

    const remount = (how: string): Promise<string> =>
      must([
        "nsenter",
        "-m",
        "-t",
        String(gateway.pid),
        "mount",
        "-o",
        `remount,${how}`,
        "none",
        `${lab.directory}/disk`,
      ]);
    await Deno.remove(`${disk}/ballast`);
    await remount("ro");
    await send(lab, knockPacket("tcp/25"));
    await waitForCount(gateway, "digest-cache-failed 4");
    ok(!(await savedRules(lab.gateway)).includes("_exp_"));

    await remount("rw");
    await send(lab, knockPacket("tcp/26"));
    await gateway.waitFor(/Added access rule .* tcp\/26/);
    await send(lab, ...refused);
    await waitForCount(gateway, "replay 3");
    const told = gateway.output().split("\n").filter((line) => /igest cache/.test(line));
    strictEqual(told.length, 2, told.join("\n"));
    match(told[0] ?? "", /^Cannot write to digest cache \S+, so nothing is opened: No space left/);
    match(told[1] ?? "", /^Digest cache \S+ can be written again\.$/);
    // A restart finds the refused ones, too.
    strictEqual((await Deno.readTextFile(cache)).split("\n").length - before.split("\n").length, 5);
  },
  labMissing() ??
    (["unshare", "nsenter"].every((name) => hasProgram(name)) ? null : "needs unshare, nsenter"),
);

/** Digest caches that cannot be, the commands that make them so, and what is said. */
const IMPOSSIBLE: readonly (readonly [name: string, path: string, make: string, RegExp])[] = [
  ["in a directory that is not there", "none/digest.cache", "true", /No such file or directory$/],
  ["on a read-only disk", "digest.cache", "mount -t tmpfs -o ro none .", /Read-only file system$/],
  [
    "on a full disk",
    "digest.cache",
    "mount -t tmpfs -o nr_inodes=1 none .",
    /No space left on device$/,
  ],
];

for (const [name, path, make, expected] of IMPOSSIBLE) {
  labTest(`a digest cache ${name} stops the start, and no rule is touched`, async (lab) => {
    const disk = `${lab.directory}/disk`;
    await Deno.mkdir(disk);
    const config = `${SNIFF}DIGEST_FILE ${disk}/${path}\n`;
    const files = await writeGatewayFiles(lab.directory, config, STANZA);
    const before = await savedRules(lab.gateway);
    const script = `cd ${disk} && ${make} && exec timeout 15 "$@"`;
    const program = spaCommand("serve", "-f", ...files.options);
    const { status, stderr } = await lab.gateway.run([
      ...["unshare", "--mount", "sh", "-c", script, "sh", ...program],
    ]);
    strictEqual(status, 1, stderr);
    const last = stderr.trimEnd().split("\n").at(-1) ?? "";
    match(last, new RegExp(`^spa: cannot use digest cache "${disk}/${path}": `));
    match(last, expected);
    strictEqual(await savedRules(lab.gateway), before);
  }, labMissing() ?? (hasProgram("unshare") ? null : "needs the program unshare"));
}

labTest("keys that others can read stop the start, and at a reload change nothing", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const gateway = await startGateway(lab, files);
  await Deno.writeTextFile(files.access, `${STANZA}OPEN_PORTS tcp/443\n`);
  await Deno.chmod(files.access, 0o640);
  gateway.signal("SIGHUP");
  await gateway.waitFor(/not 0640: others get at its keys[^]*going on with the present one/);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* tcp\/22/);

  const again = await serve(lab.gateway, files, "-f");
  strictEqual(again.status, 1);
  match(again.stderr, /0640: others get at its keys\nhint: chmod 600 .*ENABLE_STRICT_PERMISSIONS/);
  await Deno.writeTextFile(files.config, `${SNIFF}ENABLE_STRICT_PERMISSIONS N\n`);
  const loose = await serve(lab.gateway, files, "--exit-parse-config");
  strictEqual(loose.status, 0, loose.stderr);
  match(loose.stderr, /warning: \[-\] file: \S+access\.conf permissions should only be user/);
});
