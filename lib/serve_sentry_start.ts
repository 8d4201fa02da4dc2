// How a process of this program knows that it is to be a sentry. Nothing of the sentry itself is
// here, so that nobody has to load it to ask.

import type { Host } from "./host.ts";

/** Set in the environment of a process that is to be a sentry. */
const SENTRY_VARIABLE = "SPA_SENTRY";

/** How the monitor starts one; the arguments show in the list of processes. */
export const SENTRY_PROCESS = {
  args: ["serve", "[sentry]"],
  environment: { [SENTRY_VARIABLE]: "1" },
} as const;

/** Whether this process is to be a sentry. */
export function isSentryProcess(host: Pick<Host, "env">): boolean {
  return host.env(SENTRY_VARIABLE) === "1";
}
