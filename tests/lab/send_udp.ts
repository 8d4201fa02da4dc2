// Sends each of its further arguments as one datagram: [--from=ADDRESS] ADDRESS PORT TEXT...

const from = Deno.args[0]?.startsWith("--from=") ? Deno.args[0].slice("--from=".length) : null;
const [address = "", port = "", ...payloads] = from === null ? Deno.args : Deno.args.slice(1);
const hostname = from ?? "0.0.0.0";
const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
for (const payload of payloads) {
  await socket.send(new TextEncoder().encode(payload), {
    transport: "udp",
    hostname: address,
    port: Number(port),
  });
}
socket.close();
