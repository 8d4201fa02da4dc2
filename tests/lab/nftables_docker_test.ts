// ENABLE_DOCKER with nftables: access to published ports beside rules of both shapes that Docker
// makes, in each place for grants; the lab's inner host plays the container.

import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { DOCKER, DOCKER_NFTABLES } from "./docker.ts";
import { type GatewayFiles, serve, startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  labTool,
  spaCommand,
} from "./lab.ts";
import { PATIENCE } from "./process.ts";

/** The client goes there as its second address. */
const SECOND_CLIENTS_WAY = "192.0.2.2";
/** The client goes there as itself. */
const OTHER_GATEWAY_ADDRESS = "192.0.2.3";
const OTHER_INNER = "198.51.100.21";

const missing = labMissing() ?? (hasProgram("nft") ? null : "needs the program nft");

const INPUT = `chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ct state established,related accept
  }`;
/** Debian's rules with an input chain that drops, as docs/firewalls.md has them. */
const DEBIAN = `table inet filter {
  ${INPUT}
  chain forward { type filter hook forward priority filter; }
  chain output { type filter hook output priority filter; }
}
`;
/** What docs/firewalls.md has administrators write, with the lab's name for the interface. */
const DOCUMENTED = /^```\n(table inet filter \{[^`]*ct status dnat drop[^`]*)```$/m
  .exec(Deno.readTextFileSync(new URL("../../docs/firewalls.md", import.meta.url)))?.[1]
  ?.replace("eth0", GATEWAY_INTERFACE);
/** The same, with a forward chain that drops, too. */
const CLOSED = DEBIAN.replace(
  "hook forward priority filter;",
  `hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "inside" accept
`,
);
const MARKED = CLOSED.replaceAll("established,related accept", "$&\n    meta mark 0x5ba accept");

/** What hides published ports with iptables; it lets the mark pass. */
const DOCKER_USER = `*filter
:DOCKER-USER - [0:0]
-I FORWARD 1 -j DOCKER-USER
-A DOCKER-USER -m mark --mark 0x5ba/0x5ba -j RETURN
-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A DOCKER-USER -i ${GATEWAY_INTERFACE} -j DROP
COMMIT
`;

interface Setting {
  /** What is the administrator's own, for nft. */
  readonly rules: string;
  /** What is Docker's, for nft or iptables, and of the administrator in chains of iptables. */
  readonly docker: readonly string[];
  readonly config: string;
}

/** Puts rules in force, and a service on the inner host. */
async function startContainer(lab: Lab, { rules, docker }: Omit<Setting, "config">): Promise<void> {
  const { client, gateway, inner } = lab;
  await gateway.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]);
  await gateway.must(["nft", "-f", "-"], `flush ruleset\n${rules}`);
  for (const text of docker) {
    if (text.startsWith("*")) {
      await gateway.must(["iptables-restore", "--noflush"], text);
      await gateway.must(["iptables", "-P", "FORWARD", "DROP"]);
    } else await gateway.must(["nft", "-f", "-"], text);
  }
  for (const address of [SECOND_CLIENTS_WAY, OTHER_GATEWAY_ADDRESS]) {
    await gateway.must(["ip", "address", "add", `${address}/24`, "dev", GATEWAY_INTERFACE]);
  }
  await inner.must(["ip", "address", "add", `${OTHER_INNER}/24`, "dev", "eth0"]);
  const way = [SECOND_CLIENTS_WAY, "dev", "eth0", "src", ADDRESSES.secondClient];
  await client.must(["ip", "route", "add", ...way]);
  const service = inner.start(labTool("tcp_service", "80", "8080"));
  await service.waitFor(/listening on 8080/);
}

function filesFor(lab: Lab, config: string, stanza = ""): Promise<GatewayFiles> {
  const base = `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE nftables\nENABLE_DOCKER Y\n`;
  return writeGatewayFiles(lab.directory, base + config, `${STANZA}${stanza}`);
}

