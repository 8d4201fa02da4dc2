// NAT on a real firewall: traffic from a client through the gateway to a host behind it. What
// fwknopd gets wrong is shown on fwknopd itself where it is installed.

import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { savedRules, serve as serveToItsEnd, writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, probe, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTool,
  openLab,
  spaCommand,
} from "./lab.ts";
import type { Watched } from "./process.ts";

const FORWARDING = "ENABLE_IPT_FORWARDING Y\n";
const OTHER_GATEWAY_ADDRESS = "192.0.2.2";
const OTHER_INNER = "198.51.100.21";
/** Hosts of the Internet that lies behind the gateway. */
const INTERNET = ["203.0.113.80", "203.0.113.81"] as const;

/** A lab with a service on the inner host, and a gateway that forwards. */
interface NatLab {
  readonly lab: Lab;
  /** Port 22 of the inner host, under all of its addresses. */
  readonly service: Watched;
  /** Starts the server under test with these lines on top of the usual ones. */
  serve(config: string, stanza?: string): Promise<Watched>;
}

type Server = "spa serve" | "fwknopd";

function missingFor(server: Server): string | null {
  return labMissing() ??
    (server === "fwknopd" && !hasProgram("fwknopd") ? "needs the program fwknopd" : null);
}

function natTest(server: Server, name: string, body: (nat: NatLab) => Promise<void>): void {
  const missing = missingFor(server);
  Deno.test({
    name: `${server}: ${name}${missing === null ? "" : ` (${missing})`}`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await body(await natLab(lab, server));
      } finally {
        await lab.close();
      }
    },
  });
}

async function natLab(lab: Lab, server: Server): Promise<NatLab> {
  const { gateway, inner } = lab;
  await gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
  await gateway.must(["ip", "address", "add", `${OTHER_GATEWAY_ADDRESS}/24`, "dev", "outside"]);
  await inner.must(["ip", "address", "add", `${OTHER_INNER}/24`, "dev", "eth0"]);
  for (const address of INTERNET) {
    await inner.must(["ip", "address", "add", `${address}/32`, "dev", "lo"]);
  }
  await gateway.must(["ip", "route", "add", "203.0.113.0/24", "via", ADDRESSES.inner]);
  const service = inner.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
  const program = server === "fwknopd" ? ["fwknopd"] : spaCommand("serve");

  async function serve(config: string, stanza = ""): Promise<Watched> {
    const files = await writeGatewayFiles(
      lab.directory,
      `PCAP_INTF ${GATEWAY_INTERFACE}\n${config}`,
      `${STANZA}${stanza}\n`,
    );
    const running = gateway.start([...program, "-f", ...files.options]);
    await running.waitFor(/Starting fwknopd main event loop|Kicking off UDP server/);
    return running;
  }
  return { lab, service, serve };
}

async function knock(lab: Lab, ...options: readonly string[]): Promise<void> {
  await lab.client.must(spaCommand(
    ...["knock", "--no-rc-file", "--no-save-args", "-a", ADDRESSES.client],
    ...["-D", ADDRESSES.gateway, "--key-rijndael", KEY, "--key-hmac", HMAC_KEY, ...options],
  ));
}

const TO_INNER = ["-A", "tcp/8022", "-N", `${ADDRESSES.inner}:22`] as const;

/** Has connections to an address leave from the client's second address. */
async function asSecondClient(lab: Lab, destination: string): Promise<void> {
  await lab.client.must([
    ...["ip", "route", "add", `${destination}/32`, "via", ADDRESSES.gateway],
    ...["src", ADDRESSES.secondClient],
  ]);
}

/** Where the client gets after a grant for port 22 of the inner host. */
async function reach(lab: Lab): Promise<Record<string, string>> {
  return {
    "the gateway's port": await probe(lab, 8022),
    "the same port of another address": await probe(lab, 8022, OTHER_GATEWAY_ADDRESS),
    "the host": await probe(lab, 22, ADDRESSES.inner),
    "another host": await probe(lab, 22, OTHER_INNER),
  };
}

const NARROW = {
  "the gateway's port": "open",
  "the same port of another address": "filtered",
  "the host": "open",
  "another host": "filtered",
};
const WIDE = {
  "the gateway's port": "open",
  "the same port of another address": "open",
  "the host": "open",
  "another host": "open",
};

