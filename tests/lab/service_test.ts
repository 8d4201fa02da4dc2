// `spa serve` under a service manager: what it tells, when, and for how long.

import assert from "node:assert/strict";
import { writeGatewayFiles } from "./gateway.ts";
import { STANZA } from "./knock.ts";
import { labTest, spaCommand } from "./lab.ts";

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
