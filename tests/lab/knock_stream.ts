// Knocks at ADDRESS COUNT times, every INTERVAL milliseconds, for one TCP port after the other from
// FIRST on. Prints when it is done.

import { knockPacket } from "./knock.ts";

const [address = "", count = "0", interval = "0", first = "1"] = Deno.args;
const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
const encoder = new TextEncoder();
for (let index = 0; index < Number(count); index++) {
  const packet = encoder.encode(knockPacket(`tcp/${Number(first) + index}`));
  await socket.send(packet, { transport: "udp", hostname: address, port: 62201 });
  await new Promise((resolve) => setTimeout(resolve, Number(interval)));
}
console.log("all sent");
socket.close();