const REACHES: readonly [Server, string, Record<string, string>][] = [
  ["fwknopd", "", WIDE],
  ["spa serve", "", NARROW],
  ["spa serve", "ENABLE_FORWARD_DESTINATION N\n", WIDE],
];

for (const [server, config, expected] of REACHES) {
  const title = expected === WIDE ? "all hosts behind and all addresses" : "that host alone";
  natTest(server, `a NAT grant reaches ${title} ${config}`.trim(), async ({ lab, ...nat }) => {
    const gateway = await nat.serve(FORWARDING + config);
    strictEqual(await probe(lab, 8022), "filtered");
    await knock(lab, ...TO_INNER);
    await gateway.waitFor(/Added DNAT rule to FWKNOP_PREROUTING for 192\.0\.2\.10 -> /);
    deepStrictEqual(await reach(lab), expected);
    await nat.service.waitFor(/connection from 192\.0\.2\.10/);
  });
}

natTest("spa serve", "all rules of a NAT grant end together", async ({ lab, serve }) => {
  const gateway = await serve(`${FORWARDING}ENABLE_IPT_SNAT Y\n`, "FW_ACCESS_TIMEOUT 2");
  const before = await savedRules(lab.gateway);
  await knock(lab, ...TO_INNER);
  await gateway.waitFor(/Added SNAT rule to FWKNOP_MASQUERADE/);
  strictEqual(await probe(lab, 8022), "open");
  for (const chain of ["FORWARD", "PREROUTING", "MASQUERADE"]) {
    await gateway.waitFor(new RegExp(`Removed rule 1 from FWKNOP_${chain} with expire time of`));
  }
  strictEqual(await probe(lab, 8022), "filtered");
  strictEqual(await savedRules(lab.gateway), before);
  strictEqual(await gateway.stop(), 0);
  doesNotMatch(await savedRules(lab.gateway), /FWKNOP/);
});

for (
  const [server, seen] of [
    ["fwknopd", ADDRESSES.gatewayInside],
    ["spa serve", ADDRESSES.secondClient],
  ] as const
) {
  natTest(server, `another client is seen as ${seen} beside an SNAT grant`, async (nat) => {
    const { lab, service, serve } = nat;
    const snat = `ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP ${ADDRESSES.gatewayInside}\n`;
    const gateway = await serve(FORWARDING + snat);
    await knock(lab, ...TO_INNER);
    await gateway.waitFor(/Added SNAT rule to FWKNOP_POSTROUTING/);
    strictEqual(await probe(lab, 8022), "open");
    await service.waitFor(/^connection from 198\.51\.100\.1$/m);

    const allow = ["iptables", "-I", "FORWARD", "-s", ADDRESSES.secondClient, "-j", "ACCEPT"];
    await lab.gateway.must(allow);
    await asSecondClient(lab, ADDRESSES.inner);
    strictEqual(await probe(lab, 22, ADDRESSES.inner), "open");
    await service.waitFor(new RegExp(`connection from [^]*connection from ${seen}\n`));
  });
}

for (const [server, open] of [["fwknopd", 1], ["spa serve", 3]] as const) {
  natTest(server, `of three masqueraded connections at a time ${open} open`, async (nat) => {
    const { lab, serve } = nat;
    const gateway = await serve(`${FORWARDING}ENABLE_IPT_SNAT Y\n`);
    await knock(lab, ...TO_INNER);
    await gateway.waitFor(/Added SNAT rule to FWKNOP_MASQUERADE/);
    const connections = Array.from(
      { length: 3 },
      () => lab.client.start(labTool("tcp_probe", ADDRESSES.gateway, "8022", "1500", "--hold")),
    );
    await Promise.all(connections.map((each) => each.waitFor(/open\nhello|filtered/)));
    strictEqual(connections.filter((each) => each.output().startsWith("open")).length, open);
  });
}

for (
  const [server, config, opens] of [
    ["fwknopd", "", true],
    ["spa serve", "", false],
    ["spa serve", "ENABLE_NAT_PORT_CHECK N\n", true],
  ] as const
) {
  const title = `local NAT to a restricted port is ${opens ? "granted" : "denied"} ${config}`;
  natTest(server, title.trim(), async ({ lab, serve }) => {
    const database = lab.gateway.start(labTool("tcp_service", "3306"));
    await database.waitFor(/listening on 3306/);
    const lists = "OPEN_PORTS tcp/22\nRESTRICT_PORTS tcp/3306";
    const gateway = await serve(`ENABLE_IPT_LOCAL_NAT Y\n${config}`, lists);
    await knock(lab, "-A", "tcp/22", "--nat-local", "-N", `${ADDRESSES.gateway}:3306`);
    await gateway.waitFor(/Added DNAT rule|One or more requested protocol\/ports was denied/);
    strictEqual(await probe(lab, 22), opens ? "open" : "filtered");
  });
}

