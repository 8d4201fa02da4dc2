import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import type { CommandGrant, CycleGrant } from "../lib/auth_grant.ts";
import type { Stanza } from "../lib/conf_access.ts";
import { type CommandConfig, type Commands, createCommands } from "../lib/serve_commands.ts";
import { type CommandScene, makeScene, type SceneSettings } from "./fake_commands.ts";
import { stanzasOf } from "./gateway_fixture.ts";

const TIME = 1795321401;
const PENDING = "/run/fwknop/cmd_cycle.pending";
const OPEN = "[192.0.2.10] (stanza #1)";
const CLOSE = "[192.0.2.99] (stanza #1)";
const CYCLE =
  "CMD_CYCLE_OPEN /bin/open $SRC $PORT\nCMD_CYCLE_CLOSE /bin/close $SRC $PORT\nCMD_CYCLE_TIMER 60\n";

interface Bench extends CommandScene {
  readonly cycles: Commands;
  /** Carries out a request to the stanza. */
  request(seconds?: number, ...ports: number[]): Promise<void>;
  /** What has run so far. */
  ran(): string[];
}

interface BenchSettings extends SceneSettings {
  readonly lines?: string;
  readonly config?: Partial<CommandConfig>;
}

function stanzaOf(lines: string): Stanza {
  const [stanza] = stanzasOf(`SOURCE ANY\nKEY TestKey\n${lines}`);
  ok(stanza !== undefined);
  return stanza;
}

function makeBench(settings: BenchSettings = {}): Bench {
  const scene = makeScene({ time: TIME, ...settings });
  const config: CommandConfig = {
    CMD_EXEC_TIMEOUT: null,
    SUDO_EXE: "/usr/bin/sudo",
    FWKNOP_RUN_DIR: "/run/fwknop",
    FLUSH_IPT_AT_EXIT: true,
    ...settings.config,
  };
  const { host, log, timer } = scene;
  const commands = createCommands({ host, log, timer, config: () => config });
  const stanza = stanzaOf(settings.lines ?? CYCLE);
  return Object.assign(scene, {
    cycles: commands,
    request(seconds = 60, ...ports: number[]): Promise<void> {
      const numbers = ports.length === 0 ? [22] : ports;
      const grant: CycleGrant = {
        kind: "cycle",
        stanza: 1,
        source: "192.0.2.99",
        packetSource: "192.0.2.10",
        destination: "192.0.2.1",
        ports: numbers.map((port) => ({ protocol: "tcp", port })),
        seconds,
        expires: TIME + seconds,
      };
      return commands.carryOut(stanza, grant, OPEN);
    },
    ran: () => scene.commands.map(({ text }) => text),
  });
}

/** Ends as the gateway does. */
async function stop(bench: Bench): Promise<void> {
  await bench.cycles.stopRunning();
  await bench.cycles.stop();
}

Deno.test("a cycle opens at once and closes when its time is over, not sooner", async () => {
  const bench = makeBench();
  await bench.request(60);
  deepStrictEqual(bench.ran(), ["/bin/open 192.0.2.99 22"]);
  await bench.advance(59_999);
  strictEqual(bench.ran().length, 1);
  await bench.advance(1);
  deepStrictEqual(bench.ran(), ["/bin/open 192.0.2.99 22", "/bin/close 192.0.2.99 22"]);
  deepStrictEqual(bench.lines, [
    `info ${OPEN} Running CMD_CYCLE_OPEN command: /bin/open 192.0.2.99 22`,
    `info ${OPEN} Running CMD_CYCLE_CLOSE command in 60 seconds: /bin/close 192.0.2.99 22`,
    `info ${CLOSE} Timer expired, running CMD_CYCLE_CLOSE command: /bin/close 192.0.2.99 22`,
  ]);
});

