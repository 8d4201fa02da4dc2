import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { type Datagram, parsePacket } from "../lib/net_datagram.ts";

/** Puts a datagram into an IP packet: the inverse of what is tested. */
function packetOf(
  datagram: Datagram,
  options: { ipOptions?: number; tcpOptions?: number },
): number[] {
  const segment = segmentOf(datagram, options.tcpOptions ?? 0);
  if (datagram.source.length === 16) {
    const length = uint16(segment.length);
    const header = [0x60, 0, 0, 0, ...length, datagram.protocol, 64];
    return [...header, ...datagram.source, ...datagram.destination, ...segment];
  }
  const words = 5 + (options.ipOptions ?? 0);
  return [
    ...[0x40 | words, 0, ...uint16(words * 4 + segment.length), 0, 0, 0x40, 0, 64],
    ...[datagram.protocol, 0, 0, ...datagram.source, ...datagram.destination],
    ...new Array<number>((words - 5) * 4).fill(1),
    ...segment,
  ];
}

function segmentOf(
  { protocol, sourcePort, destinationPort, payload }: Datagram,
  options: number,
): number[] {
  const ports = [...uint16(sourcePort), ...uint16(destinationPort)];
  if (protocol === 17) return [...ports, ...uint16(8 + payload.length), 0, 0, ...payload];
  if (protocol !== 6) return [8, 0, 0, 0, 0, 0, 0, 0, ...payload];
  const header = [...ports, ...new Array<number>(8).fill(0), (5 + options) << 4, 2];
  return [...header, ...new Array<number>(6 + options * 4).fill(0), ...payload];
}

function uint16(number: number): [number, number] {
  return [number >> 8, number & 255];
}

const port = fc.nat(65535);

/** Any datagram of either IP version; ICMP has no ports. */
const anyDatagram: fc.Arbitrary<Datagram> = fc.constantFrom(4, 16).chain((size) => {
  const address = fc.uint8Array({ minLength: size, maxLength: size });
  return fc.record({
    protocol: fc.constantFrom(6, 17, size === 4 ? 1 : 58),
    source: address,
    destination: address,
    sourcePort: port,
    destinationPort: port,
    payload: fc.uint8Array(),
  }, { noNullPrototype: true });
}).map((datagram) =>
  datagram.protocol === 6 || datagram.protocol === 17
    ? datagram
    : { ...datagram, sourcePort: 0, destinationPort: 0 }
);

Deno.test("parsePacket() reads back every datagram, whatever options and padding come with it", () => {
  const options = fc.record({ ipOptions: fc.nat(10), tcpOptions: fc.nat(10) });
  fc.assert(fc.property(anyDatagram, options, fc.uint8Array(), (datagram, chosen, padding) => {
    const packet = Uint8Array.from([...packetOf(datagram, chosen), ...padding]);
    deepStrictEqual(parsePacket(packet), datagram);
  }));
});

Deno.test("parsePacket() reads clients whose address looks like an EtherType", () => {
  // fwknopd takes bytes 12 and 13 of a bare IP packet for one and ignores these clients.
  for (const source of [[5, 6, 7, 8], [129, 0, 1, 2], [0, 0, 0, 1], [170, 170, 1, 1]]) {
    const datagram: Datagram = {
      protocol: 17,
      source: Uint8Array.from(source),
      destination: Uint8Array.of(192, 0, 2, 1),
      sourcePort: 1024,
      destinationPort: 62201,
      payload: Uint8Array.of(1, 2, 3),
    };
    deepStrictEqual(parsePacket(Uint8Array.from(packetOf(datagram, {}))), datagram);
  }
});

