// A process that gives up its privileges as the sentry does, and then tries to use them: prints what
// came of each attempt as a JSON object, with the numbers of errors where system calls fail.

import { denoHost } from "../../lib/host_deno.ts";

const { pid, ppid: parent } = Deno;
const [uid = "", gid = "", file = ""] = Deno.args;
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const { symbols: c } = Deno.dlopen("libc.so.6", {
  syscall: { parameters: ["i64", "i64", "i64", "i64", "i64"], result: "i64" },
  __errno_location: { parameters: [], result: "usize" },
  memcpy: { parameters: ["buffer", "usize", "usize"], result: "void" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  execv: { parameters: ["buffer", "buffer"], result: "i32" },
  fork: { parameters: [], result: "i32" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  ptrace: { parameters: ["i64", "i64", "i64", "i64"], result: "i64" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  unlink: { parameters: ["buffer"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
});
const cString = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${text}\0`);
/** Descriptor of the listener: a socket, as a capture is. */
const socket = Number(
  [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => name).find((name) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("socket:");
    } catch {
      return false;
    }
  }),
);

function errno(): number {
  const number = new Int32Array(1);
  c.memcpy(new Uint8Array(number.buffer), c.__errno_location(), 4n);
  return number[0] ?? 0;
}

const calls: Readonly<Record<string, () => number | bigint>> = {
  "open to read": () => c.open(cString(file), 0, 0),
  "open to write": () => c.open(cString(file), 0o1101, 0o600),
  "remove a file": () => c.unlink(cString(file)),
  "a socket": () => c.socket(2, 2, 0),
  "a packet socket": () => c.socket(17, 3, 0),
  "a netlink socket": () => c.socket(16, 3, 0),
  "a program": () => c.execv(cString("/bin/true"), new Uint8Array(8)),
  "fork": () => c.fork(),
  "a signal to the parent": () => c.kill(parent, 0),
  "a signal to init": () => c.kill(1, 0),
  "dup": () => c.dup(socket),
  "root again": () => c.setresuid(0, 0, 0),
  "mount": () => c.mount(cString("none"), cString("/mnt"), cString("tmpfs"), 0n, null),
  "ptrace": () => c.ptrace(16n, BigInt(parent), 0n, 0n),
  "write to a socket": () => c.write(socket, new Uint8Array(1), 1n),
  "send through a socket": () => c.send(socket, new Uint8Array(1), 1n, 0),
  "io_uring": () => c.syscall(425n, 1n, 0n, 0n, 0n),
  "bpf": () => c.syscall(Deno.build.arch === "x86_64" ? 321n : 280n, 0n, 0n, 0n, 0n),
};
const attempts: Readonly<Record<string, () => unknown>> = {
  "Deno reads": () => Deno.readTextFileSync("/etc/passwd"),
  "Deno writes": () => Deno.writeTextFileSync(file, "x"),
  "Deno listens": () => Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  "Deno connects": () => Deno.connect({ hostname: "127.0.0.1", port: 9 }),
  "Deno runs": () => new Deno.Command("/bin/true").outputSync(),
  "Deno loads a library": () => Deno.dlopen("libm.so.6", {}),
  "Deno looks at memory": () => Deno.UnsafePointer.create(4096n),
  "Deno reads the environment": () => Deno.env.get("HOME"),
  "Deno asks the system": () => Deno.hostname(),
  "Deno signals": () => Deno.kill(parent, "SIGUSR1"),
};

const confinement = await denoHost().loadConfinement();
confinement.ignoreSignals();
const notes = confinement.confine({ uid: Number(uid), gid: Number(gid) }, parent);
const results: Record<string, unknown> = { notes, pid };
for (const [name, call] of Object.entries(calls)) results[name] = await tried(call);
for (const [name, attempt] of Object.entries(attempts)) results[name] = await refused(attempt);
// What a sentry goes on doing.
results["waits"] = await c.poll(new Uint8Array(8), 0n, 1);
results["computes"] = Array.from({ length: 1e5 }, (_, index) => index % 7).reduce((a, b) => a + b);
console.log(JSON.stringify(results));
listener.close();

function tried(call: () => number | bigint): string {
  return Number(call()) < 0 ? `errno ${errno()}` : "done";
}

async function refused(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
    return "done";
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}
