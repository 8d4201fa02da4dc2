// The same packets of the real client to the real fwknopd and to `spa serve`, set up alike: the same
// decisions in the same log lines, the same rules, the same listings.

import assert from "node:assert/strict";
import { savedRules, writeGatewayFiles } from "../lab/gateway.ts";
import { knockPacket, STANZA } from "../lab/knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTool,
  openLab,
  spaCommand,
} from "../lab/lab.ts";

/** One packet and the stanza it is made for. */
interface Knock {
  readonly title: string;
  /** Lines of its stanza besides SOURCE and the keys. */
  readonly stanza?: string;
  /** Lines of a second stanza with the same keys, behind the first. */
  readonly secondStanza?: string;
  /** Options of the client. */
  readonly client: string;
  /** Keys of the client that differ from those of the stanza. */
  readonly keys?: string;
  /** How often the packet is sent. */
  readonly times?: number;
  /** What one of the lines says; null where nothing is said at all. */
  readonly says: RegExp | null;
  /** A line that comes by itself some time later. */
  readonly later?: RegExp;
}

/** One server and what it gets. */
interface Scenario {
  readonly title: string;
  readonly config?: string;
  /** SOURCE of all stanzas, and what follows it. */
  readonly source?: string;
  readonly options?: readonly string[];
  readonly knocks: readonly Knock[];
}

const SSH = `-A tcp/22 -a ${ADDRESSES.client}`;
const GRANTED = /Added access rule to FWKNOP_INPUT for 192\.0\.2\.10 -> 0\.0\.0\.0\/0 tcp\/22, exp/;
const DENIED = /One or more requested protocol\/ports was denied per access\.conf\./;
const NO_HMAC_MATCH = /INVALID_DATA_HMAC_COMPAREFAIL/;
/** The client's own user name, which a test must not depend on. */
const ALICE = "--spoof-user alice";

/**
 * Of refused packets ours writes no more than some lines a second, so that scenarios with refusals
 * have few stanzas.
 */
