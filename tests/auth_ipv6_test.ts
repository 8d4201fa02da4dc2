// Requests that name an IPv6 address: judged like all others, though fwknop refuses them.

import assert from "node:assert/strict";
import { iptablesPlanner } from "../lib/fw_iptables.ts";
import type { MessageType } from "../lib/spa_message.ts";
import { DEFAULT_CONFIG } from "./fake_iptables.ts";
import { type Bench, openBench, stanzasOf } from "./gateway_fixture.ts";
import { SAMPLE_TIME as TIME, samplePacket } from "./sample_packet.ts";

const STANZA = "SOURCE ANY\nKEY TestKey\nHMAC_KEY TestHmacKey\n";

function send(lines: string, messageType: MessageType, message: string): [string, Bench] {
  const bench = openBench(stanzasOf(STANZA + lines), { time: TIME });
  return [bench.send(samplePacket({ messageType, message }, { ipv6: true })), bench];
}

Deno.test("a request for an IPv6 address is granted to it, and held to the stanza", () => {
  const [outcome, { requests }] = send("", 1, "2001:db8::10,tcp/22");
  const grant = requests[0]?.grant;
  assert(grant?.kind === "access", outcome);
  assert.deepEqual([grant.source, grant.ports], ["2001:db8::10", [{ protocol: "tcp", port: 22 }]]);
  assert.equal(send("OPEN_PORTS tcp/443\n", 1, "2001:db8::10,tcp/22")[0], "port-denied");
  assert.equal(
    send("REQUIRE_SOURCE_ADDRESS Y\n", 1, "::,tcp/22")[0],
    "source-address-required",
  );
  const [, command] = send("ENABLE_CMD_EXEC Y\n", 0, "2001:db8::10,id");
  assert.deepEqual(command.requests[0]?.grant, {
    kind: "command",
    stanza: 1,
    source: "2001:db8::10",
    command: "id",
  });
});

Deno.test("iptables says that it cannot open for an IPv6 address", () => {
  const [, { requests }] = send("", 1, "2001:db8::10,tcp/22");
  const grant = requests[0]?.grant;
  assert(grant?.kind === "access");
  assert.deepEqual(iptablesPlanner(DEFAULT_CONFIG).rulesFor(grant), {
    ok: false,
    reason: "iptables opens for IPv4 addresses only, not for 2001:db8::10",
  });
});
