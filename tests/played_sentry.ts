// A sentry that a test plays: the monitor's orders can be read, and anything can be told to it.

import type { Host, PartOfProgram } from "../lib/host.ts";
import { formatLine } from "../lib/serve_pipe_lines.ts";
import { type Order, parseOrder } from "../lib/serve_pipe_orders.ts";
import type { Report } from "../lib/serve_pipe_reports.ts";

/** One played sentry. */
export interface PlayedSentry {
  /** What it was told so far. */
  readonly orders: readonly Order[];
  /** Resolves with an order of that kind, once there is one. */
  ordered<Kind extends Order["kind"]>(kind: Kind): Promise<Extract<Order, { kind: Kind }>>;
  tell(...reports: readonly Report[]): void;
  /** Any bytes at all. */
  tellBytes(bytes: Uint8Array): void;
  /** Says that the capture is open and all is ready. */
  takeUp(): void;
  /** Ends by itself. */
  end(status: number): void;
  readonly isKilled: boolean;
  /** Resolves once it has ended, by itself or by force. */
  readonly over: Promise<number>;
  /** Pieces that nobody has read yet. */
  readonly unread: number;
}

/** The sentries that were started, and the next ones. */
export interface PlayedSentries {
  readonly startPart: Host["startPart"];
  /** The sentry of that number, from 0, once it was started. */
  sentry(index: number): Promise<PlayedSentry>;
  readonly count: number;
}

/** Nothing was started yet. */
export function playSentries(): PlayedSentries {
  const started: PlayedSentry[] = [];
  const awaited = new Map<number, PromiseWithResolvers<PlayedSentry>>();
  const sentry = (index: number): PromiseWithResolvers<PlayedSentry> => {
    const known = awaited.get(index) ?? Promise.withResolvers<PlayedSentry>();
    awaited.set(index, known);
    return known;
  };
  return {
    startPart() {
      const { part, played } = playOne(started.length + 100);
      sentry(started.length).resolve(played);
      started.push(played);
      return part;
    },
    sentry: (index) => sentry(index).promise,
    get count() {
      return started.length;
    },
  };
}

function playOne(pid: number): { part: PartOfProgram; played: PlayedSentry } {
  const encoder = new TextEncoder();
  const orders: Order[] = [];
  const watchers = new Set<() => void>();
  const pieces: Uint8Array[] = [];
  const status = Promise.withResolvers<number>();
  let wake: (() => void) | null = null;
  let over = false;
  let killed = false;

  function end(code: number): void {
    over = true;
    status.resolve(code);
    wake?.();
  }

  function tellBytes(bytes: Uint8Array): void {
    pieces.push(bytes);
    wake?.();
  }

  const tell = (...reports: readonly Report[]): void => {
    for (const report of reports) tellBytes(encoder.encode(formatLine(report)));
  };
  const played: PlayedSentry = {
    orders,
    ordered(kind) {
      return new Promise((resolve) => {
        const look = (): void => {
          const found = orders.find((order) => order.kind === kind);
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found as Extract<Order, { kind: typeof kind }>);
        };
        watchers.add(look);
        look();
      });
    },
    tell,
    tellBytes,
    takeUp: () => tell({ kind: "opened", announcement: ["Sniffing"] }, { kind: "ready" }),
    end,
    get isKilled() {
      return killed;
    },
    over: status.promise,
    get unread() {
      return pieces.length;
    },
  };
  const part: PartOfProgram = {
    pid,
    async read() {
      while (pieces.length === 0 && !over) {
        await new Promise<void>((resolve) => void (wake = resolve));
      }
      return pieces.shift() ?? null;
    },
    write(text) {
      orders.push(parseOrder(encoder.encode(text)));
      for (const look of [...watchers]) look();
      return Promise.resolve();
    },
    kill() {
      killed = true;
      end(137);
    },
    status: status.promise,
  };
  return { part, played };
}
