// The hidden service of the benchmark: sends datagrams back on the UDP ports FIRST to LAST.

const [first = 0, last = 0] = Deno.args.map(Number);

for (let port = first; port <= last; port++) {
  echo(Deno.listenDatagram({ hostname: "0.0.0.0", port, transport: "udp" }));
}
console.log("echoing");

async function echo(socket: Deno.DatagramConn): Promise<void> {
  for await (const [data, from] of socket) await socket.send(data, from);
}
