// The one interface for effects: files, processes, sockets, clock, randomness, terminal.
// Everything that touches the machine goes through a `Host`, so that tests can play one.

import type { Libc } from "../ffi/libc.ts";
import type { Nftables } from "../ffi/libnftables.ts";
import type { PacketQueue, QueueOptions, QueueReader } from "../ffi/libnetfilter_queue.ts";
import type { PcapCapture, PcapOptions } from "../ffi/libpcap.ts";
import type { NotifySocket } from "../ffi/notify_socket.ts";
import type { RawSocket } from "../ffi/raw_socket.ts";
import type { PrepareHmac } from "./spa_digest.ts";

/** What `stat` and `lstat` tell of a path. */
export interface FileInfo {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  readonly isSymlink: boolean;
  /** Permission bits only (0o000 to 0o7777). */
  readonly mode: number;
  readonly uid: number;
  /** Bytes. */
  readonly size: number;
}

/** How `writeTextFile` opens its file. */
export interface WriteOptions {
  /** Permission bits of a file that is created; an existing file keeps its own. */
  readonly mode: number;
  /** `truncate` replaces the content, `append` adds to it, `create` fails if the file exists. */
  readonly how: "truncate" | "append" | "create";
}

/** A program to run without a shell. */
export interface ProgramCall {
  /** Path or name, looked up in PATH. */
  readonly program: string;
  readonly args: readonly string[];
  /** Text for its standard input; none means an empty one. */
  readonly stdin?: string;
  /** Milliseconds after which the program is killed. */
  readonly timeout?: number;
  /** Has it killed at once when it is aborted. */
  readonly signal?: AbortSignal;
}

/** What a program left behind. */
export interface ProgramResult {
  /** Exit status; 128 + signal number when a signal ended it, 127 when it could not be started. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds that it was given, where it was killed since it had not ended by then. */
  readonly timedOut?: number;
}

/** A command to run without a shell, in a session and process group of its own, without input. */
export interface CommandCall {
  /** An absolute path. */
  readonly program: string;
  readonly args: readonly string[];
  /** All of its environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  /** Its file mode creation mask. */
  readonly fileMask: number;
  /** Whom it runs as, without supplementary groups; null changes nothing. */
  readonly account: { readonly uid: number; readonly gid: number } | null;
  /** Called with each piece that it and what it started write to their output or error. */
  readonly onOutput: (text: string) => void;
}

/** How a command ended. */
export interface CommandEnd {
  /** Exit status; meaningless when a signal ended it. */
  readonly status: number;
  /** The number of the signal that ended it, or null. */
  readonly signal: number | null;
}

/** A command that runs. */
export interface RunningCommand {
  /** Resolves when the command itself has ended, whatever it has started. */
  readonly ended: Promise<CommandEnd>;
  /** Resolves when nobody can write to its output any more. */
  readonly outputClosed: Promise<void>;
  /** Signals its whole process group; does nothing when none of it is left or may be signalled. */
  signal(name: "SIGTERM" | "SIGKILL"): void;
}

/** A program to run on bytes, without a shell. */
export interface BytesCall extends Omit<ProgramCall, "stdin"> {
  /** For its standard input. */
  readonly stdin: Uint8Array;
}

/** What a program that was run on bytes left behind. */
export interface BytesResult extends Omit<ProgramResult, "stdout"> {
  readonly stdout: Uint8Array;
}

/** A UDP or TCP endpoint: a numeric address and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Bytes that go both ways. Its functions reject when the other side is gone. */
export interface ByteStream {
  /** Waits for the next bytes and gives how many of them it has put in front; null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Resolves once the system has taken all of them. */
  write(bytes: Uint8Array): Promise<void>;
  /** Says that nothing more will be written; reading goes on. */
  closeWrite(): Promise<void>;
  close(): void;
}

/** A program that has this process's standard streams and terminal for its own. */
export interface ForegroundProgram {
  /** Exit status; 128 + signal number when a signal ended it. */
  readonly ended: Promise<number>;
  /** Does nothing once it has ended. */
  signal(name: SignalName): void;
}

/** How `fetchPage` asks. */
export interface FetchOptions {
  readonly userAgent: string;
  /** Milliseconds. */
  readonly timeout: number;
  /** Bytes of the body that are kept. */
  readonly limit: number;
}

/** What `fetchPage` got. */
export interface FetchedPage {
  /** Where redirections led. */
  readonly url: string;
  readonly body: string;
}

