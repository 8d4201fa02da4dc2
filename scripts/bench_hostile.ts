// What becomes of a program under attack: floods, many stanzas, a long digest cache.

import { ADDRESSES, GATEWAY_INTERFACE, type Lab, openLab } from "../tests/lab/lab.ts";
import type { Watched } from "../tests/lab/process.ts";
import {
  benchTool,
  prepareLab,
  type Probe,
  SERVICE_PORTS,
  startProbe,
  startService,
  withDaemon,
} from "./bench_gateway.ts";
import {
  lookAtMemory,
  type Recorder,
  rounds,
  SETTLING_TIME,
  sleep,
  watchIdle,
} from "./bench_measure.ts";
import { makeKeys, makePacket } from "./bench_packets.ts";
import { usageOf, workBetween } from "./bench_process.ts";
import type { Measurement, Outcome, Plan, ProgramName } from "./bench_result.ts";
import type { GeneratedKeys } from "../mod.ts";

/** Junk packets a second. */
const FLOODS: readonly (readonly [Measurement, number])[] = [
  ["flood1000", 1_000],
  ["flood5000", 5_000],
  ["flood20000", 20_000],
  ["flood50000", 50_000],
];
const HIGHEST_RATE = 50_000;
const JUNK = 1_000_000;
const QUICK_JUNK = 100_000;
const STANZAS = 5_000;
/** Clients that take turns, more than a server would remember. */
const CLIENTS = 20;
const DIGESTS = 1_000_000;
/** Milliseconds after which a knock counts as lost. */
const PATIENCE_FOR_KNOCK = 1500;
/** Knocks during each flood. */
const KNOCKS = 10;
const SECONDS_A_DAY = 86_400;

/**
 * Measures one program under attack, in a lab made for it; otherwise as `measureProgram`.
 */
export async function measureHostile(
  program: ProgramName,
  plan: Plan,
  record: Recorder,
  signal: AbortSignal,
): Promise<void> {
  const lab = await openLab();
  try {
    await measureInLab(program, plan, record, lab, signal);
  } finally {
    await lab.close();
  }
  if (program !== "spa") return;
  record("stallOne", await measureStall(1));
  record("stallMany", await measureStall(STANZAS));
}

async function measureInLab(
  program: ProgramName,
  plan: Plan,
  record: Recorder,
  lab: Lab,
  signal: AbortSignal,
): Promise<void> {
  const keys = makeKeys();
  await prepareLab(lab, keys, plan);
  await startService(lab);
  const probe = startProbe(lab, signal);
  const { packet, replayed, knock } = createKnocks(probe, keys);

  /** Sends junk while valid knocks are tried. */
  const flood = async (
    { pid }: Watched,
    rate: number,
  ): Promise<{ readonly sent: number; readonly outcome: Outcome }> => {
    const junk = await startJunk(lab, rate, replayed());
    const begin = performance.now();
    const before = usageOf(pid);
    const { samples, lost } = await rounds(KNOCKS, knock);
    const { cpuMilliseconds } = workBetween(before, usageOf(pid));
    const milliseconds = performance.now() - begin;
    const { packets, seconds } = await junk.stop();
    const outcome: Outcome = {
      kind: "flood",
      samples,
      lost,
      rate: packets / seconds,
      load: cpuMilliseconds / milliseconds,
    };
    return { sent: packets, outcome };
  };

  await withDaemon(program, lab, [], async (daemon) => {
    await warmUp(knock);
    await sleep(SETTLING_TIME);
    record("idle", await watchIdle(daemon, plan.idleSeconds));
    // So that what knocks need, and not only junk, is in memory before the junk.
    await rounds(KNOCKS, knock);
    await sleep(SETTLING_TIME);
    record("memoryBeforeFlood", lookAtMemory(daemon));
    let junk = plan.rounds < KNOCKS ? QUICK_JUNK : JUNK;
    for (const [measurement, rate] of FLOODS) {
      const { sent, outcome } = await flood(daemon, rate);
      record(measurement, outcome);
      junk -= sent;
    }
    await sleep(SETTLING_TIME);
    record("memoryDuringFlood", lookAtMemory(daemon));
    if (junk > 0) await (await startJunk(lab, HIGHEST_RATE, replayed(), junk)).end();
    await sleep(SETTLING_TIME);
    record("memoryAfterFlood", lookAtMemory(daemon));
    record("afterFlood", await rounds(KNOCKS, knock));
  });

  const accessFile = `${lab.directory}/access.conf`;
  const clients = Array.from({ length: CLIENTS }, makeKeys);
  const others = Array.from({ length: STANZAS - CLIENTS }, makeKeys);
  await Deno.writeTextFile(
    accessFile,
    [...others, ...clients].map((own) => stanzaFor("ANY", own)).join(""),
  );
  const last = clients.at(-1) ?? keys;
  await withTimedStart(program, lab, [], async (daemon, start) => {
    record("manyStart", start);
    await warmUp(() => packet(last));
    await sleep(SETTLING_TIME);
    record("manyMemory", lookAtMemory(daemon));
    let turn = 0;
    const next = (): Promise<number | null> => packet(clients[turn++ % CLIENTS] ?? keys);
    record("manyOthers", await rounds(plan.rounds, next));
    record("manySame", await rounds(plan.rounds, () => packet(last)));
  });

  const hosts = others.map((own, number) => stanzaFor(`10.${number >> 8}.${number & 255}.1`, own));
  await Deno.writeTextFile(accessFile, hosts.join("") + stanzaFor(ADDRESSES.client, keys));
  await withDaemon(program, lab, [], async () => {
    await warmUp(knock);
    record("hosts", await rounds(plan.rounds, knock));
  });

  await Deno.writeTextFile(accessFile, stanzaFor("ANY", keys));
  const digests = `${lab.directory}/many-digests`;
  await writeDigests(digests);
  await withTimedStart(program, lab, ["-d", digests], async (daemon, start) => {
    record("digestsStart", start);
    await warmUp(knock);
    await sleep(SETTLING_TIME);
    record("digestsMemory", lookAtMemory(daemon));
  });
}

