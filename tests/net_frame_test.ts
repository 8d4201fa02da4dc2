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
  {
    name: "Linux cooked v2 with a tag",
    linkType: LINK_TYPES.linuxCooked2,
    header: [0x81, 0x00, ...zeros(18), 0x00, 0x05, 0x08, 0x00],
  },
  {
    name: "Linux cooked v2 with PPPoE",
    linkType: LINK_TYPES.linuxCooked2,
    header: [0x88, 0x64, ...zeros(18), 0x11, 0x00, 0x00, 0x01, 0x00, 0x40, 0x00, 0x57],
  },
  {
    name: "IEEE 802.3 with SNAP",
    linkType: LINK_TYPES.ethernet,
    header: [...zeros(12), 0x00, 0x80, 0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00],
  },
  { name: "PPP", linkType: LINK_TYPES.ppp, header: [0x00, 0x21] },
  { name: "PPP with an address", linkType: LINK_TYPES.ppp, header: [0xff, 0x03, 0x00, 0x57] },
  { name: "PPP, compressed", linkType: LINK_TYPES.pppSerial, header: [0xff, 0x03, 0x21] },
  {
    name: "PPPoE",
    linkType: LINK_TYPES.pppoe,
    header: [0x11, 0x00, 0x00, 0x01, 0x00, 0x40, 0x00, 0x21],
  },
  { name: "raw IP", linkType: LINK_TYPES.raw, header: [] },
  { name: "raw IP by its BSD number", linkType: LINK_TYPES.rawOld, header: [] },
  { name: "raw IPv4", linkType: LINK_TYPES.ipv4, header: [] },
  { name: "raw IPv6", linkType: LINK_TYPES.ipv6, header: [] },
  { name: "BSD loopback", linkType: LINK_TYPES.null, header: [2, 0, 0, 0] },
  { name: "OpenBSD loopback", linkType: LINK_TYPES.loop, header: [0, 0, 0, 2] },
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

Deno.test("packetOfFrame() is tried with every link type that it knows", () => {
  const tried = new Set(HEADERS.map(({ linkType }) => linkType));
  deepStrictEqual(Object.values(LINK_TYPES).filter((linkType) => !tried.has(linkType)), []);
});

Deno.test("packetOfFrame() finds no packet in frames of other protocols", () => {
  const arp = Uint8Array.from([...zeros(12), 0x08, 0x06, ...zeros(28)]);
  strictEqual(packetOfFrame(LINK_TYPES.ethernet, arp), null);
  const discovery = Uint8Array.from([...zeros(12), 0x88, 0x63, ...zeros(28)]);
  strictEqual(packetOfFrame(LINK_TYPES.ethernet, discovery), null);
  const spanningTree = Uint8Array.from([...zeros(12), 0, 38, 0x42, 0x42, 0x03, ...zeros(40)]);
  strictEqual(packetOfFrame(LINK_TYPES.ethernet, spanningTree), null);
  const linkControl = Uint8Array.of(0xff, 0x03, 0xc0, 0x21, 1, 1, 0, 4);
  strictEqual(packetOfFrame(LINK_TYPES.ppp, linkControl), null);
});

Deno.test("packetOfFrame() takes any bytes without throwing", () => {
  const linkType = fc.oneof(fc.constantFrom(...Object.values(LINK_TYPES)), fc.nat());
  fc.assert(fc.property(linkType, fc.uint8Array({ maxLength: 64 }), (type, frame) => {
    const packet = packetOfFrame(type, frame);
    strictEqual(packet === null || packet.length <= frame.length, true);
    if (!isKnownLinkType(type)) strictEqual(packet, null);
  }));
});
