// Sends COUNT packets that are no knocks to ADDRESS:PORT, RATE a second, half of them with the look
// of one. Prints when it begins and when it is done.

const [address = "", port = "", count = "0", rate = "1"] = Deno.args;
const TICK = 5;
const LENGTH = 225;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
const target = { transport: "udp", hostname: address, port: Number(port) } as const;
const encoder = new TextEncoder();

function junk(number: number): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(LENGTH));
  if (number % 2 === 0) return bytes;
  return encoder.encode("8" + Array.from(bytes, (byte) => ALPHABET[byte & 63]).join("").slice(1));
}

console.log("begins");
const start = performance.now();
for (let sent = 0; sent < Number(count);) {
  const due = Math.min(Number(count), (performance.now() - start) / 1000 * Number(rate));
  while (sent < due) await socket.send(junk(sent++), target);
  await new Promise((resolve) => setTimeout(resolve, TICK));
}
console.log(`done in ${Math.round(performance.now() - start)} ms`);
socket.close();
