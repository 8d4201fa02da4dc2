// NAT by fwknopd and by `spa serve` with fwknopd's behaviour switched on: the same knocks of the
// same client leave the same rules and the same log.

import assert from "node:assert/strict";
import { savedRules, writeGatewayFiles } from "../lab/gateway.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  openLab,
  spaCommand,
} from "../lab/lab.ts";

/** Stanza lines and what the client asks for. */
interface Knock {
  readonly title: string;
  readonly stanza?: string;
  readonly client: string;
  /** A line that ends what the server has to say; by default its last rule. */
  readonly end?: RegExp;
}

/** One server and its knocks. */
interface Scenario {
  readonly title: string;
  readonly config: string;
  readonly knocks: readonly Knock[];
}

const AS_FWKNOPD = "ENABLE_NAT_PORT_CHECK N\nENABLE_FORWARD_DESTINATION N\nENABLE_STRICT_SNAT N\n" +
  "ENABLE_RULE_RENEWAL N\nENABLE_KERNEL_EXPIRY N\n";
const INNER = `${ADDRESSES.inner}:22`;
const NAT = `-A tcp/8022 -N ${INNER}`;
const LOCAL = `-A tcp/55022 --nat-local -N ${ADDRESSES.gateway}:22`;
const FORCE_NAT = `FORCE_NAT ${ADDRESSES.inner} 22`;
const INSIDE = ADDRESSES.gatewayInside;

