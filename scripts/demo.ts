// The demonstration behind scripts/demo: every step does what a person would do and checks what a
// person would see; it ends with status 1 at the first step that does not.

import { writeGatewayFiles } from "../tests/lab/gateway.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  type Lab,
  labMissing,
  labTool,
  openLab,
  spaCommand,
} from "../tests/lab/lab.ts";

const HIDDEN_PORT = 22;
const SECONDS_OPEN = 5;
let step = 0;

function tell(text: string): void {
  console.log(`\n${++step}. ${text}`);
}

function show(text: string): void {
  for (const line of text.trimEnd().split("\n")) console.log(`   ${line}`);
}

/** Shows a command as a person would type it, on which host, with temporary directories cut off. */
function showCommand(host: string, words: readonly string[]): void {
  const program = spaCommand().join(" ");
  const shown = words.join(" ").replace(program, "spa").replace(/\/tmp\/(?:[^/ ]+\/)+/g, "");
  show(`${host}$ ${shown}`);
}

/** Ends the demonstration unless what is seen is what should be seen. */
function expect(seen: string, wanted: string): void {
  show(seen);
  if (seen !== wanted) throw new Error(`expected "${wanted}", saw "${seen}"`);
}

/** What a port scanner on the client sees of the hidden port. */
/** The same as the lab's rules for IPv4, and what IPv6 cannot do without. */
const IPV6_RULES = `*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
COMMIT
`;

async function scan(lab: Lab): Promise<string> {
  const seen = await lab.client.must(labTool("tcp_probe", ADDRESSES.gateway, `${HIDDEN_PORT}`));
  return `${HIDDEN_PORT}/tcp ${seen.trim()}`;
}

async function demonstrate(lab: Lab): Promise<void> {
  const files = await writeGatewayFiles(
    lab.directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\n`,
    "# stanzas of the gateway\n",
  );
  const rcFile = `${lab.directory}/fwknoprc`;

  tell("Make keys: one stanza for the client's .fwknoprc, one for the gateway's access.conf.");
  const keygen = spaCommand(
    ...["keygen", "--stanza", "demo", "--server", ADDRESSES.gateway],
    ...["--access", `tcp/${HIDDEN_PORT}`, "--rc-file", rcFile, "--access-file", files.access],
  );
  showCommand("admin", keygen);
  show(await lab.client.must(keygen));
  await Deno.writeTextFile(files.access, `FW_ACCESS_TIMEOUT ${SECONDS_OPEN}\n`, { append: true });

  tell(
    `The gateway's firewall drops everything; a service listens on port ${HIDDEN_PORT} behind it.`,
  );
  const service = lab.gateway.start(labTool("tcp_service", `${HIDDEN_PORT}`));
  await service.waitFor(/listening/);
  // A kernel without IPv6 has nothing to close.
  const ipv6 = await lab.gateway.run(["ip6tables-restore"], IPV6_RULES);
  for (const program of ipv6.status === 0 ? ["iptables", "ip6tables"] : ["iptables"]) {
    const list = [program, "-S", "INPUT"];
    showCommand("gateway", list);
    show(await lab.gateway.must(list));
  }

  tell("What a port scanner on the client sees:");
  expect(await scan(lab), `${HIDDEN_PORT}/tcp filtered`);

  tell("Start the gateway.");
  const serve = spaCommand("serve", "-f", ...files.options);
  showCommand("gateway", serve);
  const gateway = lab.gateway.start(serve);
  await gateway.waitFor(/Starting fwknopd main event loop/);
  show(gateway.output());

  tell("Knock: one encrypted, authenticated packet, and no answer.");
  const knock = spaCommand("knock", "-n", "demo", "--rc-file", rcFile, "-a", ADDRESSES.client);
  showCommand("client", knock);
  const knocked = lab.client.start(knock);
  if (await knocked.ended !== 0) throw new Error(knocked.output());
  const [added] = await gateway.waitFor(/Added access rule.*/);
  show(`gateway's log: ${added}`);

  tell("The rule, as the gateway lists it:");
  const list = spaCommand("serve", ...files.options, "--fw-list");
  showCommand("gateway", list);
  show(await lab.gateway.must(list));

  tell("The port is open for this client, and a connection works.");
  expect(await scan(lab), `${HIDDEN_PORT}/tcp open`);
  const probe = labTool("tcp_probe", ADDRESSES.gateway, `${HIDDEN_PORT}`, "2000", "--hold");
  const connection = lab.client.start(probe);
  await connection.waitFor(/hello/);
  await connection.write("first message\n");
  const [first] = await connection.waitFor(/echo: first message/);
  show(`service: ${first}`);

  tell(`After ${SECONDS_OPEN} seconds the rule is gone...`);
  const [removed] = await gateway.waitFor(/Removed rule.*/);
  show(`gateway's log: ${removed}`);
  expect(await scan(lab), `${HIDDEN_PORT}/tcp filtered`);

  tell("...while the connection that was made lives on.");
  await connection.write("second message\n");
  const [second] = await connection.waitFor(/echo: second message/);
  show(`service: ${second}`);

  tell("Stop the gateway: the firewall is as it was.");
  if (await gateway.stop() !== 0) throw new Error(gateway.output());
  const rules = await lab.gateway.must(["iptables", "-S"]);
  show(rules);
  if (rules.includes("FWKNOP")) throw new Error("the gateway left rules behind");
  console.log("\nAll of this happened in network namespaces, which are gone now.");
}

const missing = labMissing();
if (missing !== null) {
  console.error(`demo: cannot run: ${missing}`);
  Deno.exit(1);
}
const lab = await openLab();
try {
  await demonstrate(lab);
} catch (error) {
  console.error(
    `\ndemo: failed at step ${step}: ${error instanceof Error ? error.message : error}`,
  );
  Deno.exitCode = 1;
} finally {
  await lab.close();
}
