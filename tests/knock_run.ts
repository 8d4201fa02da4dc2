// `spa knock` on a host in memory, and what its packets say.

import assert from "node:assert/strict";
import { run } from "../lib/cmd_knock.ts";
import { type DecodedPacket, decodePacket } from "../lib/spa_packet.ts";
import { type MemoryHost, memoryHost, type MemorySetup } from "./memory_host.ts";

/** Both keys on the command line. */
export const KEYS = ["--key-rijndael", "fwknoptest", "--key-hmac", "hmactest"];
/** What is asked for, and of whom. */
export const REQUEST = ["-A", "tcp/22", "-a", "1.2.3.4", "-D", "192.0.2.1"];
/** Who asks. */
export const ENV = { HOME: "/home/alice", LOGNAME: "alice" };

/** What a run has left behind. */
export interface Ran extends MemoryHost {
  readonly status: number;
}

/** Runs `spa knock`. */
export async function knock(args: readonly string[], setup: MemorySetup = {}): Promise<Ran> {
  const memory = memoryHost({ env: ENV, ...setup });
  const status = await run([...args], memory.host);
  return { ...memory, status };
}

/** Runs with keys on the command line and no files. */
export function knockBare(args: readonly string[], setup: MemorySetup = {}): Promise<Ran> {
  return knock([...KEYS, "--no-rc-file", "--no-save-args", ...args], setup);
}

/** Opens a packet under those keys. */
export function open(wire: string, key = "fwknoptest", hmacKey = "hmactest"): DecodedPacket {
  const encoder = new TextEncoder();
  const decoded = decodePacket(wire, {
    key: encoder.encode(key),
    hmacKey: encoder.encode(hmacKey),
    mode: "CBC",
  });
  assert.ok(decoded.ok, "the packet can be decoded");
  return decoded.value;
}
