import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type AddressList,
  addressListHas,
  type IpAddress,
  ipFromBytes,
  ipFromValue,
  parseAddressList,
  parseIp,
  parseIpv4,
  parseIpv6,
} from "../lib/net_address.ts";

const VALID: [text: string, formatted: string, value: bigint][] = [
  ["0.0.0.0", "0.0.0.0", 0n],
  ["192.0.2.1", "192.0.2.1", 0xc0000201n],
  ["255.255.255.255", "255.255.255.255", 0xffffffffn],
  ["::", "::", 0n],
  ["::1", "::1", 1n],
  ["1::", "1::", 1n << 112n],
  ["2001:DB8::8:800:200C:417A", "2001:db8::8:800:200c:417a", 0x20010db80000000000080800200c417an],
  ["2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", 0x20010db8000000000001000000000001n],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", 0x20010db8000000010001000100010001n],
  ["0:0:1::", "0:0:1::", 1n << 80n],
  ["::ffff:192.0.2.1", "::ffff:192.0.2.1", 0xffffc0000201n],
  ["64:ff9b::192.0.2.33", "64:ff9b::c000:221", 0x0064ff9b0000000000000000c0000221n],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", 0x00010002000300040005000600070000n],
];

const INVALID = [
  "",
  " ",
  "10.1",
  "1.2.3",
  "1.2.3.4.9",
  "010.1.2.3",
  "1.2.3.256",
  "1.2.3.4 ",
  " 1.2.3.4",
  "1.2.3.+4",
  "0x01020304",
  "16909060",
  "1.2.3.4\n",
  "gw.example",
  ":",
  ":::",
  ":1",
  "1:",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7:8::",
  "::1:2:3:4:5:6:7:8",
  "12345::",
  "fe80::1%eth0",
  "[::1]",
  "::ffff:192.0.2",
  "::192.0.2.1:1",
  "192.0.2.1::",
  "1:2:3:4:5:6:7:192.0.2.1",
];

function listOf(text: string): AddressList {
  const parsed = parseAddressList(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

function address(text: string): IpAddress {
  const found = parseIp(text);
  assert.ok(found !== null, text);
  return found;
}

Deno.test("parseIp() reads each text form of an address and formats it as RFC 5952 says", () => {
  for (const [text, formatted, value] of VALID) {
    const found = parseIp(text);
    assert.deepEqual(found, { version: text.includes(":") ? 6 : 4, value, text: formatted }, text);
  }
});

Deno.test("parseIp() refuses what is not an address", () => {
  for (const text of INVALID) assert.equal(parseIp(text), null, JSON.stringify(text));
  assert.equal(parseIpv4("::1"), null);
  assert.equal(parseIpv6("192.0.2.1"), null);
});

Deno.test("an address survives formatting and parsing", () => {
  const sparse = fc.array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 });
  fc.assert(fc.property(sparse, (groups) => {
    const value = groups.reduce((sum, group) => sum << 16n | BigInt(group), 0n);
    assert.equal(parseIpv6(ipFromValue(6, value).text)?.value, value);
  }));
  fc.assert(fc.property(fc.bigInt(0n, 0xffffffffn), (value) => {
    assert.equal(parseIpv4(ipFromValue(4, value).text)?.value, value);
  }));
});

Deno.test("ipFromBytes() reads network order and refuses other lengths", () => {
  assert.deepEqual(ipFromBytes(Uint8Array.of(192, 0, 2, 1)), address("192.0.2.1"));
  assert.deepEqual(ipFromBytes(Uint8Array.of(255, 255, 255, 255)), address("255.255.255.255"));
  const bytes = new Uint8Array(16);
  bytes.set([0x20, 0x01, 0x0d, 0xb8]);
  bytes[15] = 1;
  assert.deepEqual(ipFromBytes(bytes), address("2001:db8::1"));
  for (const length of [0, 3, 5, 15, 17]) assert.equal(ipFromBytes(new Uint8Array(length)), null);
});

