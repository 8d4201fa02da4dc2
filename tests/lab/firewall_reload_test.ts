// What a gateway's firewall goes through while its server runs: settings that change, a flush, and
// what stays hidden and open meanwhile.

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import {
  type GatewayFiles,
  savedRules,
  serve,
  startGateway,
  writeGatewayFiles,
} from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  labTool,
} from "./lab.ts";
import type { Watched } from "./process.ts";

const NO_NFT = labMissing() ?? (hasProgram("nft") ? null : "needs the program nft");
const BASE = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
const HIDING = `${BASE}FIREWALL_TYPE nftables\nENABLE_DEFAULT_DROP tcp/22\n`;

/** A host without any rules, and a service that is not to be seen. */
async function startBare(lab: Lab): Promise<void> {
  await lab.gateway.must(["nft", "flush", "ruleset"]);
  await lab.gateway.start(labTool("tcp_service", "22")).waitFor(/listening on 22/);
}

function filesFor(lab: Lab, config: string): Promise<GatewayFiles> {
  return writeGatewayFiles(lab.directory, config, `${STANZA}FW_ACCESS_TIMEOUT 60\n`);
}

/** Opens tcp/22 for the client. */
async function open(lab: Lab, gateway: Watched): Promise<void> {
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule/);
}

/** Has the server read another fwknopd.conf, and waits for what it says of it. */
async function reload(
  gateway: Watched,
  files: GatewayFiles,
  config: string,
  expected: RegExp,
): Promise<void> {
  await Deno.writeTextFile(files.config, config);
  gateway.signal("SIGHUP");
  await gateway.waitFor(expected);
}

