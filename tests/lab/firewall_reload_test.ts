// What a gateway's firewall goes through while its server runs: settings that change, a flush, and
// what stays hidden and open meanwhile.

import { match, ok, strictEqual } from "node:assert/strict";
import { type GatewayFiles, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import { GATEWAY_INTERFACE, hasProgram, type Lab, labMissing, labTest, labTool } from "./lab.ts";

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