const SCENARIOS: readonly Scenario[] = [
  {
    title: "forwarding",
    config: "ENABLE_IPT_FORWARDING Y;",
    knocks: [
      { title: "a host behind", client: NAT },
      { title: "two ports", client: `-A tcp/8022,tcp/8080 -N ${INNER}` },
      { title: "UDP", client: `-A udp/5300 -N ${ADDRESSES.inner}:53` },
      { title: "a client timeout", client: `${NAT} -f 60` },
      { title: "a host name", client: "-A tcp/8022 -N localhost:22" },
      { title: "FORCE_NAT", stanza: FORCE_NAT, client: "-A tcp/8022" },
      { title: "FORCE_NAT before -N", stanza: "FORCE_NAT 198.51.100.9 80", client: NAT },
      {
        title: "FORCE_NAT and FORWARD_ALL",
        stanza: `${FORCE_NAT}\nFORWARD_ALL Y`,
        client: "-A tcp/8022",
        end: /Added DNAT ALL rule/,
      },
      {
        title: "FORWARD_ALL and DISABLE_DNAT",
        stanza: "FORWARD_ALL Y\nDISABLE_DNAT Y",
        client: NAT,
        end: /Added FORWARD ALL rule/,
      },
      {
        title: "a port that RESTRICT_PORTS lists",
        stanza: "RESTRICT_PORTS tcp/3306\nOPEN_PORTS tcp/22",
        client: `-A tcp/22 -N ${ADDRESSES.inner}:3306`,
      },
      {
        title: "local NAT, which is off",
        client: LOCAL,
        end: /requested NAT access, but is not enabled\/supported/,
      },
      {
        title: "a name that does not resolve",
        client: "-A tcp/8022 -N nosuch.invalid:22",
        end: /Unable to resolve Hostname in NAT SPA message/,
      },
    ],
  },
  {
    title: "forwarding with destinations, OUTPUT rules and prepending, without names",
    config: "ENABLE_IPT_FORWARDING Y;\nENABLE_DESTINATION_RULE Y;\nENABLE_IPT_OUTPUT Y;\n" +
      "ENABLE_RULE_PREPEND Y;\nENABLE_NAT_DNS N;",
    knocks: [
      { title: "a host behind", client: NAT },
      {
        title: "FORCE_NAT and FORWARD_ALL",
        stanza: `${FORCE_NAT}\nFORWARD_ALL Y`,
        client: "-A tcp/8022",
        end: /Added DNAT ALL rule/,
      },
      {
        title: "a host name",
        client: "-A tcp/8022 -N localhost:22",
        end: /Received Hostname in NAT SPA message, but hostname is disabled\./,
      },
      { title: "plain access", client: "-A tcp/22", end: /Added OUTPUT rule/ },
    ],
  },
  {
    title: "local NAT",
    config: "ENABLE_IPT_LOCAL_NAT Y;",
    knocks: [
      { title: "a port of the client's choice", client: "-A tcp/22 --nat-local --nat-port 55022" },
      { title: "a target", client: LOCAL },
      { title: "a client timeout", client: `${LOCAL} -f 60` },
      { title: "FORCE_NAT", stanza: FORCE_NAT, client: "-A tcp/8022" },
      {
        title: "a port that RESTRICT_PORTS lists",
        stanza: "RESTRICT_PORTS tcp/3306\nOPEN_PORTS tcp/22",
        client: `-A tcp/22 --nat-local -N ${ADDRESSES.gateway}:3306`,
      },
      {
        title: "a host behind, which is off",
        client: NAT,
        end: /requested NAT access, but is not enabled\/supported/,
      },
    ],
  },
  {
    title: "forwarding and local NAT",
    config: "ENABLE_IPT_FORWARDING Y;\nENABLE_IPT_LOCAL_NAT Y;",
    knocks: [
      { title: "FORCE_NAT and a local target", stanza: FORCE_NAT, client: LOCAL },
      {
        title: "FORWARD_ALL and a local target",
        stanza: "FORWARD_ALL Y",
        client: LOCAL,
        end: /Added DNAT ALL rule/,
      },
    ],
  },
  {
    title: "source translation",
    config: "ENABLE_IPT_FORWARDING Y;\nENABLE_IPT_SNAT Y;",
    knocks: [
      { title: "a host behind", client: NAT, end: /Added SNAT rule/ },
      {
        title: "FORCE_SNAT",
        stanza: `${FORCE_NAT}\nFORCE_SNAT ${INSIDE}`,
        client: "-A tcp/8022",
        end: /Added SNAT rule/,
      },
      {
        title: "FORCE_MASQUERADE",
        stanza: `${FORCE_NAT}\nFORCE_MASQUERADE Y`,
        client: "-A tcp/8022",
        end: /Added SNAT rule/,
      },
      {
        title: "FORCE_MASQUERADE and DISABLE_DNAT",
        stanza: `${FORCE_NAT}\nFORCE_MASQUERADE Y\nDISABLE_DNAT Y`,
        client: "-A tcp/8022",
        end: /Added SNAT rule/,
      },
      {
        title: "FORCE_NAT and FORWARD_ALL",
        stanza: `${FORCE_NAT}\nFORWARD_ALL Y`,
        client: "-A tcp/8022",
        end: /Added SNAT ALL rule/,
      },
      {
        title: "FORWARD_ALL, FORCE_SNAT and DISABLE_DNAT",
        stanza: `FORWARD_ALL Y\nFORCE_SNAT ${INSIDE}\nDISABLE_DNAT Y`,
        client: "-A tcp/8022",
        end: /Added SNAT ALL rule/,
      },
      {
        title: "FORWARD_ALL, FORCE_MASQUERADE and DISABLE_DNAT",
        stanza: "FORWARD_ALL Y\nFORCE_MASQUERADE Y\nDISABLE_DNAT Y",
        client: "-A tcp/8022",
        end: /Added SNAT ALL rule/,
      },
      {
        title: "FORWARD_ALL and FORCE_MASQUERADE, which leads nowhere",
        stanza: "FORWARD_ALL Y\nFORCE_MASQUERADE Y",
        client: "-A tcp/8022",
        end: /Added SNAT ALL rule/,
      },
      {
        title: "FORWARD_ALL and a plain request",
        stanza: "FORWARD_ALL Y",
        client: "-A tcp/8022",
        end: /Added access rule/,
      },
      {
        title: "FORWARD_ALL and a host behind",
        stanza: "FORWARD_ALL Y",
        client: NAT,
        end: /Added SNAT ALL rule/,
      },
    ],
  },
  {
    title: "source translation to one address",
    config: `ENABLE_IPT_FORWARDING Y;\nENABLE_IPT_SNAT Y;\nSNAT_TRANSLATE_IP ${INSIDE};`,
    knocks: [
      { title: "a host behind", client: NAT, end: /Added SNAT rule/ },
      {
        title: "FORCE_MASQUERADE",
        stanza: `${FORCE_NAT}\nFORCE_MASQUERADE Y`,
        client: "-A tcp/8022",
        end: /Added SNAT rule/,
      },
      {
        title: "FORWARD_ALL and FORCE_MASQUERADE",
        stanza: `${FORCE_NAT}\nFORWARD_ALL Y\nFORCE_MASQUERADE Y`,
        client: "-A tcp/8022",
        end: /Added SNAT ALL rule/,
      },
    ],
  },
];