Deno.test("all ports of a request are opened, in order, and closed", async () => {
  const bench = makeBench();
  await bench.request(60, 22, 443);
  await bench.advance(60_000);
  deepStrictEqual(bench.ran(), [
    "/bin/open 192.0.2.99 22",
    "/bin/open 192.0.2.99 443",
    "/bin/close 192.0.2.99 22",
    "/bin/close 192.0.2.99 443",
  ]);
});

Deno.test("NONE closes nothing, and leaves nothing to be kept", async () => {
  const bench = makeBench({ lines: "CMD_CYCLE_OPEN /bin/open\nCMD_CYCLE_CLOSE NONE\n" });
  await bench.request(0);
  await bench.advance(10_000_000);
  await stop(bench);
  deepStrictEqual(bench.ran(), ["/bin/open"]);
  strictEqual(bench.files.size, 0);
});

Deno.test("a time that is longer than the system's timers is kept", async () => {
  const bench = makeBench();
  await bench.request(2_200_000);
  await bench.advance(2_199_999_999);
  strictEqual(bench.ran().length, 1);
  await bench.advance(1);
  strictEqual(bench.ran().length, 2);
});

Deno.test("what is to be closed is on the disk before it is opened", async () => {
  const bench = makeBench();
  let kept = "";
  bench.onStart = (command) => {
    kept = bench.files.get(PENDING)?.text ?? "";
    command.end();
  };
  await bench.request(60);
  match(kept, /"due":1795321461,"seconds":60,"words":\["\/bin\/close","192\.0\.2\.99","22"\]/);
  strictEqual(bench.files.get(PENDING)?.mode, 0o600);
});

Deno.test("nothing is opened when its end cannot be noted", async () => {
  const bench = makeBench();
  bench.diskIsFull = true;
  await bench.request(60);
  await bench.advance(100_000);
  deepStrictEqual(bench.ran(), []);
  match(
    bench.lines[0] ?? "",
    /error .* Cannot note CMD_CYCLE_CLOSE, so nothing is opened: No space left on device/,
  );
});

Deno.test("an opening command that outlasts its time is closed after it, never before", async () => {
  const bench = makeBench({ config: { CMD_EXEC_TIMEOUT: 0 } });
  bench.onStart = ({ text, end }) => {
    if (!text.startsWith("/bin/open")) end();
  };
  const request = bench.request(2);
  await bench.advance(10_000);
  deepStrictEqual(bench.ran(), ["/bin/open 192.0.2.99 22"]);
  bench.commands[0]?.end();
  await request;
  await bench.advance(0);
  strictEqual(bench.ran().length, 2);
});

Deno.test("a command that hangs delays no other cycle", async () => {
  const bench = makeBench();
  bench.onStart = ({ text, end }) => {
    if (!text.endsWith(" 1")) end();
  };
  const hanging = bench.request(60, 1);
  await bench.advance(0);
  await bench.request(5, 22);
  await bench.advance(5_000);
  deepStrictEqual(bench.ran().slice(1), ["/bin/open 192.0.2.99 22", "/bin/close 192.0.2.99 22"]);
  bench.commands[0]?.end();
  await hanging;
});

Deno.test("commands that fail are told, and a cycle is closed all the same", async () => {
  const bench = makeBench();
  bench.onStart = ({ text, end }) => end({ status: text.startsWith("/bin/open") ? 3 : 4 });
  await bench.request(60);
  await bench.advance(60_000);
  deepStrictEqual(bench.lines.filter((line) => line.startsWith("warning")), [
    `warning ${OPEN} CMD_CYCLE_OPEN: command returned 0, pid_status: 3`,
    `warning ${CLOSE} CMD_CYCLE_CLOSE: command returned 0, pid_status: 4`,
  ]);
  strictEqual(bench.ran().length, 2);
});

/** Ends of a closing command after which what it was to close is still open. */
const NOT_CLOSED = [
  ["was ended for its time", { signal: 15 }],
  ["ended with the status of an ssh that found no host", { status: 255 }],
] as const;