for (const [server, state] of [["fwknopd", "filtered"], ["spa serve", "open"]] as const) {
  natTest(
    server,
    `NAT for one destination, asked for over a UDP socket, is ${state}`,
    async (nat) => {
      const { lab, serve } = nat;
      const accept = ["iptables", "-A", "INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"];
      await lab.gateway.must(accept);
      const config = "ENABLE_UDP_SERVER Y\nENABLE_DESTINATION_RULE Y\n";
      const gateway = await serve(FORWARDING + config);
      await knock(lab, ...TO_INNER);
      await gateway.waitFor(/Added DNAT rule/);
      strictEqual(await probe(lab, 8022), state);
    },
  );
}

natTest("spa serve", "a local service opens on a port of the client's choice", async (nat) => {
  const { lab, serve } = nat;
  const service = lab.gateway.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
  const gateway = await serve("ENABLE_IPT_LOCAL_NAT Y\n", "FW_ACCESS_TIMEOUT 2");
  await knock(lab, "-A", "tcp/22", "--nat-local", "--nat-rand-port");
  const added = await gateway.waitFor(
    /Added local NAT rule to FWKNOP_INPUT for 192\.0\.2\.10 -> 0\.0\.0\.0\/0 tcp\/(\d+), expires/,
  );
  await gateway.waitFor(/Added DNAT rule/);
  const port = Number(added[1]);
  ok(port !== 22);
  strictEqual(await probe(lab, port), "open");
  await service.waitFor(/connection from 192\.0\.2\.10/);
  await gateway.waitFor(/Removed rule 1 from FWKNOP_PREROUTING/);
  strictEqual(await probe(lab, port), "filtered");
});

natTest("spa serve", "FORCE_NAT leads a plain request to the stanza's host", async (nat) => {
  const { lab, service, serve } = nat;
  const gateway = await serve(FORWARDING, `FORCE_NAT ${ADDRESSES.inner} 22`);
  await knock(lab, "-A", "tcp/8022");
  await gateway.waitFor(/Added DNAT rule/);
  strictEqual(await probe(lab, 8022), "open");
  await service.waitFor(/connection from 192\.0\.2\.10/);
});

natTest("spa serve", "FORWARD_ALL opens all behind the gateway for one client", async (nat) => {
  const { lab, service, serve } = nat;
  const [site, otherSite] = INTERNET;
  await asSecondClient(lab, otherSite);
  const gateway = await serve(
    `${FORWARDING}ENABLE_IPT_SNAT Y\n`,
    "FORCE_MASQUERADE Y\nFORWARD_ALL Y\nDISABLE_DNAT Y\nFW_ACCESS_TIMEOUT 5",
  );
  strictEqual(await probe(lab, 22, site), "filtered");
  await knock(lab, "-A", "tcp/80");
  await gateway.waitFor(/Added SNAT ALL rule to FWKNOP_MASQUERADE for 192\.0\.2\.10 -> .* \*\/\*/);
  strictEqual(await probe(lab, 22, site), "open");
  await service.waitFor(/^connection from 198\.51\.100\.1$/m);
  strictEqual(await probe(lab, 22, otherSite), "filtered");
  await gateway.waitFor(/Removed rule 1 from FWKNOP_FORWARD/);
  strictEqual(await probe(lab, 22, site), "filtered");
});

/** Lines of access.conf that fwknopd takes although they cannot work, and what comes of them. */
const DEAD_ENDS: readonly [config: string, stanza: string, added: RegExp, hint: string][] = [
  [
    `${FORWARDING}ENABLE_IPT_SNAT Y\n`,
    "FORWARD_ALL Y\nFORCE_MASQUERADE Y",
    /Added DNAT ALL rule[^]*Added SNAT ALL rule/,
    "set DISABLE_DNAT Y in this stanza",
  ],
  [
    FORWARDING,
    `FORWARD_ALL Y\nDISABLE_DNAT Y\nFORCE_SNAT ${ADDRESSES.gatewayInside}`,
    /Added SNAT ALL rule to {2}for /,
    "set ENABLE_IPT_SNAT Y in ",
  ],
];

