// The digest cache on a real disk, whose failures the tests play, and with a clock that they set.

import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { createReplayMemory, type ReplayMemory } from "../lib/auth_replay.ts";
import {
  DIGEST_CACHE_HEADER,
  formatReplayRecord,
  type ReplayRecord,
} from "../lib/auth_replay_line.ts";
import { denoHost } from "../lib/host_deno.ts";
import { createLog } from "../lib/serve_log.ts";
import { openReplayFile, type ReplayFile } from "../lib/serve_replay_file.ts";
import { linesOf } from "../lib/serve_replay_lines.ts";
import type { ReplayHost } from "../lib/serve_replay_writer.ts";

const NOW = 1_795_321_401;
const LIFE = 241;

function record(number: number, time = NOW): ReplayRecord {
  return {
    digest: String(number).padStart(43, "d"),
    protocol: 17,
    source: "192.0.2.10",
    sourcePort: 45092,
    destination: "192.0.2.1",
    destinationPort: 62201,
    time,
  };
}

const lineOf = (number: number, time = NOW): string => formatReplayRecord(record(number, time));

/** A digest cache in a directory of its own. */
interface Scene {
  readonly path: string;
  readonly host: ReplayHost;
  readonly memory: ReplayMemory;
  /** `level text`. */
  readonly lines: string[];
  /** What the disk answers to writes; null when it takes them. */
  fault: string | null;
  open(): ReplayFile;
  write(text: string | Uint8Array): void;
  read(): string;
}

