// What the options of `spa knock` put into the packet, and where it goes.

import assert from "node:assert/strict";
import { run } from "../lib/cmd_knock.ts";
import { type DecodedPacket, decodePacket } from "../lib/spa_packet.ts";
import { memoryHost } from "./memory_host.ts";
import { ENV, knockBare, open, REQUEST } from "./knock_run.ts";

Deno.test("knock sends one packet that says what was asked for, and prints nothing", async () => {
  const ran = await knockBare(REQUEST);
  assert.deepEqual([ran.status, ran.stdout(), ran.stderr()], [0, "", ""]);
  const [packet, ...others] = ran.packets;
  assert.deepEqual(others, []);
  assert.equal(packet?.over, "udp");
  assert.deepEqual(packet?.to, { address: "192.0.2.1", port: 62201 });
  const fields = open(packet?.payload ?? "");
  assert.equal(fields.message, "1.2.3.4,tcp/22");
  assert.equal(fields.username, "alice");
  assert.equal(fields.timestamp, 1_795_000_000);
  assert.equal(fields.messageType, 1);
});

Deno.test("knock's options shape the packet", async (t) => {
  const cases: ReadonlyArray<readonly [options: string[], fields: Partial<DecodedPacket>]> = [
    [["-s"], { message: "0.0.0.0,tcp/22" }],
    [["-f", "60"], { clientTimeout: 60, messageType: 3 }],
    [["-f", "1m30s"], { clientTimeout: 90, messageType: 3 }],
    [["-f", "0"], { clientTimeout: 0, messageType: 1 }],
    [["-U", "bob"], { username: "bob" }],
    [["-U", ""], { username: "alice" }],
    [["-m", "sha512"], { digestType: "SHA512" }],
    [["--time-offset-plus", "1h"], { timestamp: 1_795_003_600 }],
    [["--time-offset-minus", "1h"], { timestamp: 1_794_996_400 }],
    [["--time-offset-plus", "1h", "--time-offset-minus", "1s"], { timestamp: 1_794_999_999 }],
    [["-C", "uptime; ls"], { message: "1.2.3.4,uptime; ls", messageType: 0 }],
    [["-C", "uptime", "-f", "60"], { messageType: 0, clientTimeout: 0 }],
    [["-N", "10.0.0.2"], { natAccess: "10.0.0.2,22", messageType: 2 }],
    [["-N", "10.0.0.2:443"], { natAccess: "10.0.0.2,443" }],
    [["-N", "host.example,443", "-f", "9"], { natAccess: "host.example,443", messageType: 4 }],
    [["--Forward-access", "10.0.0.2,443"], { natAccess: "10.0.0.2,443" }],
    [["--nat-local"], { natAccess: "192.0.2.1,22", messageType: 5 }],
    [["--nat-local", "-f", "9"], { messageType: 6 }],
    [["--nat-local", "-N", "10.0.0.2:1"], { natAccess: "10.0.0.2,1", messageType: 5 }],
    [["--nat-local", "--nat-port", "2222"], {
      natAccess: "192.0.2.1,22",
      message: "1.2.3.4,tcp/2222",
    }],
    [["--nat-port", "2222"], { message: "1.2.3.4,tcp/2222", natAccess: null }],
    [["-A", "tcp/80,udp/53"], { message: "1.2.3.4,tcp/80,udp/53" }],
  ];
  for (const [options, fields] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knockBare([...REQUEST, ...options]);
      assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
      const opened = open(ran.packets[0]?.payload ?? "");
      for (const [name, value] of Object.entries(fields)) {
        assert.equal(opened[name as keyof DecodedPacket], value, name);
      }
    });
  }
});

Deno.test("knock asks for IPv6 addresses, and says who understands that", async (t) => {
  const cases: ReadonlyArray<
    readonly [options: readonly string[], message: string, type: number, natAccess?: string]
  > = [
    [["-a", "2001:DB8:0::1"], "2001:db8::1,tcp/22", 1],
    ...([
      ["2001:DB8:0::20", "2001:db8::20,22"],
      ["2001:db8::20,80", "2001:db8::20,80"],
      ["[2001:db8::20]", "2001:db8::20,22"],
      ["[2001:db8::20]:80", "2001:db8::20,80"],
      ["inner.example:80", "inner.example,80"],
    ] as const).map(([target, natAccess]) =>
      [["-a", "2001:db8::1", "-N", target], "2001:db8::1,tcp/22", 2, natAccess] as const
    ),
    [["-a", "2001:db8::1", "-A", "tcp/22,udp/53", "-f", "9"], "2001:db8::1,tcp/22,udp/53", 3],
    [["-a", "2001:db8::1", "-C", "uptime"], "2001:db8::1,uptime", 0],
    [["-a", "2001:db8::1", "--nat-local"], "2001:db8::1,tcp/22", 5],
  ];
  for (const [options, message, type, natAccess] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knockBare([...REQUEST, ...options]);
      assert.equal(
        ran.stderr(),
        'spa: only "spa serve" understands a request for an IPv6 address; fwknopd refuses it\n',
      );
      const secrets = {
        key: new TextEncoder().encode("fwknoptest"),
        hmacKey: new TextEncoder().encode("hmactest"),
        mode: "CBC",
      } as const;
      const wire = ran.packets[0]?.payload ?? "";
      assert.equal(decodePacket(wire, secrets).ok, false);
      const decoded = decodePacket(wire, { ...secrets, ipv6: true });
      assert.ok(decoded.ok);
      assert.deepEqual([decoded.value.message, decoded.value.messageType], [message, type]);
      if (natAccess !== undefined) assert.equal(decoded.value.natAccess, natAccess);
      const tested = await knockBare([...REQUEST, ...options, "-T", "-q"]);
      assert.deepEqual([tested.status, tested.stderr()], [0, ""]);
    });
  }
});

