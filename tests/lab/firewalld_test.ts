// `spa serve` with FIREWALL_TYPE firewalld and Debian's firewalld, in a network namespace: rich
// rules that firewalld ends by itself, and fwknopd's direct rules, with traffic.

import { match, ok, strictEqual } from "node:assert/strict";
import { type Firewalld, firewalldMissing, startFirewalld } from "./firewalld.ts";
import { writeGatewayFiles } from "./gateway.ts";
import { knockPacket, probe, send, STANZA } from "./knock.ts";
import { ADDRESSES, GATEWAY_INTERFACE, type Lab, labTest, labTool, spaCommand } from "./lab.ts";
import { type Finished, PATIENCE, type Watched } from "./process.ts";

/** Seconds of a grant whose end a test does not wait for, and of one whose end it does. */
const LONG = 250;
const SHORT = 3;

/** Milliseconds: each step is some calls of firewall-cmd, and each of those starts Python. */
const LIMIT = 3 * PATIENCE;

interface Gateway {
  readonly firewalld: Firewalld;
  start(): Promise<Watched>;
  serve(...options: readonly string[]): Promise<Finished>;
}

async function prepare(
  lab: Lab,
  backend: "iptables" | "nftables",
  config: string,
): Promise<Gateway> {
  const firewalld = await startFirewalld(lab, backend);
  const service = lab.gateway.start(labTool("tcp_service", "443", "444"));
  await service.waitFor(/listening on 444/);
  const files = await writeGatewayFiles(
    lab.directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE firewalld\n${config}`,
    STANZA,
  );
  const words = (...options: readonly string[]): string[] =>
    firewalld.words(spaCommand("serve", ...files.options, ...options));
  return {
    firewalld,
    start: async () => {
      const gateway = lab.gateway.start(words("-f"));
      await gateway.waitFor(/Starting fwknopd main event loop/, LIMIT);
      return gateway;
    },
    serve: (...options) => lab.gateway.run(words(...options)),
  };
}

async function knock(lab: Lab, gateway: Watched, port: number, seconds: number): Promise<void> {
  const packet = knockPacket(`tcp/${port}`, ADDRESSES.client, { clientTimeout: seconds });
  await send(lab, packet);
  const added = new RegExp(`Added access rule .* tcp/${port}, expires at`);
  await gateway.waitFor(added, LIMIT);
}

/** Asks again and again, since firewalld tells nobody when it ends a rule. */
async function until(wanted: string, ask: () => Promise<string>): Promise<void> {
  const start = performance.now();
  for (;;) {
    const answer = await ask();
    if (answer === wanted) return;
    ok(performance.now() - start < LIMIT, `it stays: ${answer}`);
  }
}

labTest(
  "firewalld opens by a rich rule and ends it by itself, also after a restart and when spa is killed",
  async (lab) => {
    const keep = "FLUSH_FIREWD_AT_INIT N\nFLUSH_FIREWD_AT_EXIT N\n";
    const { firewalld, start, serve } = await prepare(lab, "nftables", keep);
    const zone = (): Promise<string> => firewalld.command("--zone=public", "--list-all");
    await firewalld.command(
      "--zone=public",
      '--add-rich-rule=rule family="ipv4" source address="203.0.113.1" drop',
    );
    const before = await zone();
    const hidden = await probe(lab, 443);
    ok(hidden !== "open");
    let gateway = await start();
    match(
      gateway.output(),
      /^firewalld: grants are rich rules with a time-out in the zone public$/m,
    );

    await knock(lab, gateway, 443, LONG);
    strictEqual(await probe(lab, 443), "open");
    const probing = labTool("tcp_probe", ADDRESSES.gateway, "443", "5000", "--hold");
    const open = lab.client.start(probing);
    await open.waitFor(/open\nhello/);
    gateway.signal("SIGTERM");
    strictEqual(await gateway.ended, 0);
    gateway = await start();
    await send(lab, knockPacket("tcp/443", ADDRESSES.client, { clientTimeout: 2 * LONG }));
    await gateway.waitFor(/Extended access rule in public .* tcp\/443, expires at/, LIMIT);
    const listing = await serve("--fw-list");
    const rows = listing.stdout.match(/^192\.0\.2\.10 +any +tcp\/443 .*\b\d+ +1 +zone public$/gm);
    strictEqual(rows?.length, 1, listing.stdout);
    strictEqual((await serve("--fw-flush")).status, 0);
    strictEqual(await probe(lab, 443), hidden);
    await open.write("still there?\n");
    await open.waitFor(/echo: still there\?/);
    strictEqual(await zone(), before);

    // The server finds out that it is closed, and opens it no longer than this knock asks.
    await knock(lab, gateway, 443, SHORT);
    strictEqual(await probe(lab, 443), "open");
    await knock(lab, gateway, 444, SHORT);
    gateway.signal("SIGKILL");
    await gateway.ended;
    await until(before, zone);
    strictEqual(await probe(lab, 444), hidden);
  },
  firewalldMissing(),
);

labTest("firewalld opens by fwknopd's direct rules, and closes on time", async (lab) => {
  const { start } = await prepare(lab, "iptables", "ENABLE_FIREWD_DIRECT Y\n");
  const rules = (): Promise<string> => lab.gateway.must(["iptables", "-S"]);
  const before = await rules();
  const hidden = await probe(lab, 443);
  ok(hidden !== "open");
  const gateway = await start();
  match(gateway.output(), /^Added jump rule from chain: INPUT to chain: FWKNOP_INPUT$/m);
  match(gateway.output(), /^firewalld 'comment' match is available$/m);
  await knock(lab, gateway, 443, LONG);
  match(
    await rules(),
    /^-A FWKNOP_INPUT -s 192\.0\.2\.10\/32 -p tcp -m tcp --dport 443 .*_exp_\d+"? -j ACCEPT$/m,
  );
  strictEqual(await probe(lab, 443), "open");
  await knock(lab, gateway, 444, SHORT);
  await gateway.waitFor(/Removed rule 2 from FWKNOP_INPUT with expire time of \d+/, LIMIT);
  strictEqual(await probe(lab, 444), hidden);
  // Each of its last edits is a call of firewall-cmd.
  gateway.signal("SIGTERM");
  await gateway.waitFor(/Shutting Down fwknopd/, LIMIT);
  strictEqual(await gateway.ended, 0);
  strictEqual(await rules(), before);
}, firewalldMissing());