function ruleset(lab: Lab): Promise<string> {
  return lab.gateway.must(["nft", "--stateless", "--handle", "list", "ruleset"]);
}

/** Where the client gets at port 8080. */
async function reach(lab: Lab): Promise<Record<string, string>> {
  const [itself, second, other] = await Promise.all(
    [ADDRESSES.gateway, SECOND_CLIENTS_WAY, OTHER_GATEWAY_ADDRESS].map((address) =>
      probe(lab, 8080, address)
    ),
  ) as [string, string, string];
  return { itself, "as its second address": second, "at another address": other };
}

const HIDDEN = {
  itself: "filtered",
  "as its second address": "filtered",
  "at another address": "filtered",
};

async function waitUntilHidden(lab: Lab): Promise<void> {
  const start = performance.now();
  while (await probe(lab, 8080) !== "filtered") {
    ok(performance.now() - start < PATIENCE, "port 8080 does not close");
  }
}

const SETTINGS: readonly (Setting & {
  readonly title: string;
  readonly told: readonly string[];
  /** Without it, what is granted opens at the gateway's other addresses, too. */
  readonly oneAddress?: true;
  /** Whether the test waits until the kernel ends the grant. */
  readonly ends?: true;
})[] = [
  {
    title: "hidden by a table of ours, beside iptables' Docker and Debian's rules",
    ends: true,
    rules: DEBIAN,
    docker: [DOCKER],
    config: "ENABLE_DEFAULT_DROP tcp/8080\n",
    told: [
      "grants are accepted in chain inet filter input",
      "table inet spa hides tcp/8080, published by Docker, from all but grants",
    ],
  },
  {
    title: "in a forward chain as the manual has it, found by itself, by nft -f -",
    rules: `table inet filter { ${INPUT}\n}\n${DOCUMENTED}`,
    docker: [DOCKER],
    config: "NFT_EXE /usr/sbin/nft\n",
    told: ["grants to what Docker publishes are accepted in chain inet filter forward"],
  },
  {
    title: "in chains that NFT_ATTACH names and one of which hides, beside nftables' Docker",
    rules: DEBIAN,
    docker: [DOCKER_NFTABLES],
    config: "NFT_ATTACH inet filter input, inet filter forward\n" +
      "ENABLE_DEFAULT_DROP tcp/8080\nENABLE_DESTINATION_RULE Y\n",
    told: [
      "grants to what Docker publishes are accepted in chain inet filter forward",
      "table inet filter hides tcp/8080, published by Docker, from all but grants",
    ],
    oneAddress: true,
  },
  {
    title: "by a mark that two chains accept, beside nftables' Docker",
    rules: MARKED,
    docker: [DOCKER_NFTABLES],
    config: "NFT_MARK 0x5ba\nENABLE_DESTINATION_RULE Y\n",
    told: ["packets of grants to what Docker publishes carry the mark 0x5ba"],
    oneAddress: true,
  },
  {
    title: "by a mark that DOCKER-USER lets pass, by nft -f -",
    rules: MARKED.replace(
      "hook forward priority filter; policy drop",
      "hook forward priority filter",
    ),
    docker: [DOCKER, DOCKER_USER],
    config: "NFT_MARK 0x5ba\nNFT_EXE /usr/sbin/nft\n",
    told: ["packets of grants to what Docker publishes carry the mark 0x5ba"],
  },
];