Deno.test("knock writes IPv4 as such, however it was given", async () => {
  for (const [given, sent] of [["::ffff:1.2.3.4", "1.2.3.4"], ["::", "0.0.0.0"]] as const) {
    const ran = await knockBare([...REQUEST, "-a", given]);
    assert.equal(ran.stderr(), "");
    assert.equal(open(ran.packets[0]?.payload ?? "").message, `${sent},tcp/22`);
  }
});

Deno.test("knock's options choose where the packet goes", async (t) => {
  const names = { "gw.example": ["192.0.2.7"], "proxy.example": ["192.0.2.8"] };
  const cases: ReadonlyArray<
    readonly [options: string[], over: "udp" | "tcp", address: string, port: number]
  > = [
    [["-p", "5000"], "udp", "192.0.2.1", 5000],
    [["-D", "gw.example"], "udp", "192.0.2.7", 62201],
    [["-D", "2001:db8::5"], "udp", "2001:db8::5", 62201],
    [["-D", "[2001:db8::5]"], "udp", "2001:db8::5", 62201],
    [["-D", "[2001:db8::5]:7000"], "udp", "2001:db8::5", 7000],
    [["-D", "gw.example:7000", "-p", "1"], "udp", "192.0.2.7", 7000],
    [["-P", "tcp"], "tcp", "192.0.2.1", 62201],
    [["--TCP-sock", "--Server-port", "80"], "tcp", "192.0.2.1", 80],
    [["-P", "http"], "tcp", "192.0.2.1", 62201],
    [["-H", "http://proxy.example:3128/"], "tcp", "192.0.2.8", 3128],
    [["-H", "proxy.example"], "tcp", "192.0.2.8", 62201],
  ];
  for (const [options, over, address, port] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knockBare([...REQUEST, ...options], { names });
      assert.equal(ran.stderr(), "");
      assert.deepEqual([ran.packets[0]?.over, ran.packets[0]?.to], [over, { address, port }]);
    });
  }
});

Deno.test("knock -S sends from that port", async () => {
  const ran = await knockBare([...REQUEST, "-S", "4000"]);
  assert.equal(ran.packets[0]?.sourcePort, 4000);
});

Deno.test("knock -r chooses a port that the packet's random value does not give away", async () => {
  const ran = await knockBare([...REQUEST, "-r"]);
  const { to, payload } = ran.packets[0] ?? { to: { port: 0 }, payload: "" };
  assert.ok(to.port >= 10000 && to.port <= 65534);
  const digits = Number(open(payload).randomValue.slice(0, 5));
  assert.notEqual(to.port, 10000 + digits % 55535);
});

Deno.test("knock --nat-rand-port tells which port it chose", async () => {
  const ran = await knockBare([...REQUEST, "--nat-local", "--nat-rand-port"]);
  const { message, natAccess } = open(ran.packets[0]?.payload ?? "");
  const port = /tcp\/(\d+)$/.exec(message)?.[1];
  assert.equal(natAccess, "192.0.2.1,22");
  assert.equal(
    ran.stdout(),
    `[+] Randomly assigned port '${port}' on: '1.2.3.4,tcp/${port}' ` +
      "will grant access to: '192.0.2.1,22'\n",
  );
});

