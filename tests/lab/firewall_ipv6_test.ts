// Access over IPv6 with ip6tables beside iptables, both variants, with traffic.

import { doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
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
  labTool,
  openLab,
  spaCommand,
} from "./lab.ts";

const GATEWAY = "2001:db8::1";
const CLIENT = "2001:db8::2";
const BASE = `PCAP_INTF ${GATEWAY_INTERFACE}\nENABLE_IPT_OUTPUT Y\n`;

const DEFAULT_DROP = `*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
COMMIT
`;

/** Runs a test with both variants, in a lab whose client and gateway have IPv6. */
function onBoth(name: string, body: (lab: Lab, variant: string) => Promise<void>): void {
  const missing = labMissing() ?? (hasProgram("ip6tables") ? null : "needs the program ip6tables");
  for (const variant of ["nft", "legacy"]) {
    Deno.test({
      name: `${name} (${variant})${missing === null ? "" : ` (${missing})`}`,
      ignore: missing !== null,
      fn: async () => {
        const lab = await openLab(`/usr/sbin/iptables-${variant}`);
        try {
          for (
            const [host, device, address] of [
              [lab.client, "eth0", CLIENT],
              [lab.gateway, GATEWAY_INTERFACE, GATEWAY],
            ] as const
          ) {
            await host.must(["ip", "address", "add", `${address}/64`, "dev", device, "nodad"]);
          }
          await lab.gateway.must([`/usr/sbin/ip6tables-${variant}-restore`], DEFAULT_DROP);
          await body(lab, variant);
        } finally {
          await lab.close();
        }
      },
    });
  }
}

async function startService(lab: Lab): Promise<void> {
  const accept = "console.log('listening');" +
    "for await (const one of Deno.listen({ hostname: '::', port: 22 })) one.close();";
  await lab.gateway.start([Deno.execPath(), "eval", accept]).waitFor(/listening/);
}

async function filesFor(lab: Lab, variant: string, config = ""): Promise<GatewayFiles> {
  const exe = `FIREWALL_EXE /usr/sbin/iptables-${variant}\n`;
  return await writeGatewayFiles(lab.directory, `${BASE}${exe}${config}`, STANZA);
}

onBoth("a grant for an IPv6 address opens for it alone", async (lab, variant) => {
  await startService(lab);
  const save4 = `iptables-${variant}-save`;
  const save6 = `ip6tables-${variant}-save`;
  const before = [await savedRules(lab.gateway, save4), await savedRules(lab.gateway, save6)];
  const files = await filesFor(lab, variant);
  const gateway = await startGateway(lab, files);
  strictEqual(await probe(lab, 22, GATEWAY), "filtered");
  match((await serve(lab.gateway, files, "--fw-list")).stdout, /^(?:(?!ip6tables)[^])*$/);

  await send(lab, knockPacket("tcp/22", CLIENT));
  await gateway.waitFor(/Added access rule to FWKNOP_INPUT for 2001:db8::2 -> ::\/0 tcp\/22/);
  strictEqual(await probe(lab, 22, GATEWAY), "open");
  strictEqual(await probe(lab, 22), "filtered");
  await send(lab, knockPacket("tcp/22", ADDRESSES.client));
  await gateway.waitFor(/Added access rule to FWKNOP_INPUT for 192\.0\.2\.10/);
  strictEqual(await probe(lab, 22), "open");
  const rules = await savedRules(lab.gateway, save6);
  match(rules, /-A INPUT -j FWKNOP_INPUT\n/);
  match(rules, /-A FWKNOP_INPUT -s 2001:db8::2\/128 -p tcp -m tcp --dport 22 -m time /);
  match(rules, /-A FWKNOP_OUTPUT -d 2001:db8::2\/128 -p tcp -m tcp --sport 22 -m time /);
  doesNotMatch(await savedRules(lab.gateway, save4), /2001:db8/);

  const listing = await serve(lab.gateway, files, "--fw-list");
  match(
    listing.stdout,
    /^Listing rules in fwknopd iptables chains\.\.\.\n[^]*192\.0\.2\.10[^]*\nListing rules in fwknopd ip6tables chains\.\.\.\n\nChain FWKNOP_INPUT[^]*2001:db8::2 .*_exp_/,
  );
  const { chains } = JSON.parse(
    await lab.gateway.must(spaCommand("fw-list", "-c", files.config, "--json")),
  );
  // deno-lint-ignore no-explicit-any -- what the command prints is what is under test
  const [six] = chains.filter(({ family }: any) => family === "ipv6");
  strictEqual(six.rules[0].source, CLIENT);
  strictEqual(six.rules[0].endsByItself, true);

  await gateway.stop();
  const after = [await savedRules(lab.gateway, save4), await savedRules(lab.gateway, save6)];
  strictEqual(withRules(after), withRules(before));
});

/** Tables of legacy stay once they were looked at, so only rules and chains count. */
function withRules(saved: readonly string[]): string {
  return saved.map((text) => text.split("\n").filter((line) => /^-|FWKNOP/.test(line)).join("\n"))
    .join("\n\n");
}

