// The real `Host`, on Deno.

import type { Nftables } from "../ffi/libnftables.ts";
import type {
  AddressFamily,
  BytesCall,
  BytesResult,
  CopyOfProgram,
  Endpoint,
  FetchedPage,
  FetchOptions,
  FileInfo,
  Host,
  Native,
  ProgramCall,
  ProgramResult,
  SignalName,
  WriteOptions,
} from "./host.ts";
import { reasonOf } from "./host.ts";
import { startCommand, startInForeground } from "./host_deno_command.ts";
import {
  openRecordFile,
  readPieces,
  replaceFile,
  syncDirectory,
  writeAll,
} from "./host_deno_file.ts";
import { collectGarbage, copyArguments, LEAN_RUNTIME, startPart } from "./host_deno_part.ts";
import { connectStream, listenStreams, standardStream } from "./host_deno_stream.ts";

/** The host this process runs on. */
export function denoHost(): Host {
  const encoder = new TextEncoder();
  /** Stands still while the machine sleeps; the C library has one that does not. */
  let clock = (): number => performance.now();
  let nftables: Nftables | null = null;
  return {
    pid: Deno.pid,
    uid: Deno.uid() ?? 0,
    env: (name) => Deno.env.get(name),
    now: () => Date.now(),
    monotonic: () => clock(),
    randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    readTextFile: (path) => Deno.readTextFileSync(path),
    writeTextFile,
    stat: (path) => fileInfo(() => Deno.statSync(path)),
    lstat: (path) => fileInfo(() => Deno.lstatSync(path)),
    listDirectory: (path) => [...Deno.readDirSync(path)].map((entry) => entry.name).sort(),
    makeDirectory: (path, mode) => Deno.mkdirSync(path, { recursive: true, mode }),
    rename: (from, to) => Deno.renameSync(from, to),
    remove: (path) => Deno.removeSync(path),
    readPieces,
    replaceFile,
    syncDirectory,
    openRecordFile,
    changeDirectory: (path) => Deno.chdir(path),
    setFileMask: (mask) => void Deno.umask(mask),
    absolutePath: (path) => path.startsWith("/") ? path : `${Deno.cwd()}/${path}`,
    run,
    runOnBytes: execute,
    startCommand,
    startInForeground,
    resolve,
    sendDatagram,
    sendStream,
    connectStream,
    standardStream,
    listenStreams,
    openRawSocket: async () => (await import("../ffi/raw_socket.ts")).openRawSocket(),
    openNotifySocket: async (address) =>
      (await import("../ffi/notify_socket.ts")).openNotifySocket(address),
    fetchPage,
    readLines,
    openTerminal: async () => (await import("./host_deno_terminal.ts")).openTerminal(),
    stdout: (text) => writeAll(Deno.stdout, encoder.encode(text)),
    stderr: (text) => writeAll(Deno.stderr, encoder.encode(text)),
    isTerminal: (stream) => Deno[stream].isTerminal(),
    native: async () => {
      const libraries = await native();
      const ahead = clock() - libraries.libc.sinceBoot();
      clock = () => libraries.libc.sinceBoot() + ahead;
      // One context serves all: a later one would not use the memory of an earlier one again.
      return { ...libraries, openNftables: () => nftables ??= libraries.openNftables() };
    },
    startCopy,
    startPart,
    collectGarbage,
    loadConfinement: async () => (await import("./host_deno_confinement.ts")).loadConfinement(),
    signal,
    onSignal,
  };
}

function writeTextFile(path: string, text: string, options: WriteOptions): void {
  Deno.writeTextFileSync(path, text, {
    mode: options.mode,
    append: options.how === "append",
    createNew: options.how === "create",
  });
}

