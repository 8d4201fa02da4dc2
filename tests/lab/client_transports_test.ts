// Every transport of `spa knock`, captured on the wire and compared with what fwknop sends, while
// the real fwknopd and `spa serve` open ports for them.

import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { checksum } from "../../lib/net_raw.ts";
import { writeGatewayFiles } from "./gateway.ts";
import { HMAC_KEY, KEY, STANZA } from "./knock.ts";
import {
  ADDRESSES,
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTest,
  labTool,
  spaCommand,
} from "./lab.ts";
import { run, type Watched } from "./process.ts";

/** The fields of a packet that say how it travels; what is random or measured is left out. */
interface Fields {
  readonly versionAndLength: number;
  readonly typeOfService: number;
  readonly fragment: number;
  readonly timeToLive: number;
  readonly protocol: number;
  readonly headers: Readonly<Record<string, number>>;
  readonly payload: string;
}

const UDP = 17;
const TCP = 6;
const ICMP = 1;
const IP_HEADER = 20;

function read(packet: Uint8Array, isRaw: boolean): Fields {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const protocol = view.getUint8(9);
  const at = IP_HEADER;
  const destinationPort = view.getUint16(at + 2);
  let headers: Record<string, number>;
  let length = 8;
  if (protocol === UDP) {
    headers = { destinationPort, surplus: view.getUint16(at + 4) - (packet.length - at) };
  } else if (protocol === TCP) {
    length = (view.getUint8(at + 12) >> 4) * 4;
    headers = { destinationPort, length, flags: view.getUint8(at + 13) };
    if (isRaw) {
      headers["sequence"] = view.getUint32(at + 4);
      headers["acknowledgement"] = view.getUint32(at + 8);
      headers["window"] = view.getUint16(at + 14);
      headers["urgent"] = view.getUint16(at + 18);
    }
  } else {
    const [type, code] = [view.getUint8(at), view.getUint8(at + 1)];
    headers = { type, code, sequence: view.getUint16(at + 6) };
    if (type !== 8) headers["identifier"] = view.getUint16(at + 4);
  }
  return {
    versionAndLength: view.getUint8(0),
    typeOfService: view.getUint8(1),
    fragment: view.getUint16(6),
    timeToLive: view.getUint8(8),
    protocol,
    headers,
    payload: new TextDecoder().decode(packet.subarray(at + length)),
  };
}

/** The payload with the packet's data and what is better in ours taken out. */
function shape({ payload }: Fields): string {
  return payload
    .replace(/HTTP\/1\.[01]/, "HTTP/1.x")
    .replace(/^User-Agent: Fwknop\/[\d.]+/m, "User-Agent: Fwknop")
    .replace(/^Host: [\d.]+/m, "Host: address")
    .replace(/[A-Za-z0-9+/_-]{100,}/, "/DATA");
}

/** Zero when the checksum of the IP header is right, and one of UDP, TCP or ICMP likewise. */
function checksums(packet: Uint8Array): { readonly ip: number; readonly transport: number } {
  const length = packet.length - IP_HEADER;
  const pseudo = [...packet.subarray(12, 20), 0, packet[9] ?? 0, length >> 8, length & 0xff];
  const segment = [...packet.subarray(IP_HEADER)];
  return {
    ip: checksum(packet.subarray(0, IP_HEADER)),
    transport: checksum(Uint8Array.from(packet[9] === ICMP ? segment : [...pseudo, ...segment])),
  };
}

const vectors: ReadonlyMap<string, Uint8Array> = new Map(
  Deno.readTextFileSync(new URL("../vectors/transports.jsonl", import.meta.url)).trim().split("\n")
    .map((line) => JSON.parse(line))
    .map(({ id, ip_packet_hex }) => [id, Uint8Array.fromHex(ip_packet_hex)]),
);

interface Case {
  readonly vector: string;
  readonly options: readonly string[];
  /** What to capture; see pcap-filter(7). */
  readonly filter: string;
  readonly isRaw: boolean;
  readonly source: string;
  /** Port it is sent from, where that is given. */
  readonly sourcePort?: number;
}

