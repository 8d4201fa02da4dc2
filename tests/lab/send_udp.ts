// Sends each of its further arguments as one datagram to ADDRESS:PORT.

const [address = "", port = "", ...payloads] = Deno.args;
const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
for (const payload of payloads) {
  await socket.send(new TextEncoder().encode(payload), {
    transport: "udp",
    hostname: address,
    port: Number(port),
  });
}
socket.close();