for (const [config, stanza, added, hint] of DEAD_ENDS) {
  const lines = stanza.replaceAll("\n", ", ");
  natTest("fwknopd", `with ${lines} claims what does not work`, async (nat) => {
    const { lab, service, serve } = nat;
    const gateway = await serve(config, stanza);
    await knock(lab, "-A", "tcp/80");
    await gateway.waitFor(added);
    await probe(lab, 22, INTERNET[0]);
    doesNotMatch(service.output(), /connection from 198\.51\.100\.1/);
  });

  natTest("spa serve", `with ${lines} does not start and says why`, async ({ lab }) => {
    const files = await writeGatewayFiles(lab.directory, config, `${STANZA}${stanza}\n`);
    const { status, stderr } = await serveToItsEnd(lab.gateway, files, "-f");
    strictEqual(status, 1);
    match(stderr, new RegExp(`access\\.conf:\\d+:\\d+: .*\nhint: ${RegExp.escape(hint)}`));
  });
}

natTest("spa serve", "FORWARD_ALL with FORCE_NAT opens all ports of one host", async (nat) => {
  const { lab, service, serve } = nat;
  const gateway = await serve(FORWARDING, `FORCE_NAT ${ADDRESSES.inner} 80\nFORWARD_ALL Y`);
  await knock(lab, "-A", "tcp/80");
  await gateway.waitFor(/Added DNAT ALL rule/);
  strictEqual(await probe(lab, 22), "open");
  await service.waitFor(/connection from 192\.0\.2\.10/);
  strictEqual(await probe(lab, 22, OTHER_INNER), "filtered");
  strictEqual(await probe(lab, 22, INTERNET[0]), "filtered");
});

/** What programs that watch fwknopd look for in its log at verbosity 2. */
const WATCHED_FOR: readonly RegExp[] = [
  /^run_extcmd\(\) .* FWKNOP_PREROUTING .*\sDNAT\s.*to-destination\s198\.51\.100\.20:22$/m,
  /^run_extcmd\(\) .*MASQUERADE\s.*to-ports/m,
  /^1\s+ACCEPT .*\s0\.0\.0\.0\/0\s+tcp\sdpt:22\s/m,
  /^1\s+DNAT\s.*\*\/\sto:198\.51\.100\.20:22/m,
  /^1\s+MASQUERADE\s.*\s198\.51\.100\.20\s.*\smasq\sports:\s8022/m,
];

natTest("spa serve", "as fwknopd its log has commands and listings", async ({ lab, serve }) => {
  const switches = "ENABLE_FORWARD_DESTINATION N\nENABLE_STRICT_SNAT N\nVERBOSE 2\n";
  const gateway = await serve(`${FORWARDING}ENABLE_IPT_SNAT Y\n${switches}`);
  await knock(lab, ...TO_INNER);
  for (const expected of WATCHED_FOR) await gateway.waitFor(expected);
});

natTest("spa serve", "NAT works with iptables-legacy", async ({ lab, serve }) => {
  const gateway = await serve(`${FORWARDING}FIREWALL_EXE /usr/sbin/iptables-legacy\n`);
  await knock(lab, ...TO_INNER);
  await gateway.waitFor(/Added DNAT rule/);
  match(
    await savedRules(lab.gateway, "iptables-legacy-save"),
    /-A FWKNOP_FORWARD -s 192\.0\.2\.10\/32 -d 198\.51\.100\.20\/32 -p tcp -m tcp --dport 22 /,
  );
});

natTest("spa serve", "a host that forwards nothing is told so", async ({ lab, serve }) => {
  const line = /this host forwards nothing: run sysctl -w net\.ipv4\.ip_forward=1/;
  const forwarding = await serve(FORWARDING);
  doesNotMatch(forwarding.output(), line);
  await forwarding.stop();
  await lab.gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"]);
  match((await serve(FORWARDING)).output(), line);
});

natTest("spa serve", "ENABLE_PROC_IP_FORWARD has the kernel forward", async ({ lab, serve }) => {
  await lab.gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"]);
  const server = await serve(`${FORWARDING}ENABLE_PROC_IP_FORWARD Y\n`);
  match(server.output(), /Set net\.ipv4\.ip_forward to 1/);
  doesNotMatch(server.output(), /forwards nothing/);
  strictEqual((await lab.gateway.must(["sysctl", "-n", "net.ipv4.ip_forward"])).trim(), "1");
});
