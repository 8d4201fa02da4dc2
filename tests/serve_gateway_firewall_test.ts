// A gateway's firewall while its settings change: what goes when, and what becomes of grants. What
// kernels make of it is in tests/lab/firewall_reload_test.ts.

import assert from "node:assert/strict";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import type { Host, ProgramCall, ProgramResult } from "../lib/host.ts";
import { denoHost } from "../lib/host_deno.ts";
import type { Firewall } from "../lib/serve_firewall.ts";
import { startGatewayFirewall } from "../lib/serve_gateway_firewall.ts";
import { createLog } from "../lib/serve_log.ts";
import { createPatience } from "../lib/serve_patience.ts";
import type { GatewayOptions, Settings } from "../lib/serve_settings.ts";
import { fakeIptables } from "./fake_iptables.ts";
import { serverConfigOf, stanzasOf } from "./gateway_fixture.ts";

const NOW = 1_795_323_500;

const OPTIONS: GatewayOptions = {
  ...{ testMode: false, anyDirection: false, fromStdin: false, packetLimit: 0 },
  ...{ rotateDigestCache: false, exitAfterDigestCache: false },
};

const IPTABLES = "FIREWALL_TYPE iptables\n";
const OTHER_CHAIN = `${IPTABLES}IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, OTHER, 1\n`;
const HIDING = "FIREWALL_TYPE nftables\nNFT_EXE /usr/sbin/nft\nENABLE_DEFAULT_DROP tcp/22\n";

function settingsOf(text: string): Settings {
  const config = serverConfigOf(text);
  return { config, reading: { settings: new Map() }, stanzas: stanzasOf("SOURCE ANY\nKEY a\n") };
}

const GRANT: FirewallGrant = {
  kind: "access",
  stanza: 1,
  source: "192.0.2.10",
  destination: "192.0.2.1",
  ports: [{ protocol: "tcp", port: 22 }],
  seconds: 60,
  expires: NOW + 60,
};

/** An iptables and an nft beside each other, and what was logged and changed in them. */
async function openScene(first: string, respond = (_: ProgramCall): void => {}) {
  const iptables = fakeIptables();
  const lines: string[] = [];
  const changes: string[] = [];
  let elapsed = 0;
  let hides = false;

  function nft({ stdin }: ProgramCall): ProgramResult {
    if (stdin === undefined) {
      const nftables = hides ? [{ table: { family: "inet", name: "spa" } }] : [];
      return { status: 0, stdout: JSON.stringify({ nftables }), stderr: "" };
    }
    hides = !stdin.startsWith("delete table inet spa");
    return { status: 0, stdout: "", stderr: "" };
  }

  const host: Host = {
    ...denoHost(),
    uid: 0,
    now: () => NOW * 1000 + elapsed,
    monotonic: () => elapsed,
    readTextFile: () => assert.fail("no such file"),
    stat: (path) =>
      /^\/usr\/sbin\/(?:nft|iptables(?:-restore)?)$/.test(path) ? denoHost().stat("/") : null,
    run: (call) => {
      respond(call);
      const isNft = call.program.endsWith("nft");
      if (call.stdin !== undefined) changes.push(`${isNft ? "nft" : "iptables"} ${call.stdin}`);
      return Promise.resolve(isNft ? nft(call) : iptables.run(call));
    },
  };
  let installed: Pick<Firewall, "open"> | null = null;
  const gateway = await startGatewayFirewall({
    host,
    log: createLog(0, (level, text) => lines.push(`${level} ${text}`)),
    options: OPTIONS,
    install: (firewall) => void (installed = firewall),
  }, settingsOf(first));
  return {
    gateway,
    iptables,
    lines,
    changes,
    advance: (milliseconds: number) => void (elapsed += milliseconds),
    open: async (grant = GRANT) => await installed?.open(grant) ?? null,
    reload: (text: string) => gateway.enact(settingsOf(text)),
  };
}

Deno.test("grants go on for the time they have left when chains change", async () => {
  const { gateway, iptables, lines, advance, open, reload } = await openScene(IPTABLES);
  assert.deepEqual(await open(), { ok: true });
  assert.deepEqual(await open({ ...GRANT, source: "192.0.2.11", seconds: 10 }), { ok: true });
  const [, , rule = ""] = iptables.save();
  advance(20_000);
  await reload(OTHER_CHAIN);
  const expected = [":OTHER", "-A INPUT -j OTHER", rule.replace("FWKNOP_INPUT", "OTHER")];
  assert.deepEqual(iptables.save(), expected);
  assert.ok(lines.includes("info 1 open grant(s) go on."), lines.join("\n"));

  await reload(OTHER_CHAIN);
  assert.equal(lines.filter((line) => /have changed/.test(line)).length, 1);
  await gateway.stop();
  assert.deepEqual(iptables.save(), []);
});

