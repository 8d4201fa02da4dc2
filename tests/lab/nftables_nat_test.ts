// NAT with nftables on a real kernel: traffic from a client through the gateway to a host behind
// it, with libnftables and with the program nft, and what a crash or a reload leaves of it.

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type GatewayFiles, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTool,
  openLab,
} from "./lab.ts";
import { PATIENCE, type Watched } from "./process.ts";

const OTHER_GATEWAY_ADDRESS = "192.0.2.2";
const OTHER_INNER = "198.51.100.21";
/** A host of the Internet that lies behind the gateway. */
const SITE = "203.0.113.80";

/** Rules of a host that forwards nothing but what was let in before. */
const CLOSED = `table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
  }
}
table ip others {
  set friends { type ipv4_addr; flags timeout; elements = { 203.0.113.7 timeout 1h }; }
  chain prerouting { type nat hook prerouting priority dstnat; ip daddr 203.0.113.7 dnat to 203.0.113.8; }
  chain postrouting { type nat hook postrouting priority srcnat; ip saddr 203.0.113.7 masquerade; }
}
`;
/** As OpenWrt's fw4 writes them, as far as it matters here. */
const FW4 = `table inet fw4 {
  chain input {
    type filter hook input priority filter; policy drop;
    iif "lo" accept comment "!fw4: Accept traffic from loopback"
    ct state vmap { established : accept, related : accept }
    tcp flags & (fin | syn | rst | ack) == syn jump syn_flood
    iifname "outside" jump input_wan
    jump handle_reject
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state vmap { established : accept, related : accept }
    iifname "outside" jump forward_wan
    jump handle_reject
  }
  chain syn_flood { limit rate 25/second burst 50 packets return; drop; }
  chain input_wan { meta nfproto ipv4 udp dport 68 accept; jump handle_reject; }
  chain forward_wan { meta l4proto esp accept; jump handle_reject; }
  chain handle_reject { meta l4proto tcp reject with tcp reset; reject; }
  chain dstnat { type nat hook prerouting priority dstnat; policy accept; }
  chain srcnat { type nat hook postrouting priority srcnat; policy accept; }
  chain raw_prerouting { type filter hook prerouting priority raw; policy accept; }
}
`;
/** The same, with nothing said of forwarding. */
const CLOSED_INPUT = CLOSED.replace(
  "policy drop;\n    ct state established,related accept\n  }\n}",
  "policy accept;\n  }\n}",
);

/** Without the line, libnftables runs nft's commands. */
const ENGINES = ["", "NFT_EXE /usr/sbin/nft\n"] as const;

/** A lab with a service on the inner host, and a gateway that forwards. */
interface NatLab {
  readonly lab: Lab;
  /** Port 22 of the inner host, under all of its addresses. */
  readonly service: Watched;
  files(config: string, stanza?: string): Promise<GatewayFiles>;
  serve(config: string, stanza?: string): Promise<Watched>;
  /** The whole ruleset with handles, without counters and times. */
  ruleset(): Promise<string>;
}

const missing = labMissing() ?? (hasProgram("nft") ? null : "needs the program nft");

function natTest(
  name: string,
  rules: string,
  body: (nat: NatLab) => Promise<void>,
  engine: (typeof ENGINES)[number] = "",
): void {
  const title = engine === "" ? name : `nft -f -: ${name}`;
  Deno.test({
    name: missing === null ? title : `${title} (${missing})`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await lab.gateway.must(["nft", "-f", "-"], `flush ruleset\n${rules}`);
        await body(await natLab(lab, engine));
      } finally {
        await lab.close();
      }
    },
  });
}

async function natLab(lab: Lab, engine: string): Promise<NatLab> {
  const { gateway, inner } = lab;
  await gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
  await gateway.must(["ip", "address", "add", `${OTHER_GATEWAY_ADDRESS}/24`, "dev", "outside"]);
  await inner.must(["ip", "address", "add", `${OTHER_INNER}/24`, "dev", "eth0"]);
  await inner.must(["ip", "address", "add", `${SITE}/32`, "dev", "lo"]);
  await gateway.must(["ip", "route", "add", "203.0.113.0/24", "via", ADDRESSES.inner]);
  const service = inner.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
  const files = (config: string, stanza = ""): Promise<GatewayFiles> =>
    writeGatewayFiles(
      lab.directory,
      `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE nftables\n${engine}${config}`,
      `${STANZA}${stanza}\n`,
    );
  return {
    lab,
    service,
    files,
    serve: async (config, stanza) => await startGateway(lab, await files(config, stanza), "-v"),
    ruleset: () => gateway.must(["nft", "--stateless", "--handle", "list", "ruleset"]),
  };
}