Deno.test("addressListHas() finds exactly the listed addresses", () => {
  const cases: [list: string, inside: string[], outside: string[]][] = [
    ["ANY", ["0.0.0.0", "255.255.255.255", "::", "2001:db8::1"], []],
    ["any", ["192.0.2.1", "::1"], []],
    ["192.0.2.1", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2", "::c000:201", "::ffff:192.0.2.1"]],
    ["10.9.8.7/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]],
    ["192.0.2.9/255.255.255.248", ["192.0.2.8", "192.0.2.15"], ["192.0.2.7", "192.0.2.16"]],
    ["192.0.2.9/255.255.255.255", ["192.0.2.9"], ["192.0.2.8", "192.0.2.10"]],
    ["192.0.2.9/128.0.0.0", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255"]],
    ["192.0.2.1/32 ,  203.0.113.0/ 24", ["192.0.2.1", "203.0.113.255"], ["192.0.2.2"]],
    ["2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db9::", "192.0.2.1"]],
    ["::1/128,10.0.0.0/8", ["::1", "10.1.1.1"], ["::2", "0.0.0.1"]],
    ["10.0.0.0/8, ANY", ["192.0.2.1", "::1"], []],
  ];
  for (const [text, inside, outside] of cases) {
    const list = listOf(text);
    assert.equal(list.text, text);
    for (const one of inside) assert.equal(addressListHas(list, address(one)), true, one);
    for (const one of outside) assert.equal(addressListHas(list, address(one)), false, one);
  }
});

Deno.test("parseAddressList() tells what is wrong, where, and what would be right", () => {
  const cases: [list: string, offset: number, value: string, why: RegExp, hint: RegExp][] = [
    ["", 0, "", /Error parsing string to IP/, /ANY/],
    ["192.0.2.1,", 10, "", /Error parsing string to IP/, /comma/],
    ["192.0.2.1,,192.0.2.2", 10, "", /Error parsing string to IP/, /comma/],
    ["/24", 0, "/24", /Error parsing string to IP/, /address/],
    ["192.0.2.1, 10.1", 11, "10.1", /Fatal error parsing IP to int for: 10\.1$/, /four decimal/],
    [":ANY", 0, ":ANY", /Fatal error parsing IP to int for: :ANY/, /names/],
    ["!192.0.2.1", 0, "!192.0.2.1", /IP to int/, /not supported/],
    ["gw.example", 0, "gw.example", /IP to int/, /host names/],
    ["192.0.2.1 192.0.2.2", 0, "192.0.2.1 192.0.2.2", /IP to int/, /IPv4/],
    ["192.0.2.0/", 10, "", /Missing mask/, /\/1 to \/32/],
    ["192.0.2.0/0", 10, "0", /Invalid IP mask str '0'/, /ANY/],
    ["192.0.2.0/ 33", 11, "33", /Invalid IP mask str '33'/, /\/32/],
    ["192.0.2.0/+8", 10, "+8", /Invalid IP mask/, /\/32/],
    ["192.0.2.0/24/8", 10, "24/8", /Invalid IP mask/, /\/32/],
    ["192.0.2.0/aaaaaaaaaaaaaaaaaaaaa", 10, "aaaaaaaaaaaaaaaaaaaaa", /Invalid IP mask/, /\/32/],
    ["192.0.2.0/299.255.255.0", 10, "299.255.255.0", /error parsing IP mask/, /255\.255/],
    ["192.0.2.0/255.0.255.0", 10, "255.0.255.0", /contiguous/, /\/32/],
    ["192.0.2.0/0.0.0.0", 10, "0.0.0.0", /Invalid IP mask/, /ANY/],
    ["2001:db8::/0", 11, "0", /Invalid IP mask/, /ANY/],
    ["2001:db8::/129", 11, "129", /Invalid IP mask/, /\/128/],
    ["2001:db8::/255.255.0.0", 11, "255.255.0.0", /Invalid IP mask/, /\/128/],
  ];
  for (const [text, offset, value, why, hint] of cases) {
    const parsed = parseAddressList(text);
    assert.ok(!parsed.ok, text);
    assert.deepEqual([parsed.fault.offset, parsed.fault.value], [offset, value], text);
    assert.match(parsed.fault.why, why, text);
    assert.match(parsed.fault.hint, hint, text);
  }
});

Deno.test("no text makes the address parsers throw", () => {
  const character = fc.constantFrom(..."0123456789.:/,abcfANY! \t\u0000é");
  const texts = fc.oneof(fc.string(), fc.string({ unit: character, maxLength: 60 }));
  fc.assert(fc.property(texts, (text) => {
    parseIp(text);
    const parsed = parseAddressList(text);
    if (!parsed.ok) assert.ok(parsed.fault.offset >= 0 && parsed.fault.offset <= text.length);
  }));
});
