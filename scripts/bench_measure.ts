// All measurements of one program, in one lab made for it.

import type { GeneratedKeys } from "../mod.ts";
import { ADDRESSES, type Lab, openLab } from "../tests/lab/lab.ts";
import type { Watched } from "../tests/lab/process.ts";
import {
  knockCommand,
  openGrants,
  prepareLab,
  type Probe,
  SERVICE_PORTS,
  startProbe,
  startService,
  withDaemon,
  withUdpPort,
} from "./bench_gateway.ts";
import { makeKeys, makePacket } from "./bench_packets.ts";
import { memoryOf, processTree, usageOf, workBetween } from "./bench_process.ts";
import {
  GRANTS_OPEN,
  type Measurement,
  type Outcome,
  type Plan,
  type ProgramName,
} from "./bench_result.ts";

/** Takes each outcome as soon as it is there. */
export type Recorder = (measurement: Measurement, outcome: Outcome) => void;

/** Longest pause between rounds in milliseconds: more than two turns of fwknopd's loop. */
const PAUSE_LIMIT = 250;
/** How long the grants of a burst stay open in seconds, the most that fwknopd gives. */
const BURST_TIMEOUT = 300;
/** Knocks that are sent without pauses to have many grants open. */
const MOST_AT_ONCE = 1000;
/** Grants that are open when the daemon is killed, and for how many seconds. */
const KILLED_GRANTS = 100;
const KILLED_TIMEOUT = 8;
/** A burst is over when no grant came for so many milliseconds. */
const BURST_PATIENCE = 5000;
const POLL_INTERVAL = 10;
/** Milliseconds for a daemon to come to rest before it is watched idling. */
export const SETTLING_TIME = 2000;
const GRANTED = "Added access rule";
/** A server that starts takes over what is open then. */
const KEEP_GRANTS = "FLUSH_IPT_AT_INIT N\nFLUSH_IPT_AT_EXIT N\n";

/**
 * Measures one program.
 *
 * @param record is called for each measurement, so that a failure keeps what came before it
 * @param signal ends the measurement early; the lab is removed all the same
 * @throws when the program does not start, fails, or lets in who has not knocked
 */
export async function measureProgram(
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
  let port: number = SERVICE_PORTS.first;

  const packetRound = (): Promise<number | null> => {
    const knock = { address: ADDRESSES.client, port: port++, clientTimeout: 0 };
    return probe({ what: "packet", packet: makePacket(keys, knock), port: knock.port });
  };
  const knockRound = (): Promise<number | null> => {
    const knock = { server: ADDRESSES.gateway, port: port++ };
    const command = knockCommand(program, lab, knock);
    return probe({ what: "knock", command, port: knock.port });
  };
  const wireRound = (): Promise<number | null> => {
    const command = knockCommand(program, lab, { server: ADDRESSES.client, port: 22 });
    return probe({ what: "wire", command });
  };
  /** A first round that does not count: programs are read in, neighbours learn addresses. */
  const warmUp = async (daemon: Watched): Promise<void> => {
    if (await packetRound() === null) throw new Error("a valid knock opened nothing");
    await daemon.waitFor(new RegExp(GRANTED));
  };

  await wireRound();
  record("knockToWire", await rounds(plan.rounds, wireRound));

  await withDaemon(program, lab, [], async (daemon) => {
    await warmUp(daemon);
    await sleep(SETTLING_TIME);
    record("memoryIdle", lookAtMemory(daemon));
    record("idle", await watchIdle(daemon, plan.idleSeconds));
    record("packetToOpen", await rounds(plan.rounds, packetRound));
    record("knockToOpen", await rounds(plan.rounds, knockRound));
  });

  record("start", await timeStarts(program, lab, plan.rounds >> 2));

  await withUdpPort(lab, plan, () =>
    withDaemon(program, lab, ["-U"], async (daemon) => {
      await warmUp(daemon);
      record("packetToOpenUdp", await rounds(plan.rounds, packetRound));
    }));

  // Debian's fwknopd is built without it, nftables of many kernels too.
  if (program === "spa" && plan.firewall !== "nftables") {
    await withDaemon(program, lab, ["-n"], async (daemon) => {
      await warmUp(daemon);
      record("packetToOpenQueue", await rounds(plan.rounds, packetRound));
    });
  }

  const burst = (count: number, network: number): string[] =>
    Array.from({ length: count }, (_, index) => {
      const address = `10.${network + (index >> 16)}.${index >> 8 & 255}.${index & 255}`;
      return makePacket(keys, { address, port: 22, clientTimeout: BURST_TIMEOUT });
    });

  await withDaemon(program, lab, [], async (daemon) => {
    await warmUp(daemon);
    record("killed", await killWithGrants(probe, daemon, keys));
  });

  if (program === "spa" && plan.firewall === "nftables") {
    await Deno.writeTextFile(`${lab.directory}/keep.conf`, KEEP_GRANTS, { mode: 0o600 });
    const keep = ["-O", `${lab.directory}/keep.conf`];
    await withDaemon(program, lab, keep, warmUp);
    for (const [measurement, count] of Object.entries(GRANTS_OPEN)) {
      await openGrants(lab, count);
      await withDaemon(program, lab, keep, async (daemon) => {
        await warmUp(daemon);
        record(measurement as keyof typeof GRANTS_OPEN, await rounds(plan.rounds, packetRound));
      });
    }
  } else if (program === "spa") {
    await withDaemon(program, lab, [], async (daemon) => {
      await warmUp(daemon);
      // Bursts, so that no packet meets a full buffer.
      for (let network = 0; network < GRANTS_OPEN.packetToOpen10k / MOST_AT_ONCE; network++) {
        await watchBurst(probe, daemon, burst(MOST_AT_ONCE, network));
      }
      record("packetToOpen10k", await rounds(plan.rounds, packetRound));
    });
  }

  await withDaemon(program, lab, [], async (daemon) => {
    await warmUp(daemon);
    record("burst", await watchBurst(probe, daemon, burst(plan.burst, 0)));
    record("memoryFull", lookAtMemory(daemon));
    record("packetToOpenFull", await rounds(plan.rounds, packetRound));
  });
}

