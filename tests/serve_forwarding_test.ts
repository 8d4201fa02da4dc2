// What is told of a kernel that does not forward what NAT leads on.

import assert from "node:assert/strict";
import type { FirewallGrant } from "../lib/auth_grant.ts";
import {
  forwardingProblem,
  ipv6ForwardingProblem,
  turnOnForwarding,
  withForwardingWarning,
} from "../lib/serve_forwarding.ts";
import type { Firewall } from "../lib/serve_firewall.ts";
import { NO_LEGACY } from "../lib/serve_firewall_legacy.ts";
import type { FirewallOutcome } from "../lib/serve_firewall_opening.ts";
import { createLog } from "../lib/serve_log.ts";

const IPV6_CONF = "/proc/sys/net/ipv6/conf";

/** A host with these sysctls of IPv6; one without `all/forwarding` has no IPv6. */
function hostWith(sysctls: Readonly<Record<string, string>>) {
  return {
    readTextFile(path: string): string {
      const text = sysctls[path.replace(`${IPV6_CONF}/`, "")];
      if (text === undefined) throw new Error("No such file or directory");
      return `${text}\n`;
    },
    listDirectory(path: string): string[] {
      assert.equal(path, IPV6_CONF);
      return ["all", "default", "eth0", "eth1"];
    },
  };
}

const OFF = { "all/forwarding": "0" };

/** Sysctls, and whether IPv6 may be forwarded by them. */
const HOSTS: readonly (readonly [string, Readonly<Record<string, string>>, boolean])[] = [
  ["forwarding is off", OFF, false],
  ["forwarding is on", { "all/forwarding": "1" }, true],
  ["there is no IPv6", {}, true],
  ["no interface may forward by itself", { ...OFF, "eth1/force_forwarding": "0" }, false],
  ["one interface may forward by itself", { ...OFF, "eth1/force_forwarding": "1" }, true],
];

Deno.test("forwardingProblem() says what to run when the kernel forwards nothing", () => {
  const host = (text: string) => ({ readTextFile: () => text });
  assert.match(forwardingProblem(host("0\n"), true) ?? "", /sysctl -w net\.ipv4\.ip_forward=1$/);
  assert.equal(forwardingProblem(host("1\n"), true), null);
  assert.equal(forwardingProblem(host("0\n"), false), null);
});

Deno.test("turnOnForwarding() sets what is off, and tells of it or why it could not", () => {
  const told: string[] = [];
  const log = {
    info: (line: string) => told.push(line),
    warning: (line: string) => told.push(line),
  };
  const written: string[] = [];
  const host = (text: string, refusal: string | null = null) => ({
    readTextFile: () => text,
    writeTextFile: (path: string, content: string): void => {
      if (refusal !== null) throw new Error(refusal);
      written.push(`${path} ${content}`);
    },
  });
  turnOnForwarding(host("1\n"), log);
  assert.deepEqual([written, told], [[], []]);
  turnOnForwarding(host("0\n"), log);
  assert.deepEqual(written, ["/proc/sys/net/ipv4/ip_forward 1\n"]);
  turnOnForwarding(host("0\n", "Read-only file system"), log);
  assert.match(told.join("\n"), /^Set net\.ipv4\.ip_forward.*\n.*: Read-only file system$/);
});

for (const [name, sysctls, forwards] of HOSTS) {
  Deno.test(`ipv6ForwardingProblem() where ${name}: ${forwards ? "nothing" : "a line"}`, () => {
    const problem = ipv6ForwardingProblem(hostWith(sysctls), true);
    if (forwards) assert.equal(problem, null);
    else assert.match(problem ?? "", /sysctl -w net\.ipv6\.conf\.all\.forwarding=1 .*accept_ra/);
    assert.equal(ipv6ForwardingProblem(hostWith(sysctls), false), null);
  });
}

const TERMS = {
  stanza: 1,
  source: "2001:db8::10",
  destination: "2001:db8::1",
  ports: [{ protocol: "tcp", port: 8022 }],
  seconds: 30,
  expires: 1_795_321_431,
} as const;
const NAT = {
  local: false,
  host: "2001:db8:1::20",
  port: 22,
  all: false,
  translatesDestination: true,
  forcedSource: null,
  masquerade: false,
};
const FORWARDED: FirewallGrant = { ...TERMS, kind: "nat", nat: NAT };

/** What is logged when a grant is opened, and its outcome. */
async function openOn(
  grant: FirewallGrant,
  sysctls: Readonly<Record<string, string>>,
  outcome: FirewallOutcome = { ok: true },
): Promise<{ readonly lines: readonly string[]; readonly outcome: FirewallOutcome }> {
  const lines: string[] = [];
  const steps: string[] = [];
  const firewall: Firewall = {
    get grants() {
      return steps.length;
    },
    kind: "nftables",
    start: () => Promise.resolve(void steps.push("start")),
    retire: () => Promise.resolve(NO_LEGACY),
    clear: () => Promise.resolve(),
    stop: () => Promise.resolve(void steps.push("stop")),
    open: (given) => {
      assert.equal(given, grant);
      return Promise.resolve(outcome);
    },
  };
  const log = createLog(0, (level, text) => lines.push(`${level} ${text}`));
  const watched = withForwardingWarning(firewall, hostWith(sysctls), log);
  await watched.start();
  const given = await watched.open(grant);
  await watched.stop();
  assert.deepEqual(steps, ["start", "stop"]);
  assert.equal(watched.grants, 2);
  return { lines, outcome: given };
}

for (const [name, sysctls, forwards] of HOSTS) {
  Deno.test(`an IPv6 grant that is forwarded where ${name}: ${forwards ? "no " : ""}warning`, async () => {
    const { lines, outcome } = await openOn(FORWARDED, sysctls);
    assert.deepEqual(outcome, { ok: true });
    assert.equal(lines.length, forwards ? 0 : 1);
    if (!forwards) assert.match(lines[0] ?? "", /^warning Access for 2001:db8::10 leads nowhere: /);
  });
}

const NOT_FORWARDED: readonly (readonly [string, FirewallGrant])[] = [
  ["over IPv4", { ...FORWARDED, source: "192.0.2.10", nat: { ...NAT, host: "198.51.100.20" } }],
  ["for the gateway itself", { ...TERMS, kind: "access" }],
  ["by local NAT", { ...FORWARDED, nat: { ...NAT, local: true } }],
];

for (const [name, grant] of NOT_FORWARDED) {
  Deno.test(`a grant ${name} needs no forwarding of IPv6, so nothing is told`, async () => {
    assert.deepEqual((await openOn(grant, OFF)).lines, []);
  });
}

Deno.test("a grant that did not open is told by its own reason alone", async () => {
  const refused = { ok: false, reason: "no NAT for 2001:db8::10" } as const;
  assert.deepEqual(await openOn(FORWARDED, OFF, refused), { lines: [], outcome: refused });
});