const STRANGER = "203.0.113.5";

const CASES: readonly Case[] = [
  ordinary("t-udp", ["-P", "udp", "-S", "40001"], "udp port 62201", 40001),
  ordinary("t-tcp", ["-P", "tcp"], "tcp port 62201"),
  ordinary("t-http", ["-P", "http", "-p", "80"], "tcp port 80"),
  raw("t-udpraw", ["-P", "udpraw", "-S", "40002"], "udp port 62201", 40002),
  raw("t-tcpraw", ["-P", "tcpraw"], "tcp port 62201"),
  raw("t-icmp", ["-P", "icmp"], "icmp"),
  raw("t-icmp8", ["-P", "icmp", "--icmp-type", "8", "--icmp-code", "0"], "icmp"),
];

function ordinary(
  vector: string,
  options: readonly string[],
  filter: string,
  sourcePort?: number,
): Case {
  return {
    ...{ vector, options, filter, isRaw: false, source: ADDRESSES.client },
    ...(sourcePort === undefined ? {} : { sourcePort }),
  };
}

function raw(
  vector: string,
  options: readonly string[],
  filter: string,
  sourcePort?: number,
): Case {
  return {
    ...ordinary(vector, [...options, "-Q", STRANGER], filter, sourcePort),
    ...{ isRaw: true, source: STRANGER },
  };
}

const missing = labMissing();
const noFwknopd = hasProgram("fwknopd") ? null : "needs fwknop-server";

function transportTest(
  name: string,
  unable: string | null,
  body: (lab: Lab) => Promise<void>,
): void {
  labTest(name, body, unable);
}

/** A gateway that sniffs everything a knock can travel in, and takes TCP where knocks go. */
async function startSniffing(lab: Lab, server: readonly string[]): Promise<Watched> {
  const open = "-p tcp -m multiport --dports 62201,80 -j ACCEPT".split(" ");
  await lab.gateway.must(["iptables", "-A", "INPUT", ...open]);
  const service = lab.gateway.start(labTool("tcp_service", "62201", "80"));
  await service.waitFor(/listening on 80/);
  const files = await writeGatewayFiles(
    lab.directory,
    `PCAP_INTF ${GATEWAY_INTERFACE}\nPCAP_FILTER udp or tcp or icmp\nENABLE_SPA_OVER_HTTP Y\n`,
    STANZA,
  );
  const gateway = lab.gateway.start([...server, "-f", ...files.options]);
  await gateway.waitFor(/Starting fwknopd main event loop/);
  return gateway;
}

function knock(port: number, ...options: readonly string[]): string[] {
  return spaCommand(
    ...["knock", "--no-rc-file", "--no-save-args", "--key-rijndael", KEY, "--key-hmac", HMAC_KEY],
    ...["-A", `tcp/${port}`, "-a", ADDRESSES.client, "-D", ADDRESSES.gateway, ...options],
  );
}

transportTest(
  "each transport sends the packet fwknop sends, and opens a port on the real fwknopd",
  missing ?? noFwknopd,
  async (lab) => {
    const gateway = await startSniffing(lab, ["fwknopd"]);
    for (const [index, expected] of CASES.entries()) {
      const capture = lab.gateway.start(labTool("capture", GATEWAY_INTERFACE, expected.filter));
      await capture.waitFor(/capturing/);
      const port = 1000 + index;
      const sent = await lab.client.run(knock(port, ...expected.options));
      deepEqual([sent.status, sent.stdout, sent.stderr], [0, "", ""], expected.vector);
      await gateway.waitFor(new RegExp(`Added access rule .* tcp/${port}, expires`));
      // A knock's payload is far longer than any header.
      const [hex] = await capture.waitFor(/^[0-9a-f]{300,}$/m);
      await capture.stop();
      compare(Uint8Array.fromHex(hex), expected);
    }
  },
);