const FORWARDING = "ENABLE_IPT_FORWARDING Y\n";

/** Asks for port 22 of a host behind the gateway, as port 8022 of the gateway. */
async function knockFor(lab: Lab, host: string = ADDRESSES.inner, seconds = 0): Promise<void> {
  const fields = { messageType: 2, natAccess: `${host},22`, clientTimeout: seconds } as const;
  await send(lab, knockPacket("tcp/8022", ADDRESSES.client, fields));
}

/** Where the client gets, at most, after a grant for port 22 of the inner host. */
async function reach(lab: Lab): Promise<Record<string, string>> {
  return {
    "the gateway's port": await probe(lab, 8022),
    "the same port of another address": await probe(lab, 8022, OTHER_GATEWAY_ADDRESS),
    "another host": await probe(lab, 22, OTHER_INNER),
  };
}

/** Waits until the client sees a port in a state. */
async function waitForPort(lab: Lab, port: number, state: string): Promise<void> {
  const start = performance.now();
  for (;;) {
    const seen = await probe(lab, port);
    if (seen === state) return;
    ok(performance.now() - start < PATIENCE, `port ${port} is ${seen}, not ${state}`);
  }
}

for (
  const { title, rules, hidden = "filtered", config, told, engine, ends = false } of [
    {
      title: "in the chains that drop, found by themselves, until it ends",
      ends: true,
      rules: CLOSED,
      config: "",
      told: "forwarded grants are accepted in chain inet filter forward",
    },
    {
      title: "in the chains of fw4, found by themselves",
      rules: FW4,
      hidden: "closed",
      config: "",
      told: "forwarded grants are accepted in chain inet fw4 forward",
      engine: ENGINES[1],
    },
    {
      title: "in the chains that NFT_ATTACH names",
      rules: CLOSED,
      config: "NFT_ATTACH inet filter forward, inet filter input\n",
      told: "forwarded grants are accepted in chain inet filter forward",
    },
    {
      title: "by a mark",
      rules: CLOSED.replaceAll("established,related accept", "$&\nmeta mark 0x5ba accept"),
      config: "NFT_MARK 0x5ba\n",
      told: "packets of grants carry the mark 0x5ba",
    },
  ]
) {
  natTest(
    `a NAT grant opens one port of one host ${title}`,
    rules,
    async ({ lab, service, serve, ruleset }) => {
      const before = await ruleset();
      const gateway = await serve(FORWARDING + config, "FW_ACCESS_TIMEOUT 3");
      ok(gateway.output().includes(told), gateway.output());
      strictEqual(await probe(lab, 8022), hidden);
      await knockFor(lab);
      await gateway.waitFor(/Added DNAT rule to spa_dnat4 for 192\.0\.2\.10 -> 192\.0\.2\.1 tcp/);
      deepStrictEqual(await reach(lab), {
        "the gateway's port": "open",
        "the same port of another address": hidden,
        "another host": hidden,
      });
      await service.waitFor(/connection from 192\.0\.2\.10/);
      if (ends) await waitForPort(lab, 8022, hidden);
      strictEqual(await gateway.stop(), 0);
      strictEqual(await ruleset(), before);
    },
    engine,
  );
}

natTest(
  "with a forwarding host that drops nothing, translation alone opens",
  CLOSED_INPUT,
  async ({ lab, serve }) => {
    const config = `${FORWARDING}ENABLE_DEFAULT_DROP tcp/22\n`;
    await lab.gateway.must(["nft", "delete", "table", "inet", "filter"]);
    const gateway = await serve(config);
    match(gateway.output(), /no chain drops what this host forwards, so that hides nothing/);
    strictEqual(await probe(lab, 8022), "closed");
    await knockFor(lab);
    await gateway.waitFor(/Added DNAT rule/);
    strictEqual(await probe(lab, 8022), "open");
  },
);