async function withCache(use: (scene: Scene) => Promise<void> | void): Promise<void> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/digest.cache`;
  const real = denoHost();
  const lines: string[] = [];
  const mustTake = (): void => {
    if (scene.fault !== null) throw new Error(scene.fault);
  };
  const host: ReplayHost = {
    ...real,
    now: () => NOW * 1000,
    openRecordFile(name, mode) {
      const file = real.openRecordFile(name, mode);
      return {
        append: async (text) => {
          mustTake();
          await file.append(text);
        },
        close: file.close,
      };
    },
    replaceFile: async (...args) => {
      mustTake();
      await real.replaceFile(...args);
    },
  };
  const scene: Scene = {
    path,
    host,
    memory: createReplayMemory(),
    lines,
    fault: null,
    open: () => {
      const log = createLog(0, (level, text) => lines.push(`${level} ${text}`));
      return openReplayFile(host, path, scene.memory, log, ({ time }) => time + LIFE);
    },
    write: (text) => {
      const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
      Deno.writeFileSync(path, bytes, { mode: 0o600 });
    },
    read: () => Deno.readTextFileSync(path),
  };
  try {
    await use(scene);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("a missing digest cache is made, and what is added is found by the next start", () =>
  withCache(async (scene) => {
    const file = scene.open();
    strictEqual(scene.read(), DIGEST_CACHE_HEADER);
    strictEqual((Deno.statSync(scene.path).mode ?? 0) & 0o777, 0o600);
    await Promise.all([1, 2, 3].map((number) => file.append(record(number))));
    file.close();
    strictEqual(scene.read(), DIGEST_CACHE_HEADER + lineOf(1) + lineOf(2) + lineOf(3));
    scene.open().close();
    strictEqual(scene.memory.size, 3);
    deepStrictEqual(scene.memory.find(record(2).digest), record(2));
    deepStrictEqual(scene.lines, []);
  }));

Deno.test("records before and behind a line that a crash tore are kept, and it spoils none", () =>
  withCache(async (scene) => {
    for (const torn of ["d", lineOf(2).slice(0, 60), lineOf(2).trimEnd(), "\0".repeat(4096)]) {
      scene.write(DIGEST_CACHE_HEADER + lineOf(1) + torn);
      const file = scene.open();
      await file.append(record(3));
      file.close();
      strictEqual(scene.read(), `${DIGEST_CACHE_HEADER}${lineOf(1)}${torn}\n${lineOf(3)}`);
      Object.assign(scene, { memory: createReplayMemory() });
      scene.open().close();
      for (const number of [1, 3]) ok(scene.memory.find(record(number).digest) !== null, torn);
    }
  }));

Deno.test("damaged lines are skipped, and a few of them are shown", () =>
  withCache((scene) => {
    scene.write(`${DIGEST_CACHE_HEADER}${lineOf(1)}${"bad\x1b[1m\n".repeat(5000)}${lineOf(2)}`);
    scene.open().close();
    strictEqual(scene.memory.size, 2);
    strictEqual(scene.lines.length, 11);
    strictEqual(
      scene.lines[0],
      `info *Skipping invalid digest file entry in ${scene.path} at line 3.\n - bad?[1m`,
    );
    strictEqual(
      scene.lines[10],
      `info *Skipped 5000 invalid digest file entries in ${scene.path}.`,
    );
  }));

/** What may lie where the digest cache should be, and what is said of it. */
const UNUSABLE: readonly [string, (path: string) => void, RegExp][] = [
  ["a directory", (path) => Deno.mkdirSync(path), /it is not a regular file$/],
  [
    "a symbolic link",
    (path) => {
      Deno.writeTextFileSync(`${path}.there`, DIGEST_CACHE_HEADER);
      Deno.symlinkSync(`${path}.there`, path);
    },
    /it is a symbolic link; set DIGEST_FILE to the file itself$/,
  ],
  [
    "a link to nothing",
    (path) => Deno.symlinkSync("/nonexistent/there", path),
    /it is a symbolic link/,
  ],
  [
    "something binary",
    (path) => Deno.writeFileSync(path, crypto.getRandomValues(new Uint8Array(60_000))),
    /it is not a digest cache: remove it, or set DIGEST_FILE to another file$/,
  ],
  [
    "nothing but zeros",
    (path) => Deno.writeFileSync(path, new Uint8Array(3_000_000)),
    /it is not a digest cache/,
  ],
  [
    "a file of another program",
    (path) => Deno.writeTextFileSync(path, "# settings\nPCAP_INTF eth0\n"),
    /it is not a digest cache/,
  ],
];

for (const [name, make, expected] of UNUSABLE) {
  Deno.test(`${name} in the place of the digest cache stops the start and stays`, () =>
    withCache((scene) => {
      make(scene.path);
      throws(() => scene.open(), (error: Error) => {
        ok(error.message.startsWith(`cannot use digest cache "${scene.path}": `), error.message);
        match(error.message, expected);
        ok(!error.message.includes("\n"));
        return true;
      });
      ok(scene.lines.length <= 11);
      Deno.lstatSync(scene.path);
    }));
}

Deno.test("a digest cache that others can change is used with a warning, as by fwknopd", () =>
  withCache((scene) => {
    scene.write(DIGEST_CACHE_HEADER);
    Deno.chmodSync(scene.path, 0o666);
    scene.open().close();
    strictEqual(scene.lines.length, 1);
    match(scene.lines[0] ?? "", /^warning \[-\] file: \S+ permissions should only be user read/);
  }));

Deno.test("while the disk takes nothing no record counts as kept; the log says so once, and once when it does again", () =>
  withCache(async (scene) => {
    const file = scene.open();
    await file.append(record(1));
    scene.fault = "No space left on device (os error 28)";
    for (const number of [2, 3, 4]) {
      await rejects(file.append(record(number)), /No space left on device/);
    }
    deepStrictEqual(scene.lines, [
      `error Cannot write to digest cache ${scene.path}, so nothing is opened: No space left on device`,
    ]);
    scene.fault = null;
    await file.append(record(5));
    deepStrictEqual(scene.lines.slice(1), [
      `warning Digest cache ${scene.path} can be written again.`,
    ]);
    await file.append(record(6));
    file.close();
    strictEqual(scene.lines.length, 2);
    // What was refused meanwhile stays refused, also after a restart.
    const numbers = [1, 2, 3, 4, 5, 6];
    strictEqual(scene.read(), DIGEST_CACHE_HEADER + numbers.map((one) => lineOf(one)).join(""));
  }));

Deno.test("a digest cache that somebody removes is made again, with a warning", () =>
  withCache(async (scene) => {
    const file = scene.open();
    await file.append(record(1));
    Deno.removeSync(scene.path);
    await file.append(record(2));
    file.close();
    strictEqual(scene.read(), DIGEST_CACHE_HEADER + lineOf(2));
    deepStrictEqual(scene.lines, [
      `warning Digest cache ${scene.path} has vanished, making a new one.`,
    ]);
  }));

Deno.test("a file of records that no longer matter is written anew, with the newest of them", () =>
  withCache(async (scene) => {
    const old = Array.from({ length: 50_000 }, (_, number) => lineOf(number, NOW - 100_000));
    const young = lineOf(50_000);
    const older = Array.from({ length: 50_000 }, (_, number) => lineOf(number + 50_001, 1000));
    scene.write(`${DIGEST_CACHE_HEADER}${old.join("")}damaged\n${young}${older.join("")}`);
    const file = scene.open();
    await file.append(record(200_000));
    file.close();
    const lines = scene.read().split("\n");
    strictEqual(lines.length, 1 + 1 + 10_000 + 1 + 1);
    strictEqual(`${lines[0]}\n`, DIGEST_CACHE_HEADER);
    strictEqual(`${lines[1]}\n`, young);
    strictEqual(`${lines[2]}\n`, older.at(-10_000));
    strictEqual(`${lines.at(-2)}\n`, lineOf(200_000));
    strictEqual((Deno.statSync(scene.path).mode ?? 0) & 0o777, 0o600);
    const names = [...Deno.readDirSync(scene.path.replace(/[^/]*$/, ""))].map(({ name }) => name);
    deepStrictEqual(names, ["digest.cache"]);
  }));

Deno.test("a file of records that all matter is not shortened", () =>
  withCache(async (scene) => {
    const young = Array.from({ length: 30_000 }, (_, number) => lineOf(number));
    scene.write(DIGEST_CACHE_HEADER + young.join(""));
    const file = scene.open();
    strictEqual(scene.memory.size, 30_000);
    await file.append(record(30_000));
    file.close();
    strictEqual(scene.read(), DIGEST_CACHE_HEADER + young.join("") + lineOf(30_000));
  }));

Deno.test("the file does not grow for ever while the daemon runs", () =>
  withCache(async (scene) => {
    let now = NOW;
    Object.assign(scene.host, { now: () => now * 1000 });
    const file = scene.open();
    for (let round = 0; round < 30; round++) {
      const numbers = Array.from({ length: 2000 }, (_, number) => round * 2000 + number);
      await Promise.all(numbers.map((number) => file.append(record(number, now))));
      now += LIFE + 1;
    }
    file.close();
    const lines = scene.read().split("\n").length;
    ok(lines >= 10_000 && lines <= 22_002, `${lines} lines`);
    ok(scene.read().endsWith(lineOf(59_999, now - LIFE - 1)));
  }));

Deno.test("a file that another process reads is looked through beside other work, before anything is added", () =>
  withCache(async (scene) => {
    const old = Array.from({ length: 25_000 }, (_, number) => lineOf(number, 1000));
    scene.write(`${DIGEST_CACHE_HEADER}${old.join("")}damaged\n`);
    Object.assign(scene, { memory: null });
    const file = scene.open();
    deepStrictEqual(scene.lines, []);
    await file.append(record(25_000));
    file.close();
    deepStrictEqual(scene.lines, [
      `info *Skipping invalid digest file entry in ${scene.path} at line 25002.\n - damaged`,
    ]);
    const kept = old.slice(-10_000).join("");
    strictEqual(scene.read(), `${DIGEST_CACHE_HEADER}${kept}${lineOf(25_000)}`);
  }));

Deno.test("a file that cannot be written anew is gone on with as it is", () =>
  withCache(async (scene) => {
    const old = Array.from({ length: 25_000 }, (_, number) => lineOf(number, 1000));
    scene.write(DIGEST_CACHE_HEADER + old.join(""));
    const { replaceFile } = scene.host;
    Object.assign(scene.host, {
      replaceFile: () => Promise.reject(new Error("Read-only file system (os error 30)")),
    });
    const file = scene.open();
    await file.append(record(25_000));
    await file.append(record(25_001));
    file.close();
    Object.assign(scene.host, { replaceFile });
    deepStrictEqual(scene.lines, [
      `warning Cannot write digest cache ${scene.path} anew: Read-only file system`,
    ]);
    strictEqual(scene.read().split("\n").length, 25_000 + 4);
  }));

Deno.test("however the clock is set between restarts, what was accepted is known", () =>
  withCache(async (scene) => {
    const year = 365 * 86_400;
    const times = [0, year, -3600, 3 * year, 1, -year, 0, 60, 2 * year].map((step) => NOW + step);
    for (const [number, time] of times.entries()) {
      Object.assign(scene.host, { now: () => time * 1000 });
      Object.assign(scene, { memory: createReplayMemory() });
      const file = scene.open();
      scene.memory.prune(time);
      for (let known = 0; known < number; known++) {
        deepStrictEqual(scene.memory.find(record(known).digest), record(known, times[known]));
      }
      await file.append(record(number, time));
      file.close();
    }
  }));

Deno.test("linesOf() gives the same lines however a file is cut into pieces", () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((some) =>
    some.map((byte) => byte < 60 ? 10 : byte)
  );
  const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });
  fc.assert(fc.property(bytes, cuts, (all, sizes) => {
    const given: string[] = [];
    for (const { bytes: line, from, to } of linesOf(piecesOf(all, sizes))) {
      strictEqual(line[to], 10);
      given.push(line.subarray(from, to).join());
    }
    const expected = [[] as number[]];
    for (const byte of all) {
      if (byte === 10) expected.push([]);
      else expected.at(-1)!.push(byte);
    }
    if (expected.at(-1)!.length === 0) expected.pop();
    deepStrictEqual(given, expected.map((line) => line.join()));
  }));
});

Deno.test("linesOf() keeps little of a line that has no end", () => {
  const pieces = Array.from({ length: 100 }, () => new Uint8Array(100_000).fill(65));
  const lengths = [...linesOf([...pieces, Uint8Array.of(10, 66)])].map(({ from, to }) => to - from);
  deepStrictEqual(lengths, [1024, 1]);
});

/** Pieces that overwrite each other, as those of a host do. */
function* piecesOf(all: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  const piece = new Uint8Array(40);
  for (let at = 0, turn = 0; at < all.length; turn++) {
    const size = sizes[turn % sizes.length]!;
    const part = all.subarray(at, at + size);
    piece.set(part);
    yield piece.subarray(0, part.length);
    at += size;
  }
}
