// What the benchmark measures, and how its results are summed up and printed. Pure.

/** The programs that are compared. */
export const PROGRAM_NAMES = ["fwknopd", "spa"] as const;
/** A program that is compared. */
export type ProgramName = (typeof PROGRAM_NAMES)[number];

/** The measurements in the order of the table. */
export const MEASUREMENTS = {
  packetToOpen: "packet → open, libpcap",
  packetToOpenUdp: "packet → open, UDP server",
  packetToOpenQueue: "packet → open, netfilter queue",
  packetToOpenFull: "packet → open with the burst's grants open",
  packetToOpen10k: "packet → open with 10,000 grants open",
  packetToOpen100k: "packet → open with 100,000 grants open",
  knockToOpen: "knock → open",
  knockToWire: "knock → packet on the wire",
  burst: "burst of valid knocks",
  killed: "ports that 100 grants open, after kill -9 and their end",
  start: "start of the server",
  memoryIdle: "memory, idle",
  memoryFull: "memory with the burst's grants open",
  idle: "work while idle",
  flood1000: "valid knocks during 1,000 junk packets/s",
  flood5000: "valid knocks during 5,000 junk packets/s",
  flood20000: "valid knocks during 20,000 junk packets/s",
  flood50000: "valid knocks during 50,000 junk packets/s",
  memoryBeforeFlood: "memory before the junk",
  memoryDuringFlood: "memory after these floods",
  memoryAfterFlood: "memory after 1,000,000 junk packets in all",
  afterFlood: "valid knocks after them",
  manyStart: "start with 5,000 stanzas for any source",
  manyMemory: "memory with them",
  manyOthers: "packet → open, one of the last, another each time",
  manySame: "packet → open, the last one each time",
  hosts: "packet → open with 5,000 stanzas for one host each",
  digestsStart: "start with 1,000,000 lines in digest.cache",
  digestsMemory: "memory with them",
  stallOne: "longest stall of the event loop, one stanza",
  stallMany: "longest stall of the event loop, 5,000 stanzas",
} as const;
/** A measurement. */
export type Measurement = keyof typeof MEASUREMENTS;

/** What is measured of programs under attack; the others are measured in peace. */
export const HOSTILE_MEASUREMENTS: readonly Measurement[] = [
  "flood1000",
  "flood5000",
  "flood20000",
  "flood50000",
  "memoryBeforeFlood",
  "memoryDuringFlood",
  "memoryAfterFlood",
  "afterFlood",
  "manyStart",
  "manyMemory",
  "manyOthers",
  "manySame",
  "hosts",
  "digestsStart",
  "digestsMemory",
  "idle",
  "stallOne",
  "stallMany",
];
/** What is measured in peace. */
export const PEACEFUL_MEASUREMENTS: readonly Measurement[] = [
  "packetToOpen",
  "packetToOpenUdp",
  "packetToOpenQueue",
  "packetToOpenFull",
  "packetToOpen10k",
  "packetToOpen100k",
  "knockToOpen",
  "knockToWire",
  "burst",
  "killed",
  "start",
  "memoryIdle",
  "memoryFull",
  "idle",
];

/** What one measurement of one program gave. */
export type Outcome =
  | {
    readonly kind: "latency";
    /** Milliseconds, in the order of the rounds. */
    readonly samples: readonly number[];
    /** Rounds in which nothing came in time. */
    readonly lost: number;
  }
  | {
    readonly kind: "flood";
    /** As with `latency`. */
    readonly samples: readonly number[];
    readonly lost: number;
    /** Junk packets a second that were sent. */
    readonly rate: number;
    /** What the program used of a processor; 1 is all of one. */
    readonly load: number;
  }
  | { readonly kind: "duration"; readonly milliseconds: number }
  /** Ports that were open while they should, and those that still are. */
  | { readonly kind: "ports"; readonly before: number; readonly after: number }
  | {
    readonly kind: "stall";
    /** Milliseconds of processor time between two turns of the timers. */
    readonly samples: readonly number[];
  }
  | {
    readonly kind: "burst";
    readonly sent: number;
    readonly opened: number;
    /** From the first packet to the last grant. */
    readonly seconds: number;
  }
  | {
    readonly kind: "memory";
    /** Proportional set size in KiB: shared pages count by their share. */
    readonly proportional: number;
    /** KiB of it that belong to no file. */
    readonly anonymous: number;
    readonly processes: number;
  }
  | {
    readonly kind: "idle";
    readonly seconds: number;
    readonly cpuMilliseconds: number;
    /** Times that a thread got a processor. */
    readonly wakings: number;
  };

/** Measurements of spa only, the second of nftables only; a run without them has no rows for them. */
export const GRANTS_OPEN = { packetToOpen10k: 10_000, packetToOpen100k: 100_000 } as const;

