import assert from "node:assert/strict";
import fc from "fast-check";
import { run } from "../lib/cmd_connect.ts";
import { carry } from "../lib/cmd_connect_carry.ts";
import { findStanza, isSameHost } from "../lib/cmd_connect_stanza.ts";
import type { ByteStream, Host } from "../lib/host.ts";
import { decodePacket } from "../lib/spa_packet.ts";
import { type MemoryHost, memoryHost, type MemorySetup } from "./memory_host.ts";

/** A stream that a test holds both ends of. */
interface Held {
  readonly stream: ByteStream;
  /** Gives the next chunk to whoever reads the stream; null ends it, an error breaks it. */
  feed(chunk: Uint8Array | null | Error): void;
  readonly written: number[];
  readonly events: string[];
  /** While set, writes wait for it. */
  hold: Promise<void> | null;
}

function held(): Held {
  const chunks: (Uint8Array | null | Error)[] = [];
  let wake = (): void => {};
  const own: Held = {
    written: [],
    events: [],
    hold: null,
    feed(chunk) {
      chunks.push(chunk);
      wake();
    },
    stream: {
      async read(into) {
        own.events.push("read");
        while (chunks.length === 0) await new Promise<void>((resolve) => wake = resolve);
        const chunk = chunks[0];
        if (chunk === null || chunk === undefined) return null;
        if (chunk instanceof Error) throw chunk;
        const part = chunk.subarray(0, into.length);
        into.set(part);
        if (part.length === chunk.length) chunks.shift();
        else chunks[0] = chunk.subarray(part.length);
        return part.length;
      },
      async write(bytes) {
        const copy = [...bytes];
        await own.hold;
        own.written.push(...copy);
      },
      closeWrite: () => Promise.resolve(void own.events.push("closeWrite")),
      close: () => void own.events.push("close"),
    },
  };
  return own;
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (numbers: readonly number[]): string =>
  new TextDecoder().decode(Uint8Array.from(numbers));

Deno.test("carry() loses and adds nothing, both ways, whatever the pieces", async () => {
  // Some pieces are longer than any buffer.
  const piece = fc.tuple(fc.integer({ min: 1, max: 100_000 }), fc.nat(255))
    .map(([length, first]) => Uint8Array.from({ length }, (_, index) => first + index * 7));
  const pieces = fc.array(piece, { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(pieces, pieces, async (outgoing, incoming) => {
      const [near, far] = [held(), held()];
      for (const piece of outgoing) near.feed(piece);
      near.feed(null);
      for (const piece of incoming) far.feed(piece);
      const carried = carry(near.stream, far.stream);
      while (!far.events.includes("closeWrite")) await settle();
      far.feed(null);
      assert.equal(await carried, null);
      assert.deepEqual(far.written, outgoing.flatMap((piece) => [...piece]));
      assert.deepEqual(near.written, incoming.flatMap((piece) => [...piece]));
    }),
    { numRuns: 20 },
  );
});

Deno.test("carry() tells the far side when the near one ends, and lets it finish", async () => {
  const [near, far] = [held(), held()];
  const carried = carry(near.stream, far.stream);
  near.feed(bytes("question"));
  near.feed(null);
  await settle();
  assert.equal(text(far.written), "question");
  assert.equal(far.events.at(-1), "closeWrite");
  far.feed(bytes("answer"));
  far.feed(null);
  assert.equal(await carried, null);
  assert.equal(text(near.written), "answer");
  assert.equal(far.events.at(-1), "close");
});

Deno.test("carry() ends when the far side does, though the near one would go on", async () => {
  const [near, far] = [held(), held()];
  const carried = carry(near.stream, far.stream);
  far.feed(bytes("bye"));
  far.feed(null);
  assert.equal(await carried, null);
  assert.equal(text(near.written), "bye");
});

Deno.test("carry() reads no faster than the other side takes", async () => {
  const [near, far] = [held(), held()];
  let release = (): void => {};
  near.hold = new Promise((resolve) => release = resolve);
  const carried = carry(near.stream, far.stream);
  for (let count = 0; count < 10; count++) far.feed(new Uint8Array(1000));
  await settle();
  assert.equal(far.events.filter((event) => event === "read").length, 1);
  release();
  far.feed(null);
  await carried;
  assert.equal(near.written.length, 10_000);
});

Deno.test("carry() says why the far side broke, and nothing when the near one went away", async () => {
  const [near, far] = [held(), held()];
  far.feed(new Error("Connection reset by peer (os error 104)"));
  assert.equal(await carry(near.stream, far.stream), "Connection reset by peer");

  const [gone, alive] = [held(), held()];
  gone.hold = Promise.reject(new Error("Broken pipe (os error 32)"));
  alive.feed(bytes("still there?"));
  assert.equal(await carry(gone.stream, alive.stream), null);
});

Deno.test("isSameHost() compares addresses by value and names without regard to case", () => {
  assert.ok(isSameHost("Gateway.Example.org.", "gateway.example.org"));
  assert.ok(isSameHost("[2001:DB8::1]:62201", "2001:db8:0:0::1"));
  assert.ok(isSameHost("gateway.example.org:5000", "gateway.example.org"));
  assert.ok(!isSameHost("192.0.2.1", "192.0.2.10"));
  assert.ok(!isSameHost("gateway", "gateway.example.org"));
});

const RC = `[default]
KEY fwknoptest
ALLOW_IP 203.0.113.7

[office]
SPA_SERVER 192.0.2.1
ACCESS tcp/22,udp/60001

[office-web]
SPA_SERVER 192.0.2.1
ACCESS tcp/443

[gateway.example.org]
SPA_SERVER_PORT 5000

[behind]
SPA_SERVER 192.0.2.2
ACCESS tcp/2222
NAT_ACCESS 10.0.0.5,22

[twin-a]
SPA_SERVER 192.0.2.3
[twin-b]
SPA_SERVER 192.0.2.3
`;

Deno.test("findStanza() takes the stanza for a host, and never guesses between two", async (t) => {
  const cases: readonly (readonly [host: string, port: number, found: string | RegExp])[] = [
    ["office", 22, "office"],
    ["OFFICE", 443, "office"],
    ["192.0.2.1", 22, "office"],
    ["192.0.2.1", 443, "office-web"],
    ["192.0.2.1", 80, /cannot choose .*: office, office-web have it as SPA_SERVER/],
    ["192.0.2.2", 22, "behind"],
    ["Gateway.example.org", 22, "gateway.example.org"],
    ["192.0.2.3", 22, /cannot choose .*: twin-a, twin-b/],
    ["elsewhere.example", 22, /no stanza of rc is for "elsewhere\.example"/],
    ["default", 22, /no stanza/],
  ];
  for (const [host, port, expected] of cases) {
    await t.step(`${host} ${port}`, () => {
      const found = findStanza(RC, "rc", { host, port });
      if (typeof expected === "string") assert.deepEqual(found, { ok: true, value: expected });
      else assert.match(found.ok ? `found ${found.value}` : found.complaint.text, expected);
    });
  }
});

Deno.test("findStanza() gives the default section for a gateway that only that names", () => {
  const found = findStanza("[default]\nSPA_SERVER gw.example\n", "rc", {
    host: "gw.example",
    port: 22,
  });
  assert.deepEqual(found, { ok: true, value: null });
});

const RC_PATH = "/home/alice/.fwknoprc";

interface Ran extends MemoryHost {
  readonly status: number;
  /** Where it connected to. */
  readonly connections: readonly string[];
  readonly output: string;
  readonly sent: string;
}

async function connect(
  args: readonly string[],
  setup: MemorySetup & { readonly closed?: boolean } = {},
): Promise<Ran> {
  const memory = memoryHost({
    env: { HOME: "/home/alice", LOGNAME: "alice" },
    files: { [RC_PATH]: RC },
    names: { "gateway.example.org": ["192.0.2.9"], "inner.example": ["198.51.100.20"] },
    ...setup,
  });
  const [near, far] = [held(), held()];
  near.feed(bytes("SSH-2.0-client"));
  near.feed(null);
  far.feed(bytes("SSH-2.0-server"));
  const connections: string[] = [];
  const host: Host = {
    ...memory.host,
    standardStream: () => near.stream,
    connectStream: ({ address, port }) => {
      if (setup.closed) return Promise.reject(new Error("Connection refused (os error 111)"));
      connections.push(`${address} ${port} after ${memory.packets.length}`);
      return Promise.resolve({
        ...far.stream,
        closeWrite: () => Promise.resolve(far.feed(null)),
      });
    },
  };
  const status = await run([...args], host);
  return { ...memory, status, connections, output: text(near.written), sent: text(far.written) };
}

function requestIn({ packets }: MemoryHost): string {
  const decoded = decodePacket(packets[0]?.payload ?? "", {
    key: bytes("fwknoptest"),
    mode: "CBC",
  });
  assert.ok(decoded.ok, "the packet can be decoded");
  return decoded.value.message;
}

Deno.test("connect knocks with the host's stanza and reaches the port", async (t) => {
  const cases: ReadonlyArray<
    readonly [args: string[], gateway: string, request: string, reached: string]
  > = [
    [["office", "22"], "192.0.2.1 62201", "tcp/22,udp/60001", "192.0.2.1 22"],
    [["192.0.2.1", "443"], "192.0.2.1 62201", "tcp/443", "192.0.2.1 443"],
    [["-n", "office", "192.0.2.1", "8022"], "192.0.2.1 62201", "tcp/8022", "192.0.2.1 8022"],
    [["gateway.example.org", "22"], "192.0.2.9 5000", "tcp/22", "192.0.2.9 22"],
    [["192.0.2.2", "22"], "192.0.2.2 62201", "tcp/2222", "192.0.2.2 2222"],
    [["-n", "behind", "inner.example", "22"], "192.0.2.2 62201", "tcp/2222", "192.0.2.2 2222"],
    [
      ["-n", "office", "inner.example", "22"],
      "192.0.2.1 62201",
      "tcp/22,udp/60001",
      "198.51.100.20 22",
    ],
    [["-D", "192.0.2.1", "192.0.2.1", "22"], "192.0.2.1 62201", "tcp/22", "192.0.2.1 22"],
    [["-A", "tcp/22,tcp/80", "office", "22"], "192.0.2.1 62201", "tcp/22,tcp/80", "192.0.2.1 22"],
  ];
  for (const [args, gateway, request, reached] of cases) {
    await t.step(args.join(" "), async () => {
      const ran = await connect(args);
      assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
      const [packet, ...more] = ran.packets;
      assert.deepEqual(more, []);
      assert.equal(`${packet?.to.address} ${packet?.to.port}`, gateway);
      assert.equal(requestIn(ran), `203.0.113.7,${request}`);
      assert.deepEqual(ran.connections, [`${reached} after 1`]);
      assert.deepEqual([ran.sent, ran.output], ["SSH-2.0-client", "SSH-2.0-server"]);
    });
  }
});

Deno.test("connect writes nothing of its own to the standard output", async () => {
  const ran = await connect(["-v", "office", "22"], { terminals: ["stdout", "stderr"] });
  assert.deepEqual([ran.status, ran.stdout()], [0, ""]);
  assert.match(ran.stderr(), /SPA Field Values[^]*sent \d+ bytes to 192\.0\.2\.1:62201/);
});

Deno.test("connect keeps no command line, so that ssh does not replace the last knock", async () => {
  const ran = await connect(["office", "22"]);
  assert.deepEqual([...ran.files.keys()], [RC_PATH]);
});

Deno.test("connect says in one line why it cannot connect", async (t) => {
  const cases: ReadonlyArray<
    readonly [args: string[], setup: MemorySetup & { closed?: boolean }, status: number, RegExp]
  > = [
    [[], {}, 2, /give a host and a port\nhint: .*ProxyCommand spa connect %h %p/],
    [["office"], {}, 2, /give a host and a port/],
    [["office", "22", "23"], {}, 2, /give a host and a port/],
    [["office", "ssh"], {}, 2, /"ssh" is not a port/],
    [["office", "0"], {}, 2, /"0" is not a port/],
    [["nowhere", "22"], {}, 2, /no stanza of .*\nhint: .*there are: office, office-web/],
    [["office", "22"], { files: {} }, 2, /no stanza of .*fwknoprc is for "office"/],
    [["-n", "none", "office", "22"], {}, 2, /stanza: \[none\] was not found/],
    [["--fd", "0", "office", "22"], {}, 2, /cannot read keys from the standard input/],
    [["-T", "office", "22"], {}, 2, /invalid option -- 'T'/],
    [["--wait", "office", "22"], {}, 2, /unrecognized option '--wait'/],
    [["--no-rc-file", "-n", "x", "h", "22"], {}, 2, /Cannot set stanza name in --no-rc-file mode/],
    [["-n", "office", "lost.example", "22"], {}, 1, /packet was sent, but .*"lost\.example"/],
    [["--timeout", "1", "office", "22"], { closed: true }, 1, /did not open within 1 s/],
  ];
  for (const [args, setup, status, message] of cases) {
    await t.step(args.join(" "), async () => {
      const ran = await connect(args, setup);
      assert.equal(ran.status, status);
      assert.match(ran.stderr(), message);
      assert.deepEqual([ran.stdout(), ran.output, ran.connections], ["", "", []]);
    });
  }
});

Deno.test("connect --help shows what belongs into ssh's configuration", async () => {
  const ran = await connect(["--help"]);
  assert.equal(ran.status, 0);
  assert.match(ran.stdout(), /ProxyCommand spa connect %h %p/);
  assert.ok(!ran.stdout().includes("--key-gen"), "options that make no connection are not listed");
});
