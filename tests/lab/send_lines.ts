// Sends each line of its input as one datagram to ADDRESS:PORT, until the input ends.

const [address = "", port = ""] = Deno.args;
const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
const target = { transport: "udp", hostname: address, port: Number(port) } as const;
const encoder = new TextEncoder();
console.log("ready");
for await (const line of linesOf(Deno.stdin.readable)) {
  await socket.send(encoder.encode(line), target);
}
socket.close();

async function* linesOf(input: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of input.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
