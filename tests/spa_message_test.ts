import assert from "node:assert/strict";
import {
  checkMessage,
  checkNatAccess,
  checkServerAuth,
  checkUsername,
  hasClientTimeout,
  hasNatAccess,
  isMessageText,
  type MessageType,
  messageTypeFor,
  messageTypeName,
  parseAccessMessage,
  parseCommandMessage,
  parseNatAccess,
} from "../lib/spa_message.ts";

const TYPES: readonly MessageType[] = [0, 1, 2, 3, 4, 5, 6];

Deno.test("parseAccessMessage() takes an address and ports apart", () => {
  assert.deepEqual(parseAccessMessage("192.0.2.10,tcp/22"), {
    address: "192.0.2.10",
    ports: [{ protocol: "tcp", port: 22 }],
  });
  assert.deepEqual(parseAccessMessage("0.0.0.0,udp/00053,tcp/65535,tcp/22,tcp/22"), {
    address: "0.0.0.0",
    ports: [
      { protocol: "udp", port: 53 },
      { protocol: "tcp", port: 65535 },
      { protocol: "tcp", port: 22 },
      { protocol: "tcp", port: 22 },
    ],
  });
});

Deno.test("parseAccessMessage() gives nothing for what is no access request", () => {
  const messages = [
    "",
    ",",
    "192.0.2.10",
    "192.0.2.10,",
    ",tcp/22",
    "192.0.2.10,tcp/22,",
    "192.0.2.10,,tcp/22",
    "192.0.2.10,tcp/0",
    "192.0.2.10,tcp/65536",
    "192.0.2.10,tcp/000022",
    "192.0.2.10,tcp/-1",
    "192.0.2.10,tcp/ 22",
    "192.0.2.10,tcp/22 ",
    "192.0.2.10,tcp/22\n",
    "192.0.2.10,tcp/22-25",
    "192.0.2.10,TCP/22",
    "192.0.2.10,icmp/8",
    "192.0.2.10,none/0",
    "192.0.2.10,tcp",
    "192.0.2.10,id",
    "192.0.2.256,tcp/22",
    "192.0.2,tcp/22",
    "192.0.2.1.1,tcp/22",
    "192..2.1,tcp/22",
    "010.1.1.1,tcp/22",
    "192.0.2.00,tcp/22",
    "0x7f.1.1.1,tcp/22",
    "2130706433,tcp/22",
    " 192.0.2.10,tcp/22",
    "2001:db8::1,tcp/22",
    "host.example,tcp/22",
  ];
  for (const message of messages) assert.equal(parseAccessMessage(message), null, message);
});

Deno.test("messages name IPv6 addresses where that is asked for, in one form only", () => {
  const table: ReadonlyArray<readonly [address: string, good: boolean]> = [
    ["2001:db8::1", true],
    ["::1", true],
    ["::", true],
    ["2001:db8:0:1:1:1:1:1", true],
    ["192.0.2.10", true],
    ["2001:DB8::1", false],
    ["2001:db8:0::1", false],
    ["2001:0db8::1", false],
    ["2001:db8::1:1:1:1:1", false],
    ["::ffff:192.0.2.10", false],
    ["fe80::1%eth0", false],
    ["[2001:db8::1]", false],
    ["2001:db8::/32", false],
    ["2001:db8::1 ", false],
    ["010.1.1.1", false],
  ];
  const ipv6 = true;
  for (const [address, good] of table) {
    const isIpv6 = address.includes(":");
    const access = `${address},tcp/22`;
    assert.deepEqual(
      parseAccessMessage(access, { ipv6 }),
      good ? { address, ports: [{ protocol: "tcp", port: 22 }] } : null,
      address,
    );
    const command = `${address},id`;
    const request = good ? { address, command: "id" } : null;
    assert.deepEqual(parseCommandMessage(command, { ipv6 }), request, address);
    if (!isIpv6) continue;
    assert.equal(parseCommandMessage(command), null, address);
    assert.equal(isMessageText(0, command), false, address);
    assert.equal(isMessageText(1, access), false, address);
    assert.equal(isMessageText(1, access, { ipv6 }), good, address);
    assert.equal(checkMessage(1, access)?.code, 100, address);
    assert.equal(checkMessage(1, access, { ipv6 })?.code ?? 0, good ? 0 : 100, address);
  }
});

Deno.test("parseCommandMessage() takes an address and a command apart", () => {
  const table = [
    ["192.0.2.10,id", { address: "192.0.2.10", command: "id" }],
    ["192.0.2.10, a,b:c\n\udcff ", { address: "192.0.2.10", command: " a,b:c\n\udcff " }],
    ["192.0.2.10,", null],
    ["192.0.2.10", null],
    [",id", null],
    ["192.0.2.010,id", null],
    ["host,id", null],
  ] as const;
  for (const [message, request] of table) {
    assert.deepEqual(parseCommandMessage(message), request, message);
  }
});

Deno.test("parseNatAccess() takes hosts and addresses, and nothing that is neither", () => {
  const label = "a".repeat(63);
  const table = [
    ["10.0.0.1,22", { host: "10.0.0.1", port: 22 }],
    ["www.example.org,00080", { host: "www.example.org", port: 80 }],
    ["a-1,65535", { host: "a-1", port: 65535 }],
    ["3com.example,1", { host: "3com.example", port: 1 }],
    [`${label},1`, { host: label, port: 1 }],
    [`${label}a,1`, null],
    [",22", null],
    ["a", null],
    ["a,", null],
    ["a,0", null],
    ["a,65536", null],
    ["a,1,", null],
    ["a,b,1", null],
    ["-a,1", null],
    ["a-,1", null],
    ["a..b,1", null],
    ["a.,1", null],
    ["a_b,1", null],
    ["999.1.1.1,22", null],
    ["010.0.0.1,22", null],
    ["1,22", null],
    ["a b,1", null],
    ["::1,22", null],
    ["$(id),22", null],
    ["\udcff,22", null],
  ] as const;
  for (const [text, target] of table) assert.deepEqual(parseNatAccess(text), target, text);
  const six = [
    ["2001:db8::20,22", { host: "2001:db8::20", port: 22 }],
    ["2001:DB8::20,22", null],
    ["::ffff:192.0.2.1,22", null],
    ["[2001:db8::20],22", null],
    ["2001:db8::20", null],
  ] as const;
  for (const [text, target] of six) {
    assert.deepEqual(parseNatAccess(text, { ipv6: true }), target, text);
    assert.equal(parseNatAccess(text), null, text);
  }
});

