import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { LOCAL_INPUT, parseQueueMessages, type QueuedPacket } from "../lib/net_nfqueue.ts";

/** What a kernel 6.18 sent for a UDP datagram from 127.0.0.1 to itself, and for a refused verdict. */
const RECORDED_ERROR =
  "340000000200000000000000db250000ffffffff20000000030301000000000000000000000000010c0002000000000000000001";

type Attribute = readonly [type: number, value: Uint8Array];

/** One message: the inverse of what is tested. */
function message(type: number, attributes: readonly Attribute[]): number[] {
  const body = attributes.flatMap(([attribute, value]) => [
    ...[...little(value.length + 4), ...little(attribute), ...value],
    ...new Array<number>(-value.length & 3).fill(0),
  ]);
  const length = 20 + body.length;
  return [...little(length), 0, 0, ...little(type), ...new Array<number>(14).fill(0), ...body];
}

function little(number: number): [number, number] {
  return [number & 255, number >> 8];
}

function attributesOf({ id, hook, packet }: QueuedPacket): Attribute[] {
  const header = [id >>> 24, id >>> 16, id >>> 8, id, 0x08, 0x00, hook].map((byte) => byte & 255);
  return [[1, Uint8Array.from(header)], [10, packet]];
}

const PACKET = 3 << 8;
const anyPacket: fc.Arbitrary<QueuedPacket> = fc.record({
  id: fc.nat(0xffffffff),
  hook: fc.nat(4),
  packet: fc.uint8Array({ maxLength: 100 }),
}, { noNullPrototype: true });
/** What else the kernel tells of a packet: mark, time stamp, interface, hardware address, ... */
const otherAttribute: fc.Arbitrary<Attribute> = fc.tuple(
  fc.integer({ min: 3, max: 9 }),
  fc.uint8Array({ maxLength: 20 }),
);

Deno.test("parseQueueMessages() reads back every packet, whatever else is told of it", () => {
  const told = fc.tuple(anyPacket, fc.array(otherAttribute), fc.array(otherAttribute));
  fc.assert(fc.property(fc.array(told, { maxLength: 4 }), (all) => {
    const bytes = all.flatMap(([packet, before, after]) => {
      const [header, payload] = attributesOf(packet) as [Attribute, Attribute];
      return message(PACKET, [...before, header, ...after, payload]);
    });
    deepStrictEqual(
      parseQueueMessages(Uint8Array.from(bytes)),
      { packets: all.map(([packet]) => packet), errors: [] },
    );
  }));
});

Deno.test("parseQueueMessages() tells what the kernel refuses, and passes over what is else", () => {
  const refused = Uint8Array.fromHex(RECORDED_ERROR);
  deepStrictEqual(parseQueueMessages(refused), { packets: [], errors: [1] });
  // An acknowledgement is an error message of number zero.
  const acknowledged = refused.map((byte, index) => index >= 16 && index < 20 ? 0 : byte);
  const queued: QueuedPacket = { id: 7, hook: LOCAL_INPUT, packet: Uint8Array.of(0x45) };
  const bytes = [...acknowledged, ...message(3, []), ...message(PACKET, attributesOf(queued))];
  deepStrictEqual(parseQueueMessages(Uint8Array.from(bytes)), { packets: [queued], errors: [] });
});

Deno.test("parseQueueMessages() leaves out a packet without an id or without content", () => {
  const queued: QueuedPacket = { id: 7, hook: LOCAL_INPUT, packet: Uint8Array.of(0x45) };
  const [header, payload] = attributesOf(queued) as [Attribute, Attribute];
  const cut: Attribute = [1, Uint8Array.of(0, 0, 0, 7)];
  for (const attributes of [[], [header], [payload], [cut, payload]]) {
    const bytes = Uint8Array.from(message(PACKET, attributes));
    deepStrictEqual(parseQueueMessages(bytes).packets, []);
  }
});

Deno.test("parseQueueMessages() takes any bytes without throwing", () => {
  const whole = message(PACKET, attributesOf({ id: 1, hook: 1, packet: new Uint8Array(40) }));
  const damaged = fc.tuple(
    fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 }),
    fc.nat(whole.length),
  ).map(([changes, length]) => {
    const bytes = Uint8Array.from(whole);
    for (const [offset, value] of changes) bytes[offset] = value;
    return bytes.subarray(0, length);
  });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      const { packets } = parseQueueMessages(bytes);
      strictEqual(packets.every(({ packet }) => packet.length <= bytes.length), true);
    }),
    { numRuns: 2000 },
  );
});