for (const [name, end] of NOT_CLOSED) {
  Deno.test(`a closing command that ${name} runs again, later each time, until it has closed`, async () => {
    const bench = makeBench();
    let works = false;
    bench.onStart = (command) => {
      if (command.text.startsWith("/bin/close") && !works) command.end(end);
      else command.end();
    };
    await bench.request(60);
    await bench.advance(60_000);
    for (const [index, seconds] of [10, 20, 40].entries()) {
      strictEqual(
        bench.lines.at(-1),
        `error ${CLOSE} CMD_CYCLE_CLOSE has not closed anything, trying again in ${seconds} s`,
      );
      await bench.advance(seconds * 1000 - 1);
      strictEqual(bench.ran().length, 2 + index);
      if (index === 2) works = true;
      await bench.advance(1);
      strictEqual(bench.ran().length, 3 + index);
    }
    await bench.advance(1_000_000);
    strictEqual(bench.ran().length, 5);
    await stop(bench);
    strictEqual(bench.files.size, 0);
  });
}

Deno.test("a closing command that cannot be run before the stop is left to the next run", async () => {
  const bench = makeBench();
  bench.onStart = ({ text, end }) => end({ status: text.startsWith("/bin/open") ? 0 : 255 });
  await bench.request(60);
  await bench.advance(60_000);
  await stop(bench);
  strictEqual(bench.ran().length, 3);
  const next = makeBench({ files: bench.files, time: TIME + 3600 });
  next.cycles.start();
  await next.advance(0);
  deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 22"]);
});

Deno.test("the stop closes what is open, and leaves no file behind", async () => {
  const bench = makeBench();
  await bench.request(60, 22, 443);
  await stop(bench);
  deepStrictEqual(bench.ran().slice(2), ["/bin/close 192.0.2.99 22", "/bin/close 192.0.2.99 443"]);
  strictEqual(
    bench.lines.at(-1),
    `info ${CLOSE} Shutting down, running CMD_CYCLE_CLOSE command: /bin/close 192.0.2.99 443`,
  );
  strictEqual(bench.files.size, 0);
  await bench.advance(100_000);
  strictEqual(bench.ran().length, 4);
});

Deno.test("the stop closes more than run at a time", async () => {
  const bench = makeBench();
  await bench.request(60, ...Array.from({ length: 100 }, (_, port) => port));
  await stop(bench);
  strictEqual(bench.ran().filter((text) => text.startsWith("/bin/close")).length, 100);
});

Deno.test("with FLUSH_IPT_AT_EXIT off, the next run closes what this one has opened", async () => {
  const config = { FLUSH_IPT_AT_EXIT: false };
  const first = makeBench({ config });
  await first.request(60, 22);
  await first.request(20, 443);
  await first.advance(10_000);
  await stop(first);
  strictEqual(first.ran().length, 2);

  const next = makeBench({ config, files: first.files, time: TIME + 30 });
  next.cycles.start();
  await next.advance(0);
  deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 443"]);
  await next.advance(29_999);
  strictEqual(next.ran().length, 1);
  await next.advance(1);
  deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 443", "/bin/close 192.0.2.99 22"]);
  strictEqual(
    next.lines.at(-1),
    `info ${CLOSE} Timer expired, running CMD_CYCLE_CLOSE command: /bin/close 192.0.2.99 22`,
  );
  await stop(next);
  strictEqual(next.files.size, 0);
});

Deno.test("what a killed daemon has opened is closed by the next, and only once", async () => {
  const killed = makeBench();
  await killed.request(60, 22);
  await killed.request(5, 443);
  await killed.advance(5_000);

  const next = makeBench({ files: killed.files, time: TIME + 3600 });
  next.cycles.start();
  await next.advance(0);
  deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 22"]);
  await stop(next);

  const last = makeBench({ files: next.files, time: TIME + 7200 });
  last.cycles.start();
  await last.advance(0);
  deepStrictEqual(last.ran(), []);
});

