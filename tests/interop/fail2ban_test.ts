// The fail2ban filter, held by fail2ban's own tool against the lines that the server writes.

import { deepStrictEqual, ok } from "node:assert/strict";
import { hasProgram } from "../lab/lab.ts";
import { run } from "../lab/process.ts";

const FILTER = new URL("../../packaging/fail2ban/filter.d/spa.conf", import.meta.url).pathname;
const ignore = !hasProgram("fail2ban-regex");

const HOSTILE = [
  "[192.0.2.10] (stanza #1) Error creating fko context: Args contain invalid data: FKO_ERROR_INVALID_DATA_HMAC_COMPAREFAIL",
  "[192.0.2.10] (stanza #12) Error creating fko context: Decryption failed or decrypted data is invalid",
  "[192.0.2.10] (stanza #1) Username in SPA data (mallory) does not match required username: alice",
  "[192.0.2.10] (stanza #1) One or more requested protocol/ports was denied per access.conf.",
  "[192.0.2.10] (stanza #1) Incoming SPA packet signed by ID: 0123ABCD, but that ID is not in the GPG_REMOTE_ID list.",
  "Replay detected from source IP: 192.0.2.10, Destination proto/port: 17/62201, Original source IP: 192.0.2.11, Original dst proto/port: 17/62201, Entry created: 11/22/26 07:00:00",
  "No access data found for source IP: 192.0.2.10",
];

const HARMLESS = [
  "Starting fwknopd",
  "(stanza #1) SPA Packet from IP: 192.0.2.10 received with access source match",
  "Added access rule to FWKNOP_INPUT for 192.0.2.10 -> 0.0.0.0/0 tcp/22, expires at 1795331061",
  "Removed rule 1 from FWKNOP_INPUT with expire time of 1795331061",
  "[192.0.2.10] (stanza #1) SPA data time difference is too great (131 seconds).",
  "[192.0.2.10] (stanza #1) Access stanza has expired",
];

Deno.test({
  name: `the fail2ban filter finds hostile packets only${ignore ? " (needs fail2ban)" : ""}`,
  ignore,
  fn: async () => {
    const path = await Deno.makeTempFile({ prefix: "spa-fail2ban-" });
    try {
      const line = (text: string): string => `Nov 22 07:00:00 gateway fwknopd[1234]: ${text}\n`;
      await Deno.writeTextFile(path, [...HOSTILE, ...HARMLESS].map(line).join(""));
      const tool = ["fail2ban-regex", "--print-all-matched", "--print-all-missed", path, FILTER];
      const { status, stdout, stderr } = await run(tool);
      ok(status === 0, stdout + stderr);
      const count = /(\d+) lines, \d+ ignored, (\d+) matched, (\d+) missed/.exec(stdout)?.slice(1);
      deepStrictEqual(count?.map(Number), [
        HOSTILE.length + HARMLESS.length,
        HOSTILE.length,
        HARMLESS.length,
      ], stdout);
    } finally {
      await Deno.remove(path);
    }
  },
});
