// The processes of a gateway that read packets for it.

import type { Watched } from "./process.ts";

/** The process ids of a gateway's sentries; the lab's command becomes the gateway itself. */
export function sentriesOf({ pid }: Pick<Watched, "pid">): number[] {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
  return children.split(" ").filter((child) => child !== "").map(Number)
    .filter((child) => Deno.readTextFileSync(`/proc/${child}/comm`) === "spa-sentry\n");
}
