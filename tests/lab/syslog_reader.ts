// A system logger: prints each datagram that arrives at the socket named by its argument.

const [path = ""] = Deno.args;
const socket = Deno.listenDatagram({ transport: "unixpacket", path });
await Deno.chmod(path, 0o666);
console.log("listening");
for await (const [bytes] of socket) console.log(new TextDecoder().decode(bytes));
