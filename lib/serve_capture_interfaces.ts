// Several interfaces captured as one, and what happens when an interface goes away or comes back.

import type { Native } from "./host.ts";
import { type CaptureCounters, CaptureError, type CaptureSource } from "./serve_capture.ts";
import { type InterfaceSource, openPcapSource, type PcapSettings } from "./serve_capture_pcap.ts";
import type { Log } from "./serve_log.ts";

/** What fwknopd's configuration says of interfaces and libpcap. */
export interface InterfaceSettings extends Omit<PcapSettings, "interface"> {
  /** At least one name. */
  readonly interfaces: readonly string[];
  /** Whether the capture ends when an interface disappears; else it waits for another of the name. */
  readonly endsWithInterface: boolean;
  /** Null where an interface that comes back can be opened right here. */
  readonly reopening: Reopening | null;
}

/** How interfaces come back where the capture may not open them. */
export interface Reopening {
  /** Some may be missing at the start. */
  readonly awaits: boolean;
  /** Called when an interface is back: somebody else is to open a capture of all of them. */
  readonly renew: () => void;
}

/** What a wait is for: frames, or news of interfaces. */
type Awaited = Pick<CaptureSource, "wait" | "stop" | "close">;

/** Something that is waited for beside others. */
interface Lane<Source extends Awaited> {
  readonly source: Source;
  /** Its wait, while that goes on. */
  pending: Promise<void> | null;
  /** Whether something may be there. */
  ready: boolean;
}

/** One interface. */
interface Interface {
  readonly name: string;
  /** What its present or last capture was opened on; null for names without, such as `any`. */
  index: number | null;
  /** Null while the interface is gone. */
  lane: Lane<InterfaceSource> | null;
}

/**
 * Starts capturing on each interface.
 *
 * @throws {CaptureError} when one of them, libpcap or the filter cannot be used
 */
