// Makes a tun interface NAME, which has no link layer, and has each line of standard input, an IP
// packet in hexadecimal, arrive there; see Documentation/networking/tuntap.rst of Linux.

const [name = ""] = Deno.args;
const { symbols: c } = Deno.dlopen("libc.so.6", {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
});
const O_RDWR = 2;
const TUNSETIFF = 0x400454ca;
const IFF_TUN_NO_PI = 0x1001;

const fd = c.open(new TextEncoder().encode("/dev/net/tun\0"), O_RDWR);
// struct ifreq { char name[16]; short flags; ... }
const request = new Uint8Array(40);
request.set(new TextEncoder().encode(name));
new DataView(request.buffer).setUint16(16, IFF_TUN_NO_PI, true);
if (fd < 0 || c.ioctl(fd, BigInt(TUNSETIFF), request) < 0) throw new Error("cannot make a tun");
console.log("made");
let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const packet = Uint8Array.fromHex(line);
    if (c.write(fd, packet, BigInt(packet.length)) < 0) throw new Error("cannot write");
  }
}
