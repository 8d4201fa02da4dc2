// Makes tests/vectors/captures: knocks of fwknop and spa over every transport, captured in the lab
// on every kind of link that it has. Needs root, fwknop-client and tcpdump:
//
//     deno run --allow-all scripts/capture_vectors.ts

import { HMAC_KEY, KEY } from "../tests/lab/knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  type Lab,
  labMissing,
  labTool,
  openLab,
  spaCommand,
} from "../tests/lab/lab.ts";
import { must, type Watched } from "../tests/lab/process.ts";

const DIRECTORY = new URL("../tests/vectors/captures/", import.meta.url).pathname;
const IPV6 = { client: "2001:db8::2", gateway: "2001:db8::1" };
/** Frames with a knock are longer than those that open and close a connection. */
const FILTER = "greater 200 and not port 53";

/** A knock asks for the TCP port of its number, so that a test knows which it has. */
interface Knock {
  readonly client: "fwknop" | "spa";
  readonly transport: string;
  readonly ip: 4 | 6;
}

const KNOCKS: readonly Knock[] = [
  ...(["fwknop", "spa"] as const).flatMap((client) =>
    ["udp", "udpraw", "tcp", "tcpraw", "icmp", "http"].map((transport) =>
      ({ client, transport, ip: 4 }) as const
    )
  ),
  ...["udp", "tcp", "http"].map((transport) => ({ client: "spa", transport, ip: 6 }) as const),
];

function command({ client, transport, ip }: Knock, port: number): string[] {
  const [allowed, server] = ip === 4
    ? [ADDRESSES.client, ADDRESSES.gateway]
    : [IPV6.client, IPV6.gateway];
  const program = client === "spa" ? spaCommand("knock") : ["fwknop"];
  const isRaw = /raw|icmp/.test(transport);
  return [
    ...[...program, "--no-rc-file", "--no-save-args", "--key-rijndael", KEY],
    ...["--key-hmac", HMAC_KEY, "--use-hmac", "-P", transport, "-p", "62201"],
    ...["-A", `tcp/${port}`, "-a", allowed, "-D", server],
    ...(isRaw ? ["-Q", ADDRESSES.client] : []),
  ];
}

async function prepare(lab: Lab): Promise<void> {
  for (
    const [host, name, address] of [
      [lab.client, "eth0", IPV6.client],
      [lab.gateway, GATEWAY_INTERFACE, IPV6.gateway],
    ] as const
  ) {
    await host.must(["ip", "address", "add", `${address}/64`, "dev", name, "nodad"]);
  }
  await lab.gateway.must(["iptables", "-P", "INPUT", "ACCEPT"]);
  const accept = `Deno.serve({ hostname: "::", port: 62201 }, () => new Response(""));`;
  await lab.gateway.start([Deno.execPath(), "eval", accept]).waitFor(/Listening/);
}

/** Starts tcpdump on what comes in; as root, since its own user may not write to the directory. */
async function startCapture(lab: Lab, name: string, ...options: string[]): Promise<Watched> {
  const file = `${lab.directory}/${name}.pcap`;
  const capture = lab.gateway.start([
    ...[
      "tcpdump",
      "-n",
      "-U",
      "--immediate-mode",
      "-Q",
      "in",
      "-s",
      "65535",
      "-Z",
      "root",
      "-w",
      file,
    ],
    ...[...options, FILTER],
  ]);
  await capture.waitFor(/listening on/);
  return capture;
}

/** A pcapng file (draft-ietf-opsawg-pcapng) of the frames in a classic one of this machine. */
function toPcapng(classic: Uint8Array): Uint8Array {
  const view = new DataView(classic.buffer);
  const block = (type: number, body: readonly number[]): number[] => {
    const padded = [...body, ...new Array<number>(-body.length & 3).fill(0)];
    const length = words(padded.length + 12);
    return [...words(type), ...length, ...padded, ...length];
  };
  const words = (...numbers: number[]): number[] => [
    ...new Uint8Array(Uint32Array.from(numbers).buffer),
  ];
  const unknownLength = words(0xffffffff, 0xffffffff);
  const bytes = [
    ...block(0x0a0d0d0a, [...words(0x1a2b3c4d), 1, 0, 0, 0, ...unknownLength]),
    ...block(1, words(view.getUint32(20, true), 65_535)),
  ];
  for (let at = 24; at < classic.length;) {
    const length = view.getUint32(at + 8, true);
    const time = BigInt(view.getUint32(at, true)) * 1_000_000n +
      BigInt(view.getUint32(at + 4, true));
    const times = words(Number(time >> 32n), Number(time & 0xffffffffn));
    const frame = classic.subarray(at + 16, at + 16 + length);
    bytes.push(...block(6, [...words(0), ...times, ...words(length, length), ...frame]));
    at += 16 + length;
  }
  return Uint8Array.from(bytes);
}

/** The IP packets of an Ethernet capture, as a tun interface would have them. */
async function throughTun(lab: Lab, ethernet: Uint8Array): Promise<void> {
  const tun = lab.gateway.start(labTool("tun", "raw0"));
  await tun.waitFor(/made/);
  await lab.gateway.must("ip link set raw0 up".split(" "));
  const capture = await startCapture(lab, "raw", "-i", "raw0");
  const view = new DataView(ethernet.buffer);
  for (let at = 24; at < ethernet.length;) {
    const length = view.getUint32(at + 8, true);
    const etherHeader = 14;
    await tun.write(`${ethernet.subarray(at + 16 + etherHeader, at + 16 + length).toHex()}\n`);
    at += 16 + length;
  }
  await settled(`${lab.directory}/raw.pcap`);
  await capture.stop();
}

/** Waits until a capture holds all knocks. */
async function settled(path: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const count = (await must(["tcpdump", "-n", "-r", path, "-q"])).trim().split("\n").length;
    if (count >= KNOCKS.length) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${path} does not get all knocks`);
}

const missing = labMissing();
if (missing !== null) throw new Error(missing);
const lab = await openLab();
try {
  await prepare(lab);
  const captures = [
    await startCapture(lab, "ethernet", "-i", GATEWAY_INTERFACE),
    await startCapture(lab, "cooked", "-i", "any", "-y", "LINUX_SLL"),
    await startCapture(lab, "cooked2", "-i", "any", "-y", "LINUX_SLL2"),
  ];
  for (const [index, knock] of KNOCKS.entries()) {
    const { status, stderr } = await lab.client.run(command(knock, 1000 + index));
    if (status !== 0) throw new Error(`${JSON.stringify(knock)}: ${stderr}`);
  }
  for (const name of ["ethernet", "cooked", "cooked2"]) {
    await settled(`${lab.directory}/${name}.pcap`);
  }
  for (const capture of captures) await capture.stop();
  await throughTun(lab, await Deno.readFile(`${lab.directory}/ethernet.pcap`));
  await Deno.mkdir(DIRECTORY, { recursive: true });
  for (const name of ["ethernet", "cooked", "cooked2", "raw"]) {
    const classic = await Deno.readFile(`${lab.directory}/${name}.pcap`);
    await Deno.writeFile(`${DIRECTORY}${name}.pcap`, classic);
    if (name === "ethernet" || name === "cooked2") {
      await Deno.writeFile(`${DIRECTORY}${name}.pcapng`, toPcapng(classic));
    }
  }
  const lines = KNOCKS.map((knock, index) => JSON.stringify({ port: 1000 + index, ...knock }));
  await Deno.writeTextFile(`${DIRECTORY}knocks.jsonl`, `${lines.join("\n")}\n`);
} finally {
  await lab.close();
}