Deno.test("knock -P http puts the packet into a request", async () => {
  const direct = await knockBare([...REQUEST, "-P", "http", "-u", "Fwknop/1.0"]);
  const [, path = ""] = /^GET \/(\S+) HTTP\/1.1\r\n/.exec(direct.packets[0]?.payload ?? "") ?? [];
  assert.equal(open(path.replaceAll("-", "+").replaceAll("_", "/")).message, "1.2.3.4,tcp/22");
  assert.match(
    direct.packets[0]?.payload ?? "",
    /\r\nUser-Agent: Fwknop\/1.0\r\nAccept: \*\/\*\r\nHost: 192.0.2.1\r\nConnection: close\r\n\r\n$/,
  );
  const proxied = await knockBare([...REQUEST, "-H", "192.0.2.8:3128"]);
  assert.match(
    proxied.packets[0]?.payload ?? "",
    /^GET http:\/\/192.0.2.1\/\S+ HTTP\/1.1\r\n[^]*\r\nHost: 192.0.2.8\r\n/,
  );
});

Deno.test("knock takes the user's name from the environment, then from the system", async (t) => {
  const files = { "/etc/passwd": "root:x:0:0::/:\ncarol:x:1000:1000::/:\n" };
  const cases: ReadonlyArray<readonly [env: Record<string, string>, name: string]> = [
    [{ SPOOF_USER: "eve", LOGNAME: "alice", USER: "bob" }, "eve"],
    [{ LOGNAME: "alice", USER: "bob" }, "alice"],
    [{ USER: "bob" }, "carol"],
  ];
  for (const [env, name] of cases) {
    await t.step(name, async () => {
      const ran = await knockBare(REQUEST, { env, files });
      assert.equal(open(ran.packets[0]?.payload ?? "").username, name);
    });
  }
  const nobody = await knockBare(REQUEST, { env: {} });
  assert.equal(open(nobody.packets[0]?.payload ?? "").username, "NO_USER");
});

Deno.test("knock is not stopped by a login name that it does not send", async () => {
  const ran = await knockBare([...REQUEST, "-U", "alice"], { env: { LOGNAME: "DOM\\alice" } });
  assert.equal(ran.status, 0);
});

Deno.test("knock makes raw packets with their own IP header", async (t) => {
  const cases: ReadonlyArray<
    readonly [options: string, protocol: number, headers: number, first: number, second: number]
  > = [
    ["-P udpraw -S 5000 -p 6000", 17, 28, 5000, 6000],
    ["-P tcpraw -S 5000 -p 6000", 6, 40, 5000, 6000],
    ["-P icmp", 1, 28, 0, -1],
    ["-P icmp --icmp-type 8 --icmp-code 0", 1, 28, 0x0800, -1],
    ["-P icmp --icmp-type 3 --icmp-code 7", 1, 28, 0x0307, -1],
  ];
  for (const [options, protocol, headers, first, second] of cases) {
    for (const spoof of [[], ["-Q", "9.8.7.6"]]) {
      await t.step(`${options} ${spoof.join(" ")}`, async () => {
        const ran = await knockBare([...REQUEST, ...options.split(" "), ...spoof, "-v"]);
        assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
        const { packet, destination } = ran.rawPackets[0] ?? { packet: new Uint8Array(0) };
        const view = new DataView(packet.buffer, packet.byteOffset);
        assert.equal(destination, "192.0.2.1");
        assert.equal(packet[9], protocol);
        assert.equal(packet.slice(12, 16).join("."), spoof[1] ?? "192.0.2.99");
        assert.equal(view.getUint16(20), first);
        if (second >= 0) assert.equal(view.getUint16(22), second);
        const payload = new TextDecoder().decode(packet.subarray(headers));
        assert.equal(open(payload).message, "1.2.3.4,tcp/22");
        assert.match(ran.stdout(), new RegExp(`bytes sent: ${packet.length}\\n$`));
      });
    }
  }
});

Deno.test("knock -Q takes a name, and says when it has no address", async () => {
  const names = { "elsewhere.example": ["9.8.7.6"] };
  const spoofed = [...REQUEST, "-P", "udpraw", "-Q"];
  const ran = await knockBare([...spoofed, "elsewhere.example"], { names });
  assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
  assert.equal(ran.rawPackets[0]?.packet.slice(12, 16).join("."), "9.8.7.6");
  const failed = await knockBare([...spoofed, "nowhere.example"], { names });
  assert.deepEqual([failed.status, failed.rawPackets], [1, []]);
  assert.match(failed.stderr(), /cannot find the address of "nowhere\.example"/);
});

Deno.test("knock stamps the packet when the keys are there, not when they are asked for", async () => {
  const memory = memoryHost({ env: ENV, typed: "fwknoptest\nhmactest\n" });
  let now = 1_795_000_000_000;
  const host = new Proxy(memory.host, {
    get: (target, name) => {
      if (name === "now") return () => now;
      if (name !== "openTerminal") return Reflect.get(target, name);
      return () => {
        now += 600_000;
        return target.openTerminal();
      };
    },
  });
  assert.equal(await run(["--no-rc-file", "--no-save-args", ...REQUEST, "--use-hmac"], host), 0);
  assert.equal(open(memory.packets[0]?.payload ?? "").timestamp, 1_795_000_600);
});
