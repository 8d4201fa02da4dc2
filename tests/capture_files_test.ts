// Knocks that the real fwknop and spa sent over every transport, as tcpdump wrote them down on every
// kind of link: scripts/capture_vectors.ts made the files. Read with libpcap, as the server does.

import assert from "node:assert/strict";
import { denoHost } from "../lib/host_deno.ts";
import type { Datagram } from "../lib/net_datagram.ts";
import { isHttpRequest, readHttpPacket } from "../lib/net_http.ts";
import { openPcapFileSource } from "../lib/serve_capture_pcap.ts";
import { checkPacketShape, decodePacket } from "../lib/spa_packet.ts";
import { HMAC_KEY, KEY } from "./lab/knock.ts";

const DIRECTORY = new URL("./vectors/captures/", import.meta.url).pathname;
const FILES = [
  "ethernet.pcap",
  "ethernet.pcapng",
  "cooked.pcap",
  "cooked2.pcap",
  "cooked2.pcapng",
  "raw.pcap",
];

interface Knock {
  /** What it asks for, which names it. */
  readonly port: number;
  readonly client: string;
  readonly transport: string;
  readonly ip: 4 | 6;
}

const KNOCKS: readonly Knock[] = (await Deno.readTextFile(`${DIRECTORY}knocks.jsonl`)).trim()
  .split("\n").map((line) => JSON.parse(line));

/** ICMP, TCP and UDP by their numbers. */
const PROTOCOLS: Readonly<Record<string, number>> = {
  udp: 17,
  udpraw: 17,
  tcp: 6,
  tcpraw: 6,
  http: 6,
  icmp: 1,
};

const native = await denoHost().native();

/** Why nothing can be read here; null when it can. */
function missingLibrary(): string | null {
  try {
    native.openPcapFile(`${DIRECTORY}raw.pcap`, "").close();
    return null;
  } catch (error) {
    if (error instanceof Error && error.name === "PcapMissingError") return "needs libpcap0.8";
    throw error;
  }
}

function read(file: string, filter: string): Datagram[] {
  const source = openPcapFileSource(native, `${DIRECTORY}${file}`, filter);
  const datagrams: Datagram[] = [];
  source.drain(1000, (datagram) => datagrams.push(datagram));
  assert.deepEqual(source.counters?.()?.fragments, 0);
  source.close();
  return datagrams;
}

/** The packet in a payload, wherever its transport has put it. */
function packetIn(payload: Uint8Array): string {
  const settings = { anyUserAgent: false, forwardedFor: false };
  const data = isHttpRequest(payload) ? readHttpPacket(payload, settings)?.packet : payload;
  assert.ok(data !== undefined);
  const shape = checkPacketShape(data);
  assert.ok(shape.ok);
  return shape.value.wire;
}

/** The port that a datagram asks for. */
function requestedPort({ payload }: Datagram): number {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const decoded = decodePacket(packetIn(payload), {
    key: bytes(KEY),
    hmacKey: bytes(HMAC_KEY),
    mode: "CBC",
    ipv6: true,
  });
  assert.ok(decoded.ok);
  return Number(/,tcp\/(\d+)$/.exec(decoded.value.message)?.[1]);
}

function addressText(address: Uint8Array): string {
  return address.length === 4 ? address.join(".") : address.toHex();
}

const missing = missingLibrary();
const suffix = missing === null ? "" : ` (${missing})`;

for (const file of FILES) {
  Deno.test({
    name: `every knock in the capture ${file} is found and decodes${suffix}`,
    ignore: missing !== null,
    fn: () => {
      const found = new Map(read(file, "").map((datagram) => [requestedPort(datagram), datagram]));
      for (const { port, client, transport, ip } of KNOCKS) {
        const what = `${client} ${transport} IPv${ip}`;
        const datagram = found.get(port);
        assert.ok(datagram !== undefined, what);
        assert.equal(datagram.protocol, PROTOCOLS[transport], what);
        const [source, destination, sentTo] = ip === 4
          ? ["192.0.2.10", "192.0.2.1", transport === "icmp" ? 0 : 62201]
          : [
            "20010db8000000000000000000000002",
            "20010db8000000000000000000000001",
            62201,
          ];
        assert.equal(addressText(datagram.source), source, what);
        assert.equal(addressText(datagram.destination), destination, what);
        assert.equal(datagram.destinationPort, sentTo, what);
        assert.equal(datagram.sourcePort === 0, transport === "icmp", what);
      }
      assert.equal(found.size, KNOCKS.length);
    },
  });
}

Deno.test({
  name: `a filter applies to capture files of both formats${suffix}`,
  ignore: missing !== null,
  fn: () => {
    for (
      const [filter, transports] of [["tcp", /^(tcp|http)/], [
        "icmp or udp",
        /^(udp|icmp)/,
      ]] as const
    ) {
      const expected = KNOCKS.filter(({ transport }) => transports.test(transport));
      for (const file of ["ethernet.pcap", "ethernet.pcapng"]) {
        const ports = read(file, filter).map(requestedPort);
        assert.deepEqual(ports, expected.map(({ port }) => port), `${file} ${filter}`);
      }
    }
  },
});
