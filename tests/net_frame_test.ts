import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { isKnownLinkType, LINK_TYPES, packetOfFrame } from "../lib/net_frame.ts";

/** What stands before an IPv4 packet, for each way a frame can begin. */
const HEADERS: readonly { name: string; linkType: number; header: readonly number[] }[] = [
  { name: "Ethernet", linkType: LINK_TYPES.ethernet, header: [...zeros(12), 0x08, 0x00] },
  {
    name: "Ethernet with an 802.1Q tag",
    linkType: LINK_TYPES.ethernet,
    header: [...zeros(12), 0x81, 0x00, 0x00, 0x05, 0x08, 0x00],
  },
  {
    name: "Ethernet with two tags",
    linkType: LINK_TYPES.ethernet,
    header: [...zeros(12), 0x88, 0xa8, 0x00, 0x02, 0x81, 0x00, 0x00, 0x05, 0x08, 0x00],
  },
  {
    name: "Ethernet with PPPoE",
    linkType: LINK_TYPES.ethernet,
    header: [...zeros(12), 0x88, 0x64, 0x11, 0x00, 0x00, 0x01, 0x00, 0x40, 0x00, 0x21],
  },
  { name: "Linux cooked", linkType: LINK_TYPES.linuxCooked, header: [...zeros(14), 0x08, 0x00] },
  {
    name: "Linux cooked v2",
    linkType: LINK_TYPES.linuxCooked2,
    header: [0x08, 0x00, ...zeros(18)],
  },
  { name: "raw IP", linkType: LINK_TYPES.raw, header: [] },
  { name: "BSD loopback", linkType: LINK_TYPES.null, header: [2, 0, 0, 0] },
];

function zeros(count: number): number[] {
  return new Array<number>(count).fill(0);
}

for (const { name, linkType, header } of HEADERS) {
  Deno.test(`packetOfFrame() finds the packet in a frame of ${name}`, () => {
    fc.assert(fc.property(fc.uint8Array(), (packet) => {
      deepStrictEqual(packetOfFrame(linkType, Uint8Array.from([...header, ...packet])), packet);
    }));
  });
}

Deno.test("packetOfFrame() finds no packet in frames of other protocols", () => {
  const arp = Uint8Array.from([...zeros(12), 0x08, 0x06, ...zeros(28)]);
  strictEqual(packetOfFrame(LINK_TYPES.ethernet, arp), null);
  const discovery = Uint8Array.from([...zeros(12), 0x88, 0x63, ...zeros(28)]);
  strictEqual(packetOfFrame(LINK_TYPES.ethernet, discovery), null);
});

Deno.test("packetOfFrame() takes any bytes without throwing", () => {
  const linkType = fc.oneof(fc.constantFrom(...Object.values(LINK_TYPES)), fc.nat());
  fc.assert(fc.property(linkType, fc.uint8Array({ maxLength: 64 }), (type, frame) => {
    const packet = packetOfFrame(type, frame);
    strictEqual(packet === null || packet.length <= frame.length, true);
    if (!isKnownLinkType(type)) strictEqual(packet, null);
  }));
});
