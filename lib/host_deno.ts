// The real `Host`, on Deno.

import type { Nftables } from "../ffi/libnftables.ts";
import type { FileInfo, Host, Native, SignalName, WriteOptions } from "./host.ts";
import { startCommand, startInForeground } from "./host_deno_command.ts";
import {
  openRecordFile,
  readPieces,
  replaceFile,
  syncDirectory,
  writeAll,
} from "./host_deno_file.ts";
import { fetchPage, resolve, sendDatagram, sendStream } from "./host_deno_net.ts";
import { collectGarbage, startCopy, startPart } from "./host_deno_part.ts";
import { run, runOnBytes } from "./host_deno_program.ts";
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
    runOnBytes,
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
  // Deno's own function would also change the mode of a file that is there.
  const { mode, how } = options;
  const file = Deno.openSync(path, {
    ...(how === "append" ? { append: true } : { write: true, truncate: how === "truncate" }),
    ...(how === "create" ? { createNew: true } : { create: true }),
    mode,
  });
  try {
    writeAll(file, new TextEncoder().encode(text));
  } finally {
    file.close();
  }
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
    const absent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (absent) return null;
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

function signal(pid: number, name: SignalName | "SIGKILL"): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
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