/** How much is measured. */
export interface Plan {
  readonly rounds: number;
  /** Knocks in the burst. */
  readonly burst: number;
  readonly idleSeconds: number;
  /** Whether programs are measured under attack. */
  readonly hostile?: boolean;
  /** The firewall of spa; fwknopd has iptables only. */
  readonly firewall?: "iptables" | "nftables";
  /** Whether spa runs without separation of privileges. */
  readonly together?: boolean;
}

/** The results of one program. */
export interface ProgramResult {
  readonly version: string;
  readonly outcomes: Partial<Record<Measurement, Outcome>>;
  /** Why the rest was not measured; null when all was. */
  readonly failure: string | null;
}

/** A whole run, as it is written to the JSON file. */
export interface Report {
  /** ISO 8601. */
  readonly date: string;
  readonly machine: Readonly<Record<string, string>>;
  readonly plan: Plan;
  readonly programs: Partial<Record<ProgramName, ProgramResult>>;
}

/**
 * A quantile by nearest rank.
 *
 * @param fraction 0 to 1; 0.5 gives the median
 * @returns NaN without samples
 */
export function quantile(samples: readonly number[], fraction: number): number {
  const sorted = samples.toSorted((left, right) => left - right);
  return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? NaN;
}

/** One cell of the table. */
export function formatOutcome(outcome: Outcome | undefined): string {
  switch (outcome?.kind) {
    case undefined:
      return "not measured";
    case "latency": {
      const { samples, lost } = outcome;
      if (samples.length === 0) return `none of ${lost} rounds ended in time`;
      const [median, p95, most] = [0.5, 0.95, 1].map((part) => number(quantile(samples, part)));
      const loss = lost === 0 ? "" : `, ${lost} of ${samples.length + lost} rounds lost`;
      return `${median} ms (95 %: ${p95}, max: ${most})${loss}`;
    }
    case "flood": {
      const { samples, lost, rate, load } = outcome;
      const opened = `${samples.length} of ${samples.length + lost} opened`;
      const median = samples.length === 0 ? "" : `, ${number(quantile(samples, 0.5))} ms`;
      const work = `${(load * 100).toFixed(0)} % of a core`;
      return `${opened}${median} (sent: ${Math.round(rate)}/s; ${work})`;
    }
    case "stall": {
      const [most, p99, median] = [1, 0.99, 0.5].map((part) =>
        number(quantile(outcome.samples, part))
      );
      return `${most} ms of a core (99 %: ${p99}, median: ${median})`;
    }
    case "duration":
      return `${number(outcome.milliseconds)} ms`;
    case "ports":
      return `${outcome.after} of ${outcome.before} still open`;
    case "burst": {
      const { sent, opened, seconds } = outcome;
      const rate = number(opened / seconds);
      return `${rate} grants/s (${opened} of ${sent} opened in ${number(seconds)} s)`;
    }
    case "memory": {
      const { proportional, anonymous, processes } = outcome;
      const [all, own] = [proportional, anonymous].map((size) => number(size / 1024));
      return `${all} MiB (${own} anonymous; ${processes} ${plural(processes, "process")})`;
    }
    case "idle": {
      const { seconds, cpuMilliseconds, wakings } = outcome;
      const share = (cpuMilliseconds / seconds / 10).toFixed(2);
      return `${share} % of a core, ${number(wakings / seconds)} wakings/s`;
    }
  }
}

/** The whole report as Markdown: the machine, then a table with a column for each program. */
export function formatReport({ date, machine, plan, programs }: Report): string {
  const names = PROGRAM_NAMES.filter((name) => programs[name] !== undefined);
  const measurements = (plan.hostile === true ? HOSTILE_MEASUREMENTS : PEACEFUL_MEASUREMENTS)
    .filter((measurement) => plan.firewall === "nftables" || measurement !== "packetToOpen100k");
  const rows = [
    ["", ...names.map((name) => programs[name]?.version ?? name)],
    ...measurements.map((measurement) => [
      MEASUREMENTS[measurement],
      ...names.map((name) => formatOutcome(programs[name]?.outcomes[measurement])),
    ]),
  ];
  const failures = names.flatMap((name) => {
    const failure = programs[name]?.failure ?? null;
    return failure === null ? [] : [`${name} was not measured to the end: ${failure}`];
  });
  const facts = Object.entries(machine).map(([name, value]) => `${name}: ${value}`);
  return [`${date}; ${facts.join("; ")}.`, table(rows), ...failures].join("\n\n") + "\n";
}

/** A Markdown table with aligned columns; the first row is its head. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0))
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
}

/** Three significant digits, or all digits before the point. */
function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function plural(count: number, word: string): string {
  return count === 1 ? word : `${word}es`;
}