/** Address family of a name lookup. */
export type AddressFamily = "ipv4" | "ipv6";

/** A TCP port that takes connections. */
export interface StreamListener {
  /** The next connection; null once the listener is closed. Rejects when one could not be taken. */
  accept(): Promise<AcceptedStream | null>;
  close(): void;
}

/** A connection that was taken. */
export interface AcceptedStream {
  /** The peer's address. */
  readonly address: string;
  close(): void;
}

/** Signals that the programs listen for. */
export type SignalName = "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGQUIT" | "SIGUSR1" | "SIGUSR2";

/** A file that lines are added to. What a crash has left of a line stays a line of its own. */
export interface RecordFile {
  /**
   * Resolves when the text is on the disk (written and synced). Rejects when it is not; what there
   * is of it then is taken out again, or else becomes a line of its own. One call at a time.
   */
  append(text: string): Promise<void>;
  close(): void;
}

/** A second process of this program that runs on its own. */
export interface CopyOfProgram {
  readonly pid: number;
  /** What it writes to its standard error, until it closes that. */
  readonly stderr: AsyncIterable<string>;
  /** Its exit status, once it ends. */
  readonly status: Promise<number>;
}

/** A second process of this program, joined to this one by pipes to its standard input and output. */
export interface PartOfProgram {
  readonly pid: number;
  /** Waits for what it writes; null once nothing more will come. */
  read(): Promise<Uint8Array | null>;
  /** Resolves once the system has taken the text; does nothing when the process is gone. */
  write(text: string): Promise<void>;
  /** Ends it at once; does nothing when it has ended. */
  kill(): void;
  /** Its exit status; 128 + signal number when a signal ended it. */
  readonly status: Promise<number>;
}

/** How this process gives up its privileges; loaded while it still may load. */
export interface Confinement {
  /** Leaves signals that a terminal or a service manager sends to all of a group to the others. */
  ignoreSignals(): void;
  /**
   * Gives up user, groups, capabilities, most system calls and every permission of the runtime, on
   * all threads and for good. Files, sockets and programs cannot be opened any more.
   *
   * @param parent the process whose end is to end this one
   * @returns what the kernel does not have and was done without, as lines for the log
   * @throws an `Error` with one line for the operator
   */
  confine(
    account: { readonly uid: number; readonly gid: number },
    parent: number,
  ): readonly string[];
}

/** Libraries that only the server needs. */
export interface Native {
  readonly libc: Libc;
  openPcap(options: PcapOptions): PcapCapture;
  openPcapFile(path: string, filter: string): PcapCapture;
  /** The same each time; null when libnftables is not installed. */
  openNftables(): Nftables | null;
  openPacketQueue(options: QueueOptions): PacketQueue;
  /** The reading end of a queue that the process which started this one has opened. */
  readPacketQueue(fd: number): QueueReader;
  /** The fastest HMAC that there is here. */
  readonly prepareHmac: PrepareHmac;
  /** Unmaps the program's code; what is needed of it again comes back by itself. */
  releaseCode(): void;
}

/** The controlling terminal, while what is typed stays unseen and unread by the system. */
export interface Terminal {
  write(text: string): void;
  /** Waits for the next bytes that are typed; null when the terminal is gone. */
  read(): Uint8Array | null;
  /** Gives the terminal back as it was. */
  close(): void;
}

/** The machine, as the program sees it. File calls throw the errors of the system; {@linkcode reasonOf} words them. */
export interface Host {
  /** This process. */
  readonly pid: number;
  /** Effective user id. */
  readonly uid: number;
  /** An environment variable, or undefined when it is not set. */
  env(name: string): string | undefined;
  /** Wall clock: milliseconds since 1970 UTC. */
  now(): number;
  /**
   * Milliseconds from some start; never steps back. Once the native libraries are loaded, those that
   * the machine sleeps count, too.
   */
  monotonic(): number;
  /** Cryptographically strong random bytes. */
  randomBytes(count: number): Uint8Array;

