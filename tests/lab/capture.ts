// Prints what comes in over INTERFACE and matches FILTER: a line of hexadecimal for each IP packet.

import { loadLibc } from "../../ffi/libc.ts";
import { openPcap } from "../../ffi/libpcap.ts";
import { packetOfFrame } from "../../lib/net_frame.ts";

const [name = "", filter = ""] = Deno.args;
const capture = openPcap({
  interface: name,
  filter,
  snapshotLength: 65_535,
  promiscuous: false,
  incomingOnly: true,
  bufferBytes: 1 << 20,
});
const waiter = loadLibc().waiterFor(capture.fd);
console.log("capturing");
while (await waiter.wait()) {
  for (let frame = capture.next(); frame !== null; frame = capture.next()) {
    const packet = packetOfFrame(capture.linkType, frame);
    if (packet !== null) console.log(packet.toHex());
  }
}