/** Rounds with random pauses, so that they meet a polling daemon at any point of its turn. */
export async function rounds(
  count: number,
  round: () => Promise<number | null>,
): Promise<Extract<Outcome, { readonly kind: "latency" }>> {
  const samples: number[] = [];
  for (let index = 0; index < count; index++) {
    await sleep(Math.random() * PAUSE_LIMIT);
    const milliseconds = await round();
    if (milliseconds !== null) samples.push(milliseconds);
  }
  return { kind: "latency", samples, lost: count - samples.length };
}

/** From the command to the line that says that packets are received. */
async function timeStarts(program: ProgramName, lab: Lab, count: number): Promise<Outcome> {
  const samples: number[] = [];
  for (let index = 0; index < count; index++) {
    const begin = performance.now();
    await withDaemon(program, lab, [], () => {
      samples.push(performance.now() - begin);
      return Promise.resolve();
    });
  }
  return { kind: "latency", samples, lost: 0 };
}

/** Sends the packets and follows the daemon's log until each has its grant. */
async function watchBurst(
  probe: Probe,
  daemon: Watched,
  packets: readonly string[],
): Promise<Outcome> {
  let position = daemon.output().length;
  let opened = 0;
  let last = 0;
  let sending = true;
  const sent = (): void => void (sending = false);
  const first = probe({ what: "burst", packets });
  first.then(sent, sent);
  for (let silence = 0; opened < packets.length && silence < BURST_PATIENCE;) {
    await sleep(POLL_INTERVAL);
    const output = daemon.output();
    const before = opened;
    for (let at; (at = output.indexOf(GRANTED, position)) >= 0; opened++) {
      position = at + GRANTED.length;
    }
    if (opened > before) last = Date.now();
    silence = sending || opened > before ? 0 : silence + POLL_INTERVAL;
  }
  const begin = await first;
  if (begin === null || opened === 0) throw new Error("a burst of valid knocks opened nothing");
  return { kind: "burst", sent: packets.length, opened, seconds: (last - begin) / 1000 };
}

/** Opens the last ports of the service, kills the daemon, and looks who answers after the end. */
async function killWithGrants(
  probe: Probe,
  daemon: Watched,
  keys: GeneratedKeys,
): Promise<Outcome> {
  const last = SERVICE_PORTS.last;
  const first = last - KILLED_GRANTS + 1;
  const ports = { what: "count", first, last } as const;
  const packets = Array.from({ length: KILLED_GRANTS }, (_, index) => {
    const knock = { port: first + index, clientTimeout: KILLED_TIMEOUT };
    return makePacket(keys, { address: ADDRESSES.client, ...knock });
  });
  await watchBurst(probe, daemon, packets);
  const end = Date.now() + (KILLED_TIMEOUT + 1) * 1000;
  const before = await probe(ports) ?? 0;
  daemon.signal("SIGKILL");
  await daemon.ended;
  await sleep(end - Date.now());
  return { kind: "ports", before, after: await probe(ports) ?? 0 };
}

/** The memory of a daemon and its children. */
export function lookAtMemory({ pid }: Watched): Outcome {
  return { kind: "memory", ...memoryOf(pid), processes: processTree(pid).length };
}

/** What a daemon does while nothing comes. */
export async function watchIdle({ pid }: Watched, seconds: number): Promise<Outcome> {
  const before = usageOf(pid);
  const begin = performance.now();
  await sleep(seconds * 1000);
  const work = workBetween(before, usageOf(pid));
  return { kind: "idle", seconds: (performance.now() - begin) / 1000, ...work };
}

/** Waits so many milliseconds. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
