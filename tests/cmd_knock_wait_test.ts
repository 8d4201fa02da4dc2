import assert from "node:assert/strict";
import { run } from "../lib/cmd_knock.ts";
import { connectWhenOpen } from "../lib/cmd_knock_wait.ts";
import type { ByteStream, Endpoint, Host, SignalName } from "../lib/host.ts";
import type { Timer } from "../lib/serve_timer.ts";
import { type MemoryHost, memoryHost, type MemorySetup } from "./memory_host.ts";

/** A connection of which only the end matters. */
function idleStream(onClose: () => void = () => {}): ByteStream {
  return {
    read: () => Promise.resolve(null),
    write: () => Promise.resolve(),
    closeWrite: () => Promise.resolve(),
    close: onClose,
  };
}

/** A clock that stands still until it is told to go on. */
function playedTimer(): {
  readonly timer: Timer;
  now(): number;
  advance(to: number): Promise<void>;
} {
  let now = 0;
  const waiting = new Map<() => void, number>();
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
  return {
    timer: (milliseconds, action) => {
      const own = (): void => action();
      waiting.set(own, now + milliseconds);
      return () => void waiting.delete(own);
    },
    now: () => now,
    async advance(to) {
      for (;;) {
        await settle();
        const next = [...waiting].sort(([, one], [, other]) => one - other)[0];
        if (next === undefined || next[1] > to) break;
        waiting.delete(next[0]);
        now = next[1];
        next[0]();
      }
      now = to;
    },
  };
}

const GATEWAY: Endpoint = { address: "192.0.2.1", port: 22 };
type Connect = Host["connectStream"];

function hostThat(connectStream: Connect): Host {
  return { ...memoryHost().host, connectStream };
}

/** Connects when `isOpen`; before that, an attempt hangs, and is lost for good. */
function dropping(isOpen: () => boolean, given: AbortSignal[] = []): Connect {
  return (_to, signal) => {
    given.push(signal);
    return new Promise((resolve, reject) => {
      if (isOpen()) resolve(idleStream());
      else signal.addEventListener("abort", () => reject(new Error("given up")));
    });
  };
}

Deno.test("connectWhenOpen() tries again while earlier attempts get no answer", async () => {
  const clock = playedTimer();
  const signals: AbortSignal[] = [];
  let openedAt = 0;
  const host = hostThat(dropping(() => clock.now() >= 1000, signals));
  const connected = connectWhenOpen(GATEWAY, 10_000, host, clock.timer)
    .then((result) => {
      openedAt = clock.now();
      return result;
    });
  await clock.advance(5000);
  assert.ok((await connected).ok);
  assert.ok(openedAt >= 1000 && openedAt <= 1500, `it took ${openedAt} ms`);
  assert.ok(signals.slice(0, -1).every(({ aborted }) => aborted), "earlier attempts are given up");
  assert.equal(signals.at(-1)?.aborted, false);
});

Deno.test("connectWhenOpen() asks often at first, since most ports open in milliseconds", async () => {
  const clock = playedTimer();
  const times: number[] = [];
  const host = hostThat(() => {
    times.push(clock.now());
    return Promise.reject(new Error("Connection refused (os error 111)"));
  });
  const connected = connectWhenOpen(GATEWAY, 10_000, host, clock.timer);
  await clock.advance(20_000);
  assert.equal((await connected).ok, false);
  assert.ok(times.filter((time) => time <= 100).length >= 3, String(times));
  assert.ok(times.length < 50, `${times.length} attempts`);
  assert.ok(Math.max(...times) <= 10_000);
});

Deno.test("connectWhenOpen() says after the time-out what it saw last", async (t) => {
  const cases: readonly (readonly [Connect, RegExp, RegExp])[] = [
    [dropping(() => false), /192\.0\.2\.1 port 22 did not open within 3 s: no answer/, /log/],
    [
      () => Promise.reject(new Error("Connection refused (os error 111)")),
      /did not open within 3 s: Connection refused$/,
      /service running/,
    ],
  ];
  for (const [connect, text, hint] of cases) {
    await t.step(String(text), async () => {
      const clock = playedTimer();
      const connected = connectWhenOpen(GATEWAY, 3000, hostThat(connect), clock.timer);
      await clock.advance(3000);
      const result = await connected;
      assert.ok(!result.ok);
      assert.match(result.complaint.text, text);
      assert.match(result.complaint.hint ?? "", hint);
      assert.equal(result.complaint.status, 1);
    });
  }
});