function fileInfo(look: () => Deno.FileInfo): FileInfo | null {
  try {
    const info = look();
    return {
      isFile: info.isFile,
      isDirectory: info.isDirectory,
      isSymlink: info.isSymlink,
      mode: (info.mode ?? 0) & 0o7777,
      uid: info.uid ?? 0,
      size: info.size,
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function native(): Promise<Native> {
  const [
    { loadLibc },
    { openPcap, openPcapFile },
    { openPacketQueue, readPacketQueue },
    { openNftables },
    { prepareNativeHmac },
    { findCodePages },
  ] = await Promise.all([
    import("../ffi/libc.ts"),
    import("../ffi/libpcap.ts"),
    import("../ffi/libnetfilter_queue.ts"),
    import("../ffi/libnftables.ts"),
    import("./host_hmac.ts"),
    import("../ffi/code_pages.ts"),
  ]);
  return {
    libc: loadLibc(),
    openPcap,
    openPcapFile,
    openPacketQueue,
    readPacketQueue,
    openNftables,
    prepareHmac: prepareNativeHmac(),
    releaseCode: findCodePages(),
  };
}

function startCopy(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): CopyOfProgram {
  const child = new Deno.Command(Deno.execPath(), {
    args: copyArguments(args),
    env: { ...LEAN_RUNTIME, ...environment },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  return {
    pid: child.pid,
    stderr: child.stderr.pipeThrough(new TextDecoderStream()),
    status: child.status.then(({ code }) => code),
  };
}

function signal(pid: number, name: SignalName | "SIGKILL"): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function run(call: ProgramCall): Promise<ProgramResult> {
  const { stdin, ...rest } = call;
  const input = stdin === undefined ? undefined : new TextEncoder().encode(stdin);
  const result = await execute(input === undefined ? rest : { ...rest, stdin: input });
  return { ...result, stdout: new TextDecoder().decode(result.stdout) };
}

/** Most programs print next to nothing. */
const READ_BYTES = 8192;

async function execute(
  { program, args, stdin, timeout }: Omit<BytesCall, "stdin"> & Partial<Pick<BytesCall, "stdin">>,
): Promise<BytesResult> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args: [...args],
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    return { status: 127, stdout: new Uint8Array(), stderr: `${program}: ${reasonOf(error)}` };
  }
  const timer = timeout === undefined
    ? undefined
    : setTimeout(() => signal(child.pid, "SIGKILL"), timeout);
  // Not `child.output()`: its buffers stay, a hundred kilobytes for each program that was run.
  const end = Promise.all([child.status, readAll(child.stdout), readAll(child.stderr)]);
  if (stdin !== undefined) await feed(child.stdin, stdin);
  const [{ code }, stdout, stderr] = await end;
  clearTimeout(timer);
  return { status: code, stdout, stderr: new TextDecoder().decode(stderr) };
}

/** Into one small buffer, and not into one of 64 KiB for each read, as iterating would. */
async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const reader = stream.getReader({ mode: "byob" });
  const pieces: Uint8Array[] = [];
  for (let buffer = new ArrayBuffer(READ_BYTES);;) {
    const { done, value } = await reader.read(new Uint8Array(buffer));
    if (done) return joined(pieces);
    pieces.push(value.slice());
    buffer = value.buffer;
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** A program may end before it has read its input; its exit status then tells the story. */
async function feed(stdin: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch {
    await writer.abort().catch(() => {});
  }
}

async function resolve(name: string, family: AddressFamily): Promise<string[]> {
  const { lookup } = await import("node:dns/promises");
  const found = await lookup(name, { all: true, family: family === "ipv6" ? 6 : 4 });
  return found.map((entry) => entry.address);
}

async function sendDatagram(
  to: Endpoint,
  payload: Uint8Array,
  sourcePort: number,
): Promise<number> {
  const socket = Deno.listenDatagram({
    transport: "udp",
    hostname: to.address.includes(":") ? "::" : "0.0.0.0",
    port: sourcePort,
  });
  try {
    return await socket.send(payload, { transport: "udp", hostname: to.address, port: to.port });
  } finally {
    socket.close();
  }
}

async function sendStream(to: Endpoint, payload: Uint8Array, timeout: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${timeout / 1000} s`)), timeout);
  });
  try {
    await Promise.race([deliver(to, payload), tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

async function deliver(to: Endpoint, payload: Uint8Array): Promise<void> {
  const connection = await Deno.connect({ hostname: to.address, port: to.port });
  try {
    let rest = payload;
    while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
  } finally {
    connection.close();
  }
}

async function fetchPage(url: string, options: FetchOptions): Promise<FetchedPage> {
  const response = await fetch(url, {
    headers: { "user-agent": options.userAgent, accept: "*/*" },
    signal: AbortSignal.timeout(options.timeout),
  }).catch((error: Error) => {
    const { message } = error.cause instanceof Error ? error.cause : error;
    throw new Error(message.replace(/^.*client error \([^)]*\): /, ""));
  });
  const kept = new Uint8Array(options.limit);
  let length = 0;
  for await (const chunk of response.body ?? []) {
    const part = chunk.subarray(0, kept.length - length);
    kept.set(part, length);
    length += part.length;
    if (length === kept.length) break;
  }
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return { url: response.url, body: new TextDecoder().decode(kept.subarray(0, length)) };
}

const LINE_FEED = 0x0a;

function readLines(descriptor: number, count: number): Uint8Array[] {
  const file = descriptor === 0 ? Deno.stdin : Deno.openSync(`/dev/fd/${descriptor}`);
  const lines: Uint8Array[] = [];
  let line: number[] = [];
  const byte = new Uint8Array(1);
  // One byte at a time: what follows the last line belongs to whoever reads next.
  while (lines.length < count && file.readSync(byte) === 1) {
    if (byte[0] !== LINE_FEED) {
      line.push(byte[0] ?? 0);
    } else {
      lines.push(Uint8Array.from(line));
      line = [];
    }
  }
  if (lines.length < count && line.length > 0) lines.push(Uint8Array.from(line));
  if (descriptor !== 0) file.close();
  return lines;
}

function onSignal(name: SignalName, listener: () => void): () => void {
  Deno.addSignalListener(name, listener);
  return () => Deno.removeSignalListener(name, listener);
}
