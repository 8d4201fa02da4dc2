// The daemon's log: verbosity and the shape of a log. Where lines go is the host's business.

import type { LogLevel } from "./auth_event.ts";

/** Receives the daemon's lines; each is one event in fwknopd's wording, without a line end. */
export interface Log {
  error(text: string): void;
  warning(text: string): void;
  info(text: string): void;
  /** Dropped below verbosity 1. */
  debug(text: string): void;
  /** How much was asked for: the number of `-v` options plus VERBOSE. */
  readonly verbosity: number;
}

/**
 * A log that hands each wanted line to `write`.
 *
 * @param verbosity 0 drops debug lines
 * @param write takes the level and the text
 */
export function createLog(verbosity: number, write: (level: LogLevel, text: string) => void): Log {
  return {
    verbosity,
    error: (text) => write("error", text),
    warning: (text) => write("warning", text),
    info: (text) => write("info", text),
    debug: (text) => {
      if (verbosity > 0) write("debug", text);
    },
  };
}
