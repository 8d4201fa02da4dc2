import assert from "node:assert/strict";
import { openNotifySocket } from "../ffi/notify_socket.ts";
import type { Host } from "../lib/host.ts";
import { openServiceManager, type ServiceManager } from "../lib/serve_notify.ts";

const isLinux = Deno.build.os === "linux";

/** A service manager that keeps what it hears, and what the daemon logs meanwhile. */
interface Scene {
  readonly manager: ServiceManager;
  readonly heard: string[];
  readonly warnings: string[];
  /** What waits on the timer, by its milliseconds. */
  readonly waiting: { readonly milliseconds: number; readonly action: () => void }[];
  fail: boolean;
}

async function play(env: Readonly<Record<string, string>>): Promise<Scene> {
  const heard: string[] = [];
  const warnings: string[] = [];
  const waiting: Scene["waiting"] = [];
  const host: Pick<Host, "pid" | "env" | "openNotifySocket"> = {
    pid: 7,
    env: (name) => env[name],
    openNotifySocket: (address) =>
      address === "/broken" ? Promise.reject(new Error("no socket")) : Promise.resolve({
        send: (text) => {
          if (scene.fail) throw new Error("Connection refused");
          heard.push(text);
        },
        clock: () => 1234n,
        close: () => void heard.push("(closed)"),
      }),
  };
  const log = { warning: (text: string) => void warnings.push(text) };
  const manager = await openServiceManager(host, log, (milliseconds, action) => {
    const entry = { milliseconds, action };
    waiting.push(entry);
    return () => void waiting.splice(waiting.indexOf(entry), 1);
  });
  const scene = { manager, heard, warnings, waiting, fail: false };
  return scene;
}

Deno.test("the service manager hears each phase as sd_notify(3) has it", async () => {
  const { manager, heard, waiting } = await play({ NOTIFY_SOCKET: "/run/systemd/notify" });
  for (const phase of ["ready", "reloading", "ready", "stopping"] as const) manager.tell(phase);
  manager.close();
  assert.deepEqual(heard, [
    "READY=1",
    "RELOADING=1\nMONOTONIC_USEC=1234",
    "READY=1",
    "STOPPING=1",
    "(closed)",
  ]);
  assert.deepEqual(waiting, []);
});

Deno.test("without a service manager, or with an address that is none, nothing is sent", async () => {
  for (const address of [undefined, "", "/", "@", "relative", "vsock:2:1234"]) {
    const { manager, heard } = await play(address === undefined ? {} : { NOTIFY_SOCKET: address });
    manager.tell("ready");
    manager.close();
    assert.deepEqual(heard, [], address);
  }
});

Deno.test("signs of life come twice in the watchdog's time, from ready to the end", async () => {
  const asked = { NOTIFY_SOCKET: "@x", WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" };
  const { manager, heard, waiting } = await play(asked);
  assert.equal(waiting.length, 0);
  manager.tell("ready");
  assert.deepEqual(waiting.map(({ milliseconds }) => milliseconds), [1500]);
  for (const { action } of waiting.splice(0)) action();
  manager.tell("ready");
  assert.deepEqual(heard, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "READY=1"]);
  assert.equal(waiting.length, 1);
  manager.close();
  assert.deepEqual(waiting, []);
});

Deno.test("no sign of life is given that nobody, or another process, is asked for", async () => {
  const cases = [
    {},
    { WATCHDOG_USEC: "0" },
    { WATCHDOG_USEC: "-1" },
    { WATCHDOG_USEC: "many" },
    { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "8" },
  ];
  for (const variables of cases) {
    const { manager, heard, waiting } = await play({ NOTIFY_SOCKET: "@x", ...variables });
    manager.tell("ready");
    assert.deepEqual([heard, waiting.length], [["READY=1"], 0], JSON.stringify(variables));
  }
});

Deno.test("a service manager that cannot be told is a warning, once, and no failure", async () => {
  const scene = await play({ NOTIFY_SOCKET: "/run/x" });
  scene.fail = true;
  scene.manager.tell("ready");
  scene.manager.tell("reloading");
  assert.deepEqual(scene.warnings, ["cannot tell the service manager: Connection refused"]);
  const broken = await play({ NOTIFY_SOCKET: "/broken" });
  broken.manager.tell("ready");
  assert.deepEqual(broken.warnings, ['cannot tell the service manager at "/broken": no socket']);
});

Deno.test({
  name: "openNotifySocket() reaches a socket that has a path (needs Linux)",
  ignore: !isLinux,
  async fn() {
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/notify`;
    const listener = Deno.listenDatagram({ transport: "unixpacket", path });
    const socket = openNotifySocket(path);
    try {
      socket.send("READY=1");
      const [bytes] = await listener.receive();
      assert.equal(new TextDecoder().decode(bytes), "READY=1");
      const [one, other] = [socket.clock(), socket.clock()];
      assert.ok(one > 0n && other >= one);
    } finally {
      socket.close();
      listener.close();
      Deno.removeSync(directory, { recursive: true });
    }
  },
});

Deno.test({
  name: "openNotifySocket() reaches a socket of the abstract namespace (needs Linux)",
  ignore: !isLinux,
  fn() {
    const library = Deno.dlopen("libc.so.6", {
      socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
      bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
      recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
      close: { parameters: ["i32"], result: "i32" },
    });
    const { symbols: c } = library;
    const name = `spa-test-${crypto.randomUUID()}`;
    const address = Uint8Array.from([1, 0, 0, ...new TextEncoder().encode(name)]);
    const listener = c.socket(1, 2, 0);
    assert.equal(c.bind(listener, address, address.length), 0);
    const socket = openNotifySocket(`@${name}`);
    try {
      socket.send("STOPPING=1");
      const bytes = new Uint8Array(100);
      const length = Number(c.recv(listener, bytes, 100n, 0x40));
      assert.equal(new TextDecoder().decode(bytes.subarray(0, length)), "STOPPING=1");
    } finally {
      socket.close();
      c.close(listener);
      library.close();
    }
  },
});

Deno.test({
  name: "openNotifySocket() tells why nobody hears, and refuses an address that is too long",
  ignore: !isLinux,
  fn() {
    const socket = openNotifySocket("/nonexistent/notify");
    assert.throws(() => socket.send("READY=1"), /No such file or directory/);
    socket.close();
    assert.throws(() => openNotifySocket(`/${"x".repeat(108)}`), RangeError);
  },
});
