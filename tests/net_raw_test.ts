import assert from "node:assert/strict";
import fc from "fast-check";
import { checksum, icmpPacket, tcpPacket, udpPacket } from "../lib/net_raw.ts";

/** A packet that the real fwknop sent; tests/vectors/README.md. */
interface Sent {
  readonly id: string;
  readonly payload: string;
  readonly src_port: number;
  readonly dst_port: number;
  readonly ip_packet_hex: string;
}

const vectors: readonly Sent[] = Deno.readTextFileSync(
  new URL("./vectors/transports.jsonl", import.meta.url),
).trim().split("\n").map((line) => JSON.parse(line));

function vector(id: string): Sent & { readonly bytes: Uint8Array } {
  const found = vectors.find((entry) => entry.id === id);
  assert.ok(found, id);
  const pairs = found.ip_packet_hex.match(/../g) ?? [];
  return { ...found, bytes: Uint8Array.from(pairs, (pair) => parseInt(pair, 16)) };
}

function remake(id: string) {
  const { bytes, payload, src_port: source, dst_port: destination } = vector(id);
  const view = new DataView(bytes.buffer);
  return {
    bytes,
    addressing: {
      source: bytes.slice(12, 16),
      destination: bytes.slice(16, 20),
      identification: view.getUint16(4),
    },
    ports: { source, destination },
    payload: new TextEncoder().encode(payload),
    identifier: view.getUint16(24),
  };
}

/** fwknop leaves the checksums of UDP and TCP out. */
function withoutChecksum(packet: Uint8Array, offset: number): Uint8Array {
  const copy = packet.slice();
  copy.fill(0, offset, offset + 2);
  return copy;
}

Deno.test("udpPacket() makes fwknop's packet, with a checksum", () => {
  const { bytes, addressing, ports, payload } = remake("t-udpraw");
  const packet = udpPacket(addressing, ports, payload);
  assert.deepEqual(withoutChecksum(packet, 26), bytes);
  assert.equal(segmentSum(packet), 0);
});

Deno.test("tcpPacket() makes fwknop's packet, with a checksum", () => {
  const { bytes, addressing, ports, payload } = remake("t-tcpraw");
  const packet = tcpPacket(addressing, ports, payload);
  assert.deepEqual(withoutChecksum(packet, 36), bytes);
  assert.equal(segmentSum(packet), 0);
});

Deno.test("icmpPacket() makes fwknop's packets", () => {
  for (const [id, type] of [["t-icmp", 0], ["t-icmp8", 8]] as const) {
    const { bytes, addressing, identifier, payload } = remake(id);
    assert.deepEqual(icmpPacket(addressing, { type, code: 0, identifier }, payload), bytes);
  }
});

Deno.test("UDP, TCP and IP checksums prove right for any payload", () => {
  const address = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const port = fc.nat(65535);
  fc.assert(fc.property(
    fc.record({ source: address, destination: address, identification: port }),
    fc.record({ source: port, destination: port }),
    fc.uint8Array({ maxLength: 1500 }),
    (addressing, ports, payload) => {
      for (const make of [udpPacket, tcpPacket]) {
        const packet = make(addressing, ports, payload);
        assert.equal(checksum(packet.subarray(0, 20)), 0);
        assert.equal(segmentSum(packet), 0);
      }
      assert.notEqual(new DataView(udpPacket(addressing, ports, payload).buffer).getUint16(26), 0);
    },
  ));
});

/** Zero for a segment whose checksum is right: pseudo header and segment sum up to it. */
function segmentSum(packet: Uint8Array): number {
  const length = packet.length - 20;
  const pseudo = [0, packet[9] ?? 0, length >> 8, length & 0xff];
  return checksum(Uint8Array.from([...packet.subarray(12, 20), ...pseudo, ...packet.subarray(20)]));
}