Deno.test("what somebody has closed meanwhile stays closed over a reload", async () => {
  const { gateway, iptables, lines, open, reload } = await openScene(IPTABLES);
  await open();
  iptables.run({ program: "iptables", args: ["-t", "filter", "-F", "FWKNOP_INPUT"] });
  await reload(OTHER_CHAIN);
  assert.deepEqual(iptables.save(), [":OTHER", "-A INPUT -j OTHER"]);
  assert.ok(!lines.some((line) => /go on/.test(line)));
  await gateway.stop();
});

Deno.test("of a grant for two ports the one that somebody closed stays closed over a reload", async () => {
  const { gateway, iptables, open, reload } = await openScene(IPTABLES);
  const http = { protocol: "tcp", port: 80 } as const;
  await open({ ...GRANT, ports: [...GRANT.ports, http] });
  const rule = iptables.save().find((line) => line.includes("--dport 80")) ?? "";
  const words = rule.replace("-A", "-D").split(" ");
  iptables.run({ program: "iptables", args: ["-t", "filter", ...words] });
  await reload(OTHER_CHAIN);
  const ports = iptables.save().flatMap((line) => /--dport (\d+)/.exec(line)?.[1] ?? []);
  assert.deepEqual(ports, ["22"]);
  await gateway.stop();
});

Deno.test("a reload that takes long prolongs no grant", async () => {
  let slow = false;
  const scene = await openScene(IPTABLES, () => {
    if (slow) scene.advance(20_000);
  });
  const { gateway, iptables, lines, open, reload } = scene;
  await open();
  slow = true;
  await reload(OTHER_CHAIN);
  slow = false;
  assert.deepEqual(iptables.save(), [":OTHER", "-A INPUT -j OTHER"]);
  assert.ok(!lines.some((line) => /go on/.test(line)));
  await gateway.stop();
});

Deno.test("who knocked last has said where a port leads to, also after several reloads", async () => {
  const scene = await openScene(`${IPTABLES}ENABLE_IPT_FORWARDING Y\n`);
  const { gateway, iptables, advance, open, reload } = scene;
  for (const host of ["198.51.100.99", "198.51.100.20"]) {
    advance(2400);
    await open({
      ...GRANT,
      kind: "nat",
      nat: {
        ...{ local: false, host, port: 22, all: false, masquerade: false },
        ...{ translatesDestination: true, forcedSource: null },
      },
    });
  }
  for (const chain of ["ONE", "TWO", "THREE"]) {
    advance(2400);
    await reload(
      `${IPTABLES}ENABLE_IPT_FORWARDING Y\nIPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, ${chain}, 1\n`,
    );
    const targets = iptables.save("nat").flatMap((line) =>
      /--to-des\S+ (\S+)/.exec(line)?.[1] ?? []
    );
    assert.deepEqual(targets, ["198.51.100.20:22"], chain);
  }
  await gateway.stop();
});

