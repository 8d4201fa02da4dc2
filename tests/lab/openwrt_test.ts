// A gateway as OpenWrt has it: the rules of fw4 in their shape, and one UCI file for the server.

import { match, ok, strictEqual } from "node:assert/strict";
import { HMAC_KEY, KEY, knockPacket, probe, send } from "./knock.ts";
import { GATEWAY_INTERFACE, hasProgram, labMissing, labTest, labTool, spaCommand } from "./lab.ts";
import { PATIENCE } from "./process.ts";

/** What fw4 makes of a LAN that is trusted and a WAN that is not; chains without a part are left out. */
const FW4 = `table inet fw4
flush table inet fw4
table inet fw4 {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept comment "!fw4: Accept traffic from loopback"
    ct state vmap { established : accept, related : accept } comment "!fw4: Handle inbound flows"
    tcp flags & (fin | syn | rst | ack) == syn jump syn_flood comment "!fw4: Rate limit TCP syn"
    iifname "inside" jump input_lan comment "!fw4: Handle lan IPv4/IPv6 input traffic"
    iifname "${GATEWAY_INTERFACE}" jump input_wan comment "!fw4: Handle wan IPv4/IPv6 input traffic"
    jump handle_reject
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state vmap { established : accept, related : accept } comment "!fw4: Handle forwarded flows"
    jump handle_reject
  }
  chain output {
    type filter hook output priority filter; policy accept;
    oif lo accept
  }
  chain prerouting {
    type filter hook prerouting priority filter; policy accept;
  }
  chain handle_reject {
    meta l4proto tcp reject with tcp reset comment "!fw4: Reject TCP traffic"
    reject comment "!fw4: Reject any other traffic"
  }
  chain syn_flood {
    limit rate 25/second burst 50 packets return
    drop
  }
  chain input_lan { accept comment "!fw4: accept lan IPv4/IPv6 traffic"; }
  chain input_wan {
    meta nfproto ipv4 udp dport 68 counter accept comment "!fw4: Allow-DHCP-Renew"
    icmp type echo-request counter accept comment "!fw4: Allow-Ping"
    counter drop comment "!fw4: drop wan IPv4/IPv6 traffic"
  }
  chain srcnat {
    type nat hook postrouting priority srcnat; policy accept;
  }
  chain mangle_prerouting {
    type filter hook prerouting priority mangle; policy accept;
  }
  chain raw_prerouting {
    type filter hook prerouting priority raw; policy accept;
  }
}
`;

const SETTINGS = `config global
	option uci_enabled '1'
config config
	option FIREWALL_TYPE 'nftables'
	option NFT_ATTACH 'inet fw4 input'
config access
	option SOURCE 'ANY'
	option OPEN_PORTS 'tcp/22'
	option REQUIRE_SOURCE_ADDRESS 'Y'
	option FW_ACCESS_TIMEOUT '3'
	option KEY '${KEY}'
	option HMAC_KEY '${HMAC_KEY}'
`;

const missing = labMissing() ?? (hasProgram("nft") ? null : "needs the program nft");

labTest(
  "a UCI file opens a port through the rules of OpenWrt's fw4, also after it loads them again",
  async (lab) => {
    const loadRules = (): Promise<string> => lab.gateway.must(["nft", "-f", "-"], FW4);
    await lab.gateway.must(["nft", "flush", "ruleset"]);
    await loadRules();
    const ruleset = (): Promise<string> =>
      lab.gateway.must(["nft", "--stateless", "list", "ruleset"]);
    const before = await ruleset();
    const service = lab.gateway.start(labTool("tcp_service", "22"));
    await service.waitFor(/listening on 22/);
    const file = `${lab.directory}/fwknopd`;
    await Deno.writeTextFile(file, SETTINGS, { mode: 0o600 });
    const options = ["-c", file, "-r", `${lab.directory}/run`, "-i", GATEWAY_INTERFACE];
    const check = await lab.gateway.run(spaCommand("serve", "--exit-parse-config", ...options));
    strictEqual(check.status, 0, check.stderr);
    match(check.stderr, /grants are accepted in chain inet fw4 input/);

    const gateway = lab.gateway.start(spaCommand("serve", "-f", ...options));
    await gateway.waitFor(/Starting fwknopd main event loop/);
    strictEqual(await probe(lab, 22), "filtered");
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule/);
    strictEqual(await probe(lab, 22), "open");
    await gateway.waitFor(/Removed rule/);
    const start = performance.now();
    while (await probe(lab, 22) !== "filtered") ok(performance.now() - start < PATIENCE);

    await loadRules();
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/(?:Added access rule[^]*){2}/);
    strictEqual(await probe(lab, 22), "open");
    strictEqual(await gateway.stop(), 0);
    strictEqual(await ruleset(), before);
  },
  missing,
);
