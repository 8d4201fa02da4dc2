// The pid file against a system in memory: who holds the lock, and what becomes of the file.

import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import type { Host, Native } from "../lib/host.ts";
import { killDaemon, reportStatus, restartDaemon, takePidFile } from "../lib/serve_process.ts";

const PATH = "/run/fwknopd.pid";
const NOT_RUNNING = "No running fwknopd detected.\n";

/** A file at a path; those that were removed live on where they are open. */
interface Inode {
  text: string;
  /** The process that has it locked. */
  holder: number | null;
}

interface Scene {
  readonly host: Host;
  /** The file at the path. */
  file: Inode | null;
  readonly open: Map<number, Inode>;
  readonly signals: string[];
  /** Signals that end the daemon. */
  readonly deadly: Set<string>;
  /** Called before the lock of a file that was opened is asked for. */
  onOpened: () => void;
  full: boolean;
}

function makeScene(file: Inode | null): Scene {
  let last = 9;
  const openAt = (create: boolean): number => {
    if (scene.file === null && !create) throw new Error("No such file or directory");
    scene.file ??= { text: "", holder: null };
    scene.open.set(++last, scene.file);
    scene.onOpened();
    return last;
  };
  const libc: Partial<Native["libc"]> = {
    openFile: () => openAt(true),
    openFileReadOnly: () => openAt(false),
    lockFile(fd) {
      const inode = scene.open.get(fd)!;
      if (inode.holder !== null) return false;
      inode.holder = 4711;
      return true;
    },
    queryLock: (fd) => ({ holder: scene.open.get(fd)!.holder }),
    rewriteFile(fd, text) {
      if (scene.full) throw new Error("No space left on device");
      scene.open.get(fd)!.text = text;
    },
    closeFile(fd) {
      const inode = scene.open.get(fd);
      if (inode?.holder === 4711) inode.holder = null;
      scene.open.delete(fd);
    },
  };
  const host: Partial<Host> = {
    pid: 4711,
    native: () => Promise.resolve({ libc } as Native),
    stat: () => scene.file === null ? null : ({} as ReturnType<Host["stat"]>),
    remove: () => void (scene.file = null),
    signal(pid, name) {
      if (scene.file?.holder !== pid) return false;
      scene.signals.push(`${name} ${pid}`);
      if (scene.deadly.has(name)) scene.file.holder = null;
      return true;
    },
  };
  const scene: Scene = {
    host: host as Host,
    file,
    open: new Map(),
    signals: [],
    deadly: new Set(["SIGTERM"]),
    onOpened: () => {},
    full: false,
  };
  return scene;
}

const stale = (): Inode => ({ text: "7\n", holder: null });

Deno.test("a stale pid file is taken over, and goes at the end", async () => {
  for (const file of [null, stale()]) {
    const scene = makeScene(file);
    const pidFile = await takePidFile(scene.host, PATH);
    deepStrictEqual(scene.file, { text: "4711\n", holder: 4711 });
    pidFile.release();
    strictEqual(scene.file, null);
    strictEqual(scene.open.size, 0);
  }
});

Deno.test("a second daemon is refused with the first one's number, and changes nothing", async () => {
  const scene = makeScene({ text: "7\n", holder: 7 });
  await rejects(
    takePidFile(scene.host, PATH),
    /^Error: \[\*\] An instance of fwknopd is already running: \(PID=7\)\.$/,
  );
  deepStrictEqual(scene.file, { text: "7\n", holder: 7 });
  strictEqual(scene.open.size, 0);
});

Deno.test("a pid file that the last daemon removes just then is not the one that is locked", async () => {
  const scene = makeScene(stale());
  scene.onOpened = () => {
    scene.file = null;
    scene.onOpened = () => {};
  };
  await takePidFile(scene.host, PATH);
  deepStrictEqual(scene.file, { text: "4711\n", holder: 4711 });
  strictEqual(scene.open.size, 1);
});

Deno.test("a pid file that cannot be written is an error that names it, and stays unlocked", async () => {
  const scene = makeScene(null);
  scene.full = true;
  await rejects(
    takePidFile(scene.host, PATH),
    /^Error: cannot write PID file "\/run\/fwknopd\.pid": No space left on device$/,
  );
  strictEqual(scene.open.size, 0);
  strictEqual((scene.file as Inode | null)?.holder, null);
});

Deno.test("-S, -R and -K go by the lock: a number in a file alone is nobody", async () => {
  for (const file of [null, stale()]) {
    const scene = makeScene(file);
    deepStrictEqual(await reportStatus(scene.host, PATH), {
      status: 1,
      stdout: NOT_RUNNING,
      stderr: "",
    });
    deepStrictEqual(await restartDaemon(scene.host, PATH), {
      status: 1,
      stdout: NOT_RUNNING,
      stderr: "",
    });
    deepStrictEqual(await killDaemon(scene.host, PATH), {
      status: 1,
      stdout: "",
      stderr: NOT_RUNNING,
    });
    deepStrictEqual(scene.signals, []);
    deepStrictEqual(scene.file, file);
  }
});

Deno.test("-S, -R and -K reach the process that holds the lock, whatever the file says", async () => {
  const scene = makeScene({ text: "7\n", holder: 8 });
  const { stdout } = await reportStatus(scene.host, PATH);
  strictEqual(stdout, "Detected fwknopd is running (pid=8).\n");
  strictEqual((await restartDaemon(scene.host, PATH)).status, 0);
  const killed = await killDaemon(scene.host, PATH);
  strictEqual(killed.stdout, "Killed fwknopd (pid=8) via SIGTERM\n");
  deepStrictEqual(scene.signals, ["SIGHUP 8", "SIGTERM 8"]);
});