export function openInterfaces(
  native: Native,
  log: Log,
  settings: InterfaceSettings,
): CaptureSource {
  const { libc } = native;
  const interfaces: Interface[] = [];
  /** Counters of captures that are over. */
  let past: CaptureCounters = { received: 0, dropped: 0, droppedByInterface: 0, fragments: 0 };
  let notify: () => void = () => {};
  let stopped = false;
  /** Which interface has the first turn, so that a flooded one cannot keep the others waiting. */
  let first = 0;

  function arm(lane: Lane<Awaited>): void {
    lane.ready = false;
    lane.pending ??= lane.source.wait().then((more) => {
      lane.pending = null;
      lane.ready = more;
      notify();
    });
  }

  /** Descriptors are closed only after the wait for them has ended. */
  function finish({ source, pending }: Lane<Awaited>): void {
    source.stop();
    if (pending === null) source.close();
    else pending.then(source.close);
  }

  function open(name: string): Interface {
    const index = libc.interfaceIndex(name);
    const source = openPcapSource(native, { ...settings, interface: name });
    return { name, index, lane: { source, pending: null, ready: true } };
  }

  function openOrAwait(name: string): Interface {
    try {
      return open(name);
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      log.debug(error.message);
      return { name, index: libc.interfaceIndex(name), lane: null };
    }
  }

  function isGone({ name, index }: Interface): boolean {
    return index !== null && libc.interfaceIndex(name) !== index;
  }

  function lose(lost: Interface): void {
    if (settings.endsWithInterface) {
      throw new CaptureError(
        `Fatal error from pcap_dispatch() on "${lost.name}": The interface disappeared`,
        "with EXIT_AT_INTF_DOWN N the server waits for it to come back",
      );
    }
    if (lost.lane !== null) {
      past = sum(past, lost.lane.source.counters?.() ?? null);
      finish(lost.lane);
      lost.lane = null;
    }
    log.warning(`The interface "${lost.name}" disappeared. Waiting for it to come back.`);
  }

  function recover(lost: Interface): void {
    if (settings.reopening !== null) {
      if (libc.interfaceIndex(lost.name) !== null) settings.reopening.renew();
      return;
    }
    try {
      const { index, lane } = open(lost.name);
      lost.index = index;
      lost.lane = lane;
      log.info(`Sniffing interface: ${lost.name}`);
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      // It is not up yet, or gone again: both are told by the next message about interfaces.
      log.debug(error.message);
    }
  }

  function checkInterfaces(): void {
    for (const one of interfaces) {
      if (one.lane !== null && isGone(one)) lose(one);
      if (one.lane === null) recover(one);
    }
  }

  function drainOne(one: Interface, limit: number, take: Parameters<CaptureSource["drain"]>[1]) {
    const { lane } = one;
    if (lane === null || !lane.ready) return 0;
    try {
      const count = lane.source.drain(limit, take);
      if (count < limit) arm(lane);
      return count;
    } catch (error) {
      if (!(error instanceof CaptureError) || !isGone(one)) throw error;
      lose(one);
      recover(one);
      return 0;
    }
  }

  function lanes(): Lane<Awaited>[] {
    const captures = interfaces.flatMap(({ lane }) => lane ?? []);
    return monitor === null ? captures : [monitor, ...captures];
  }

  let monitor: Lane<Awaited> | null = null;
  try {
    if (settings.reopening?.awaits) {
      // First, so that no interface comes between the look for it and the news of it.
      monitor = openMonitor(libc, false);
      for (const name of settings.interfaces) interfaces.push(openOrAwait(name));
    } else {
      for (const name of settings.interfaces) interfaces.push(open(name));
      if (interfaces.some(({ index }) => index !== null)) monitor = openMonitor(libc, true);
    }
  } catch (error) {
    for (const lane of lanes()) finish(lane);
    throw error;
  }

  return {
    announcement: [
      ...interfaces.flatMap(({ name, lane }) =>
        lane === null ? [] : [`Sniffing interface: ${name}`]
      ),
      `PCAP filter is: '${settings.filter}'`,
      "Starting fwknopd main event loop.",
    ],
    async wait() {
      while (!stopped) {
        for (const lane of lanes()) if (!lane.ready) arm(lane);
        if (lanes().some(({ ready }) => ready)) return true;
        await new Promise<void>((resolve) => void (notify = resolve));
      }
      return false;
    },
    drain(limit, take) {
      if (monitor?.ready) {
        // Armed first: what changes from now on is told again.
        arm(monitor);
        checkInterfaces();
      }
      let count = 0;
      for (let turn = 0; turn < interfaces.length && count < limit; turn++) {
        const one = interfaces[(first + turn) % interfaces.length];
        if (one !== undefined) count += drainOne(one, limit - count, take);
      }
      first = (first + 1) % interfaces.length;
      return count;
    },
    counters: () =>
      interfaces.reduce((all, { lane }) => sum(all, lane?.source.counters?.() ?? null), past),
    stop() {
      stopped = true;
      // What has come by now can still be drained.
      for (const { lane } of interfaces) if (lane !== null) lane.ready = true;
      for (const { source } of lanes()) source.stop();
      notify();
    },
    close() {
      for (const lane of lanes()) finish(lane);
    },
  };
}

/**
 * Wakes whenever an interface comes, goes or changes, so that nobody has to look every so often.
 *
 * @param ready true where an interface may have gone between its opening and this
 */
function openMonitor(libc: Native["libc"], ready: boolean): Lane<Awaited> {
  const fd = libc.openLinkMonitor();
  const waiter = libc.waiterFor(fd);
  const source: Awaited = {
    wait() {
      libc.discardMessages(fd);
      return waiter.wait();
    },
    stop: waiter.wake,
    close() {
      waiter.close();
      libc.closeFile(fd);
    },
  };
  return { source, pending: null, ready };
}

function sum(one: CaptureCounters, other: CaptureCounters | null): CaptureCounters {
  return other === null ? one : {
    received: one.received + other.received,
    dropped: one.dropped + other.dropped,
    droppedByInterface: one.droppedByInterface + other.droppedByInterface,
    fragments: one.fragments + other.fragments,
  };
}