Deno.test("parsePacket() says what is wrong with packets that carry no datagram", () => {
  const whole = packetOf({
    protocol: 17,
    source: Uint8Array.of(192, 0, 2, 10),
    destination: Uint8Array.of(192, 0, 2, 1),
    sourcePort: 1024,
    destinationPort: 62201,
    payload: new Uint8Array(20),
  }, {});
  const changed = (offset: number, value: number): Uint8Array =>
    Uint8Array.from(whole.with(offset, value));
  const cases: [string, Uint8Array, string][] = [
    ["an empty packet", new Uint8Array(0), "truncated"],
    ["version 5", changed(0, 0x55), "not-ip"],
    ["a cut packet", Uint8Array.from(whole.slice(0, -1)), "truncated"],
    ["a header length below 5 words", changed(0, 0x44), "truncated"],
    ["a later fragment", changed(7, 1), "fragment"],
    ["a first fragment", changed(6, 0x20), "fragment"],
    ["another protocol", changed(9, 47), "other-protocol"],
    ["a UDP length beyond the packet", changed(25, 255), "truncated"],
    ["a UDP length below its header", changed(25, 7), "truncated"],
  ];
  for (const [name, packet, expected] of cases) {
    strictEqual(parsePacket(packet), expected, name);
  }
});

/** Extension headers, each with the number that announces it; the next header's goes first. */
const EXTENSIONS: Readonly<Record<string, readonly [number, readonly number[]]>> = {
  "hop-by-hop options": [0, [0, 1, 4, 0, 0, 0, 0]],
  "long hop-by-hop options": [0, [1, 1, 12, ...new Array<number>(12).fill(0)]],
  routing: [43, [2, 4, 0, 0, 0, 0, 0, ...new Array<number>(16).fill(9)]],
  "destination options": [60, [0, 1, 4, 0, 0, 0, 0]],
  "an authentication header": [51, [4, 0, 0, ...new Array<number>(20).fill(7)]],
  mobility: [135, [0, 0, 0, 0, 0, 0, 0]],
  "the fragment header of a whole packet": [44, [0, 0, 0, 1, 2, 3, 4]],
};

/** An IPv6 packet with extension headers put into it. */
function extended(plain: readonly number[], ...names: readonly string[]): Uint8Array {
  const headers = names.map((name) => EXTENSIONS[name] ?? [0, []] as const);
  const types = [...headers.map(([type]) => type), plain[6] ?? 0];
  const bytes = headers.flatMap(([, rest], index) => [types[index + 1] ?? 0, ...rest]);
  const length = uint16(plain.length - 40 + bytes.length);
  return Uint8Array.from([
    ...[0x60, 0, 0, 0, ...length, types[0] ?? 0, 64, ...plain.slice(8, 40)],
    ...[...bytes, ...plain.slice(40)],
  ]);
}

Deno.test("parsePacket() reads every IPv6 datagram behind any extension headers", () => {
  const names = fc.array(fc.constantFrom(...Object.keys(EXTENSIONS)), { maxLength: 8 });
  const overIpv6 = anyDatagram.filter(({ source }) => source.length === 16);
  fc.assert(fc.property(overIpv6, names, (datagram, chosen) => {
    deepStrictEqual(parsePacket(extended(packetOf(datagram, {}), ...chosen)), datagram);
  }));
});

Deno.test("parsePacket() refuses IPv6 fragments and headers that are cut short", () => {
  const plain = packetOf({
    protocol: 17,
    source: new Uint8Array(16).fill(1),
    destination: new Uint8Array(16).fill(2),
    sourcePort: 1024,
    destinationPort: 62201,
    payload: Uint8Array.of(7),
  }, {});
  const whole = extended(plain, "the fragment header of a whole packet");
  strictEqual(parsePacket(whole.with(42, 1)), "fragment", "a later fragment");
  strictEqual(parsePacket(whole.with(43, 1)), "fragment", "a first fragment");
  strictEqual(parsePacket(extended(plain, "routing").with(41, 255)), "truncated");
  strictEqual(parsePacket(extended(plain.slice(0, 40), "routing")), "truncated");
});

Deno.test("parsePacket() takes any bytes without throwing", () => {
  const nearPacket = fc.tuple(fc.constantFrom(0x45, 0x46, 0x60), fc.uint8Array({ maxLength: 120 }))
    .map(([first, rest]) => Uint8Array.of(first, ...rest));
  fc.assert(
    fc.property(nearPacket, (bytes) => {
      const result = parsePacket(bytes);
      if (typeof result === "object") strictEqual(result.payload.length <= bytes.length, true);
    }),
    { numRuns: 2000 },
  );
});