Deno.test("a closing command that the stop has to end runs again in the next run", async () => {
  const bench = makeBench();
  bench.onStart = ({ text, end }) => {
    if (text.startsWith("/bin/open")) end();
  };
  await bench.request(60);
  const stopped = stop(bench);
  await bench.advance(10_000);
  deepStrictEqual(bench.commands[1]?.signals, ["SIGTERM"]);
  bench.commands[1].end({ signal: 15 });
  await bench.advance(0);
  await stopped;

  const next = makeBench({ files: bench.files, time: TIME + 3600 });
  next.cycles.start();
  await next.advance(0);
  deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 22"]);
});

Deno.test("a step of the wall clock neither closes sooner nor keeps open longer", async () => {
  const bench = makeBench();
  await bench.request(60);
  const now = bench.host.now;
  Object.assign(bench.host, { now: () => now() + 3_600_000 });
  await bench.advance(59_999);
  strictEqual(bench.ran().length, 1);
  Object.assign(bench.host, { now: () => now() - 3_600_000 });
  await bench.advance(1);
  strictEqual(bench.ran().length, 2);
});

Deno.test("a cycle whose end the machine has slept through is closed soon after it wakes", async () => {
  const bench = makeBench();
  await bench.request(3600);
  await bench.advance(1000);
  bench.sleep(7_200_000);
  await bench.advance(10_000);
  strictEqual(bench.ran().length, 2);
});

Deno.test("the file does not grow with what is over", async () => {
  const bench = makeBench();
  await bench.request(8388608, 9);
  for (let round = 0; round < 12; round++) {
    await bench.request(1, ...Array.from({ length: 100 }, (_, port) => port + 10));
    await bench.advance(1000);
  }
  const lines = (bench.files.get(PENDING)?.text ?? "").split("\n");
  ok(lines.length < 1000, `${lines.length} lines`);
  const next = makeBench({ files: bench.files, time: TIME + 8388608 });
  next.cycles.start();
  await next.advance(0);
  deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 9"]);
});

Deno.test("a line that was written in part spoils no later one", async () => {
  const torn =
    '{"close":1,"stanza":1,"source":"192.0.2.98","due":1,"seconds":60,"words":["/bin/close"]}\n{"clo';
  const bench = makeBench({ files: new Map([[PENDING, { text: torn, mode: 0o600, uid: 0 }]]) });
  await bench.request(60, 22);
  bench.diskIsFull = true;
  await bench.request(60, 23);
  bench.diskIsFull = false;
  await bench.request(60, 24);

  const next = makeBench({ files: bench.files, time: TIME + 3600 });
  next.cycles.start();
  await next.advance(0);
  deepStrictEqual(next.ran(), [
    "/bin/close",
    "/bin/close 192.0.2.99 22",
    "/bin/close 192.0.2.99 24",
  ]);
});

/** A file that others could have written, and why. */
const UNTRUSTED: readonly [string, number, number][] = [
  ["another user's", 0o600, 1000],
  ["one that the group may write", 0o660, 0],
  ["one that all may write", 0o602, 0],
];

for (const [name, mode, uid] of UNTRUSTED) {
  Deno.test(`no command is taken from ${name} file`, () => {
    const files = new Map([[PENDING, { text: "", mode, uid }]]);
    throws(
      () => makeBench({ files }),
      /^Error: cannot use "\/run\/fwknop\/cmd_cycle\.pending": others could have written/,
    );
  });
}

Deno.test("lines that make no sense are skipped, the others count", async () => {
  const good =
    '{"close":7,"stanza":1,"source":"192.0.2.99","due":1,"seconds":60,"words":["/bin/close"]}\n';
  const bad = [
    "{",
    "[]",
    "null",
    "7",
    '{"close":"8"}',
    good.trim().replace('["/bin/close"]', "[1]"),
    '{"close":9,"stanza":1,"source":"192.0.2.99","due":1,"seconds":60,"wor',
  ];
  const text = `${bad.join("\n")}\n${good}`;
  const bench = makeBench({ files: new Map([[PENDING, { text, mode: 0o600, uid: 0 }]]) });
  bench.cycles.start();
  await bench.advance(0);
  deepStrictEqual(bench.ran(), ["/bin/close"]);
  strictEqual(bench.lines.filter((line) => /Skipping an invalid line/.test(line)).length, 7);
});

