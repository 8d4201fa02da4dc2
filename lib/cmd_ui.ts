// All terminal talk of the commands. The rules:
// - what was asked for (a dump, keys, a list) goes to stdout, everything else to stderr;
// - an error is one line `spa: ...`, then `hint: ...` lines that say what to do;
// - where programs match fwknop's words, those words stay inside the line;
// - colour and the line that confirms a success are for terminals only.

import type { Host } from "./host.ts";
import type { UsageError } from "./cmd_getopt.ts";

/** Exit statuses: done, refused or failed, wrong use of the command line. */
export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Why a command stops: what the user is told, and the exit status. */
export interface Complaint {
  /** One line, without the program's name in front; fwknop's own wording may bring more lines. */
  readonly text: string;
  readonly hint?: string;
  readonly status: number;
}

/** A result, or why there is none. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | {
  readonly ok: false;
  readonly complaint: Complaint;
};

/** An {@linkcode Outcome} that holds a result. */
export function done<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

/** An {@linkcode Outcome} for work that was refused or failed: exit status 1. */
export function failure(
  text: string,
  hint?: string,
): { readonly ok: false; readonly complaint: Complaint } {
  return complaining(text, EXIT.failed, hint);
}

/** An {@linkcode Outcome} for a command line that makes no sense: exit status 2. */
export function misuse(
  text: string,
  hint?: string,
): { readonly ok: false; readonly complaint: Complaint } {
  return complaining(text, EXIT.usage, hint);
}

function complaining(
  text: string,
  status: number,
  hint?: string,
): { readonly ok: false; readonly complaint: Complaint } {
  return { ok: false, complaint: hint === undefined ? { text, status } : { text, status, hint } };
}

/** The terminal, as a command talks to it. Texts carry no line end. */
export interface Ui {
  /** What the user asked for, on stdout. */
  print(text: string): void;
  /** Something that is odd but does not stop the command, on stderr. */
  warn(text: string, hint?: string): void;
  /** Why the command stops, on stderr; gives its exit status. */
  complain(complaint: Complaint): number;
  /** What is wrong with the command line, on stderr; gives the exit status. */
  usage(errors: readonly UsageError[]): number;
  /** Success in one line, on stdout; only when that is a terminal and nobody asked for quiet. */
  confirm(text: string): void;
}

/** What changes how a command talks. */
export interface UiSettings {
  /** Command after `spa`, for `spa knock --help`. */
  readonly command: string;
  /** No confirmation and no warning. */
  readonly quiet?: boolean;
  /** Exit status for wrong use of the command line, where it is not 2. */
  readonly usageStatus?: number;
}

/** A {@linkcode Ui} on the host's streams. */
export function createUi(host: Host, settings: UiSettings): Ui {
  const { usageStatus = EXIT.usage } = settings;
  const coloured = host.isTerminal("stderr") && isColourWelcome(host);
  const paint = (code: string, text: string): string =>
    coloured ? `\x1b[${code}m${text}\x1b[0m` : text;
  const complain = ({ text, hint, status }: Complaint): number => {
    host.stderr(`${paint(RED, "spa:")} ${text}\n`);
    if (hint !== undefined) host.stderr(`${paint(CYAN, "hint:")} ${hint}\n`);
    return status === EXIT.usage ? usageStatus : status;
  };
  return {
    print: (text) => host.stdout(`${text}\n`),
    warn: (text, hint) => {
      if (settings.quiet) return;
      host.stderr(`${paint(YELLOW, "spa:")} ${text}\n`);
      if (hint !== undefined) host.stderr(`${paint(CYAN, "hint:")} ${hint}\n`);
    },
    complain,
    usage: (errors) => {
      for (const { text, hint } of errors) {
        complain({ text, status: EXIT.usage, ...(hint === undefined ? {} : { hint }) });
      }
      host.stderr(`Try 'spa ${settings.command} --help'.\n`);
      return usageStatus;
    },
    confirm: (text) => {
      if (!settings.quiet && host.isTerminal("stdout")) host.stdout(`${text}\n`);
    },
  };
}

/** The host, for commands whose standard output belongs to others: what is said goes to stderr. */
export function withoutStdout(host: Host): Host {
  return {
    ...host,
    stdout: host.stderr,
    isTerminal: (stream) => host.isTerminal(stream === "stdout" ? "stderr" : stream),
  };
}

// Select Graphic Rendition codes, ECMA-48 section 8.3.117.
const RED = "1;31";
const YELLOW = "1;33";
const CYAN = "36";

/** https://no-color.org: any non-empty value switches colour off. */
function isColourWelcome(host: Host): boolean {
  return (host.env("NO_COLOR") ?? "") === "" && host.env("TERM") !== "dumb";
}