function compare(packet: Uint8Array, expected: Case): void {
  const { vector: id, isRaw, source, sourcePort } = expected;
  const vector = vectors.get(id);
  ok(vector !== undefined, id);
  const [ours, theirs] = [read(packet, isRaw), read(vector, isRaw)];
  deepEqual({ ...ours, payload: shape(ours) }, { ...theirs, payload: shape(theirs) }, id);
  match(shape(ours), /\/DATA/);
  equal([...packet.subarray(12, 16)].join("."), source, id);
  equal([...packet.subarray(16, 20)].join("."), ADDRESSES.gateway, id);
  const view = new DataView(packet.buffer);
  equal(view.getUint16(2), packet.length, id);
  if (sourcePort !== undefined) equal(view.getUint16(IP_HEADER), sourcePort, id);
  // The kernel leaves the checksums of its own packets to the card, and this one has none.
  const { ip, transport } = checksums(packet);
  deepEqual([ip, isRaw ? transport : 0], [0, 0], id);
  if (isRaw && ours.protocol === UDP) notEqual(view.getUint16(IP_HEADER + 6), 0, id);
}

transportTest("each transport that spa serve captures opens a port on it", missing, async (lab) => {
  const gateway = await startSniffing(lab, spaCommand("serve"));
  for (const [index, { options }] of CASES.entries()) {
    const port = 1000 + index;
    const sent = await lab.client.run(knock(port, ...options));
    equal(sent.status, 0, sent.stderr);
    await gateway.waitFor(new RegExp(`Added access rule .* tcp/${port}, expires`));
  }
});

transportTest(
  "a raw packet without -Q has the address that the route gives it",
  missing,
  async (lab) => {
    for (const transport of ["udpraw", "tcpraw", "icmp"]) {
      const filter = `src host ${ADDRESSES.client}`;
      const capture = lab.gateway.start(labTool("capture", GATEWAY_INTERFACE, filter));
      await capture.waitFor(/capturing/);
      const sent = await lab.client.run(knock(22, "-P", transport, "-v"));
      deepEqual([sent.status, sent.stderr], [0, ""]);
      const [hex] = await capture.waitFor(/^[0-9a-f]{300,}$/m);
      await capture.stop();
      const packet = Uint8Array.fromHex(hex);
      deepEqual(checksums(packet), { ip: 0, transport: 0 });
      match(sent.stdout, new RegExp(`bytes sent: ${packet.length}\n`));
      match(sent.stdout, new RegExp(`protocol: ${transport}\n`));
    }
  },
);

const noSetpriv = hasProgram("setpriv") ? null : "needs setpriv of util-linux";

transportTest(
  "a raw transport without the right to it says so, and what to do",
  missing ?? noSetpriv,
  async (lab) => {
    for (const transport of ["udpraw", "tcpraw", "icmp"]) {
      const command = ["setpriv", "--bounding-set=-net_raw", ...knock(22, "-P", transport)];
      const { status, stdout, stderr } = await lab.client.run(command);
      deepEqual([status, stdout], [1, ""]);
      match(
        stderr,
        /^spa: packet not sent: .*Operation not permitted\nhint: .*setcap cap_net_raw\+ep .*\n$/,
      );
    }
  },
);

Deno.test("udp, tcp and http knock where no native library may be loaded", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const main = new URL("../../main.ts", import.meta.url).pathname;
    for (const transport of ["udp", "tcp", "http"]) {
      const ran = await run([
        ...[Deno.execPath(), "run", "--quiet", "--allow-all", "--deny-ffi", main, "knock"],
        ...["--no-rc-file", "--no-save-args", "--key-rijndael", KEY, "-A", "tcp/22"],
        ...["-a", ADDRESSES.client, "-D", "127.0.0.1", "-P", transport],
        ...["-p", String(listener.addr.port)],
      ]);
      deepEqual([ran.status, ran.stdout, ran.stderr], [0, "", ""], transport);
      if (transport !== "udp") (await listener.accept()).close();
    }
  } finally {
    listener.close();
  }
});
