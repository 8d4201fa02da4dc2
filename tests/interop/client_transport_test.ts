// `spa knock` on the real host, against sockets of this test on the loopback interface.

import assert from "node:assert/strict";
import { decodePacket } from "../../lib/spa_packet.ts";
import { spaCommand } from "../lab/lab.ts";
import { type Finished, run } from "../lab/process.ts";

const KEYS = ["--key-rijndael", "fwknoptest", "--key-hmac", "hmactest"];

function knock(args: readonly string[], input?: string): Promise<Finished> {
  const command = spaCommand(
    ...["knock", "--no-rc-file", "--no-save-args", "-A", "tcp/22", ...args],
  );
  return run(command, input === undefined ? {} : { input });
}

function messageIn(wire: string): string | null {
  const encoder = new TextEncoder();
  const decoded = decodePacket(wire, {
    key: encoder.encode("fwknoptest"),
    hmacKey: encoder.encode("hmactest"),
    mode: "CBC",
  });
  return decoded.ok ? decoded.value.message : null;
}

/** Gives the first packet that comes to a fresh socket while the knock runs, and its sender. */
async function receive(
  address: string,
  args: (port: number) => readonly string[],
  input?: string,
): Promise<{ wire: string; from: Deno.NetAddr }> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: address, port: 0 });
  try {
    const { port } = socket.addr as Deno.NetAddr;
    const [ran, [bytes, from]] = await Promise.all([knock(args(port), input), socket.receive()]);
    assert.deepEqual([ran.status, ran.stderr], [0, ""]);
    return { wire: new TextDecoder().decode(bytes), from: from as Deno.NetAddr };
  } finally {
    socket.close();
  }
}

/** Gives all that comes over the first connection to a fresh listener, after answering `reply`. */
async function accept(
  args: (port: number) => readonly string[],
  reply?: string,
): Promise<{ text: string; ran: Finished }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const { port } = listener.addr as Deno.NetAddr;
    const serve = async (): Promise<string> => {
      const connection = await listener.accept();
      const decoder = new TextDecoder();
      const buffer = new Uint8Array(4096);
      let text = "";
      for (let count = await connection.read(buffer); count !== null;) {
        text += decoder.decode(buffer.subarray(0, count));
        const answering = reply !== undefined && text.endsWith("\r\n\r\n");
        count = answering ? null : await connection.read(buffer);
      }
      if (reply !== undefined) await connection.write(new TextEncoder().encode(reply));
      connection.close();
      return text;
    };
    const [ran, text] = await Promise.all([knock(args(port)), serve()]);
    return { text, ran };
  } finally {
    listener.close();
  }
}

Deno.test("knock sends a datagram over IPv4, from the port it is told", async () => {
  const probe = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const { port: free } = probe.addr as Deno.NetAddr;
  probe.close();
  const { wire, from } = await receive("127.0.0.1", (port) => [
    ...[...KEYS, "-a", "1.2.3.4", "-D", "127.0.0.1", "-p", `${port}`, "-S", `${free}`],
  ]);
  assert.equal(messageIn(wire), "1.2.3.4,tcp/22");
  assert.equal(from.port, free);
});

Deno.test("knock sends a datagram over IPv6", async () => {
  const { wire } = await receive("::1", (port) => [
    ...[...KEYS, "-s", "-D", `[::1]:${port}`],
  ]);
  assert.equal(messageIn(wire), "0.0.0.0,tcp/22");
});

Deno.test("knock finds the address of a name", async () => {
  const { wire } = await receive("127.0.0.1", (port) => [
    ...[...KEYS, "-s", "-D", "localhost", "-4", "-p", `${port}`],
  ]);
  assert.equal(messageIn(wire), "0.0.0.0,tcp/22");
});

Deno.test("knock reads both keys from standard input", async () => {
  const { wire } = await receive(
    "127.0.0.1",
    (port) => ["--stdin", "--use-hmac", "-s", "-D", "127.0.0.1", "-p", `${port}`],
    "fwknoptest\nhmactest\n",
  );
  assert.equal(messageIn(wire), "0.0.0.0,tcp/22");
});

Deno.test("knock reads both keys from another descriptor", async () => {
  const words = spaCommand(
    ...["knock", "--no-rc-file", "--no-save-args", "-A", "tcp/22", "-s", "-T", "--json"],
    ...["--use-hmac", "--fd", "9"],
  );
  const script = 'exec 9<<EOF\nfwknoptest\nhmactest\nEOF\nexec "$@"';
  const ran = await run(["sh", "-c", script, "sh", ...words]);
  assert.deepEqual([ran.status, ran.stderr], [0, ""]);
  assert.equal(messageIn(JSON.parse(ran.stdout).packet.data), "0.0.0.0,tcp/22");
});

Deno.test("knock -P tcp writes the packet into a connection", async () => {
  const { text, ran } = await accept((port) => [
    ...[...KEYS, "-s", "-D", "127.0.0.1", "-P", "tcp", "-p", `${port}`],
  ]);
  assert.deepEqual([ran.status, ran.stderr], [0, ""]);
  assert.equal(messageIn(text), "0.0.0.0,tcp/22");
});

Deno.test("knock -P http asks for the packet, also through a proxy", async () => {
  for (const proxied of [false, true]) {
    const { text } = await accept((port) =>
      proxied
        ? [...KEYS, "-s", "-D", "192.0.2.1", "-H", `127.0.0.1:${port}`]
        : [...KEYS, "-s", "-D", "127.0.0.1", "-P", "http", "-p", `${port}`]
    );
    const [, path = ""] = /^GET (?:http:\/\/192\.0\.2\.1)?\/(\S+) HTTP\/1\.1\r\n/.exec(text) ?? [];
    assert.equal(messageIn(path.replaceAll("-", "+").replaceAll("_", "/")), "0.0.0.0,tcp/22");
  }
});

Deno.test("knock -P tcp says why it could not connect", async () => {
  const ran = await knock([...KEYS, "-s", "-D", "127.0.0.1", "-P", "tcp", "-p", "1"]);
  assert.equal(ran.status, 1);
  assert.match(
    ran.stderr,
    /packet not sent: cannot reach 127\.0\.0\.1 port 1 over tcp: Connection refused/,
  );
});

Deno.test("knock -R takes the address from a web service's answer", async () => {
  const body = "203.0.113.7\n";
  const { text, ran } = await accept(
    (
      port,
    ) => [...KEYS, "-T", "--resolve-http-only", "--resolve-url", `http://127.0.0.1:${port}/ip`],
    `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
  assert.match(text, /^GET \/ip HTTP\/1\.1\r\n[^]*user-agent: Fwknop\/2\.6\.11\r\n/i);
  assert.match(ran.stdout, /Message String: 203\.0\.113\.7,tcp\/22/);
});

Deno.test("knock -R says what a web service answered instead", async () => {
  const { ran } = await accept(
    (
      port,
    ) => [...KEYS, "-T", "--resolve-http-only", "--resolve-url", `http://127.0.0.1:${port}/ip`],
    "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  );
  assert.equal(ran.status, 1);
  assert.match(ran.stderr, /Could not resolve IP via: 'http:.*': HTTP status 503/);
});