Deno.test("connectWhenOpen() closes a connection that comes when another has come already", async () => {
  const clock = playedTimer();
  const answers: ((stream: ByteStream) => void)[] = [];
  const host = hostThat(() => new Promise((resolve) => answers.push(resolve)));
  const connected = connectWhenOpen(GATEWAY, 10_000, host, clock.timer);
  await clock.advance(100);
  assert.ok(answers.length >= 2);
  let closed = 0;
  for (const answer of answers) answer(idleStream(() => closed++));
  assert.ok((await connected).ok);
  await clock.advance(200);
  assert.equal(closed, answers.length - 1);
});

const KNOCK = [
  ...["--key-rijndael", "fwknoptest", "--no-rc-file", "--no-save-args"],
  ...["-a", "1.2.3.4", "-D", "192.0.2.1", "--timeout", "1"],
];

/** What happened in which order. */
interface Ran extends MemoryHost {
  readonly status: number;
  readonly events: readonly string[];
}

interface Setup extends MemorySetup {
  readonly closed?: boolean;
  readonly exit?: number;
  readonly cannotStart?: string;
  /** Sent to this process while the program runs. */
  readonly signals?: readonly SignalName[];
}

async function knock(args: readonly string[], setup: Setup = {}): Promise<Ran> {
  const memory = memoryHost(setup);
  const events: string[] = [];
  const listeners = new Map<SignalName, () => void>();
  const host: Host = {
    ...memory.host,
    sendDatagram: (to, bytes, port) => {
      events.push("knock");
      return memory.host.sendDatagram(to, bytes, port);
    },
    connectStream: ({ address, port }) => {
      if (setup.closed) return Promise.reject(new Error("Connection refused (os error 111)"));
      events.push(`connect ${address} ${port}`);
      return Promise.resolve(idleStream(() => events.push(`close ${port}`)));
    },
    onSignal: (name, listener) => {
      listeners.set(name, listener);
      return () => void listeners.delete(name);
    },
    startInForeground: (program, words) => {
      if (setup.cannotStart !== undefined) throw new Error(setup.cannotStart);
      events.push(`run ${[program, ...words].join(" ")}`);
      return {
        ended: new Promise((resolve) => {
          setTimeout(() => {
            for (const name of setup.signals ?? []) listeners.get(name)?.();
            resolve(setup.exit ?? 0);
          }, 0);
        }),
        signal: (name) => events.push(name),
      };
    },
  };
  const status = await run([...args], host);
  assert.deepEqual([...listeners.keys()], [], "no signal is listened to any more");
  return { ...memory, status, events };
}

Deno.test("knock --wait connects to the TCP ports asked for, once the packet is sent", async (t) => {
  const cases: readonly (readonly [options: string[], connections: string[]])[] = [
    [["-A", "tcp/22"], ["connect 192.0.2.1 22"]],
    [["-A", "udp/53,tcp/80"], ["connect 192.0.2.1 80"]],
    [["-A", "tcp/22,tcp/80"], ["connect 192.0.2.1 22", "connect 192.0.2.1 80"]],
    [["-A", "tcp/22", "-N", "10.0.0.2", "--nat-port", "2222"], ["connect 192.0.2.1 2222"]],
    [["-A", "tcp/22", "-P", "http", "-H", "192.0.2.8:3128"], ["connect 192.0.2.1 22"]],
  ];
  for (const [options, connections] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knock([...KNOCK, ...options, "--wait"]);
      assert.deepEqual([ran.status, ran.stdout(), ran.stderr()], [0, "", ""]);
      assert.equal(ran.packets.length, 1);
      const events = ran.events.filter((event) => event.startsWith("connect"));
      assert.deepEqual(events, connections);
      assert.equal(ran.events.filter((event) => event.startsWith("close")).length, events.length);
    });
  }
});

Deno.test("knock --wait tells a terminal which port is open", async () => {
  const ran = await knock([...KNOCK, "-A", "tcp/22", "--wait"], { terminals: ["stdout"] });
  assert.match(ran.stdout(), /\ntcp\/22 of 192\.0\.2\.1 is open\n$/);
});

Deno.test("knock --wait fails when the port stays closed", async () => {
  const ran = await knock([...KNOCK, "-A", "tcp/22", "--wait"], { closed: true });
  assert.equal(ran.status, 1);
  assert.match(ran.stderr(), /^spa: the packet was sent, but 192\.0\.2\.1 port 22 did not open/);
  assert.equal(ran.packets.length, 1);
});

Deno.test("knock --wait says when a proxy knows the gateway's address and we do not", async () => {
  const args = [...KNOCK, "-D", "gw.example", "-H", "192.0.2.8:3128", "-A", "tcp/22", "--wait"];
  const ran = await knock(args);
  assert.deepEqual([ran.status, ran.packets.length], [1, 1]);
  assert.match(ran.stderr(), /the packet was sent, but .*"gw\.example": its address cannot be/);
});

