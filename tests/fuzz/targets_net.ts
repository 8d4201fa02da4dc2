// Fuzz targets of the network: frames, IP packets, HTTP requests, addresses and ports.

import { findAddress } from "../../lib/cmd_knock_resolve.ts";
import {
  addressListHas,
  ipFromBytes,
  ipFromValue,
  parseAddressList,
  parseIp,
} from "../../lib/net_address.ts";
import { type Datagram, type PacketProblem, parsePacket } from "../../lib/net_datagram.ts";
import { LINK_TYPES, packetOfFrame } from "../../lib/net_frame.ts";
import { formatHexDump } from "../../lib/net_hex.ts";
import { isHttpRequest, readHttpPacket } from "../../lib/net_http.ts";
import { parseQueueMessages } from "../../lib/net_nfqueue.ts";
import { formatPorts, parsePortList } from "../../lib/net_port.ts";
import { icmpPacket, tcpPacket, udpPacket } from "../../lib/net_raw.ts";
import { loadTransports } from "../vectors.ts";
import {
  bytesOf,
  choiceOf,
  type FuzzTarget,
  latin1Of,
  pick,
  rule,
  sameBytes,
  withChoice,
} from "./target.ts";

/** What comes before the packet, for each link type. */
const HEADERS: Readonly<Record<keyof typeof LINK_TYPES, string>> = {
  null: "02000000",
  ethernet: "0203040506070a0b0c0d0e0f0800",
  ppp: "ff030021",
  pppSerial: "ff030021",
  pppoe: "1100000100e80021",
  rawOld: "",
  raw: "",
  loop: "00000002",
  linuxCooked: "000000010006020304050607" + "0000" + "0800",
  ipv4: "",
  ipv6: "",
  linuxCooked2: "0800000000000002000100060203040506070000",
};
/** Ethernet frames with what may stand in front of the type: VLAN tags, PPPoE, SNAP. */
const TAGGED = [
  "0203040506070a0b0c0d0e0f810000050800",
  "0203040506070a0b0c0d0e0f88a80005810000070800",
  "0203040506070a0b0c0d0e0f886411000001010a0021",
  "0203040506070a0b0c0d0e0f0100aaaa030000000800",
];
/** An IPv6 packet with hop-by-hop options and a UDP datagram of two bytes. */
const IPV6_PACKET = "6000000000120040" + "20010db8000000000000000000000001" +
  "20010db8000000000000000000000002" + "1100050200000000" + "b024f2f9000a00004142";

function hexBytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function ipPackets(): Uint8Array[] {
  const packets = loadTransports().map(({ ip_packet_hex }) => hexBytes(ip_packet_hex));
  return [...packets, hexBytes(IPV6_PACKET)];
}

/** No more bytes than there were, and addresses of one kind. */
function checkDatagram(parsed: Datagram | PacketProblem, packet: Uint8Array): void {
  if (typeof parsed === "string") return;
  const { source, destination, payload, sourcePort, destinationPort } = parsed;
  rule(source.length === destination.length, "addresses of different kinds");
  rule(ipFromBytes(source) !== null && ipFromBytes(destination) !== null, "no addresses");
  rule(payload.length <= packet.length - 28 || payload.length === 0, "a payload out of nothing");
  rule(payload.buffer === packet.buffer, "a payload from elsewhere");
  rule(sourcePort <= 65535 && destinationPort <= 65535, "a port that cannot be");
}

const frame: FuzzTarget = {
  name: "frame",
  rule: "any frame gives an IP packet inside of it, or none",
  seeds: () =>
    ipPackets().flatMap((packet) => [
      ...Object.values(HEADERS).map((header, index) =>
        withChoice(index, Uint8Array.from([...hexBytes(header), ...packet]))
      ),
      ...TAGGED.map((header) => withChoice(1, Uint8Array.from([...hexBytes(header), ...packet]))),
    ]),
  check(input) {
    const [choice, bytes] = choiceOf(input);
    const types = [...Object.keys(HEADERS) as (keyof typeof HEADERS)[]];
    const linkType = LINK_TYPES[pick(types, choice)];
    const packet = packetOfFrame(linkType, bytes);
    if (packet === null) return;
    rule(packet.length <= bytes.length, "a packet longer than its frame");
    rule(packet.byteOffset + packet.length <= bytes.byteOffset + bytes.length, "bytes behind it");
    checkDatagram(parsePacket(packet), packet);
  },
};

const datagram: FuzzTarget = {
  name: "datagram",
  rule: "any IP packet gives a datagram inside of it, or the reason why not",
  seeds: ipPackets,
  check(input) {
    checkDatagram(parsePacket(input), input);
    if (input.length > 1400) return;
    const addressing = {
      source: Uint8Array.of(192, 0, 2, 1),
      destination: Uint8Array.of(192, 0, 2, 2),
      identification: 7,
    };
    const ports = { source: 40000, destination: 62201 };
    for (
      const packet of [
        udpPacket(addressing, ports, input),
        tcpPacket(addressing, ports, input),
        icmpPacket(addressing, { type: 8, code: 0, identifier: 1 }, input),
      ]
    ) {
      const back = parsePacket(packet);
      rule(typeof back !== "string" && sameBytes(back.payload, input), "a payload gets lost");
    }
  },
};