for (const { title, told, oneAddress, ends, ...setting } of SETTINGS) {
  labTest(`a grant opens a published port ${title}`, async (lab) => {
    await startContainer(lab, setting);
    const before = await ruleset(lab);
    const files = await filesFor(lab, setting.config, `FW_ACCESS_TIMEOUT ${ends ? 4 : 60}\n`);
    const check = await serve(lab.gateway, files, "--exit-parse-config");
    strictEqual(check.status, 0, check.stderr);
    for (const line of told) ok(check.stderr.includes(line), check.stderr);
    strictEqual(await ruleset(lab), before);

    const gateway = await startGateway(lab, files);
    for (const line of told) ok(gateway.output().includes(line), gateway.output());
    deepStrictEqual(await reach(lab), HIDDEN);
    await send(lab, knockPacket("tcp/8080"));
    await gateway.waitFor(/Added Docker access rule to spa_docker4\w* for 192\.0\.2\.10 -> /);
    const open = lab.client.start(
      labTool("tcp_probe", ADDRESSES.gateway, "8080", "2000", "--hold"),
    );
    deepStrictEqual(await reach(lab), {
      ...HIDDEN,
      itself: "open",
      "at another address": oneAddress ? "filtered" : "open",
    });
    await open.waitFor(/open\nhello/);
    if (!ends) {
      await lab.gateway.must(spaCommand("fw-close", "-c", files.config, ADDRESSES.client));
      deepStrictEqual(await reach(lab), HIDDEN);
    } else await waitUntilHidden(lab);
    await open.write("still there?\n");
    await open.waitFor(/echo: still there\?/);
    strictEqual(await gateway.stop(), 0);
    strictEqual(await ruleset(lab), before);
  }, missing);
}

labTest("a host without rules hides published ports, and leaves the rest as it is", async (lab) => {
  await startContainer(lab, { rules: "", docker: [DOCKER_NFTABLES] });
  const accept = `ip daddr ${OTHER_INNER} tcp dport 8080 accept`;
  await lab.gateway.must(
    ["nft", "insert rule ip docker-bridges filter-forward-in__inside", accept],
  );
  strictEqual(await probe(lab, 8080), "open");
  const before = await ruleset(lab);
  const files = await filesFor(lab, "ENABLE_DEFAULT_DROP tcp/8080, tcp/22\n");
  const gateway = await startGateway(lab, files);
  match(gateway.output(), /table inet spa hides tcp\/8080,tcp\/22 from all but grants/);
  match(gateway.output(), /table inet spa hides tcp\/8080,tcp\/22, published by Docker, from/);
  strictEqual(await probe(lab, 8080), "filtered");
  strictEqual(await probe(lab, 8080, OTHER_INNER), "open");
  // As the host itself sees it.
  strictEqual(
    (await lab.gateway.must(labTool("tcp_probe", ADDRESSES.gateway, "8080"))).trim(),
    "open",
  );

  const saved = await lab.gateway.must(["nft", "list", "ruleset"]);
  await lab.gateway.must(["nft", "-c", "-f", "-"], `flush ruleset\n${saved}`);

  await send(lab, knockPacket("tcp/8080", ADDRESSES.client, { clientTimeout: 60 }));
  await gateway.waitFor(/Added Docker access rule/);
  await send(lab, knockPacket("tcp/8080", ADDRESSES.client, { clientTimeout: 250 }));
  await gateway.waitFor(/Extended Docker access rule/);
  const list = (...options: string[]): Promise<string> =>
    lab.gateway.must(spaCommand("fw-list", "-c", files.config, ...options));
  match(
    await list(),
    /^192\.0\.2\.10 +any +tcp\/8080 +- +2\d\d +1 +inet spa spa_docker4$/m,
  );
  match(await list("--json"), /"chain": "spa_docker4",[^\]]*"destinationPort": 8080/);
  strictEqual(await probe(lab, 8080), "open");

  await lab.gateway.must(spaCommand("fw-close", "-c", files.config, ADDRESSES.client));
  strictEqual(await probe(lab, 8080), "filtered");
  doesNotMatch(await list(), /8080/);
  await lab.gateway.must(["nft", "delete table inet spa"]);
  await send(lab, knockPacket("tcp/8080"));
  await gateway.waitFor(/(?:Added Docker access rule[^]*){2}/);
  deepStrictEqual(await reach(lab), { ...HIDDEN, itself: "open", "at another address": "open" });
  gateway.signal("SIGKILL");
  await gateway.ended;
  await lab.gateway.must(spaCommand("fw-flush", "-c", files.config));
  strictEqual(await ruleset(lab), before);
}, missing);

