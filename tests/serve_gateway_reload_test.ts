// A reload whose new configuration cannot be had.

import assert from "node:assert/strict";
import { denoHost } from "../lib/host_deno.ts";
import { reloadGateway } from "../lib/serve_gateway_reload.ts";
import type { Gateway, SetUpParts } from "../lib/serve_gateway_set_up.ts";
import { createLog } from "../lib/serve_log.ts";

Deno.test("a reload that cannot read the configuration says so and leaves the gateway alone", async () => {
  const untouched = new Proxy({} as Gateway, {
    get: (_, name) => assert.fail(`the reload looks at ${String(name)}`),
  });
  const cases: [read: () => Promise<null>, told: string][] = [
    [
      () => Promise.reject(new Error("Not a directory (os error 20): stat '/etc/passwd/nft'")),
      "error Not a directory; going on with the present configuration.",
    ],
    [
      () => Promise.resolve(null),
      "error The new configuration has errors; going on with the present one.",
    ],
  ];
  for (const [read, told] of cases) {
    const lines: string[] = [];
    const log = createLog(0, (level, text) => lines.push(`${level} ${text}`));
    const parts = { host: denoHost(), log, options: { testMode: false } } as SetUpParts;
    await reloadGateway(untouched, parts, read);
    assert.deepEqual(lines, ["warning Got SIGHUP. Re-reading configs.", told]);
  }
});
