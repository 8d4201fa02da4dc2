// Grants beyond IPSET_ABOVE_GRANTS as elements of real ipsets, with both variants of iptables.

import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { savedRules, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  spaCommand,
} from "./lab.ts";
import { PATIENCE } from "./process.ts";
import { onBothVariants } from "./variants.ts";

const MISSING = labMissing() ?? (hasProgram("ipset") ? null : "needs the program ipset");
const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\nIPSET_ABOVE_GRANTS 1\n`;
/** Anybody but the client: theirs is the grant that has rules of its own. */
const FIRST = "192.0.2.77";
const GATEWAY_IPV6 = "fd00::1";
const CLIENT_IPV6 = "fd00::2";

async function setsIn(lab: Lab): Promise<string[]> {
  return (await lab.gateway.must(["ipset", "list", "-name"])).split("\n").filter((name) =>
    name !== ""
  );
}

async function startService(lab: Lab): Promise<void> {
  const accept = "console.log('listening');" +
    "for await (const one of Deno.listen({ hostname: '::', port: 22 })) one.close();";
  await lab.gateway.start([Deno.execPath(), "eval", accept]).waitFor(/listening/);
}

async function addIpv6(lab: Lab, ip6tables: string): Promise<void> {
  for (
    const [host, device, address] of [
      [lab.client, "eth0", CLIENT_IPV6],
      [lab.gateway, GATEWAY_INTERFACE, GATEWAY_IPV6],
    ] as const
  ) {
    await host.must(["ip", "address", "add", `${address}/64`, "dev", device, "nodad"]);
  }
  for (const words of ["-P INPUT DROP", "-A INPUT -p icmpv6 -j ACCEPT"]) {
    await lab.gateway.must([ip6tables, ...words.split(" ")]);
  }
}

onBothVariants(
  "beyond a number of grants, those for access open through a set, and end there",
  async (lab, iptables) => {
    await startService(lab);
    await addIpv6(lab, iptables.replace("iptables", "ip6tables"));
    const own = "-A INPUT -p 17 --dport 9 -m comment --comment foreign -j DROP";
    await lab.gateway.must([iptables, ...own.split(" ")]);
    const before = await savedRules(lab.gateway, `${iptables}-save`);
    const config = `${SNIFF}FIREWALL_EXE ${iptables}\nENABLE_IPT_OUTPUT Y\n`;
    const files = await writeGatewayFiles(
      lab.directory,
      config,
      `${STANZA}FW_ACCESS_TIMEOUT 3600\n`,
    );
    const gateway = await startGateway(lab, files);
    await send(lab, knockPacket("tcp/22", FIRST));
    await gateway.waitFor(/Added access rule to FWKNOP_INPUT for 192\.0\.2\.77 /);
    strictEqual(await probe(lab, 22), "filtered");
    doesNotMatch(await savedRules(lab.gateway, `${iptables}-save`), /match-set/);

    await send(lab, knockPacket("tcp/22,udp/53"));
    await gateway.waitFor(/Added OUTPUT rule to spa_output4 for 192\.0\.2\.10 -> /);
    match(gateway.output(), /Added rule for set spa_access4 to chain: INPUT/);
    match(gateway.output(), /Added access rule to spa_access4 for 192\.0\.2\.10 -> 0\.0\.0\.0\/0/);
    strictEqual(await probe(lab, 22), "open");
    strictEqual(await probe(lab, 23), "filtered");
    const rules = await savedRules(lab.gateway, `${iptables}-save`);
    strictEqual(rules.match(/match-set spa_access4 src,dst -j ACCEPT/g)?.length, 1);
    strictEqual(rules.match(/match-set spa_output4 dst,src -j ACCEPT/g)?.length, 1);
    doesNotMatch(rules, /192\.0\.2\.10/);

    const fw = (...words: readonly string[]): string[] => [
      ...spaCommand(words[0] ?? "", "-c", files.config),
      ...words.slice(1),
    ];
    const listing = await lab.gateway.must(fw("fw-list"));
    match(listing, /^192\.0\.2\.10,tcp:22 timeout 3\d{3} comment "stanza 1 _exp_\d+"$/m);
    const { chains } = JSON.parse(await lab.gateway.must(fw("fw-list", "--json")));
    // deno-lint-ignore no-explicit-any -- what the command prints is what is under test
    const listed = chains.flatMap(({ rules }: any) => rules)
      // deno-lint-ignore no-explicit-any
      .filter(({ source }: any) => source === ADDRESSES.client);
    strictEqual(listed.length, 2);
    ok(listed[0].secondsLeft > 3500 && listed[0].secondsLeft <= 3600);

    // Closed by hand, the port opens for a shorter knock, and a longer one extends that.
    match(
      await lab.gateway.must(fw("fw-close", ADDRESSES.client)),
      /Closed in ipset spa_access4: 192/,
    );
    strictEqual(await probe(lab, 22), "filtered");
    const told = gateway.output().length;
    await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: 2 }));
    await gateway.waitFor(new RegExp(`^[^]{${told}}[^]*Added OUTPUT rule to spa_output4`));
    strictEqual(await probe(lab, 22), "open");
    await send(lab, knockPacket("tcp/22", ADDRESSES.client, { clientTimeout: 4 }));
    await gateway.waitFor(/Extended OUTPUT rule in spa_output4 for 192\.0\.2\.10 /);
    await gateway.waitFor(/Removed rule \d+ from spa_access4 with expire time of /);
    strictEqual(await probe(lab, 22), "filtered");

    // Who flushes everything finds it mended by the next knock.
    await lab.gateway.must([iptables, "-F", "INPUT"]);
    await lab.gateway.must(["ipset", "destroy", "spa_access4"]);
    await lab.gateway.must([iptables, ...own.split(" ")]);
    await send(lab, knockPacket("tcp/22"), knockPacket("tcp/24", FIRST));
    await gateway.waitFor(/(?:Added rule for set spa_access4[^]*){2}/);
    await gateway.waitFor(/Added OUTPUT rule to spa_output4 for 192\.0\.2\.77 /);
    strictEqual(await probe(lab, 22), "open");

    await send(lab, knockPacket("tcp/22", CLIENT_IPV6));
    await gateway.waitFor(/Added OUTPUT rule to spa_output6 for fd00::2 /);
    strictEqual(await probe(lab, 22, GATEWAY_IPV6), "open");
    match(await lab.gateway.must(fw("fw-list")), /^fd00::2,tcp:22 timeout/m);

    await gateway.stop();
    deepStrictEqual(await setsIn(lab), []);
    const left = (await savedRules(lab.gateway, `${iptables}-save`)).split("\n").sort();
    const kept = before.split("\n").filter((line) => !/^-A INPUT (?!.*foreign)/.test(line)).sort();
    deepStrictEqual(left, kept);
  },
  MISSING,
);

onBothVariants(
  "the kernel ends what a killed server has put into a set, and the next one takes over the rest",
  async (lab, iptables) => {
    await startService(lab);
    const config =
      `${SNIFF}FIREWALL_EXE ${iptables}\nFLUSH_IPT_AT_INIT N\nENABLE_DESTINATION_RULE Y\n`;
    const files = await writeGatewayFiles(lab.directory, config, `${STANZA}FW_ACCESS_TIMEOUT 5\n`);
    const first = await startGateway(lab, files);
    await send(
      lab,
      knockPacket("tcp/22", FIRST, { clientTimeout: 600 }),
      knockPacket("tcp/22"),
      knockPacket("tcp/22", ADDRESSES.secondClient, { clientTimeout: 600 }),
    );
    await first.waitFor(/Added access rule to spa_access4_to for 192\.0\.2\.11 /);
    first.signal("SIGKILL");
    await first.ended;
    strictEqual(await probe(lab, 22), "open");
    const element = `${ADDRESSES.client},tcp:22,${ADDRESSES.gateway}`;
    const deadline = Date.now() + PATIENCE;
    while ((await lab.gateway.run(["ipset", "test", "spa_access4_to", element])).status === 0) {
      if (Date.now() > deadline) throw new Error(`the kernel does not end ${element}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    strictEqual(await probe(lab, 22), "filtered");

    const second = await startGateway(lab, files);
    await send(lab, knockPacket("tcp/22", ADDRESSES.secondClient, { clientTimeout: 900 }));
    await second.waitFor(/Extended access rule in spa_access4_to for 192\.0\.2\.11 /);
    await second.stop();
    deepStrictEqual(await setsIn(lab), []);
  },
  MISSING,
);
