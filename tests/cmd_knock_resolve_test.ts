import assert from "node:assert/strict";
import fc from "fast-check";
import { run } from "../lib/cmd_knock.ts";
import { findAddress } from "../lib/cmd_knock_resolve.ts";
import type { ProgramCall } from "../lib/host.ts";
import { decodePacket } from "../lib/spa_packet.ts";
import { memoryHost, type MemorySetup } from "./memory_host.ts";

const OPTIONS = ["--no-rc-file", "--no-save-args", "-A", "tcp/22", "-D", "192.0.2.1"];
const KEY = ["--key-rijndael", "k"];

async function knock(args: readonly string[], setup: MemorySetup = {}) {
  const memory = memoryHost(setup);
  const status = await run([...OPTIONS, ...KEY, ...args], memory.host);
  const decoded = decodePacket(memory.packets[0]?.payload ?? "", {
    key: new TextEncoder().encode("k"),
    mode: "CBC",
    ipv6: true,
  });
  return { ...memory, status, message: decoded.ok ? decoded.value.message : null };
}

const DEFAULT_URL = "https://www.cipherdyne.org/cgi-bin/myip";

Deno.test("knock -R asks a web service, and another when that fails", async () => {
  const first = await knock(["-R", "-v"], { pages: { [DEFAULT_URL]: "203.0.113.7\n" } });
  assert.equal(first.message, "203.0.113.7,tcp/22");
  assert.ok(
    first.stdout().startsWith(
      `\n[+] Resolved external IP (via '${DEFAULT_URL}') as: 203.0.113.7\n`,
    ),
  );
  const second = await knock(["-R"], {
    pages: { "https://checkip.amazonaws.com/": "203.0.113.8\n" },
  });
  assert.equal(second.message, "203.0.113.8,tcp/22");
});

Deno.test("knock -R takes an IPv6 address only where no service tells an IPv4 one, or with -6", async (t) => {
  const second = "https://checkip.amazonaws.com/";
  const ipv6Service = "https://ipv6.icanhazip.com/";
  const cases: ReadonlyArray<
    readonly [options: string[], pages: Record<string, string>, address: string]
  > = [
    [[], { [DEFAULT_URL]: "2001:db8::1", [second]: "203.0.113.8" }, "203.0.113.8"],
    [[], { [DEFAULT_URL]: "2001:db8::1", [second]: "2001:db8::2" }, "2001:db8::1"],
    [[], { [DEFAULT_URL]: "2001:db8::1" }, "2001:db8::1"],
    [["-6"], { [DEFAULT_URL]: "203.0.113.7", [ipv6Service]: "2001:db8::1\n" }, "2001:db8::1"],
    [["-6"], { [DEFAULT_URL]: "203.0.113.7" }, "203.0.113.7"],
  ];
  for (const [options, pages, address] of cases) {
    await t.step(`${options} ${Object.keys(pages)}`, async () => {
      const ran = await knock(["-R", "-D", "gw.example", ...options], {
        pages,
        names: { "gw.example": ["2001:db8::99"] },
      });
      assert.equal(ran.message, `${address},tcp/22`);
    });
  }
});

