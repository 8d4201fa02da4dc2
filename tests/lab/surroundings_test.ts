// `spa serve` and what surrounds it: the system logger, missing libraries. Each test has a mount
// namespace of its own, so that what it hides or puts in place is there for its programs only.

import { match, strictEqual } from "node:assert/strict";
import { serve, writeGatewayFiles } from "./gateway.ts";
import { knockPacket, send, STANZA } from "./knock.ts";
import {
  GATEWAY_INTERFACE,
  hasProgram,
  type Lab,
  labMissing,
  labTool,
  openLab,
  spaCommand,
} from "./lab.ts";
import type { Watched } from "./process.ts";

const SNIFF = `PCAP_INTF ${GATEWAY_INTERFACE}\n`;
const missing = labMissing() ?? (hasProgram("unshare") ? null : "needs the program unshare");
const suffix = missing === null ? "" : ` (${missing})`;

/** Runs a command in a mount namespace of its own after a shell script has prepared that. */
function withMounts(script: string, command: readonly string[]): string[] {
  return ["unshare", "--mount", "sh", "-ec", `${script}\nexec "$@"`, "sh", ...command];
}

/** Starts a system logger of the lab, and gives what makes a command's `/dev/log` lead to it. */
async function startLogger(
  lab: Lab,
): Promise<{ readonly logger: Watched; readonly script: string }> {
  const devices = `${lab.directory}/dev`;
  await Deno.mkdir(devices);
  const logger = lab.gateway.start(labTool("syslog_reader", `${devices}/log`));
  await logger.waitFor(/listening/);
  const script = [
    ...["null", "urandom", "random"].map((name) =>
      `touch ${devices}/${name}; mount --bind /dev/${name} ${devices}/${name}`
    ),
    `mount --rbind ${devices} /dev`,
  ].join("\n");
  return { logger, script };
}

/** A line as the system logger gets it. */
function loggedLine(priority: number, text: string): RegExp {
  return new RegExp(
    `^<${priority}>\\w{3} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d fwknopd\\[\\d+\\]: ${text}`,
    "m",
  );
}

Deno.test({
  name: `a daemon logs to the system logger, with fwknopd's identity and priorities${suffix}`,
  ignore: missing !== null,
  fn: async () => {
    const lab = await openLab();
    const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
    try {
      const { logger, script } = await startLogger(lab);
      const daemon = await lab.gateway.run(
        withMounts(script, spaCommand("serve", ...files.options)),
      );
      strictEqual(daemon.status, 0, daemon.stderr);
      await send(lab, knockPacket("tcp/22"));
      await logger.waitFor(loggedLine(30, "Starting fwknopd main event loop\\."));
      await logger.waitFor(
        loggedLine(30, "Added access rule to FWKNOP_INPUT for 192\\.0\\.2\\.10"),
      );
      strictEqual((await serve(lab.gateway, files, "-K")).status, 0);
      await logger.waitFor(loggedLine(28, "Got SIGTERM\\. Exiting\\.\\.\\."));
    } finally {
      await serve(lab.gateway, files, "-K");
      await lab.close();
    }
  },
});

Deno.test({
  name: `with -f --syslog-enable the log goes to both places${suffix}`,
  ignore: missing !== null,
  fn: async () => {
    const lab = await openLab();
    try {
      const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
      const { logger, script } = await startLogger(lab);
      const words = spaCommand("serve", "-f", "--syslog-enable", ...files.options);
      const gateway = lab.gateway.start(withMounts(script, words));
      await gateway.waitFor(/^Starting fwknopd main event loop\.$/m);
      await logger.waitFor(loggedLine(30, "Starting fwknopd main event loop\\."));
    } finally {
      await lab.close();
    }
  },
});

Deno.test({
  name: `without libpcap the server names the package and the other way${suffix}`,
  ignore: missing !== null,
  fn: async () => {
    const lab = await openLab();
    try {
      const files = await writeGatewayFiles(lab.directory, SNIFF, STANZA);
      const hide =
        `for file in $(find /lib /usr/lib /usr/local/lib -name 'libpcap.so*' -type f 2>/dev/null); do
        mount --bind /dev/null "$file"
      done`;
      const command = spaCommand("serve", "-f", ...files.options);
      const { status, stderr } = await lab.gateway.run(withMounts(hide, command));
      strictEqual(status, 1);
      match(
        stderr,
        /^spa: .*libpcap is not installed\nhint: install the package libpcap0\.8, or .* -U/m,
      );
    } finally {
      await lab.close();
    }
  },
});