onBoth("NAT leads from an IPv6 address to a host behind", async (lab, variant) => {
  const [inside, inner] = ["2001:db8:1::1", "2001:db8:1::20"] as const;
  for (
    const [host, address, name] of [[lab.gateway, inside, "inside"], [
      lab.inner,
      inner,
      "eth0",
    ]] as const
  ) await host.must(["ip", "address", "add", `${address}/64`, "dev", name, "nodad"]);
  const forward = "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT";
  await lab.gateway.must([`ip6tables-${variant}`, ...forward.split(" ")]);
  const accept = "console.log('listening');" +
    "for await (const one of Deno.listen({ hostname: '::', port: 2222 })) {" +
    " console.log(`from ${one.remoteAddr.hostname}`); one.close(); }";
  const service = lab.inner.start([Deno.execPath(), "eval", accept]);
  await service.waitFor(/listening/);

  const save = `ip6tables-${variant}-save`;
  const before = withRules([await savedRules(lab.gateway, save)]);
  const config = "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y\nSNAT_TRANSLATE_IP 198.51.100.1\n";
  const gateway = await startGateway(lab, await filesFor(lab, variant, config));
  strictEqual(await probe(lab, 8022, GATEWAY), "filtered");
  const knock = knockPacket("tcp/8022", CLIENT, { messageType: 2, natAccess: `${inner},2222` });
  await lab.client.must(labTool("send_udp", "--from=::", GATEWAY, "62201", knock));
  await gateway.waitFor(/Added DNAT rule to FWKNOP_PREROUTING for 2001:db8::2 -> 2001:db8::1 /);
  const [, advice = ""] = await gateway.waitFor(
    /Access for 2001:db8::2 leads nowhere: this host forwards no IPv6: run (sysctl -w \S+)/,
  );
  strictEqual(await probe(lab, 8022, GATEWAY), "filtered");
  await lab.gateway.must(advice.split(" "));
  strictEqual(await probe(lab, 8022, GATEWAY), "open");
  await service.waitFor(new RegExp(`from ${inside}\n`));
  await gateway.stop();

  const fixed = "2001:db8:1::99";
  await lab.gateway.must(["ip", "addr", "add", `${fixed}/64`, "dev", "inside", "nodad"]);
  const again = config.replace("198.51.100.1", `198.51.100.1, ${fixed}`);
  const second = await startGateway(lab, await filesFor(lab, variant, again));
  const next = knockPacket("tcp/8022", CLIENT, { messageType: 2, natAccess: `${inner},2222` });
  await lab.client.must(labTool("send_udp", "--from=::", GATEWAY, "62201", next));
  await second.waitFor(/Added SNAT rule/);
  strictEqual(await probe(lab, 8022, GATEWAY), "open");
  await service.waitFor(new RegExp(`from ${fixed}\n`));
  await second.stop();
  strictEqual(withRules([await savedRules(lab.gateway, save)]), before);
});

onBoth("fw-flush takes the rules of both IP versions away", async (lab, variant) => {
  const save6 = `ip6tables-${variant}-save`;
  const files = await filesFor(lab, variant);
  const gateway = await startGateway(lab, files);
  await send(lab, knockPacket("tcp/22", CLIENT));
  await gateway.waitFor(/Added access rule/);
  gateway.signal("SIGKILL");
  await gateway.ended;
  match(await savedRules(lab.gateway, save6), /FWKNOP_INPUT -s 2001:db8::2/);
  strictEqual((await serve(lab.gateway, files, "--fw-flush")).status, 0);
  doesNotMatch(await savedRules(lab.gateway, save6), /FWKNOP/);
});

onBoth("with ENABLE_IP6TABLES N, IPv6 is left alone", async (lab, variant) => {
  const before = await savedRules(lab.gateway, `ip6tables-${variant}-save`);
  const gateway = await startGateway(lab, await filesFor(lab, variant, "ENABLE_IP6TABLES N\n"));
  await send(lab, knockPacket("tcp/22", CLIENT));
  await gateway.waitFor(/Could not open access: iptables opens for IPv4 addresses only/);
  strictEqual(await savedRules(lab.gateway, `ip6tables-${variant}-save`), before);
  await gateway.stop();
});

onBoth(
  "an ip6tables that does not work stops the start only where it was named",
  async (lab, variant) => {
    const directory = `${lab.directory}/bin`;
    await Deno.mkdir(directory);
    for (const name of [`iptables-${variant}`, `iptables-${variant}-restore`]) {
      await Deno.symlink(`/usr/sbin/xtables-${variant}-multi`, `${directory}/${name}`);
    }
    const broken = `${directory}/ip6tables-${variant}`;
    await Deno.writeTextFile(broken, "#!/bin/sh\necho out of order >&2; exit 3\n", { mode: 0o755 });
    const before = await savedRules(lab.gateway, `iptables-${variant}-save`);
    const config = `${BASE}FIREWALL_EXE ${directory}/iptables-${variant}\n`;
    const named = await writeGatewayFiles(
      lab.directory,
      `${config}IP6TABLES_EXE ${broken}\n`,
      STANZA,
    );
    const refused = await serve(lab.gateway, named, "-f");
    strictEqual(refused.status, 1);
    match(refused.stderr, /cannot set up iptables: .*ip6tables.*: out of order/);
    strictEqual(await savedRules(lab.gateway, `iptables-${variant}-save`), before);

    const gateway = await startGateway(lab, await writeGatewayFiles(lab.directory, config, STANZA));
    match(gateway.output(), /No access over IPv6: cannot set up ip6tables: .*: out of order/);
    await send(lab, knockPacket("tcp/22", CLIENT), knockPacket("tcp/22"));
    await gateway.waitFor(/cannot open for 2001:db8::2: .*out of order/);
    await gateway.waitFor(/Added access rule .* 192\.0\.2\.10/);
    strictEqual(await gateway.stop(), 0);
    ok(!gateway.output().includes("Cannot remove"));
  },
);
