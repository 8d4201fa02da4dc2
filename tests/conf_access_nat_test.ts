// NAT in access.conf: addresses, and what each firewall makes of them.

import assert from "node:assert/strict";
import { finding, stanzaOf } from "./access_files.ts";

Deno.test("FORCE_NAT and FORCE_SNAT are IPv6 addresses only where nftables translates them", () => {
  const lines = "FORCE_NAT 2001:db8::20 80\nFORCE_SNAT 2001:db8::1";
  const nat = "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y";
  for (const firewall of ["nftables\nENABLE_IP6TABLES N", "iptables", "auto"]) {
    const stanza = stanzaOf(lines, `FIREWALL_TYPE ${firewall}\n${nat}`);
    assert.equal(stanza.FORCE_NAT?.address.text, "2001:db8::20");
    assert.equal(stanza.FORCE_SNAT?.text, "2001:db8::1");
  }
  const without = `${nat}\nENABLE_IP6TABLES N`;
  const [target = "", source = ""] = lines.split("\n");
  assert.match(finding(target, "error", without), /invalid FORCE_NAT IP '2001:db8::20'/);
  assert.match(
    finding(`${source}\nFORCE_NAT 192.0.2.1 80`, "error", without),
    /invalid FORCE_SNAT IP '2001:db8::1'.*\nhint: .*IPv6 takes ENABLE_IP6TABLES Y/,
  );
});

Deno.test("a FORCE_NAT that nftables would not forward for is a warning", () => {
  const server = "FIREWALL_TYPE nftables\nENABLE_IPT_LOCAL_NAT Y";
  const told = finding("FORCE_NAT 192.0.2.1 80", "warning", server);
  assert.match(
    told,
    /FORCE_NAT answers only requests for local NAT.*\nhint: set ENABLE_IPT_FORWARDING/,
  );
  const forwards = `${server}\nENABLE_IPT_FORWARDING Y`;
  assert.deepEqual(stanzaOf("FORCE_NAT 192.0.2.1 80", forwards).FORCE_NAT?.port, 80);
});

Deno.test("errors of NAT settings name what is wrong", () => {
  const cases: [lines: string, expected: RegExp][] = [
    ["FORCE_NAT a a", /a\.conf:4:11: .*invalid FORCE_NAT arg 'a a', need <IP> <PORT>/],
    ["FORCE_NAT 192.0.2.1", /invalid FORCE_NAT arg '192\.0\.2\.1', need <IP> <PORT>/],
    ["FORCE_NAT 192.0.2.1 80 81", /invalid FORCE_NAT arg/],
    ["FORCE_NAT 192.0.2.1 99999", /a\.conf:4:21: .*invalid FORCE_NAT port '99999'/],
    ["FORCE_NAT 192.0.2.1 123456", /invalid FORCE_NAT port '123456'/],
    ["FORCE_NAT 192.0.2.1 -1", /invalid FORCE_NAT port '-1'/],
    ["FORCE_NAT 1.2.3.4.9 80", /invalid FORCE_NAT IP '1\.2\.3\.4\.9'/],
    ["FORWARD_ALL Y\nFORCE_SNAT 1.2.3.4.9", /invalid FORCE_SNAT IP '1\.2\.3\.4\.9'/],
  ];
  for (const [lines, expected] of cases) {
    assert.match(finding(lines, "error", "ENABLE_IPT_FORWARDING Y"), expected, lines);
  }
});

/** fwknopd.conf, lines of the stanza, and the error that says what to set. */
const SOURCE_TRANSLATION: readonly [server: string, lines: string, expected: RegExp][] = [
  [
    "ENABLE_IPT_FORWARDING Y",
    "FORCE_NAT 192.0.2.1 80\nFORCE_SNAT 192.0.2.9",
    /a\.conf:5:1: .*FORCE_SNAT requires ENABLE_IPT_SNAT in fwknopd\.conf.*\nhint: set ENABLE_IPT_SNAT Y in /,
  ],
  [
    "ENABLE_IPT_FORWARDING Y",
    "FORCE_NAT 192.0.2.1 80\nFORCE_MASQUERADE Y",
    /FORCE_MASQUERADE requires ENABLE_IPT_SNAT in fwknopd\.conf.*\nhint: set ENABLE_IPT_SNAT Y/,
  ],
  [
    "ENABLE_IPT_SNAT Y",
    "FORWARD_ALL Y\nFORCE_MASQUERADE Y\nDISABLE_DNAT Y",
    /FORCE_MASQUERADE requires either ENABLE_IPT_FORWARDING .*\nhint: set ENABLE_IPT_FORWARDING Y/,
  ],
  [
    "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y",
    "FORWARD_ALL Y\nFORCE_MASQUERADE Y",
    /FORWARD_ALL and FORCE_MASQUERADE without FORCE_NAT require DISABLE_DNAT.*\nhint: set DISABLE_DNAT Y/,
  ],
  [
    "ENABLE_IPT_FORWARDING Y\nENABLE_IPT_SNAT Y",
    "FORWARD_ALL Y\nFORCE_SNAT 192.0.2.9",
    /FORWARD_ALL and FORCE_SNAT without FORCE_NAT require DISABLE_DNAT.*\nhint: set DISABLE_DNAT Y/,
  ],
];

for (const [server, lines, expected] of SOURCE_TRANSLATION) {
  Deno.test(`"${lines}" with "${server}" is refused, and accepted with ENABLE_STRICT_SNAT N`, () => {
    assert.match(finding(lines, "error", server), expected);
    assert.match(finding(lines, "warning", `${server}\nENABLE_STRICT_SNAT N`), /^spa: .*warning/);
  });
}