/** Steps of the wall clock while no daemon runs, and seconds to the closing of what 50 s are left of. */
const STEPS: readonly [string, number, number][] = [
  ["a year back", -365 * 86_400, 60],
  ["not", 0, 50],
  ["forward by a leap second", 1, 49],
  ["forward by an hour", 3600, 0],
];

for (const [name, step, left] of STEPS) {
  Deno.test(`what a killed daemon has opened is open no longer when the clock is set ${name}`, async () => {
    const killed = makeBench();
    await killed.request(60);
    const next = makeBench({ files: killed.files, time: TIME + 10 + step });
    next.cycles.start();
    await next.advance(Math.max(0, left * 1000 - 1));
    deepStrictEqual(next.ran(), left === 0 ? ["/bin/close 192.0.2.99 22"] : []);
    await next.advance(1);
    deepStrictEqual(next.ran(), ["/bin/close 192.0.2.99 22"]);
  });
}

const MESSAGE: CommandGrant = {
  kind: "command",
  stanza: 1,
  source: "192.0.2.99",
  command: "/bin/touch a b",
};

/** Stanza values, the second line of the log, what is started. */
const MESSAGES: readonly [Partial<Stanza>, string, string][] = [
  [{}, "Running command '/bin/touch a b'", "/bin/touch a b"],
  [
    { CMD_EXEC_USER: { name: "nobody", uid: 65534, gid: 65534 } },
    "Running command '/bin/touch a b' setuid/setgid user/group to nobody/nobody (UID=65534,GID=65534)",
    "/usr/bin/setpriv --reuid=65534 --regid=65534 --init-groups -- /bin/touch a b",
  ],
  [
    {
      ENABLE_CMD_SUDO_EXEC: true,
      CMD_SUDO_EXEC_USER: { name: "bob", uid: 1001, gid: 1001 },
      CMD_SUDO_EXEC_GROUP: { name: "adm", gid: 4 },
    },
    "Running command '/usr/bin/sudo -u bob -g adm /bin/touch a b'",
    "/usr/bin/sudo -u bob -g adm /bin/touch a b",
  ],
];

for (const [values, line, started] of MESSAGES) {
  Deno.test(`a command message runs "${started}"`, async () => {
    const bench = makeBench();
    bench.onStart = (command) => command.end({ status: 1 });
    await bench.cycles.carryOut({ ...stanzaOf(""), ...values }, MESSAGE, OPEN);
    deepStrictEqual(bench.lines, [
      `info ${OPEN} Processing SPA Command message: command='/bin/touch a b'.`,
      `info ${OPEN} ${line}`,
      `info ${OPEN} CMD_EXEC: command returned 0, pid_status: 1`,
    ]);
    deepStrictEqual(bench.ran(), [started]);
  });
}

Deno.test("CMD_EXEC_TIMEOUT limits commands, and is 60 seconds where it is not set", async () => {
  for (const [set, limit] of [[null, 60], [7, 7]] as const) {
    const bench = makeBench({ config: { CMD_EXEC_TIMEOUT: set } });
    bench.onStart = () => {};
    const task = bench.cycles.carryOut(stanzaOf(""), MESSAGE, OPEN);
    await bench.advance(limit * 1000 - 1);
    deepStrictEqual(bench.commands[0]?.signals, []);
    await bench.advance(1);
    deepStrictEqual(bench.commands[0].signals, ["SIGTERM"]);
    bench.commands[0].end({ signal: 15 });
    await task;
    strictEqual(bench.lines.at(-1), `info ${OPEN} CMD_EXEC: command returned 16, pid_status: 15`);
  }
});