Deno.test("a client timeout chooses between the two forms of a message type", () => {
  assert.deepEqual(TYPES.map((type) => messageTypeFor(type, 0)), [0, 1, 2, 1, 2, 5, 5]);
  assert.deepEqual(TYPES.map((type) => messageTypeFor(type, 1)), [0, 3, 4, 3, 4, 6, 6]);
  assert.deepEqual(TYPES.filter(hasNatAccess), [2, 4, 5, 6]);
  assert.deepEqual(TYPES.filter(hasClientTimeout), [3, 4, 6]);
});

Deno.test("message types have the names that field dumps print", () => {
  assert.deepEqual(TYPES.map(messageTypeName), [
    "Command msg",
    "Access msg",
    "NAT access msg",
    "Client timeout access msg",
    "Client timeout NAT access msg",
    "Local NAT access msg",
    "Client timeout local NAT access msg",
  ]);
});

/** What libfko's setter said of each; asked through its API. */
const MESSAGE_CODES: readonly (readonly [string, command: number, access: number])[] = [
  ["", 80, 80],
  [",", 101, 100],
  ["192.0.2.1", 101, 102],
  ["192.0.2.1,", 101, 102],
  ["192.0.2.1,tcp/22", 0, 0],
  ["192.0.2.1,tcp/22,", 0, 102],
  ["192.0.2.1,tcp/0", 0, 102],
  ["192.0.2.1,udp/00022", 0, 0],
  ["192.0.2.1,udp/000022", 0, 102],
  ["192.0.2.1,none/0", 0, 102],
  ["192.0.2.1,\u0001\udcff", 0, 102],
  ["01.2.3.4,tcp/22", 0, 0],
  ["0377.1.1.1,tcp/1", 0, 0],
  ["0400.1.1.1,tcp/1", 101, 100],
  ["08.2.3.4,tcp/22", 101, 100],
  ["256.2.3.4,tcp/22", 101, 100],
  ["1.2.3,tcp/22", 101, 100],
  ["1.2.3.4.5,tcp/22", 101, 100],
  ["0000000001.1.1.1,tcp/22", 101, 100],
  ["garbage", 101, 100],
  [`192.0.2.1,${"x".repeat(245)}`, 0, 102],
  [`192.0.2.1,${"x".repeat(246)}`, 94, 94],
  [`192.0.2.1,${"é".repeat(123)}`, 94, 94],
];

Deno.test("checkMessage() refuses what libfko's setter refuses, with the same code", () => {
  for (const [message, command, access] of MESSAGE_CODES) {
    assert.equal(checkMessage(0, message)?.code ?? 0, command, message);
    for (const type of TYPES.slice(1)) {
      assert.equal(checkMessage(type, message)?.code ?? 0, access, `${type} ${message}`);
    }
  }
  assert.equal(checkMessage(0, "192.0.2.1,a\0b")?.code, 101);
});

Deno.test("checkNatAccess() refuses what libfko's setter refuses, and hosts no one can have", () => {
  const table: readonly (readonly [string, number])[] = [
    ["", 85],
    ["a,1", 0],
    ["10.0.0.1,65535", 0],
    ["999.1.1.1,00022", 0],
    [`${"x".repeat(70)},1`, 0],
    [`${"x".repeat(71)},1`, 103],
    ["x".repeat(127), 103],
    ["x".repeat(128), 94],
    ["a", 103],
    ["a,", 103],
    ["a,0", 103],
    ["a,65536", 103],
    ["a,000001", 103],
    ["a,1,", 103],
    ...[..." /?\"'\\"].map((character) => [`a${character}b,1`, 103] as const),
    [",1", 103],
    ["a\tb,1", 103],
    ["a\udcff,1", 103],
  ];
  for (const [text, code] of table) assert.equal(checkNatAccess(text)?.code ?? 0, code, text);
});

Deno.test("checkUsername() tells a bad first character from a later one", () => {
  for (let code = 1; code < 0x180; code++) {
    const character = String.fromCharCode(code);
    const valid = code >= 0x20 && code < 0x7f && !'"/\\[]:;|=,+*?<>'.includes(character);
    assert.equal(checkUsername(character)?.code ?? 0, valid ? 0 : 90, `${code}`);
    assert.equal(checkUsername(`a${character}`)?.code ?? 0, valid ? 0 : 91, `${code}`);
  }
  assert.equal(checkUsername("")?.code, 89);
  assert.equal(checkUsername("a".repeat(63)), null);
  assert.equal(checkUsername("a".repeat(64))?.code, 94);
});

Deno.test("checkServerAuth() limits the length only, but for NUL", () => {
  assert.equal(checkServerAuth("")?.code, 87);
  assert.equal(checkServerAuth("\u0001: \udcff".padEnd(63, "x"))?.code ?? 0, 0);
  assert.equal(checkServerAuth("x".repeat(64))?.code, 94);
  assert.equal(checkServerAuth("a\0b")?.code, 4);
});
