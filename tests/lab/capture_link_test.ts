// What stands in a knock's way on real interfaces: no link layer, IP options, fragments, a foreign
// hardware address, and a crowd that keeps connections.

import { equal, match, ok } from "node:assert/strict";
import { udpPacket } from "../../lib/net_raw.ts";
import { startGateway, writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, knockPacket, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  type Lab,
  labMissing,
  labTest,
  labTool,
  spaCommand,
} from "./lab.ts";
import type { Watched } from "./process.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;

async function start(lab: Lab, config: string): Promise<Watched> {
  return await startGateway(lab, await writeGatewayFiles(lab.directory, config, STANZA));
}

const isTun = await Deno.stat("/dev/net/tun").then(() => true, () => false);
const noTun = labMissing() ?? (isTun ? null : "needs /dev/net/tun");

/** An IPv4 packet from an address, with words of options. */
function packetFrom(source: string, payload: string, optionWords = 0): Uint8Array {
  const bytes = (address: string): Uint8Array => Uint8Array.from(address.split("."), Number);
  const packet = udpPacket(
    { source: bytes(source), destination: bytes(ADDRESSES.gateway), identification: 1 },
    { source: 40_000, destination: 62_201 },
    new TextEncoder().encode(payload),
  );
  const noOperation = 1;
  const options = new Array<number>(4 * optionWords).fill(noOperation);
  const whole = Uint8Array.from([...packet.subarray(0, 20), ...options, ...packet.subarray(20)]);
  whole[0] = 0x45 + optionWords;
  new DataView(whole.buffer).setUint16(2, whole.length);
  return whole;
}

labTest(
  "on an interface without a link layer knocks are seen from every address, with any IP options",
  async (lab) => {
    const tun = lab.gateway.start(labTool("tun", "raw0"));
    await tun.waitFor(/made/);
    await lab.gateway.must("ip link set raw0 up".split(" "));
    const gateway = await start(lab, "PCAP_INTF raw0\n");
    // fwknopd does not see the first four, nor one or two words of options anywhere.
    const cases = [
      ...["5.6.7.8", "1.2.3.4", "129.0.1.2", "170.170.1.1", "192.0.2.10"].map((source) =>
        [source, 0] as const
      ),
      ...[1, 2, 10].map((words) => ["192.0.2.10", words] as const),
    ];
    for (const [index, [source, words]] of cases.entries()) {
      const port = 1000 + index;
      const packet = packetFrom(source, knockPacket(`tcp/${port}`, source), words);
      await tun.write(`${packet.toHex()}\n`);
      await gateway.waitFor(
        new RegExp(`Added access rule .* for ${source.replaceAll(".", "\\.")} .* tcp/${port}, `),
      );
    }
    equal(await gateway.stop(), 0);
  },
  noTun,
);

labTest("fragments are counted, and a knock after them is seen", async (lab) => {
  const gateway = await start(lab, `${SNIFF}PCAP_FILTER ip proto 17\n`);
  await send(lab, "x".repeat(2000), knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule .* tcp\/22/);
  gateway.signal("SIGUSR1");
  await gateway.waitFor(/^Packets: granted 1; captured 3, .*; passed over 2 fragments$/m);
  equal(await gateway.stop(), 0);
});

labTest(
  "ENABLE_PCAP_PROMISC Y takes every frame of the cable, while the server runs",
  async (lab) => {
    const promiscuity = async (): Promise<string> => {
      const text = await lab.gateway.must(["ip", "-details", "link", "show", GATEWAY_INTERFACE]);
      return /promiscuity (\d)/.exec(text)?.[1] ?? text;
    };
    for (const [setting, expected] of [["Y", "1"], ["N", "0"]] as const) {
      const gateway = await start(lab, `${SNIFF}ENABLE_PCAP_PROMISC ${setting}\n`);
      equal(await promiscuity(), expected);
      equal(await gateway.stop(), 0);
      equal(await promiscuity(), "0");
    }
  },
);

labTest("-P takes the place of PCAP_FILTER", async (lab) => {
  const files = await writeGatewayFiles(lab.directory, `${SNIFF}PCAP_FILTER udp port 1\n`, STANZA);
  const gateway = await startGateway(lab, files, "-P", "udp port 4000");
  match(gateway.output(), /^PCAP filter is: 'udp port 4000'$/m);
  await send(lab, knockPacket("tcp/1001"));
  await lab.client.must(
    labTool("send_udp", ADDRESSES.gateway, "4000", knockPacket("tcp/1002")),
  );
  await gateway.waitFor(/Added access rule .* tcp\/1002/);
  ok(!gateway.output().includes("tcp/1001"));
  equal(await gateway.stop(), 0);
});

labTest("a crowd that holds TCP connections keeps out no knock", async (lab) => {
  await lab.gateway.must("iptables -A INPUT -p tcp --dport 62201 -j ACCEPT".split(" "));
  const gateway = await start(
    lab,
    `${SNIFF}PCAP_FILTER tcp port 62201\nENABLE_TCP_SERVER Y\n`,
  );
  const crowds = ["150", "150"].map((count) =>
    lab.client.start(labTool("crowd", ADDRESSES.gateway, "62201", count))
  );
  for (const crowd of crowds) await crowd.waitFor(/^150 connections$/m);
  await lab.client.must(spaCommand(
    ...["knock", "--no-rc-file", "--no-save-args", "--key-rijndael", KEY, "--key-hmac", HMAC_KEY],
    ...["-P", "tcp", "-A", "tcp/22", "-a", ADDRESSES.client, "-D", ADDRESSES.gateway],
  ));
  await gateway.waitFor(/Added access rule .* tcp\/22/);
  const held = (await lab.gateway.must(
    ["ss", "-Htn", "state", "established", "sport", "=", ":62201"],
  )).trim().split("\n").length;
  ok(held <= 101, `${held} connections`);
  equal(await gateway.stop(), 0);
});