  readTextFile(path: string): string;
  writeTextFile(path: string, text: string, options: WriteOptions): void;
  /** Follows symbolic links; null when nothing is there. */
  stat(path: string): FileInfo | null;
  /** Does not follow symbolic links; null when nothing is there. */
  lstat(path: string): FileInfo | null;
  /** Names in a directory, sorted. */
  listDirectory(path: string): string[];
  /** Makes the directory and its missing parents. */
  makeDirectory(path: string, mode: number): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** The bytes of a file; each piece is overwritten by the next one. */
  readPieces(path: string): Iterable<Uint8Array>;
  /**
   * Replaces a file by a new one with this content, other things going on meanwhile: after a crash it has the old content or the
   * new one, as a whole. Rejects when it cannot be told that the new one will last.
   */
  replaceFile(path: string, pieces: Iterable<Uint8Array>, mode: number): Promise<void>;
  /** Has the names in a directory written to the disk. */
  syncDirectory(path: string): void;
  /** Opens a file for adding records, creating it if it is missing. */
  openRecordFile(path: string, mode: number): RecordFile;
  changeDirectory(path: string): void;
  /** Sets the file mode creation mask. */
  setFileMask(mask: number): void;
  /** Resolves a relative path against the working directory. */
  absolutePath(path: string): string;

  /** Runs a program to its end; never throws for what the program does. */
  run(call: ProgramCall): Promise<ProgramResult>;
  /** As `run`, for a program that takes and gives bytes. */
  runOnBytes(call: BytesCall): Promise<BytesResult>;
  /** Starts a command; throws when that fails. */
  startCommand(call: CommandCall): RunningCommand;
  /** Starts a program on this process's own streams; throws when that fails. */
  startInForeground(program: string, args: readonly string[]): ForegroundProgram;
  /** Numeric addresses of a host name; throws when there are none. */
  resolve(name: string, family: AddressFamily): Promise<string[]>;
  /** Sends one datagram and gives the number of bytes sent. */
  sendDatagram(to: Endpoint, payload: Uint8Array, sourcePort: number): Promise<number>;

  /** Connects over TCP, writes all and closes; rejects when that takes more milliseconds than `timeout`. */
  sendStream(to: Endpoint, payload: Uint8Array, timeout: number): Promise<void>;

  /** Connects over TCP; `signal` gives it up. */
  connectStream(to: Endpoint, signal: AbortSignal): Promise<ByteStream>;
  /** Standard input and output. */
  standardStream(): ByteStream;
  /**
   * Takes TCP connections to a port of this host, over IPv6 too where there is IPv6. The same
   * process may listen twice, so that one listener can take over from another.
   */
  listenStreams(port: number): StreamListener;

  /** Opens a socket for whole IPv4 packets, which takes CAP_NET_RAW. */
  openRawSocket(): Promise<RawSocket>;
  /** Opens a way to the service manager; see sd_notify(3). */
  openNotifySocket(address: string): Promise<NotifySocket>;
  /** Fetches a page; rejects for everything but a success within `timeout` milliseconds. */
  fetchPage(url: string, options: FetchOptions): Promise<FetchedPage>;

  /** Reads lines of an open file descriptor: `count` of them, without line ends; fewer at its end. */
  readLines(descriptor: number, count: number): Uint8Array[];
  /** Opens the controlling terminal; null when there is none. */
  openTerminal(): Promise<Terminal | null>;

  /** Writes text as it is, at once. */
  stdout(text: string): void;
  /** Writes text as it is, at once. */
  stderr(text: string): void;
  isTerminal(stream: "stdin" | "stdout" | "stderr"): boolean;
  /** Loads the native libraries; only the server calls this. */
  native(): Promise<Native>;
  /** Starts this same program again with other arguments, without a terminal, and gives its process id. */
  startCopy(args: readonly string[], environment: Readonly<Record<string, string>>): CopyOfProgram;
  /** As `startCopy`, for a part that works for this process: in a session of its own, with no environment but this one. */
  startPart(args: readonly string[], environment: Readonly<Record<string, string>>): PartOfProgram;
  /** How to give up privileges. */
  loadConfinement(): Promise<Confinement>;
  /** Frees what nothing refers to; does nothing where the runtime does not offer it. */
  collectGarbage(): void;
  /** Sends a signal; false when there is no such process. */
  signal(pid: number, name: SignalName | "SIGKILL"): boolean;
  /** Calls `listener` for each such signal until the function it gives back is called. */
  onSignal(name: SignalName, listener: () => void): () => void;
}

/**
 * The system's wording of an error, without runtime decoration: "No such file or directory".
 *
 * @param error what a `Host` call threw
 */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const decorated = /^(.*?) \(os error \d+\)/.exec(text);
  return decorated?.[1] ?? text;
}
