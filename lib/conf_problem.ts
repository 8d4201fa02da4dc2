// What is wrong or odd in a configuration, where, and what would be right.

/** An error stops the program before anything is touched; a warning is only shown. */
export type Severity = "error" | "warning";

/** One finding about a configuration. */
export interface Problem {
  readonly severity: Severity;
  /** The file as it was named, or what stands for one, such as `command line`. */
  readonly file: string;
  /** From 1; 0 when the finding is about the whole file. */
  readonly line: number;
  /** In characters, from 1; 0 when the finding is about the whole line or file. */
  readonly column: number;
  /** What is wrong, on one line; never holds a key or a passphrase. */
  readonly message: string;
  /** What would be right, or null when the message says it all. */
  readonly hint: string | null;
}

/** A place in a file. */
export interface Place {
  readonly file: string;
  /** From 1; 0 for the whole file. */
  readonly line: number;
  /** From 1; 0 for the whole line. */
  readonly column: number;
}

/** The place of what the command line says. */
export const COMMAND_LINE: Place = { file: "command line", line: 0, column: 0 };

/** An error at a place. */
export function errorAt(place: Place, message: string, hint: string | null = null): Problem {
  const { file, line, column } = place;
  return { severity: "error", file, line, column, message, hint };
}

/** A warning at a place. */
export function warningAt(place: Place, message: string, hint: string | null = null): Problem {
  return { ...errorAt(place, message, hint), severity: "warning" };
}

/** Whether one of the findings is an error. */
export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some((problem) => problem.severity === "error");
}

/** The findings by file, line and column; those of files that are not named come last. */
export function sortProblems(problems: readonly Problem[], files: readonly string[]): Problem[] {
  const rank = new Map(files.map((file, index) => [file, index]));
  const rankOf = (problem: Problem): number => rank.get(problem.file) ?? files.length;
  return [...problems].sort((one, other) =>
    rankOf(one) - rankOf(other) || one.line - other.line || one.column - other.column
  );
}

/**
 * The finding as the operator sees it: `spa: <file>:<line>:<column>: <message>`, with `warning: `
 * before the message of a warning, and a second line `hint: <hint>` if there is one. Control
 * characters, which a file may hold, are shown as `?`. No line end.
 */
export function formatProblem(problem: Problem): string {
  const { file, line, column, severity, message, hint } = problem;
  const place = [file, ...[line, column].filter((number) => number > 0)].join(":");
  const kind = severity === "warning" ? "warning: " : "";
  const text = printable(`spa: ${place}: ${kind}${message}`);
  return hint === null ? text : `${text}\nhint: ${printable(hint)}`;
}

function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