Deno.test("a firewall that cannot even be brought back is tried again, and leaves nothing", async () => {
  const scene = await openScene(IPTABLES, ({ stdin }) => {
    if (stdin?.includes("-N OTHER")) {
      scene.iptables.broken = { status: 4, stdout: "", stderr: "Resource temporarily unavailable" };
    }
  });
  const { gateway, iptables, lines, open, reload } = scene;
  await open();
  await assert.rejects(reload(OTHER_CHAIN), /Resource temporarily unavailable/);
  assert.match(lines.join("\n"), /Resource temporarily unavailable; trying again in 1 s/);
  iptables.broken = null;
  const other = { ...GRANT, source: "192.0.2.11" };
  assert.deepEqual(await open(other), { ok: true });
  const deadline = Date.now() + 30_000;
  while (!lines.includes("info 1 open grant(s) go on.")) {
    assert.ok(Date.now() < deadline, lines.join("\n"));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(iptables.save().filter((line) => line.includes("--dport 22")).length, 2);
  await gateway.stop();
  assert.deepEqual(iptables.save(), []);
});

Deno.test("settings of ipset are the firewall's, too", async () => {
  for (const line of ["ENABLE_IPSET N", "IPSET_EXE /opt/ipset", "IPSET_ABOVE_GRANTS 7"]) {
    const { gateway, lines, reload } = await openScene(IPTABLES);
    await reload(`${IPTABLES}${line}\n`);
    assert.match(lines.join("\n"), /The firewall's settings have changed/);
    await gateway.stop();
  }
});

Deno.test("the log tells how many grants new settings cannot express", async () => {
  const forwarding = `${IPTABLES}ENABLE_IPT_FORWARDING Y\n`;
  const { gateway, lines, open, reload } = await openScene(forwarding);
  await open();
  await open({
    ...GRANT,
    kind: "nat",
    nat: {
      ...{ local: false, host: "198.51.100.20", port: 22, all: false, masquerade: false },
      ...{ translatesDestination: true, forcedSource: null },
    },
  });
  await reload(IPTABLES);
  assert.ok(lines.includes("info 1 open grant(s) go on."), lines.join("\n"));
  assert.ok(lines.some((line) => /^warning 1 open grant\(s\) have ended: ./.test(line)));
  await gateway.stop();
});

Deno.test("the log tells how many grants end where there is no firewall any more", async () => {
  const { gateway, iptables, lines, open, reload } = await openScene(IPTABLES);
  await open();
  await reload("FIREWALL_TYPE command\n");
  assert.deepEqual([iptables.save(), await open()], [[], null]);
  assert.ok(lines.some((line) => /^warning 1 open grant\(s\) have ended: ./.test(line)));
  await reload(IPTABLES);
  assert.deepEqual(await open(), { ok: true });
  await gateway.stop();
});

Deno.test("of two kinds the new one has its grants before the old one goes", async () => {
  const { gateway, changes, open, reload } = await openScene(HIDING);
  await open();
  changes.length = 0;
  await reload(IPTABLES);
  const order = (pattern: RegExp): number => changes.findIndex((change) => pattern.test(change));
  assert.ok(order(/^iptables .*\n-A FWKNOP_INPUT .*192\.0\.2\.10/) >= 0, changes.join("\n"));
  assert.equal(order(/^nft delete table inet spa\n/), changes.length - 1);

  changes.length = 0;
  await reload(HIDING);
  assert.equal(order(/^nft add table inet spa\n/), 0);
  assert.equal(order(/^nft .*element inet spa spa_access4 \{ 192\.0\.2\.10 /), 1);
  assert.equal(order(/^iptables [^]*-X FWKNOP_INPUT/), changes.length - 1);
  await gateway.stop();
});

Deno.test("a knock that comes while the firewall is replaced is opened by the new one", async () => {
  const knocks: Promise<unknown>[] = [];
  let knock = (): void => {};
  const scene = await openScene(IPTABLES, ({ stdin }) => {
    if (stdin?.includes("-X FWKNOP_INPUT")) knock();
  });
  knock = () => void knocks.push(scene.open());
  await scene.reload(OTHER_CHAIN);
  assert.deepEqual(await Promise.all(knocks), [{ ok: true }]);
  const [, , rule = ""] = scene.iptables.save();
  assert.match(rule, /^-A OTHER .*192\.0\.2\.10/);
  await scene.gateway.stop();
});

Deno.test("settings that cannot work touch nothing", async () => {
  const { gateway, changes, open, reload } = await openScene(HIDING);
  await open();
  changes.length = 0;
  const nowhere = "FIREWALL_TYPE nftables\nNFT_EXE /usr/sbin/nft\nNFT_ATTACH inet nosuch x\n";
  await assert.rejects(reload(nowhere), /cannot use nftables: .* inet nosuch x/);
  assert.deepEqual(changes, []);
  assert.deepEqual(await open({ ...GRANT, source: "192.0.2.11" }), { ok: true });
  await gateway.stop();
});

Deno.test("once patience is short, programs that run are killed and no others start", async () => {
  let end = (): void => {};
  const calls: ProgramCall[] = [];
  const patience = createPatience({
    run: (call) => {
      calls.push(call);
      const { promise, resolve } = Promise.withResolvers<ProgramResult>();
      const killed = { status: 137, stdout: "", stderr: "", timedOut: 7_000 };
      call.signal?.addEventListener("abort", () => resolve(killed));
      return promise;
    },
  }, (milliseconds, action) => {
    assert.equal(milliseconds, 20_000);
    end = action;
    return () => void (end = () => {});
  });
  const call = { program: "iptables", args: ["-L"] };
  const early = patience.run(call);
  patience.shorten(20_000);
  patience.shorten(1);
  const late = patience.run(call);
  end();
  assert.deepEqual([(await early).timedOut, (await late).timedOut], [7_000, 7_000]);
  const { status, timedOut } = await patience.run(call);
  assert.deepEqual([status, timedOut, calls.length], [137, 20_000, 2]);
});