const missing = labMissing() ??
  (hasProgram("fwknop") && hasProgram("fwknopd") ? null : "needs fwknop-client and fwknop-server");

for (const scenario of SCENARIOS) {
  Deno.test({
    name: `rules and log are fwknopd's for ${scenario.title}${missing ? ` (${missing})` : ""}`,
    ignore: missing !== null,
    fn: async () => {
      const lab = await openLab();
      try {
        const theirs = await outcomeOf(lab, ["fwknopd"], scenario, "");
        const ours = await outcomeOf(lab, spaCommand("serve"), scenario, AS_FWKNOPD);
        for (const [index, { title }] of scenario.knocks.entries()) {
          assert.deepEqual(ours.knocks[index], theirs.knocks[index], title);
        }
        assert.deepEqual(ours.rules, theirs.rules);
      } finally {
        await lab.close();
      }
    },
  });
}

interface Outcome {
  /** What each knock left in the log. */
  readonly knocks: readonly string[][];
  /** What all of them left in the firewall. */
  readonly rules: readonly string[];
}

async function outcomeOf(
  lab: Lab,
  server: readonly string[],
  { config, knocks }: Scenario,
  switches: string,
): Promise<Outcome> {
  const stanzas = knocks.map(({ stanza = "" }, index) =>
    `SOURCE ANY\nKEY key-${index}\nHMAC_KEY hmac-${index}\nREQUIRE_SOURCE_ADDRESS Y\n` +
    // Rules that end at the same time would be one rule.
    `FW_ACCESS_TIMEOUT ${300 + 60 * index}\n${stanza}\n`
  );
  const files = await writeGatewayFiles(
    lab.directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\n${config}\n${switches}`,
    stanzas.join(""),
  );
  const gateway = lab.gateway.start([...server, "-f", ...files.options]);
  await gateway.waitFor(/Starting fwknopd main event loop/);
  const logs: string[][] = [];
  for (const [index, { client, end = /Added DNAT rule/ }] of knocks.entries()) {
    const before = gateway.output().length;
    await lab.client.must([
      ...["fwknop", "--no-rc-file", "--no-save-args", "-a", ADDRESSES.client],
      ...["-D", ADDRESSES.gateway, "--key-rijndael", `key-${index}`, "--use-hmac"],
      ...["--key-hmac", `hmac-${index}`, ...client.split(" ")],
    ]);
    const said = await gateway.waitFor(new RegExp(`^[^]{${before}}[^]*(?:${end.source}).*\n`));
    logs.push(told(said[0].slice(before)));
  }
  const rules = (await savedRules(lab.gateway)).split("\n").filter((line) => /FWKNOP/.test(line));
  assert.equal(await gateway.stop(), 0);
  return { knocks: logs, rules: rules.map(withoutEnd) };
}

/** The lines about rules and refusals, without what differs from run to run. */
function told(log: string): string[] {
  return log.split("\n").filter((line) => /Added|NAT|denied/.test(line))
    // Ours says more: which ports are left out, and why a lookup failed.
    .filter((line) => !/NAT leads to one port/.test(line))
    .map((line) => withoutEnd(line).replace(/(Unable to resolve .* message):.*/, "$1"));
}

function withoutEnd(line: string): string {
  return line.replace(/_exp_\d+/, "_exp_").replace(/expires at \d+/, "expires");
}