Deno.test("knock asks the service it is told to ask", async (t) => {
  const cases: ReadonlyArray<readonly [args: string[], url: string, warning: RegExp]> = [
    [["--resolve-url", "https://ip.example/"], "https://ip.example/", /^$/],
    [["--resolve-url", "http://ip.example:12345/x"], "http://ip.example:12345/x", /should begin/],
    [["-R", "--resolve-url", "ip.example"], "http://ip.example", /should begin with 'https/],
    [["--resolve-http-only"], "http://www.cipherdyne.org/cgi-bin/myip", /^$/],
    [["--resolve-http-only", "--resolve-url", "http://[::1]:80/"], "http://[::1]:80/", /^$/],
  ];
  for (const [args, url, warning] of cases) {
    await t.step(args.join(" "), async () => {
      const ran = await knock(args, { pages: { [url]: "203.0.113.7" } });
      assert.equal(ran.message, "203.0.113.7,tcp/22");
      assert.match(ran.stderr(), warning);
    });
  }
});

Deno.test("knock -w asks by running wget, without a shell", async () => {
  const calls: ProgramCall[] = [];
  const answer = (stdout: string, status = 0) => (call: ProgramCall) => {
    calls.push(call);
    return { status, stdout, stderr: "wget: unable to resolve host\n" };
  };
  const ran = await knock(["-R", "-w", "/opt/wget --inet4-only", "-u", "a;b $(c)"], {
    run: answer("203.0.113.7xyz"),
  });
  assert.equal(ran.message, "203.0.113.7,tcp/22");
  assert.equal(calls[0]?.program, "/opt/wget");
  assert.deepEqual(calls[0]?.args, [
    ...["--inet4-only", "-U", "a;b $(c)", "--secure-protocol=auto", "--quiet", "-O", "-"],
    DEFAULT_URL,
  ]);
  const failed = await knock(["-R", "-w", "wget", "--use-wget-user-agent"], { run: answer("", 4) });
  assert.ok(!calls.at(-1)?.args.includes("-U"));
  assert.equal(failed.status, 1);
  assert.match(
    failed.stderr(),
    /Could not resolve IP via: 'wget --secure-protocol.*myip': wget: unable to resolve host/,
  );
});

Deno.test("knock sends nothing without a usable answer", async (t) => {
  const cases: ReadonlyArray<readonly [args: string[], body: string | null, text: RegExp]> = [
    [["-R"], null, /Could not resolve IP via: 'https:.*': connection refused[^]*checkip/],
    [["-R", "--resolve-url", "https://x/"], "no address", /the answer holds no address/],
    [["-R", "--resolve-url", "https://x/"], "fe80::1\n", /the answer holds no address/],
    [["-R", "--resolve-url", "https://x:99999/"], "", /Error parsing resolve-url.*port.*invalid/],
    [["-R", "--resolve-url", "https://x y/"], "", /Error parsing resolve-url/],
    [["--resolve-http-only", "--resolve-url", "https://x/"], "", /https is not supported for/],
  ];
  for (const [args, body, text] of cases) {
    await t.step(`${args.join(" ")} ${body}`, async () => {
      const ran = await knock(args, body === null ? {} : { pages: { "https://x/": body } });
      assert.match(ran.stderr(), text);
      assert.notEqual(ran.status, 0);
      assert.deepEqual(ran.packets, []);
    });
  }
});

Deno.test("findAddress() finds the address in what services answer", async (t) => {
  const cases: ReadonlyArray<readonly [body: string, address: string | null]> = [
    ["203.0.113.7", "203.0.113.7"],
    ["\r\n 203.0.113.7\r\n", "203.0.113.7"],
    ["203.0.113.7xyz", "203.0.113.7"],
    ["127.0.0.1", "127.0.0.1"],
    ['{"ip":"203.0.113.7","proxy":"10.0.0.1"}', "203.0.113.7"],
    ["<p>Your IP address is: 203.0.113.7</p>", "203.0.113.7"],
    ["from 10.0.0.1 by 192.168.0.1 for 203.0.113.7", "203.0.113.7"],
    ["version 1.2.3.4.5", null],
    ["300.1.1.1", null],
    ["nothing", null],
    ["", null],
    ["2001:DB8::1\n", "2001:db8::1"],
    ["version 1.2.3.4.5, 2001:db8::1.", "2001:db8::1"],
    ['{"ip":"2001:db8::1"}', "2001:db8::1"],
    ["local fe80::1, fd00::1, ::1; public 2001:db8::1", "2001:db8::1"],
    ["12:30:05 on a clock", null],
    ["std::string", null],
    ["::ffff:203.0.113.7", null],
    ["2001:db8::1 or 203.0.113.7", "203.0.113.7"],
  ];
  for (const [body, address] of cases) {
    await t.step(JSON.stringify(body), () => assert.equal(findAddress(body, "ipv4"), address));
  }
});

Deno.test("findAddress() prefers the family that is wanted, and takes the other", () => {
  const both = "203.0.113.7 2001:db8::1";
  assert.equal(findAddress(both, "ipv4"), "203.0.113.7");
  assert.equal(findAddress(both, "ipv6"), "2001:db8::1");
  assert.equal(findAddress("203.0.113.7", "ipv6"), "203.0.113.7");
});

Deno.test("findAddress() never throws", () => {
  fc.assert(fc.property(fc.string(), (body) => void findAddress(body, "ipv6")));
});