/** What a flood has come to. */
export interface JunkSent {
  readonly packets: number;
  readonly seconds: number;
}

/** A flood on its way. */
export interface Junk {
  /** Waits until all has been sent. */
  end(): Promise<JunkSent>;
  stop(): Promise<JunkSent>;
}

/**
 * Floods the gateway from the client.
 *
 * @param rate packets a second
 * @param replayed what is sent as a replay
 */
export async function startJunk(
  lab: Lab,
  rate: number,
  replayed: string,
  count: number = Number.MAX_SAFE_INTEGER,
): Promise<Junk> {
  const address = `/sys/class/net/${GATEWAY_INTERFACE}/address`;
  const mac = (await lab.gateway.must(["cat", address])).trim();
  const { client, gateway } = ADDRESSES;
  const sender = lab.client.start(
    benchTool("bench_junk", "eth0", mac, client, gateway, String(rate), String(count), replayed),
  );
  await sender.waitFor(/begins/);
  const end = async (): Promise<JunkSent> => {
    await sender.ended;
    const told = /sent (\d+) in (\d+) ms/.exec(sender.output());
    return { packets: Number(told?.[1]), seconds: Number(told?.[2]) / 1000 };
  };
  return {
    end,
    stop() {
      sender.signal("SIGTERM");
      return end();
    },
  };
}

/** Rounds with valid packets, each for another port. */
function createKnocks(probe: Probe, keys: GeneratedKeys) {
  let port: number = SERVICE_PORTS.first;
  let replayed = "";
  const packet = (own: GeneratedKeys): Promise<number | null> => {
    const request = { address: ADDRESSES.client, port: port++, clientTimeout: 0 };
    const wire = makePacket(own, request);
    replayed ||= wire;
    return probe({ what: "packet", packet: wire, port: request.port, limit: PATIENCE_FOR_KNOCK });
  };
  return {
    packet,
    knock: () => packet(keys),
    /** The first packet, which was accepted: what a replay sends. */
    replayed: () => replayed,
  };
}

async function warmUp(knock: () => Promise<number | null>): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) if (await knock() !== null) return;
  throw new Error("a valid knock opened nothing");
}

function stanzaFor(source: string, { keyBase64, hmacKeyBase64 }: GeneratedKeys): string {
  return `SOURCE ${source}\nKEY_BASE64 ${keyBase64}\nHMAC_KEY_BASE64 ${hmacKeyBase64}\n` +
    "FW_ACCESS_TIMEOUT 30\n";
}

async function withTimedStart(
  program: ProgramName,
  lab: Lab,
  options: readonly string[],
  use: (daemon: Watched, start: Outcome) => Promise<void>,
): Promise<void> {
  const begin = performance.now();
  await withDaemon(program, lab, options, async (daemon) => {
    await use(daemon, { kind: "duration", milliseconds: performance.now() - begin });
  });
}

/** A cache of knocks of the last thousand days. */
async function writeDigests(path: string): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  const first = now - 1000 * SECONDS_A_DAY;
  const lines = Array.from({ length: DIGESTS }, (_, number) => {
    const digest = number.toString(36).padStart(8, "0").repeat(6).slice(0, 43);
    const time = first + Math.floor((now - first) * number / DIGESTS);
    return `${digest} 17 192.0.2.10 40000 192.0.2.1 62201 ${time}\n`;
  });
  const header = "# <digest> <proto> <src_ip> <src_port> <dst_ip> <dst_port> <time>\n";
  await Deno.writeTextFile(path, header + lines.join(""), { mode: 0o600 });
}

/** In a process of its own, since nothing else may hold that process up. */
async function measureStall(stanzas: number): Promise<Outcome> {
  const [program = "", ...args] = benchTool("bench_stall", String(stanzas));
  const { stdout } = await new Deno.Command(program, { args }).output();
  return { kind: "stall", samples: JSON.parse(new TextDecoder().decode(stdout)) };
}
