// FIREWALL_TYPE auto, and iptables beside other firewalls, on a real kernel: what is taken opens,
// what could not open or hides nothing is told, and looking changes nothing.

import { doesNotMatch, match, strictEqual } from "node:assert/strict";
import { firewalldMissing, startFirewalld } from "./firewalld.ts";
import { serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  labTool,
  spaCommand,
} from "./lab.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
const AUTO = `${SNIFF}FIREWALL_TYPE auto\n`;
const lacking = ["nft", "iptables-nft", "iptables-legacy"].find((one) => !hasProgram(one));
const missing = labMissing() ?? (lacking === undefined ? null : `needs the program ${lacking}`);

/** Another start than the lab's own rules, which iptables-nft wrote. */
async function rules(lab: Lab, ...commands: readonly string[]): Promise<void> {
  await lab.gateway.must(["nft", "flush", "ruleset"]);
  for (const command of commands) await lab.gateway.must(["sh", "-c", command]);
}

/** All that is in force. To read a table of iptables-legacy makes it, empty, as that program does. */
async function inForce(lab: Lab): Promise<string> {
  const script = "nft --stateless --handle list ruleset; for six in '' 6; do" +
    " grep -qs filter /proc/net/ip${six}_tables_names && ip${six}tables-legacy -S |" +
    " grep -v '^-P .* ACCEPT$'; done; true";
  return await lab.gateway.must(["sh", "-c", script]);
}

const NATIVE = "nft 'table inet filter { chain input {" +
  " type filter hook input priority filter; policy drop; iif lo accept;" +
  " ct state established,related accept; }; }'";
const LEGACY = ["iptables-legacy -A INPUT -i lo -j ACCEPT", "iptables-legacy -P INPUT DROP"];
const NFT = ["iptables-nft -A INPUT -i lo -j ACCEPT", "iptables-nft -P INPUT DROP"];
const NFT_PORT = ["iptables-nft -A INPUT -p tcp --dport 22 -j DROP"];

const OPENING: readonly (readonly [title: string, commands: readonly string[], taken: RegExp])[] = [
  ["iptables-legacy drops", LEGACY, /auto: \/usr\/sbin\/iptables-legacy, since INPUT of iptables/],
  ["iptables-nft drops", NFT, /auto: iptables, since chain ip filter INPUT of iptables drops/],
  ["iptables-nft drops one port", NFT_PORT, /auto: iptables, since chain ip filter INPUT has/],
  ["a chain of nftables drops", [NATIVE], /auto: nftables, since chain inet filter input drops/],
];

for (const [title, commands, taken] of OPENING) {
  labTest(`auto opens where ${title}, and says what it took`, async (lab) => {
    await rules(lab, ...commands);
    const service = lab.gateway.start(labTool("tcp_service", "22"));
    await service.waitFor(/listening on 22/);
    const files = await writeGatewayFiles(lab.directory, AUTO, STANZA);
    const before = await inForce(lab);
    const checked = await serve(lab.gateway, files, "--exit-parse-config");
    strictEqual(checked.status, 0);
    match(checked.stderr, taken);
    match(checked.stderr, /grants are accepted in chain/);
    doesNotMatch(checked.stderr, /Grants may not open|Nothing is hidden/);
    strictEqual(await inForce(lab), before);

    const gateway = await startGateway(lab, files);
    match(gateway.output(), taken);
    strictEqual(await probe(lab, 22), "filtered");
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule/);
    strictEqual(await probe(lab, 22), "open");
    const listed = await lab.gateway.must([
      ...spaCommand("fw-list"),
      ...["-c", files.config, "-r", files.runDirectory, "--json"],
    ]);
    match(listed, /"source": "192\.0\.2\.10(?:\/32)?"/);
    strictEqual(await gateway.stop(), 0);
  }, missing);
}

const OPEN = ["true"];
const IPV6 = [...NFT, "ip6tables-nft -P INPUT DROP"];

const TOLD: readonly (readonly [
  title: string,
  config: string,
  commands: readonly string[],
  told: RegExp | null,
])[] = [
  ["a chain of nftables drops", "", [NATIVE], /Grants may not open: chain inet filter input/],
  ["iptables-legacy drops", "", LEGACY, /Grants may not open: INPUT of iptables-legacy/],
  [
    "iptables-nft drops",
    "FIREWALL_EXE /usr/sbin/iptables-legacy\n",
    ...[NFT, /Grants may not open: chain ip filter INPUT of iptables-nft/] as const,
  ],
  ["nothing drops", "", OPEN, /Nothing is hidden: no rule drops packets to this host/],
  ["IPv6 is open", "", NFT, /IPv6 packets to this host are not dropped by any rule of ip6tables/],
  [
    "IPv6 is open",
    "ENABLE_IP6TABLES N\n",
    ...[NFT, /IPv6 packets to this host are not dropped by any rule of ip6tables/] as const,
  ],
  [
    "IPv6 is open",
    "FIREWALL_EXE /usr/sbin/iptables-legacy\n",
    ...[LEGACY, /IPv6 packets to this host are not dropped by any rule of ip6tables/] as const,
  ],
  ["both versions are closed", "", IPV6, null],
];

labTest(
  "check and start of iptables tell what keeps grants from opening, or hides nothing",
  async (lab) => {
    for (const [title, config, commands, told] of TOLD) {
      await lab.gateway.must([
        "sh",
        "-c",
        "iptables-legacy -P INPUT ACCEPT; iptables-legacy -F; ip6tables-legacy -P INPUT ACCEPT",
      ]);
      await rules(lab, ...commands);
      const files = await writeGatewayFiles(lab.directory, `${SNIFF}${config}`, STANZA);
      const checked = await serve(lab.gateway, files, "--exit-parse-config");
      strictEqual(checked.status, 0, title);
      const gateway = await startGateway(lab, files);
      for (const text of [checked.stderr, gateway.output()]) {
        const warnings = text.split("\n").filter((line) => WARNING.test(line));
        strictEqual(warnings.length, told === null ? 0 : 1, `${title}: ${text}`);
        if (told !== null) match(warnings[0] ?? "", told);
      }
      strictEqual(await gateway.stop(), 0);
    }
  },
  missing,
);

labTest("firewalld's rules are told of where grants are those of iptables", async (lab) => {
  await startFirewalld(lab, "nftables");
  const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
  const { status, stderr } = await serve(lab.gateway, files, "--exit-parse-config");
  strictEqual(status, 0);
  match(stderr, /Grants may not open: chain inet firewalld \S+ .*; set FIREWALL_TYPE firewalld\n/);
}, missing ?? firewalldMissing());

const WARNING = /Grants may not open|Nothing is hidden|IPv6 packets/;
