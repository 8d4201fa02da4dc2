import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import type { Libc } from "../ffi/libc.ts";
import type { Waiter } from "../ffi/libc_wait.ts";
import type { PcapCapture } from "../ffi/libpcap.ts";
import type { Native } from "../lib/host.ts";
import type { Datagram } from "../lib/net_datagram.ts";
import { LINK_TYPES } from "../lib/net_frame.ts";
import type { CaptureSource } from "../lib/serve_capture.ts";
import { openInterfaces } from "../lib/serve_capture_interfaces.ts";
import { createLog } from "../lib/serve_log.ts";

/** A machine whose interfaces the test makes, fills and deletes. */
function machine(...names: readonly string[]) {
  let count = 0;
  let nextDescriptor = 10;
  let monitor = -1;
  const indexes = new Map<string, number>();
  const captures = new Map<string, { readonly fd: number; readonly frames: Uint8Array[] }>();
  const open = new Set<number>();
  const waits = new Map<number, (more: boolean) => void>();
  const faults: string[] = [];
  const lines: string[] = [];

  function waiterFor(fd: number): Waiter {
    let woken = false;
    return {
      wait: () => {
        if (!open.has(fd)) faults.push(`waits for ${fd}, which is closed`);
        if (woken) return Promise.resolve(false);
        const { promise, resolve } = Promise.withResolvers<boolean>();
        waits.set(fd, resolve);
        // A wait is over only when it says so, not when it is woken.
        return promise.finally(() => waits.delete(fd));
      },
      wake: () => {
        woken = true;
        waits.get(fd)?.(false);
      },
      close: () => {},
    };
  }

  function close(fd: number): void {
    if (waits.has(fd)) faults.push(`closes ${fd}, which is waited for`);
    open.delete(fd);
  }

  const libc: Partial<Libc> = {
    waiterFor,
    interfaceIndex: (name) => indexes.get(name) ?? null,
    openLinkMonitor: () => {
      monitor = nextDescriptor++;
      open.add(monitor);
      return monitor;
    },
    discardMessages: () => {},
    closeFile: close,
  };

  function openPcap({ interface: name }: { readonly interface: string }): PcapCapture {
    if (!indexes.has(name) && name !== "any") throw new Error(`${name}: No such device exists`);
    const frames: Uint8Array[] = [];
    const fd = nextDescriptor++;
    const index = indexes.get(name);
    let received = 0;
    open.add(fd);
    captures.set(name, { fd, frames });
    return {
      fd,
      linkType: LINK_TYPES.raw,
      next: () => {
        const frame = frames.shift() ?? null;
        if (frame !== null) received++;
        else if (indexes.get(name) !== index) throw new Error("The interface disappeared");
        return frame;
      },
      counters: () => ({ received, dropped: 1, droppedByInterface: 0 }),
      close: () => close(fd),
    };
  }

  const plug = (name: string): void => {
    indexes.set(name, ++count);
    waits.get(monitor)?.(true);
  };
  for (const name of names) plug(name);
  return {
    open,
    faults,
    lines,
    plug,
    unplug(name: string): void {
      indexes.delete(name);
      waits.get(monitor)?.(true);
    },
    /** Has packets arrive, whose payload is `mark`. */
    arrive(name: string, mark: number, packets = 1): void {
      const capture = captures.get(name);
      for (let number = 0; number < packets; number++) capture?.frames.push(packetOf(mark));
      waits.get(capture?.fd ?? -1)?.(true);
    },
    arriveFragment(name: string): void {
      const moreFragments = 0x20;
      captures.get(name)?.frames.push(packetOf(0).with(6, moreFragments));
    },
    start(interfaces: readonly string[], endsWithInterface: boolean): CaptureSource {
      const native = { libc, openPcap } as unknown as Native;
      return openInterfaces(native, createLog(0, (_, text) => lines.push(text)), {
        interfaces,
        endsWithInterface,
        reopening: null,
        filter: "udp",
        promiscuous: false,
        snapshotLength: 1500,
        anyDirection: false,
        bufferBytes: 1 << 20,
      });
    },
  };
}

