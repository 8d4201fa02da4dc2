// Waiting until the ports that a knock asked for are open: by connecting to them, again and again.

import { type Complaint, done, failure, misuse, type Outcome } from "./cmd_ui.ts";
import { DEFAULT_TIMEOUT, findAddresses } from "./cmd_knock_send.ts";
import type { KnockSettings } from "./cmd_knock_values.ts";
import type { ByteStream, Endpoint, Host } from "./host.ts";
import { reasonOf } from "./host.ts";
import { formatPorts, parsePortList, type ProtocolPort } from "./net_port.ts";
import { systemTimer, type Timer } from "./serve_timer.ts";

/** A knock that was sent. */
export interface Knocked {
  /** The gateway: a name or an address. */
  readonly server: string;
  /** The address the packet went to; null when a proxy took it. */
  readonly address: string | null;
  /** What the packet asked for; empty when it asked for a command to be run. */
  readonly ports: readonly ProtocolPort[];
}

/** The ports in an access message: `ADDRESS,tcp/22,udp/53`. */
export function portsAskedFor(message: string): readonly ProtocolPort[] {
  const parsed = parsePortList(message.slice(message.indexOf(",") + 1));
  return parsed.ok ? parsed.value : [];
}

/** Why this command line leaves nothing to wait for or to run a program after, or null. */
export function checkFollowUp(
  line: KnockSettings,
  command: readonly string[],
): Complaint | null {
  if (!line.wait && command.length === 0) return null;
  const what = command.length > 0 ? `run "${command[0]}"` : "wait";
  const others: readonly (readonly [boolean | undefined, string])[] = [
    [line.test, "--test"],
    [line.generateKeys, "--key-gen"],
    [line.showLast, "--show-last"],
    [line.listStanzas, "--stanza-list"],
  ];
  const other = others.find(([given]) => given);
  if (other === undefined) return null;
  return misuse(`cannot ${what} after a knock: ${other[1]} sends none`).complaint;
}

/** Why `--wait` would wait for nothing, or null. */
export function checkWait(settings: KnockSettings): Complaint | null {
  const { access, serverCommand, lastCommand, wait } = settings;
  if (!wait || lastCommand) return null;
  if (serverCommand === undefined && /(?:^|,)tcp\//.test(access ?? "tcp/")) return null;
  return misuse(
    "cannot wait: only a TCP port shows whether it is open, and none is asked for",
    "leave --wait out, or ask for a TCP port with -A",
  ).complaint;
}

/**
 * Waits until every TCP port that was asked for takes connections; gives what was waited for.
 * Without one there is nothing to wait for.
 */
export async function waitUntilOpen(
  knocked: Knocked,
  settings: KnockSettings,
  host: Host,
  timer: Timer = systemTimer,
): Promise<Outcome<string>> {
  const ports = knocked.ports.filter(({ protocol }) => protocol === "tcp");
  if (ports.length === 0) return done("");
  const address = await gatewayAddress(knocked, settings, host);
  if (!address.ok) return address;
  const timeout = settings.networkTimeout ?? DEFAULT_TIMEOUT;
  const opened = await Promise.all(ports.map(async ({ port }) => {
    const stream = await connectWhenOpen({ address: address.value, port }, timeout, host, timer);
    if (stream.ok) stream.value.close();
    return stream;
  }));
  for (const stream of opened) if (!stream.ok) return stream;
  return done(`${formatPorts(ports)} of ${address.value}`);
}

/** Where the ports will open. */
export async function gatewayAddress(
  { address, server }: Knocked,
  settings: KnockSettings,
  host: Host,
): Promise<Outcome<string>> {
  return address === null ? await addressAfterKnock(server, settings, host) : done(address);
}

/** The address of a host that the packet did not go to itself. */
export async function addressAfterKnock(
  name: string,
  { family }: KnockSettings,
  host: Host,
): Promise<Outcome<string>> {
  const found = await findAddresses(name, family ?? null, host);
  const [first] = found.ok ? found.value : [];
  if (first !== undefined) return done(first);
  return failure(
    `the packet was sent, but nothing can connect to "${name}": its address cannot be found`,
  );
}

/** Milliseconds between the starts of two attempts: the first pause, and the longest. */
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 500;

/**
 * Connects as soon as a port takes connections.
 *
 * A port that is not open yet mostly does not answer, and the system asks again only after a
 * second; so new attempts start while older ones still wait for an answer from afar.
 *
 * @param timeout milliseconds after which waiting ends
 */
export function connectWhenOpen(
  to: Endpoint,
  timeout: number,
  host: Host,
  timer: Timer = systemTimer,
): Promise<Outcome<ByteStream>> {
  return new Promise((resolve) => {
    const attempts = new Set<AbortController>();
    let reason = "no answer";
    let pause = FIRST_PAUSE;
    let over = false;
    let cancelNext = (): void => {};

    function finish(result: Outcome<ByteStream>): void {
      over = true;
      cancelNext();
      cancelDeadline();
      for (const attempt of attempts) attempt.abort();
      resolve(result);
    }

    async function attempt(): Promise<void> {
      cancelNext = timer(pause, attempt);
      pause = Math.min(2 * pause, LONGEST_PAUSE);
      const own = new AbortController();
      attempts.add(own);
      try {
        const stream = await host.connectStream(to, own.signal);
        attempts.delete(own);
        if (over) stream.close();
        else finish(done(stream));
      } catch (error) {
        attempts.delete(own);
        if (!over) reason = reasonOf(error);
      }
    }

    const cancelDeadline = timer(timeout, () => {
      const where = `${to.address} port ${to.port}`;
      finish(failure(
        `the packet was sent, but ${where} did not open within ${timeout / 1000} s: ${reason}`,
        reason === "Connection refused" ? REFUSED_HINT : SILENT_HINT,
      ));
    });
    attempt();
  });
}

const REFUSED_HINT = "something answers there: is the service running?";
const SILENT_HINT = "a gateway never tells why: see its log; check the keys, both clocks, and " +
  "that the address allowed is the one you come from";