/** A message of the kernel: header, then attributes, each filled up to a multiple of four. */
function queueMessage(id: number, packet: Uint8Array): number[] {
  const attribute = (type: number, value: readonly number[]): number[] => [
    ...[value.length + 4 & 255, value.length + 4 >> 8, type, 0, ...value],
    ...new Array<number>(-value.length & 3).fill(0),
  ];
  const body = [
    ...[2, 0, 0, 0],
    ...attribute(1, [0, 0, 0, id, 8, 0, 1]),
    ...attribute(10, [...packet]),
  ];
  const length = 16 + body.length;
  return [length & 255, length >> 8, 0, 0, 0, 3, ...new Array<number>(10).fill(0), ...body];
}

const queue: FuzzTarget = {
  name: "netfilter-queue",
  rule: "any message gives packets inside of it, no more than have room there",
  seeds: () => [
    ...ipPackets().map((packet, index) => Uint8Array.from(queueMessage(index, packet))),
    Uint8Array.from(ipPackets().slice(0, 3).flatMap((packet) => queueMessage(1, packet))),
    Uint8Array.from([...[36, 0, 0, 0, 2, 0], ...new Array<number>(10).fill(0), 255, 255, 255, 255]),
  ],
  check(input) {
    const { packets, errors } = parseQueueMessages(input);
    rule(packets.length + errors.length <= input.length / 16, "messages out of nothing");
    for (const { id, hook, packet } of packets) {
      rule(Number.isInteger(id) && id >= 0 && id < 2 ** 32 && hook < 256, "an id that cannot be");
      rule(packet.buffer === input.buffer && packet.length <= input.length, "bytes from elsewhere");
      checkDatagram(parsePacket(packet), packet);
    }
  },
};

const http: FuzzTarget = {
  name: "http",
  rule: "of any request, only printable text and no blanks come out",
  seeds: () =>
    [
      "GET /abc-_def HTTP/1.1\r\nUser-Agent: Fwknop/2.6.10\r\nAccept: */*\r\n\r\n",
      "get /abc HTTP/1.0\r\nX-Forwarded-For: 192.0.2.1\r\nUser-Agent: Fwknop\r\n\r\n",
      "GET /http://proxy/abc HTTP/1.1\r\nX-Forwarded-For: \x1b[31m\r\n\r\n",
    ].map((text, index) => withChoice(index, bytesOf(text))),
  words: ["GET /", "User-Agent: Fwknop", "X-Forwarded-For: ", "192.0.2.1", "\r\n", "-", "_"],
  check(input) {
    const [choice, bytes] = choiceOf(input);
    if (!isHttpRequest(bytes)) return;
    const settings = { anyUserAgent: (choice & 1) > 0, forwardedFor: (choice & 2) > 0 };
    const request = readHttpPacket(bytes, settings);
    if (request === null) return;
    rule(!/[\s_-]/.test(request.packet.replaceAll(/[\u0080-\uffff]/g, "")), "not a path's text");
    rule(request.packet.length <= bytes.length, "a packet longer than its request");
    const bad = request.badForwardedFor ?? "";
    rule(/^[\x21-\x7e?]{0,64}$/.test(bad), "an address that would move a terminal's cursor");
    rule(
      settings.forwardedFor || request.forwardedFor === null,
      "an address that nobody asked for",
    );
  },
};

const ADDRESS_WORDS = [
  "ANY",
  "192.0.2.1",
  "10.0.0.0/8",
  "/255.255.0.0",
  "2001:db8::/32",
  "::",
  ":",
  "::ffff:",
  ",",
  " ",
  "/",
  "0",
  "256",
  "tcp/22",
  "udp/",
  "65535",
  "-",
];

const addresses: FuzzTarget = {
  name: "address-and-port-list",
  rule: "what a list of addresses or ports says is found in it, in one spelling",
  seeds: () =>
    [
      "192.0.2.1, 198.51.100.0/24, 203.0.113.0/255.255.255.0, 2001:db8::/32",
      "any",
      "::ffff:192.0.2.1",
      "tcp/22, UDP/53,tcp/22",
      "tcp/1-5",
      "<html>your address: 198.51.100.7 :: 2001:db8::7</html>",
    ].map(bytesOf),
  words: ADDRESS_WORDS,
  check(input) {
    const text = latin1Of(input);
    const address = parseIp(text);
    if (address !== null) {
      const { version, value } = address;
      const again = parseIp(ipFromValue(version, value).text);
      rule(again?.value === value && again.version === version, "an address does not come back");
      rule(version === 6 || address.text === text, "IPv4 in two spellings");
    }
    const list = parseAddressList(text);
    if (list.ok) {
      for (const { version, first, last } of list.value.ranges) {
        rule(first <= last, "a range without addresses");
        for (const value of [first, last]) {
          rule(
            addressListHas(list.value, ipFromValue(version, value)),
            "an end is not in its range",
          );
        }
      }
    } else {
      const { offset, value } = list.fault;
      rule(text.slice(offset).startsWith(value), "a fault that does not stand where it says");
    }
    const ports = parsePortList(text);
    if (ports.ok) {
      const again = parsePortList(formatPorts(ports.value));
      rule(again.ok && formatPorts(again.value) === formatPorts(ports.value), "other ports");
    }
    const found = findAddress(text, input.length % 2 === 0 ? "ipv4" : "ipv6");
    rule(found === null || parseIp(found) !== null, "what was found is no address");
    rule(!/[^\n\x20-\x7e]/.test(formatHexDump(input)), "a dump with control characters");
  },
};

/** All of them. */
export function netTargets(): readonly FuzzTarget[] {
  return [frame, queue, datagram, http, addresses];
}