/** An IPv4 UDP packet with one byte of payload. */
function packetOf(mark: number): Uint8Array {
  const header = [0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 10, 192, 0, 2, 1];
  return Uint8Array.of(...header, 1, 0, 2, 0, 0, 9, 0, 0, mark);
}

async function drain(source: CaptureSource, limit = 64): Promise<number[]> {
  const marks: number[] = [];
  ok(await source.wait());
  source.drain(limit, ({ payload }: Datagram) => marks.push(payload[0] ?? -1));
  return marks;
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("a flooded interface leaves the others their turn", async () => {
  const { start, arrive, faults } = machine("eth0", "eth1");
  const source = start(["eth0", "eth1"], true);
  await drain(source);
  arrive("eth0", 1, 1000);
  arrive("eth1", 2);
  const seen = [...await drain(source, 64), ...await drain(source, 64)];
  ok(seen.includes(2), "the packet of the quiet interface waits");
  strictEqual(seen.length, 128);
  source.close();
  await settle();
  deepStrictEqual(faults, []);
});

Deno.test("a packet that comes while another interface is flooded is seen without a wait", async () => {
  const { start, arrive } = machine("eth0", "eth1");
  const source = start(["eth0", "eth1"], true);
  await drain(source);
  arrive("eth0", 1, 1000);
  await drain(source);
  await drain(source);
  arrive("eth1", 2);
  await settle();
  const seen: number[] = [];
  for (let batch = 0; batch < 2; batch++) {
    source.drain(64, ({ payload }) => seen.push(payload[0] ?? -1));
  }
  ok(seen.includes(2));
  source.close();
});

Deno.test("everything is closed at the end, and nothing while it is waited for", async () => {
  const { start, open, faults } = machine("eth0");
  for (const stopFirst of [true, false]) {
    const source = start(["eth0", "any"], true);
    await drain(source);
    const waiting = stopFirst ? source.wait() : null;
    await settle();
    source.stop();
    if (waiting !== null) strictEqual(await waiting, false);
    strictEqual(await source.wait(), false);
    source.close();
    await settle();
    deepStrictEqual([...open], []);
  }
  deepStrictEqual(faults, []);
});

Deno.test("where one interface cannot be opened, those before it are closed", async () => {
  const { start, open, faults } = machine("eth0");
  throws(() => start(["eth0", "eth1"], false), /cannot capture on "eth1": .*No such device/);
  await settle();
  deepStrictEqual([[...open], faults], [[], []]);
});

Deno.test("an interface that disappears ends the capture where that is wanted", async () => {
  const { start, unplug } = machine("eth0", "eth1");
  const source = start(["eth0", "eth1"], true);
  await drain(source);
  unplug("eth1");
  await source.wait();
  throws(
    () => source.drain(64, () => {}),
    { message: 'Fatal error from pcap_dispatch() on "eth1": The interface disappeared' },
  );
  source.close();
});

Deno.test("else an interface that comes back is captured again, and all is counted", async () => {
  const { start, arrive, plug, unplug, open, lines, faults } = machine("eth0", "eth1");
  const source = start(["eth0", "eth1"], false);
  await drain(source);
  arrive("eth1", 1);
  deepStrictEqual(await drain(source), [1]);
  unplug("eth1");
  await drain(source);
  // News of other interfaces change nothing.
  plug("eth7");
  await drain(source);
  arrive("eth0", 2);
  deepStrictEqual(await drain(source), [2]);
  plug("eth1");
  await drain(source);
  arrive("eth1", 3);
  deepStrictEqual(await drain(source), [3]);
  deepStrictEqual(lines, [
    'The interface "eth1" disappeared. Waiting for it to come back.',
    "Sniffing interface: eth1",
  ]);
  deepStrictEqual(source.counters?.(), {
    received: 3,
    dropped: 3,
    droppedByInterface: 0,
    fragments: 0,
  });
  source.close();
  await settle();
  deepStrictEqual([[...open], faults], [[], []]);
});

Deno.test("fragments are passed over and counted", async () => {
  const { start, arrive, arriveFragment } = machine("eth0");
  const source = start(["eth0"], true);
  await drain(source);
  arriveFragment("eth0");
  arrive("eth0", 1);
  deepStrictEqual(await drain(source), [1]);
  deepStrictEqual(source.counters?.()?.fragments, 1);
  source.close();
});