const SCENARIOS: readonly Scenario[] = [
  {
    title: "access as stanzas allow it",
    knocks: [
      { title: "one port", client: SSH, says: GRANTED },
      {
        title: "several ports of both protocols",
        client: `-A tcp/22,udp/53,tcp/443 -a ${ADDRESSES.client}`,
        says: /Added access rule .* tcp\/22,udp\/53,tcp\/443, expires/,
      },
      { title: "UDP", client: `-A udp/1194 -a ${ADDRESSES.client}`, says: /Added .* udp\/1194/ },
      { title: "-s", client: "-A tcp/23 -s", says: /Added .* for 192\.0\.2\.10 .* tcp\/23/ },
      {
        title: "another address",
        client: "-A tcp/22 -a 203.0.113.5",
        says: /Added access rule to FWKNOP_INPUT for 203\.0\.113\.5 /,
      },
      {
        title: "a time of the client's",
        client: `-A tcp/24 -a ${ADDRESSES.client} -f 400`,
        stanza: "MAX_FW_TIMEOUT 500",
        says: /tcp\/24/,
      },
      {
        title: "a time beyond the limit",
        client: `-A tcp/25 -a ${ADDRESSES.client} -f 1000`,
        says: /tcp\/25/,
      },
      {
        title: "the required user",
        stanza: "REQUIRE_USERNAME alice",
        client: `-A tcp/26 -a ${ADDRESSES.client} ${ALICE}`,
        says: /Added .* tcp\/26/,
      },
      {
        title: "listed ports",
        stanza: "OPEN_PORTS tcp/27, udp/53",
        client: `-A tcp/27,udp/53 -a ${ADDRESSES.client}`,
        says: /Added .* tcp\/27,udp\/53/,
      },
      {
        title: "a stanza that has not expired",
        stanza: "ACCESS_EXPIRE_EPOCH 4000000000",
        client: `-A tcp/28 -a ${ADDRESSES.client}`,
        says: /Added .* tcp\/28/,
      },
      {
        title: "a second stanza",
        stanza: "REQUIRE_USERNAME bob",
        secondStanza: "OPEN_PORTS tcp/29",
        client: `-A tcp/29 -a ${ADDRESSES.client} ${ALICE}`,
        says: /does not match required username: bob[^]*Added .* tcp\/29/,
      },
    ],
  },
  {
    title: "requests that their stanzas refuse",
    knocks: [
      {
        title: "-s where an address is required",
        stanza: "REQUIRE_SOURCE_ADDRESS Y",
        client: "-A tcp/22 -s",
        says: /Got 0\.0\.0\.0 when valid source IP was required\./,
      },
      {
        title: "another user",
        stanza: "REQUIRE_USERNAME bob",
        client: `${SSH} ${ALICE}`,
        says: /Username in SPA data \(alice\) does not match required username: bob/,
      },
      {
        title: "a port that is not listed",
        stanza: "OPEN_PORTS tcp/22",
        client: `-A tcp/22,tcp/80 -a ${ADDRESSES.client}`,
        says: DENIED,
      },
      {
        title: "a restricted port",
        stanza: "RESTRICT_PORTS tcp/22",
        client: SSH,
        says: DENIED,
      },
    ],
  },
  {
    title: "packets with other keys",
    knocks: [
      { title: "the wrong HMAC key", client: SSH, keys: "right wrong", says: NO_HMAC_MATCH },
      {
        title: "the wrong key",
        client: SSH,
        keys: "wrong right",
        says: /Decryption failed or decrypted data is invalid/,
      },
    ],
  },
  {
    title: "packets of another time",
    knocks: [
      {
        title: "an old packet",
        client: `${SSH} --time-offset-minus 300`,
        says: /SPA data time difference is too great/,
      },
      {
        title: "a packet from the future",
        client: `${SSH} --time-offset-plus 300`,
        says: /SPA data time difference is too great/,
      },
    ],
  },
  {
    title: "requests of other kinds",
    knocks: [
      {
        title: "a command where none is allowed",
        client: `-C /bin/true -a ${ADDRESSES.client}`,
        says: /SPA Command messages are not allowed in the current configuration\./,
      },
      {
        title: "NAT where there is none",
        client: `${SSH} -N ${ADDRESSES.inner}:22`,
        says: /requested NAT access, but is not enabled\/supported/,
      },
    ],
  },
  {
    // fwknopd says so once for each stanza, ours for each packet.
    title: "a stanza that has expired",
    knocks: [
      {
        title: "an expired stanza",
        stanza: "ACCESS_EXPIRE 1/1/2020",
        client: SSH,
        says: /Access stanza has expired/,
      },
    ],
  },
  {
    // fwknopd forgets to end rules of longer chains.
    title: "access that ends",
    knocks: [
      {
        title: "an end",
        stanza: "FW_ACCESS_TIMEOUT 1",
        client: `-A tcp/32 -a ${ADDRESSES.client}`,
        says: /Added .* tcp\/32/,
        later: /Removed rule \d+ from FWKNOP_INPUT with expire time of \d+/,
      },
    ],
  },
  {
    // Ours asks a stanza's HMAC first, so that with more stanzas those before it speak again.
    title: "a packet that comes again",
    knocks: [
      {
        title: "a granted packet",
        client: `-A tcp/30 -a ${ADDRESSES.client}`,
        times: 2,
        says: /Added .* tcp\/30[^]*Replay detected from source IP: 192\.0\.2\.10/,
      },
    ],
  },
  {
    title: "a refused packet that comes again",
    knocks: [
      {
        title: "a packet for another port",
        stanza: "OPEN_PORTS tcp/22",
        client: `-A tcp/31 -a ${ADDRESSES.client}`,
        times: 2,
        says: /was denied per access\.conf\.[^]*Replay detected from source IP: 192\.0\.2\.10/,
      },
    ],
  },
  {
    title: "no stanza for the source",
    source: "203.0.113.0/24",
    knocks: [{
      title: "any packet",
      client: SSH,
      says: /No access data found for source IP: 192\.0\.2\.10/,
    }],
  },
  {
    title: "stanzas for another destination",
    source: "ANY\nDESTINATION 203.0.113.0/24",
    knocks: [{ title: "any packet", client: SSH, says: null }],
  },
  {
    title: "a stanza for this source and destination",
    source: "198.51.100.1, 192.0.2.0/28\nDESTINATION 192.0.2.1",
    knocks: [{ title: "any packet", client: SSH, says: GRANTED }],
  },
  {
    title: "ENABLE_DESTINATION_RULE",
    config: "ENABLE_DESTINATION_RULE Y",
    knocks: [{ title: "one port", client: SSH, says: /192\.0\.2\.10 -> 192\.0\.2\.1 tcp\/22/ }],
  },
  {
    title: "ENABLE_IPT_OUTPUT",
    config: "ENABLE_IPT_OUTPUT Y",
    knocks: [{
      title: "two ports",
      client: `-A tcp/22,udp/53 -a ${ADDRESSES.client}`,
      says: /Added OUTPUT rule to FWKNOP_OUTPUT/,
    }],
  },
  {
    title: "ENABLE_RULE_PREPEND",
    config: "ENABLE_RULE_PREPEND Y",
    knocks: [
      { title: "two ports", client: `-A tcp/22,udp/53 -a ${ADDRESSES.client}`, says: /udp\/53/ },
      { title: "a third", client: `-A tcp/80 -a ${ADDRESSES.client}`, says: /tcp\/80/ },
    ],
  },
  {
    title: "all of these, and chains of other names",
    config: "ENABLE_DESTINATION_RULE Y\nENABLE_IPT_OUTPUT Y\nENABLE_RULE_PREPEND Y\n" +
      "IPT_INPUT_ACCESS DROP, filter, INPUT, 2, KNOCK_IN, 1\n" +
      "IPT_OUTPUT_ACCESS RETURN, mangle, OUTPUT, 1, KNOCK_OUT, 1",
    knocks: [{
      title: "two ports",
      client: `-A tcp/22,udp/53 -a ${ADDRESSES.client}`,
      says: /Added OUTPUT rule to KNOCK_OUT/,
    }],
  },
  {
    title: "a short age limit",
    config: "MAX_SPA_PACKET_AGE 20",
    knocks: [{
      title: "a packet from the future",
      client: `${SSH} --time-offset-plus 60`,
      says: /SPA data time difference is too great/,
    }],
  },
  {
    title: "no age limit",
    config: "ENABLE_SPA_PACKET_AGING N",
    knocks: [{
      title: "a packet of yesterday",
      client: `${SSH} --time-offset-minus 1D`,
      says: GRANTED,
    }],
  },
  {
    title: "--test",
    options: ["--test"],
    knocks: [
      {
        title: "a packet that would be granted",
        client: SSH,
        times: 2,
        says: /--test mode enabled, skipping firewall manipulation\./,
      },
      { title: "a restricted port", stanza: "RESTRICT_PORTS tcp/22", client: SSH, says: DENIED },
    ],
  },
  {
    title: "a UDP server",
    options: ["-U"],
    knocks: [
      { title: "one port", client: SSH, says: GRANTED },
      { title: "the wrong HMAC key", client: SSH, keys: "right wrong", says: NO_HMAC_MATCH },
    ],
  },
];

