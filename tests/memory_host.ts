// A Host that lives in memory: files in a map, output in strings, packets in a list. What a test
// does not set up fails loudly.

import type {
  BytesCall,
  BytesResult,
  Endpoint,
  FileInfo,
  Host,
  ProgramCall,
  ProgramResult,
} from "../lib/host.ts";

/** One file; directories are not modelled. */
export interface MemoryFile {
  readonly text: string;
  readonly mode: number;
}

/** A packet that was sent. */
export interface MemoryPacket {
  readonly over: "udp" | "tcp";
  readonly to: Endpoint;
  readonly payload: string;
  readonly sourcePort: number;
}

/** A packet that was sent with its IP header. */
export interface MemoryRawPacket {
  readonly packet: Uint8Array;
  readonly destination: string;
}

/** What a test sets up. */
export interface MemorySetup {
  readonly env?: Readonly<Record<string, string>>;
  /** Texts by path; mode 0600. */
  readonly files?: Readonly<Record<string, string>>;
  /** Nothing can be written. */
  readonly readOnly?: true;
  /** What each descriptor holds. */
  readonly descriptors?: Readonly<Record<number, string>>;
  /** What is typed on the terminal; without it there is none. */
  readonly typed?: string;
  readonly terminals?: readonly ("stdin" | "stdout" | "stderr")[];
  /** Milliseconds since 1970 UTC. */
  readonly now?: number;
  readonly names?: Readonly<Record<string, readonly string[]>>;
  readonly run?: (call: ProgramCall) => ProgramResult;
  readonly runOnBytes?: (call: BytesCall) => BytesResult;
  /** Bodies by URL. */
  readonly pages?: Readonly<Record<string, string>>;
}

/** The host, and what happened to it. */
export interface MemoryHost {
  readonly host: Host;
  readonly files: Map<string, MemoryFile>;
  readonly packets: MemoryPacket[];
  readonly rawPackets: MemoryRawPacket[];
  stdout(): string;
  stderr(): string;
  /** What was shown on the terminal that secrets are asked on. */
  prompts(): string;
}

/** Makes a host; random bytes count up from 1. */
export function memoryHost(setup: MemorySetup = {}): MemoryHost {
  const files = new Map<string, MemoryFile>();
  for (const [path, text] of Object.entries(setup.files ?? {})) {
    files.set(path, { text, mode: 0o600 });
  }
  const packets: MemoryPacket[] = [];
  const rawPackets: MemoryRawPacket[] = [];
  let stdout = "";
  let stderr = "";
  let prompts = "";
  let counter = 0;
  const info = (path: string): FileInfo | null => {
    const file = files.get(path);
    if (file === undefined) return null;
    const { mode, text } = file;
    return {
      isFile: true,
      isDirectory: false,
      isSymlink: false,
      mode,
      uid: 1000,
      size: text.length,
    };
  };
  const mustHave = (path: string): MemoryFile => {
    const file = files.get(path);
    if (file === undefined) throw new Error(`No such file or directory (os error 2): ${path}`);
    return file;
  };
  const deliver = (over: "udp" | "tcp", to: Endpoint, bytes: Uint8Array, sourcePort: number) => {
    const payload = new TextDecoder().decode(bytes);
    packets.push({ over, to, payload, sourcePort });
    return bytes.length;
  };
  const known: Partial<Host> = {
    pid: 1,
    uid: 1000,
    env: (name) => setup.env?.[name],
    now: () => setup.now ?? 1_795_000_000_000,
    monotonic: () => 0,
    randomBytes: (count) => Uint8Array.from({ length: count }, () => ++counter & 0xff),
    readTextFile: (path) => mustHave(path).text,
    writeTextFile: (path, text, { mode, how }) => {
      if (setup.readOnly) throw new Error("Read-only file system (os error 30)");
      const old = files.get(path);
      if (how === "create" && old !== undefined) throw new Error("File exists (os error 17)");
      const before = how === "append" ? old?.text ?? "" : "";
      files.set(path, { text: before + text, mode: old?.mode ?? mode });
    },
    stat: info,
    lstat: info,
    rename: (from, to) => {
      files.set(to, mustHave(from));
      files.delete(from);
    },
    remove: (path) => {
      mustHave(path);
      files.delete(path);
    },
    absolutePath: (path) => path.startsWith("/") ? path : `/cwd/${path}`,
    run: (call) => {
      if (setup.run === undefined) throw new Error(`no programs here: ${call.program}`);
      return Promise.resolve(setup.run(call));
    },
    runOnBytes: (call) => {
      if (setup.runOnBytes === undefined) throw new Error(`no programs here: ${call.program}`);
      return Promise.resolve(setup.runOnBytes(call));
    },
    resolve: (name) => {
      const found = setup.names?.[name];
      return found === undefined
        ? Promise.reject(new Error("Name or service not known"))
        : Promise.resolve([...found]);
    },
    sendDatagram: (to, bytes, port) => Promise.resolve(deliver("udp", to, bytes, port)),
    sendStream: (to, bytes) => Promise.resolve(void deliver("tcp", to, bytes, 0)),
    openRawSocket: () =>
      Promise.resolve({
        sourceFor: () => Uint8Array.of(192, 0, 2, 99),
        send: (packet, destination) => {
          rawPackets.push({ packet, destination: [...destination].join(".") });
          return packet.length;
        },
        close: () => {},
      }),
    fetchPage: (url) => {
      const body = setup.pages?.[url];
      return body === undefined
        ? Promise.reject(new Error("connection refused"))
        : Promise.resolve({ url, body });
    },
    readLines: (descriptor, count) => {
      const text = setup.descriptors?.[descriptor];
      if (text === undefined) throw new Error("No such file or directory (os error 2)");
      const lines = text.split("\n");
      if (lines.at(-1) === "") lines.pop();
      return lines.slice(0, count).map((line) => new TextEncoder().encode(line));
    },
    openTerminal: () => {
      if (setup.typed === undefined) return Promise.resolve(null);
      const bytes = new TextEncoder().encode(setup.typed);
      let position = 0;
      return Promise.resolve({
        write: (text) => void (prompts += text),
        read: () => position < bytes.length ? bytes.subarray(position, ++position) : null,
        close: () => void (prompts += "(closed)"),
      });
    },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    isTerminal: (stream) => setup.terminals?.includes(stream) ?? false,
  };
  const host = new Proxy(known, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (member === undefined && name !== "then") {
        throw new Error(`Host.${String(name)} is not here`);
      }
      return member;
    },
  }) as Host;
  return {
    host,
    files,
    packets,
    rawPackets,
    stdout: () => stdout,
    stderr: () => stderr,
    prompts: () => prompts,
  };
}