Deno.test("knock refuses to wait where nothing can show that it worked", async (t) => {
  const cases: readonly (readonly [options: string[], reason: RegExp])[] = [
    [["-A", "udp/53", "--wait"], /only a TCP port/],
    [["-C", "uptime", "--wait"], /only a TCP port/],
    [["-A", "tcp/22", "-T", "--wait"], /cannot wait after a knock: --test sends none/],
    [["-A", "tcp/22", "-T", "--", "ssh"], /cannot run "ssh" after a knock: --test sends none/],
    [["-k", "--", "ssh"], /cannot run "ssh" after a knock: --key-gen sends none/],
  ];
  for (const [options, reason] of cases) {
    await t.step(options.join(" "), async () => {
      const ran = await knock([...KNOCK, ...options]);
      assert.equal(ran.status, 1);
      assert.match(ran.stderr(), reason);
      assert.deepEqual([ran.packets, ran.events], [[], []]);
    });
  }
});

Deno.test("knock -- PROGRAM knocks, waits, runs it and ends with its exit status", async () => {
  const ran = await knock([...KNOCK, "-A", "tcp/22", "--", "ssh", "-v", "alice@gw"], { exit: 7 });
  assert.deepEqual([ran.status, ran.stdout(), ran.stderr()], [7, "", ""]);
  assert.deepEqual(ran.events, [
    ...["knock", "connect 192.0.2.1 22", "close 22", "run ssh -v alice@gw"],
  ]);
});

Deno.test("knock -- PROGRAM runs it at once when no TCP port was asked for", async () => {
  const ran = await knock([...KNOCK, "-A", "udp/51820", "--", "wg-quick", "up", "wg0"]);
  assert.deepEqual([ran.status, ran.events], [0, ["knock", "run wg-quick up wg0"]]);
});

Deno.test("knock -- PROGRAM does not run it when the port stays closed", async () => {
  const ran = await knock([...KNOCK, "-A", "tcp/22", "--", "ssh", "gw"], { closed: true });
  assert.deepEqual([ran.status, ran.events], [1, ["knock"]]);
});

Deno.test("knock -- PROGRAM leaves the standard output to it", async () => {
  const ran = await knock([...KNOCK, "-A", "tcp/22", "-v", "--", "tar", "c"], {
    terminals: ["stdout"],
  });
  assert.equal(ran.stdout(), "");
  assert.match(ran.stderr(), /SPA Field Values/);
});

Deno.test("knock -- PROGRAM ends like a shell when it cannot be started", async () => {
  for (
    const [reason, status, text] of [
      ["Failed to spawn 'nope': entity not found", 127, 'cannot run "nope": there is no such'],
      ["Permission denied (os error 13)", 126, 'cannot run "nope": Permission denied'],
    ] as const
  ) {
    const ran = await knock([...KNOCK, "-A", "tcp/22", "--", "nope"], { cannotStart: reason });
    assert.equal(ran.status, status);
    assert.ok(ran.stderr().includes(text), ran.stderr());
  }
});

Deno.test("knock -- PROGRAM hands signals on, but not those that a terminal sends both", async () => {
  const signals: SignalName[] = ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1"];
  for (const terminals of [["stdin"], []] as const) {
    const ran = await knock([...KNOCK, "-A", "tcp/22", "--", "sleep"], { signals, terminals });
    const expected = terminals.length === 0 ? signals : ["SIGTERM", "SIGHUP", "SIGUSR1"];
    assert.deepEqual(ran.events.slice(-expected.length), expected);
    assert.equal(ran.events.includes("SIGINT"), terminals.length === 0);
  }
});

Deno.test("knock -l -- PROGRAM knocks as last time, waits and runs it", async () => {
  const files = {
    "/home/alice/.fwknop.run": "fwknop -A tcp/80 -a 1.2.3.4 -D 192.0.2.1 --no-rc-file --fd 5\n",
  };
  const ran = await knock(["-l", "--no-rc-file", "--", "curl", "192.0.2.1"], {
    files,
    env: { HOME: "/home/alice" },
    descriptors: { 5: "fwknoptest\n" },
  });
  assert.deepEqual([ran.status, ran.stderr()], [0, ""]);
  assert.deepEqual(ran.events, [
    ...["knock", "connect 192.0.2.1 80", "close 80", "run curl 192.0.2.1"],
  ]);
});

Deno.test("knock still ignores words that are in front of --, and says so", async () => {
  const ran = await knock([...KNOCK, "-A", "tcp/22", "gw", "--", "true"]);
  assert.deepEqual([ran.status, ran.events.at(-1)], [0, "run true"]);
  assert.match(ran.stderr(), /^spa: "gw" is not used\n/);
});
