// `spa serve` under a service manager: what it tells, when, and for how long.

import assert from "node:assert/strict";
import { startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, send, STANZA } from "./knock.ts";
import { GATEWAY_INTERFACE, type Lab, labTest, spaCommand } from "./lab.ts";

labTest("a service manager hears when the gateway is ready, reloads, lives, ends", async (lab) => {
  const path = `${lab.directory}/notify`;
  const listener = Deno.listenDatagram({ transport: "unixpacket", path });
  const next = async (): Promise<string> => {
    const [bytes] = await listener.receive();
    return new TextDecoder().decode(bytes);
  };
  try {
    const config = "ENABLE_UDP_SERVER Y\nUDPSERV_PORT 62201\n";
    const files = await writeGatewayFiles(lab.directory, config, STANZA);
    const gateway = lab.gateway.start(spaCommand("serve", "-f", ...files.options), {
      env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: "200000" },
    });
    assert.equal(await next(), "READY=1");
    assert.match(gateway.output(), /Kicking off UDP server/);
    assert.equal(await next(), "WATCHDOG=1");
    assert.equal(await next(), "WATCHDOG=1");

    gateway.signal("SIGHUP");
    let heard = await next();
    while (heard === "WATCHDOG=1") heard = await next();
    assert.match(heard, /^RELOADING=1\nMONOTONIC_USEC=[0-9]+$/);
    heard = await next();
    while (heard === "WATCHDOG=1") heard = await next();
    assert.equal(heard, "READY=1");

    gateway.signal("SIGTERM");
    heard = await next();
    while (heard === "WATCHDOG=1") heard = await next();
    assert.equal(heard, "STOPPING=1");
    assert.equal(await gateway.ended, 0);
  } finally {
    listener.close();
  }
});

/** The values of a setting in the service's unit. */
function unitSetting(name: string): readonly string[] {
  const path = new URL("../../packaging/systemd/spa.service", import.meta.url);
  const unit = Deno.readTextFileSync(path);
  return new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1]?.split(" ") ?? [];
}

/** What the unit does to the process, as far as util-linux can do it, too. */
function sandboxed(lab: Lab): string[] {
  const capabilities = unitSetting("CapabilityBoundingSet")
    .map((name) => `+${name.replace(/^CAP_/, "").toLowerCase()}`);
  // ProtectSystem=strict: all is read-only but what the service may change, and what Deno keeps for
  // scripts/coverage.
  const script = 'for own in "$0" $DENO_COVERAGE_DIR; do mount --bind "$own" "$own"; done; ' +
    'mount -o remount,bind,ro / && exec "$@"';
  return [
    ...["unshare", "--mount", "sh", "-c", script, lab.directory],
    ...["setpriv", "--no-new-privs", "--bounding-set", ["-all", ...capabilities].join(",")],
  ];
}

for (const firewall of ["iptables", "nftables"] as const) {
  labTest(`in the sandbox of the unit a knock opens and closes ${firewall}`, async (lab) => {
    if (firewall === "nftables") await useNftables(lab);
    const config = `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE ${firewall}\n`;
    const files = await writeGatewayFiles(lab.directory, config, `${STANZA}FW_ACCESS_TIMEOUT 2\n`);
    const confined: Lab = {
      ...lab,
      gateway: {
        ...lab.gateway,
        start: (words, options) => lab.gateway.start([...sandboxed(lab), ...words], options),
      },
    };
    const gateway = await startGateway(confined, files);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule .*192\.0\.2\.10/);
    if (firewall === "iptables") await gateway.waitFor(/Removed rule 1 from FWKNOP_INPUT/);
    assert.equal(await gateway.stop(), 0);
    assert.ok(!/error|cannot|denied|not permitted|read-only/i.test(gateway.output()));
  });
}

/** A chain that drops what no grant accepts, and none of iptables. */
async function useNftables(lab: Lab): Promise<void> {
  await lab.gateway.must(["iptables-restore"], "*filter\n:INPUT ACCEPT\nCOMMIT\n");
  const chain = "type filter hook input priority 0; policy drop;";
  await lab.gateway.must(
    ["nft", "-f", "-"],
    `table inet filter {\nchain input {\n${chain}\n}\n}\n`,
  );
}
