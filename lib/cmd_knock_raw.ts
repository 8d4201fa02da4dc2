// The raw transports: the packet with IP and transport headers of our own. Loaded only for them.

import type { Transmission } from "./cmd_knock_send.ts";
import type { Endpoint, Host } from "./host.ts";
import { parseIpv4 } from "./net_address.ts";
import { readUint16 } from "./net_bytes.ts";
import { icmpPacket, type RawAddressing, tcpPacket, udpPacket } from "./net_raw.ts";

/** Sends the payload and gives the bytes of the whole packet; throws what the system says. */
export async function sendRawPacket(
  to: Endpoint,
  packet: Transmission,
  host: Host,
): Promise<number> {
  const socket = await host.openRawSocket();
  try {
    const destination = addressBytes(to.address);
    const source = packet.spoofSource === null
      ? socket.sourceFor(destination)
      : addressBytes(packet.spoofSource);
    const identification = drawNumber(host);
    const bytes = build(packet, { source, destination, identification }, host);
    return socket.send(bytes, destination);
  } finally {
    socket.close();
  }
}

function build(packet: Transmission, addressing: RawAddressing, host: Host): Uint8Array {
  const payload = new TextEncoder().encode(packet.payload);
  const ports = { source: packet.sourcePort, destination: packet.port };
  switch (packet.transport) {
    case "udpraw":
      return udpPacket(addressing, ports, payload);
    case "tcpraw":
      return tcpPacket(addressing, ports, payload);
    default:
      return icmpPacket(addressing, { ...packet.icmp, identifier: drawNumber(host) }, payload);
  }
}

function drawNumber(host: Host): number {
  return readUint16(host.randomBytes(2), 0);
}

/** The caller has seen to it that the address is IPv4. */
function addressBytes(address: string): Uint8Array {
  const { value } = parseIpv4(address) ?? { value: 0n };
  return Uint8Array.from([24n, 16n, 8n, 0n], (shift) => Number(value >> shift & 0xffn));
}