const missing = labMissing() ??
  (hasProgram("fwknop") && hasProgram("fwknopd") ? null : "needs fwknop-client and fwknop-server");

for (const scenario of SCENARIOS) {
  Deno.test({
    name: `decisions, rules and listings are fwknopd's with ${scenario.title}` +
      (missing === null ? "" : ` (${missing})`),
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        await lab.gateway.must(
          ["iptables", "-A", "INPUT", "-p", "udp", "--dport", "62201", "-j", "ACCEPT"],
        );
        const packets: string[] = [];
        for (const [index, knock] of scenario.knocks.entries()) {
          packets.push(await clientPacket(lab, knock, index));
        }
        const theirs = await outcomeOf(lab, ["fwknopd"], scenario, packets);
        const ours = await outcomeOf(lab, spaCommand("serve"), scenario, packets);
        for (const [index, { title, says }] of scenario.knocks.entries()) {
          const lines = ours.logs[index] ?? [];
          assert.deepEqual(lines, theirs.logs[index], title);
          if (says === null) assert.deepEqual(lines, [], title);
          else assert.match(lines.join("\n"), says, title);
        }
        assert.deepEqual(ours.rules, theirs.rules);
        assert.deepEqual(ours.listing, theirs.listing);
      } finally {
        await lab.close();
      }
    },
  });
}