/** Watches nftables; gives what has changed since, by generations of rules. */
async function watchRules(lab: Lab): Promise<() => Promise<string[]>> {
  const monitor = lab.gateway.start(["nft", "monitor"]);
  const sign = async (name: string): Promise<void> => {
    await lab.gateway.must(["nft", "add", "table", "ip", name]);
  };
  // It does not tell when it has begun to listen.
  for (let number = 0; !/sign/.test(monitor.output()); number++) await sign(`sign${number}`);
  await sign("begin");
  await monitor.waitFor(/^add table ip begin$/m);
  return async () => {
    await sign("end");
    const [, changes = ""] = await monitor.waitFor(/ip begin\n([^]*)^add table ip end$/m);
    return changes.split(/^# new generation.*\n/m).slice(1).filter((text) => text !== "");
  };
}

labTest("a reload that nftables could not follow ends no grant", async (lab) => {
  await startBare(lab);
  const files = await filesFor(lab, HIDING);
  const gateway = await startGateway(lab, files);
  await open(lab, gateway);
  const changes = await watchRules(lab);
  const wrong = `${BASE}FIREWALL_TYPE nftables\nNFT_ATTACH inet nosuch x\n`;
  await reload(gateway, files, wrong, /no chain inet nosuch x; going on with the present conf/);
  strictEqual(await probe(lab, 22), "open");
  deepStrictEqual(await changes(), []);
}, NO_NFT);

labTest("other services are hidden in one step, in which no grant ends", async (lab) => {
  await startBare(lab);
  const files = await filesFor(lab, HIDING);
  const gateway = await startGateway(lab, files);
  await open(lab, gateway);
  const changes = await watchRules(lab);
  const told = /1 open grant\(s\) go on\.[^]*Re-starting fwknopd/;
  await reload(gateway, files, `${HIDING}ENABLE_DEFAULT_DROP tcp/22, tcp/443\n`, told);
  strictEqual(await probe(lab, 22), "open");
  strictEqual(await probe(lab, 443), "filtered");
  // Between two generations of rules no packet meets anything else.
  const [generation = "", ...more] = await changes();
  match(generation, /^delete chain inet spa input$[^]*^add chain inet spa input /m);
  match(generation, /^add rule inet spa input tcp dport \{ 22, 443 \} drop/m);
  deepStrictEqual(more, []);
  strictEqual(await gateway.stop(), 0);
}, NO_NFT);

labTest("a grant follows where nftables has it now", async (lab) => {
  await startBare(lab);
  const files = await filesFor(lab, HIDING);
  const gateway = await startGateway(lab, files);
  await open(lab, gateway);
  const chain = "{ type filter hook input priority 0; policy drop; }";
  const rules = `add table ip mine\nadd chain ip mine in ${chain}\n`;
  await lab.gateway.must(["nft", "-f", "-"], rules);
  strictEqual(await probe(lab, 22), "filtered");
  const attached = `${BASE}FIREWALL_TYPE nftables\nNFT_ATTACH ip mine in\n`;
  await reload(gateway, files, attached, /1 open grant\(s\) go on\./);
  await lab.gateway.must(["nft", "add", "rule", "ip", "mine", "in", "ct state established accept"]);
  strictEqual(await probe(lab, 22), "open");
  ok(!(await lab.gateway.must(["nft", "list", "tables"])).includes("inet spa"));
}, NO_NFT);

labTest("NAT goes on leading where the last knock has led it", async (lab) => {
  await startBare(lab);
  const config = `${HIDING}ENABLE_IPT_FORWARDING Y\n`;
  const files = await filesFor(lab, config);
  const gateway = await startGateway(lab, files);
  for (const host of ["198.51.100.99", "198.51.100.20"]) {
    await send(
      lab,
      knockPacket("tcp/8022", ADDRESSES.client, { messageType: 2, natAccess: `${host},22` }),
    );
    await gateway.waitFor(new RegExp(`(?:Added DNAT rule[^]*){${host.endsWith("99") ? 1 : 2}}`));
  }
  await reload(gateway, files, `${config}ENABLE_IPT_SNAT Y\n`, /open grant\(s\) go on/);
  const map = await lab.gateway.must(["nft", "list", "map", "inet", "spa", "spa_dnat4"]);
  deepStrictEqual(map.match(/: 198\.51\.100\.\d+ \. 22/g), [": 198.51.100.20 . 22"]);
}, NO_NFT);

labTest("grants go on in other chains of iptables", async (lab) => {
  await lab.gateway.start(labTool("tcp_service", "22")).waitFor(/listening on 22/);
  const files = await filesFor(lab, BASE);
  const gateway = await startGateway(lab, files);
  await open(lab, gateway);
  const before = expiries(await savedRules(lab.gateway));
  const other = `${BASE}IPT_INPUT_ACCESS ACCEPT, filter, INPUT, 1, OTHER, 1\n`;
  await reload(gateway, files, other, /1 open grant\(s\) go on\.[^]*Re-starting fwknopd/);
  strictEqual(await probe(lab, 22), "open");
  const after = await savedRules(lab.gateway);
  ok(!after.includes("FWKNOP_INPUT"));
  deepStrictEqual(expiries(after), before);
  await gateway.stop();
});

labTest(
  "what iptables refuses only when it is set up leaves the grants that there were",
  async (lab) => {
    await lab.gateway.start(labTool("tcp_service", "22")).waitFor(/listening on 22/);
    const files = await filesFor(lab, BASE);
    const gateway = await startGateway(lab, files);
    await open(lab, gateway);
    const before = await savedRules(lab.gateway);
    const unknown = `${BASE}IPT_INPUT_ACCESS NOSUCH, filter, INPUT, 1, FWKNOP_INPUT, 1\n`;
    await reload(gateway, files, unknown, /NOSUCH[^]*going on with the present configuration/);
    strictEqual(await probe(lab, 22), "open");
    strictEqual(await savedRules(lab.gateway), before);
    await gateway.stop();
  },
);

function expiries(rules: string): string[] {
  return [...rules.matchAll(/_exp_\d+/g)].map(([text]) => text);
}

labTest("fw-flush beside a server ends grants, but opens nothing that it hides", async (lab) => {
  await startBare(lab);
  const files = await filesFor(lab, HIDING);
  const gateway = await startGateway(lab, files);
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/Added access rule to spa_access4/);
  strictEqual(await probe(lab, 22), "open");

  const beside = await serve(lab.gateway, files, "--fw-flush");
  match(beside.stdout, /\nAll grants have ended\. What hides tcp\/22 stays, .* \(pid=\d+\)\.\n$/);
  strictEqual(await probe(lab, 22), "filtered");
  await send(lab, knockPacket("tcp/22"));
  await gateway.waitFor(/(?:(?:Added|Extended) access rule[^]*){2}/);
  strictEqual(await probe(lab, 22), "open");

  gateway.signal("SIGKILL");
  await gateway.ended;
  const alone = await serve(lab.gateway, files, "--fw-flush");
  match(alone.stdout, /\nOpen to all now, unless other rules drop it: tcp\/22\n$/);
  strictEqual(await probe(lab, 22), "open");
  ok(!(await lab.gateway.must(["nft", "list", "ruleset"])).includes("spa"));
}, NO_NFT);