for (
  const { title, config, set } of [
    { title: "masqueraded", config: "", set: "spa_masquerade4" },
    {
      title: "translated to SNAT_TRANSLATE_IP",
      config: `SNAT_TRANSLATE_IP ${ADDRESSES.gatewayInside}\n`,
      set: "spa_snat4",
    },
  ]
) {
  natTest(`only the granted connections are ${title}`, CLOSED, async (nat) => {
    const { lab, service } = nat;
    const gateway = await nat.serve(`${FORWARDING}ENABLE_IPT_SNAT Y\n${config}`);
    await knockFor(lab);
    await gateway.waitFor(new RegExp(`Added SNAT rule to ${set}`));
    const connections = Array.from(
      { length: 3 },
      () => lab.client.start(labTool("tcp_probe", ADDRESSES.gateway, "8022", "5000", "--hold")),
    );
    await Promise.all(connections.map((each) => each.waitFor(/open\nhello/)));
    await service.waitFor(/(?:connection from 198\.51\.100\.1\n){3}/);

    const allow = ["nft", "insert rule inet filter forward ip saddr", ADDRESSES.secondClient];
    await lab.gateway.must([...allow, "accept"]);
    await lab.client.must([
      ...["ip", "route", "add", `${ADDRESSES.inner}/32`, "via", ADDRESSES.gateway],
      ...["src", ADDRESSES.secondClient],
    ]);
    strictEqual(await probe(lab, 22, ADDRESSES.inner), "open");
    await service.waitFor(/connection from 192\.0\.2\.11/);
  });
}

natTest("a local service opens on a port of the client's choice", CLOSED, async (nat) => {
  const { lab } = nat;
  const service = lab.gateway.start(labTool("tcp_service", "22"));
  await service.waitFor(/listening on 22/);
  for (const [config, direct] of [["", "open"], ["ENABLE_DESTINATION_RULE Y\n", "filtered"]]) {
    const gateway = await nat.serve(`ENABLE_IPT_LOCAL_NAT Y\n${config}`);
    strictEqual(await probe(lab, 8022), "filtered");
    const natAccess = `${ADDRESSES.gatewayInside},22`;
    const knock = knockPacket("tcp/8022", ADDRESSES.client, { messageType: 5, natAccess });
    await send(lab, knock);
    await gateway.waitFor(/Added local NAT rule to spa_access4[^]*Added DNAT rule/);
    strictEqual(await probe(lab, 8022), "open");
    strictEqual(await probe(lab, 22), direct);
    await gateway.stop();
  }
});

natTest(
  "FORCE_NAT leads a plain request to the stanza's host, whole or not",
  CLOSED,
  async (nat) => {
    const { lab, service } = nat;
    const stanza = `FORCE_NAT ${ADDRESSES.inner} 22`;
    const gateway = await nat.serve(FORWARDING, stanza);
    await send(lab, knockPacket("tcp/8022"));
    await gateway.waitFor(/Added DNAT rule/);
    strictEqual(await probe(lab, 8022), "open");
    await service.waitFor(/connection from 192\.0\.2\.10/);
    await gateway.stop();

    const whole = await nat.serve(FORWARDING, `${stanza}\nFORWARD_ALL Y`);
    await send(lab, knockPacket("tcp/80"));
    await whole.waitFor(/Added DNAT ALL rule to spa_dnat4_all for 192\.0\.2\.10 -> .* \*\/\*/);
    strictEqual(await probe(lab, 22), "open");
    strictEqual(await probe(lab, 22, OTHER_INNER), "filtered");
  },
);

natTest("FORWARD_ALL opens all behind the gateway for one client", CLOSED, async (nat) => {
  const { lab, service } = nat;
  const gateway = await nat.serve(
    `${FORWARDING}ENABLE_IPT_SNAT Y\n`,
    "FORCE_MASQUERADE Y\nFORWARD_ALL Y\nDISABLE_DNAT Y\nFW_ACCESS_TIMEOUT 3",
  );
  strictEqual(await probe(lab, 22, SITE), "filtered");
  await send(lab, knockPacket("tcp/80"));
  await gateway.waitFor(
    /Added SNAT ALL rule to spa_masquerade4_all for 192\.0\.2\.10 -> .* \*\/\*/,
  );
  strictEqual(await probe(lab, 22, SITE), "open");
  await service.waitFor(/^connection from 198\.51\.100\.1$/m);
  await gateway.waitFor(/Removed rule 1 from spa_forward4_all/);
  strictEqual(await probe(lab, 22, SITE), "filtered");
});