/** A packet of the real client, made and not sent. */
async function clientPacket(lab: Lab, { client, keys }: Knock, index: number): Promise<string> {
  const [key, hmacKey] = keys?.split(" ").map((key) => key === "right" ? null : key) ?? [];
  const path = `${lab.directory}/packet-${index}`;
  await lab.client.must([
    ...["fwknop", "--no-rc-file", "--no-save-args", "--test", "--save-packet", path],
    ...["-D", ADDRESSES.gateway, "--key-rijndael", key ?? `key-${index}`],
    ...["--use-hmac", "--key-hmac", hmacKey ?? `hmac-${index}`, ...client.split(" ")],
  ]);
  return (await Deno.readTextFile(path)).trim();
}

interface Outcome {
  /** What was said of each knock. */
  readonly logs: readonly string[][];
  readonly rules: readonly string[];
  readonly listing: readonly string[];
}

async function outcomeOf(
  lab: Lab,
  server: readonly string[],
  { config = "", source = "ANY", options = [], knocks }: Scenario,
  packets: readonly string[],
): Promise<Outcome> {
  const stanzas = knocks.flatMap(({ stanza = "", secondStanza }, index) =>
    [stanza, ...(secondStanza === undefined ? [] : [secondStanza])].map((lines) =>
      // Rules that end at the same time would be one rule.
      `SOURCE ${source}\nKEY key-${index}\nHMAC_KEY hmac-${index}\n` +
      `FW_ACCESS_TIMEOUT ${200 + 2 * index}\n${lines}\n`
    )
  );
  const files = await writeGatewayFiles(
    lab.directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\n${config}\n` +
      // fwknopd has a rule for each knock, also for what is open already, and ends it itself.
      (server[0] === "fwknopd" ? "" : "ENABLE_RULE_RENEWAL N\nENABLE_KERNEL_EXPIRY N\n"),
    STANZA.replace("ANY", ADDRESSES.secondClient) + stanzas.join(""),
  );
  const gateway = lab.gateway.start([...server, "-f", ...files.options, ...options]);
  await gateway.waitFor(/Starting fwknopd main event loop|Kicking off UDP server/);
  const markerEnd = options.includes("--test")
    ? /\[192\.0\.2\.11\].*--test mode enabled/
    : config.includes("ENABLE_IPT_OUTPUT Y")
    ? /Added OUTPUT rule .*192\.0\.2\.11/
    : /Added access rule .*192\.0\.2\.11/;
  const logs: string[][] = [];
  for (const [index, { times = 1, later }] of knocks.entries()) {
    const before = gateway.output().length;
    const since = (pattern: RegExp): Promise<RegExpMatchArray> =>
      gateway.waitFor(new RegExp(`^[^]{${before}}[^]*(?:${pattern.source})[^\n]*\n`));
    const packet = packets[index] ?? "";
    for (let count = 0; count < times; count++) await sendFrom(lab, ADDRESSES.client, packet);
    // Packets are judged one after the other: what is said of this one comes after all the rest.
    const marker = knockPacket(`tcp/${10_000 + index}`, ADDRESSES.secondClient);
    await sendFrom(lab, ADDRESSES.secondClient, marker);
    await since(markerEnd);
    if (later !== undefined) await since(later);
    logs.push(told(gateway.output().slice(before)));
  }
  const { stdout } = await lab.gateway.run([...server, ...files.options, ...options, "--fw-list"]);
  const rules = (await savedRules(lab.gateway)).split("\n").filter((line) => line.startsWith("-A"));
  assert.equal(await gateway.stop(), 0);
  return { logs, rules: rules.map(masked), listing: stdout.split("\n").map(masked) };
}

async function sendFrom(lab: Lab, source: string, packet: string): Promise<void> {
  const words = labTool("send_udp", `--from=${source}`, ADDRESSES.gateway, "62201", packet);
  await lab.client.must(words);
}

/** The lines about packets, but for those of the marker, without what differs from run to run. */
function told(log: string): string[] {
  return log.trimEnd().split("\n").filter((line) =>
    line !== "" && !line.includes(ADDRESSES.secondClient)
  ).map(masked);
}

function masked(line: string): string {
  return line.replace(/_exp_\d+/, "_exp_")
    .replace(/(expires at|expire time of) \d+/, "$1")
    .replace(/\(\d+ seconds\)/, "(seconds)")
    .replace(/Entry created: .*/, "Entry created:");
}
