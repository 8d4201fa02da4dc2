import assert from "node:assert/strict";
import fc from "fast-check";
import { formatPorts, parsePortList, type ProtocolPort } from "../lib/net_port.ts";

Deno.test("parsePortList() reads protocols in any case, skips blanks and gives each entry once", () => {
  const cases: [text: string, ports: string][] = [
    ["tcp/22", "tcp/22"],
    ["TCP/22,Udp/53", "tcp/22,udp/53"],
    [" tcp/22 ,\tudp/53 ", "tcp/22,udp/53"],
    ["tcp/0,tcp/65535", "tcp/0,tcp/65535"],
    ["tcp/22, udp/22, tcp/22, TCP/022", "tcp/22,udp/22"],
  ];
  for (const [text, ports] of cases) {
    const parsed = parsePortList(text);
    assert.ok(parsed.ok, text);
    assert.equal(formatPorts(parsed.value), ports);
  }
});

Deno.test("parsePortList() tells what is wrong, where, and what to write", () => {
  const cases: [text: string, offset: number, value: string, why: RegExp, hint: RegExp][] = [
    ["", 0, "", /Parse error on access port entry: $/, /tcp\/PORT/],
    ["tcp/22,", 7, "", /Parse error/, /comma/],
    ["tcp", 0, "tcp", /Parse error on access port entry: tcp/, /tcp\/PORT/],
    ["ANY", 0, "ANY", /Parse error/, /leave the variable out/],
    ["tcp/22, icmp/22", 8, "icmp/22", /Invalid protocol in access port entry: icmp\/22/, /tcp/],
    ["22/tcp", 0, "22/tcp", /Invalid protocol/, /^write tcp\/22$/],
    ["tcp/22-25", 0, "tcp/22-25", /range/, /^write tcp\/22,tcp\/23,tcp\/24,tcp\/25$/],
    ["udp/1:3", 0, "udp/1:3", /range/, /^write udp\/1,udp\/2,udp\/3$/],
    ["tcp/1-65535", 0, "tcp/1-65535", /range/, /one item for each port/],
    ["tcp/25-22", 0, "tcp/25-22", /range/, /one item for each port/],
    ["tcp/22 udp/53", 0, "tcp/22 udp/53", /Parse error/, /comma between/],
    ["tcp/", 0, "tcp/", /Parse error/, /tcp\/0 to 65535/],
    ["tcp/abc", 0, "tcp/abc", /Parse error/, /65535/],
    ["tcp/22abc", 0, "tcp/22abc", /Parse error/, /65535/],
    ["tcp/-1", 0, "tcp/-1", /Parse error/, /65535/],
    ["tcp/65536", 0, "tcp/65536", /Invalid port 'tcp\/65536'.*\[0,65535\]/, /65535/],
    ["tcp/4294967318", 0, "tcp/4294967318", /Invalid port/, /65535/],
  ];
  for (const [text, offset, value, why, hint] of cases) {
    const parsed = parsePortList(text);
    assert.ok(!parsed.ok, text);
    assert.deepEqual([parsed.fault.offset, parsed.fault.value], [offset, value], text);
    assert.match(parsed.fault.why, why, text);
    assert.match(parsed.fault.hint, hint, text);
  }
});

Deno.test("a port list survives formatting and parsing", () => {
  const entry = fc.record<ProtocolPort>(
    { protocol: fc.constantFrom("tcp", "udp"), port: fc.nat(65535) },
    { noNullPrototype: true },
  );
  const lists = fc.uniqueArray(entry, { minLength: 1, selector: (one) => formatPorts([one]) });
  fc.assert(fc.property(lists, (ports) => {
    assert.deepEqual(parsePortList(formatPorts(ports)), { ok: true, value: ports });
  }));
});

Deno.test("no text makes parsePortList() throw", () => {
  const character = fc.constantFrom(..."0123456789/,-: tcpudp\t\u0000é");
  fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: character })), (text) => {
    parsePortList(text);
  }));
});