natTest(
  "answers get out of a host that drops what it sends, as long as the grant lasts",
  CLOSED + `table inet out {
    chain out { type filter hook output priority filter; policy drop; oif lo accept; }
  }\n`,
  async (nat) => {
    const { lab } = nat;
    const service = lab.gateway.start(labTool("tcp_service", "22"));
    await service.waitFor(/listening on 22/);
    const files = await nat.files("");
    const gateway = await startGateway(lab, files);
    await send(lab, knockPacket("tcp/22"));
    await gateway.waitFor(/Added access rule/);
    strictEqual(await probe(lab, 22), "filtered");
    await gateway.stop();

    for (const config of ["", "ENABLE_DESTINATION_RULE Y\n"]) {
      const output = await nat.serve(`ENABLE_IPT_OUTPUT Y\n${config}`);
      match(output.output(), /answers to grants are accepted in chain inet out out/);
      await send(lab, knockPacket("tcp/22"));
      await output.waitFor(/Added OUTPUT rule to spa_output4/);
      strictEqual(await probe(lab, 22), "open");
      await output.stop();
    }
  },
);

natTest(
  "a grant for another host takes the place of the one before it",
  CLOSED,
  async ({ lab, serve }) => {
    const gateway = await serve(FORWARDING);
    const target = async (): Promise<string[]> => {
      const map = await lab.gateway.must(["nft", "list", "map", "inet", "spa", "spa_dnat4"]);
      return [...map.matchAll(/ : (\S+) \. 22/g)].map(([, host = ""]) => host);
    };
    const hosts = [ADDRESSES.inner, OTHER_INNER, ADDRESSES.inner];
    for (const [index, host] of hosts.entries()) {
      await knockFor(lab, host, 60 + index);
      await gateway.waitFor(new RegExp(`(?:(?:Added|Extended) DNAT rule[^]*){${index + 1}}`));
      deepStrictEqual(await target(), [host]);
      strictEqual(await probe(lab, 8022), "open");
    }
  },
);

natTest(
  "the kernel ends NAT grants of a server that was killed, and fw-list shows them until then",
  CLOSED,
  async (nat) => {
    const { lab } = nat;
    const before = await nat.ruleset();
    const files = await nat.files(`${FORWARDING}ENABLE_IPT_SNAT Y\n`, "FW_ACCESS_TIMEOUT 4");
    const gateway = await startGateway(lab, files);
    await knockFor(lab);
    await gateway.waitFor(/Added SNAT rule/);
    gateway.signal("SIGKILL");
    await gateway.ended;
    const listing = await serve(lab.gateway, files, "--fw-list");
    for (
      const row of [
        /^192\.0\.2\.10 +198\.51\.100\.20 +tcp\/22 +- +\d +1 +inet filter spa_forward4$/m,
        /^192\.0\.2\.10 +192\.0\.2\.1 +tcp\/8022 +198\.51\.100\.20:22 +\d +1 +inet spa spa_dnat4$/m,
        /^192\.0\.2\.10 +198\.51\.100\.20 +tcp\/22 +masquerade +\d +1 +inet spa spa_masquerade4$/m,
      ]
    ) match(listing.stdout, row);
    strictEqual(await probe(lab, 8022), "open");
    await waitForPort(lab, 8022, "filtered");
    strictEqual((await serve(lab.gateway, files, "--fw-flush")).status, 0);
    strictEqual(await nat.ruleset(), before);
  },
);

