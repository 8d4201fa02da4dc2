// A host where commands run when the test says so: a clock that is moved by hand, files in memory.

import { setImmediate } from "node:timers/promises";
import type { CommandCall, CommandEnd, FileInfo, Host } from "../lib/host.ts";
import { createLog, type Log } from "../lib/serve_log.ts";
import type { Timer } from "../lib/serve_timer.ts";

/** One command that was started. */
export interface FakeCommand {
  readonly call: CommandCall;
  /** Program and arguments. */
  readonly text: string;
  /** Signals that its group got. */
  readonly signals: string[];
  /** Ends it; what it has started keeps its output open if `leavesOutput` says so. */
  end(end?: Partial<CommandEnd>, leavesOutput?: boolean): void;
}

/** A file of the fake host. */
export interface FakeFile {
  text: string;
  readonly mode: number;
  readonly uid: number;
}

/** The host, the clock and what has happened. */
export interface CommandScene {
  readonly host: Host;
  readonly timer: Timer;
  readonly log: Log;
  /** `level text`. */
  readonly lines: string[];
  readonly commands: FakeCommand[];
  readonly files: Map<string, FakeFile>;
  /** What a command does when it is started; it ends with status 0 unless a test says otherwise. */
  onStart: (command: FakeCommand) => void;
  /** Makes writing to files fail. */
  diskIsFull: boolean;
  /** The machine sleeps: both clocks go on, timers do not. */
  sleep(milliseconds: number): void;
  /** Moves both clocks, calling what is due on the way. */
  advance(milliseconds: number): Promise<void>;
}

/** What a test sets up. */
export interface SceneSettings {
  /** Programs that are not there. */
  readonly without?: readonly string[];
  /** Wall clock at the start, in seconds since 1970 UTC. */
  readonly time?: number;
  readonly files?: Map<string, FakeFile>;
}

/** Makes a scene. */
export function makeScene(settings: SceneSettings = {}): CommandScene {
  const timers = new Map<symbol, { readonly at: number; readonly action: () => void }>();
  const lines: string[] = [];
  const commands: FakeCommand[] = [];
  const files = settings.files ?? new Map<string, FakeFile>();
  let monotonic = 5000;
  let wall = (settings.time ?? 1795321401) * 1000;
  const info = (path: string): FileInfo | null => {
    const file = files.get(path);
    if (file === undefined) return null;
    const { mode, uid, text } = file;
    return { isFile: true, isDirectory: false, isSymlink: false, mode, uid, size: text.length };
  };
  const mustHave = (path: string): FakeFile => {
    const file = files.get(path);
    if (file === undefined) throw new Error(`No such file or directory (os error 2): ${path}`);
    return file;
  };
  const mustHaveRoom = (): void => {
    if (scene.diskIsFull) throw new Error("No space left on device (os error 28)");
  };

  const known: Partial<Host> = {
    uid: 0,
    now: () => wall,
    monotonic: () => monotonic,
    stat: (path) => {
      const name = path.replace(/.*\//, "");
      if (!/^\/(usr\/)?bin\//.test(path) || settings.without?.includes(name)) return null;
      return { isFile: true, isDirectory: false, isSymlink: false, mode: 0o755, uid: 0, size: 1 };
    },
    lstat: info,
    readTextFile: (path) => mustHave(path).text,
    replaceFile: async (path, pieces, mode) => {
      await Promise.resolve();
      mustHaveRoom();
      const text = [...pieces].map((piece) => new TextDecoder().decode(piece)).join("");
      files.set(path, { text, mode, uid: 0 });
    },
    remove: (path) => {
      mustHave(path);
      files.delete(path);
    },
    openRecordFile: (path, mode) => {
      const file = files.get(path) ?? { text: "", mode, uid: 0 };
      files.set(path, file);
      return {
        append: async (text) => {
          await Promise.resolve();
          // A full disk still takes the beginning.
          if (scene.diskIsFull) file.text += text.slice(0, 20);
          mustHaveRoom();
          file.text += text;
        },
        close: () => {},
      };
    },
    startCommand: (call) => {
      const ended = Promise.withResolvers<CommandEnd>();
      const outputClosed = Promise.withResolvers<void>();
      const command: FakeCommand = {
        call,
        text: [call.program, ...call.args].join(" "),
        signals: [],
        end(end = {}, leavesOutput = false) {
          ended.resolve({ status: 0, signal: null, ...end });
          if (!leavesOutput) outputClosed.resolve();
        },
      };
      commands.push(command);
      scene.onStart(command);
      return {
        ended: ended.promise,
        outputClosed: outputClosed.promise,
        signal: (name) => void command.signals.push(name),
      };
    },
  };

  const scene: CommandScene = {
    host: known as Host,
    timer: (milliseconds, action) => {
      const key = Symbol();
      timers.set(key, { at: monotonic + milliseconds, action });
      return () => timers.delete(key);
    },
    log: createLog(0, (level, text) => lines.push(`${level} ${text}`)),
    lines,
    commands,
    files,
    onStart: (command) => command.end(),
    diskIsFull: false,
    sleep(milliseconds) {
      monotonic += milliseconds;
      wall += milliseconds;
      for (const [key, { at, action }] of timers) {
        timers.set(key, { at: at + milliseconds, action });
      }
    },
    async advance(milliseconds) {
      const end = monotonic + milliseconds;
      for (;;) {
        await settle();
        const [next] = [...timers].sort(([, a], [, b]) => a.at - b.at);
        if (next === undefined || next[1].at > end) break;
        timers.delete(next[0]);
        wall += next[1].at - monotonic;
        monotonic = next[1].at;
        next[1].action();
      }
      wall += end - monotonic;
      monotonic = end;
      await settle();
    },
  };
  return scene;
}

/** Lets everything run that waits for nothing but other promises. */
function settle(): Promise<void> {
  return setImmediate();
}
