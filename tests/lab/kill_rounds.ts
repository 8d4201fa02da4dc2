// A gateway that is killed again and again at random instants while packets stream in. What it has
// opened is told by the kernel, not by the gateway: `nft monitor` sees every grant.

import { strictEqual } from "node:assert/strict";
import { startGateway, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, STANZA } from "./knock.ts";
import { ADDRESSES, GATEWAY_INTERFACE, hasProgram, type Lab, labTool } from "./lab.ts";
import { PATIENCE } from "./process.ts";

/** What came of it. */
export interface KillResult {
  readonly rounds: number;
  /** Packets of their own that were sent, each of them in several rounds. */
  readonly packets: number;
  /** Packets that opened something. */
  readonly opened: number;
  /** Rounds in which the end came when some of the new packets had been granted, but not all. */
  readonly midway: number;
  /** Ports of packets that opened more than once: there must be none. */
  readonly twice: readonly number[];
  /** Milliseconds from the last end of the gateway to the end of the last grant. */
  readonly lastGrant: number;
}

/** Seconds of a grant. */
export const GRANT_SECONDS = 2;
/** New packets in each round, which come again and again; those of the rounds before, too. */
const FRESH = 12;
const REPLAYED = 3 * FRESH;
/** Milliseconds between two packets. */
const PAUSE = 2;
/** Milliseconds that grants are waited for, and from the last of them to the end. */
const LONGEST_LIFE = 3000;
const LAST_BREATH = 8;
/** How often the process that reads packets ends before the other, and how long, in ms. */
const SENTRY_FIRST = 0.3;
const TAKE_OVER = 600;
const CONFIG = `PCAP_INTF ${GATEWAY_INTERFACE}\nFIREWALL_TYPE nftables\n`;
const CLOSED = `flush ruleset
table inet filter {
  chain input { type filter hook input priority filter; policy drop; iif lo accept; }
}
`;
const FIRST_PORT = 1024;

/** Why this cannot be done here, or null. */
export function killRoundsMissing(): string | null {
  return hasProgram("nft") ? null : "needs the program nft";
}

/**
 * @param onRound called after each round with what was opened so far
 * @param random gives numbers from 0 up to 1
 */
export async function killRounds(
  lab: Lab,
  rounds: number,
  onRound: (round: number, opened: number) => void = () => {},
  random: () => number = Math.random,
): Promise<KillResult> {
  await lab.gateway.must(["nft", "-f", "-"], CLOSED);
  const access = `${STANZA}FW_ACCESS_TIMEOUT ${GRANT_SECONDS}\n`;
  const files = await writeGatewayFiles(lab.directory, CONFIG, access);
  const sender = lab.client.start(labTool("send_lines", ADDRESSES.gateway, "62201"));
  await sender.waitFor(/ready/);
  const monitor = lab.gateway.start(["nft", "monitor", "new", "elements"]);
  await monitorListens(lab, monitor.output);
  const packets: string[] = [];
  let midway = 0;
  let ended = 0;
  for (let round = 1; round <= rounds; round++) {
    const gateway = await startGateway(lab, files);
    const before = packets.length;
    const old = packets.slice(-REPLAYED);
    for (let number = 0; number < FRESH; number++) {
      packets.push(knockPacket(`tcp/${FIRST_PORT + packets.length}`));
    }
    const fresh = packets.slice(before);
    const mixed = fresh.flatMap((packet, index) => [
      packet,
      ...old.filter((_, place) => place % FRESH === index),
    ]);
    const stop = new AbortController();
    const streaming = stream(mixed, sender.write, stop.signal);
    // At a random grant, and then at a random instant of what the next ones need.
    const grants = openings(monitor.output()).length + Math.floor(random() * FRESH);
    const latest = performance.now() + LONGEST_LIFE;
    while (openings(monitor.output()).length < grants && performance.now() < latest) {
      await sleep(1);
    }
    await sleep(random() * LAST_BREATH);
    if (random() < SENTRY_FIRST) {
      // Another one takes over, and reads the digest cache while packets come.
      for (const sentry of childrenOf(gateway.pid)) kill(sentry);
      await sleep(random() * TAKE_OVER);
    }
    // All of it: no process may tidy up behind another.
    for (const pid of [gateway.pid, ...childrenOf(gateway.pid)]) kill(pid);
    await gateway.ended;
    stop.abort();
    await streaming;
    ended = performance.now();
    const opened = openings(monitor.output());
    const ofRound = opened.filter((port) => port >= FIRST_PORT + before).length;
    if (ofRound > 0 && ofRound < FRESH) midway++;
    onRound(round, opened.length);
  }
  const lastGrant = await untilClosed(lab) - ended;
  await sender.stop();
  await monitor.stop();
  const opened = openings(monitor.output());
  const twice = opened.filter((port, index) => opened.indexOf(port) !== index);
  const distinct = new Set(opened).size;
  return { rounds, packets: packets.length, opened: distinct, midway, twice, lastGrant };
}

/** The ports of all grants that the kernel was given, in order. */
function openings(monitored: string): number[] {
  return [...monitored.matchAll(/^(?:add|create) element .* tcp \. (\d+) /gm)].map(([, port]) =>
    Number(port)
  );
}

function childrenOf(pid: number): number[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) =>
    Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).split(" ")
      .filter((text) => text !== "").map(Number)
  );
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    // It has ended by itself, as what the gateway starts does when the gateway has ended.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Sends all packets again and again until it is stopped. */
async function stream(
  packets: readonly string[],
  write: (text: string) => Promise<void>,
  stop: AbortSignal,
): Promise<void> {
  for (let number = 0; !stop.aborted; number++) {
    await write(`${packets[number % packets.length]}\n`);
    await sleep(PAUSE);
  }
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** The monitor does not say when it begins, so it is shown something until it tells of it. */
async function monitorListens(lab: Lab, output: () => string): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!output().includes("marker")) {
    if (performance.now() > end) throw new Error("nft monitor tells nothing");
    const script = "add table inet marker\nadd set inet marker seen { type inet_service; }\n" +
      "add element inet marker seen { 7 }\ndelete table inet marker\n";
    await lab.gateway.must(["nft", "-f", "-"], script);
  }
}

/** Looks until no grant is left, with no gateway there to end it. */
async function untilClosed(lab: Lab): Promise<number> {
  const end = performance.now() + PATIENCE;
  while ((await lab.gateway.must(["nft", "list", "ruleset"])).includes(`${ADDRESSES.client} . `)) {
    strictEqual(performance.now() < end, true, "a grant outlives its time");
  }
  return performance.now();
}