natTest(
  "IPv6 addresses are translated for a client that has one",
  CLOSED,
  async ({ lab, serve }) => {
    const accept = `for await (const one of Deno.listen({ hostname: "::", port: 2222 })) {
    console.log("from " + one.remoteAddr.hostname);
    one.close();
  }`;
    const service = lab.inner.start([Deno.execPath(), "eval", accept]);
    const [client, outside, inside, inner] = ["1::10", "1::1", "2::1", "2::20"]
      .map((end) => `2001:db8:${end}`) as [string, string, string, string];
    const early = await serve(FORWARDING, `FORCE_NAT ${inner} 2222`);
    match(early.output(), /FORCE_NAT names an IPv6 address, but this host forwards no IPv6: run/);
    strictEqual(await early.stop(), 0);
    await lab.gateway.must(["sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1"]);
    for (
      const [host, address, name] of [
        [lab.client, client, "eth0"],
        [lab.gateway, outside, "outside"],
        [lab.gateway, inside, "inside"],
        [lab.inner, inner, "eth0"],
      ] as const
    ) {
      await host.must(["ip", "address", "add", `${address}/64`, "dev", name, "nodad"]);
    }
    // Without neighbour discovery no IPv6 packet arrives, granted or not.
    const solicitations = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
    await lab.gateway.must(["nft", "add", "rule", "inet", "filter", "input", solicitations]);
    const gateway = await serve(`${FORWARDING}ENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP 198.51.100.1\n`);
    strictEqual(await probe(lab, 8022, outside), "filtered");
    const knock = knockPacket("tcp/8022", client, { messageType: 2, natAccess: `${inner},2222` });
    await lab.client.must(labTool("send_udp", "--from=::", outside, "62201", knock));
    await gateway.waitFor(
      /Added DNAT rule to spa_dnat6 for 2001:db8:1::10 -> 2001:db8:1::1 tcp\/8022/,
    );
    strictEqual(await probe(lab, 8022, outside), "open");
    await service.waitFor(new RegExp(`from ${inside}\n`));
  },
);

for (const engine of ENGINES) {
  natTest(
    "a NAT grant opens as a whole or leaves the ruleset as it was",
    CLOSED,
    async ({ lab, serve, ruleset }) => {
      const gateway = await serve(FORWARDING);
      const damage = [
        "flush chain inet filter spa_forward",
        "delete set inet filter spa_forward4",
        "add set inet filter spa_forward4 { type ether_addr; }",
      ];
      await lab.gateway.must(["nft", "-f", "-"], damage.map((line) => `${line}\n`).join(""));
      const before = await ruleset();
      await knockFor(lab);
      await gateway.waitFor(/Could not open access: \S*nft: /);
      strictEqual(await ruleset(), before);
    },
    engine,
  );
}

natTest("a NAT grant opens although the ruleset was loaded again", CLOSED, async (nat) => {
  const { lab } = nat;
  const gateway = await nat.serve(FORWARDING);
  await knockFor(lab);
  await gateway.waitFor(/Added DNAT rule/);
  await lab.gateway.must(["nft", "-f", "-"], `flush ruleset\n${CLOSED}`);
  strictEqual(await probe(lab, 8022), "filtered");
  await knockFor(lab);
  await gateway.waitFor(/(?:Added DNAT rule[^]*){2}/);
  strictEqual(await probe(lab, 8022), "open");
});

for (
  const { title, rules, config, reason } of [
    {
      title: "two chains drop what is forwarded",
      rules: CLOSED +
        "table ip guard { chain f { type filter hook forward priority 10; drop; }; }\n",
      config: "NFT_ATTACH inet filter input, inet filter forward\n",
      reason: /a grant in inet filter forward could not open: ip guard f drops, too/,
    },
    {
      title: "Docker's chain drops what is forwarded",
      rules: CLOSED_INPUT +
        "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }\n",
      config: "",
      reason: /ip filter FORWARD belongs to iptables/,
    },
    {
      title: "only the input chain accepts the mark",
      rules: CLOSED.replace("established,related accept", "$&\nmeta mark 0x5ba accept"),
      config: "NFT_MARK 0x5ba\n",
      reason: /inet filter forward does not accept all that carries the mark/,
    },
  ]
) {
  natTest(`start and check refuse, and change nothing, where ${title}`, rules, async (nat) => {
    const before = await nat.ruleset();
    const files = await nat.files(FORWARDING + config);
    for (const option of ["--exit-parse-config", "--foreground"]) {
      const done = await serve(nat.lab.gateway, files, option);
      strictEqual(done.status, 1, done.stderr);
      match(done.stderr, reason);
    }
    strictEqual(await nat.ruleset(), before);
  });
}
