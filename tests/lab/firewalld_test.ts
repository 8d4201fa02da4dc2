// `spa serve` with FIREWALL_TYPE firewalld and Debian's firewalld, in a network namespace: rich
// rules that firewalld ends by itself, and fwknopd's direct rules, with traffic.

import { match, ok, strictEqual } from "node:assert/strict";
import { type Firewalld, firewalldMissing, startFirewalld } from "./firewalld.ts";
import { writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import { ADDRESSES, GATEWAY_INTERFACE, type Lab, labTest, labTool, spaCommand } from "./lab.ts";
import { type Finished, PATIENCE, type Watched } from "./process.ts";

const PORT = 443;

interface Gateway {
  readonly firewalld: Firewalld;
  start(): Promise<Watched>;
  serve(...options: readonly string[]): Promise<Finished>;
  /** The port as the client sees it, once that is no longer `seen`. */
  after(seen: string): Promise<string>;
}

async function prepare(
  lab: Lab,
  backend: "iptables" | "nftables",
  config: string,
): Promise<Gateway> {
  const firewalld = await startFirewalld(lab, backend);
  const service = lab.gateway.start(labTool("tcp_service", String(PORT)));
  await service.waitFor(/listening/);
  const files = await writeGatewayFiles(
    lab.directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE firewalld\n${config}`,
    `${STANZA}FW_ACCESS_TIMEOUT 6\n`,
  );
  const words = (...options: readonly string[]): string[] =>
    firewalld.words(spaCommand("serve", ...files.options, ...options));
  return {
    firewalld,
    start: async () => {
      const gateway = lab.gateway.start(words("-f"));
      await gateway.waitFor(/Starting fwknopd main event loop/);
      return gateway;
    },
    serve: (...options) => lab.gateway.run(words(...options)),
    after: async (seen) => {
      const start = performance.now();
      for (;;) {
        const now = await probe(lab, PORT);
        if (now !== seen) return now;
        ok(performance.now() - start < PATIENCE, `port ${PORT} stays ${seen}`);
      }
    },
  };
}

async function knock(lab: Lab, gateway: Watched): Promise<void> {
  await send(lab, knockPacket(`tcp/${PORT}`));
  await gateway.waitFor(/Added access rule/);
}

labTest(
  "firewalld opens by a rich rule and ends it by itself, also when spa is killed",
  async (lab) => {
    const { firewalld, start, serve, after } = await prepare(lab, "nftables", "");
    const zone = (): Promise<string> => firewalld.command("--zone=public", "--list-all");
    await firewalld.command(
      "--zone=public",
      '--add-rich-rule=rule family="ipv4" source address="203.0.113.1" drop',
    );
    const before = await zone();
    const check = await serve("--exit-parse-config");
    match(check.stderr, /^firewalld: grants are rich rules with a time-out in the zone public$/m);
    strictEqual(await zone(), before);

    const gateway = await start();
    const hidden = await probe(lab, PORT);
    ok(hidden !== "open");
    await knock(lab, gateway);
    strictEqual(await probe(lab, PORT), "open");
    const probing = labTool("tcp_probe", ADDRESSES.gateway, String(PORT), "2000", "--hold");
    const open = lab.client.start(probing);
    await open.waitFor(/open\nhello/);
    const listing = await serve("--fw-list");
    match(listing.stdout, /^192\.0\.2\.10 +any +tcp\/443 .*\b\d +1 +zone public$/m);
    gateway.signal("SIGKILL");
    await gateway.ended;
    strictEqual(await after("open"), hidden);
    await open.write("still there?\n");
    await open.waitFor(/echo: still there\?/);
    strictEqual(await zone(), before);

    const next = await start();
    await knock(lab, next);
    strictEqual((await serve("--fw-flush")).status, 0);
    strictEqual(await probe(lab, PORT), hidden);
    strictEqual(await next.stop(), 0);
    strictEqual(await zone(), before);
  },
  firewalldMissing(),
);

labTest("firewalld opens by fwknopd's direct rules, and closes on time", async (lab) => {
  const { start, after } = await prepare(lab, "iptables", "ENABLE_FIREWD_DIRECT Y\n");
  const rules = (): Promise<string> => lab.gateway.must(["iptables", "-S"]);
  const before = await rules();
  const gateway = await start();
  match(gateway.output(), /^Added jump rule from chain: INPUT to chain: FWKNOP_INPUT$/m);
  match(gateway.output(), /^firewalld 'comment' match is available$/m);
  const hidden = await probe(lab, PORT);
  ok(hidden !== "open");
  await knock(lab, gateway);
  match(
    await rules(),
    /^-A FWKNOP_INPUT -s 192\.0\.2\.10\/32 -p tcp -m tcp --dport 443 .*_exp_\d+"? -j ACCEPT$/m,
  );
  strictEqual(await after(hidden), "open");
  await gateway.waitFor(/Removed rule 1 from FWKNOP_INPUT with expire time of \d+/);
  strictEqual(await after("open"), hidden);
  strictEqual(await gateway.stop(), 0);
  strictEqual(await rules(), before);
}, firewalldMissing());