labTest("IPv6 connections to published ports are hidden and granted alike", async (lab) => {
  await startContainer(lab, { rules: "", docker: [] });
  const [client, outside, inside, inner] = ["1::10", "1::1", "2::1", "2::20"]
    .map((end) => `2001:db8:${end}`) as [string, string, string, string];
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
  await lab.inner.must(["ip", "-6", "route", "add", "default", "via", inside]);
  const service = lab.inner.start([
    Deno.execPath(),
    "eval",
    'for await (const one of Deno.listen({ hostname: "::", port: 81 })) one.close();',
  ]);
  const docker = `table ip6 docker-bridges {
    chain nat-PREROUTING {
      type nat hook prerouting priority dstnat; policy accept;
      fib daddr type local tcp dport 8080 counter dnat to [${inner}]:81
    }
  }\n`;
  await lab.gateway.must(["nft", "-f", "-"], docker);
  const config = "ENABLE_DEFAULT_DROP tcp/8080\nENABLE_DESTINATION_RULE Y\n";
  const before = performance.now();
  while (await probe(lab, 8080, outside) !== "open") {
    ok(performance.now() - before < PATIENCE, service.output());
  }
  const gateway = await startGateway(lab, await filesFor(lab, config));
  strictEqual(await probe(lab, 8080, outside), "filtered");
  const knock = knockPacket("tcp/8080", client);
  await lab.client.must(labTool("send_udp", "--from=::", outside, "62201", knock));
  await gateway.waitFor(/Added Docker access rule to spa_docker6_to for 2001:db8:1::10 -> /);
  strictEqual(await probe(lab, 8080, outside), "open");
}, missing);

labTest("start and check refuse, and change nothing, where no grant could open", async (lab) => {
  const user = DOCKER_USER.replace(/^.*mark.*\n/m, "");
  const cases: readonly (Setting & { readonly reason: RegExp })[] = [
    {
      rules: DEBIAN,
      docker: [DOCKER],
      config: "",
      reason: /no chain of nftables drops what Docker publishes, .* set ENABLE_DEFAULT_DROP to/,
    },
    {
      rules: DEBIAN,
      docker: [DOCKER, user],
      config: "ENABLE_DEFAULT_DROP tcp/8080\n",
      reason: /ip filter DOCKER-USER drops what Docker publishes, and belongs to iptables; remove/,
    },
    {
      rules: MARKED,
      docker: [DOCKER, user],
      config: "NFT_MARK 0x5ba\n",
      reason: /add "iptables -I DOCKER-USER -m mark --mark 0x5ba\/0x5ba -j RETURN"/,
    },
    {
      rules: DEBIAN,
      docker: [DOCKER],
      config: "NFT_ATTACH inet filter input, ip filter FORWARD\n",
      reason: /NFT_ATTACH: ip filter FORWARD belongs to iptables/,
    },
  ];
  await startContainer(lab, { rules: "", docker: [] });
  for (const { rules, docker, config, reason } of cases) {
    await lab.gateway.must(["nft", "-f", "-"], `flush ruleset\n${rules}`);
    for (const text of docker) {
      await lab.gateway.must(["iptables-restore", "--noflush"], text);
    }
    await lab.gateway.must(["iptables", "-P", "FORWARD", "DROP"]);
    const before = await ruleset(lab);
    const files = await filesFor(lab, config);
    for (const option of ["--exit-parse-config", "--foreground"]) {
      const done = await serve(lab.gateway, files, option);
      strictEqual(done.status, 1, done.stderr);
      match(done.stderr, reason);
    }
    strictEqual(await ruleset(lab), before);
  }
}, missing);
